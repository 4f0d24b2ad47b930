"""Other libraries' views of a Dataset; each module is imported only when asked for."""
