"""Every layer under torch's tools for any module, which look into it, or take the place of what is in it."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune

import baselines
from baselines.layers import LAYERS, make_layer
from baselines.layers.lru import LRULayer, lru_reference
from baselines.layers.mamba import MambaBlock, mamba_reference
from baselines.layers.s4 import S4Layer, s4_reference
from baselines.layers.s4d import S4DLayer, s4d_reference
from baselines.layers.transformer import Transformer, transformer_reference

CONFIGS = {kind: config(dim=8, layers=2) for kind, (config, _) in LAYERS.items()}
REFERENCES = {
    "s4": (S4Layer, s4_reference),
    "s4d": (S4DLayer, s4d_reference),
    "lru": (LRULayer, lru_reference),
    "mamba": (MambaBlock, mamba_reference),
    "transformer": (Transformer, transformer_reference),
}


def make(kind, seed=0):
    torch.manual_seed(seed)
    return make_layer(CONFIGS[kind]).double().eval()


def inputs(length, batch=2):
    return torch.randn(batch, length, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["tcn", "s4", "s4d", "lru", "mamba", "mamba2"])  # torch's own rules lack others
def test_gradients_of_each_sequence_at_once(kind):
    each_gradient_equals_that_of_its_sequence(make(kind))


def test_gradients_of_each_sequence_at_once_in_a_model():
    torch.manual_seed(0)
    model = baselines.build("hiss-s4-mamba", 8, 2, chunk=4, dim=4, layers=1)
    each_gradient_equals_that_of_its_sequence(model.double().eval())


def each_gradient_equals_that_of_its_sequence(layer):
    x = inputs(12, batch=3)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters, sequence):
        return functional_call(layer, parameters, (sequence[None],)).square().mean()

    together = vmap(grad(loss), (None, 0))(parameters, x)
    for i in range(len(x)):
        alone = torch.autograd.grad(layer(x[i : i + 1]).square().mean(), list(layer.parameters()))
        for (name, _), expected in zip(layer.named_parameters(), alone, strict=True):
            torch.testing.assert_close(together[name][i], expected, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("kind", REFERENCES)
def test_second_derivatives_are_those_of_the_reference(kind):
    make_part, reference = REFERENCES[kind]
    torch.manual_seed(0)
    part, x = make_part(CONFIGS[kind]).double().eval(), inputs(40).requires_grad_()
    parameters = dict(part.named_parameters())

    def steepness(parameters):
        return grad(lambda x: functional_call(part, parameters, (x,)).square().mean())(x.detach()).square().mean()

    with sdpa_kernel(SDPBackend.MATH):  # torch's fused attention has none
        ours = grad(steepness)({name: p.detach() for name, p in parameters.items()})
    (slope,) = torch.autograd.grad(reference(part, x).square().mean(), x, create_graph=True)
    theirs = torch.autograd.grad(slope.square().mean(), list(parameters.values()))
    accuracy = 1e-6 if kind == "transformer" else 1e-8  # its positions are in float32 always
    for name, expected in zip(parameters, theirs, strict=True):
        bound = accuracy * float(expected.abs().max())
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=bound, msg=name)


@pytest.mark.parametrize("kind", CONFIGS)
def test_pruned_weights_are_those_that_count(kind):
    layer, x = make(kind), inputs(12)
    pruned = [(m, n) for m in layer.modules() for n, p in m.named_parameters(recurse=False) if p.ndim > 1]
    for module, name in pruned:
        prune.l1_unstructured(module, name, 0.5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    outputs = layer(x)
    for module, name in pruned:
        prune.remove(module, name)
    merged = make(kind, seed=1)
    merged.load_state_dict(layer.state_dict())
    torch.testing.assert_close(outputs, merged(x), rtol=1e-10, atol=1e-10)


class Adapted(nn.Module):
    """A linear map and a learned change of it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.change = base, nn.Parameter(torch.full_like(base.weight, 0.1))
        self.weight, self.bias = base.weight, base.bias  # as adapters show those of their base

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + nn.functional.linear(x, self.change)


@pytest.mark.parametrize("kind", CONFIGS)
def test_linear_maps_may_be_replaced_and_watched(kind):
    layer, x, calls = make(kind), inputs(12), []
    merged = copy.deepcopy(layer)
    names = [name for name, module in layer.named_modules() if type(module) is nn.Linear]
    for name in names:
        parent, _, child = name.rpartition(".")
        adapted = Adapted(layer.get_submodule(name))
        adapted.base.register_forward_hook(lambda *_, name=name: calls.append(name))
        setattr(layer.get_submodule(parent), child, adapted)
        merged.get_submodule(name).weight.data += 0.1
    torch.testing.assert_close(layer(x), merged(x), rtol=1e-10, atol=1e-10)
    assert calls == names


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(
    "way", ["forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook", "forward"]
)
def test_every_module_with_weights_may_be_watched(kind, way):
    """By hooks, or by a forward of its own, as programs that move or measure weights set."""
    layer, x, calls = make(kind).train(), inputs(12).requires_grad_(), set()
    watched = {name: m for name, m in layer.named_modules() if [*m.parameters(recurse=False)]}
    for name, module in watched.items():
        if way == "forward":
            module.forward = lambda *args, name=name, forward=module.forward: calls.add(name) or forward(*args)
        else:
            getattr(module, f"register_{way}")(lambda *_, name=name: calls.add(name))
    layer(x).square().mean().backward()
    assert calls == {*watched}


@pytest.mark.parametrize("kind", CONFIGS)
def test_shapes_without_memory(kind):
    layer, x = make(kind), inputs(40)
    assert copy.deepcopy(layer).to("meta")(x.to("meta")).shape == layer(x).shape
