"""Runs side by side: the table beside the published one, breakdowns of it, and how numbers are written."""
