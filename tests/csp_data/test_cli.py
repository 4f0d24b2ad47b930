"""The command line as a person or a script uses it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

import csp_data
from csp_data.cli import cli
from csp_data.errors import OptionError, StoreError
from csp_data.terminal import wrapped


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_info_tells_of_every_prepared_file(empty_home: Path) -> None:
    assert "Prepared: nothing yet (csp-data prepare sample)" in run("info", "sample").stdout
    paths = [run("prepare", "sample", *more).stdout.strip() for more in ((), ("--lowpass", "5"))]
    (empty_home / "prepared" / "sample-000000000000.h5").write_bytes(b"half a file")
    (empty_home / "prepared" / "sample-111111111111.h5").symlink_to("/on/a/disk/that/is/not/here")
    said = run("info", "sample").stdout
    assert said.count("<Dataset sample (real recordings), protocol strict: train") == 2
    assert all(path in said for path in paths)
    assert set(json.loads(run("info", "sample", "--json").stdout)["files"]) == set(paths)


def test_info_counts_the_recordings_that_are_there(tmp_path: Path, empty_home: Path) -> None:
    """It left out --raw without a word, and said what is promised alone."""
    assert f"Found: 13 recordings in {run('path', 'sample').stdout.strip()}\n" in run("info", "sample").stdout
    raw = csp_data.simulate("vector", tmp_path / "made here", hours=0.01)
    count = len(list(raw.glob("*.synced.imu.txt")))
    said = run("info", "vector", "--raw", str(raw)).stdout
    assert f"Found: {count} recordings (simulated) in {raw}\n" in said
    assert f"Prepared: nothing yet (csp-data prepare vector --raw '{raw}')\n" in said
    assert f"Found: no recordings in {empty_home / 'raw' / 'vector'}\n" in run("info", "vector").stdout
    assert f"Found: no recordings in {raw}\n" in run("info", "marker", "--raw", str(raw)).stdout


def test_info_gives_every_unit_and_no_pattern_for_a_recording() -> None:
    assert "velocity: vel_x, vel_z, turn_y in m, m, rad, given per second" in run("info", "slip").stdout
    said = run("info", "ronin").stdout
    assert "train train_dataset_1/* and train_dataset_2/* and seen_subjects_test_set/*, eval " in said
    (parts,) = (text for text in said.splitlines() if "train_dataset_1/*" in text)
    assert "train 3" not in parts  # further down, a prepared file may have so many episodes


def test_a_card_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = "  Targets: " + "words " * 30
    assert wrapped(long) == long
    monkeypatch.setattr("csp_data.terminal.at_terminal", lambda stream: True)
    lines = wrapped(f"{long}\n\nhttps://{'x' * 100}").splitlines()
    assert [len(line) > 60 for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[1].startswith("    words")
    assert not lines[-2]


def test_list_and_info() -> None:
    assert "sample" in run("list").stdout
    assert {"name": "sample", "kind": "real recordings"}.items() <= {
        k: v for row in json.loads(run("list", "--json").stdout) if row["name"] == "sample" for k, v in row.items()
    }.items()
    text = run("info", "sample", "--prepared").stdout
    assert "gyr_z in rad/s" in text
    assert "train  8 episodes" in text
    held = json.loads(run("info", "sample", "--prepared", "--json").stdout)
    assert held["prepared"]["parts"]["test"]["groups"] == sorted(csp_data.load("sample").test.groups)
    assert held["card"]["licence"]["id"] == "CC-BY-4.0"


def test_verify_ends_with_3_when_a_file_fails(tmp_path: Path) -> None:
    assert run("verify", "sample", "--deep").exit_code == 0
    tree = shutil.copytree(csp_data.verify("sample").root, tmp_path / "raw")
    victim = tree / "07_undisturbed_fast_rotation_B.hdf5"
    victim.write_bytes(victim.read_bytes()[:-1])
    result = run("verify", "sample", "--raw", str(tree))
    assert result.exit_code == 3
    assert "07_undisturbed_fast_rotation_B.hdf5: truncated: expected" in result.stderr
    report = json.loads(run("verify", "sample", "--raw", str(tree), "--json").stdout)
    assert [file["path"] for file in report["files"] if file["failed"]] == [victim.name]
    victim.unlink()
    assert run("verify", "sample", "--raw", str(tree)).exit_code == 3
    assert run("verify", "sample", "--raw", str(tree), "--present").exit_code == 0


def test_verify_ends_with_3_without_a_folder_as_with_an_empty_one(empty_home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for more in ([], ["--raw", str(tmp_path / "none")], ["--raw", str(tmp_path / "empty")], ["--json"]):
        assert run("verify", "broad", *more).exit_code == 3, more
    assert f"not found at {empty_home / 'raw' / 'broad'}" in run("verify", "broad").stderr


def test_prepare_prints_only_the_path(tmp_path: Path) -> None:
    out = tmp_path / "made.h5"
    options = (
        "--lowpass",
        "2",
        "--order",
        "2",
        "--phase",
        "zero",
        "--window",
        "10",
        "--stride",
        "5",
        "--inputs",
        "gyroscope",
    )
    result = run("prepare", "sample", "-o", str(out), *options)
    assert result.stdout == f"{out}\n"
    ds = csp_data.load(path=out)
    assert ds.protocol.lowpass == csp_data.LowPass(2.0, 2, "zero")
    assert ds.protocol.window == csp_data.Window(10, 5)
    assert ds.channels.names == ("gyr_x", "gyr_y", "gyr_z")


def test_an_episode_is_drawn_by_its_id_or_its_number(tmp_path: Path) -> None:
    by_number, by_id = tmp_path / "number.svg", tmp_path / "id.svg"
    asked = ["--figure", "targets", "--part", "test", "--episode"]
    assert run("plot", "sample", "-o", str(by_number), *asked, "1").exit_code == 0
    assert run("plot", "sample", "-o", str(by_id), *asked, csp_data.load("sample").test[1].id).exit_code == 0
    assert by_number.read_bytes() == by_id.read_bytes()
    assert "no episode 'nobody' of test" in run("plot", "sample", "-o", str(by_id), *asked, "nobody").stderr


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_writes_a_picture(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"episode.{suffix}"
    assert (
        run("plot", "sample", "-o", str(out), "--lowpass", "2", "--part", "test", "--episode", "1").exit_code == 0
    )
    head = out.read_bytes()[:400]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in head or b"<?xml" in head
    result = run("plot", "sample", "-o", str(out), "--episode", "99")
    assert result.exit_code == 2
    assert "--episode 99: expected below 8" in result.stderr


def test_cite_and_path(empty_home: Path) -> None:
    assert "10.3390/data6070072" in run("cite", "broad").stdout
    assert "2402.10211" in run("cite").stdout
    assert run("path").stdout.strip() == str(empty_home)
    assert run("path", "broad").stdout.strip() == str(empty_home / "raw" / "broad")
    assert run("path", "--prepared").stdout.strip() == str(empty_home / "prepared")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("info", "brod"), 2, "Did you mean 'broad'"),
        (("prepare", "sample", "--lowpass", "26"), 2, "below 25 Hz"),
        (("prepare", "sample", "--stride", "5"), 2, "--stride needs --window"),
        (("prepare", "broad", "--raw", "nowhere"), 1, "not found at nowhere"),
        (("prepare",), 2, "Missing argument"),
    ],
)
def test_errors_are_one_message_and_a_code(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_as_a_module_in_its_own_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "csp_data", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(csp_data.__version__)


def test_the_folder_one_is_in_can_be_the_raw_folder(
    tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--raw .`` and ``--raw ..`` have no name to put a lock beside; ``--raw=~/x`` is not expanded by a shell."""
    csp_data.simulate("vector", tmp_path / "tree", hours=0.01, seed=0)
    monkeypatch.setenv("HOME", str(tmp_path))
    for raw, there in ((".", "one"), ("..", "two/below"), ("~/three", "two")):
        (tmp_path / there).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / there)
        for arguments in (
            ["import", "vector", str(tmp_path / "tree")],
            ["prepare", "vector"],
            ["clean", "vector"],
        ):
            result = run(*arguments, "--raw", raw)
            assert result.exit_code == 0, result.output
        assert "nothing to delete" in result.output
    assert [len(list((tmp_path / raw).glob("*.txt"))) for raw in ("one", "two", "three")] == [36, 36, 36]
    mirror = ["--mirror", str(tmp_path / "one")]
    (tmp_path / "four").mkdir()
    monkeypatch.chdir(tmp_path / "four")
    assert run("download", "vector", "--raw", ".", *mirror).exit_code == 0
    assert run("download", "vector", "--raw", "~/five", *mirror).exit_code == 0
    assert csp_data.verify("vector", raw="~/five").failures == ()
    assert csp_data.load(path=csp_data.prepare("vector", raw="~/five", out="~/made.h5")).path.is_absolute()
    assert csp_data.load("vector", raw="~/five").to_npz("~/made.npz").is_file()
    assert "there is no user of that name" in run("prepare", "vector", "--raw", "~nobody-here/x").stderr
    assert "root of the file system" in run("import", "vector", "../one", "--raw", "/").stderr


@pytest.mark.parametrize("out", [".", "..", "", "folder"])
def test_a_folder_is_no_file_to_write(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for arguments in (["prepare", "sample"], ["export", "sample", "--format", "npz"]):
        result = run(*arguments, "-o", out)
        assert result.exit_code == 2
        assert "this is a folder" in result.stderr
    (tmp_path / "here" / "folder").rmdir()
    for arguments in (["export", "sample", "--format", "parquet", "-o", "."], ["simulate", "vector", "."]):
        assert "another folder than the one you are in" in run(*arguments).stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]
    assert list(Path.cwd().iterdir()) == []


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    tree = csp_data.simulate("vector", tmp_path / "tree", hours=0.01, seed=0)
    with pytest.raises(OptionError, match="how='mvoe': expected one of copy, move, link"):
        csp_data.import_raw("vector", tree, raw=tmp_path / "raw", how="mvoe")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="variant='ful': expected one of compact, full"):
        csp_data.download("vector", raw=tmp_path / "raw", mirror=str(tree), variant="ful")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="jobs=0"):
        csp_data.download("vector", raw=tmp_path / "raw", mirror=str(tree), jobs=0)
    with pytest.raises(OptionError, match="jobs=-1"):
        csp_data.prepare("vector", raw=tree, jobs=-1)
    with pytest.raises(OptionError, match="jobs=-1"):
        csp_data.simulate("vector", tmp_path / "other", hours=0.01, jobs=-1)
    assert list(tmp_path.iterdir()) == [tree]


@pytest.mark.parametrize("option", [("--order", "3"), ("--phase", "zero")])
@pytest.mark.parametrize("command", ["prepare sample", "info sample --prepared", "export sample -o x.npz"])
def test_a_filters_options_need_a_filter(command: str, option: tuple[str, str]) -> None:
    """Without a cut-off there was no filter, and no word about it."""
    result = run(*command.split(), *option)
    assert result.exit_code == 2
    assert f"{option[0]} needs --lowpass" in result.stderr
    assert not Path("x.npz").exists()


def test_the_command_that_is_named_fetches_into_the_folder_that_was_asked_for(
    empty_home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "two words"
    for place in (other, other / "folder"):
        named = run("prepare", "broad", "--raw", str(place)).stderr
        assert f"Run csp-data download broad --raw '{place}', or by hand:" in named
        place.mkdir()
    assert f"csp-data download broad --raw '{other}'" in run("verify", "broad", "--raw", str(other)).stderr
    assert "Run csp-data download broad, or by hand:" in run("prepare", "broad").stderr


def test_folds_on_the_command_line() -> None:
    path = run("prepare", "sample", "--fold", "1/4").stdout.strip()
    assert csp_data.load(path=path).protocol.resplit == csp_data.Resplit(fold=1, folds=4)
    for text, said in {
        "4/4": "--fold 4: expected a whole number from 0 to 3",
        "0/50": "--fold 50: expected at most 13",
        "1": "'1' is not I/N",
    }.items():
        result = run("prepare", "sample", "--fold", text)
        assert result.exit_code != 0
        assert said in result.stderr
    by_subject = run("prepare", "sample", "--fold", "1/4", "--fold-by", "subject")
    assert "--fold-by subject: expected 'group': the reader of sample does not say whose" in by_subject.stderr
    assert "--fold-by needs --fold" in run("prepare", "sample", "--fold-by", "subject").stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recording", "3"], "--recording needs --figure recording or clocks"),
        (["--figure", "clocks", "--part", "test"], "--figure clocks draws a raw recording as it is"),
        (["--figure", "recording", "--lowpass", "2"], "--figure recording draws a raw recording as it is"),
        (["--figure", "clocks", "--channels", "gyr_x"], "--channels needs another figure than clocks"),
        (["--figure", "targets", "--channels", "gyr_x"], "--channels needs --figure episode, lowpass, spectra"),
        (["--figure", "splits", "--lowpass", "2"], "--lowpass needs --figure episode, lowpass, spectra"),
        (["--figure", "splits", "--episode", "1"], "--episode needs another figure than splits"),
    ],
)
def test_options_of_another_figure_are_refused(options: list[str], said: str, tmp_path: Path) -> None:
    """They did nothing, without a word."""
    result = run("plot", "sample", "-o", str(tmp_path / "x.png"), *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_contradicts_itself_is_refused(tmp_path: Path, empty_home: Path) -> None:
    result = run("import", "vector", str(tmp_path), "--move", "--link")
    assert (result.exit_code, "--move or --link, not both" in result.stderr) == (2, True)
    result = run("prepare", "sample", "-o", str(tmp_path / "x.csv"))  # it was HDF5, which no command took
    assert (result.exit_code, "ends in .h5 or .hdf5. csp-data export writes" in result.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_file_of_a_version_to_come_does_not_stand_in_the_way(empty_home: Path) -> None:
    """Its protocol has a field that is not known here."""
    path = csp_data.prepare("sample")
    newer = Path(shutil.copy(path, path.with_name("sample-000000000000.h5")))
    with h5py.File(newer, "a") as file:
        file.attrs.pop("tables_crc32")
        file.attrs["protocol"] = json.dumps({**json.loads(file.attrs["protocol"]), "wavelet": 3})
    result = run("info", "sample")
    assert result.exit_code == 0
    assert str(path) in result.stdout
    assert str(newer) not in result.stdout
    with pytest.raises(
        StoreError, match=r"a protocol that this version cannot read .*wavelet=3.* Upgrade csp-data"
    ):
        csp_data.load(path=newer)


def test_export_goes_by_the_whole_ending(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    assert run("export", "sample", "--part", "val", "-o", str(tmp_path / "X.CSV.GZ")).exit_code == 0
    assert gzip.decompress((tmp_path / "X.CSV.GZ").read_bytes()).startswith(b"episode,group,split,side,")
    for name in ("x.tar.gz", "x.gz", "x"):
        assert "a name that ends in .npz, .nc, .csv, .csv.gz" in run("export", "sample", "-o", name).stderr
