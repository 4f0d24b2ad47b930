"""Commands of ``csp-data`` that are larger than a few lines."""
