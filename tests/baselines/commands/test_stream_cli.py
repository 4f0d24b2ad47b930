"""``csp-baselines stream``: real processes and pipes, and every kind of bad line."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from baselines.cli import main
from baselines.commands.stream import Stream, stream
from baselines.commands.stream_loop import EvenSamples, StreamCounts, deferred_interrupt
from baselines.cpu.threads import before_compiling, compiling_note
from baselines.experiment import run as train
from baselines.runs.interface import INTERFACE, InterfaceError, interface_of
from baselines.runs.run import Run, read_run
from baselines.stream.line_protocol import (
    ClockError,
    LatencyHistogram,
    PredictionWriter,
    SampleClock,
    SampleError,
    read_samples,
)
from baselines.stream.streamer import Streamer, load_state
from baselines.trained import load_model
from baselines.training.settings import TrainConfig
from csp_data import Dataset

NAMES = ("a", "b")


def csv_text(ds: Dataset, inputs: np.ndarray) -> str:
    rows = "".join(",".join(repr(float(v)) for v in row) + "\n" for row in inputs)
    return ",".join(ds.channels.names) + "\n" + rows


def expected(run: Run, inputs: np.ndarray) -> np.ndarray:
    return Streamer.of(load_model(run), interface_of(run)).push(inputs)  # type: ignore[arg-type]


def table(text: str) -> np.ndarray:
    return np.array([[float(v) for v in line.split(",")] for line in text.splitlines()[1:]])


def test_file_in_file_out(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = sample.val[0].inputs[:45]
    (tmp_path / "in.csv").write_text(csv_text(sample, inputs))
    main(["stream", str(runs["a"].folder), "--input", str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv")])
    text = (tmp_path / "out.csv").read_text()
    assert text.splitlines()[0] == ",".join(("time", *sample.targets.names, "latency_ms"))
    made = table(text)
    np.testing.assert_allclose(made[:, 1:-1], expected(runs["a"], inputs), rtol=1e-6)
    np.testing.assert_allclose(made[:, 0], [0.2, 0.4, 0.6, 0.8])
    said = capsys.readouterr().err
    assert (
        said.count("Note: samples without a time: they are taken to be 0.02 s apart (50 Hz), as in training.") == 1
    )
    assert "45 samples, 4 predictions" in said
    assert "p99" in said


def test_json_lines_and_any_order_of_columns(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, names = sample.val[0].inputs[:20].astype(float), sample.channels.names
    rows = [dict(reversed(list(zip(names, row, strict=True)))) for row in inputs.tolist()]
    lines = [json.dumps({"time": 100 + k / 50, "extra": "x", **row}) for k, row in enumerate(rows)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    arguments = [
        "stream",
        str(runs["a"].folder),
        "--input",
        str(tmp_path / "in.jsonl"),
        "--format",
        "jsonl",
        "--json",
    ]
    main(arguments)
    said = capsys.readouterr()
    made = [json.loads(line) for line in said.out.splitlines()]
    assert [m["time"] for m in made] == [100.18, 100.38]
    np.testing.assert_allclose([[m[n] for n in sample.targets.names] for m in made], expected(runs["a"], inputs))
    assert json.loads(said.err)["predictions"] == 2


def test_state_goes_on_in_another_process_with_the_same_bits(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, folder, state = sample.val[0].inputs[:50], str(runs["a"].folder), str(tmp_path / "state")
    for name, piece in (("whole", inputs), ("first", inputs[:23]), ("second", inputs[23:])):
        (tmp_path / name).write_text(csv_text(sample, piece))
    main(["stream", folder, "--input", str(tmp_path / "whole"), "--format", "jsonl"])
    whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main(["stream", folder, "--input", str(tmp_path / "first"), "--format", "jsonl", "--save-state", state])
    made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main(["stream", folder, "--input", str(tmp_path / "second"), "--format", "jsonl", "--load-state", state])
    made += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in (*whole, *made):
        del line["latency_ms"]
    assert made == whole
    with pytest.raises(SystemExit):
        main(["stream", str(runs["b"].folder), "--input", str(tmp_path / "second"), "--load-state", state])
    assert "another model" in capsys.readouterr().err


def test_a_prediction_comes_before_the_next_sample(runs: dict[str, Run], sample: Dataset, home: Path) -> None:
    """A real pipe: each prediction can be read while the writer of the samples waits for it."""
    inputs = sample.val[0].inputs[:30]
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "baselines", "stream", str(runs["a"].folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        header, *rows = csv_text(sample, inputs).splitlines(keepends=True)
        process.stdin.write(header)
        assert process.stdout.readline().startswith("time,")
        for k in range(0, 30, 10):
            process.stdin.write("".join(rows[k : k + 10]))
            process.stdin.flush()
            assert float(process.stdout.readline().split(",")[0]) == pytest.approx((k + 10) / 50)
        process.stdin.close()
        assert "30 samples, 3 predictions" in process.stderr.read()
    assert process.returncode == 0


@pytest.mark.parametrize("resample", [False, True])
def test_a_reader_that_leaves_loses_no_state(
    resample: bool, runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that reads the predictions has crashed: the stream goes on from the state with the next line."""
    header, *rows = csv_text(sample, sample.val[0].inputs[:60]).splitlines(keepends=True)
    if resample:  # a line makes four or five samples known, and a prediction is due amid them
        header, rows = "time," + header, [f"{k / 12:.6f},{row}" for k, row in enumerate(rows)]
    (tmp_path / "whole").write_text("".join([header, *rows]))
    command = ["stream", str(runs["a"].folder), "-q", *(["--resample"] if resample else [])]
    main([*command, "--input", str(tmp_path / "whole")])
    whole = table(capsys.readouterr().out)
    for pipe in ("samples", "predictions"):
        os.mkfifo(tmp_path / pipe)

    def crash() -> None:
        with (tmp_path / "samples").open("w") as samples:
            with (tmp_path / "predictions").open() as predictions:
                predictions.readline()
            samples.write("".join([header, *rows]))
            samples.flush()

    reader = threading.Thread(target=crash)
    reader.start()
    with pytest.raises(BrokenPipeError):
        stream(
            Stream(
                runs["a"].folder,
                input=str(tmp_path / "samples"),
                out=str(tmp_path / "predictions"),
                resample=resample,
                save_state=tmp_path / "state",
            ),
            "",
        )
    reader.join()
    state = safetensors.numpy.load_file(tmp_path / "state")
    taken = round(state["resampler_times"][-1] * 12) + 1 if resample else int(state["samples"])
    assert 0 < taken < 15
    (tmp_path / "rest").write_text("".join([header, *rows[taken:]]))
    main([*command, "--input", str(tmp_path / "rest"), "--load-state", str(tmp_path / "state")])
    np.testing.assert_array_equal(table(capsys.readouterr().out)[:, 1:4], whole[1:, 1:4])


def test_a_sensor_that_cannot_be_read_is_told_and_the_state_kept(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a serial port is whose device was unplugged."""
    (tmp_path / "in").write_text(csv_text(sample, sample.val[0].inputs[:13]))
    command = ["stream", str(runs["a"].folder), "--save-state", str(tmp_path / "state")]
    main([*command, "--input", str(tmp_path / "in")])
    kept = (tmp_path / "state").read_bytes()
    command[-1] = str(tmp_path / "later")
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--load-state", str(tmp_path / "state"), "--input", "/proc/self/mem"])
    assert stopped.value.code == 1
    assert "line 1: expected a line, or the end, found Input/output error." in capsys.readouterr().err
    assert (tmp_path / "later").read_bytes() == kept


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_ends_in_good_order(
    number: int, code: int, runs: dict[str, Run], sample: Dataset, home: Path, tmp_path: Path
) -> None:
    """Ctrl-C, how services are stopped, a terminal that is gone: summary, state, exit code; then it goes on."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests, and so the stream, ignore this signal")
    inputs = sample.val[0].inputs[:45]
    command = [sys.executable, "-m", "baselines", "stream", str(runs["a"].folder), "--save-state", "state"]
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, text=True, cwd=tmp_path
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(csv_text(sample, inputs[:30]))
        process.stdin.flush()
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(number)
        assert "30 samples, 3 predictions" in process.stderr.read()
    assert process.returncode == code
    stream = Streamer.of(load_model(runs["a"]), interface_of(runs["a"]))  # type: ignore[arg-type]
    load_state(tmp_path / "state", stream)
    np.testing.assert_array_equal(stream.push(inputs[30:]), expected(runs["a"], inputs)[3:])


def test_of_several_signals_the_first_interrupts() -> None:
    """When a connection is lost, system and shell send SIGHUP each: the second ended what keeps the state."""
    counts = StreamCounts()
    with deferred_interrupt(counts), contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert counts.stopped == signal.SIGTERM
    with deferred_interrupt(counts):
        signal.raise_signal(signal.SIGINT)
    assert counts.stopped == signal.SIGTERM


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1,2\n", 1, "expected a CSV header with the channels a,b"),
        ("a,c\n1,2\n", 1, r"\(b missing\)"),
        ("a,b,a\n1,2,3\n", 1, r"\(a twice\)"),
        ("time,a,b,time\n0,1,2,3\n", 1, r"\(time twice\)"),
        ("a,b\n1,2\n1\n", 3, "expected 2 values .*, found 1"),
        ("a,b\n\n1,2,3\n", 3, "expected 2 values .*, found 3"),
        ("a,b\n1,x\n", 2, "expected a number for b, found 'x'"),
        ("a,b\n1,\n", 2, "expected a number for b, found ''"),
        ("a,b\n1,nan\n", 2, "expected a finite number for b, found 'nan'"),
        ("a,b\n1,-inf\n", 2, "finite"),
        ("time,a,b\nnoon,1,2\n", 2, "a number for time"),
        ('{"a": 1, "b": 2}\n{"a": 1}\n', 2, r"\(b missing\)"),
        ('{"a": 1, "b": null}\n', 1, "finite number for b, found None"),
        ('{"a": 1, "b": true}\n', 1, "finite number for b, found True"),
        ('{"a": 1, "b": [2]}\n', 1, "a number for b"),
        ("[1, 2]\n[1, 2, 3]\n", 2, "found an array of 3"),
        ('[1, 2]\n{"a": 1,\n', 2, "a JSON object with a,b"),
        ("[1, 2]\n7\n", 2, "found 7"),
        ("[1, 2]\n[1, 1e39]\n", 2, "a number in float32 for b, found 1e[+]39"),
        pytest.param(f"[1, 2]\n[1, 1{400 * '0'}]\n", 2, "a finite number for b", id="long-integer"),
        pytest.param(f"[1, 2]\n{100_000 * '['}\n", 2, "a JSON object with a,b", id="deep"),
        ("a,b\n1,2\r3,4\n", 2, r"a line feed at the end, found '1,2\\r3,4'"),
        ("a,b\r1,2\r", 1, r"a line feed at the end, found 'a,b\\r1,2'"),
        pytest.param(f"a,b\n1,{140_000 * 'x'}\n", 2, "values between commas", id="long-cell"),
    ],
)
def test_bad_lines_are_named(text: str, line: int, message: str) -> None:
    def read() -> None:
        for found in read_samples(io.BytesIO(text.encode()), NAMES):
            if isinstance(found, SampleError):
                raise found

    with pytest.raises(SampleError, match=message) as caught:
        read()
    assert caught.value.line == line
    assert f"line {line}: expected" in str(caught.value)


def test_of_many_missing_channels_a_few_are_named() -> None:
    """A header that misses the 48 channels of a skin filled the screen with them, twice."""
    channels = [f"b_{i:02d}" for i in range(48)]
    with pytest.raises(SampleError, match=r"channels b_00,.*\.\.\. \(or.*\(b_00, .*\.\.\. missing\)") as raised:
        list(read_samples(io.BytesIO(b"time,b00\n1,2\n"), channels))
    (of_json,) = read_samples(io.BytesIO(b'{"b_00": 1}\n'), channels)
    for error in (raised.value, of_json):
        assert isinstance(error, SampleError)
        assert len(str(error)) < 300


def test_bytes_that_are_no_text_and_a_byte_order_mark() -> None:
    lines = [b"\xef\xbb\xbfa,b\r\n", b"1,2\r\n", b"\xff\xfe" + 5000 * b"\0", b"1,2\r\n"]
    good, bad, next_good = list(read_samples(lines, NAMES))
    for sample in (good, next_good):
        assert not isinstance(sample, SampleError)
        np.testing.assert_array_equal(sample[1], [1, 2])
    assert "UTF-8" in str(bad)
    assert len(str(bad)) < 300


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("x, time,b , a, x\n7,0,2,1,8\n7, ,2,1,8\n7,,2,1,8\n", [0, None, None]),
        ('{"a": 1, "b": 2, "time": 0, "timestamp": 5}\n{"time": null, "b": 2, "a": 1}\n[1, 2]\n', [0, None, None]),
        ("timestamp,a,b\n5,1,2\n", [None]),
        ('{"timestamp": 5, "a": 1, "b": 2}\n', [None]),
    ],
)
def test_what_a_line_may_hold_besides(text: str, times: list[float | None]) -> None:
    """Spaces, other columns, of one name too; a time of 0, of its name alone, or none."""
    found = list(read_samples(io.BytesIO(text.encode()), NAMES))
    assert [sample if isinstance(sample, SampleError) else sample[0] for sample in found] == times
    assert all(not isinstance(sample, SampleError) and sample[1].tolist() == [1, 2] for sample in found)


@pytest.mark.parametrize(
    ("options", "refused", "other"),
    [
        (["--input", "in.csv", "-o", "../{}/in.csv"], "--out", "--input"),
        (["--input", "in.csv", "--save-state", "in.csv"], "--save-state", "--input"),
        (["--input", "in.csv", "-o", "out.csv", "--save-state", "./out.csv"], "--save-state", "--out"),
        (["--input", "in.csv", "--load-state", "state", "-o", "state"], "--out", "--load-state"),
    ],
)
def test_the_output_does_not_overwrite_the_input(
    options: list[str], refused: str, other: str, runs: dict[str, Run], sample: Dataset, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(text := csv_text(sample, sample.val[0].inputs[:20]))
    run = ["stream", str(runs["a"].folder)]
    main(["-q", *run, "--input", "in.csv", "--save-state", "state", "-o", "first.csv"])
    state = Path("state").read_bytes()
    with pytest.raises(SystemExit) as caught:
        main([*run, *(option.format(tmp_path.name) for option in options)])
    assert caught.value.code == 2
    assert re.fullmatch(
        rf"Error: {refused} \S+: expected another file than {other}, .*\n", capsys.readouterr().err
    )
    assert (Path("in.csv").read_text(), Path("state").read_bytes()) == (text, state)
    assert not Path("out.csv").exists()


def test_times_since_1970_keep_their_digits(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = csv_text(sample, sample.val[0].inputs[:20]).splitlines()
    lines = [f"time,{head}", *(f"{1.7e9 + k / 50:.2f},{row}" for k, row in enumerate(rows))]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    main(["-q", "stream", str(runs["a"].folder), "--input", str(tmp_path / "in.csv")])
    said = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(",")[0] for line in said] == ["1700000000.18", "1700000000.38"]


@pytest.mark.parametrize("text", ["", "\n\n", "header"])
def test_an_input_without_a_sample_is_told_and_no_error(
    text: str, runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(",".join(sample.channels.names) + "\n" if text == "header" else text)
    main(["stream", str(runs["a"].folder), "--input", str(path)])
    said = capsys.readouterr()
    assert said.out == ",".join(("time", *sample.targets.names, "latency_ms")) + "\n"
    assert said.err.splitlines() == [
        f"Note: no sample came from {path}, so nothing was predicted.",
        "0 samples, 0 predictions",
    ]
    main(["stream", str(runs["a"].folder), "--input", str(path), "--quiet"])
    assert capsys.readouterr().err == ""


def test_compiling_is_told_on_a_terminal_and_once(
    runs: dict[str, Run], sample: Dataset, home: Path, tmp_path: Path, terminal: Callable[..., tuple[int, str]]
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(csv_text(sample, sample.val[0].inputs[:10]))
    environment = {"CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    call = [sys.executable, "-m", "baselines", "stream", str(runs["a"].folder), "--input", str(path)]
    code, shown = terminal(call, environment=environment)
    assert (code, shown.count("compiling the loops")) == (0, 1)
    assert shown.index("compiling the loops") < shown.index("latency_ms")
    again = subprocess.run([*call, "-v"], env={**os.environ, **environment}, capture_output=True, text=True)
    assert again.returncode == 0
    assert "10 samples" in again.stderr
    assert "compiling" not in again.stderr  # it was read from the cache


def test_before_compiling_says_so_once_and_not_for_what_is_kept() -> None:
    numba = pytest.importorskip("numba", reason="it compiles")
    heard: list[int] = []
    first, second = numba.njit(lambda x: x + 1), numba.njit(lambda x: x + 2)
    with before_compiling(lambda: heard.append(0)):
        assert heard == []
        assert (first(1), second(1.5), first(2.5)) == (2, 3.5, 3.5)
    assert heard == [0]
    with before_compiling(lambda: heard.append(1)):
        assert (first(3), second(0.5)) == (4, 2.5)
    first(1j)  # outside
    assert heard == [0]


@pytest.mark.parametrize("kept", [True, False])
def test_compiling_once_is_promised_where_loops_are_kept(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.cpu.flags.KEPT", kept)
    assert ("once on this machine" in compiling_note()) == kept


def test_hold_repeats_the_last_good_sample(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = sample.val[0].inputs[:20].copy()
    lines = csv_text(sample, inputs).splitlines()
    lines[8] = "broken"
    (tmp_path / "in.csv").write_text("\n".join(lines))
    main(["stream", str(runs["a"].folder), "--input", str(tmp_path / "in.csv"), "--on-bad", "hold"])
    said = capsys.readouterr()
    inputs[7] = inputs[6]
    np.testing.assert_allclose(table(said.out)[:, 1:-1], expected(runs["a"], inputs), rtol=1e-6)
    assert "1 bad line" in said.err
    with pytest.raises(SystemExit) as caught:
        main(["stream", str(runs["a"].folder), "--input", str(tmp_path / "in.csv")])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "line 9: expected 6 values" in error
    assert "--on-bad hold" in error
    assert "7 samples, 0 predictions" in error


@pytest.mark.parametrize("resampled", [False, True])
def test_hold_begins_with_the_first_good_sample(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], resampled: bool
) -> None:
    """A sensor that starts up writes what is no sample; the stream of a robot ended there."""
    good = sample.val[0].inputs[:20]
    header, *lines = csv_text(sample, good).splitlines()
    lines = [f"{k / 50},{line}" for k, line in enumerate(lines)]
    (tmp_path / "in.csv").write_text("\n".join([f"time,{header}", "booting", "0,nan,1,1,1,1,1", *lines]))
    asked = ["--on-bad", "hold", *(["--resample"] if resampled else [])]
    main(["stream", str(runs["a"].folder), "--input", str(tmp_path / "in.csv"), *asked])
    said = capsys.readouterr()
    if not resampled:
        np.testing.assert_allclose(table(said.out)[:, 1:-1], expected(runs["a"], good), rtol=1e-6)
    assert len(table(said.out)) == 2 - resampled
    assert said.err.count("WARNING") == 1
    assert "line 2: expected 7 values" in said.err
    assert "2 bad lines before the first sample left out" in said.err


def test_of_a_transformer_it_says_that_it_counts_on(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"dim": 8, "hidden": 8, "layers": 1}
    counting, _ = train(sample, "hiss-gru-transformer", TrainConfig(epochs=1), tmp_path / "run", options=sizes)
    (tmp_path / "in.csv").write_text(csv_text(sample, sample.val[0].inputs[:20]))
    for run, said in ((counting, True), (runs["a"], False)):
        main(["stream", str(run.folder), "--input", str(tmp_path / "in.csv")])
        assert ("Note: a Transformer counts steps" in capsys.readouterr().err) == said


@pytest.mark.parametrize(
    ("run", "options", "code", "message"),
    [
        ("mean", [], 2, "mean is a reference"),
        ("a", ["--input", "nowhere.csv"], 2, "--input nowhere.csv"),
        ("a", ["--load-state", "nowhere"], 1, "nowhere: cannot be read"),
        ("a", ["--window", "5"], 2, "only a Transformer"),
        ("a", ["--save-state", "nowhere/state"], 2, "a folder that is there"),
        ("a", ["--save-state", "."], 2, "a file in a folder that is there"),
    ],
)
def test_what_cannot_stream(
    run: str, options: list[str], code: int, message: str, runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["stream", str(runs[run].folder), *options])
    assert caught.value.code == code
    assert message in capsys.readouterr().err


def test_a_lost_interface_comes_from_the_data(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["b"]
    stored, path = interface_of(run), run.folder / INTERFACE
    path.rename(tmp_path / "kept")
    try:
        read = interface_of(run)
    finally:
        (tmp_path / "kept").rename(path)
    assert read.to_dict() == stored.to_dict()


def test_a_baseline_holds_predictions_back_and_their_times_stay(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, folder = sample.val[0].inputs[:40].astype(float), tmp_path / "run"
    shutil.copytree(runs["a"].folder, folder)
    interface = replace(interface_of(runs["a"]), baseline="mean", baseline_rows=23, resample="mean")
    (folder / INTERFACE).write_text(json.dumps(interface.to_dict()))
    (tmp_path / "in.csv").write_text(csv_text(sample, inputs))
    main(["stream", str(folder), "--input", str(tmp_path / "in.csv")])
    said = capsys.readouterr()
    made = table(said.out)
    np.testing.assert_allclose(made[:, 0], [0.2, 0.4, 0.6, 0.8])
    assert "40 samples, 4 predictions" in said.err
    np.testing.assert_allclose(made[:, 1:-1], expected(runs["a"], inputs - inputs[:23].mean(axis=0)), rtol=1e-5)
    assert "the mean of the first 23 samples is subtracted" in said.err
    assert "each sample was the mean over the 0.02 s before it" in said.err
    main(["stream", str(folder), "--input", str(tmp_path / "in.csv"), "--baseline", "none"])
    said = capsys.readouterr()
    np.testing.assert_allclose(table(said.out)[:, 1:-1], expected(runs["a"], inputs), rtol=1e-6)
    assert "must come without that offset" in said.err


@pytest.mark.parametrize("command", ["stream", "predict", "export"])
def test_that_predictions_are_not_per_second_is_said(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Under the published protocol vel_x is a way over a step: a robot that took it for m/s would be far off."""
    folder = Path(shutil.copytree(runs["a"].folder, tmp_path / "run"))
    (tmp_path / "in.csv").write_text(csv_text(sample, sample.val[0].inputs[:20]))
    files = {
        "stream": ["--input", "in.csv"],
        "predict": ["in.csv"],
        "export": ["--format", "pt2", "-o", "step.pt2"],
    }
    arguments = [command, str(folder), *(str(tmp_path / o) if "." in o else o for o in files[command])]
    main(arguments)
    assert "per second" not in capsys.readouterr().err
    (folder / INTERFACE).write_text(
        json.dumps(replace(interface_of(runs["a"]), target_units=("m",) * 3).to_dict())
    )
    config = json.loads((folder / "config.json").read_text())
    config["data"]["protocol"]["target_per"] = "step"
    (folder / "config.json").write_text(json.dumps(config))
    main(arguments)
    assert "changes are predicted in m over each step of 0.2 s" in capsys.readouterr().err
    if command == "export":
        assert "changes are predicted in m" in json.loads((tmp_path / "step.pt2.json").read_text())["notes"][0]


def test_an_interface_that_lacks_a_field_is_damaged(runs: dict[str, Run], tmp_path: Path) -> None:
    folder = shutil.copytree(runs["a"].folder, tmp_path / "run")
    plain = json.loads((folder / INTERFACE).read_text())
    del plain["resample"]
    (folder / INTERFACE).write_text(json.dumps(plain))
    with pytest.raises(
        InterfaceError,
        match=r"interface\.json: damaged \(resample is missing\)\. If a later version .*else delete this file",
    ):
        interface_of(read_run(folder))


@pytest.mark.parametrize(("step", "fits"), [(0.02, True), (0.018, True), (0.01, False), (20.0, False)])
def test_times_that_tell_of_another_rate(
    runs: dict[str, Run],
    sample: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    step: float,
    fits: bool,
) -> None:
    rng, names = np.random.default_rng(0), sample.channels.names
    stamps = 5.0 + step * (np.arange(30) + rng.uniform(-0.3, 0.3, 30))
    rows = zip(stamps.tolist(), sample.val[0].inputs[:30].tolist(), strict=True)
    lines = [json.dumps({"time": t, **dict(zip(names, row, strict=True))}) for t, row in rows]
    (tmp_path / "in").write_text("\n".join(lines))
    arguments = ["stream", str(runs["a"].folder), "--input", str(tmp_path / "in")]
    if fits:
        main(arguments)
        np.testing.assert_allclose(table(capsys.readouterr().out)[:, 0], stamps[[9, 19, 29]], rtol=1e-6)
        return
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    assert r"line 25: expected samples 0.02 s apart (50 Hz)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "line", "times"),
    [
        (lambda stamps: stamps[:100] + [t + 5 for t in stamps[100:]], 101, 1),
        (lambda stamps: stamps[:100] + [t - 1.5 for t in stamps[100:]], 101, 1),
        (lambda stamps: stamps[:101] + [stamps[100] + t / 2 for t in stamps[1:]], 126, 2),
        (lambda stamps: [t for i, t in enumerate(stamps) if i < 100 or i % 3], 126, 1),  # a third is lost
        (lambda stamps: [t + 0.009 * math.sin(7 * i) for i, t in enumerate(stamps)], None, 0),
        (lambda stamps: [t * 1.1 for t in stamps], None, 0),
        (lambda stamps: [None if 40 < i < 90 else t for i, t in enumerate(stamps)], None, 0),
        (lambda stamps: [None if 40 < i < 90 else t + (i > 60) for i, t in enumerate(stamps)], 91, 1),
        (lambda stamps: ["bad" if i % 2 and i > 30 else t for i, t in enumerate(stamps)], None, 0),
    ],
)
def test_times_that_lose_the_pace_later(
    runs: dict[str, Run],
    sample: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[list[float]], list[float | str | None]],
    line: int | None,
    times: int,
) -> None:
    """Samples that are not evenly spaced by their times, as they are taken to be without --resample."""
    stamps = change([0.02 * i for i in range(151)])
    row = dict.fromkeys(sample.channels.names, 0.5)
    (tmp_path / "in").write_text("\n".join(json.dumps({"time": t, **row}) for t in stamps[:151]))
    main(["stream", str(runs["a"].folder), "--input", str(tmp_path / "in"), "--on-bad", "hold"])
    said = capsys.readouterr().err
    assert re.findall(r"line (\d+): \d+ samples took", said) == ([] if line is None else [str(line)])
    assert re.findall(r"another pace (\d+) time", said) == ([str(times)] if times else [])


def test_times_go_on_where_lines_have_none() -> None:
    clock = SampleClock(0.02)
    assert clock.time(3) == pytest.approx(0.06)
    clock.set(100.0, 7)
    clock.set(None, 8)
    assert clock.time(9) == pytest.approx(100.04)
    assert clock.time(5) == pytest.approx(99.96)
    clock.set(0.0, 10)  # the device was started anew
    assert clock.time(11) == pytest.approx(0.02)


def test_the_first_steps_are_judged_by_their_median_and_direction() -> None:
    def check(times: list[float]) -> None:
        samples = EvenSamples(0.02)
        for line, time in enumerate(times, start=1):
            samples.take(time, np.zeros(1), line)

    even = [0.02 * k for k in range(60)]
    check(even[:13] + [time + 60 for time in even[13:]])  # a lost minute is no other rate
    check(even[:25] + [time + k for k, time in enumerate(even[25:])])  # later ones are told, and let through
    with pytest.raises(ClockError, match=r"line 25: expected samples 0\.02 s apart \(50 Hz\).* median of -0\.02"):
        check(even[::-1])


def test_percentiles_of_latencies() -> None:
    latency, values = LatencyHistogram(), np.random.default_rng(0).lognormal(-8, 1, 5000)
    for value in values:
        latency.add(value)
    for percent in (50, 95, 99):
        assert latency.percentile(percent) == pytest.approx(np.percentile(values, percent), rel=0.02)
    assert latency.summary()["max"] == pytest.approx(1e3 * values.max(), abs=1e-4)
    for value in (0.0, 5e3):  # a clock that does not resolve it; a computer that slept
        latency.add(value)
    assert (latency.total, latency.summary()["max"]) == (5002, 5e6)
    assert np.isnan(LatencyHistogram().percentile(50))


def test_lines_of_predictions() -> None:
    out = io.StringIO()
    PredictionWriter(out, ("x",), "csv").write(0.1, np.array([1.25]), 0.001)
    assert out.getvalue() == "time,x,latency_ms\n0.1,1.25,1\n"
    PredictionWriter(out := io.StringIO(), ("x",), "csv").write(0.3 + 1e-12, np.array([1 / 3]), 0.001)
    assert out.getvalue().splitlines()[1] == "0.3,0.333333333,1"
    PredictionWriter(out := io.StringIO(), ("x",), "jsonl").write(0.3 + 1e-12, np.array([1.25]), 0.001)
    assert out.getvalue() == '{"time": 0.3, "x": 1.25, "latency_ms": 1.0}\n'
