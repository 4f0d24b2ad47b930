from __future__ import annotations

import math
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

import csp_data
from baselines.errors import OptionError
from baselines.report import make_report, write_report
from baselines.report.about import _shared_recordings, data, lede
from baselines.report.build import Key, _overview_tables, _tasks, _title
from baselines.report.cost import _realtime_factor, provenance, speed
from baselines.report.curves import _drift_panel, _Sums, learning, over_time
from baselines.report.group import FAMILY_SIZE, Group, families, looks_of
from baselines.report.panels import panel
from baselines.report.results import errors, significance
from baselines.report.settings import varied
from baselines.runs.collect import datasets_of, read_runs
from baselines.runs.run import Run, RunError
from baselines.tables.make import make_table
from baselines.tables.render import cells, render
from baselines.tables.setting_text import value_text
from baselines.training.settings import BEST
from csp_data import Dataset, LowPass
from csp_data.predictions import PREDICTIONS, EpisodePrediction, save_predictions

VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What stands on a page; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: dict[str, list[str]] = {"h1": [], "h2": [], "h3": [], "h4": []}
        self.cells: list[str] = []
        self.captions: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.scopes: list[str | None] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [given[name] or "" for name in ("src", "href", "xlink:href", "srcset") if name in given]
        self.ids += [given["id"] or ""] if "id" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.headings:
            self.headings[self.open[-1]].append(data)
        if {"td", "th"} & set(self.open[-2:]):
            self.cells[-1] += data
        if "caption" in self.open:
            self.captions.append(data)


FULL = [
    "Results",
    "Significant differences",
    "The data",
    "Signals before and after a low-pass",
    "Learning curves",
    "Predicted and measured",
    "Integrated over time",
    "Recording by recording",
    "Speed and size",
    "How it was made",
]
SHORT = [
    "Results",
    "Significant differences",
    "Learning curves",
    "Recording by recording",
    "How it was made",
]


@pytest.fixture
def text(short_page: Path) -> str:
    return short_page.read_text()


@pytest.fixture(scope="module")
def many(sweeps: dict[str, Path]) -> list[Run]:
    return read_runs(list(sweeps.values()))


@pytest.fixture
def long(long_page: Path) -> str:
    return long_page.read_text()


def test_it_has_all_parts_and_the_tables_numbers(text: str, runs: dict[str, Run]) -> None:
    page = Page(text)
    assert page.headings["h1"] == ["Sequence models on sample"]
    assert page.headings["h2"] == FULL
    table = make_table(list(runs.values()))
    expected = [cell for row in table.rows for cell in cells(table, row)]
    start = page.cells.index("model") + len(expected) // len(table.rows)
    assert page.cells[start : start + len(expected)] == expected
    assert re.findall(r'<tr class="(?:reference )?best"><th scope="row">([^<]+)', text) == [table.rows[-1].model]
    assert set(page.scopes) == {"col", "row"}
    assert "not CSP-Bench" in text
    for run in runs.values():
        assert run.environment["command"] in text
    assert runs["a"].environment["torch"] in text
    assert "no recording is in two parts" in text


def test_the_table_is_saved_as_csv(text: str, runs: dict[str, Run]) -> None:
    (address,) = re.findall(
        r'<a download="sample-strict-[0-9a-f]+\.csv" href="data:text/csv;charset=utf-8,([^"]+)">', text
    )
    assert unquote(address) == render(make_table(list(runs.values())), "csv")


def test_errors_by_recording_stand_with_the_fewer_across(text: str, runs: dict[str, Run]) -> None:
    head, *rows = re.findall(r"<tr>(.*?)</tr>", text[text.index("All errors as a table") :], re.DOTALL)[:4]
    found = runs["mean"].reported["recordings"]
    assert len(found) == 3  # as many as models: recordings are rows
    for row, (name, values) in zip(rows, found.items(), strict=True):
        assert f'<th scope="row">{name}</th>' in row
        assert f">{values['rmse']:.4f}</td>" in row
        assert row.count('style="--share: 0.00"') == 1  # the best
        assert row.count('style="--share: 0.45"') >= 1
    assert head.count("<th") == 4


def test_contents_lead_to_every_heading_and_no_id_stands_twice(text: str, long: str) -> None:
    for whole in (text, long):
        page = Page(whole)
        assert not [name for name, count in Counter(page.ids).items() if count > 1]
        inside = [reference[1:] for reference in page.references if reference.startswith("#")]
        assert set(inside) <= set(page.ids)
        nav = re.findall(r'<a href="#([^"]+)">', whole[whole.index("<nav") : whole.index("</nav>")])
        assert nav == re.findall(r'<h[234] id="([^"]+)"', whole)


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    for reference in Page(text).references:
        assert reference.startswith(("#", "data:")), reference
    assert text.count("<script") == text.count("<script>") == 1  # its own, and none from elsewhere
    assert "fetch(" not in text
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def _figures(text: str) -> list[tuple[str, str]]:
    return re.findall(r'<figure role="img" aria-label="([^"]*)">(.*?)</figure>', text, re.DOTALL)


def test_figures_are_sound_and_say_what_they_show(text: str) -> None:
    figures = _figures(text)
    assert len(figures) == 1 + 2 + 2 + 3 + 1 + 1 + 2
    for words, svg in figures:
        assert len(words) > 20
        root = ET.fromstring(svg)
        assert root.get("viewBox")
        assert root.get("width") is None  # the page decides
        texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
        assert len(texts) > 5  # letters, not outlines: they can be searched and read aloud
        # colours by name, so that the dark page can change them
        assert not re.search(r"#[0-9a-f]{6}", re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", svg.lower()))


def test_numbers_beside_figures_keep_their_digits() -> None:
    made = panel(lambda ax: (ax.plot([0.12345, 0.123456]), ax.set_xlabel("0.123456789")), "x")
    assert "0.123456789" in made.svg
    for numbers in re.findall(r' d="([^"]*)"', made.svg):
        assert not re.search(r"\.\d{3}", numbers)


def test_the_first_sentence_hides_no_better_reference(text: str, runs: dict[str, Run]) -> None:
    """It called a learned model the one with the lowest error on val, above a table where a reference has it."""
    assert "The learned model with the lowest error on val, flat-lstm, has" in text
    assert runs["fir"].selected["mse"] < runs["mean"].selected["mse"]
    error = f"{runs['fir'].reported['mse']:.4f}"
    assert f"A reference has a lower one: fir, with {error} (m/s)²." in text


def test_the_first_sentence_has_the_tables_numbers(runs: dict[str, Run], sample: Dataset) -> None:
    better = replace(runs["a"], results={**runs["a"].results, "test": {**runs["a"].reported, "mse": 0.1}})
    made = [better, runs["mean"]]
    said = lede(Group(made, sample, make_table(made), "sample", {}))
    below = 100 * (1 - 0.1 / runs["mean"].reported["mse"])
    minutes = better.reported["steps"] / sample.targets.rate_hz / 60
    assert (
        f"flat-lstm, has a mean squared error of 0.1000 (m/s)² on {len(sample.test)} test episodes ({minutes:.1f} "
        f"minutes) that it was not trained on, {below:.0f} % below the mean of the training targets."
    ) in said
    worse = replace(better, results={**better.results, "test": {**better.reported, "mse": 9.0}})
    made = [worse, runs["mean"]]
    said = lede(Group(made, sample, make_table(made), "sample", {}))
    assert "not trained on, worse than the mean of the training targets." in said


def test_long_titles_of_panels_are_whole() -> None:
    """One that was longer than its panel is wide was cut off."""
    title = "sum of velocity_of_the_fingertip_y over sum of velocity_of_the_fingertip_x (m)"
    made = panel(lambda ax: ax.plot([0, 1]), "x", title=title)
    lines = [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", made.svg) if "o" in text]
    assert " ".join(lines) == title
    assert all(len(line) <= 56 for line in lines)


def test_among_references_none_is_called_learned(runs: dict[str, Run]) -> None:
    assert "the learned model with the lowest error on val" in significance(make_table([runs["a"], runs["mean"]]))
    text = significance(make_table([runs["fir"], runs["mean"]]))
    assert re.search("Compared on test with (fir|mean), the reference with the lowest error on val", text)


def test_what_is_drawn_is_chosen_on_the_part_for_choosing(runs: dict[str, Run], sample: Dataset) -> None:
    """The error on test would choose otherwise, each time."""

    def of(name: str, seed: int, val: float, test: float) -> Run:
        config = replace(runs["a"].config, name=name, train=replace(runs["a"].config.train, seed=seed))
        results = {part: {**runs["a"].results[part], "mse": mse} for part, mse in (("val", val), ("test", test))}
        return replace(runs["a"], config=config, results={**runs["a"].results, **results})

    made = [of("flat-gru", 0, 3.0, 0.5), of("flat-lstm", 1, 2.0, 1.0), of("flat-lstm", 0, 1.0, 4.0)]
    group = Group(made, sample, make_table(made), "sample", {})
    assert list(group.models) == group.highlighted == ["flat-lstm", "flat-gru"]
    assert group.drawn_runs["flat-lstm"].config.train.seed == 0

    kinds = [f"flat-{kind}" for kind in ("tcn", "s4", "gru", "lru", "s4d", "lstm", "mamba")]
    names = [kinds[0], "fir", kinds[1], "mean", *kinds[2:], "kalman"]  # the best on val first
    made = [of(name, 0, val, 99 - val) for val, name in enumerate(names)]
    group = Group(made, sample, make_table(made), "sample", {})
    assert group.highlighted == [*kinds[: FAMILY_SIZE - 2], "fir", "mean"]
    assert list(group.drawn_runs) == kinds[:3]


def test_a_model_is_as_many_times_faster_as_its_recordings_are_longer(runs: dict[str, Run]) -> None:
    """100 steps at 5 Hz are 20 s, predicted in 4 s and in 2 s."""
    made = [
        replace(runs["a"], results={**runs["a"].results, "test": {"steps": 100, "predict_seconds": seconds}})
        for seconds in (4.0, 2.0)
    ]
    assert _realtime_factor(made) == (5 + 10) / 2
    assert _realtime_factor([*made, replace(made[0], results={"test": {"steps": 100}})]) is None


def test_costs_are_drawn_of_learned_models_beside_the_best_reference(
    runs: dict[str, Run], sample: Dataset
) -> None:
    made = [
        replace(run, results={**run.results, "test": {**run.reported, "mse": mse}})
        for run, mse in ((runs["a"], 5.0), (runs["mean"], 3.0), (runs["fir"], 2.0))
    ]
    text = speed(Group(made, sample, make_table(made), "sample", looks_of(["flat-lstm", "mean", "fir"])))
    figures = _figures(text)
    assert [words for words, _ in figures] == [
        "Error against values learned of flat-lstm.",
        "Error against times faster than real time of flat-lstm.",
    ]
    assert re.findall(r">([^<>]*best reference[^<>]*)<", figures[0][1]) == ["fir (best reference)"]
    row = text[text.index('<th scope="row">flat-lstm</th>') :].partition("</tr>")[0]
    (run, results), rate = (made[0], made[0].results), sample.targets.rate_hz
    assert re.findall("<td>([^<]*)</td>", row) == [
        "5.0000",
        f"{results['parameters']:,}",
        f"{(run.folder / BEST).stat().st_size / 1024:,.0f}",
        f"{results['seconds']:,.1f}",
        f"{run.reported['steps'] / rate / run.reported['predict_seconds']:,.0f}",
        "cpu",
    ]


@pytest.mark.parametrize(("threads", "said"), [(1, "8 CPUs, 1 thread;"), (2, "8 CPUs, 2 threads;")])
def test_one_thread_is_called_one(runs: dict[str, Run], sample: Dataset, threads: int, said: str) -> None:
    run = replace(runs["a"], environment={**runs["a"].environment, "cpu_count": 8, "threads": threads})
    assert said in provenance(Group([run], sample, make_table([run]), "sample", {}))


def test_runs_of_several_machines_are_counted(runs: dict[str, Run], sample: Dataset) -> None:
    other = replace(runs["fir"], environment={**runs["fir"].environment, "commit": "other"})
    for made, counts in (
        ([runs["a"], runs["b"], other], {"2 of 3", "1 of 3"}),
        ([runs["a"], runs["b"]], set()),
    ):
        text = provenance(Group(made, sample, make_table(made), "sample", {}))
        assert set(re.findall("[0-9]+ of [0-9]+", text)) == counts
        assert text.count("Commit") == max(1, len(counts))


def test_the_hardest_recordings_are_those_that_no_drawn_model_finds_easy(
    runs: dict[str, Run], sample: Dataset
) -> None:
    """Of 26 two are left out: the hardest for one model is easy for the other."""
    names = [f"recording {i:02}" for i in range(26)]
    made = []
    for run, rmse in (
        (runs["a"], [*range(1, 26), 0.5]),
        (runs["b"], [*range(3, 28), 0.5]),
        (runs["fir"], [100.0] * 26),
    ):
        one = next(iter(run.reported["recordings"].values()))
        recordings = {name: {**one, "rmse": float(value)} for name, value in zip(names, rmse, strict=True)}
        made.append(replace(run, results={**run.results, "test": {**run.reported, "recordings": recordings}}))
    text = errors(Group(made, sample, make_table(made), "sample", looks_of(["flat-lstm", "fir"])))
    assert "The figure shows the 24 hardest of 26 recordings." in text
    ((_, svg),) = _figures(text)
    assert sorted(set(re.findall("recording [0-9]{2}", svg))) == names[1:-1]
    assert re.findall('<th scope="row">(recording [0-9]{2})</th>', text) == names
    first = text[text.index(f">{names[0]}</th>") :]
    assert ">2.0000<" in first[: first.index("</tr>")]  # of two seeds with 1 and 3


def test_over_time_stands_what_varies_most(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of episodes in physical units, of targets in the part that is drawn, each beside the whole of itself."""
    time = np.arange(1, 201) / 5  # 40 s, of which the first 20 s are drawn
    swing, late = np.sin(time), time > 20
    far = np.stack([swing, swing, swing], axis=1) + 100
    lively = np.stack([9 * np.where(late, swing, 0.1 * swing), 0.1 * swing, 2 * swing], axis=1)
    calm = np.stack([swing, swing, swing], axis=1)
    episodes = [
        EpisodePrediction(id_, time, true, true) for id_, true in zip("abc", (far, lively, calm), strict=True)
    ]
    save_predictions(tmp_path / PREDICTIONS, episodes)
    group = Group(
        [replace(runs["a"], folder=tmp_path)], sample, make_table([runs["a"]]), "sample", looks_of(["flat-lstm"])
    )
    monkeypatch.setattr("baselines.report.curves.MAX_TARGETS", 2)
    text = over_time(group)
    assert "b, the test episode whose measured target varies most: its first 20 s. 2 of 3 targets." in text
    assert [words.split(",")[0] for words, _ in _figures(text)] == list(sample.targets.names[1:])
    (tmp_path / "apart").mkdir()
    save_predictions(tmp_path / "apart" / PREDICTIONS, [replace(e, pred=e.true + 0.5) for e in episodes])
    apart = replace(group, runs=[replace(runs["a"], folder=tmp_path / "apart")])
    for (_, same), (_, beside) in zip(_figures(text), _figures(over_time(apart)), strict=True):
        assert same != beside  # what is drawn is the prediction


def test_velocities_are_summed_by_their_step(runs: dict[str, Run], sample: Dataset) -> None:
    summed = _Sums.of(Group([runs["a"]], sample, make_table([runs["a"]]), "sample", {}))
    assert (summed.step, summed.unit) == (0.2, "m")  # of metres per second, at 5 Hz


def test_models_are_worse_better_or_undecided_as_their_comparisons_are(runs: dict[str, Run]) -> None:
    row = next(row for row in make_table([runs["mean"], runs["fir"]]).rows if row.comparison is not None)
    table = replace(make_table([runs["mean"], runs["fir"]]), against="flat-gru")
    assert row.comparison is not None
    known = replace(row.comparison, p_holm=0.01, agree=True, recordings=9)
    rows = [
        replace(row, model=model, comparison=replace(known, difference=(low + high) / 2, low=low, high=high))
        for model, low, high in (("flat-s4", 1, 2), ("fir", 1, 3), ("flat-lru", -2, -1), ("flat-tcn", -1, 2))
    ]
    text = significance(replace(table, rows=(*rows, replace(row, model="flat-gru", comparison=None))))
    assert "Worse: flat-s4 and fir. Better: flat-lru. Not decided by 9 recordings: flat-tcn.</p>" in text
    text = significance(replace(table, rows=(rows[-1],)))
    assert "val. 9 recordings decide nothing here.</p>" in text


def test_where_all_is_decided_nothing_is_said_to_be_undecided(runs: dict[str, Run]) -> None:
    table = make_table([runs["a"], runs["mean"]])
    (compared,) = (row for row in table.rows if row.comparison is not None)
    assert compared.comparison is not None
    decided = replace(compared.comparison, difference=1.5, low=1.0, high=2.0, p_holm=0.01)
    text = significance(replace(table, rows=(replace(compared, comparison=decided),)))
    assert f"Worse: {compared.model}.<" in text


def test_an_angle_is_no_part_of_a_distance(many: list[Run], tmp_path: Path) -> None:
    """The targets of slip are two displacements and a turn."""
    run = next(run for run in many if run.config.data.name == "slip")
    (dataset,), table = datasets_of([run]), make_table([run])

    def drift(name: str, error: list[float]) -> str:
        (tmp_path / name).mkdir()
        changed = [replace(p, pred=p.pred + error) for p in run.predictions]
        save_predictions(tmp_path / name / PREDICTIONS, changed)
        group = Group([replace(run, folder=tmp_path / name)], dataset, table, "slip", looks_of([run.config.name]))
        summed = _Sums.of(group)
        assert (summed.step, summed.unit) == (1.0, "m")  # the published protocol has metres per step
        return _drift_panel(group, summed, height=2.9).svg

    assert drift("turned", [0.0, 0.1, 1.0]) == drift("moved", [0.0, 0.1, 0.0])


def test_learning_curves_are_of_either_loss_and_mark_the_chosen_epoch(
    runs: dict[str, Run], sample: Dataset
) -> None:
    """With the losses the other way round, what was drawn of one is drawn of the other."""

    def drawn(epoch: int, keys: dict[str, str]) -> list[set[str]]:
        epochs = [{**line, **{key: line[other] for key, other in keys.items()}} for line in runs["a"].epochs]
        run = replace(runs["a"], epochs=epochs, results={**runs["a"].results, "epoch": epoch})
        text = learning(Group([run], sample, make_table([run]), "sample", looks_of(["flat-lstm"])))
        return [set(re.findall(r' (?:d|x|y)="([^"]*)"', svg)) for _, svg in _figures(text)]

    own, other = ["train_loss", "val_loss"], ["val_loss", "train_loss"]
    (train, first), (again, second) = (drawn(epoch, dict(zip(own, own, strict=True))) for epoch in (1, 2))
    assert train == again
    assert first != second
    swapped, _ = drawn(1, dict(zip(own, other, strict=True)))
    assert swapped <= first  # which has the mark besides
    assert not train <= first


def test_no_learning_curves_without_epochs(runs: dict[str, Run], sample: Dataset) -> None:
    assert "Learning curves" not in Page(make_report([runs["mean"], runs["fir"]], [sample])).headings["h2"]


def test_a_run_whose_epochs_were_lost_has_no_curve_and_stops_no_report(
    runs: dict[str, Run], sample: Dataset
) -> None:
    lost = replace(runs["b"], epochs=[])
    assert "Learning curves" not in make_report([runs["a"], lost], [sample])


def test_recordings_that_are_in_several_parts_are_told() -> None:
    dataset = csp_data.load("sample", resplit={"neighbours": "both"}, max_duration_s=40)
    shared = {row.recording for row in dataset.train.rows} & {row.recording for row in dataset.test.rows}
    assert _shared_recordings(dataset) == f"pieces of {len(shared)} recordings are in several parts"


def test_a_filter_of_the_data_is_said_in_words(runs: dict[str, Run]) -> None:
    filtered = csp_data.load("sample", lowpass=LowPass(hz=2))
    text = data(Group([runs["a"]], filtered, make_table([runs["a"]]), "sample", {}))
    assert "<dt>Low-pass</dt><dd>2 Hz causal, before everything below</dd>" in text


def test_names_cannot_break_the_page(runs: dict[str, Run], sample: Dataset) -> None:
    hostile = replace(runs["a"], environment={**runs["a"].environment, "command": "<script>alert(1)</script>"})
    page = make_report([hostile], [sample])
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_other_data_is_refused(runs: dict[str, Run]) -> None:
    other = csp_data.load("sample", input_deltas=False)
    with pytest.raises(RunError, match=runs["a"].config.data.recipe_hash):
        make_report([runs["a"]], [other])
    with pytest.raises(OptionError, match=runs["a"].config.data.recipe_hash):
        datasets_of([runs["a"]], [other.path])
    with pytest.raises(RunError, match="at least one run"):
        make_report([], [])


def test_a_file_that_moved_is_given(runs: dict[str, Run], sample: Dataset, tmp_path: Path) -> None:
    moved = shutil.copy(sample.path, tmp_path / "moved.h5")
    lost = replace(runs["a"], environment={**runs["a"].environment, "prepared": str(tmp_path / "gone.h5")})
    with pytest.raises(RunError, match=r"gone\.h5.*--data"):
        datasets_of([lost])
    assert [dataset.path for dataset in datasets_of([lost], [moved])] == [moved]


def test_it_is_written_whole_and_the_same_each_time(runs: dict[str, Run], sample: Dataset, tmp_path: Path) -> None:
    for name in ("new/one.html", "new/two.html"):
        assert write_report([runs["mean"]], [sample], tmp_path / name) == tmp_path / name
    assert (tmp_path / "new/one.html").read_bytes() == (tmp_path / "new/two.html").read_bytes()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.html", "two.html"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such paths")
def test_paths_that_are_not_utf8_are_written_out(runs: dict[str, Run], sample: Dataset, tmp_path: Path) -> None:
    run = replace(runs["mean"], environment={**runs["mean"].environment, "command": os.fsdecode(b"--out K\xe4se")})
    page = write_report([run], [sample], tmp_path / os.fsdecode(b"K\xe4se") / "page.html")
    assert r"--out K\udce4se" in page.read_text("utf-8")


def test_each_data_set_and_recipe_has_its_section(long: str, many: list[Run]) -> None:
    page = Page(long)
    assert page.headings["h2"] == [
        "Overview",
        "What was varied on sample",
        "sample",
        "sample, low-pass 5 Hz causal",
        "sample, low-pass 5 Hz zero phase",
        "sample, low-pass 10 Hz causal",
        "sample, target hz 10",
        "sample, target hz 25",
        "marker",
        "slip",
    ]
    assert page.headings["h3"][:2] == ["Chunk", "Low-pass of the inputs"]
    assert page.headings["h3"][2:12] == FULL
    # one run a recipe of the filters: nothing to compare
    assert page.headings["h3"][12:16] == [title for title in SHORT if "differences" not in title]
    keys = {run.config.key for run in many}
    assert len(many) == len(keys) + 1  # the unchanged run is in two sweeps
    assert f"{len(keys)} finished runs" in long
    assert "In several of the folders, and here once: 1 run." in long
    assert "Not on this page: 3 unfinished runs." in long
    assert "path" in " ".join(words for words, _ in _figures(long)).lower()  # marker adds up to one


def test_no_table_mixes_what_does_not_compare(long: str, many: list[Run]) -> None:
    captions = Page(long).captions
    about = {(r.config.data.name, r.config.data.recipe_hash): r.config.data.kind for r in many}
    for caption in captions:
        named = [kind for (name, recipe), kind in about.items() if f"{name}: " in caption and recipe in caption]
        kinds = {kind for kind in ("simulated", "real recordings") if kind in caption}
        assert len(kinds) <= 1, caption
        if "recipe" in caption:
            assert named, caption
            assert kinds == set(named)
    assert sum("recipe" in caption for caption in captions) == len(about)
    (overview,) = (caption for caption in captions if "mean squared error; the best" in caption)
    assert overview.startswith("simulated, not CSP-Bench; protocol paper")
    table = long[long.index(overview) :]
    assert "sample" not in table[: table.index("</table>")]


def test_settings_are_found_and_hold_the_runs_own_errors(many: list[Run]) -> None:
    own = [run for run in many if run.config.data.name == "sample"]
    chunk, lowpass = varied(own)
    assert [chunk.axis.title, lowpass.axis.title] == ["Chunk", "Low-pass of the inputs"]
    assert chunk.names == {2: "2\n25 Hz", 5: "5\n10 Hz", 10: "10\n5 Hz"}
    assert list(chunk.panels) == ["RMSE (m/s)", "MSE / MSE of the training mean"]
    ((rest, errors),) = chunk.panels["RMSE (m/s)"]
    assert rest == "low-pass none"
    assert set(errors["flat-lstm"][""]) == {2, 5, 10}
    by_hand = sorted(
        math.sqrt(np.mean([values["rmse"] ** 2 for values in run.reported["si"].values()]))
        for run in own
        if run.config.name == "flat-lstm" and run.config.data.protocol["target_hz"] == 25
    )
    assert sorted(errors["flat-lstm"][""][2]) == pytest.approx(by_hand)
    (fast,) = (run for run in own if run.config.name == "mean" and run.config.data.protocol["target_hz"] == 25)
    shares = chunk.panels["MSE / MSE of the training mean"][0][1]["flat-lstm"][""][2]
    lstm = [r for r in own if r.config.name == "flat-lstm" and r.config.data.protocol["target_hz"] == 25]
    assert sorted(shares) == pytest.approx(
        sorted(
            np.mean(
                [
                    run.reported["channels"][c]["mse"] / fast.reported["channels"][c]["mse"]
                    for c in ("vel_x", "vel_y", "vel_z")
                ]
            )
            for run in lstm
        )
    )
    assert list(lowpass.panels) == ["RMSE (m/s)"]
    ((rest, errors),) = lowpass.panels["RMSE (m/s)"]
    assert rest == "target hz 5"
    assert {series: set(by) for series, by in errors["flat-lstm"].items()} == {
        "no filter": {None},
        "causal": {5, 10},
        "zero phase": {5},
    }


def test_a_setting_of_the_training_is_found_too(runs: dict[str, Run]) -> None:
    faster = replace(runs["a"], config=replace(runs["a"].config, train=replace(runs["a"].config.train, lr=0.1)))
    (found,) = varied([runs["a"], runs["b"], faster, runs["mean"]])
    assert list(found.panels) == ["RMSE (m/s)"]  # a step size changes no task: these errors compare
    ((rest, errors),) = found.panels["RMSE (m/s)"]
    assert (found.axis.title, rest) == ("lr", "")
    assert {value: len(seeds) for value, seeds in errors["flat-lstm"][""].items()} == {3e-3: 2, 0.1: 1}
    assert varied([runs["a"], runs["b"], runs["mean"], runs["fir"]]) == []
    assert value_text(vars(LowPass(2.0, order=4, phase="zero"))) == "2 Hz zero phase, order 4"
    assert value_text((1.5, None, True)) == "1.5 none yes"
    assert value_text({"fold": 2, "folds": 5, "by": "subject", "seed": 0}) == "fold 2 of 5 by subject"
    assert value_text({"folds": 5, "by": "group", "share": 0.5}) == "5 folds share 0.5"
    assert value_text({"share": 1.0, "seed": 0}) == "none"


def test_the_overview_has_the_data_as_they_are_and_no_variant_of_them(
    runs: dict[str, Run], sample: Dataset
) -> None:
    made = [runs["a"], runs["mean"]]
    table = make_table(made)
    plain = Group(made, sample, table, "sample", {})
    row = replace(table.rows[0], test_mse=0.001)
    variant = replace(plain, runs=list(runs.values()), table=replace(table, rows=(row,)), full=False)
    other = replace(plain, table=replace(table, dataset="other"))
    simulated = replace(plain, table=replace(table, dataset="third", kind="simulated"))
    (overview,) = _overview_tables(_tasks([plain, variant, other, simulated]))  # which is alone of its kind
    for model in table.rows:
        assert overview.count(f">{cells(table, model)[1]}<") == 2
    best = cells(table, table.rows[-1])[1]
    assert re.findall(r'<td class="tinted"[^>]*>([^<]+)<', overview) == [best, best]
    assert "0.001" not in overview
    assert "third" not in overview


def test_a_title_says_what_tells_data_of_one_name_apart(sample: Dataset) -> None:
    fold = csp_data.load("sample", resplit={"fold": 1, "folds": 4})
    data = {"whole": sample, "fold": fold}
    strict, paper = (Key("", "sample", *rest) for rest in (("strict", "fold"), ("paper", "whole")))
    both = {strict.task: strict, paper.task: paper}
    assert _title(strict, both, data) == "sample, protocol strict, fold 1 of 4"
    assert _title(paper, both, data) == "sample, protocol paper"
    assert _title(paper, {paper.task: paper}, data) == "sample"


def test_what_an_axis_has_no_place_for_is_a_series_and_not_another_seed(runs: dict[str, Run]) -> None:
    def made(resplit: dict[str, Any] | None, **train: Any) -> Run:
        config = runs["a"].config
        data = replace(config.data, protocol={**config.data.protocol, "resplit": resplit})
        return replace(runs["a"], config=replace(config, data=data, train=replace(config.train, **train)))

    (share,) = varied([made(None), made({"share": 1.0, "neighbours": "both"}), made({"share": 0.5})])
    ((_, errors),) = share.panels["RMSE (m/s)"]
    assert {series: {v: len(of) for v, of in by.items()} for series, by in errors["flat-lstm"].items()} == {
        "resplit none": {100: 1},
        "resplit neighbours both": {100: 1},
        "": {50: 1},
    }
    (context,) = varied([made(None, window_s=w, window_stride_s=s, batch=b) for w, s, b in ((4, 4, 8), (8, 8, 4))])
    ((rest, errors),) = context.panels["RMSE (m/s)"]  # the ablation of it changes all three together
    assert (context.axis.title, rest, set(errors["flat-lstm"][""])) == ("Context", "", {4, 8})


def test_models_of_a_panel_have_colours_of_their_own() -> None:
    names = [f"{a}-{b}" for a in ("flat", "hiss-s4", "hiss-mamba", "hiss-lstm") for b in ("s4", "mamba", "lstm")]
    looks = looks_of([*names, "mean", "fir"])
    groups = families(names)
    assert [len(group) for group in groups] == [3, 3, 3, 3]
    for group in groups:
        assert len({looks[name]["color"] for name in group}) == 3
    assert families(names[:5]) == [names[:5]]
    assert families([]) == []
