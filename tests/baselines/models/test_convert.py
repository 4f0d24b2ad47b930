"""Loading published weights: the name map, the axes, S4's length, and what wrong arrays get."""

import re

import numpy as np
import pytest
import torch

from baselines import ModelError, build, load_published
from baselines.models.convert import our_name

FLAT_LSTM = {
    "embed.weight": (4, 3),
    "embed.bias": (4,),
    "lstm.weight_ih_l0": (20, 4),
    "lstm.weight_hh_l0": (20, 5),
    "lstm.bias_ih_l0": (20,),
    "lstm.bias_hh_l0": (20,),
    "decoder.weight": (2, 5),
    "decoder.bias": (2,),
}


def s4_block(prefix, k, h, half):
    base = f"{prefix}s4_layers.{k}."
    return {
        f"{base}layer.D": (1, h),
        f"{base}layer.kernel.inv_dt": (h, 1),
        f"{base}layer.kernel.A_real": (h, half),
        f"{base}layer.kernel.A_imag": (h, half),
        **{f"{base}layer.kernel.{name}": (1, h, half, 2) for name in "BCP"},
        f"{base}output_linear.0.weight": (2 * h, h, 1),
        f"{base}output_linear.0.bias": (2 * h,),
        f"{prefix}norms.{k}.weight": (h,),
        f"{prefix}norms.{k}.bias": (h,),
    }


def mamba_block(prefix, k, dim, n):
    base, inner = f"{prefix}layers.{k}.", 2 * dim
    return {
        f"{base}mixer.A_log": (inner, n),
        f"{base}mixer.D": (inner,),
        f"{base}mixer.in_proj.weight": (2 * inner, dim),
        f"{base}mixer.conv1d.weight": (inner, 1, 4),
        f"{base}mixer.conv1d.bias": (inner,),
        f"{base}mixer.x_proj.weight": (1 + 2 * n, inner),
        f"{base}mixer.dt_proj.weight": (inner, 1),
        f"{base}mixer.dt_proj.bias": (inner,),
        f"{base}mixer.out_proj.weight": (dim, inner),
        f"{base}norm.weight": (dim,),
        f"{base}norm.bias": (dim,),
    }


HISS_S4_MAMBA = {
    "low_level.embed.weight": (6, 3),
    "low_level.embed.bias": (6,),
    **s4_block("low_level.", 0, 6, 2),
    **s4_block("low_level.", 1, 6, 2),
    "low_level.decoder.weight": (4, 6),
    "low_level.decoder.bias": (4,),
    **mamba_block("high_level.", 0, 4, 3),
    "high_level.norm_f.weight": (4,),
    "high_level.norm_f.bias": (4,),
    "output.weight": (2, 4),
    "output.bias": (2,),
}


def arrays_of(shapes, seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def flat_lstm():
    return build("flat-lstm", 3, 2, dim=4, hidden=5, layers=1)


def hiss_s4_mamba(**options):
    sizes = {"low_dim": 6, "low_layers": 2, "low_state": 4, "high_dim": 4, "high_layers": 1, "high_state": 3}
    return build("hiss-s4-mamba", 3, 2, **sizes, **options)


@pytest.mark.parametrize(("make", "shapes"), [(flat_lstm, FLAT_LSTM), (hiss_s4_mamba, HISS_S4_MAMBA)])
def test_every_array_arrives(make, shapes):
    model, arrays = make(), arrays_of(shapes)
    load_published(model, arrays | {"pos_encoder.pe": np.zeros((1, 9, 4))})
    parameters = dict(model.named_parameters())
    names = {name: our_name(name, model) for name in shapes}
    assert sorted(names.values()) == sorted(parameters)
    for name, ours in names.items():
        np.testing.assert_array_equal(parameters[ours].detach().numpy().ravel(), arrays[name].ravel())


def usable(arrays):
    """Make random arrays a stable S4."""
    return {k: -np.abs(a) if k.endswith("inv_dt") else a for k, a in arrays.items()}


def with_length(arrays, length):
    kernels = {name[: -len(".C")] for name in arrays if name.endswith("kernel.C")}
    return arrays | {f"{kernel}.l_kernel": np.array(length) for kernel in kernels}


@pytest.mark.parametrize("stored", [0, 10, 30])
@pytest.mark.parametrize("own", [None, 10, 25])
def test_every_length_of_the_published_c_gives_the_same_model(own, stored):
    """C as drawn, loaded into a model that trains C~ for ``stored``, then read back as a state of that length."""
    arrays = usable(arrays_of(HISS_S4_MAMBA))
    x = torch.randn(2, 40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = hiss_s4_mamba().double().eval()
    load_published(truth, arrays)
    if stored:
        donor = hiss_s4_mamba(low_kernel="truncated", low_kernel_length=stored).double()
        load_published(donor, with_length(arrays, 0))
        parameters = dict(donor.named_parameters())
        for name in arrays:
            if name.endswith("kernel.C"):
                arrays[name] = parameters[our_name(name, donor)].detach().numpy()[None]
    options = {} if own is None else {"low_kernel": "truncated", "low_kernel_length": own}
    model = hiss_s4_mamba(**options).double().eval()
    load_published(model, with_length(arrays, stored))
    torch.testing.assert_close(model(x), truth(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.pop("decoder.bias"), "without a value: net.decoder.bias"),
        (lambda a: a.update({"decoder.scale": np.ones(2)}), "unknown names: decoder.scale"),
        (lambda a: a.update({"lstm.weight_ih_l1": np.ones((20, 5))}), "unknown names: lstm.weight_ih_l1"),
        (lambda a: a.update({f"x{k}": np.ones(1) for k in range(8)}), "and 3 more"),
        (lambda a: a.update({"decoder.bias": np.ones(3)}), r"decoder.bias: expected the shape (2,), got (3,)"),
        (lambda a: a.update({"decoder.weight": np.ones((5, 2))}), r"expected the shape (2, 5), got (5, 2)"),
    ],
)
def test_arrays_of_another_model(change, match):
    model, arrays = flat_lstm(), arrays_of(FLAT_LSTM)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change(arrays)
    with pytest.raises(ModelError, match=re.escape(match)):
        load_published(model, arrays)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "left as it was"


def test_names_of_another_family():
    with pytest.raises(ModelError, match="not the weights of a published hiss-s4-mamba"):
        load_published(hiss_s4_mamba(), arrays_of(FLAT_LSTM))
    assert our_name("middle_level.embed.weight", hiss_s4_mamba()) is None
