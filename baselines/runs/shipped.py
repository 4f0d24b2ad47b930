"""The models that ship with the package, as their files hold them: read and checked, nothing around them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from baselines.errors import CspDataError, PretrainedError, UnknownNameError
from baselines.models.factory import build_from_config
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.runs.interface import Interface
from baselines.runs.run import PRETRAINED

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "SHIPPED",
    "Shipped",
    "digest",
    "load_shipped",
    "pretrained_names",
    "read_shipped",
    "shipped_of",
]

FORMAT = "csp-baselines-pretrained"
FORMAT_VERSION = 1
SHIPPED = Path(__file__).parents[1] / "pretrained"
"""Folder of the models that ship with the package."""


@dataclass(frozen=True)
class Shipped:
    """What the file of a model holds; :class:`baselines.Pretrained` is that with what can be done with it."""

    name: str
    model: FlatModel | HierarchicalModel
    interface: Interface
    about: Mapping[str, Any]
    card: str


def pretrained_names() -> tuple[str, ...]:
    """Return the names of the models that ship with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))


def shipped_of(run: Path | str) -> Shipped | None:
    """Return the model that ``pretrained:NAME`` stands for; None for anything else, such as a folder.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    PretrainedError
        If its file is damaged.
    """
    name = str(run)
    return load_shipped(name.removeprefix(PRETRAINED)) if name.startswith(PRETRAINED) else None


def load_shipped(name: str) -> Shipped:
    """Return the model of a name; errors as for :func:`shipped_of`."""
    if name not in pretrained_names():
        raise UnknownNameError("pretrained model", name, pretrained_names())
    return read_shipped(SHIPPED / f"{name}.safetensors")


def read_shipped(path: Path) -> Shipped:
    """Read the file of a trained model.

    Raises
    ------
    PretrainedError
        If it is missing, damaged, or of another version.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise _damaged(path, error) from error
    if metadata.get("format") != FORMAT:
        raise _damaged(path, "it is not the file of a pretrained model")
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise PretrainedError(
            f"{path}: of format {metadata.get('format_version')}, this version reads {FORMAT_VERSION}. "
            "Read it with the csp-data that wrote it."
        )
    if digest(tensors, metadata) != metadata.get("digest"):
        raise _damaged(path, "its digest is another than the one written into it")
    try:
        model = build_from_config(json.loads(metadata["model"]))
        model.load_state_dict(tensors)
        interface = Interface.from_dict(json.loads(metadata["interface"]))
        about = json.loads(metadata["about"])
        return Shipped(about["name"], model.eval(), interface, about, metadata["card"])
    except (KeyError, TypeError, ValueError, RuntimeError, CspDataError) as error:
        raise _damaged(path, error) from error


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of weights and metadata, which the file's own format has no check of."""
    hasher = hashlib.sha256()
    parts: Sequence[bytes] = [
        *(f"{name}={value}".encode() for name, value in sorted(metadata.items()) if name != "digest"),
        *(part for name in sorted(tensors) for part in (name.encode(), tensors[name].numpy().tobytes())),
    ]
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()


def _damaged(path: Path, problem: object) -> PretrainedError:
    detail = f"{type(problem).__name__}: {problem}" if isinstance(problem, Exception) else problem
    return PretrainedError(f"{path}: cannot be read as a pretrained model ({detail}). Install csp-data again.")
