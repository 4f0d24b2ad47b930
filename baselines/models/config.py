"""Configurations of whole models, and their form as plain dictionaries, which a run folder stores."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from baselines.errors import ModelError, OptionError, UnknownNameError
from baselines.layers import LAYERS, LayerConfig
from baselines.layers.base import check_config
from baselines.layers.chunks import Chunks
from baselines.layers.pooling import POOLS
from baselines.presets import short_name
from csp_data.options import check_number

READOUTS = ("first", "last")


@dataclass(frozen=True)
class FlatConfig:
    """A model with one level that runs at the input rate.

    Attributes
    ----------
    in_dim, out_dim
        Channels of inputs and of targets.
    layer
        The sequence layer between the embedding and the decoder.
    chunk
        Input samples per output.
    readout
        Sample of each chunk that gives the output: ``"last"``, so that the output has seen the whole chunk, or
        ``"first"``, as the published code does.
    """

    in_dim: int
    out_dim: int
    layer: LayerConfig
    chunk: int = 10
    readout: str = "last"

    def __post_init__(self) -> None:
        check_config(self, positive=("in_dim", "out_dim", "chunk"))
        _check_layer("FlatConfig.layer", self.layer)
        if self.readout not in READOUTS:
            raise OptionError("readout", self.readout, "'first' or 'last'")

    @property
    def name(self) -> str:
        """The model's name, such as ``flat-s4``."""
        return f"flat-{self.layer.kind}"


@dataclass(frozen=True)
class HierarchicalConfig:
    """A model with two levels (HiSS), or with three: chunks of chunks.

    The fields after ``chunk`` are not in the published models, and their defaults are the published behaviour.

    Attributes
    ----------
    in_dim, out_dim
        Channels of inputs and of targets.
    low, high
        The sequence layers inside a chunk and over the chunks; ``high.dim`` is the size of a chunk's feature.
    chunk
        Input samples per chunk, and per output.
    readout
        How the outputs inside a window become its feature: ``"last"``, a learned ``"linear"`` combination, or
        ``"attention"`` with a learned query (:mod:`baselines.layers.pooling`).
    overlap
        Samples before a chunk that the low level sees too.
    mid
        A layer between the two: ``low`` then runs inside sub-chunks, ``mid`` over the sub-chunks of a chunk.
    subchunk
        Input samples per sub-chunk, a divisor of ``chunk``; given exactly with ``mid``.
    """

    in_dim: int
    out_dim: int
    low: LayerConfig
    high: LayerConfig
    chunk: int = 10
    readout: str = "last"
    overlap: int = 0
    mid: LayerConfig | None = None
    subchunk: int | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("in_dim", "out_dim", "chunk", "subchunk"))
        for level in ("low", "high", *([] if self.mid is None else ["mid"])):
            _check_layer(f"HierarchicalConfig.{level}", getattr(self, level))
        if self.readout not in POOLS:
            known = _join_with_or(POOLS)
            raise OptionError("readout", self.readout, f"{known} for {self.name}: all see the whole chunk")
        check_samples("overlap", self.overlap, 0)
        object.__setattr__(self, "overlap", int(self.overlap))
        if (self.mid is None) != (self.subchunk is None):
            raise OptionError(
                "HierarchicalConfig.subchunk", self.subchunk, "a length exactly if there is a mid layer"
            )
        if self.subchunk is not None and self.chunk % self.subchunk:
            raise OptionError(
                "HierarchicalConfig.subchunk", self.subchunk, f"a divisor of the chunk of {self.chunk}"
            )

    @property
    def name(self) -> str:
        """The model's name, such as ``hiss-s4-mamba``, or ``hiss-s4-s4-mamba`` for three levels."""
        return "-".join(("hiss", *(level.kind for level in (self.low, self.mid, self.high) if level is not None)))

    @property
    def cuts(self) -> tuple[Chunks, ...]:
        """How each level below the highest cuts its input."""
        if self.subchunk is None:
            return (Chunks(self.chunk, self.overlap),)
        return (Chunks(self.subchunk, self.overlap), Chunks(self.chunk // self.subchunk))


@dataclass(frozen=True)
class OwnConfig:
    """A model from a file of one's own (:mod:`baselines.models.own`).

    Attributes
    ----------
    in_dim, out_dim
        Channels of inputs and of targets.
    chunk
        Input samples per output.
    source
        ``FILE.py:NAME``, the file without its folder.
    digest
        First digits of the file's SHA-256.
    options
        Further arguments of the class or function.
    looks_ahead
        Whether outputs were seen to depend on samples after the end of their chunk.
    beside
        First digits of the SHA-256 of each file that it imports from its own folder, by its path from there.
    window
        Chunks that each prediction of a stream is made from anew (:mod:`baselines.models.own_window`); None for
        the model itself.
    """

    in_dim: int
    out_dim: int
    chunk: int
    source: str
    digest: str
    options: dict[str, Any] = field(default_factory=dict)
    looks_ahead: bool = False
    beside: dict[str, str] = field(default_factory=dict)
    window: int | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("in_dim", "out_dim", "chunk", "window"))
        file = self.source.rpartition(":")[0]
        if Path(file).name != file:
            raise ModelError(f"{self.source!r}: expected a file in the run's folder, found a path.")
        for path in map(Path, self.beside):
            if path.is_absolute() or ".." in path.parts:  # it would be run
                raise ModelError(f"{self.source!r}: expected modules in the run's folder, found {str(path)!r}.")

    @property
    def name(self) -> str:
        """``own-NAME``."""
        return short_name(self.source)


def check_samples(option: str, samples: int, least: int) -> None:
    """Raise :class:`OptionError` unless ``samples`` is a number of samples, and at least so many."""
    check_number(option, samples, f"a whole number of at least {least}", least=least, whole=True)


def _check_layer(option: str, layer: object) -> None:
    if not isinstance(layer, LayerConfig):
        raise OptionError(option, layer, "the configuration of a layer, such as baselines.layers.LSTMConfig()")


def _join_with_or(names: Iterable[str]) -> str:
    *most, last = (repr(name) for name in names)
    return f"{', '.join(most)} or {last}"


ModelConfig = FlatConfig | HierarchicalConfig | OwnConfig
_MODELS: dict[str, type] = {"flat": FlatConfig, "hierarchical": HierarchicalConfig, "own": OwnConfig}
_LEVELS = ("layer", "low", "mid", "high")


def check_model_config(config: object, needed: type[ModelConfig] | None = None) -> None:
    """Raise :class:`ModelError` for what is no configuration (of one kind), such as the model or its name."""
    if not isinstance(config, needed or ModelConfig):
        what = "the configuration of a model, model.config" if needed is None else f"a {needed.__name__}"
        fix = "" if needed is None else " baselines.build makes a model by its name."
        raise ModelError(f"expected {what}, got {type(config).__name__}.{fix}")


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Return a configuration as a dictionary of JSON values; :func:`config_from_dict` is the inverse.

    Parameters
    ----------
    config
        Of a model: ``model.config``.

    Returns
    -------
    dict
        ``"family"``, the fields, and for each level its ``"kind"`` and fields.

    Raises
    ------
    ModelError
        If it is something else, such as the model.
    """
    check_model_config(config)
    family = next(name for name, cls in _MODELS.items() if isinstance(config, cls))
    plain = {"family": family, **asdict(config)}
    if isinstance(config, OwnConfig):  # a run's name depends on all that is here
        plain = {name: value for name, value in plain.items() if value or name not in ("beside", "window")}
    for level in _LEVELS:
        if plain.get(level) is not None:
            plain[level] = {"kind": getattr(config, level).kind, **plain[level]}
    return plain


def config_from_dict(plain: dict[str, Any]) -> ModelConfig:
    """Rebuild a configuration from :func:`config_to_dict`'s dictionary.

    Parameters
    ----------
    plain
        The dictionary.

    Raises
    ------
    ModelError, UnknownNameError, OptionError
        Missing or unknown entries, or values out of bounds.
    """
    if not isinstance(plain, dict) or "family" not in plain:
        raise ModelError(f"a model configuration is a dictionary with the entry 'family', got {plain!r}.")
    family = plain["family"]
    if family not in _MODELS:
        raise UnknownNameError("model family", family, _MODELS)
    entries = {key: value for key, value in plain.items() if key != "family"}
    for level in _LEVELS:
        if level in entries and not (level == "mid" and entries[level] is None):
            entries[level] = _layer_from_dict(entries[level], level)
    return _construct(_MODELS[family], entries, f"{family} model")


def _layer_from_dict(plain: dict[str, Any], level: str) -> LayerConfig:
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(kind, str) or kind not in LAYERS:
        raise UnknownNameError(f"layer kind in the entry {level!r}", str(kind), LAYERS)
    entries = {key: value for key, value in plain.items() if key != "kind"}
    return _construct(LAYERS[kind][0], entries, f"{kind} layer")


def _construct(cls: type, entries: dict[str, Any], description: str) -> Any:
    field_names = [field.name for field in fields(cls)]
    for key in entries:
        if key not in field_names:
            raise UnknownNameError(f"entry in the configuration of a {description}", key, field_names)
    try:
        return cls(**entries)
    except TypeError as error:
        needed = ", ".join(field_names)
        raise ModelError(f"configuration of a {description}: {error}. Needed entries: {needed}.") from None
