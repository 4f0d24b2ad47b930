"""Models from a file of one's own: what ``FILE.py:NAME`` makes is trained, compared and streamed like any other.

``NAME`` is a class or a function of the file. It is called as ``NAME(in_dim=..., out_dim=..., chunk=...,
**options)`` and returns a module that maps (B, L, in_dim) to (B, L / chunk, out_dim). To be streamed, it also has
``initial_state(batch_size, device, dtype)``, a tensor or nested tuples of tensors and integers, and
``step(x_t, state)``, which returns the prediction (B, out_dim) at the last sample of each chunk (else None) and
the next state, as the models of this package do.

The digests of the file, and of those that it imports from its own folder, are part of what names a run, and copies
of all of them lie in the run's folder.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.errors import ModelError, OptionError
from baselines.models.config import OwnConfig
from baselines.models.model import check_input, check_sample
from baselines.models.own_file import attribute_of, call_own, check_options, digest_of, file_of, prints_apart
from baselines.models.own_program import Imports, program_of

__all__ = ["OwnModel", "build_own", "own_from_config"]


class OwnModel(nn.Module):
    """A module from a file of one's own, under the contract of this package's models.

    Parameters
    ----------
    config
        Its file's name and digest, sizes and options.
    file
        Where the file lies.
    make
        Its class or function.

    Attributes
    ----------
    config
        With what the module was seen to do.
    files
        What the file holds, and those that it imported from its folder, by their paths from there; empty for a
        model that was made from a copy.
    imports
        The modules that it imported from there.
    inner
        What the file's class or function returned.

    Raises
    ------
    ModelError
        If the file, the class or the module does not do what is asked of it.
    """

    def __init__(self, config: OwnConfig, file: Path, make: Callable[..., Any]) -> None:
        super().__init__()
        self.config = config
        self.file = file
        self.files: dict[str, bytes] = {}
        self.imports: Imports | None = None
        arguments = {"in_dim": config.in_dim, "out_dim": config.out_dim, "chunk": config.chunk, **config.options}
        with _drawing_by_seed():
            inner = call_own(config, file, "making it", lambda: make(**arguments))
        if not isinstance(inner, nn.Module):
            raise ModelError(f"{config.source}: expected a torch.nn.Module, it returned {type(inner).__name__}.")
        if not any(True for _ in inner.parameters()):
            raise ModelError(f"{config.source}: expected a module with parameters, it has nothing to train.")
        self.inner = inner
        self.config = replace(config, looks_ahead=self._try())
        for entry, value in inner.state_dict().items():
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"{config.source}: expected tensors alone in its state_dict, which a run keeps; "
                    f"{entry} is {type(value).__name__}."
                )

    def forward(self, x: Tensor) -> Tensor:
        """Predict over whole sequences.

        Parameters
        ----------
        x
            (B, L, in_dim), L a multiple of the chunk.

        Returns
        -------
        Tensor
            (B, L / chunk, out_dim).

        Raises
        ------
        ModelError
            A wrong shape of inputs or outputs, or (on the CPU) an input that is not finite.
        """
        check_input(x, self.config)
        compiling = torch.compiler.is_compiling()
        if not compiling:
            self._use_imports()
        y = self.inner(x) if compiling else call_own(self.config, self.file, "its forward", partial(self.inner, x))
        expected = (x.shape[0], x.shape[1] // self.config.chunk, self.config.out_dim)
        if not isinstance(y, Tensor) or y.shape != expected:
            output = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ModelError(
                f"{self.config.source}: for inputs {tuple(x.shape)} (batch, samples, features) and a chunk of "
                f"{self.config.chunk}, expected outputs {expected} (batch, chunks, targets), found {output}."
            )
        return y

    def initial_state(
        self, batch_size: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Any:
        """Return the state before the first sample; :class:`ModelError` if the module cannot be streamed."""
        if lacking := self.lacking:
            raise ModelError(
                f"{self.config.source} has no {' and no '.join(lacking)}, so it predicts whole recordings but "
                "cannot be streamed. docs/howto-own-model.md shows both. --window N (with_window in Python) does "
                "without: it predicts each chunk anew from the last N."
            )
        start: Any = self.inner.initial_state  # type: ignore[union-attr]
        self._use_imports()
        with prints_apart():
            return start(batch_size, torch.device(device), dtype)

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor | None, Any]:
        """Take one sample (B, in_dim); return the prediction (B, out_dim) or None, and the next state."""
        check_sample(x_t, self.config)
        step: Any = self.inner.step  # type: ignore[union-attr]
        self._use_imports()
        with prints_apart():
            y, state = step(x_t, state)
        return y, state

    def _use_imports(self) -> None:
        if self.imports is not None:
            self.imports.use()

    @property
    def lacking(self) -> list[str]:
        """What the module would need to be streamed."""
        return [name for name in ("initial_state", "step") if not callable(getattr(self.inner, name, None))]

    def _check_steps(self, x: Tensor, expected: Tensor) -> None:
        """Refuse a module that, sample by sample, predicts something else than over the whole."""
        source, chunk = self.config.source, self.config.chunk

        def stream(state: Any) -> tuple[list[Tensor | None], Any]:
            outputs = []
            for x_t in x.unbind(1):
                y, state = self.step(x_t, state)
                outputs.append(y)
            return outputs, state

        start = call_own(self.config, self.file, "its initial_state", lambda: self.initial_state(len(x)))
        outputs, end = call_own(self.config, self.file, "its step", partial(stream, start))
        before, after = _layout(start), _layout(end)
        if before != after or not {*re.findall(r"\w+", before)} <= {"Tensor", "number"}:
            raise ModelError(
                f"{source}: expected a state of tensors and integers in nested tuples, of the same form after "
                f"each step; found {before} at the start and {after} later."
            )
        due = [(i + 1) % chunk == 0 for i in range(len(outputs))]
        if [isinstance(y, Tensor) for y in outputs] != due:
            samples = [i + 1 for i, y in enumerate(outputs) if y is not None]
            raise ModelError(
                f"{source}: expected predictions of step at the last sample of each chunk of {chunk}, and None "
                f"else; found them at samples {samples}."
            )
        predictions = torch.stack([y for y in outputs if y is not None], dim=1)
        again, _ = call_own(self.config, self.file, "its step", partial(stream, start))
        if not _close(predictions, torch.stack([y for y in again if y is not None], dim=1)):
            raise ModelError(
                f"{source}: expected step to leave the state that it is given as it is, and to return a new "
                "one; the second stream from the same initial state differs from the first. Work on a clone of "
                "the state, and keep nothing of it in the module."
            )
        if not _close(predictions, expected):
            same_shape = predictions.shape == expected.shape
            apart = f"{(predictions - expected).abs().max():.2g}" if same_shape else "another shape"
            raise ModelError(
                f"{source}: expected step, sample by sample, to predict what forward does; found a difference of "
                f"{apart}. A prediction may use the samples up to its chunk's end, and step must carry all that "
                "it needs of them in its state."
            )

    @torch.no_grad()
    def _try(self) -> bool:
        """Let it predict once, so that a mistake shows before any training; return whether it looks ahead."""
        chunk, training = self.config.chunk, self.training
        x = torch.randn(2, 3 * chunk, self.config.in_dim, generator=torch.Generator().manual_seed(0))
        later = x.clone()
        later[:, 2 * chunk :] += 1.0
        self.eval()
        with torch.random.fork_rng(devices=[]):  # the weights and batches of a seed stay what they are
            self(x.clone())  # lazy modules get their sizes
            with _without_zeros(self.inner):
                first, again, second = (self(t.clone()) for t in (x, x, later))
                if not torch.isfinite(first).all():
                    raise ModelError(
                        f"{self.config.source}: its outputs for standard normal inputs are not finite."
                    )
                if not _close(first, again):
                    raise ModelError(
                        f"{self.config.source}: expected the same outputs for the same inputs in eval(); the "
                        f"second time they differ by {(again - first).abs().max():.2g}. Dropout and other noise "
                        "are for training alone (training=self.training), and a forward must not remember "
                        "earlier inputs."
                    )
                if not self.lacking:
                    self._check_steps(x, first)
        self.train(training)
        return not _close(first[:, :2], second[:, :2])

    def try_training(self) -> None:
        """Take a gradient once, and leave everything as it was; :class:`ModelError` where there is none."""
        x = torch.randn(2, 3 * self.config.chunk, self.config.in_dim, generator=torch.Generator().manual_seed(0))
        before = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            error = self.train()(x).square().mean()
            if not error.requires_grad:
                raise ModelError(
                    f"{self.config.source}: its outputs depend on no parameter that can be trained. Look for "
                    "requires_grad, detach and no_grad."
                )
            trained = {name: p for name, p in self.inner.named_parameters() if p.requires_grad}
            for name, p in trained.items():
                if not p.numel():
                    raise ModelError(
                        f"{self.config.source}: expected parameters with values, {name} has the shape "
                        f"{tuple(p.shape)}. Is one of the sizes that it is given 0?"
                    )
                if not p.is_floating_point():
                    raise ModelError(
                        f"{self.config.source}: expected parameters of real numbers, {name} is {p.dtype}. Keep "
                        "real and imaginary parts as one more axis, and use torch.view_as_complex."
                    )
            call_own(
                self.config,
                self.file,
                "its backward",
                lambda: torch.autograd.grad(error, [*trained.values()], allow_unused=True),
            )
        call_own(self.config, self.file, "taking up its own state_dict", partial(self.load_state_dict, before))


def build_own(name: str, in_dim: int, out_dim: int, chunk: int, options: Mapping[str, Any]) -> OwnModel:
    """Return a freshly initialised model.

    Parameters
    ----------
    name
        ``FILE.py:NAME``.
    in_dim, out_dim, chunk
        Channels of inputs and of targets; input samples per output.
    options
        Further arguments of the class or function, as JSON values.

    Raises
    ------
    ModelError, UnknownNameError
        If there is no such file, name or argument, or the module does not do what is asked of it.
    """
    file, attribute = file_of(name), name.rpartition(":")[2]
    if not file.is_file():
        raise ModelError(f"{name}: there is no file {file}.")
    code, values = file.read_bytes(), {option: _as_json(option, value) for option, value in options.items()}
    config = OwnConfig(in_dim, out_dim, chunk, f"{file.name}:{attribute}", digest_of(code), values)
    program = program_of(file, code, file.parent)
    with program.importing():
        make = attribute_of(program.run(), config, file)
        check_options(config, make)
        model = OwnModel(config, file, make)
        model.try_training()
    model.files, model.imports = program.files, program.imports
    digests = {path: digest_of(content) for path, content in sorted(program.imported.items())}
    model.config = replace(model.config, beside=digests)
    return model


def own_from_config(config: OwnConfig, file: Path, folder: Path) -> OwnModel:
    """Return a freshly initialised model from copies of its files.

    Parameters
    ----------
    config
        Of the model.
    file
        The copy of its file.
    folder
        Where it finds the others: the copies, or, if none were made, where the file lay.

    Raises
    ------
    ModelError
        If a copy is not there, or is not what the configuration was made of.
    """
    file = file.absolute()
    digests = {file: config.digest} | {folder.absolute() / path: digest for path, digest in config.beside.items()}
    for copy, digest in digests.items():
        at_hand = digest_of(copy.read_bytes()) if copy.is_file() else "nothing"
        if at_hand != digest:
            raise ModelError(
                f"{copy}: expected the file that {config.source} was trained from (SHA-256 {digest}...), found "
                f"{at_hand}. Weights are of use with that file alone: put it back, or train again."
            )
    names = {path.partition("/")[0].partition(".")[0] for path in config.beside}
    program = program_of(file, file.read_bytes(), folder, names)
    with program.importing():
        model = OwnModel(config, file, attribute_of(program.run(), config, file))
    model.imports = program.imports
    return model


def _as_json(option: str, value: Any) -> Any:
    """Return an option as the run's folder will give it back, when the model is made again."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise OptionError(
            option, value, "a value that JSON has: a number, text, true, false, null, a list"
        ) from error


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-3, atol=1e-4)


def _layout(state: Any) -> str:
    """Say what a state is made of: nested tuples of tensors and numbers."""
    if isinstance(state, tuple):
        return f"({', '.join(map(_layout, state))})"
    number = isinstance(state, int | float)
    return "Tensor" if isinstance(state, Tensor) else "number" if number else type(state).__name__


@contextmanager
def _without_zeros(module: nn.Module) -> Iterator[None]:
    """Put noise into weights that begin as zeros (gates, last layers): they hide what a module will do later."""
    zeros = [p for p in module.parameters() if p.is_floating_point() and not p.any()]
    for p in zeros:
        p.normal_(std=0.1)
    try:
        yield
    finally:
        for p in zeros:
            p.zero_()


@contextmanager
def _drawing_by_seed() -> Iterator[None]:
    """Let what draws from random or NumPy depend on torch's seed, as all else does, and take nothing from any."""
    with torch.random.fork_rng(devices=[]):
        seed = int(torch.randint(2**31, ()))
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
