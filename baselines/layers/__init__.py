"""The sequence layers: LSTM, Transformer, S4 and Mamba, one file each, all behind one contract."""

from baselines.layers.base import SequenceLayer
from baselines.layers.lstm import LSTM, LSTMConfig
from baselines.layers.mamba import Mamba, MambaConfig
from baselines.layers.s4 import S4, S4Config
from baselines.layers.transformer import Transformer, TransformerConfig

__all__ = [
    "LAYERS",
    "LSTM",
    "S4",
    "LSTMConfig",
    "LayerConfig",
    "Mamba",
    "MambaConfig",
    "S4Config",
    "SequenceLayer",
    "Transformer",
    "TransformerConfig",
    "make_layer",
]

LayerConfig = LSTMConfig | TransformerConfig | S4Config | MambaConfig

LAYERS: dict[str, tuple[type, type[SequenceLayer]]] = {
    config.kind: (config, layer)
    for config, layer in (
        (LSTMConfig, LSTM),
        (TransformerConfig, Transformer),
        (S4Config, S4),
        (MambaConfig, Mamba),
    )
}
"""Kind of layer to its configuration class and its module class."""


def make_layer(config: LayerConfig) -> SequenceLayer:
    """Return a freshly initialised stack for a configuration."""
    return LAYERS[config.kind][1](config)
