"""Arguments of another kind, and paths that no file can have, are refused in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.acquire.plan import mirror_of
from csp_data.cli import cli
from csp_data.errors import OptionError, UnknownNameError
from csp_data.simulate.stamp import STAMP

LONG = "x" * 300
STRICT = csp_data.STRICT
STREAM = csp_data.Stream(np.arange(9.0), np.ones((9, 3)), ("x", "y", "z"), "m", "input")
RECORDING = csp_data.Recording("walk", "me", Path("walk.csv"), {})

WRONG: dict[str, tuple[str, Callable[[], object]]] = {
    "hours as text": ("hours", lambda: csp_data.simulate("vector", "out", hours="1", seed=0)),
    "no hours": ("hours", lambda: csp_data.simulate("vector", "out", hours=None, seed=0)),
    "half a process": ("jobs", lambda: csp_data.simulate("vector", "out", hours=0.01, seed=0, jobs=1.5)),
    "half a process to prepare": ("jobs", lambda: csp_data.prepare("sample", jobs=1.5)),
    "protocol by number": ("protocol", lambda: csp_data.load("sample", protocol=3)),
    "protocol as a dict": ("protocol", lambda: csp_data.load("sample", protocol={"name": "strict"})),
    "data set by number": ("name", lambda: csp_data.info(3)),
    "data sets": ("name", lambda: csp_data.prepare(["sample"])),
    "no data set": ("name", lambda: csp_data.verify(None)),
    "recording by a fraction": ("recording", lambda: csp_data.read_recording("sample", 1.5)),
    "limit as text": ("limit", lambda: csp_data.check_source("sample", limit="3")),
    "transfers as text": ("jobs", lambda: csp_data.download("vector", jobs="x")),
    "mirror by number": ("mirror", lambda: csp_data.download("vector", mirror=3)),
    "path by number": ("path", lambda: csp_data.load(path=3)),
    "path in bytes": ("path", lambda: csp_data.load(path=b"x.h5")),
    "path with a zero byte": ("out", lambda: csp_data.prepare("sample", out="a\0b")),
    "folder with a zero byte": ("out", lambda: csp_data.simulate("vector", "a\0b", hours=0.01, seed=0)),
    "nothing to import": ("paths", lambda: csp_data.import_raw("vector")),
    "recording as an array": ("recording", lambda: csp_data.input_episodes(np.ones((9, 1)), ["x"], STRICT)),
    "protocol by name": ("protocol", lambda: csp_data.input_episodes(RECORDING, ["x"], "strict")),
    "channel by name": ("channels", lambda: csp_data.input_episodes(RECORDING, "x", STRICT)),
    "card as a dict": ("card", lambda: csp_data.register({"name": "mine"})),
    "one channel to filter": ("values", lambda: csp_data.LowPass(hz=5).apply(np.ones(99), 50)),
    "one channel of a stream": ("values", lambda: csp_data.LowPass(hz=5).advance(np.ones(99), 50)),
    "episode by a fraction": ("episode", lambda: csp_data.load("sample").plot(episode=0.5)),
    "filter by its cut-off": ("lowpass", lambda: csp_data.load("sample").plot(lowpass=2)),
    "recording for a gyroscope": ("gyroscope", lambda: csp_data.compare_turning(RECORDING, STREAM)),
    "position for an orientation": ("orientation", lambda: csp_data.compare_turning(STREAM, STREAM)),
    "array for an accelerometer": ("accelerometer", lambda: csp_data.compare_moving(np.ones((9, 3)), STREAM)),
    "no position": ("position", lambda: csp_data.compare_moving(STREAM, None)),
    "folder for a file": ("path", lambda: csp_data.load("sample").to_npz(".")),
    "file for a folder": ("folder", lambda: csp_data.load("sample").to_parquet(__file__)),
    "folder to prepare to": ("out", lambda: csp_data.prepare("sample", out=".")),
    "lock by number": ("lock", lambda: csp_data.verify("sample", lock=3)),
    "form of a citation": ("format", lambda: csp_data.cite("sample", format="ris")),
    "name to draw": ("dataset", lambda: csp_data.plot.draw("sample")),
    "name for arrays": ("dataset", lambda: csp_data.adapters.numpy.arrays("sample")),
    "name for a frame": ("dataset", lambda: csp_data.adapters.pandas.long_frame("sample")),
    "name for Parquet": ("dataset", lambda: csp_data.adapters.hf.write_parquet("sample", "out")),
    "id for a recording to draw": ("recording", lambda: csp_data.plot.recording_figure("r0")),
    "no JSON": ("text", lambda: csp_data.Protocol.from_json("{")),
    "JSON of no protocol": ("text", lambda: csp_data.Protocol.from_json("{}")),
    "protocol as a dict of JSON": ("text", lambda: csp_data.Protocol.from_json({"name": "strict"})),
    "long name": ("raw", lambda: csp_data.load("sample", raw=LONG)),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_argument_of_another_kind_is_named(case: str, empty_home: Path) -> None:
    option, call = WRONG[case]
    with pytest.raises(OptionError) as caught:
        call()
    assert caught.value.option == option
    assert len(str(caught.value)) < 300


def test_no_protocol_is_another_than_an_empty_name() -> None:
    with pytest.raises(UnknownNameError, match="protocol"):
        csp_data.load("sample", protocol="")


COMMANDS = [
    "info X",
    "verify X",
    "verify sample --raw X",
    "prepare X",
    "prepare sample --raw X",
    "prepare sample -o X",
    "prepare sample -o X/k.h5",
    "import broad X",
    "check X",
    "check sample --raw X",
    "clean broad --raw X --yes",
    "export sample -o X.npz",
    "new X",
    "plot X -o x.png",
    "simulate vector X --hours 0.01",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", [LONG, "/tmp/" + LONG + "/y", "d/" + 2500 * "y/" + "z"])
def test_a_name_too_long_for_a_file_is_refused_in_a_line(command: str, name: str, empty_home: Path) -> None:
    result = CliRunner().invoke(cli, command.replace("X", name).split())
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    assert result.output.count("\n") <= 4  # usage and the message


@pytest.mark.parametrize("command", ["verify", "prepare", "check", "info --prepared", "download", "clean"])
def test_a_file_in_place_of_the_raw_folder_is_said_to_be_one(
    command: str, tmp_path: Path, empty_home: Path
) -> None:
    """It was said not to be found, or that nothing could be written to it."""
    (tmp_path / "a file").touch()
    result = CliRunner().invoke(cli, [*command.split(), "broad", "--raw", str(tmp_path / "a file")])
    assert result.exit_code == 2
    expected = f"Error: --raw '{tmp_path}/a file': expected a folder; this is a file."
    assert result.stderr.strip() == f"{expected} To take a file in: csp-data import broad '{tmp_path}/a file'"


def test_an_address_may_be_longer_than_a_name() -> None:
    address = f"https://host/{LONG}/"
    assert mirror_of("vector", address) == address


def test_whole_hours_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    trees = [csp_data.simulate("vector", tmp_path / str(hours), hours=hours, seed=0) for hours in (1, 1.0)]
    assert len({(tree / STAMP).read_text() for tree in trees}) == 1
