"""Fetch raw files, take in those fetched by hand, and verify what is on the disk."""
