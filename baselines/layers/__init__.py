"""The sequence layers, one file each, all behind one contract: the published four, and five more."""

from baselines.layers.base import SequenceLayer
from baselines.layers.gru import GRU, GRUConfig
from baselines.layers.lru import LRU, LRUConfig
from baselines.layers.lstm import LSTM, LSTMConfig
from baselines.layers.mamba import Mamba, MambaConfig
from baselines.layers.mamba2 import Mamba2, Mamba2Config
from baselines.layers.s4 import S4, S4Config
from baselines.layers.s4d import S4D, S4DConfig
from baselines.layers.tcn import TCN, TCNConfig
from baselines.layers.transformer import Transformer, TransformerConfig

__all__ = [
    "GRU",
    "LAYERS",
    "LRU",
    "LSTM",
    "S4",
    "S4D",
    "TCN",
    "GRUConfig",
    "LRUConfig",
    "LSTMConfig",
    "LayerConfig",
    "Mamba",
    "Mamba2",
    "Mamba2Config",
    "MambaConfig",
    "S4Config",
    "S4DConfig",
    "SequenceLayer",
    "TCNConfig",
    "Transformer",
    "TransformerConfig",
    "make_layer",
]

LayerConfig = (
    LSTMConfig
    | TransformerConfig
    | S4Config
    | MambaConfig
    | GRUConfig
    | TCNConfig
    | Mamba2Config
    | S4DConfig
    | LRUConfig
)

LAYERS: dict[str, tuple[type, type[SequenceLayer]]] = {
    config.kind: (config, layer)
    for config, layer in (
        (LSTMConfig, LSTM),
        (TransformerConfig, Transformer),
        (S4Config, S4),
        (MambaConfig, Mamba),
        (GRUConfig, GRU),
        (TCNConfig, TCN),
        (Mamba2Config, Mamba2),
        (S4DConfig, S4D),
        (LRUConfig, LRU),
    )
}
"""Kind of layer to its configuration class and its module class; the published kinds first."""


def make_layer(config: LayerConfig) -> SequenceLayer:
    """Return a freshly initialised stack for a configuration."""
    return LAYERS[config.kind][1](config)
