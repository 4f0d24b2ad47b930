"""Loops compiled for the CPU, each equal in outputs and gradients to a readable form in ``layers`` or ``scan``."""
