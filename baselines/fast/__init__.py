"""Streaming in compiled loops: one call a stack of layers and sample, packed weights, state in place.

Each stack equals the ``step`` of its layer, which stays the readable reference (the tests compare them). Products
with weights are in float32; S4's and S4D's recurrences are in float64, so that slow modes do not drift.
"""

from baselines.fast.engine import FAST_KINDS, FastEngine

__all__ = ["FAST_KINDS", "FastEngine"]
