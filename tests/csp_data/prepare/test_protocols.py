"""The two protocols on small trees of every source: pinned numbers, true stamps, parts, and what cards add."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import csp_data
from csp_data import PAPER, STRICT, LowPass, Protocol, Resplit, Window, parallel
from csp_data.card import bundled_root, load_card, names
from csp_data.cli import cli
from csp_data.dataset import Dataset, Episode
from csp_data.errors import OptionError, UnknownNameError
from csp_data.normalization import Scaling
from csp_data.protocol import resolve

PINS = Path(__file__).parents[2] / "data" / "protocols"
SIX = ("joystick", "marker", "ronin", "slip", "totalcapture", "vector")
EPOCH = 1_700_000_000.0
SMALL = settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def rough(trees: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trees with all that real recordings have, made once."""
    made: dict[str, Path] = {}

    def tree(name: str) -> Path:
        if name not in made:
            made[name] = trees.write(name, tmp_path_factory.mktemp(name), rough=True)
        return made[name]

    return tree


def pinned(dataset: Dataset) -> dict[str, npt.NDArray[Any]]:
    """What stands for a prepared file: its table, statistics, and some of its rows."""
    rows = dataset.episodes
    return {
        "id": np.array([row.id for row in rows]),
        "split": np.array([row.split for row in rows]),
        "stop": np.array([row.target_stop for row in rows]),
        "start_s": np.array([row.start_s for row in rows]),
        "inputs": dataset.prepared.read("inputs", 0, rows[-1].input_stop)[::37],
        "targets": dataset.prepared.read("targets", 0, rows[-1].target_stop)[::3],
        **{
            f"{name}_{what}": getattr(getattr(dataset.normalization, name), what).astype(np.float32)
            for name in ("inputs", "targets")
            for what in ("shift", "scale")
        },
    }


@pytest.mark.parametrize("protocol", ["paper", "strict"])
@pytest.mark.parametrize("name", SIX)
def test_prepared_numbers_stay_what_they_are(name: str, protocol: str, rough: Callable[[str], Path]) -> None:
    """The pins were written when the paper protocol equalled the published outputs (scripts/make_pins.py)."""
    ours = pinned(csp_data.load(name, raw=rough(name), protocol=protocol))
    with np.load(PINS / f"{name}_{protocol}.npz") as pins:
        assert set(pins) == set(ours)
        for key, theirs in pins.items():
            if theirs.dtype.kind in "US" or key == "stop":
                assert ours[key].tolist() == theirs.tolist(), key
            else:
                scale = np.abs(theirs).max(axis=0)
                assert ours[key].shape == theirs.shape, key
                assert (np.abs(ours[key] - theirs) <= 1e-5 * scale + 1e-9).all(), key


def truth(
    name: str, seed: int, trees: ModuleType
) -> tuple[float, Callable[[Array], Array], Callable[[Array], Array]]:
    """Start of the clock, inputs and reference of a recording as functions of seconds after it (smooth trees)."""
    wave = trees.wave
    rotation = np.tile([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 13)  # first two columns of the identity, row by row

    def turn(t: Array) -> Array:
        return np.asarray(0.4 * np.sin(1.1 * t))[:, None]

    return {
        "marker": (EPOCH, lambda t: wave(t, 30, 200.0, seed), lambda t: wave(t, 3, 0.1, seed + 50)[:, :2]),
        "slip": (
            EPOCH,
            lambda t: wave(t, 30, 200.0, seed),
            lambda t: np.hstack([wave(t, 3, 0.1, seed + 50)[:, [0, 2]], turn(t)]),
        ),
        "joystick": (EPOCH, lambda t: wave(t, 27, 300.0, seed), lambda t: wave(t, 3, 0.8, seed + 50)),
        "ronin": (
            3000.0,
            lambda t: np.hstack([wave(t, 3, 5.0, seed), wave(t, 3, 0.5, seed + 20)]),
            lambda t: wave(t, 3, 1.0, seed + 50)[:, :2],
        ),
        "vector": (
            10.0,
            lambda t: np.hstack([wave(t, 3, 5.0, seed), wave(t, 3, 0.5, seed + 20)]),
            lambda t: wave(t, 3, 1.0, seed + 50),
        ),
        "totalcapture": (
            0.0,
            lambda t: np.hstack([wave(t, 39, 5.0, seed), np.tile(rotation, (len(t), 1))]),
            lambda t: wave(t, 63, 4.0, seed + 50) * 0.0254,
        ),
    }[name]


def check_stamps(episode: Episode, name: str, seed: int, trees: ModuleType) -> None:
    """Inputs and targets are those of the times they are stamped with, to a fraction of an input sample."""
    start, inputs, reference = truth(name, seed, trees)
    want = inputs(episode.time - start)
    offset = np.median(episode.inputs - want, axis=0)  # the baseline that a protocol subtracts
    slope = np.abs(np.diff(want, axis=0)).max(axis=0)  # what a shift by one sample would change
    assert (np.abs(episode.inputs - want - offset) <= 0.25 * slope + 1e-4).all()
    ends = episode.target_time - start
    if load_card(name).targets[0].increment:
        moved = (reference(ends) - reference(ends - 0.2)) / 0.2
    else:
        moved = reference(ends) - reference(ends[:1] - 0.2)
    slope = np.abs(np.diff(moved, axis=0)).max(axis=0) / 10
    assert (np.abs(episode.targets - moved) <= 0.25 * slope + 2e-3 * np.abs(moved).max(axis=0)).all()


def written(name: str, seconds: float, trees: ModuleType, folder: Path, request: pytest.FixtureRequest) -> Path:
    """A raw tree of any registered data set: made up, shipped with the package, or original recordings."""
    if name in trees.WRITERS:
        return Path(trees.write(name, folder, seconds))
    card = load_card(name)
    if (shipped := bundled_root(card)) is not None:
        return shipped
    original = Path(request.getfixturevalue("reference_dir")) / "data" / name
    for part in card.splits["strict"].parts:  # one of each part: they are long
        there = [file for id_ in getattr(card.splits["strict"], part) for file in original.glob(f"{id_}.*")]
        for file in there[:1]:
            (folder / file.name).symlink_to(file)
    assert any(folder.iterdir()), f"{name} has no recordings for tests: write a tree in tests/csp_data/trees.py"
    return folder


def check_stamps_of_broad(episode: Episode, root: Path) -> None:
    """Against the raw file, interpolated by numpy: inputs, and the speed, which does not depend on the frame."""
    with h5py.File(root / f"{episode.id.split('.')[0]}.hdf5") as file:
        rate = float(file.attrs["sampling_rate"])
        position, acceleration = file["opt_pos"][()], file["imu_acc"][()]
    clock = np.arange(len(position)) / rate
    seen = np.isfinite(position).all(axis=1)

    def at(time: Array, values: Array, rows: npt.NDArray[np.bool_]) -> Array:
        return np.stack([np.interp(time, clock[rows], v[rows]) for v in values.T], axis=1)

    want = at(episode.time, acceleration, np.ones(len(clock), dtype=bool))
    np.testing.assert_allclose(episode.inputs[:, :3], want, rtol=1e-5, atol=1e-4)
    ends = episode.target_time
    moved = np.linalg.norm(at(ends, position, seen) - at(ends - 0.2, position, seen), axis=1) / 0.2
    np.testing.assert_allclose(np.linalg.norm(episode.targets, axis=1), moved, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", autouse=True)
def _processes_for_the_smallest_tree() -> Iterator[None]:
    pool = parallel.start_workers(3)
    pool.submit(parallel.keep_freed).result()  # started, so that they have a part in the work
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "WORTH_PROCESSES", 0)
        patch.setattr(parallel, "start_workers", lambda count: pool)
        patch.setattr(pool, "shutdown", lambda **kept: None)
        yield
    pool.shutdown(wait=True)


@pytest.mark.parametrize("name", names())
@SMALL
@given(data=st.data())
def test_properties_of_every_data_set(
    name: str,
    data: st.DataObject,
    trees: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    """Parts share no recording, stamps are true, jobs change nothing, windows stay within episodes."""
    protocol = data.draw(st.sampled_from(["strict", *sorted(set(load_card(name).splits) - {"strict"})]))
    step = 1 / resolve(load_card(name), protocol).target_hz
    window = Window(data.draw(st.sampled_from([2, 5, 8]), label="window") * step, 2 * step)
    seconds = data.draw(st.floats(4.2, 5.5), label="seconds")
    root = written(name, seconds, trees, tmp_path_factory.mktemp(name), request)
    out = tmp_path_factory.mktemp("out")
    paths = [
        csp_data.prepare(name, raw=root, protocol=protocol, window=window, jobs=jobs, out=out / f"{i}.h5")
        for i, jobs in enumerate((1, 1, 4))
    ]
    one, *others = (Dataset(path) for path in paths)
    for other in others:
        assert one.episodes == other.episodes
        for part in one.parts:
            for a, b in zip(one.split(part), other.split(part), strict=True):
                np.testing.assert_array_equal(a.inputs, b.inputs)
                np.testing.assert_array_equal(a.targets, b.targets)
    recordings = [{row.id.split(".")[0] for row in one.split(part).rows} for part in one.parts]
    assert sum(map(len, recordings)) == len(set.union(*recordings))
    if protocol == "strict":
        check_every_stamp(one, name, root, trees)
    with h5py.File(paths[0]) as file:
        table = np.stack([file["windows"][key][()] for key in ("episode", "target_start", "target_stop")], axis=1)
    rows = one.episodes
    assert len(table)
    assert all(rows[e].target_start <= a < b <= rows[e].target_stop for e, a, b in table)


def check_every_stamp(dataset: Dataset, name: str, root: Path, trees: ModuleType) -> None:
    seeds = {id_.replace("-", "_"): i for i, id_ in enumerate(trees.NAMES.get(name, ()))}
    for part in dataset.parts:
        for episode in dataset.split(part):
            chunk = dataset.protocol.chunk
            np.testing.assert_allclose(episode.time[chunk - 1 :: chunk], episode.target_time)
            if seeds:
                check_stamps(episode, name, seeds[episode.id], trees)
            else:
                check_stamps_of_broad(episode, root)


@pytest.mark.parametrize("protocol", [None, "strict"])
@pytest.mark.parametrize("name", names())
def test_every_name_loads_and_info_says_what_the_file_holds(
    name: str,
    protocol: str | None,
    trees: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    root = written(name, 5.0, trees, tmp_path_factory.mktemp(name), request)
    dataset = csp_data.load(name, raw=root, protocol=protocol)
    assert dataset.name == name
    assert dataset.protocol.name == (protocol or load_card(name).protocol)
    assert all(len(dataset.split(part)) for part in dataset.parts)
    options = ["--protocol", protocol] if protocol else []
    result = CliRunner().invoke(cli, ["info", name, "--raw", str(root), "--prepared", *options])
    assert result.exit_code == 0, result.output
    assert load_card(name).title in result.output
    for part in dataset.parts:
        count = len(dataset.split(part))
        assert f"{part:<6} {count} episode{'s' * (count != 1)}, " in result.output
    found = dataset.provenance["recordings"]
    assert f"{found['found']} found, {found['used']} used" in result.output


@pytest.mark.parametrize("name", SIX)
def test_in_paper_streams_are_shifted_by_less_than_their_intervals(
    name: str, rough: Callable[[str], Path]
) -> None:
    dataset = csp_data.load(name, raw=rough(name), protocol="paper")
    assert [row.id for row in dataset.eval.rows] == [row.id for row in dataset.split(dataset.report).rows]
    for part in dataset.parts:
        for episode in dataset.split(part):
            # target k is stamped with the first input of chunk k; how far off the reference is, is not in the file
            np.testing.assert_allclose(episode.time[:: dataset.protocol.chunk], episode.target_time)
            assert not episode.targets[0].any()


@pytest.mark.parametrize("name", names())
def test_what_a_card_adds_to_a_protocol_is_valid(name: str) -> None:
    card = load_card(name)
    for protocol in card.protocols:
        made = resolve(card, protocol)
        assert isinstance(made, Protocol)
        assert Protocol.from_json(made.to_json()) == made
    for split in card.splits:
        assert "train" in card.splits[split].parts


def test_what_a_person_sets_wins_over_the_card() -> None:
    card = load_card("ronin")
    assert resolve(card, PAPER).max_duration_s == 240
    assert resolve(card, PAPER.replace(max_duration_s=None)).max_duration_s is None
    assert resolve(card, PAPER.replace(lowpass=LowPass(0.75, phase="zero"))).max_duration_s == 240
    changed = resolve(card, PAPER.replace(input_scaling=Scaling()))
    assert changed.input_scaling == Scaling()
    assert resolve(card, Protocol.from_json(changed.to_json())) == changed


def test_a_card_with_a_protocol_that_there_is_not_hears_which_there_are() -> None:
    card = load_card("vector")
    bench = dataclasses.replace(card, protocol="bench", splits={"bench": card.splits["strict"]}, protocols={})
    with pytest.raises(UnknownNameError, match=r"no protocol 'bench' of vector\. Known: paper, strict\."):
        resolve(bench)


def test_a_split_can_be_chosen_alone(rough: Callable[[str], Path]) -> None:
    dataset = csp_data.load("marker", raw=rough("marker"), protocol="paper", split="strict")
    assert dataset.parts == ("train", "val", "test")
    with pytest.raises(UnknownNameError, match=r"part '.*' of marker"):
        dataset.split("eval")
    with pytest.raises(UnknownNameError, match=r"split 'stric' of marker.*Did you mean 'strict'"):
        csp_data.load("marker", raw=rough("marker"), split="stric")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "own"}, "grid='own'.*common, own-start"),
        ({"baseline": "mode"}, "none, mean, median"),
        ({"baseline_rows": 0}, "a whole number of at least 1"),
        ({"recording_s": (20, 10)}, "a shortest and a longest"),
        ({"raw_clip": 0}, "a value above 0"),
        ({"grid": "own-start", "resample": "mean"}, "grid='common' with it"),
        ({"input_scaling": {"factor": 0.0}}, r"scaling\.factor"),
        ({"input_scaling": {"shape": 1}}, r"input_scaling\.shape"),
        ({"truth_quaternions": "zyxw"}, "xyzw, wxyz"),
    ],
)
def test_choices_out_of_bounds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        STRICT.replace(**options)


def test_whole_numbers_name_the_same_recipe_as_floats() -> None:
    whole = STRICT.replace(target_hz=10, lowpass=LowPass(hz=2, order=3))
    assert whole.to_json() == STRICT.replace(target_hz=10.0, lowpass=LowPass(hz=2.0, order=3)).to_json()
    assert '"order": 3,' in whole.to_json()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lowpass", 5, "lowpass=5: expected a csp_data.LowPass, or a dict of its fields"),
        ("window", 10, "expected a csp_data.Window, or a dict of its fields"),
        ("resplit", 0.5, "expected a csp_data.Resplit"),
        ("input_scaling", None, "expected a csp_data.Scaling"),
        ("inputs", "mic,gyr", 'expected a list of names of streams, each once, such as ["mic", "gyr"]'),
        ("inputs", (), "each once"),
        ("inputs", ("gyroscope", "gyroscope"), "each once"),
        ("input_hz", "50", "input_hz='50': expected a rate above 0 Hz"),
        ("input_hz", None, "expected a rate above 0 Hz"),
        ("input_hz", True, "expected a rate above 0 Hz"),
        ("input_hz", float("inf"), "expected a rate above 0 Hz"),
        ("target_hz", float("nan"), "expected a rate above 0 Hz"),
        ("baseline_rows", 1.5, "expected a whole number"),
        ("input_deltas", "no", "expected true or false"),
        ("recording_s", 5, "a shortest and a longest duration"),
        ("recording_s", (1, 2, 3), "a shortest and a longest duration"),
        ("window", Window(float("inf")), "a positive multiple of 0.2 s"),
        ("window", Window(10, stride=float("nan")), "a positive multiple of 0.2 s"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        STRICT.replace(**{field: value})


def test_numbers_of_numpy_and_whole_numbers_are_numbers() -> None:
    changed = STRICT.replace(
        input_hz=np.float64(100), target_hz=np.int64(5), min_episode_s=3, window={"seconds": 2}
    )
    assert (changed.chunk, changed.window) == (20, Window(2))


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    """As of ``for hz in np.arange(10, 60, 10)``: they are the same recipe, and the same file."""
    fields: dict[str, Any] = {"input_hz": 50, "clip": 2.5, "baseline_rows": 3, "recording_s": (1.0, 2.0)}
    plain = STRICT.replace(**fields, window=Window(4, 2), lowpass=LowPass(5, 2), input_deltas=False)
    kinds = (np.int64, np.float32, np.int16, np.float64)
    numpy = {
        name: tuple(map(kind, value)) if isinstance(value, tuple) else kind(value)
        for kind, (name, value) in zip(kinds, fields.items(), strict=True)
    }
    window, lowpass = Window(np.int64(4), np.float32(2)), LowPass(np.float32(5), np.int64(2))
    given = STRICT.replace(**numpy, window=window, lowpass=lowpass, input_deltas=np.bool_(False))
    assert given.to_json() == plain.to_json()
    direct = Protocol(name="strict", input_hz=np.int64(20))
    assert direct.to_json() == Protocol(name="strict", input_hz=20).to_json()
    made = csp_data.simulate("vector", tmp_path / "made", hours=0.002, seed=np.int64(3))
    assert '"seed": 3' in (made / "SIMULATED.json").read_text()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LowPass("5"), r"lowpass\.hz='5': expected a cut-off"),
        (lambda: LowPass(None), r"lowpass\.hz=None: expected a cut-off"),
        (lambda: LowPass(5, order="3"), r"lowpass\.order='3': expected a whole number"),
        (lambda: LowPass(5, order=np.inf), r"lowpass\.order=inf: expected a whole number"),
        (lambda: STRICT.replace(window=Window("10")), r"window\.seconds='10': expected a positive multiple"),
        (lambda: STRICT.replace(window=Window(1e308)), r"window\.seconds=1e\+308: expected a positive multiple"),
        (lambda: STRICT.replace(window=Window(2, 1e308)), r"window\.stride=1e\+308: expected a positive multiple"),
        (
            lambda: csp_data.simulate("vector", "never-made", hours=1e308, seed=1),
            r"hours=1e\+308: .* at most 75 h",
        ),
        (lambda: STRICT.replace(window=Window(10, "5")), r"window\.stride='5': expected a positive multiple"),
        (lambda: STRICT.replace(look_ahead_s=np.inf), r"look_ahead_s=inf: expected a number of seconds"),
        (lambda: Scaling(factor=np.inf), r"scaling\.factor=inf: expected a value above 0"),
        (lambda: Scaling(floor=np.inf), r"scaling\.floor=inf: expected a value of at least 0"),
        (lambda: Scaling(floor=-1), r"scaling\.floor=-1: expected a value of at least 0"),
        (lambda: csp_data.simulate("vector", "never-made", hours=1, seed=1.5), r"seed=1\.5: expected a whole"),
        (lambda: csp_data.prepare("sample", jobs="2"), r"jobs='2': expected a whole number"),
        (lambda: csp_data.prepare("sample", jobs=True), r"jobs=True: expected a whole number"),
        (lambda: csp_data.simulate("vector", "never-made", hours=True, seed=1), r"hours=True: expected a length"),
        (lambda: csp_data.simulate("vector", "never-made", hours=1, seed=1, jobs=1.0), r"jobs=1\.0: expected a"),
        (lambda: LowPass(5, order=3.0), r"lowpass\.order=3\.0: expected a whole number"),
        (lambda: LowPass(5, phase=["zero"]), r"lowpass\.phase=\['zero'\]: expected one of zero, causal"),
        (lambda: Resplit(share=True), r"resplit\.share=True: expected a share"),
        (lambda: STRICT.replace(recording_s=("1", 2)), r"recording_s=\('1', 2\): expected a shortest"),
        (lambda: csp_data.check_source("sample", limit=0), r"limit=0: expected a whole number of at least 1"),
    ],
)
def test_what_is_no_number_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
