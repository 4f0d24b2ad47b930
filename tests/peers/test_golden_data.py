"""The `paper` protocol against the published code's own outputs, for all six data sets of CSP-Bench.

Skipped where the folder of reference data is absent. Where both compute in float64 the relative error must be at
most 1e-6, where one computes in float32 at most 1e-5; relative to the largest value of each channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

import csp_data
from csp_data import LowPass
from csp_data.card import load_card
from csp_data.dataset import Dataset, Episode
from csp_data.normalization import features, fit
from csp_data.prepare.examples import examples
from csp_data.protocol import resolve
from csp_data.sources import load_source

FOLDERS = {
    "marker": "marker_writing_hiss_dataset",
    "slip": "intrinsic_slip_hiss_dataset",
    "joystick": "joystick_control_hiss_dataset",
    "ronin": "ronin",
    "vector": "vector",
    "totalcapture": "total_capture",
}
# modality of the resampled file -> columns of the inputs
MODALITIES = {
    "marker": {"tactile": slice(0, 30)},
    "slip": {"tactile": slice(0, 30)},
    "joystick": {"xela": slice(0, 27)},
    "ronin": {"acce": slice(0, 3), "gyro": slice(3, 6)},
    "vector": {"acce": slice(0, 3), "gyro": slice(3, 6)},
    "totalcapture": {"acce_global_frame_Head": slice(0, 3), "acce_global_frame_L_Foot": slice(33, 36)},
}
PUBLISHED = LowPass(hz=0.75, order=3, phase="zero")
FILTERS = {"nofilter": None, "filter": PUBLISHED}


@dataclass(frozen=True)
class Golden:
    name: str
    raw: Path
    expected: Path

    @property
    def meta(self) -> dict[str, Any]:
        return dict(json.loads((self.expected / "meta.json").read_text()))

    @property
    def parts(self) -> list[str]:
        """File name endings: one file, or one for training and one for evaluation."""
        return [end for end in ("", "_test") if f"episode_order{end}" in self.meta]

    def ids(self, end: str) -> list[str]:
        return [id_.replace("-", "_") for id_ in self.meta[f"episode_order{end}"]]

    def load(self, **options: Any) -> Dataset:
        return csp_data.load(self.name, raw=self.raw, protocol="paper", **options)

    def arrays(self, file: str) -> dict[str, npt.NDArray[Any]]:
        with np.load(self.expected / file) as arrays:
            return dict(arrays)


@pytest.fixture(scope="module", params=list(FOLDERS))
def golden(
    request: pytest.FixtureRequest,
    reference_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    untar: Callable[[Path, Path], None],
) -> Golden:
    folder = reference_dir / "golden" / "seed0" / FOLDERS[request.param]
    raw = folder / "raw"
    if archives := [*raw.glob("*.tar"), *raw.glob("*.tar.gz")]:
        raw = tmp_path_factory.mktemp(request.param)
        for archive in archives:
            untar(archive, raw)
    return Golden(request.param, raw, folder / "expected")


def episodes(dataset: Dataset) -> dict[str, Episode]:
    return {episode.id: episode for part in dataset.parts for episode in dataset.split(part)}


def close(ours: npt.ArrayLike, theirs: npt.NDArray[Any], computed: npt.DTypeLike) -> None:
    """Compare within the accuracy that the type of the computation allows, channel by channel."""
    ours = np.asarray(ours, dtype=np.float64)
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max(axis=0) if theirs.ndim > 1 else np.abs(theirs)
    bound = 1e-6 if computed == np.float64 else 1e-5
    error = np.abs(ours - theirs) / np.where(scale > 0, scale, 1.0)
    assert error.max(initial=0) <= bound, f"relative error {error.max():.2g}"


def test_kept_episodes_and_their_parts(golden: Golden) -> None:
    dataset = golden.load()
    meta = golden.meta
    names = [id_ for end in golden.parts for id_ in golden.ids(end)]
    ours = [row.id for row in dataset.episodes]
    assert sorted(ours) == sorted(names)
    dropped = {note["recording"] for note in dataset.provenance["notes"] if note["kind"] == "drop"}
    assert dropped == {id_ for end in golden.parts for id_ in meta[f"dropped{end}"]}
    part = {row.id: row.split for row in dataset.episodes}
    data = golden.arrays("dataset.npz")
    if golden.parts == [""]:
        train = {names[i] for i in data["train_idx"]}
        assert {names[i] for i in data["val_idx"]} == set(names) - train
    else:
        train = set(golden.ids(""))
    assert {id_ for id_, own in part.items() if own == "train"} == train
    assert {id_ for id_, own in part.items() if own == "eval"} == set(names) - train
    if golden.name in ("marker", "slip", "joystick"):  # the others' order is that of a file system
        assert ours == names


def test_resampled_inputs_in_double_precision(golden: Golden) -> None:
    card = load_card(golden.name)
    source, protocol = load_source(card), resolve(card, "paper")
    found = {recording.id: recording for recording in source.find(golden.raw)}
    for end in golden.parts:
        with h5py.File(golden.expected / f"resampled{end}.h5") as file:
            for i, id_ in enumerate(golden.ids(end)):
                ((example,), _) = examples(source.read(found[id_], card, protocol), card, source, protocol)
                for modality, columns in MODALITIES[golden.name].items():
                    if modality not in file:
                        continue
                    start, stop = file[f"{modality}_episode_ids"][i : i + 2]
                    close(example.inputs[:, columns], file[modality][start:stop], np.float64)
                    clock = file[f"{modality}_timestamps"][start]
                    assert example.start_s == pytest.approx(clock, abs=1e-6)


@pytest.mark.parametrize("filtered", FILTERS)
def test_inputs_and_targets(golden: Golden, filtered: str) -> None:
    ours = episodes(golden.load(lowpass=FILTERS[filtered]))
    compared = 0
    for end in golden.parts:
        lists = golden.arrays(f"lists{end}_{filtered}.npz")
        for i, id_ in enumerate(golden.ids(end)):
            for kind, values in (("input", ours[id_].inputs), ("target", ours[id_].targets)):
                if f"{kind}_{i:03d}" in lists:
                    theirs = lists[f"{kind}_{i:03d}"]
                    close(values, theirs, theirs.dtype)
                    compared += 1
    assert compared >= len(ours)


def statistics(golden: Golden, prefix: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    data = golden.arrays("dataset.npz")
    for name in ("input_mean", "input_std", "target_mean", "target_std"):
        yield name, data[f"{prefix}_{name}"]


@pytest.mark.parametrize("deltas", [False, True])
@pytest.mark.parametrize("filtered", FILTERS)
def test_shift_and_scale(golden: Golden, filtered: str, deltas: bool) -> None:
    norm = golden.load(lowpass=FILTERS[filtered], input_deltas=deltas).normalization
    ours = {
        "input_mean": (norm.inputs.shift, norm.inputs.scale),
        "input_std": (norm.inputs.scale, norm.inputs.scale),
        "target_mean": (norm.targets.shift, norm.targets.scale),
        "target_std": (norm.targets.scale, norm.targets.scale),
    }
    for name, theirs in statistics(golden, f"filt{int(filtered == 'filter')}_delta{int(deltas)}"):
        value, scale = ours[name]
        # a mean may be zero: what counts is its error as a share of the scale it is divided by
        error = np.abs(value - theirs) / scale
        assert error.max() <= (1e-6 if theirs.dtype == np.float64 else 1e-5), name


def padded(rows: list[npt.NDArray[Any]], length: int) -> list[npt.NDArray[np.float64]]:
    """Pad with zeros to a common length, as the published data set class does before it normalises."""
    return [np.pad(np.asarray(r, dtype=np.float64), ((0, length - len(r)), (0, 0))) for r in rows]


@pytest.mark.parametrize("filtered", FILTERS)
def test_what_a_model_sees(golden: Golden, filtered: str) -> None:
    dataset = golden.load(lowpass=FILTERS[filtered])
    ours, norm, protocol = episodes(dataset), dataset.normalization, dataset.protocol
    data, prefix = golden.arrays("dataset.npz"), f"filt{int(filtered == 'filter')}_delta1"
    for end, place in (("", ""), ("_test", "val_")):
        if end not in golden.parts or f"{prefix}_{place}norm_inputs" not in data:
            continue
        order = [ours[id_] for id_ in golden.ids(end)]
        seen = [features(e.inputs, deltas=protocol.input_deltas, clip=protocol.clip) for e in order]
        inputs = padded(seen, max(len(e.inputs) for e in order))
        inputs = [norm.inputs.apply(values) for values in inputs]
        targets = [
            norm.targets.apply(v) for v in padded([e.targets for e in order], max(len(e.targets) for e in order))
        ]
        for values, theirs in zip(inputs, data[f"{prefix}_{place}norm_inputs"], strict=False):
            # the prepared file is float32, and the change between two float32 numbers is as exact as they are
            width = len(dataset.channels.names)
            close(values[:, :width], theirs[:, :width], np.float32)
            rounding = np.finfo(np.float32).eps * np.abs(np.concatenate([e.inputs for e in order])).max(axis=0)
            allowed = 1e-5 * np.abs(theirs[:, width:]).max(axis=0) + 2 * rounding / norm.inputs.scale[width:]
            assert (np.abs(values[:, width:] - theirs[:, width:]) <= allowed).all()
        close(np.concatenate(targets), np.concatenate(data[f"{prefix}_{place}norm_targets"]), np.float32)
        if not place:
            length = len(inputs[0])
            sums = np.stack([values.sum(axis=0) for values in inputs])
            spread = np.sqrt(data[f"{prefix}_norm_inputs_sumsq"] * length)
            assert (np.abs(sums - data[f"{prefix}_norm_inputs_sum"]) <= 1e-5 * np.maximum(spread, 1)).all()
            squares = np.stack([np.square(values).sum(axis=0) for values in inputs])
            theirs = data[f"{prefix}_norm_inputs_sumsq"]
            np.testing.assert_allclose(squares[:, :width], theirs[:, :width], rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(squares[:, width:], theirs[:, width:], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("golden", ["ronin", "totalcapture"], indirect=True)
def test_statistics_of_the_evaluation_part_alone(golden: Golden) -> None:
    """What the published metrics un-normalise with, where there is a separate evaluation file."""
    dataset = golden.load()
    data = golden.arrays("dataset.npz")
    own = fit((episode.targets for episode in dataset.split("eval")), dataset.protocol.target_scaling)
    close(own.scale, data["filt0_delta1_valown_target_std"], np.float32)
    rows = (features(episode.inputs, deltas=True) for episode in dataset.split("eval"))
    close(fit(rows, dataset.protocol.input_scaling).scale, data["filt0_delta1_valown_input_std"], np.float32)


def test_the_longest_duration(reference_dir: Path) -> None:
    folder = reference_dir / "golden" / "seed0" / "ronin"
    ours = episodes(csp_data.load("ronin", raw=folder / "raw", protocol="paper", max_duration_s=5))
    order = json.loads((folder / "expected" / "meta.json").read_text())["episode_order"]
    with h5py.File(folder / "expected" / "resampled_maxdur5.h5") as file:
        for i, id_ in enumerate(order):
            start, stop = file["acce_episode_ids"][i : i + 2]
            close(ours[id_].inputs[:, :3], file["acce"][start:stop], np.float32)


def test_both_exports_of_totalcapture_hold_the_same(
    reference_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untar: Callable[[Path, Path], None]
) -> None:
    for number in (1, 2):
        for archive in (reference_dir / "golden" / "seed0" / "total_capture" / "raw").glob(f"S{number}_*"):
            untar(archive, tmp_path)
    card = load_card("totalcapture")
    source, protocol = load_source(card), resolve(card, "paper")
    short = [source.read(found, card, protocol) for found in source.find(tmp_path)]
    for file in tmp_path.rglob("*_Xsens.sensors"):
        file.unlink()
    long = [source.read(found, card, protocol) for found in source.find(tmp_path)]
    assert [recording.id for recording in short] == [recording.id for recording in long]
    assert len(short) == 3
    for a, b in zip(short, long, strict=True):
        for name in a.streams:
            np.testing.assert_array_equal(a.streams[name].values, b.streams[name].values)
