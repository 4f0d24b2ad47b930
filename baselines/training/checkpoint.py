"""Write and read weights and training states as safetensors files: no pickles, and whole or not there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from baselines.errors import CheckpointError
from baselines.files import atomic_bytes
from csp_data.files import check_file

__all__ = ["Checkpoint", "CheckpointError", "load_weights", "read_checkpoint", "save_weights", "write_checkpoint"]

NO_DIGEST = "0" * 64
"""What stands in a file in the place of the SHA-256 of its bytes, until that is known."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training needs to continue as if it had never stopped.

    Parameters
    ----------
    model, optimizer
        Their ``state_dict()``; of the optimiser's only ``"state"``, by parameter number.
    generators
        States of the random generators by name.
    progress
        Plain values: epochs done, steps done, best epoch and its loss, seconds spent, the configuration.
    """

    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    generators: dict[str, Tensor]
    progress: dict[str, Any]


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write a model's ``state_dict()``."""
    _write_tensors(path, weights, {})


def load_weights(path: Path, model: nn.Module) -> None:
    """Put weights from a file into a model.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or its weights are another model's.
    """
    tensors, _ = _read_tensors(path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split())  # torch lists every tensor on a line
        raise CheckpointError(f"{path}: these weights belong to another model: {problem}") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint."""
    tensors = {f"model/{name}": tensor for name, tensor in checkpoint.model.items()}
    for number, state in checkpoint.optimizer.items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in state.items()}
    tensors |= {f"generators/{name}": tensor for name, tensor in checkpoint.generators.items()}
    _write_tensors(path, tensors, {"progress": json.dumps(checkpoint.progress)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or no checkpoint.
    """
    tensors, metadata = _read_tensors(path)
    if "digest" not in metadata:
        raise _damaged(path, "there is no digest of its bytes")
    if "progress" not in metadata:
        raise CheckpointError(f"{path}: weights without the state of a training. Pass the run's last.safetensors.")
    return _from_tensors(tensors, json.loads(metadata["progress"]))


def _from_tensors(tensors: dict[str, Tensor], progress: dict[str, Any]) -> Checkpoint:
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "generators": {}}
    for name, tensor in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = tensor
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimizer"].items():
        number, entry = name.split("/", 1)
        optimizer.setdefault(int(number), {})[entry] = tensor
    return Checkpoint(groups["model"], optimizer, groups["generators"], progress)


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors takes them: those that share memory, as tied weights do, each with its own."""
    plain, seen = {}, set()
    for name, tensor in tensors.items():
        plain[name] = tensor.detach().cpu().contiguous()
        memory = plain[name].untyped_storage().data_ptr()
        if memory in seen:
            plain[name] = plain[name].clone()
        seen.add(memory)
    return plain


def _write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    content = safetensors.torch.save(_on_cpu(tensors), metadata | {"digest": NO_DIGEST})
    digest = hashlib.sha256(content).hexdigest()
    atomic_bytes(path, content.replace(NO_DIGEST.encode(), digest.encode(), 1))


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata; weights of earlier versions and of other programs have no digest."""
    try:
        check_file(path)
        content = path.read_bytes()  # safetensors itself opens no file whose path is not UTF-8
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file. Train the run again.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    metadata = header.get("__metadata__") or {}
    digest = metadata.get("digest")
    if digest is not None:
        as_digested = content.replace(digest.encode(), NO_DIGEST.encode(), 1)
        if hashlib.sha256(as_digested).hexdigest() != digest:
            raise _damaged(path, "its bytes are not those that were written")
    return tensors, metadata


def _damaged(path: Path, problem: object) -> CheckpointError:
    return CheckpointError(f"{path}: damaged ({problem}). Delete the run's folder and train it again.")
