"""Run a model sample by sample: by the readable ``step`` of its layers, or by compiled loops equal to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from baselines.errors import OptionError, StateError
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.models.own import OwnModel
from baselines.models.own_window import WindowedModel
from csp_data.options import check_choice

__all__ = [
    "ENGINES",
    "Engine",
    "ReferenceEngine",
    "StateError",
    "leaves",
    "make_engine",
    "map_leaves",
    "misfit",
    "streamable",
]

Model = FlatModel | HierarchicalModel | OwnModel | WindowedModel
Arrays = dict[str, npt.NDArray[Any]]

ENGINES = ("auto", "reference", "fast")
"""What :func:`make_engine` takes."""


def streamable(model: nn.Module) -> Model:
    """Return a model that predicts sample by sample; refuse a reference, or a module of any other kind."""
    if not hasattr(model, "step"):
        expected = "a model that predicts sample by sample, as baselines.build makes it"
        raise OptionError("model", type(model).__name__, expected, "References do not: they have no step.")
    return cast(Model, model)


class Engine(ABC):
    """A model with the state of one stream.

    Attributes
    ----------
    name
        As in :data:`ENGINES`.
    """

    name: str

    @abstractmethod
    def reset(self) -> None:
        """Return to the state before the first sample."""

    @abstractmethod
    def push(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Take the next samples (n, F), normalised; return the predictions (m, D) that they completed."""

    @abstractmethod
    def state(self) -> Arrays:
        """Return copies of all that is remembered."""

    @abstractmethod
    def load(self, arrays: Arrays) -> None:
        """Take up what :meth:`state` returned; :class:`StateError`, and no change, if it does not fit."""


class ReferenceEngine(Engine):
    """Calls ``model.step``, on whatever device and in whatever precision the model is.

    Parameters
    ----------
    model
        In evaluation mode. Its weights must not change afterwards.
    """

    name = "reference"

    def __init__(self, model: Model) -> None:
        self.model = model
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        with torch.no_grad():
            self._initial_state = model.initial_state(1, self._device, self._dtype)
        self._state: Any = self._initial_state

    def reset(self) -> None:
        """Return to the state before the first sample."""
        self._state = self._initial_state

    def push(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Step through the samples; see :meth:`Engine.push`."""
        state, outputs = self._state, []
        with torch.inference_mode():
            for row in torch.from_numpy(features).to(self._device, self._dtype):
                output, state = self.model.step(row[None], state)
                if output is not None:
                    outputs.append(output)
        self._state = state
        if not outputs:
            return np.zeros((0, self.model.config.out_dim))
        return np.asarray(torch.cat(outputs).double().cpu().numpy())

    def state(self) -> Arrays:
        """Return the leaves of the nested state by their path, but for those that are still as at the start."""
        initial = dict(leaves(self._initial_state))
        return {path: _to_array(leaf) for path, leaf in leaves(self._state) if leaf is not initial[path]}

    def load(self, arrays: Arrays) -> None:
        """Put the arrays in place of the leaves; see :meth:`Engine.load`."""
        initial = dict(leaves(self._initial_state))
        unknown = sorted(set(arrays) - set(initial))
        if unknown:
            raise StateError(
                f"state of another model: it has the entries {', '.join(unknown[:3])}, which this one lacks."
            )
        loaded = {path: self._checked_leaf(path, array, initial[path]) for path, array in arrays.items()}
        self._state = map_leaves(self._initial_state, lambda path, leaf: loaded.get(path, leaf))

    def _checked_leaf(self, path: str, array: npt.NDArray[Any], leaf: Any) -> Any:
        expected = _to_array(leaf)
        # a cache that begins empty grows
        fits = expected.ndim == array.ndim and all(
            size == expected_size or expected_size == 0
            for size, expected_size in zip(array.shape, expected.shape, strict=True)
        )
        if not fits or array.dtype != expected.dtype:
            raise misfit(path, expected, array)
        if not isinstance(leaf, Tensor):
            return type(leaf)(array.item())
        tensor = torch.from_numpy(array.copy()).to(self._device)
        return torch.view_as_complex(tensor) if leaf.is_complex() else tensor


def misfit(path: str, expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> StateError:
    """Return the error for an entry of a state that does not fit."""
    return StateError(
        f"state entry {path}: expected {expected.dtype} of shape {expected.shape}, found {found.dtype} of shape "
        f"{found.shape}. It belongs to another model."
    )


def leaves(node: Any, path: str = "state") -> Iterator[tuple[str, Any]]:
    """Return the path and value of everything in nested tuples that is no tuple."""
    if not isinstance(node, tuple):
        yield path, node
        return
    for k, child in enumerate(node):
        yield from leaves(child, f"{path}.{k}")


def map_leaves(node: Any, leaf: Callable[[str, Any], Any], path: str = "state") -> Any:
    """Return nested tuples of the same kinds, with other leaves."""
    if not isinstance(node, tuple):
        return leaf(path, node)
    children = [map_leaves(child, leaf, f"{path}.{k}") for k, child in enumerate(node)]
    return type(node)(*children) if hasattr(node, "_fields") else tuple(children)


def _to_array(leaf: Any) -> npt.NDArray[Any]:
    """Return a tensor as an array, complex numbers as pairs in a last axis; or an integer."""
    if not isinstance(leaf, Tensor):
        return np.array(leaf)
    leaf = leaf.detach()
    return np.array((torch.view_as_real(leaf) if leaf.is_complex() else leaf).cpu().numpy())


def make_engine(model: Model, name: str = "auto") -> Engine:
    """Choose what runs a model: the one place where this is decided.

    Parameters
    ----------
    model
        In evaluation mode.
    name
        One of :data:`ENGINES`; ``"auto"`` takes the fastest that can run the model where it is.

    Raises
    ------
    OptionError
        If there is no such engine, or it cannot run this model.
    """
    check_choice("engine", name, ENGINES)
    if name == "reference":
        return ReferenceEngine(model)
    from baselines.stream.fast import FAST_KINDS, FastEngine  # numba is imported only where it is used

    if FastEngine.can_run(model):
        return FastEngine(model)
    if name == "auto":
        return ReferenceEngine(model)
    raise OptionError(
        "engine",
        name,
        f"'reference' or 'auto' for {model.config.name} in {next(model.parameters()).dtype}",
        f"Compiled loops exist for layers of the kinds {', '.join(FAST_KINDS)}, in float32 on the CPU.",
    )
