"""Our models against the published ones: outputs, losses, gradients, sizes and training curves.

Errors are relative to the largest magnitude of the compared array. The bounds are 1e-5 in float64 and 1e-4 in
float32. The published scan computes in float32 even inside a float64 model: models with Mamba are only that exact.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines import build, load_published
from baselines.layers.s4_kernel import StateSpace, kernel, truncate
from baselines.models.convert import our_name

BOUND = {"f64": 1e-5, "f32": 1e-4}
DTYPE = {"f64": torch.float64, "f32": torch.float32}
FLAT = {
    "flat_lstm": ("flat-lstm", {"dim": 16, "hidden": 32}),
    "flat_transformer": ("flat-transformer", {"dim": 16}),
    "flat_s4": ("flat-s4", {"dim": 16}),
    "flat_s4_d32_postnorm": ("flat-s4", {"dim": 32, "prenorm": False}),
    "flat_mamba": ("flat-mamba", {"dim": 16}),
    "flat_mamba_d32": ("flat-mamba", {"dim": 32}),
}
LOW = {"lstm": {"low_dim": 32, "low_hidden": 24}, "s4": {"low_dim": 32}, "mamba": {"low_dim": 32}}
HIGH = {
    "lstm": {"high_dim": 16, "high_hidden": 24},
    "s4": {"high_dim": 16},
    "mamba": {"high_dim": 16},
    "transformer": {"high_dim": 16, "high_heads": 2, "high_feedforward": 32},
}
HISS = {f"hiss_{low}_{high}": (f"hiss-{low}-{high}", LOW[low] | HIGH[high]) for low in LOW for high in HIGH}
GOLDEN = FLAT | HISS


@pytest.fixture(scope="module")
def folder(reference_dir: Path) -> Path:
    return reference_dir / "golden" / "models"


def make(key, truncated=None, **more):
    """Build the model of a golden file; ``truncated``: the input length that the published S4 first saw."""
    name, sizes = GOLDEN[key]
    options = {"layers": 2} | sizes | more
    if "dropout" in more and "lstm" not in key and "s4" not in key and "transformer" not in key:
        del options["dropout"]
    if truncated is not None:
        for level, kind, length in levels(name, truncated):
            if kind == "s4":
                options |= {f"{level}kernel": "truncated", f"{level}kernel_length": length}
    readout = "first" if name.startswith("flat") else "last"
    return build(name, 8, 3, readout=readout, **options)


def levels(name, length):
    family, *kinds = name.split("-")
    if family == "flat":
        return [("", kinds[0], length)]
    return [("low_", kinds[0], 10), ("high_", kinds[1], length // 10)]


def part(data, prefix):
    return {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}


def masked_loss(y, target, lens):
    mask = torch.arange(y.shape[1]) < torch.from_numpy(lens)[:, None]
    return ((y - target).square() * mask[..., None]).sum()


def error(ours, reference):
    reference = torch.as_tensor(np.asarray(reference), dtype=torch.float64)
    ours = ours.detach().to(torch.float64).reshape(reference.shape)
    return float((ours - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize("length", [40, 200])
@pytest.mark.parametrize(
    ("key", "truncated"), [*((key, False) for key in GOLDEN), *((key, True) for key in GOLDEN if "s4" in key)]
)
def test_outputs_losses_gradients(folder, key, length, precision, truncated):
    data = np.load(folder / f"{key}.npz")
    model = make(key, length if truncated else None).to(DTYPE[precision]).eval()
    load_published(model, part(data, "sd0/"))
    x = torch.from_numpy(data[f"x{length}"]).to(DTYPE[precision]).requires_grad_()
    y = model(x)
    loss = masked_loss(y, torch.from_numpy(data[f"target{length}"]), data[f"lens{length}"])
    loss.backward()
    bound = BOUND[precision]
    assert error(y, data[f"y{length}_{precision}"]) <= bound
    assert error(loss, data[f"loss{length}_{precision}"]) <= bound
    assert error(x.grad, data[f"dx{length}_{precision}"]) <= bound
    if f"yfull{length}_{precision}" in data.files:
        assert error(model.at_input_rate(x), data[f"yfull{length}_{precision}"]) <= bound
    if length == 40 and (truncated or "s4" not in key):  # published: gradients at C~ for this length
        parameters = dict(model.named_parameters())
        for name, reference in part(data, f"dparam40_{precision}/").items():
            assert error(parameters[our_name(name, model)].grad, reference) <= bound, name


@pytest.mark.parametrize("state", ["sd40/", "sd200/", "sd40_200/"])
@pytest.mark.parametrize("key", [k for k in GOLDEN if "s4" in k])
def test_published_states_after_use(folder, key, state):
    """The published code rewrites C in place at each longer input; every such state loads as the same model."""
    data = np.load(folder / f"{key}.npz")
    model = make(key, 40).double().eval()
    load_published(model, part(data, "sd0/") | part(data, state))
    with torch.no_grad():
        y = model(torch.from_numpy(data["x40"]).double())
    # C~ was rewritten in float32, up to twice, and slow modes amplify its rounding when C is recovered
    assert error(y, data["y40_f64"]) <= 1e-4


@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize("length", [10, 40, 41, 200, 1000])
@pytest.mark.parametrize("kernel_length", [None, 10, 1000], ids=["full", "truncated10", "truncated1000"])
def test_s4_kernel(folder, length, kernel_length, precision):
    data = np.load(folder / "s4_kernel_layer0.npz")
    values = {key: torch.from_numpy(a).to(DTYPE[precision]) for key, a in part(data, "sd0/").items()}
    lam = torch.complex(-torch.exp(values["A_real"]), -values["A_imag"])
    p, b, c = (torch.view_as_complex(values[key])[0] for key in "PBC")
    ssm = StateSpace(torch.exp(values["inv_dt"]), lam, p, b, c)
    if kernel_length is not None:
        ssm = ssm._replace(c=truncate(ssm, kernel_length))
    k = kernel(ssm, length, kernel_length)
    assert error(k, data[f"K{length}_f64"]) <= {"f64": 1e-9, "f32": 1e-4}[precision]


@pytest.mark.parametrize("precision", ["f64", "f32"])
def test_training_curves(folder, precision, subtests):
    """Twelve steps of Adam at a fixed length, from the published initial weights and in its parametrisation."""
    curves = np.load(folder / "train12_losses.npz")
    for key in sorted({name.split("/")[0] for name in curves.files}):
        with subtests.test(key):
            data = np.load(folder / f"{key}.npz")
            model = make(key, 200, dropout=0.0).to(DTYPE[precision])
            load_published(model, part(data, "sd0/"))
            x, target = (torch.from_numpy(data[n]).to(DTYPE[precision]) for n in ("x200", "target200"))
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
            losses = []
            for _ in range(12):
                optimiser.zero_grad()
                loss = masked_loss(model(x), target, data["lens200"])
                losses.append(loss.detach())
                (loss / (3 * data["lens200"].sum())).backward()
                optimiser.step()
            assert error(torch.stack(losses), curves[f"{key}/{precision}"]) <= BOUND[precision]


def test_parameter_counts(folder, subtests):
    """Sizes of every preset, for every data set's channels."""
    counts = json.loads((folder / "param_counts.json").read_text())
    short = {
        "marker_writing": "marker",
        "intrinsic_slip": "slip",
        "joystick_control": "joystick",
        "total_capture": "totalcapture",
        "ronin": "ronin",
        "vector": "vector",
    }
    best = {"ronin": "hiss-s4-s4", "vector": "hiss-mamba-mamba"}
    seen = set()
    for key, count in counts.items():
        dataset, kind, n_in, n_out = key.split("|")
        name = kind.removesuffix("_default").replace("hier_", "hiss_").replace("_", "-")
        preset = "paper"
        if kind == "best_hiss":
            name, preset = best.get(short[dataset], "hiss-s4-mamba"), short[dataset]
        case = (name, preset, int(n_in[2:]), int(n_out[3:]))
        seen.add(case[:2])
        # sizes do not depend on C's parametrisation; "full" spares the matrix powers of initialisation
        full = {} if "s4" not in name else {"kernel": "full", "kernel_length": None}
        with subtests.test(key):
            with torch.device("meta"):  # the sizes without the numbers
                model = build(name, *case[2:], preset=preset, **full)
            assert sum(p.numel() for p in model.parameters()) == count
    assert len(seen) == 22
