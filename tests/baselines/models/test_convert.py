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
        f"{base}layer.kernel.l_kernel": (),
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
    drawn = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.array(0) if name.endswith("l_kernel") else array for name, array in drawn.items()}


def flat_lstm(**options):
    return build("flat-lstm", 3, 2, dim=4, hidden=5, layers=1, **{"readout": "first", **options})


def hiss_s4_mamba(**options):
    sizes = {"low_dim": 6, "low_layers": 2, "low_state": 4, "high_dim": 4, "high_layers": 1, "high_state": 3}
    return build("hiss-s4-mamba", 3, 2, **sizes, **options)


@pytest.mark.parametrize(("make", "shapes"), [(flat_lstm, FLAT_LSTM), (hiss_s4_mamba, HISS_S4_MAMBA)])
def test_every_array_arrives(make, shapes):
    model, arrays = make(), arrays_of(shapes)
    load_published(model, arrays | {"pos_encoder.pe": np.zeros((1, 9, 4))})
    parameters = dict(model.named_parameters())
    names = {name: our_name(name, model) for name in shapes if not name.endswith("l_kernel")}
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
        (lambda a: a.update({"decoder.bias": np.array([0, np.nan])}), "decoder.bias: holds NaN or infinity"),
        (lambda a: a.update({"decoder.bias": "x"}), "decoder.bias: expected an array of numbers, got str"),
        (lambda a: a.update({"model": dict(a)}), "the entry 'model' holds 8 entries itself"),
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


def outputs(model, seed=0):
    x = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model.eval()(x)


def test_tensors_parameters_modules_and_files_are_arrays_too(tmp_path):
    arrays = usable(arrays_of(HISS_S4_MAMBA))
    truth = hiss_s4_mamba()
    load_published(truth, arrays)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    parameters = {n: torch.nn.Parameter(t) if t.is_floating_point() else t for n, t in tensors.items()}
    module = torch.nn.Module()  # of the published code: its state dictionary has names with dots
    module.state_dict = lambda: tensors
    torch.save(parameters, tmp_path / "parameters.pt")
    torch.save(tensors, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    double = {name: tensor.double() for name, tensor in tensors.items()}
    for weights in (tensors, parameters, double, module, tmp_path / "parameters.pt", str(tmp_path / "old.pt")):
        model = hiss_s4_mamba()
        load_published(model, weights)
        assert torch.equal(outputs(model), outputs(truth))


@pytest.mark.parametrize("cut", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(cut):
    tensors = {name: torch.from_numpy(array).to(cut) for name, array in arrays_of(FLAT_LSTM).items()}
    model = flat_lstm()
    load_published(model, tensors)
    assert torch.equal(model.net.decoder.weight, tensors["decoder.weight"].float())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "model."])
def test_what_a_wrapper_puts_before_every_name_is_left_out(prefix):
    for make, shapes in ((flat_lstm, FLAT_LSTM), (hiss_s4_mamba, HISS_S4_MAMBA)):
        arrays, models = usable(arrays_of(shapes)), [make(), make()]
        load_published(models[0], arrays)
        load_published(models[1], {prefix + name: array for name, array in arrays.items()})
        assert torch.equal(outputs(models[0]), outputs(models[1]))
    some = {(prefix if name == "decoder.bias" else "") + name: a for name, a in arrays_of(FLAT_LSTM).items()}
    with pytest.raises(ModelError, match=re.escape(f"unknown names: {prefix}decoder.bias;")):
        load_published(flat_lstm(), some)


def test_parameters_without_the_length_of_c_are_refused():
    """``named_parameters()`` has no buffers: whether C is the one drawn cannot be told from it."""
    arrays = arrays_of(HISS_S4_MAMBA)
    arrays = {name: array for name, array in arrays.items() if not name.endswith("1.layer.kernel.l_kernel")}
    with pytest.raises(ModelError, match=r"s4_layers\.1\.layer\.kernel\.C comes without .*l_kernel"):
        load_published(hiss_s4_mamba(), arrays)


@pytest.mark.parametrize(
    ("model", "shapes", "match"),
    [
        (lambda: flat_lstm(readout="last"), FLAT_LSTM, "readout='first'"),
        (lambda: hiss_s4_mamba(overlap=3), HISS_S4_MAMBA, "overlap=0"),
    ],
)
def test_models_that_the_published_code_does_not_have(model, shapes, match):
    """Their weights have the same shapes, so that outputs would be others without a word."""
    with pytest.raises(ModelError, match=match):
        load_published(model(), arrays_of(shapes))


def test_files_that_are_not_weights(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"module\.pt.*weights_only=False\)\.state_dict\(\), 'weights\.pt'"):
        load_published(flat_lstm(), tmp_path / "module.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ModelError, match=r"list\.pt: expected arrays by name, a state_dict\(\), got list"):
        load_published(flat_lstm(), tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ModelError, match=r"text\.pt: is no file of weights alone"):
        load_published(flat_lstm(), tmp_path / "text.pt")
    with pytest.raises(ModelError, match=r"none\.pt: cannot be read \(No such file"):
        load_published(flat_lstm(), tmp_path / "none.pt")
