"""Train and stream models on a device that is not the CPU and does not exist, and print what fails, as JSON.

torch propagates shapes and devices of tensors without contents (fake ones) over a device that Python registers. A
tensor left on the CPU, or a step that waits for a number of the device, ends in an error there as on a GPU; and a
step that copies anything from the host, which a CUDA graph cannot capture, is seen.
A process of its own, as a registered device stays; called by test_other_device.py with names of models, each with
how it reads a chunk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import baselines
from baselines.training.data import Part, batches, cut_windows
from baselines.training.evaluate import normalized_predictions
from baselines.training.step import PlainStep, adam
from csp_data.normalization import Affine

CHUNK, INPUTS, TARGETS, STEPS = 5, 6, 2, 4


def moved(model: nn.Module, device: torch.device) -> nn.Module:
    """Put parameters and buffers without contents on the device; torch cannot move a module to a fake one."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            module.register_parameter(name, nn.Parameter(empty))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))
        if isinstance(module, nn.RNNBase):  # keeps a list of its own
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    return model


def part(device: torch.device) -> Part:
    """Two episodes, one shorter than a window of ``STEPS``."""
    lengths = np.array([2 * STEPS, STEPS // 2])
    total = int(lengths.sum())
    return Part(
        name="train",
        ids=("long", "short"),
        inputs=torch.empty(total * CHUNK, INPUTS, device=device),
        targets=torch.empty(total, TARGETS, device=device),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        times=tuple(np.arange(1, n + 1) / 5 for n in lengths),
        chunk=CHUNK,
        target_hz=5.0,
        scaling=Affine(shift=np.zeros(TARGETS), scale=np.ones(TARGETS)),
    )


class NoHost(TorchDispatchMode):
    """Refuse every operation that takes or gives a tensor on the CPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            assert not isinstance(tensor, Tensor) or tensor.device.type != "cpu", f"{func} works on the CPU"
        return out


def train(model: nn.Module, device: torch.device) -> None:
    data = part(device)
    optimizer = adam(baselines.param_groups(model, 1e-3), device, graph=True)
    step = PlainStep(model, optimizer, clip_norm=1.0)
    first, *others = batches(data, cut_windows(data, STEPS), 2)
    where(step(first.inputs, first.targets, first.mask), device)  # makes the optimiser's state
    with NoHost():
        for batch in (first, *others):
            where(step(batch.inputs, batch.targets, batch.mask), device)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        where(parameter.grad, device)
    where(normalized_predictions(model, data, STEPS), device)


def stream(model: Any, device: torch.device) -> None:
    state = model.initial_state(1, device)
    for _ in range(2 * CHUNK):
        y, state = model.step(torch.empty(1, INPUTS, device=device), state)
        if y is not None:
            where(y, device)


def where(tensor: Tensor, device: torch.device) -> None:
    assert tensor.device.type == device.type, f"a tensor is on {tensor.device}"


def failure(does: Callable[[nn.Module, torch.device], None], names: str, device: torch.device) -> str | None:
    name, readout = names.split()
    levels = {"flat": [""], "hiss": ["low_", "mid_", "high_"]}[name.split("-")[0]]
    shallow = {f"{level}layers": 2 for level in levels if level != "mid_" or name.count("-") == 3}
    model = baselines.build(name, INPUTS, TARGETS, chunk=CHUNK, readout=readout, **shallow)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
            does(moved(model, device), device)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    _setup_privateuseone_for_python_backend("elsewhere")
    device = torch.device("elsewhere")
    failures = {
        f"{name}: {does.__name__}": failure(does, name, device)
        for name in sys.argv[1:]
        for does in (train, stream)
    }
    print(json.dumps(failures))


if __name__ == "__main__":
    main()
