"""The folder of a run: what was asked, where it ran, what came out, and what a stream must know of the data."""
