"""Sequence models for CSP: flat and hierarchical (HiSS)."""
