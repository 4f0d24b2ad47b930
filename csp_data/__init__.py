"""Sensor recordings for continuous sequence-to-sequence prediction."""
