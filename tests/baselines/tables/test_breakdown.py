"""Errors by recording and by target, against the numbers in the runs' folders."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import csp_data
from baselines.cli import main
from baselines.commands.train import print_metrics
from baselines.experiment import run
from baselines.results import Result
from baselines.runs.run import Run, RunError
from baselines.tables.breakdown import by_recording, by_target, by_variant
from baselines.tables.digits import number, spread
from baselines.tables.grid import Grid, transposed
from baselines.tables.make import make_table
from baselines.training.settings import TrainConfig


def test_cells_are_means_over_seeds(runs: dict[str, Run]) -> None:
    grid = by_recording(list(runs.values()))
    lines = {row[0]: row[1:] for row in grid.rows}
    held = [runs[name].results["test"]["recordings"] for name in ("a", "b")]
    assert grid.header[1:] == tuple(held[0])
    for cell, name in zip(lines["flat-lstm"], held[0], strict=True):
        values = [recordings[name]["rmse"] for recordings in held]
        assert cell == spread(statistics.fmean(values), statistics.stdev(values))
    for column in range(1, len(grid.header)):
        lowest = min(grid.rows, key=lambda row, column=column: float(row[column].split(" ")[0]))
        assert (grid.rows.index(lowest), column) in grid.best
    assert "real recordings, not CSP-Bench" in grid.heading


def test_targets_in_si_units(runs: dict[str, Run]) -> None:
    grid = by_target([runs["mean"], runs["fir"]])
    assert grid.header[1:3] == ("vel_x RMSE (m/s)", "vel_x MAE (m/s)")
    fir = next(row for row in grid.rows if row[0] == "fir")
    si = runs["fir"].results["test"]["si"]
    assert list(fir[1:]) == [number(si[c][m]) for c in ("vel_x", "vel_y", "vel_z") for m in ("rmse", "mae")]
    assert grid.best
    assert not by_target([runs["fir"]]).best  # one row alone is no best one
    named = by_target([runs["mean"], runs["fir"]], names={"fir": "FIR"})
    assert [row[0] for row in named.rows] == [row[0].replace("fir", "FIR") for row in grid.rows]
    paths = [replace(Result.of(runs[n]), test_ate=1.5, test_rte=2.5, path_unit="m") for n in ("mean", "fir")]
    wider = by_target(paths)
    assert wider.header[-2:] == ("ATE (m)", "RTE (m)")
    assert "over axes" in wider.notes[0]
    assert not grid.notes
    assert all(row[-2:] == ("1.5000", "2.5000") for row in wider.rows)
    without = [paths[0], replace(paths[1], test_ate=None, test_rte=None)]
    assert by_target(without).header == by_target(without[::-1]).header == grid.header  # no path, no error of it


def test_targets_of_several_units_have_their_own(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    """An angle in degrees stays in degrees; what an error over all is made of stands below the table."""
    row = Result.of(runs["a"])
    angle, force = (replace(next(iter(row.by_target.values())), unit=unit) for unit in ("rad", "N"))
    names, units = ("knee", "force"), ("deg", "N")

    def made(model: str, knee: float, newtons: float) -> Result:
        """Errors of the angle in degrees, as SI units have them."""
        by_target = {
            "knee": replace(angle, rmse=math.radians(knee), mae=math.radians(knee / 2)),
            "force": replace(force, rmse=newtons, mae=newtons / 2),
        }
        mse = (knee**2 + newtons**2) / 2
        own = {"model": model, "config": model, "by_target": by_target, "test_mse": mse}
        return replace(row, targets=names, units=units, **own)

    rows = [made("flat-gru", 15.0, 300.0), made("flat-s4", 4.0, 7.0)]
    grid = by_target(rows)
    assert grid.header[1:] == ("knee RMSE (deg)", "knee MAE (deg)", "force RMSE (N)", "force MAE (N)")
    assert list(map(float, grid.rows[1][1:])) == pytest.approx([4, 2, 7, 3.5])
    # of 4 and 7, 49 / 65 is the force, which is less than 75.4 %; of 15 and 300 more
    assert "(deg, N), as their numbers are: 75.3 % or more of each MSE is force." in make_table(rows)._repr_html_()
    assert make_table(rows).unit == "mixed units"
    assert "or more of each" not in make_table([made("flat-gru", 15.0, 300.0), made("flat-s4", 9.0, 8.0)]).mixture
    assert make_table([row]).mixture == ""
    step = replace(row, targets=("dis",), units=("mm",), by_target={"dis": replace(angle, unit="m/s")})
    assert by_target([step]).header[1] == "dis RMSE (m/s)"  # the file has mm per step
    values = {"mse": 4.0, "rmse": 2.0, "mae": 1.0}
    print_metrics(
        "test", {**values, "channels": dict.fromkeys(names, values), "episodes": {"r": values}}, [*units]
    )
    assert capsys.readouterr().out.splitlines() == [
        "test: MSE 4.00000, RMSE 2.0000, MAE 1.0000",
        "  knee: MSE 4.00000 deg², RMSE 2.0000 deg, MAE 1.0000 deg",
        "  force: MSE 4.00000 N², RMSE 2.0000 N, MAE 1.0000 N",
        "  r: MSE 4.00000, RMSE 2.0000, MAE 1.0000",
    ]


def test_other_recordings_are_refused(runs: dict[str, Run]) -> None:
    row = Result.of(runs["a"])
    fewer = replace(row, seed=7, recordings=dict(list(row.recordings.items())[:1]), source="elsewhere")
    with pytest.raises(RunError, match="elsewhere holds errors by recording of"):
        by_recording([row, fewer])
    with pytest.raises(RunError, match="holds no errors by target"):
        by_target([replace(row, by_target={})])


@pytest.mark.parametrize("by", ["recording", "target"])
def test_each_recipe_has_a_table_of_its_own(by: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As without ``--by``: what is in a table is what runs of its recipe alone give."""
    path = tmp_path / "sample.h5"
    for hz in ("10", "25"):
        data = csp_data.load(path=csp_data.prepare("sample", input_hz=float(hz), target_hz=5, out=path))
        run(data, "mean", TrainConfig(), tmp_path / "runs" / hz)

    def printed(*folders: Path) -> str:
        main(["table", *map(str, folders), "--by", by])
        return capsys.readouterr().out

    both = printed(tmp_path / "runs")
    slow, fast = (printed(tmp_path / "runs" / hz) for hz in ("10", "25"))
    headings = re.findall(r"\*\*sample, input hz (\d+): real", both)
    assert headings == ["10", "25"]
    without = re.sub(r"sample, input hz \d+", "sample", both)
    assert without == f"{slow}\n{fast}"


def test_variants_are_compared_within_a_seed(runs: dict[str, Run]) -> None:
    """With one variant without for all, and a pair of its own where there is one."""
    row = Result.of(runs["a"])
    errors = {
        "no filter": (1.0, 2.0),
        "low": (1.2, 2.0),
        "high; highest": (0.9, 1.6),  # a run that stands for two
        "own, with": (1.0, 1.0),
        "own": (0.5, 2.0),
    }
    made = [
        replace(row, seed=seed, variant=variant, test_mse=pair[seed] ** 2)
        for variant, pair in errors.items()
        for seed in (0, 1)
    ]
    made.append(replace(row, seed=2, variant="low", test_mse=9.0))  # its partner failed

    def pair(variant: str) -> tuple[str, bool]:
        return {"no filter": ("", False), "own": ("own", False)}.get(variant, (variant.split(",")[0], True))

    (grid,) = by_variant(made, "filter", pair)
    assert grid.header == ("filter", row.model)
    assert grid.rows == (
        ("low", "+10.0 ± 14.1 %"),
        ("high", "-15.0 ± 7.1 %"),
        ("highest", "-15.0 ± 7.1 %"),
        ("own", "+25.0 ± 106.1 %"),
    )
    assert "real recordings" in grid.heading
    both = by_variant([*made, *(replace(row, dataset="other", test_mse=1.0) for row in made)], "filter", pair)
    assert both[0] == grid
    assert [cell for _, cell in both[1].rows] == ["+0.0 ± 0.0 %"] * 4


def test_targets_of_several_units_count_alike(runs: dict[str, Run]) -> None:
    """Each over the training mean's, by hand: half the error in one of two gives sqrt((1/4 + 1) / 2)."""
    row = Result.of(runs["a"])
    target = next(iter(row.by_target.values()))

    def made(model: str, variant: str, big: float, small: float) -> Result:
        by_target = {"x": replace(target, rmse=big), "angle": replace(target, rmse=small)}
        data = {"variant": variant, "recipe_hash": variant, "units": ("m", "rad")}
        return replace(row, model=model, by_target=by_target, **data)

    rows = [made("mean", "no filter", 1000.0, 1.0), made("mean", "low", 2000.0, 1.0)]
    rows += [made("fir", "no filter", 1000.0, 1.0), made("fir", "low", 2000.0, 0.5)]
    (grid,) = by_variant(rows, "filter", lambda variant: ("low", True) if variant == "low" else ("", False))
    assert grid.rows == (("low", "+0.0 %", f"{100 * ((1.25 / 2) ** 0.5 - 1):+.1f} %"),)
    assert "each target over that of the training mean" in grid.heading
    still = [replace(row, by_target={**row.by_target, "z": replace(target, rmse=0.0)}) for row in rows]
    assert by_variant(still, "filter", lambda variant: ("low", True) if variant == "low" else ("", False)) == [
        grid
    ]
    with pytest.raises(RunError, match="reference mean on its data is missing"):
        by_variant(rows[2:], "filter", lambda variant: ("low", variant == "low"))


def test_command(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    main(["table", str(runs["a"].folder), "--by", "target", "--format", "latex"])
    assert r"vel\_x RMSE (m/s)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["table", str(runs["a"].folder), "--by", "recording", "--json"])


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_turned_round_every_cell_is_where_its_names_meet(height: int, width: int, data: st.DataObject) -> None:
    rows, names = [f"model {i}" for i in range(height)], [f"recording {j}" for j in range(width)]
    marked = data.draw(st.frozensets(st.tuples(st.integers(0, height - 1), st.integers(1, width))))
    grid = Grid(
        "errors",
        ("model", *names),
        tuple((row, *(f"{row} on {name}" for name in names)) for row in rows),
        best=marked,
        second=frozenset({(0, 1)}) - marked,
        notes=("said",),
        across="recording",
    )
    turned = transposed(grid)
    assert turned.header == ("recording", *rows)
    assert [row[0] for row in turned.rows] == names
    for name, *cells in turned.rows:
        assert cells == [f"{row} on {name}" for row in turned.header[1:]]
    for before, after in ((grid.best, turned.best), (grid.second, turned.second)):
        assert {grid.rows[i][j] for i, j in before} == {turned.rows[i][j] for i, j in after}
    assert transposed(turned) == grid


def test_columns_for_models_and_other_names_for_recordings(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(runs[name].folder) for name in ("a", "b", "fir", "mean")]
    (slow, *_), renamed = runs["a"].results["test"]["recordings"], ["flat-lstm=Ours [1]", "fir=FIR"]
    main(["table", *folders, "--by", "recording", "--transpose", "--rename", *renamed, f"{slow}=slow rotation"])
    head, _, first, *_ = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    names, cells = ([cell.strip(" *") for cell in line.split("|")[1:-1]] for line in (head, first))
    assert (names[0], cells[0]) == ("recording", "slow rotation")
    assert set(names[1:]) == {"Ours [1]", "FIR", "mean"}
    for name, used in (("Ours [1]", ["a", "b"]), ("FIR", ["fir"]), ("mean", ["mean"])):
        errors = [runs[run].results["test"]["recordings"][slow]["rmse"] for run in used]
        std = statistics.stdev(errors) if len(errors) > 1 else None
        assert cells[names.index(name)] == spread(statistics.fmean(errors), std)
