import base64
import io
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.legend import Legend
from scipy import signal

import csp_data
from csp_data import LowPass, Stream, plot
from csp_data.card import printed_unit
from csp_data.commands.plot import FIGURES
from csp_data.errors import OptionError, UnknownNameError
from csp_data.plot.raw import gaps
from csp_data.plot.style import DARK, to_svg


@pytest.fixture(scope="module")
def moving() -> csp_data.Dataset:
    """Velocities along fixed axes, which add up to a path."""
    return csp_data.load("sample", target="velocity-in-start-frame")


def axes():
    return Figure().add_subplot()


@pytest.mark.parametrize(("phase", "db"), [("causal", -10 * np.log10(2)), ("zero", -20 * np.log10(2))])
@pytest.mark.parametrize("order", [1, 3, 4])
def test_gain_at_the_cut_off(phase, db, order) -> None:
    gain = LowPass(hz=4.0, order=order, phase=phase).gain([1e-9, 4.0], 50.0)
    np.testing.assert_allclose(20 * np.log10(gain), [0, db], atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_delay_is_what_a_slow_sine_suffers(order) -> None:
    rate, hz = 200.0, 0.5
    lowpass = LowPass(hz=3.0, order=order)
    time = np.arange(0, 60, 1 / rate)
    late = lowpass.apply(np.sin(2 * np.pi * hz * time)[:, None], rate)[:, 0]
    settled = time >= 20
    phase = np.angle(np.sum(late[settled] * np.exp(-2j * np.pi * hz * time[settled])) * 1j)
    # the phase is nearly linear this far below the cut-off: group delay and phase delay agree to a few per cent
    assert lowpass.delay([0.0, hz], rate) == pytest.approx(-phase / (2 * np.pi * hz), rel=0.05)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_delay_is_scipys(order) -> None:
    lowpass, rate = LowPass(hz=6.0, order=order), 50.0
    hz = np.linspace(0.1, 20, 30)
    numerator, denominator = signal.butter(order, 6.0, fs=rate)
    _, samples = signal.group_delay((numerator, denominator), w=hz, fs=rate)
    np.testing.assert_allclose(lowpass.delay(hz, rate), samples / rate, rtol=1e-6)
    assert not LowPass(hz=6.0, phase="zero").delay(hz, rate).any()


def test_a_filter_is_drawn_in_decibels_and_milliseconds() -> None:
    """Half the power at the cut-off; of order 3 slow sines are late by 2 / w, with w by the bilinear map."""
    lowpass = LowPass(hz=4.0, order=3)
    hz, gain = plot.plot_gain(axes(), lowpass, 50.0).lines[0].get_data()
    assert np.interp(4.0, hz, gain) == pytest.approx(10 * np.log10(0.5), abs=0.01)
    hz, delay = plot.plot_delay(axes(), lowpass, 50.0).lines[0].get_data()
    assert hz[0] == 0
    assert delay[0] == pytest.approx(1000 * 2 / (2 * 50 * np.tan(np.pi * 4 / 50)), rel=1e-6)


@pytest.mark.parametrize("figure", [name for name in FIGURES if name in plot.FIGURES])
def test_every_figure_shows_finite_lines_and_says_what_kind_of_data_it_is(sample, moving, figure) -> None:
    dataset = moving if figure == "trajectory" else sample
    drawn = dataset.plot(figure, part="test", episode=1)
    assert "real recordings" in drawn.get_suptitle()
    lines = [np.asarray(line.get_ydata(), dtype=float) for ax in drawn.axes for line in ax.lines]
    assert lines or any(ax.patches for ax in drawn.axes)
    assert all(np.isfinite(line).all() for line in lines)
    assert all(ax.get_xlabel() or ax.get_ylabel() for ax in drawn.axes)


def test_figures_of_the_command_are_those_there_are() -> None:
    assert set(plot.FIGURES) | {"recording", "clocks"} == set(FIGURES)


def test_trajectory_is_the_sum_of_the_targets(sample, moving) -> None:
    line = moving.plot("trajectory", part="test").axes[0].lines[0]
    ends = np.stack([line.get_xdata(), line.get_ydata()])[:, -1]
    np.testing.assert_allclose(ends, moving.test[0].targets[:, :2].sum(axis=0) / 5, rtol=1e-4)
    with pytest.raises(OptionError, match="'velocity' of sample does not"):
        sample.plot("trajectory")


def test_low_pass_figure_shows_the_filtered_values(sample) -> None:
    episode, lowpass = sample.train[0], LowPass(hz=2.0, phase="zero")
    ax = plot.plot_lowpass(axes(), episode, sample.channels, 1, lowpass)
    before, after = (line for line in ax.lines)
    start = int(np.searchsorted(episode.time, before.get_xdata()[0]))
    smooth = signal.sosfiltfilt(
        signal.butter(3, 2.0, fs=50, output="sos"), episode.inputs[:, 1].astype(float), padlen=12
    )
    np.testing.assert_allclose(after.get_ydata(), smooth[start : start + len(after.get_ydata())], atol=1e-9)
    assert len(after.get_ydata()) == 3 * 50


def test_spectrum_has_its_peak_where_the_sine_is(sample) -> None:
    episode = sample.train[0]
    sine = np.sin(2 * np.pi * 7.0 * np.arange(len(episode.inputs)) / 50)
    inputs = np.repeat(sine[:, None], 6, axis=1).astype(np.float32)
    line = plot.plot_spectra(axes(), replace(episode, inputs=inputs), sample.channels, [0]).lines[0]
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(7.0, abs=50 / 256)


def test_split_bars_are_as_long_as_the_parts(sample) -> None:
    ax = plot.plot_splits(axes(), sample)
    lengths = {}
    for bar in ax.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        lengths[row] = lengths.get(row, 0) + bar.get_width()
    assert [lengths[i] for i in range(3)] == pytest.approx([sample.split(p).seconds / 60 for p in sample.parts])


def test_raw_streams_break_at_their_gaps() -> None:
    time = np.concatenate([np.arange(100), np.arange(150, 200)]) / 10
    stream = Stream(time, np.ones((150, 9)), tuple("abcdefghi"), "uT", "input")
    np.testing.assert_allclose(gaps(time), [[9.9, 15.0]])
    ax = plot.plot_stream(axes(), stream, active=(1.0, 14.0))
    assert len(ax.patches) == 1
    assert "first 7 of 9" in ax.get_ylabel()
    values = np.asarray(ax.lines[0].get_ydata())
    assert np.isnan(values).sum() == 1  # no line is drawn across the gap
    bars = plot.plot_coverage(axes(), {"m": stream}).collections[0].get_paths()
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bars]
    np.testing.assert_allclose(spans, [(0, 9.9), (15, 19.9)])
    clock = plot.plot_clock(axes(), stream, name="m").lines[0]
    assert np.max(clock.get_ydata()) == pytest.approx(5100)
    assert gaps(np.zeros(1)).shape == (0, 2)


def test_rows_without_values_are_a_gap_too() -> None:
    """As of a body that the cameras lost, of which the files have every row."""
    time, values = np.arange(100) / 10, np.ones((100, 2))
    values[40:60, 1] = np.nan
    stream = Stream(time, values, ("x", "y"), "m", "reference")
    (shade,) = plot.plot_stream(axes(), stream).patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((3.9, 6.0))
    assert len(plot.plot_coverage(axes(), {"m": stream}).collections[0].get_paths()) == 2
    unseen = Stream(time, np.full((100, 2), np.nan), ("x", "y"), "m", "reference")
    assert not plot.plot_coverage(axes(), {"m": unseen}).collections


def test_long_lines_go_through_the_samples_that_show() -> None:
    """All of them, hours of a skin took half a minute to draw and were pixels even in a PDF."""
    rng = np.random.default_rng(0)
    time, values = np.arange(100_003) / 50, rng.normal(size=100_003)
    values[[777, 50_001]] = 40.0, -40.0
    values[30_000:30_500] = np.nan
    stream = Stream(time, values[:, None], ("x",), "m", "reference")
    ax = plot.plot_stream(axes(), stream)
    shown = np.asarray(ax.lines[0].get_xydata())
    assert len(shown) < 2_200
    known = np.isfinite(shown[:, 1])
    np.testing.assert_array_equal(values[np.round(shown[known, 0] * 50).astype(int)], shown[known, 1])
    assert (shown[known, 1].min(), shown[known, 1].max()) == (-40, 40)
    assert (shown[0, 0], shown[-1, 0]) == (0, time[-1])
    within = (shown[:, 0] >= 600) & (shown[:, 0] < 610)
    assert within.any()
    assert not known[within].any()  # no line is drawn across the gap
    drawn = plot.plot_prediction(axes(), time, values, {"m": list(values)})
    for line in drawn.lines:
        np.testing.assert_array_equal(line.get_xydata(), shown)
    assert "<image" not in to_svg(ax.figure)


def test_units_are_printed() -> None:
    drawn = plot.recording_figure(csp_data.read_recording("sample"))
    assert [ax.get_ylabel() for ax in drawn.axes] == ["m/s²", "rad/s", "µT", "m", "no unit"]
    assert [printed_unit(unit) for unit in ("uV", "kg m^2/s^3", "us", "gauss")] == [
        "µV",
        "kg m²/s³",
        "us",
        "gauss",
    ]
    spectra = csp_data.load("sample").plot("spectra", channels=["acc_x", "gyr_x"])
    assert [ax.get_ylabel() for ax in spectra.axes] == [f"power density (({u})²/Hz)" for u in ("m/s²", "rad/s")]


def test_times_of_a_late_piece_are_whole_numbers(sample) -> None:
    """Six hours in, ticks were 5.5, 6.0 and so on, with +1.922e4 in a corner."""

    def drawn(late: float):
        episode = replace(sample.train[0], time=sample.train[0].time + late)
        return plot.plot_lowpass(axes(), episode, sample.channels, 0, LowPass(hz=5))

    ax = drawn(19_225.2 - drawn(0).lines[0].get_xdata()[0])
    ax.figure.draw_without_rendering()
    assert ax.xaxis.get_offset_text().get_text() == ""
    assert all(19_225 < float(tick.get_text()) < 19_229 for tick in ax.get_xticklabels()[1:-1])


def test_long_names_run_into_nothing(sample, tmp_path: Path) -> None:
    path = shutil.copy(sample.path, tmp_path)
    names = [f"velocity_RightForeArm_{axis}" for axis in "xyz"]
    with h5py.File(path, "r+") as file:
        file.attrs.pop("tables_crc32")
        file["targets"].attrs["channels"] = names
        file["inputs"].attrs["channels"] = [f"accelerometer_of_the_right_hand_{i}" for i in range(6)]
    long = csp_data.load(path=path)
    for figure in ("targets", "lowpass"):
        drawn = long.plot(figure)
        drawn.draw_without_rendering()
        for ax in drawn.axes:
            assert ax.yaxis.label.get_window_extent().height < 1.1 * ax.get_window_extent().height
    assert [ax.get_title(loc="left") for ax in long.plot("targets").axes] == [f"{name} (m/s)" for name in names]
    assert sample.plot("targets").axes[0].get_ylabel() == "vel_x (m/s)"


def _ticks_in_view(axis) -> list[str]:
    axis.axes.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def test_logarithmic_axes_have_ticks_to_read_values_off() -> None:
    """Between 0.8 and 1.3, or from 52,000 to 101,000, there was one."""
    losses = _ticks_in_view(plot.plot_learning(axes(), {"a": [[1.3, 1.0, 0.8]]}).yaxis)
    assert losses == ["0.8", "0.9", "1", "1.1", "1.2", "1.3"]
    losses = _ticks_in_view(plot.plot_learning(axes(), {"a": [[2.6, 1.7]]}).yaxis)
    assert losses == ["1.8", "2", "2.2", "2.4", "2.6"]
    models = {"a": (52_771, [1.0]), "b": (101_443, [2.0])}
    costs = _ticks_in_view(plot.plot_cost(axes(), models, xlabel="values", ylabel="error").xaxis)
    assert costs == ["60,000", "80,000", "100,000"]
    few = {"a": (1.2, [1.0]), "b": (1.9, [2.0])}
    costs = _ticks_in_view(plot.plot_cost(axes(), few, xlabel="times", ylabel="error").xaxis)
    assert costs == ["1.2", "1.4", "1.6", "1.8"]
    wide = {"a": (90, [1.0]), "b": (90_000, [2.0])}
    costs = _ticks_in_view(plot.plot_cost(axes(), wide, xlabel="times", ylabel="error").xaxis)
    assert costs == ["100", "1,000", "10,000", "100,000"]


def test_a_single_epoch_can_be_seen() -> None:
    ax = plot.plot_learning(axes(), {"a": [[1.3], [1.2]], "b": [[1.1, 0.9]]})
    marks = {line.get_label(): line.get_marker() for line in ax.lines if not line.get_label().startswith("_")}
    assert marks == {"a": "o", "b": "None"}


def test_prediction_names_models_with_different_lines() -> None:
    time = np.arange(20.0)
    models = {f"m{i}": np.full(20, i) for i in range(9)}
    ax = plot.plot_prediction(axes(), time, time, models, name="vx", unit="m/s")
    looks = {(line.get_color(), str(line.get_linestyle()), line.get_linewidth()) for line in ax.lines}
    assert len(looks) == 10
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", *models]


def test_long_names_of_models_take_no_width_of_targets(sample) -> None:
    figures = [sample.plot("targets", predictions={name: sample.train[0].targets}) for name in ("m", "m" * 44)]
    for figure in figures:
        figure.canvas.draw()
    widths = [{round(ax.get_position().width, 3) for ax in figure.axes} for figure in figures]
    assert widths[0] == widths[1]
    (legend,) = figures[1].findobj(Legend)  # of all panels
    assert [text.get_text() for text in legend.get_texts()] == ["measured", "m" * 44]


def test_raw_recording_by_number_and_id() -> None:
    first = csp_data.read_recording("sample")
    assert csp_data.read_recording("sample", first.id).id == first.id
    assert csp_data.read_recording("sample", np.int64(0)).id == first.id
    drawn = plot.recording_figure(first)
    assert len(drawn.axes) == len(first.streams)
    assert len(plot.recording_figure(first, clocks=True).axes) == len(first.streams) + 1
    with pytest.raises(UnknownNameError, match=r"recording '.*' of sample"):
        csp_data.read_recording("sample", "nobody")
    with pytest.raises(OptionError, match="recording=999"):
        csp_data.read_recording("sample", 999)


def test_some_channels_of_a_raw_recording_of_many() -> None:
    """A skin of nine channels, of which a panel draws the first seven unless others are named."""
    read = csp_data.read_recording("sample")
    time = np.arange(0, 3, 0.01)
    values = np.sin(time[:, None] + np.arange(9))
    skin = Stream(time, values, tuple(f"c{i}" for i in range(9)), "uT", "input")
    read = replace(read, streams={**read.streams, "skin": skin})
    gyroscope, *_, panel = plot.recording_figure(read, channels=["c8", "gyr_y", "c2"]).axes
    lines = [line for line in panel.lines if not line.get_label().startswith("_")]  # the marked part has some too
    assert [line.get_label() for line in lines] == ["c2", "c8"]
    for line, column in zip(lines, (2, 8), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values[:, column])
    (line, *_) = gyroscope.lines
    np.testing.assert_array_equal(line.get_ydata(), read.streams["gyroscope"].values[:, 1])
    assert len(plot.recording_figure(read, channels=["c8", "gyr_y", "c2"]).axes) == 2
    with pytest.raises(UnknownNameError, match=r"no channel 'c9'.*'c8'"):
        plot.recording_figure(read, channels=["c9"])
    with pytest.raises(OptionError, match="a list of names of channels"):
        plot.recording_figure(read, channels="c8")


def test_files_are_pages_and_equal_bytes(sample, tmp_path: Path) -> None:
    for name in ("a", "b"):
        plot.save(sample.plot("splits"), tmp_path / f"{name}.html")
        plot.save(sample.plot("splits"), tmp_path / f"{name}.svg")
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert 'aria-label="sample (real recordings), protocol strict"' in page
    assert not re.search(r"(src|href)=.https?:", page)
    with pytest.raises(OptionError, match=r"ends in \.png, \.svg, \.pdf, \.html"):
        plot.save(sample.plot("splits"), tmp_path / "a.bmp")


def test_a_page_has_colours_for_the_dark_and_a_picture_has_none(sample, tmp_path: Path) -> None:
    page = plot.save(sample.plot("splits"), tmp_path / "a.html").read_text()
    svg = page[page.index("<svg") :]
    assert "var(--paper, #ffffff)" in svg
    assert not re.search(r": #[0-9a-f]{6}", svg)  # each colour can be another one
    assert "var(" not in plot.save(sample.plot("splits"), tmp_path / "a.svg").read_text()
    dark = dict(re.findall(r"--([\w-]+): #(\w{6})", DARK))
    bright = {name: _luminance(colour) for name, colour in dark.items()}
    for name in dark.keys() - {"paper", "line"}:
        assert (bright[name] + 0.05) / (bright["paper"] + 0.05) > (4.5 if name in ("ink", "muted") else 3), name


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    shares = np.array(list(bytes.fromhex(colour))) / 255
    return float(
        np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    )


def test_unknown_figure_part_and_path(sample) -> None:
    with pytest.raises(UnknownNameError, match="figure"):
        sample.plot("spektrum")
    with pytest.raises(UnknownNameError, match="part"):
        sample.plot(part="eval")
    with pytest.raises(OptionError, match="below 8"):
        sample.plot(episode=99)


def test_without_matplotlib_the_extra_is_named() -> None:
    code = "import sys; sys.modules['matplotlib'] = None\nimport csp_data\ncsp_data.load('sample').plot()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "csp-data[plot]" in ended.stderr
    assert ended.returncode != 0


def _line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def test_learning_curves_show_every_seed_and_their_mean() -> None:
    curves = {"a": [[4.0, 2.0, 1.0], [8.0, 4.0]], "b": [[1.0, 3.0]]}
    ax = plot.plot_learning(axes(), curves, chosen={"a": [3, 2]})
    np.testing.assert_allclose(_line(ax, "a"), [[1, 2], [6.0, 3.0]])  # as far as both go
    np.testing.assert_allclose(_line(ax, "b"), [[1, 2], [1.0, 3.0]])
    thin = [line.get_ydata().tolist() for line in ax.lines if line.get_linewidth() < 1]
    assert thin == curves["a"]  # one seed is its own mean
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"]
    assert marks == [(3, 1.0), (2, 4.0)]


def test_long_curves_are_thinned_but_keep_their_ends() -> None:
    losses = np.geomspace(1, 1e-3, 5000)
    x, y = _line(plot.plot_learning(axes(), {"a": [losses]}), "a")
    assert len(x) <= 200
    assert (x[0], x[-1], y[0], y[-1]) == (1, 5000, 1.0, pytest.approx(1e-3))


def test_error_against_a_setting() -> None:
    errors = {"a": {"causal": {50: [3.0], 2: [1.0, 2.0]}, "zero": {2: [0.5]}, "no filter": {None: [8.0, 10.0]}}}
    ax = plot.plot_settings(axes(), errors, xlabel="cut-off", ylabel="error")
    lines = [line for line in ax.lines if len(line.get_xdata()) and line.get_marker() == "o"]
    np.testing.assert_allclose(lines[0].get_xydata(), [[2, 1.5], [50, 3.0]])
    np.testing.assert_allclose(lines[1].get_xydata(), [[2, 0.5]])
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    low, high = (ax.collections[0].get_paths()[0].vertices[:, 1][k] for k in (1, -2))
    assert sorted((low, high)) == pytest.approx([1.5 - 0.5**0.5, 1.5 + 0.5**0.5])  # of 1 and 2
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "50"]
    assert 9.0 in [line.get_ydata()[0] for line in ax.lines if len(line.get_ydata())]
    (band,) = ax.patches
    edges = band.get_patch_transform().transform(band.get_path().vertices)[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((9 - 2**0.5, 9 + 2**0.5))  # of 8 and 10
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["a", "causal", "zero", "no filter"]


def test_settings_that_are_no_numbers_stand_side_by_side() -> None:
    ax = plot.plot_settings(axes(), {"a": {"": {True: [1.0], None: [2.0]}}}, xlabel="deltas", ylabel="error")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["none", "yes"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 2.0], [1, 1.0]])


def test_drift_is_the_distance_between_two_paths() -> None:
    slow, fast = np.tile([2.0, -2.0], (4, 1)), np.tile([5.0, 2.0], (4, 1))  # 3 and 4 apart, so 5
    ax = plot.plot_drift(axes(), np.arange(4), slow, {"a": fast}, step=0.2)
    np.testing.assert_allclose(_line(ax, "a")[1], [1, 2, 3, 4])


def test_differences_are_filled_only_where_they_carry_weight() -> None:
    rows = [
        plot.Difference("a", 0.5, 0.2, 0.9, significant=True),
        plot.Difference("b", 0.1, -1.0, 1.0, significant=False),
    ]
    ax = plot.plot_differences(axes(), rows, label="MSE", against="c")
    marks = {line.get_xdata()[0]: line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"}
    assert marks[0.5] != "none"
    assert marks[0.1] == "none"
    bars = [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "None"]
    assert bars[:2] == [[0.2, 0.9], [-1.0, 1.0]]


def test_differences_of_models_with_long_names_are_whole() -> None:
    names = [f"mean (epochs {i}, window_s 10, code fb7a2fb6c1e{i})" for i in range(2)]
    rows = [plot.Difference(name, 0.1, 0.0, 0.3, significant=True) for name in [*names, "kalman"]]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(4.6, 1.6), layout="constrained")  # as in a report
        ax = plot.plot_differences(
            figure.subplots(), rows, label="MSE (m/s)²", against="hiss-mamba-transformer (lr 1)"
        )
        figure.draw_without_rendering()
    assert ax.get_window_extent().width > 200  # of 460
    texts = [*ax.get_yticklabels(), ax.xaxis.label]
    assert all(0 <= t.get_window_extent().x0 <= t.get_window_extent().x1 <= 460 for t in texts)
    assert len({text.get_text() for text in ax.get_yticklabels()}) == 3
    assert ax.get_xlabel() == "MSE (m/s)², minus that of\nhiss-mamba-transformer (lr 1)"


def test_errors_and_costs_stand_where_they_should() -> None:
    errors = {"a": {"r1": 1.0, "r2": 2.0}, "b": {"r2": 3.0}}
    x, y = _line(plot.plot_errors(axes(), errors), "b")
    assert x.tolist() == [3.0]
    assert y == pytest.approx(1, abs=0.4)  # the row of r2
    ax = plot.plot_cost(axes(), {"a": (100, [1.0, 3.0])}, xlabel="values", ylabel="error")
    np.testing.assert_allclose(_line(ax, "a"), [[100], [2.0]])
    assert [1.0, 3.0] in [list(line.get_ydata()) for line in ax.lines]  # from the least to the greatest


def test_long_names_of_recordings_stand_within_the_axes() -> None:
    names = [f"monday_participant-0{i}_left-hand_session-with-a-long-name_2026-11-29T12-33-0{i}" for i in range(2)]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(4.6, 3), layout="constrained")  # as in a report
        ax = plot.plot_errors(figure.subplots(), {"a": dict.fromkeys([*names, "short_one"], 1.0)})
        ax.get_legend().remove()
        figure.draw_without_rendering()
    said = [text.get_text() for text in ax.texts]
    assert said[0].startswith("monday participant-00 left")
    assert said[0].endswith("name 2026-11-29T12-33-00")
    assert said[2] == "short one"
    assert max(text.get_window_extent().x1 for text in ax.texts) < ax.get_window_extent().x1
    assert ax.get_window_extent().width > 380  # of 460: the names leave the axes their room


def test_no_two_models_look_the_same() -> None:
    names = [f"m{i}" for i in range(18)]
    given = plot.looks(names, ["mean", "fir"])
    assert len({tuple(map(str, look.values())) for look in given.values()}) == 20
    drawn = plot.plot_prediction(axes(), np.arange(2), np.ones(2), {"m3": np.ones(2)}, looks=given)
    assert drawn.lines[1].get_color() == given["m3"]["color"]


def test_spectrum_of_a_filtered_channel(sample) -> None:
    ax = plot.plot_spectra(axes(), sample.train[0], sample.channels, [2], LowPass(hz=2.0))
    before, after = _line(ax, "as recorded"), _line(ax, "2 Hz, causal")
    gain = 10 * np.log10(after[1] / before[1])
    assert abs(gain[before[0] < 0.5]).max() < 1
    assert gain[before[0] > 8].max() < -25  # third order: 60 dB a decade


def test_the_worlds_clock_is_shown_from_the_start(sample) -> None:
    late = 1.7e9
    drawn = plot.plot_prediction(axes(), np.arange(3) + late, np.ones(3))
    np.testing.assert_allclose(drawn.lines[0].get_xdata(), [0, 1, 2])
    episode = sample.train[0]
    moved = replace(episode, time=episode.time + late, target_time=episode.target_time + late)
    for show in (
        lambda e: plot.plot_channels(axes(), e, sample.channels, [0]),
        lambda e: plot.plot_channels(axes(), e, sample.targets, [0], targets=True),
        lambda e: plot.plot_lowpass(axes(), e, sample.channels, 0, LowPass(hz=5)),  # of a piece within
    ):
        here, there = (show(e).lines[-1].get_xdata() for e in (episode, moved))
        np.testing.assert_allclose(there, here - episode.time[0], atol=1e-6)


def test_a_raw_recording_on_the_worlds_clock_begins_at_zero() -> None:
    late = 1.7e9
    read = csp_data.read_recording("sample")
    moved = replace(
        read,
        streams={name: replace(stream, time=stream.time + late) for name, stream in read.streams.items()},
        active=read.active and (read.active[0] + late, read.active[1] + late),
    )
    for clocks in (False, True):
        here, there = (plot.recording_figure(one, clocks=clocks).axes[-1] for one in (read, moved))
        for a, b in zip(here.lines, there.lines, strict=True):
            np.testing.assert_allclose(b.get_xdata(), a.get_xdata(), atol=1e-6)


def test_streams_whose_clocks_have_other_origins_can_both_be_read_off() -> None:
    """On one axis each was a line at its end, in the figure that shows by how much clocks differ."""
    read = csp_data.read_recording("sample")
    name = next(name for name, stream in read.streams.items() if stream.role == "reference")
    late = replace(read.streams[name], time=read.streams[name].time + 1200)
    moved = replace(read, streams={**read.streams, name: late})
    for clocks in (False, True):
        together = plot.recording_figure(read, clocks=clocks).axes
        assert len({ax.get_xlim() for ax in together}) == 1
        apart = plot.recording_figure(moved, clocks=clocks).axes[int(clocks) :]
        for ax, stream in zip(apart, moved.streams.values(), strict=True):
            low, high = ax.get_xlim()
            assert low <= stream.time[1] <= stream.time[-1] <= high
            assert high - low < 1.2 * (stream.time[-1] - stream.time[0])
            assert "own axis" in ax.get_xlabel()


def test_a_target_that_has_a_path_is_named(sample) -> None:
    with pytest.raises(OptionError, match="Choose target='velocity-in-start-frame'"):
        sample.plot("trajectory")


def test_dollars_in_names_begin_no_formula(tmp_path: Path) -> None:
    """Not even one that matplotlib cannot read; the powers of ten of a logarithmic axis stay formulas."""
    name, figure = r"a$\fo$ <b>", Figure(layout="constrained")
    ax = figure.subplots()
    ax.barh([0, 1], [1.0, 1000.0], label=name)
    ax.set_yticks([0, 1], [name, "b"])
    ax.set_xscale("log")
    ax.set_title(name)
    ax.legend()
    svg = to_svg(figure)
    assert svg.count(r">a$\fo$ &lt;b&gt;</text>") == 3
    assert "mathdefault" not in re.sub(r"<!--.*?-->", "", svg)
    for suffix in ("png", "html"):
        assert plot.save(figure, tmp_path / f"made.{suffix}").stat().st_size > 0


@pytest.mark.parametrize("figure", ["targets", "trajectory"])
def test_predictions_of_any_arrays(moving, figure: str) -> None:
    pd = pytest.importorskip("pandas")
    targets = moving.train[0].targets
    for given in (targets.tolist(), pd.DataFrame(targets)):
        drawn = moving.plot(figure, predictions={"model": given})
        assert "model" in [line.get_label() for line in drawn.axes[0].lines]
    for wrong in ({"model": targets[:5]}, {"model": targets[:, 0]}, targets, [targets]):
        with pytest.raises(OptionError, match="predictions="):
            moving.plot(figure, predictions=wrong)


def test_an_episode_by_its_id(sample) -> None:
    """Comparing an id with a number ended in Python's error."""
    last = sample.test.rows[-1].id
    (by_id, by_number) = (sample.plot("targets", part="test", episode=which) for which in (last, -1))
    assert last in by_id.get_suptitle() == by_number.get_suptitle()
    with pytest.raises(UnknownNameError, match="no episode 'nobody' of test"):
        sample.plot(part="test", episode="nobody")


def test_the_name_of_one_channel_is_no_list(sample) -> None:
    with pytest.raises(OptionError, match="channels='acc_x': expected a list"):
        sample.plot(channels="acc_x")


@pytest.mark.parametrize("name", [*plot.FIGURES, "recording"])
def test_notebooks_show_figures(sample, moving, tmp_path: Path, name: str) -> None:
    """As they are saved; of matplotlib's own, a notebook that has not used pyplot prints the size alone."""

    def drawn() -> Figure:
        if name == "recording":
            return plot.recording_figure(csp_data.read_recording("sample", 0), kind="<real>")
        return (moving if name == "trajectory" else sample).plot(name)

    figure = drawn()
    image = ET.fromstring(figure._repr_html_())
    kind, _, code = image.get("src", "").partition(",")
    assert (image.tag, kind) == ("img", "data:image/png;base64")
    assert image.get("alt") == figure.get_suptitle().replace("\n", " ") != ""
    saved = plot.save(drawn(), tmp_path / "saved.png")
    np.testing.assert_array_equal(imread(io.BytesIO(base64.b64decode(code))), imread(saved))
