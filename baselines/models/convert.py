"""Load weights of the published code: the map from its parameter names to ours.

Name map
--------
``*`` is a block's number; the prefix is that of the level.

Levels: a flat model has no prefix there and ``net.`` here; ``low_level.`` is ``low.``, ``high_level.`` is
``high.``, ``output.`` stays. Inside a level ``embed.`` and ``decoder.`` stay; the rest is in ``layer.`` here where
the level has an embedding:

======================================================== ====================================================
published                                                ours
======================================================== ====================================================
``lstm.*``                                               ``lstm.*``
``s4_layers.*.layer.D``                                  ``blocks.*.layer.d``
``s4_layers.*.layer.kernel.inv_dt``                      ``blocks.*.layer.log_dt``
``s4_layers.*.layer.kernel.{A_real, A_imag}``            ``blocks.*.layer.{log_lam_real, lam_imag}``
``s4_layers.*.layer.kernel.{B, C, P}``                   ``blocks.*.layer.{b, c, p}``
``s4_layers.*.layer.kernel.l_kernel``                    none: C is as drawn (0) or C~ for this length
``s4_layers.*.output_linear.0.*``                        ``blocks.*.linear.*``
``norms.*``                                              ``blocks.*.norm``
``[mamba.]layers.*.norm``                                ``blocks.*.norm``
``[mamba.]layers.*.mixer.{A_log, D, conv1d}``            ``blocks.*.{a_log, d, conv}``
``[mamba.]layers.*.mixer.{in,x,dt,out}_proj``            ``blocks.*.{in,x,dt,out}_proj``
``[mamba.]norm_f``                                       ``norm``
``[transformer.]layers.*.self_attn.in_proj_{weight,bias}`` ``blocks.*.qkv.{weight,bias}``
``[transformer.]layers.*.self_attn.out_proj``            ``blocks.*.out``
``[transformer.]layers.*.{linear1, linear2}``            ``blocks.*.{up, down}``
``[transformer.]layers.*.{norm1, norm2}``                ``blocks.*.{norm1, norm2}``
``pos_encoder.pe``                                       none: a constant
======================================================== ====================================================

Axes of length one that the published code keeps (D, B, C, P of S4, and its output layer) are dropped.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.errors import ModelError
from baselines.layers.projected import Projected
from baselines.layers.s4 import S4Layer
from baselines.layers.s4_kernel import truncate, untruncate
from baselines.models.config import FlatConfig, HierarchicalConfig
from baselines.models.model import FlatModel, HierarchicalModel
from csp_data.home import expanded

__all__ = ["load_published", "our_name"]

_RULES = tuple(
    (re.compile(pattern + r"(?=\.|$)"), ours)
    for pattern, ours in (
        (r"s4_layers\.(\d+)\.layer\.kernel\.inv_dt", r"blocks.\1.layer.log_dt"),
        (r"s4_layers\.(\d+)\.layer\.kernel\.A_real", r"blocks.\1.layer.log_lam_real"),
        (r"s4_layers\.(\d+)\.layer\.kernel\.A_imag", r"blocks.\1.layer.lam_imag"),
        (r"s4_layers\.(\d+)\.layer\.kernel\.B", r"blocks.\1.layer.b"),
        (r"s4_layers\.(\d+)\.layer\.kernel\.C", r"blocks.\1.layer.c"),
        (r"s4_layers\.(\d+)\.layer\.kernel\.P", r"blocks.\1.layer.p"),
        (r"s4_layers\.(\d+)\.layer\.D", r"blocks.\1.layer.d"),
        (r"s4_layers\.(\d+)\.output_linear\.0", r"blocks.\1.linear"),
        (r"norms\.(\d+)", r"blocks.\1.norm"),
        (r"(?:mamba\.)?layers\.(\d+)\.mixer\.A_log", r"blocks.\1.a_log"),
        (r"(?:mamba\.)?layers\.(\d+)\.mixer\.D", r"blocks.\1.d"),
        (r"(?:mamba\.)?layers\.(\d+)\.mixer\.conv1d", r"blocks.\1.conv"),
        (r"(?:mamba\.)?layers\.(\d+)\.mixer\.(in_proj|x_proj|dt_proj|out_proj)", r"blocks.\1.\2"),
        (r"(?:mamba\.)?layers\.(\d+)\.norm", r"blocks.\1.norm"),
        (r"(?:mamba\.)?norm_f", r"norm"),
        (r"(?:transformer\.)?layers\.(\d+)\.self_attn\.in_proj_weight", r"blocks.\1.qkv.weight"),
        (r"(?:transformer\.)?layers\.(\d+)\.self_attn\.in_proj_bias", r"blocks.\1.qkv.bias"),
        (r"(?:transformer\.)?layers\.(\d+)\.self_attn\.out_proj", r"blocks.\1.out"),
        (r"(?:transformer\.)?layers\.(\d+)\.linear1", r"blocks.\1.up"),
        (r"(?:transformer\.)?layers\.(\d+)\.linear2", r"blocks.\1.down"),
        (r"(?:transformer\.)?layers\.(\d+)\.(norm1|norm2)", r"blocks.\1.\2"),
        (r"lstm", r"lstm"),
    )
)
_LENGTH = ".kernel.l_kernel"


def our_name(published: str, model: FlatModel | HierarchicalModel) -> str | None:
    """Return our name of a published parameter, or None if the published model has no such name.

    Parameters
    ----------
    published
        A name of the published state dictionary.
    model
        The model it is for.
    """
    if isinstance(model.config, FlatConfig):
        level, rest = "net", published
    elif published.startswith("output."):
        return published
    else:
        published_level, _, rest = published.partition(".")
        level = {"low_level": "low", "high_level": "high"}.get(published_level, "")
        if not level:
            return None
    if rest.startswith(("embed.", "decoder.")):
        return f"{level}.{rest}"
    layer_prefix = "layer." if isinstance(getattr(model, level), Projected) else ""
    for pattern, ours in _RULES:
        match = pattern.match(rest)
        if match:
            return f"{level}.{layer_prefix}{match.expand(ours)}{rest[match.end() :]}"
    return None


def load_published(
    model: FlatModel | HierarchicalModel, weights: Mapping[str, Any] | nn.Module | Path | str
) -> None:
    """Load the weights of a published model, in place.

    Parameters
    ----------
    model
        A model of the same kind and sizes, in any precision. Heads of attention, the order of normalisation
        (``prenorm``) and the chunk leave no trace in weights: they must be as in the published training.
    weights
        Published parameter names to arrays or tensors of any precision and device; a module of the published
        code; or the file of a ``state_dict()`` that ``torch.save`` wrote. What a wrapper puts before every name
        (``module.``, ``_orig_mod.``) is left out. S4's C may be as drawn (``l_kernel`` 0) or C~ for the length
        ``l_kernel``; it is brought to the model's own parametrisation.

    Raises
    ------
    ModelError
        Names that are unknown, missing or left over, an array of the wrong shape or one that is not finite, a
        model that the published code cannot have, or a file that holds anything but arrays by name. The model is
        then unchanged.
    """
    arrays = _unwrapped(_arrays(weights), model)
    _require_publishable(model)
    parameters = dict(model.named_parameters())
    published: dict[str, str] = {}
    lengths: dict[str, int] = {}
    unknown = []
    for name, array in arrays.items():
        if name.endswith("pos_encoder.pe"):
            continue
        ours = our_name(name.replace(_LENGTH, ".kernel.C"), model)
        if name.endswith(_LENGTH):
            lengths[str(ours)] = int(_tensor(name, array))
        elif ours not in parameters:
            unknown.append(name)
        else:
            published[ours] = name
    missing = [name for name in parameters if name not in published]
    if unknown or missing:
        raise ModelError(
            f"these are not the weights of a published {model.config.name} of this size: "
            f"{_first_names('unknown names', unknown)}; "
            f"{_first_names('parameters left without a value', missing)}."
        )
    for ours, name in published.items():
        if name.endswith(".kernel.C") and ours not in lengths:
            raise ModelError(
                f"{name} comes without {name.removesuffix('.kernel.C')}{_LENGTH}, which says how to read it: a "
                "model that has seen data holds another C than the one drawn. Take the whole state_dict(), whose "
                "buffers are no parameters; or add the length, 0 for a model that was never used."
            )
    values = {ours: _reshaped(name, arrays[name], parameters[ours]) for ours, name in published.items()}
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
        for name, layer in model.named_modules():
            if isinstance(layer, S4Layer):
                _reparametrise(layer, lengths[f"{name}.c"])


def _arrays(weights: Mapping[str, Any] | nn.Module | Path | str) -> Mapping[str, Any]:
    """Return arrays by name; of a file those that it holds, without running code from it."""
    if isinstance(weights, nn.Module):
        return weights.state_dict()
    source = "weights"
    if isinstance(weights, str | Path):
        source, weights = str(weights), _saved(expanded(weights, "weights"))
    if not isinstance(weights, Mapping):
        raise ModelError(f"{source}: expected arrays by name, a state_dict(), got {type(weights).__name__}.")
    for name, value in weights.items():
        if isinstance(value, Mapping):
            raise ModelError(
                f"{source}: the entry {name!r} holds {len(value)} entries itself. If those are the weights, pass "
                f"them alone: WEIGHTS[{name!r}], as a file torch.save(torch.load(FILE)[{name!r}], 'weights.pt')."
            )
    return weights


def _saved(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path}: is no file of weights alone. A whole module needs the code that made it, and loading it "
            "runs code from the file. Where that code can be imported, if you trust the file, keep its weights: "
            f"torch.save(torch.load({str(path)!r}, weights_only=False).state_dict(), 'weights.pt')."
        ) from error


def _unwrapped(arrays: Mapping[str, Any], model: FlatModel | HierarchicalModel) -> Mapping[str, Any]:
    """Leave out what wrappers put before every name, as DataParallel and torch.compile do."""
    while not any(our_name(name, model) for name in arrays):
        heads = {name.partition(".")[0] if "." in name else "" for name in arrays}
        if len(heads) != 1 or "" in heads:
            break
        arrays = {name.partition(".")[2]: array for name, array in arrays.items()}
    return arrays


def _require_publishable(model: FlatModel | HierarchicalModel) -> None:
    """Refuse choices that the published models cannot have, and that their weights do not show."""
    config = model.config
    if isinstance(config, FlatConfig) and config.readout != "first":
        raise ModelError(
            f"a published {config.name} answers at the first sample of each chunk, this one at the "
            f"{config.readout}, so its outputs would be others. Build it with readout='first', or preset='paper'."
        )
    if isinstance(config, HierarchicalConfig) and config.overlap:
        raise ModelError(
            f"a published {config.name} sees each chunk alone, this one {config.overlap} samples before it too: "
            "its outputs would be others. Build it with overlap=0."
        )


def _tensor(name: str, array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu()
    try:
        return torch.from_numpy(np.array(array))
    except TypeError:
        raise ModelError(f"{name}: expected an array of numbers, got {type(array).__name__}.") from None


def _reshaped(name: str, array: Any, parameter: nn.Parameter) -> Tensor:
    value = _tensor(name, array)
    shape = tuple(parameter.shape)
    if tuple(value.shape) != shape:
        # the published code keeps axes of length one; nothing else may differ
        if [n for n in value.shape if n != 1] != [n for n in shape if n != 1]:
            raise ModelError(f"{name}: expected the shape {shape}, got {tuple(value.shape)}.")
        value = value.reshape(shape)
    if not torch.isfinite(value).all():
        raise ModelError(f"{name}: holds NaN or infinity, so the model would predict nothing else.")
    return value.to(parameter.dtype)


def _reparametrise(layer: S4Layer, stored: int) -> None:
    """Turn ``layer.c``, which holds C~ for the length ``stored`` (0: C), into the layer's own parametrisation."""
    own_length = layer.truncated_length or 0
    if stored == own_length:
        return
    ssm = layer.state_space()
    if stored:
        ssm = ssm._replace(c=untruncate(ssm, stored))
    c = truncate(ssm, own_length) if own_length else ssm.c
    layer.c.copy_(torch.view_as_real(c.resolve_conj()))


def _first_names(label: str, names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return f"{label}: {shown}" + (f" and {len(names) - limit} more" if len(names) > limit else "")
