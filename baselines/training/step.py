"""One step of training: forward, loss, backward, Adam; plainly, by torch's compiler, or captured in a CUDA graph.

The captured form has never been run on a GPU by its authors: it is there to be asked for by name
(``compile="graph"``), and ``"auto"`` does not choose it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from baselines.errors import OptionError

__all__ = [
    "GraphStep",
    "PlainStep",
    "adam",
    "make_step",
    "masked_mse",
    "needs_static_shapes",
    "numerics",
    "uses_cuda_graph",
]

FIRST_COMPILING_VERSION = "2.12"
"""First version of torch whose compiler the tests pass with."""

StepFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


def masked_mse(pred: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the values of valid steps.

    Parameters
    ----------
    pred, true
        (B, T, D).
    mask
        (B, T), True where a step is valid.
    """
    squares = (pred - true).square().mean(dim=-1)
    return (squares * mask).sum() / mask.sum()


def adam(groups: list[dict[str, Any]], device: torch.device, graph: bool = False) -> torch.optim.Adam:
    """Return Adam in torch's fused form, where it has one for the device.

    Parameters
    ----------
    groups
        From :func:`baselines.param_groups`.
    device
        Of the parameters.
    graph
        Keep learning rates and step counts on the device, as a CUDA graph needs.
    """
    if graph:
        groups = [{**group, "lr": torch.full((), group["lr"], device=device)} for group in groups]
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(groups, fused=fused, capturable=graph)


@contextmanager
def numerics(precision: str, device: torch.device) -> Iterator[None]:
    """Set how products are rounded, and put it back after.

    Parameters
    ----------
    precision
        ``"fp32"``: float32 throughout. ``"tf32"``: on GPUs that have it, factors of matrix products and of
        convolutions are rounded to 10 bits; elsewhere the same as ``"fp32"``. ``"bf16"``: torch's autocast runs
        matrix products in bfloat16; weights, sums, norms and scan states stay float32. None of this rounds the
        kernels of S4 and S4D (:mod:`baselines.layers.exact`).
    device
        Of the model.
    """
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


@dataclass(frozen=True)
class PlainStep:
    """The step as a few lines of torch.

    Parameters
    ----------
    model, optimizer
        What is trained; ``optimizer`` from :func:`adam`.
    clip_norm
        Scale the gradient down to this norm where it is larger; None: never.
    precision
        See :func:`numerics`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    clip_norm: float | None = None
    precision: str = "fp32"

    def __call__(self, inputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Make one step; return the loss before it, on its device, without waiting for it.

        Parameters
        ----------
        inputs, targets, mask
            (B, T * chunk, F), (B, T, D), (B, T), see :class:`baselines.training.data.Batch`.
        """
        with numerics(self.precision, inputs.device):
            loss = masked_mse(self.model(inputs).to(targets.dtype), targets, mask)
            self.optimizer.zero_grad()
            loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss.detach()


class GraphStep:
    """A step captured in a CUDA graph the first time that each shape comes, and replayed after that.

    Never run on a GPU by its authors; opt-in.

    Parameters
    ----------
    plain
        The step to capture; its optimiser made with ``graph=True``.
    """

    def __init__(self, plain: PlainStep) -> None:
        self.plain = plain
        self._captured: dict[tuple[torch.Size, torch.Size], tuple[Any, list[Tensor], Tensor]] = {}

    def __call__(self, inputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """As :class:`PlainStep`."""
        key = (inputs.shape, targets.shape)
        if key not in self._captured:
            self._captured[key] = self._capture([t.clone() for t in (inputs, targets, mask)])
        graph, static_inputs, loss = self._captured[key]
        for static, tensor in zip(static_inputs, (inputs, targets, mask), strict=True):
            static.copy_(tensor)
        graph.replay()
        return loss.clone()

    def _capture(self, static_inputs: list[Tensor]) -> tuple[Any, list[Tensor], Tensor]:
        """Warm up FFT plans, libraries and kernels on a side stream, undo what that changed, and capture."""
        saved_weights = [p.detach().clone() for p in self.plain.model.parameters()]
        state = self._optimizer_tensors()
        saved_state = {key: t.clone() for key, t in state.items()}
        rng_state = torch.cuda.get_rng_state(static_inputs[0].device)
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(3):
                self.plain(*static_inputs)
        torch.cuda.current_stream().wait_stream(side_stream)
        with torch.no_grad():
            for p, saved in zip(self.plain.model.parameters(), saved_weights, strict=True):
                p.copy_(saved)
            for key, tensor in self._optimizer_tensors().items():
                tensor.copy_(saved_state[key]) if key in saved_state else tensor.zero_()
        torch.cuda.set_rng_state(rng_state, static_inputs[0].device)
        self.plain.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self.plain(*static_inputs)
        return graph, static_inputs, loss

    def _optimizer_tensors(self) -> dict[tuple[int, str], Tensor]:
        state = self.plain.optimizer.state
        return {(id(p), name): t for p, tensors in state.items() for name, t in tensors.items()}


def make_step(plain: PlainStep, compile: str, device: torch.device) -> StepFunction:
    """Return the step in the form that ``compile`` asks for.

    Parameters
    ----------
    plain
        The step; its optimiser made with ``graph=uses_cuda_graph(compile)``.
    compile
        ``"auto"`` and ``"eager"``: as it is. ``"inductor"``: the model by torch's compiler, once a shape.
        ``"graph"``: all of it in a CUDA graph. ``"inductor-graph"``: both.
    device
        Of the model.

    Raises
    ------
    OptionError
        A graph on anything but a CUDA device, or torch's compiler in a version older than 2.12.
    """
    if uses_cuda_graph(compile) and device.type != "cuda":
        raise OptionError(
            "compile", compile, f"auto, eager or inductor on {device.type}", "CUDA graphs need a CUDA device."
        )
    if compile.startswith("inductor"):
        if torch.__version__ < FIRST_COMPILING_VERSION:
            raise OptionError(
                "compile",
                compile,
                f"auto, eager or graph with torch {torch.__version__}",
                f"Its compiler cannot take these models, or crashes with them, before {FIRST_COMPILING_VERSION}.",
            )
        plain = replace(plain, model=torch.compile(plain.model, dynamic=False))  # type: ignore[arg-type]
    return GraphStep(plain) if uses_cuda_graph(compile) else plain


def needs_static_shapes(compile: str) -> bool:
    """Tell whether this form of the step is made once for each shape of a batch, so that few shapes are wanted."""
    return compile not in ("auto", "eager")


def uses_cuda_graph(compile: str) -> bool:
    """Tell whether this form of the step is captured in a CUDA graph."""
    return compile.endswith("graph")
