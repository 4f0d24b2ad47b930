"""Ablations on the sample, in a size for CI: what is varied, that nothing is made twice, what is written."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import csp_data
from baselines.ablations.rows import COLUMNS
from baselines.ablations.variants import KINDS, Base, Variant
from baselines.cli import main
from baselines.errors import OptionError
from baselines.published import TRAINING
from baselines.results import Target
from baselines.results.rows import relative_mse
from baselines.runs.run import read_run
from baselines.training.ledger import count_executed
from csp_data.acquire.rawtree import raw_root
from csp_data.card import load_card
from csp_data.protocol import resolve

TINY = ("train.epochs=1", "train.window_s=4", "train.window_stride_s=4", "data.max_duration_s=12",
        "model.dim=4", "model.hidden=4", "model.layers=1")  # fmt: skip
MODELS = ("flat-lstm", "hiss-lstm-lstm")


def command(kind: str, out: Path, *more: str, models: Sequence[str] = MODELS, seeds: str = "0") -> None:
    main(["ablate", kind, "--datasets", "sample", "--models", *models, "--seeds", seeds, "--out", str(out),
          "--set", *TINY, *more])  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        reader = csv.DictReader(file)
        found = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    return found


def base(name: str, protocol: str) -> Base:
    card = load_card(name)
    return Base(card, resolve(card, protocol), TRAINING[protocol])


def variants(kind: str, name: str, protocol: str, values: Sequence[float] = ()) -> dict[str, Variant]:
    return {variant.name: variant for variant in KINDS[kind].variants(base(name, protocol), values)}


def prepared(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (home / "prepared").glob("sample-*.h5")}


def test_lowpass_on_the_sample(tmp_path: Path, empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("lowpass", tmp_path / "out", "--values", "3", "6", "3")  # one value twice is one value
    made = prepared(empty_home)
    assert len(made) == 5  # no filter, two cut-offs in two phases: for two models and the reference
    found = rows(tmp_path / "out" / "lowpass.csv")
    assert len(found) == 5 * 3
    assert {(row["series"], row["value"]) for row in found} == {
        ("no filter", ""), ("causal", "3.0"), ("causal", "6.0"), ("zero-phase", "3.0"), ("zero-phase", "6.0"),
    }  # fmt: skip
    read = {row["run"]: read_run(tmp_path / "out" / row["run"]) for row in found}
    means = {run.config.data.recipe_hash: run.reported["channels"] for run in read.values() if not run.epochs}
    for row in found:
        run = read[row["run"]]
        lowpass = run.config.data.protocol["lowpass"]
        phase = {"causal": "causal", "zero-phase": "zero"}.get(row["series"])
        assert (lowpass and lowpass["phase"]) == phase
        assert (lowpass and lowpass["hz"]) == (float(row["value"]) if row["value"] else None)
        assert (row["config"], row["recipe"]) == (run.config.key, run.config.data.recipe_hash)
        assert row["config"] in row["run"]
        assert (row["kind"], row["protocol"], row["device"]) == ("real recordings", "strict", "cpu")
        squares = [values["rmse"] ** 2 for values in run.reported["si"].values()]
        assert float(row["rmse"]) == pytest.approx(math.sqrt(sum(squares) / 3))
        assert (row["rmse_unit"], row["mse_unit"]) == ("m/s", "(m/s)^2")
        assert float(row["mse"]) == pytest.approx(float(row["rmse"]) ** 2)
        assert float(row["selected_mse"]) == run.selected["mse"]
        mean = means[row["recipe"]]
        shares = [values["mse"] / mean[name]["mse"] for name, values in run.reported["channels"].items()]
        assert float(row["relative_mse"]) == pytest.approx(sum(shares) / 3)
    svg = (tmp_path / "out" / "lowpass.svg").read_text()
    for text in ("sample: real recordings, not CSP-Bench; protocol strict, on test, 1 seed", "cut-off (Hz)",
                 "RMSE (m/s)", "flat-lstm", "hiss-lstm-lstm", "causal", "zero-phase", "no filter"):  # fmt: skip
        assert text in svg
    assert (tmp_path / "out" / "lowpass.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert (
        "sample (real recordings), protocol strict: test RMSE (m/s)\n"
        "| variant | flat-lstm | hiss-lstm-lstm | mean |"
    ) in said
    shown = [f"{float(row['rmse']):.4g}" for row in found if row["variant"] == "causal, 3 Hz"]
    assert f"| causal, 3 Hz | {' | '.join(shown)} |" in said
    from baselines.ablations.figure import draw

    (ax,) = draw("lowpass", [_typed(row) for row in found], ["flat-lstm"]).axes
    drawn = [tuple(line.get_ydata()) for line in ax.lines]
    for series in ("causal", "zero-phase"):
        points = [row for row in found if (row["model"], row["series"]) == ("flat-lstm", series)]
        assert tuple(float(row["rmse"]) for row in sorted(points, key=lambda row: float(row["value"]))) in drawn
    files = {path: path.read_bytes() for path in (tmp_path / "out").glob("lowpass.*")}
    for path in files:
        path.unlink()
    command("lowpass", tmp_path / "out", "--values", "3", "6", "--json")
    assert json.loads(capsys.readouterr().out)["files"][0].endswith("lowpass.csv")
    assert {path: path.read_bytes() for path in files} == files
    executed = count_executed((tmp_path / "out" / "runs").iterdir())
    assert (executed.starts, executed.finished, executed.twice) == (15, 15, ())
    assert prepared(empty_home) == made


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("chunk", ["2", "10", "7"], {"2.0": "25.0", "10.0": "5.0"}),
        ("fraction", ["25", "100"], {"25.0": "5.0", "100.0": "5.0"}),
        ("context", ["1", "4"], {"1.0": "5.0", "4.0": "5.0"}),
        ("deltas", [], {"": "5.0"}),
    ],
)
def test_the_other_kinds_on_the_sample(
    kind: str, values: list[str], expected: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [s for s in TINY if kind != "context" or "window" not in s]
    main(["ablate", kind, "--datasets", "sample", "--models", "flat-lstm", "--seeds", "0", "--out", str(tmp_path),
          *(["--values", *values] if values else []), "--set", *kept])  # fmt: skip
    said = capsys.readouterr().out
    found = rows(tmp_path / f"{kind}.csv")
    run_ = [row for row in found if row["run"]]
    assert {row["value"]: row["target_hz"] for row in run_} == expected
    notes = [row["note"] for row in found if not row["run"]]
    assert notes == (
        ["not applicable: window_s of 200 samples is no whole number of such chunks"] * (kind == "chunk")
    )
    assert all(note in said for note in notes)
    assert {(row["rmse_unit"], row["kind"]) for row in run_} == {("m/s", "real recordings")}
    assert "real recordings" in (tmp_path / f"{kind}.svg").read_text()
    assert (tmp_path / f"{kind}.png").stat().st_size > 5000
    runs = {row["config"]: read_run(tmp_path / row["run"]).config for row in run_}
    assert count_executed((tmp_path / "runs").iterdir()).finished == len(runs)
    if kind == "deltas":
        arms = {(row["series"], row["arm"]): runs[row["config"]].data.protocol for row in run_}
        assert [arms["input deltas", arm]["input_deltas"] for arm in ("without", "with")] == [False, True]
        assert [arms["averaged inputs", arm]["resample"] for arm in ("without", "with")] == ["linear", "mean"]
        assert arms["magnetometer", "with"]["inputs"] == ["accelerometer", "gyroscope", "magnetometer"]
        assert len(runs) == 4 * 2  # what is without the others is the protocol as it is


def test_contexts_take_as_many_steps_on_as_many_samples() -> None:
    found = variants("context", "sample", "strict", [20, 1, 5])  # a line is drawn from left to right
    trained = [dict(variant.train) for variant in found.values()]
    assert [t["window_s"] * t["batch"] for t in trained] == [160, 160, 160]
    assert [t["window_stride_s"] for t in trained] == [0.2, 1, 4]
    assert variants("context", "sample", "strict", [0.3])["0.3 s"].note
    published = variants("context", "vector", "paper", [5])
    assert published["5 s"].train == {"window_s": 5, "window_stride_s": 5, "batch": 4}
    assert not published["whole episodes"].train


def test_chunks_change_the_rate_and_fit_the_windows() -> None:
    found = variants("chunk", "sample", "strict")
    assert [v.data["target_hz"] for v in found.values() if not v.note] == [25, 10, 5, 2, 1]
    assert [v.note for v in variants("chunk", "sample", "strict", [2.5, 0]).values()] == [
        "a chunk is a whole number of samples"
    ] * 2
    assert [(v.value, v.note) for v in variants("chunk", "vector", "paper", [7, 3]).values()] == [(3, ""), (7, "")]


def test_leak_on_the_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("leak", tmp_path, models=["flat-lstm"], seeds="0-1")
    assert "30 runs, 30 of them done now; 0 failed" in capsys.readouterr().out
    found = rows(tmp_path / "leak.csv")
    switches = ["statistics", "selection", "filter", "look-ahead", "neighbours", "all of these"]
    assert list(dict.fromkeys(row["series"] for row in found)) == switches
    learned = [row for row in found if row["model"] == "flat-lstm"]
    assert len(learned) == 6 * 2 * 2
    by = {(row["series"], row["arm"], row["seed"]): row for row in learned}
    clean = {by[name, "clean", "0"]["config"] for name in ("statistics", "selection", "look-ahead")}
    assert len(clean) == 1  # the protocol as it is: run once, for three leaks
    assert {row["part"] for row in learned if row["arm"] == "leaky" and row["series"] in switches[1::4]} == {
        "eval"
    }
    for name in switches:
        steps = {by[name, arm, "0"]["steps"] for arm in ("clean", "leaky")}
        assert len(steps) == 1, name
    executed = count_executed((tmp_path / "runs").iterdir())
    assert (executed.finished, executed.twice) == (10 * 3, ())  # ten recipes, two seeds and the reference
    changes = [
        100 * (math.sqrt(float(by["filter", "leaky", s]["mse"]) / float(by["filter", "clean", s]["mse"])) - 1)
        for s in "01"
    ]
    from baselines.ablations.figure import _percent_changes, draw
    from baselines.ablations.rows import Row
    from csp_data.plot.style import COLOURS, GREYS

    typed = [_typed(row) for row in learned if row["series"] == "filter"]
    assert _percent_changes(typed) == pytest.approx(changes)
    figure = draw("leak", [_typed(row) for row in found], ["flat-lstm"])
    (ax,) = figure.axes
    drawn = ax.containers[0].lines[0].get_ydata()[2]
    assert drawn == pytest.approx(statistics.fmean(changes))
    (ax,) = draw("leak", [_typed(row) for row in found], ["fir", "flat-lstm"]).axes
    colours = {container.get_label(): container.lines[0].get_color() for container in ax.containers}
    assert colours == {"fir": GREYS[0], "flat-lstm": COLOURS[0]}
    assert isinstance(typed[0], Row)
    # of several units squares have no mean
    mixed = [
        dataclasses.replace(row, rmse=None, rmse_unit="", relative_mse={"clean": 1.0, "leaky": 0.25}[row.arm])
        for row in typed
    ]
    assert _percent_changes(mixed) == pytest.approx([-50, -50])
    (ax,) = draw("leak", mixed, ["flat-lstm"]).axes
    assert "each target over that of the training mean" in ax.get_ylabel()


def test_a_target_that_never_varies_is_left_out_of_the_share() -> None:
    mean = {"x": Target("m", 2.0, 2.0), "z": Target("m", 0.0, 0.0)}
    assert relative_mse({"x": Target("m", 1.0, 1.0), "z": Target("m", 1e-6, 1e-6)}, mean) == 0.25
    assert relative_mse({"z": Target("m", 1e-6, 1e-6)}, {"z": Target("m", 0.0, 0.0)}) is None


def _typed(row: dict[str, str]):  # type: ignore[no-untyped-def]
    from baselines.ablations.rows import Row

    numbers = {f.name for f in dataclasses.fields(Row) if "float" in str(f.type) or "int" in str(f.type)}
    return Row(**{k: (float(v) if v else None) if k in numbers else v for k, v in row.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        (name, protocol)
        for name in ("marker", "slip", "joystick", "ronin", "vector", "totalcapture", "broad", "sample")
        for protocol in load_card(name).splits
    ],
)
def test_every_leak_stands_on_every_data_set(name: str, protocol: str) -> None:
    """Arms differ in the leak alone; one arm of each is the protocol itself where that decides the leak."""
    start, found = base(name, protocol).protocol, variants("leak", name, protocol)
    missing = {variant.series for variant in found.values() if variant.note}
    assert missing == ({"statistics"} if name in ("ronin", "totalcapture") else set())
    leaks = {"statistics": "statistics", "look-ahead": "look_ahead_s", "filter": "lowpass"}
    own = "clean" if protocol == "strict" else "leaky"
    for series in dict.fromkeys(variant.series for variant in found.values() if not variant.note):
        clean, leaky = (start.replace(**dict(found[f"{series}, {arm}"].data)) for arm in ("clean", "leaky"))
        differing = {
            f.name for f in dataclasses.fields(clean) if getattr(clean, f.name) != getattr(leaky, f.name)
        } - {"changed"}
        if series != "all of these":
            assert differing == {leaks.get(series, "resplit")}
        if series in ("statistics", "selection", "look-ahead"):
            assert not found[f"{series}, {own}"].data
    ahead = [start.replace(**dict(found[f"look-ahead, {arm}"].data)) for arm in ("clean", "leaky")]
    shift = [p.target_shift_s - (0.18 if p.grid == "own-start" else 0) for p in ahead]
    assert shift == pytest.approx([0, -0.18])
    everything = start.replace(**dict(found["all of these, leaky"].data))
    assert everything.resplit is not None
    assert (everything.resplit.neighbours, everything.resplit.selection) == ("both", "report")
    nothing = start.replace(**dict(found["all of these, clean"].data))
    assert nothing.resplit is not None
    assert (nothing.resplit.neighbours, nothing.resplit.selection) == ("apart", None)
    assert nothing.split_name == "strict"


def test_cutoffs_rise_in_octaves_from_the_published_filter() -> None:
    """Published: 0.75 Hz at 50 Hz, order 3, forward and backward."""
    found = variants("lowpass", "vector", "paper")
    filters = {(v.series, v.value): v.data["lowpass"] for v in found.values()}
    assert filters.pop(("no filter", None)) is None
    assert filters == {
        (series, hz): {"hz": hz, "order": 3, "phase": phase}
        for series, phase in (("causal", "causal"), ("zero-phase", "zero"))
        for hz in (0.75, 1.5, 3, 6, 12)
    }
    assert {v.series for v in variants("lowpass", "vector", "paper", [30]).values()} == {
        v.series for v in found.values()
    }


@pytest.mark.parametrize("asked", [{"seed": 3}, {"share": 0.25}])
def test_subsets_keep_what_else_is_asked_of_the_split(asked: dict[str, float]) -> None:
    """Beside a share that was asked for, 100 % were as few recordings as that."""
    start = base("sample", "strict")
    other = dataclasses.replace(start, protocol=start.protocol.replace(resplit=asked))
    found = {v.value: start.protocol.replace(**{"resplit": asked, **v.data}).resplit
             for v in KINDS["fraction"].variants(other, [25, 100])}  # fmt: skip
    assert found == {share: csp_data.Resplit(**{**asked, "share": share / 100}) for share in (25, 100)}  # type: ignore[arg-type]
    assert (
        len([v for v in KINDS["fraction"].variants(other, [25, 100]) if not v.data]) == 1
    )  # the data as they are


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_else_may_set_what_an_ablation_varies(kind: str) -> None:
    found = [
        variant
        for name, protocol in (("sample", "strict"), ("vector", "strict"), ("vector", "paper"))
        for variant in variants(kind, name, protocol).values()
    ]
    varied = {f"data.{name}" for variant in found for name in variant.data}
    varied |= {f"train.{name}" for variant in found for name in variant.train}
    beside = {"data.resplit"} if kind == "fraction" else set()  # what else it holds is kept
    assert varied == {*KINDS[kind].fields} | beside


def test_what_does_not_apply_is_named() -> None:
    found = variants("lowpass", "sample", "strict", [3, 25, 40])
    assert {v.value for v in found.values() if v.note} == {25, 40}
    assert all("not below 25 Hz" in v.note for v in found.values() if v.note)
    assert [v.value for v in found.values() if not v.note] == [None, 3, 3]
    found = variants("fraction", "sample", "strict", [150, 50])
    assert [(v.value, v.note) for v in found.values()] == [(50, ""), (150, "more than all recordings")]
    found = variants("context", "sample", "strict", [0.1, 0.2])
    assert {v.value: v.note for v in found.values()} == {0.1: "no whole number of steps of 0.2 s", 0.2: ""}
    (note,) = [v.note for v in variants("leak", "sample", "strict", [25]).values() if v.series == "filter"]
    assert note == "a cut-off of 25 Hz is not below half the rate"
    assert not variants("leak", "sample", "strict", [24])["filter, leaky"].note
    whole = base("sample", "strict")
    whole = dataclasses.replace(whole, protocol=whole.protocol.replace(target_hz=50))
    assert {v.series for v in KINDS["leak"].variants(whole, []) if v.note} == {
        "look-ahead"
    }  # chunks of one sample
    notes = {v.series: v.note for v in variants("deltas", "vector", "paper").values()}
    assert [series for series, note in notes.items() if note] == ["averaged inputs"]
    with pytest.raises(OptionError, match="no axis"):
        variants("deltas", "sample", "strict", [1])
    with pytest.raises(OptionError, match="one cut-off"):
        variants("leak", "sample", "strict", [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.lr=1e-3,1e-2"], "one value"),
        (["--set", "data.lowpass=null"], "no setting that the ablation lowpass varies itself"),
        (["--jobs", "0"], "--jobs 0: "),
        (["--models", "flat-lstn"], "Did you mean 'flat-lstm'"),
        (["--datasets", "sampel"], "Did you mean 'sample'"),
        (["--values", "nan"], "--values nan: expected numbers above 0"),
        (["--values", "3", "0"], "--values 3 0: expected numbers above 0"),
    ],
)
def test_command_line_errors(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--datasets": ["sample"], "--models": ["mean"], "--seeds": ["0"], "--out": [str(tmp_path / "out")]}
    given |= {arguments[0]: arguments[1:]}
    with pytest.raises(SystemExit) as caught:
        main(["ablate", "lowpass", *(text for option, texts in given.items() for text in (option, *texts))])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_ablation_of_which_nothing_applies_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command("chunk", tmp_path / "out", "--values", "0.5", "2.5")
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert (
        "Nothing was started: no variant applies. 0.5 samples: a chunk is a whole number of samples; 2.5" in said
    )
    assert not (tmp_path / "out").exists()


def test_all_data_that_are_not_there_are_named(
    empty_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ablate", "leak", "--datasets", "sample", "broad", "vector", "--out", str(tmp_path / "out")])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "Nothing was started" in said
    assert "csp-data download broad" in said
    assert "csp-data download vector" in said
    assert not (tmp_path / "out").exists()
    assert not empty_home.exists()


def test_simulated_and_real_go_into_different_figures(tmp_path: Path) -> None:
    from baselines.ablations.ablate import ablate
    from baselines.sweeps.grid import SweepError

    trees = tmp_path / "trees"
    csp_data.simulate("vector", trees / "vector", hours=0.05, seed=0)
    (trees / "sample").symlink_to(raw_root(load_card("sample"), None))
    same: dict[str, Any] = {
        "protocol": "strict",
        "settings": {"data.max_duration_s": [12]},
        "raw": trees / "{name}",
    }
    with pytest.raises(SweepError, match="real recordings and simulated"):
        ablate("lowpass", ["sample", "vector"], ["mean"], out=tmp_path / "out", values=[3], **same)
    assert not (tmp_path / "out").exists()
    (row,) = ablate("fraction", ["vector"], ["mean"], seeds=[0], out=tmp_path / "out", values=[100], **same).rows
    assert (row.protocol, row.kind, row.part) == ("strict", "simulated", "test")  # not the card's own protocol
