"""Streaming in compiled loops: one call a stack of layers and sample, packed weights, state in place.

Each kind of layer has a file with its loop and its packed form, which equals the ``step`` of the layer in
:mod:`baselines.layers` (that stays the readable reference; the tests compare them). Products with weights are in
float32; recurrences of state spaces that do not depend on the input (S4, S4D, LRU) are in float64, so that slow
modes do not drift.

Letters in all files: H width of the model, I inner width, N states of a channel, J width of a convolution, K
layers, W samples of a window. Weights of all layers of a stack lie in one array with the layer as first axis;
matrices are (out, in).

==================  ==========================================================
``pointwise``       products, norms and activations of one sample
``stack``           what a packed stack of layers is
``gated``           S4, S4D, LRU
``mamba``           Mamba, Mamba-2
``recurrent``       LSTM, GRU
``tcn``             dilated convolutions
``transformer``     attention over a ring of keys and values
``engine``          levels, windows and readouts over these
==================  ==========================================================
"""

from baselines.stream.fast.engine import FAST_KINDS, FastEngine

__all__ = ["FAST_KINDS", "FastEngine"]
