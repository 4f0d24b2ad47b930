"""The selective scan of Mamba behind one function, with interchangeable backends.

The backend is chosen here and nowhere else; a choice is logged once.
"""

import importlib
import importlib.util
import logging
import os
from functools import cache

from torch import Tensor

from baselines.cpu.threads import transformed
from baselines.errors import MissingExtraError, ModelError, UnknownNameError
from baselines.scan import operator

__all__ = ["BACKENDS", "check_backend", "selective_scan"]

_log = logging.getLogger(__name__)

BACKENDS = {"reference": "torch", "cpu": "numba", "triton": "triton", "mamba_ssm": "mamba_ssm"}
"""Backend, a module of this package, to the package it needs."""

_KERNELS = ("cpu", "triton")
_EXTRAS = {"mamba_ssm": "mamba"}
_DEVICES = {"cpu": "cpu", "mamba_ssm": "cuda"}


def check_backend(name: str) -> None:
    """Raise :class:`UnknownNameError` unless ``name`` is ``"auto"`` or a backend."""
    if name not in ("auto", *BACKENDS):
        raise UnknownNameError("scan backend", name, ("auto", *BACKENDS))


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Run the selective state space recurrence over time (Mamba paper, arXiv 2312.00752, equation 2).

        h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y_t = C_t h_t + D u_t        h_{-1} = 0

    delta_t B_t is the first order of the hold of B in equation 4, as in the published code; A has the hold itself.
    Differentiable in every tensor. The state is kept in float32 at least; float64 inputs compute in float64.

    Parameters
    ----------
    u
        (B, L, D) input.
    delta
        (B, L, D) step sizes, positive.
    A
        (D, N) diagonal of the continuous transition of each channel, negative.
    B, C
        (B, L, N) input and output weights, shared by all channels.
    D
        (D,) skip weights; None: no skip.
    backend
        ``"reference"``: a plain loop, anywhere torch runs. ``"cpu"``: compiled with numba, parallel over batch and
        channels, memory O(B L D). ``"triton"``: Triton kernels for GPUs; torch brings Triton along on Linux.
        ``"mamba_ssm"``: the kernels of mamba-ssm, CUDA, no float64. ``"auto"``: ``cpu`` on the CPU,
        ``triton`` on CUDA when Triton is installed, else ``reference``, as within ``torch.func``. Neither GPU
        backend has been run on a GPU by its authors (docs/performance.md).

    Returns
    -------
    Tensor
        y, (B, L, D), in the dtype of ``u``.

    Raises
    ------
    UnknownNameError
        A backend that does not exist.
    MissingExtraError
        A backend whose package is not installed; says what to install.
    ModelError
        Shapes that do not fit, or a backend that cannot run where the tensors are.
    """
    batch, length, channels = u.shape
    n = A.shape[-1]
    for name, tensor, shape in (
        ("delta", delta, (batch, length, channels)),
        ("A", A, (channels, n)),
        ("B", B, (batch, length, n)),
        ("C", C, (batch, length, n)),
        ("D", D, (channels,)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ModelError(
                f"selective_scan: {name} must have shape {shape} for u of shape {tuple(u.shape)}, "
                f"got {tuple(tensor.shape)}."
            )
    if backend == "auto" and transformed():
        backend = "reference"  # kernels have no rule for vmap, and no second derivative
    name = _resolve(backend, u.device.type)
    if name in _KERNELS:
        return operator.scan(u, delta, A, B, C, D, backend=name)
    return importlib.import_module(f"{__name__}.{name}").scan(u, delta, A, B, C, D)


def _resolve(backend: str, device: str) -> str:
    """Resolve ``backend`` for a kind of device."""
    return resolve_backend(backend, device)


# what torch.compiler.assume_constant_result does, without its import of the whole compiler, which takes a second
_resolve._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def resolve_backend(backend: str, device: str) -> str:
    """Resolve ``backend``; cached, so each resolution is logged once."""
    check_backend(backend)
    name = backend
    if backend == "auto":
        preferred = {"cpu": "cpu", "cuda": "triton"}.get(device, "reference")
        name = preferred if importlib.util.find_spec(BACKENDS[preferred]) else "reference"
    if importlib.util.find_spec(BACKENDS[name]) is None:
        raise MissingExtraError(f"The scan backend {name!r}", BACKENDS[name], _EXTRAS.get(name, "baselines"))
    places = {"cpu": "the CPU", "cuda": "a CUDA device"}
    required = _DEVICES.get(name, device)
    if name == "triton" and device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        required = "cuda"  # with that variable Triton's interpreter runs the kernels on the CPU, slowly, for tests
    if device != required:
        raise ModelError(
            f"scan backend {name!r} needs tensors on {places[required]}, got {device!r}. Use 'auto': as scan= of "
            "build or a layer (of a hierarchy also low_scan=, high_scan=), as backend= of selective_scan."
        )
    _log.info("selective scan on %s: backend %s (asked for %s)", device, name, backend)
    return name
