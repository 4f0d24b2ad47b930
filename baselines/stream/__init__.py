"""Trained models sample by sample: as Python, as compiled loops, and exported."""
