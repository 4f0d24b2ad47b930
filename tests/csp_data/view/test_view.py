import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import h5py
import numpy as np
import pytest

import csp_data
from csp_data.card import registry as cards
from csp_data.errors import MissingDataError, OptionError, SourceError, UnknownNameError
from csp_data.predictions import EpisodePrediction, PredictionsError, save_predictions
from csp_data.view import Selection, find_runs, serve

EXAMPLE = Path(__file__).parent.parent.parent.parent / "examples" / "eflesh"
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, sample: csp_data.Dataset) -> Path:
    """Runs that are right by construction: one predicts what was measured, plus 1; one is of other data."""
    root = tmp_path_factory.mktemp("view") / "runs"
    for name, offset in (("sweep/good", 0.0), ("other", 5.0)):
        folder = root / name
        folder.mkdir(parents=True)
        made = [EpisodePrediction(e.id, e.target_time, e.targets + offset, e.targets + 1.0) for e in sample.test]
        save_predictions(folder / "predictions.npz", made)
    outside = root.parent / "outside"
    shutil.copytree(root / "other", outside)
    (root / "link").symlink_to(outside)
    return root


def test_only_runs_below_the_folder_are_found(root: Path) -> None:
    assert set(find_runs(root)) == {"sweep/good", "other"}  # not the link that leads out
    with pytest.raises(OptionError, match="run folders"):
        find_runs(root / "nowhere")


def test_predictions_are_drawn_beside_the_measured(sample: csp_data.Dataset, root: Path) -> None:
    chosen = Selection(sample, find_runs(root), figure="targets", part="test", episode=1, run="sweep/good")
    measured, predicted = chosen.draw().axes[0].lines
    np.testing.assert_allclose(predicted.get_ydata(), measured.get_ydata() + 1.0, rtol=1e-6)


def test_predictions_of_other_data_or_part_are_not_shown(sample: csp_data.Dataset, root: Path) -> None:
    runs = find_runs(root)
    with pytest.raises(PredictionsError, match="other targets"):
        Selection(sample, runs, figure="targets", part="test", run="other").draw()
    with pytest.raises(PredictionsError, match="no prediction of"):
        Selection(sample, runs, figure="targets", part="train", run="sweep/good").draw()
    (foreign := root.parent / "foreign").mkdir()
    save_predictions(
        foreign / "predictions.npz", [EpisodePrediction("e", np.arange(2.0), np.ones((2, 3)), np.ones((2, 3)))]
    )
    with pytest.raises(PredictionsError, match="predicts no episode of sample: it is of other data"):
        Selection(sample, find_runs(foreign), figure="targets", part="train", run=".").draw()
    (bad := root.parent / "bad").mkdir()
    (bad / "predictions.npz").write_bytes(b"PK not really")
    with pytest.raises(PredictionsError, match="damaged"):
        Selection(sample, find_runs(bad), figure="targets", part="test", run=".").draw()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": "../outside"}, UnknownNameError, "run"),
        ({"run": "/etc"}, UnknownNameError, "run"),
        ({"dataset": "marker", "episode": "1"}, OptionError, "sample, which this page shows"),
        ({"figure": "__class__"}, UnknownNameError, "figure"),
        ({"part": "eval"}, UnknownNameError, "part"),
        ({"episode": "-1"}, OptionError, "0 to 7"),
        ({"episode": "x"}, OptionError, "the id of an episode of train, or its number: 0 to 7"),
        ({"hz": "30"}, OptionError, "below 25 Hz"),
        ({"hz": "2", "order": "0"}, OptionError, "at least 1"),
        ({"channels": "acc_x,../x"}, UnknownNameError, "channel"),
    ],
)
def test_what_an_address_asks_for_is_checked(
    sample: csp_data.Dataset, root: Path, arguments: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Selection.asked(sample, find_runs(root), arguments)


def test_an_address_that_asks_for_a_run_alone_gets_what_it_predicts(sample: csp_data.Dataset, root: Path) -> None:
    shown = Selection.asked(sample, find_runs(root), {"run": "sweep/good"})
    assert (shown.figure, shown.part, shown.episode) == ("targets", "test", 0)
    assert shown.prediction() is not None
    assert Selection.asked(sample, find_runs(root), {"run": "sweep/good", "part": "val"}).part == "val"


def test_an_address_that_asks_for_nothing_gets_the_first_episode(sample: csp_data.Dataset, root: Path) -> None:
    runs = find_runs(root)
    assert Selection.asked(sample, runs, {}) == Selection(sample, runs, "episode", sample.parts[0], 0)


def test_an_address_says_all_that_is_chosen(sample: csp_data.Dataset, root: Path) -> None:
    address = "figure=lowpass&part=test&episode=1&hz=2&order=4&phase=zero&channels=gyr_y,acc_x"
    runs, raw = find_runs(root), root / "raw"
    assert Selection.asked(sample, runs, dict(pair.split("=") for pair in address.split("&")), raw) == Selection(
        sample, runs, "lowpass", "test", 1, csp_data.LowPass(2.0, 4, "zero"), None, ("gyr_y", "acc_x"), raw
    )


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"figure": "lowpass", "part": "test", "episode": 1, "lowpass": csp_data.LowPass(2.5, 4, "zero")},
        {"figure": "targets", "part": "val", "run": "sweep/good"},
        {"figure": "spectra", "channels": ("gyr_y", "acc_x")},
    ],
)
def test_the_address_of_a_selection_asks_for_it(
    sample: csp_data.Dataset, root: Path, chosen: dict[str, Any]
) -> None:
    runs = find_runs(root)
    selection = Selection(sample, runs, **chosen)
    assert Selection.asked(sample, runs, dict(parse_qsl(selection.address()))) == selection


def test_an_address_leads_to_the_same_recording_whatever_the_split(sample: csp_data.Dataset) -> None:
    by_trial = csp_data.load("sample", resplit=csp_data.Resplit(folds=3, fold=1))
    place = {row.id: (part, i) for part in by_trial.parts for i, row in enumerate(by_trial.split(part).rows)}
    part, number = place[sample.train.rows[3].id]
    assert (part, number) != ("train", 3)
    asked = {**dict(parse_qsl(Selection(sample, episode=3).address())), "part": part}
    assert Selection.asked(by_trial, {}, asked).episode == number
    elsewhere = next(part_ for part_ in by_trial.parts if part_ != part)
    with pytest.raises(OptionError, match=f"the id of an episode of {elsewhere}"):
        Selection.asked(by_trial, {}, {**asked, "part": elsewhere})


def test_chosen_inputs_alone_are_drawn(sample: csp_data.Dataset) -> None:
    chosen = Selection(sample, figure="episode", channels=("gyr_y", "acc_x"))
    labels = [[line.get_label() for line in ax.lines] for ax in chosen.draw().axes]
    assert labels[:2] == [["acc_x"], ["gyr_y"]]
    assert len(labels) == 3  # and the targets
    lowpass = replace(chosen, figure="lowpass", channels=("gyr_y",), lowpass=csp_data.LowPass(2.0))
    assert lowpass.draw().axes[0].get_ylabel() == "gyr_y (rad/s)"
    spectra = replace(lowpass, figure="spectra").draw()
    assert [line.get_label() for line in spectra.axes[0].lines][-2:] == ["as recorded", "2 Hz, causal"]


def test_the_raw_recording_of_an_episode_is_drawn(sample: csp_data.Dataset, tmp_path: Path) -> None:
    chosen = Selection(sample, figure="recording", part="test", episode=1)
    figure = chosen.draw()
    recording = csp_data.read_recording("sample", sample.test[1].id)
    assert figure.get_suptitle() == f"{recording.id}, raw (real recordings)"
    assert len(figure.axes) == len(recording.streams)
    drawn = figure.axes[0].lines[0].get_ydata()
    first = next(iter(recording.streams.values()))
    np.testing.assert_array_equal(drawn[~np.isnan(drawn)], first.values[:, 0])
    assert "step (ms)" in [ax.get_ylabel() for ax in replace(chosen, figure="clocks").draw().axes]
    with pytest.raises(MissingDataError):
        replace(chosen, raw=tmp_path / "empty").draw()


def test_raw_recordings_of_a_set_whose_reader_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prepared file holds its card: there is such a data set."""
    monkeypatch.setattr(cards, "_added", {})
    path = csp_data.prepare(EXAMPLE, out=tmp_path / "x.h5")
    monkeypatch.setattr(cards, "_added", {})
    chosen = Selection(csp_data.load(path=path), figure="recording")
    with pytest.raises(SourceError, match=r"eflesh: it is not known here.*CSP_DATA_PLUGINS"):
        chosen.draw()
    csp_data.register(EXAMPLE)
    known = replace(chosen, dataset=csp_data.load(path=path))
    assert known.draw().get_suptitle().endswith("raw (real recordings)")


def test_an_address_that_others_reach_needs_to_be_asked_for(sample: csp_data.Dataset) -> None:
    for address in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(OptionError, match="public"):
            serve(sample, address=address)


def test_without_panel_the_extra_is_named() -> None:
    code = "import sys; sys.modules['panel'] = None\nimport csp_data.view"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "csp-data[view]" in ended.stderr


def test_a_user_without_a_home_is_told_what_to_set(tmp_path: Path) -> None:
    """As in a container that runs under any number; it was a traceback out of bokeh."""
    command = [sys.executable, "-m", "csp_data", "view", "sample", "--no-browser"]
    environment = {**os.environ, "CSP_DATA_HOME": str(tmp_path), "HOME": "~"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: The viewer needs a home folder, and this user has none. Set HOME to a folder.\n"


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # panel will call a widget's name its label
def test_a_card_of_somebody_elses_file_is_shown_as_text(tmp_path: Path) -> None:
    """It ran its scripts in the page, which has the data, and asked other hosts for its pictures."""
    pytest.importorskip("panel")
    from csp_data.view.page import build

    path = csp_data.prepare("sample", out=tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file.attrs.pop("tables_crc32")
        provenance = json.loads(file.attrs["provenance"])
        said = "*so* <img src=x onerror=alert(1)> ![y](http://127.0.0.1:9/y.png) [z](javascript:alert(1))"
        provenance["card"] |= {"name": "other", "title": said, "summary": said, "defects": [said]}
        file.attrs.update(dataset="other", provenance=json.dumps(provenance))
    page = html.unescape(build(csp_data.load(path=path), {})[-1][0].get_root().text)
    assert page.count("<em>so</em> &lt;img src=x") == 3
    assert not re.search(r'<img|<script|href="javascript|src=', page.replace("&lt;img src=", ""))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_is_chosen_in_the_page_is_what_is_shown(sample: csp_data.Dataset, root: Path) -> None:
    pytest.importorskip("panel")
    from csp_data.view.page import _Page

    runs, raw, asked = find_runs(root), root / "raw", {"figure": "lowpass", "episode": "2"}
    page = _Page(sample, runs, Selection.asked(sample, runs, asked, raw))
    assert page.episode.options == {f"{i}: {row.id}": i for i, row in enumerate(sample.train.rows)}
    # the filter that the figure shows, or order and phase, beside a cut-off of 0, would change nothing
    assert page.selection() == Selection(sample, runs, "lowpass", "train", 2, csp_data.LowPass(5.0), raw=raw)
    page.part.value = "val"
    assert page.episode.options == {f"{i}: {row.id}": i for i, row in enumerate(sample.val.rows)}
    page.hz.value, page.order.value, page.phase.value = page.hz.end, 5, "zero"
    page.channels.value = ["gyr_y"]
    assert page.selection() == Selection(
        sample, runs, "lowpass", "val", 0, csp_data.LowPass(24.5, 5, "zero"), None, ("gyr_y",), raw
    )  # the slider ends below half the rate of 50 Hz
    assert sample.val[0].id in page.shown.object
    steep = Selection(sample, lowpass=csp_data.LowPass(24.9, 12))  # beyond what is offered, as an address may ask
    assert _Page(sample, {}, steep).selection() == steep
    drawings: list[bool] = []
    page.shown.param.watch(lambda event: drawings.append(event.new), "loading")
    page.run.value = "sweep/good"
    assert drawings == [True, False]  # once, though part, episode and figure change with it
    page.part.value = "test"
    assert page.selection().figure == "targets"
    assert (page.part.value, page.run.disabled) == ("test", False)
    page = _Page(sample, {}, Selection(sample))
    assert page.run.disabled
    assert page.hz.value == 0
    page.figure.value = "lowpass"
    page.phase.value = "zero"
    assert page.selection().lowpass == csp_data.LowPass(5.0, phase="zero")
    assert "low-pass 5 Hz, order 3, zero phase" in re.sub(r"<!-- | -->", "", page.shown.object)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_page_that_is_made_anew_asks_nothing_of_the_network(sample: csp_data.Dataset) -> None:
    """A browser that needs a quarter of a minute finds its session gone, and gets another without the HTML."""
    pytest.importorskip("panel")
    from bokeh.document import Document
    from bokeh.models import ImportedStyleSheet
    from panel.io.state import set_curdoc

    from csp_data.view.page import build

    document = Document()
    with set_curdoc(document):
        build(sample, {}).server_doc(document)
    styles = {style.url for root in document.roots for style in root.select({"type": ImportedStyleSheet})}
    assert len(styles) > 3
    assert all(re.match("static/", url) for url in styles), styles


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "csp_data", "view", "sample", "--runs", str(root), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/view", line), (line, process.poll())
        yield line
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def _colours(page: Any, selector: str, property_: str) -> list[int]:
    colour = page.locator(selector).first.evaluate(f"it => getComputedStyle(it).{property_}")
    return [int(value) for value in re.findall(r"\d+", colour)]


LONG_MS = 180_000
"""For a page to change: where a machine has much else to do, that takes longer than Playwright waits by itself."""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_page_in_a_browser(address: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    asked: list[str] = []
    wrong: list[str] = []
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(LONG_MS)
        context.on(
            "console", lambda said: print(f"console, {said.type}: {said.text}")
        )  # shown where the test fails
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.wait_for_selector("text=sample: real recordings")
        shown = page.locator(".csp-figure svg").first
        shown.wait_for()
        assert "sample / train / " in (shown.text_content() or "")
        page.get_by_role("img", name="episode: sample / train / ").wait_for()
        # a run: the picture is of what it predicts, of an episode of the part that it reports on
        assert page.get_by_label("Predictions of a run").input_value() == "none"
        page.get_by_label("Predictions of a run").select_option("sweep/good")
        page.locator(".csp-figure svg >> text=sweep/good").first.wait_for()
        page.locator(".csp-figure svg >> text=/sample \\/ test/").first.wait_for()
        # another figure, then inputs, then the slider, which begins at the 5 Hz of the figure: the picture follows
        page.get_by_label("Figure", exact=True).select_option("lowpass")
        page.get_by_label("Inputs").select_option("gyr_y")
        page.locator(".csp-figure svg >> text=gyr_y (rad/s)").first.wait_for()
        page.get_by_role("slider", name="Low-pass cut-off (Hz), 0 for none").press("ArrowRight")
        page.locator(".csp-figure svg >> text=/low-pass 5\\.1 Hz/").first.wait_for()
        # the address follows: opened elsewhere it shows the same, and back leads to the choices before, then away
        page.wait_for_url("**/view?dataset=sample&figure=lowpass&part=test&episode=*&hz=5.1**")
        with context.new_page() as other:
            other.goto(page.url)
            other.get_by_role("img", name="low-pass 5.1 Hz, order 3, causal phase").wait_for()
            assert other.get_by_label("Predictions of a run").input_value() == "sweep/good"
            assert other.get_by_label("Inputs").input_value() == "gyr_y"
            other.get_by_label("Figure", exact=True).select_option("splits")
            other.wait_for_url("**figure=splits**")
            other.go_back()
            other.get_by_role("img", name="low-pass 5.1 Hz, order 3, causal phase").wait_for()
            assert other.url == page.url
            assert other.get_by_label("Figure", exact=True).input_value() == "lowpass"
            other.go_back()
            assert other.url == "about:blank"
        page.get_by_label("Figure", exact=True).select_option("trajectory")
        assert "Choose csp-data view --target 'velocity-in" in page.get_by_role("alert").inner_text()
        page.get_by_label("Figure", exact=True).select_option("recording")
        page.locator(".csp-figure svg >> text=/raw \\(real recordings\\)/").first.wait_for()
        page.goto(address + "?figure=lowpass&hz=2&phase=zero")
        page.locator(".csp-figure svg >> text=/low-pass 2 Hz, order 3, zero phase/").first.wait_for()
        page.goto(address + "?run=../outside")
        page.wait_for_selector("text=Not shown")
        assert page.locator(".csp-figure").count() == 0
        page.get_by_role("link", name="Show sample from its first episode on").click()
        page.get_by_role("button", name="Card").click()
        colours = page.get_by_role("heading", name="sample: Excerpt of BROAD").evaluate(
            "it => [it, it.querySelector('code')].map((one) => getComputedStyle(one).color)"
        )
        assert colours[0] == colours[1]
        page.set_viewport_size({"width": 390, "height": 800})
        assert (
            page.evaluate("document.documentElement.scrollWidth") <= 391
        )  # tables of the card scroll by themselves
        page.goto(address)
        shown.wait_for()
        assert shown.evaluate("svg => svg.getBoundingClientRect().width") >= 560  # or its letters are too small
        assert page.evaluate("document.documentElement.scrollWidth") <= 391
        page.goto(address + "?figure=none")
        page.wait_for_selector("text=Not shown")
        page.emulate_media(color_scheme="dark")
        assert set(_colours(page, "html", "backgroundColor")) <= {*range(1, 60)}
        assert min(_colours(page, "h1", "color")) > 150
        page.goto(address)
        shown.wait_for()
        for scheme, paper, ink in (("light", {0, 255}, range(100)), ("dark", range(1, 60), range(150, 256))):
            page.emulate_media(color_scheme=scheme)
            page_colour, *behind = (_colours(page, one, "backgroundColor") for one in ("html", "select"))
            letters = [_colours(page, one, "color") for one in ("h1", "label", "select")]
            letters.append(_colours(page, "figure svg text", "fill"))
            assert {*page_colour, *behind[0]} <= {*paper}, scheme
            assert {value for one in letters for value in one} <= {*ink}, scheme
        browser.close()
    host = address.split("/")[2]
    outside = [url for url in asked if not re.match(rf"(https?|wss?)://{re.escape(host)}/|data:|blob:", url)]
    assert not outside
    assert not [line for line in wrong if "favicon" not in line]
