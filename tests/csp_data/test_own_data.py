"""Data sets from outside the package: registered, in a folder, and installed as a package of its own."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data import parallel
from csp_data.authoring.template import new_source
from csp_data.card import card_from, load_card, read_card, stored_card
from csp_data.card import registry as cards
from csp_data.card.plugins import ModuleReader, RegisteredReader
from csp_data.cli import cli
from csp_data.dataset.remake import read_part
from csp_data.errors import (
    CardError,
    CspDataError,
    DamagedRecordingError,
    OptionError,
    SourceError,
    UnknownNameError,
)

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "eflesh"
RUN = "20250401_014340_probe"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "eflesh")


def test_a_recording_that_does_not_fit_into_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A petabyte in one byte: whatever array is made of it is refused by any system, at once."""
    monkeypatch.chdir(tmp_path)
    reader = new_source("vast") / "reader.py"
    reader.write_text(
        reader.read_text()
        .replace("t[:, 0], t[:, 1:]", "*vast")
        .replace(
            "    streams =",
            "    vast = (np.broadcast_to(0.0, 10**15), np.broadcast_to(0.0, (10**15, 1)))\n    streams =",
        )
    )
    result = CliRunner().invoke(cli, ["prepare", "./vast"])
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: There is not enough memory \(Unable to allocate .*\)\. .*\n", result.stderr)
    main = pytest.importorskip("baselines.cli").main
    with pytest.raises(SystemExit, match="1"):
        main(["train", "./vast", "mean", "--out", str(tmp_path / "run")])
    assert re.fullmatch(
        r"Error: There is not enough memory \(Unable to allocate .*\)\. .*\n", capsys.readouterr().err
    )


def test_a_folder_works_wherever_a_name_does(folder: Path) -> None:
    ds = csp_data.load(str(folder))
    assert (ds.name, ds.kind, len(ds.train), len(ds.val), len(ds.test)) == (
        "eflesh",
        "real recordings",
        20,
        20,
        20,
    )
    assert csp_data.load(folder).path == ds.path
    assert csp_data.info(folder).name == "eflesh"
    with pytest.raises(OptionError, match="a folder that holds card"):
        csp_data.info(Path("sample"))  # a path is never a name
    assert "eflesh" in csp_data.names()
    assert csp_data.verify("eflesh").failures == ()
    for arguments in (["info"], ["verify"], ["prepare"], ["cite"], ["path"]):
        result = CliRunner().invoke(cli, [*arguments, str(folder)])
        assert result.exit_code == 0, result.output
    assert json.loads(CliRunner().invoke(cli, ["info", "eflesh", "--json"]).stdout)["card"]["name"] == "eflesh"


def test_numbers_are_those_of_the_csv_files(folder: Path) -> None:
    """An own, naive way from the CSV files: numpy's reader and interpolation."""
    ds = csp_data.load(str(folder))
    field = np.loadtxt(folder / "recordings" / RUN / "sensor.csv.gz", delimiter=",")
    states = np.loadtxt(folder / "recordings" / RUN / "states.csv.gz", delimiter=",")
    states = states[states[:, 4] != -1]
    for episode in ds.train:
        force = np.interp(episode.target_time, states[:, 0], states[:, 4])
        np.testing.assert_allclose(episode.targets[:, 0], force, rtol=1e-6, atol=1e-3)
        for c in range(15):
            want = np.interp(episode.time, field[:, 0], field[:, 1 + c]) - np.median(field[:10, 1 + c])
            np.testing.assert_allclose(episode.inputs[:, c], want, rtol=1e-6, atol=1e-3)
        assert (episode.targets >= 0).all()  # no sentinel left


def test_two_processes_read_the_same(folder: Path, tmp_path: Path) -> None:
    made = [csp_data.prepare(str(folder), out=tmp_path / f"{jobs}.h5", jobs=jobs) for jobs in (1, 2)]
    one, two = (csp_data.load(path=path) for path in made)
    for a, b in zip(one.test, two.test, strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)


def test_names_with_accents_are_the_same_however_a_disk_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS writes an accent as a character of its own; a card that is typed, and Linux, write both as one."""
    names, forms, prepared = ("Zo\xe9_1", "Zoz_1", "\xc5sa_2", "Ben_2"), ("NFC", "NFD"), set()
    made = new_source("accents", tmp_path / "made")
    for form in forms:
        recordings = shutil.copytree(made, tmp_path / form / "accents") / "recordings"
        monkeypatch.chdir(tmp_path / form)
        folders = sorted(path for path in recordings.iterdir() if path.is_dir())
        for path, name in zip(folders, names, strict=True):
            path.rename(recordings / unicodedata.normalize(cast("Any", form), name))
        ds = csp_data.load("./accents")
        prepared.add(ds.path)
        assert sorted((row.id, row.group, row.split) for row in ds.episodes) == [
            ("Ben_2", "Ben_2", "train"),
            ("Zoz_1", "Zoz_1", "train"),
            ("Zo\xe9_1", "Zo\xe9_1", "val"),
            ("\xc5sa_2", "\xc5sa_2", "test"),
        ]
        card = Path("accents/card.toml")
        head = card.read_text().partition('rule = "groups"')[0]
        card.write_text(f'{head}train = ["Ben_2", "Zoz_1"]\nval = ["\xc5sa_2"]\ntest = ["Zo\xe9*"]\n', "utf-8")
        assert [row.id for row in csp_data.load("./accents").test.rows] == ["Zo\xe9_1"]
    assert len(prepared) == 1


def test_a_changed_reader_makes_a_new_file(folder: Path) -> None:
    before = csp_data.load(str(folder))
    reader = folder / "reader.py"
    reader.write_text(reader.read_text().replace('edges["force"][1:]', '2 * edges["force"][1:]'))
    after = csp_data.load(str(folder))
    assert after.path != before.path
    np.testing.assert_allclose(after.train[0].targets, 2 * before.train[0].targets)


def test_whatever_changes_of_a_reader_makes_a_new_file(folder: Path) -> None:
    """Also a module beside that of an installed package, and any function of a source of this process."""
    installed = ModuleReader("csp_eflesh.reader", folder)
    digests = {installed.digest()}
    for name in ("reader.py", "helper.py", "parts/helper.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("a") as file:
            file.write("# changed\n")
        digests.add(installed.digest())
    assert len(digests) == 4
    source = load_card(str(folder)).reader()  # type: ignore[misc]

    def other() -> None:
        """Stands for a function that was written anew."""

    changes = ({}, {"find": other}, {"read": other}, {"targets": {"force": other}}, {"inputs": {"field": other}})
    assert len({RegisteredReader(replace(source, **changed)).digest() for changed in changes}) == 5


def test_register_a_source_of_this_process(folder: Path) -> None:
    source = load_card(str(folder)).reader()  # type: ignore[misc]
    scaled = csp_data.Source(source.find, source.read, source.layout, {"force": lambda e: e["force"][1:] / 1000})
    card = csp_data.register(folder / "card.toml", scaled)
    assert csp_data.info("eflesh") is card
    a = csp_data.load("eflesh")  # the recordings beside the card
    b = csp_data.load(str(folder))
    assert a.train[0].targets.max() < 5 < b.train[0].targets.max()


def test_a_card_that_is_not_there_is_no_other_beside_it(folder: Path) -> None:
    with pytest.raises(CardError, match=r"crad\.toml: cannot be read"):
        csp_data.register(folder / "crad.toml")


def test_recordings_in_a_layout_that_is_known_need_no_reader(tmp_path: Path) -> None:
    text = 'extends = "sample"\nname = "mine"\ntitle = "Mine"'
    (tmp_path / "mine.toml").write_text(text)
    card = csp_data.register(tmp_path / "mine.toml")
    assert card.reader is None
    assert csp_data.load("mine").train[0].inputs.shape[1] == 6
    # a card that is changed is prepared anew
    broad = (Path(csp_data.__file__).parent / "cards" / "broad.toml").read_text(encoding="utf-8")
    streams = broad.partition("[[streams]]")[2].partition("[[targets]]")[0].replace("default = false", "")
    (tmp_path / "mine.toml").write_text(f"{text}\n[[streams]]{streams}")
    csp_data.register(tmp_path / "mine.toml")
    assert csp_data.load("mine").train[0].inputs.shape[1] == 9


PARTS = """
name = "sample-slow-to-fast"
extends = "sample"

[splits.strict]
train = ["*_slow_*"]
val = ["07_*"]
test = ["15_*", "18_*"]
"""


def test_known_recordings_in_parts_of_ones_own_need_no_reader(tmp_path: Path) -> None:
    """A folder with a card alone: the recordings are those of the set it extends, the statistics of its train."""
    (tmp_path / "card.toml").write_text(PARTS)
    ds, sample = csp_data.load(tmp_path), csp_data.load("sample")
    assert [row.id[:2] for row in ds.train.rows] == ["02", "03", "05", "10", "12"]
    assert [[row.id[:2] for row in part.rows] for part in (ds.val, ds.test)] == [["07"], ["15", "18"]]
    known = {episode.id: episode.targets for part in sample.parts for episode in sample.split(part)}
    for part in ds.parts:
        for episode in ds.split(part):
            np.testing.assert_array_equal(episode.targets, known[episode.id])
    rows = np.concatenate([known[row.id] for row in ds.train.rows]).astype(np.float64)
    np.testing.assert_allclose(ds.normalization.targets.shift, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(ds.normalization.targets.scale, rows.std(axis=0, ddof=1), rtol=1e-9)
    command = [sys.executable, "-m", "csp_data", "prepare", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(ds.path)


def test_a_source_that_the_package_does_not_have(tmp_path: Path) -> None:
    for name in ("nowhere", "text"):
        (tmp_path / "mine.toml").write_text(f'extends = "sample"\nname = "mine"\nsource = "{name}"')
        with pytest.raises(SourceError, match=f"'{name}' is no reader of csp-data"):
            csp_data.register(tmp_path / "mine.toml")


def test_a_prepared_file_says_itself_what_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csp_data.prepare(str(folder), out=tmp_path / "made.h5")
    monkeypatch.setattr(cards, "_added", {})
    with pytest.raises(UnknownNameError):
        csp_data.info("eflesh")
    card = csp_data.load(path=path).card
    assert card.licence.id == "MIT"
    assert card.streams == read_card((EXAMPLE / "card.toml").read_text(), "card").streams


@pytest.mark.parametrize("name", [name for name in csp_data.names() if name != "eflesh"])
def test_every_card_survives_being_stored(name: str) -> None:
    card = load_card(name)
    again = card_from(json.loads(json.dumps(stored_card(card))), name)
    assert (again.streams, again.targets, again.licence) == (card.streams, card.targets, card.licence)
    assert stored_card(again) == stored_card(card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "reader.py").unlink(), "no such file"),
        (lambda f: (f / "reader.py").write_text("1 / 0"), "cannot be run .ZeroDivisionError"),
        (lambda f: (f / "reader.py").write_text("SOURCE = 3"), "should be a csp_data.Source, found int"),
        (lambda f: (f / "reader.py").write_text("x = 3"), "has no constant SOURCE"),
    ],
)
def test_a_reader_that_cannot_be_used(folder: Path, change: object, message: str) -> None:
    change(folder)  # type: ignore[operator]
    with pytest.raises(SourceError, match=message):
        csp_data.register(folder)


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ('name = "eflesh"', 'name = "broad"', CardError, "'broad' is a name of a data set of csp-data"),
        ('name = "eflesh"', 'name = "a/b"', CardError, "a folder can have"),
        ('name = "eflesh"', 'name = ".."', CardError, "a folder can have"),
        ('bundled = "recordings"', 'bundled = "../x"', CardError, "leads out"),
        ("title =", "titel =", CardError, r"unknown field 'titel' \(did you mean 'title'\?\)"),
        ('[[targets]]\nname = "force"', '[[targets]]\nname = "depth"', SourceError, "card's target 'depth'"),
        ('role = "input"', 'role = "input"\nderived = ["a"]', SourceError, "derived columns of 'field'"),
    ],
)
def test_a_card_that_does_not_fit(folder: Path, before: str, after: str, error: type, message: str) -> None:
    path = folder / "card.toml"
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(error, match=message):
        csp_data.register(folder)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def install(folder: Path, site: Path, package: str = "csp_eflesh") -> None:
    """Put the example where pip would: a package with a reader, a card, and the metadata of its entry point."""
    shutil.copytree(folder, site / package)
    (site / package / "__init__.py").touch()
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[csp_data.sources]\neflesh = {package}.reader\n")


def test_an_installed_package_adds_its_data_set(folder: Path, tmp_path: Path) -> None:
    install(folder, tmp_path / "site")
    code = """
import csp_data, sys
print("eflesh" in csp_data.names(), "csp_eflesh.reader" in sys.modules)
print(csp_data.verify("eflesh").failures, len(csp_data.load("eflesh", jobs=2).train))
"""
    done = run(code, PYTHONPATH=str(tmp_path / "site"))
    assert done.stdout.splitlines() == ["True False", "() 20"], done.stderr


def test_a_broken_package_does_not_break_the_rest(folder: Path, tmp_path: Path) -> None:
    install(folder, tmp_path / "site")
    (tmp_path / "site" / "csp_eflesh" / "__init__.py").write_text("1 / 0")
    code = """
import csp_data
print(len(csp_data.load("sample").train), "eflesh" in csp_data.names())
try:
    csp_data.info("eflesh")
except csp_data.CspDataError as error:
    print(error)
"""
    done = run(code, PYTHONPATH=str(tmp_path / "site"))
    first, second = done.stdout.splitlines()
    assert first == "8 False"
    assert "entry point 'eflesh'" in second
    assert "division by zero" in second


def test_of_two_packages_with_one_name_none_is_used(folder: Path, tmp_path: Path) -> None:
    """Which of them came first was up to the file system; now both are named, and the rest works."""
    install(folder, tmp_path / "site")
    install(folder, tmp_path / "site", "other_lab")
    code = """
import csp_data
print(len(csp_data.load("sample").train), "eflesh" in csp_data.names())
try:
    csp_data.load("eflesh")
except csp_data.CspDataError as error:
    print(error)
"""
    first, second = run(code, PYTHONPATH=str(tmp_path / "site")).stdout.splitlines()
    assert first == "8 False"
    assert second.startswith("card eflesh: two installed packages have a data set of this name, ")
    assert all(str(tmp_path / "site" / name) in second for name in ("csp_eflesh", "other_lab"))


def test_folders_named_in_the_environment(folder: Path, tmp_path: Path) -> None:
    code = "from csp_data.cli import main; import sys; sys.argv[1:] = ['list']; main()"
    assert "eFlesh" in run(code, CSP_DATA_PLUGINS=str(folder)).stdout
    assert "eFlesh" in run(code, CSP_DATA_PLUGINS=str(folder.parent)).stdout
    shutil.copytree(folder, folder.parent / "twice")
    both = run(code, CSP_DATA_PLUGINS=os.pathsep.join((str(folder), str(folder.parent / "twice"))))
    assert both.stdout.count("eFlesh") == 1
    assert "twice is left out" in both.stderr
    assert f"'eflesh' is also that of another data set, {folder}" in both.stderr
    (tmp_path / "empty").mkdir()
    wrong = run(
        code, CSP_DATA_PLUGINS=os.pathsep.join(str(tmp_path / name) for name in ("nowhere", "empty", "eflesh"))
    )
    assert "eFlesh" in wrong.stdout  # the rest works
    assert re.search(
        r"WARNING: .*nowhere is left out: .* is named in CSP_DATA_PLUGINS and is no folder", wrong.stderr
    )
    assert re.search(r"empty: is named in CSP_DATA_PLUGINS and holds no card\.toml", wrong.stderr)


def test_from_csv_to_a_trained_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The how-to's last step, with fewer epochs: HiSS and the mean on the example, by the folder's path."""
    main = pytest.importorskip("baselines.cli").main
    errors = {}
    for model, options in (("mean", []), ("hiss-s4-mamba", ["--epochs", "8"])):
        main(["train", str(folder), model, "--out", str(tmp_path / model), "--json", *options])
        errors[model] = json.loads(capsys.readouterr().out)["test"]["rmse"]
    assert errors["hiss-s4-mamba"] < errors["mean"] / 2


def renamed(folder: Path, names: Sequence[str], gap: str = "") -> Path:
    """What `csp-data new` writes, its four recordings under these names; that named `gap` stops for 5 s."""
    made = new_source("cart" + folder.name, folder)
    for old, new in zip(sorted((made / "recordings").glob("r?")), names, strict=True):
        target = old.rename(made / "recordings" / new)
        for file in target.glob("*.csv") if new == gap else ():
            head, *lines = file.read_text().splitlines()
            rows = [line.split(",") for line in lines]
            later = [f"{float(t) + 5 * (float(t) > 15):.2f},{value}" for t, value in rows]
            file.write_text("\n".join([head, *later]) + "\n")
    return made


def test_a_dot_and_a_number_in_a_recordings_name(tmp_path: Path) -> None:
    """A number behind a dot also tells the pieces of a recording with gaps apart."""
    ds = csp_data.load(str(renamed(tmp_path / "a", ["day.1", "day.2", "day.3", "run"], gap="run")))
    assert [(row.id, row.recording) for row in ds.episodes] == [
        ("day.1", "day.1"),
        ("day.2", "day.2"),
        ("day.3", "day.3"),
        ("run.1", "run"),
        ("run.2", "run"),
    ]
    inputs = read_part(ds, "test").inputs()
    np.testing.assert_array_equal(np.concatenate(inputs), np.concatenate([e.inputs for e in ds.test]))
    with pytest.raises(DamagedRecordingError, match=r"episode 'run.1': .* found one of 'run' and one of 'run.1'"):
        csp_data.load(str(renamed(tmp_path / "b", ["run", "run.1", "x", "y"], gap="run")))


def test_raw_recordings_need_the_reader_and_say_how_it_is_had(folder: Path, tmp_path: Path) -> None:
    """As in a process that only has the prepared file, which ``csp-baselines faults`` starts from."""
    made = csp_data.prepare(str(folder), out=tmp_path / "made.h5")
    cards._added.clear()
    for raw in (None, folder / "recordings"):
        with pytest.raises(SourceError, match=r"not known here.*CSP_DATA_PLUGINS, .*csp_data\.register"):
            read_part(csp_data.load(path=made), "test", raw)
    csp_data.register(folder)
    ds = csp_data.load(path=made)
    inputs = read_part(ds, "test").inputs()
    np.testing.assert_array_equal(np.concatenate(inputs), np.concatenate([e.inputs for e in ds.test]))


def test_a_name_that_is_a_number_is_a_name(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = str(renamed(tmp_path / "1", ["1", "2", "3", "-1"]))
    for wanted, drawn in (("2", "2"), ("-1", "-1"), ("0", "-1")):
        out = tmp_path / f"{wanted}.html"
        line = ["plot", folder, "--figure", "recording", "--recording", wanted, "-o", str(out)]
        assert CliRunner().invoke(cli, line).exit_code == 0
        assert f"{drawn}, raw" in out.read_text()
    for wanted in ("²", "--3", "x"):
        result = CliRunner().invoke(cli, [*line[:-3], wanted, "-o", str(out)])
        assert f"There is no recording {wanted!r} of" in result.stderr


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """Folders above may have any name; what a recording is called must fit into the file."""
    above = tmp_path / os.fsdecode(b"f\xff")
    try:
        above.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    folder = renamed(above / "2", ["a", "b", "c", "d"])
    (folder / "recordings" / os.fsdecode(b"\xfe.txt")).touch()
    assert len(csp_data.load(str(folder)).train) == 2
    assert csp_data.verify(str(folder), deep=True).failures == ()
    (folder / "recordings" / "d").rename(folder / "recordings" / os.fsdecode(b"d\xfe"))
    with pytest.raises(DamagedRecordingError, match=r"name: expected text in UTF-8, found 'd\\udcfe'. Rename it"):
        csp_data.prepare(str(folder))


def test_names_that_would_command_a_terminal(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "2", ["a", "b", "c", "d\x1b[2J"])
    with pytest.raises(DamagedRecordingError, match=r"found 'd\\x1b\[2J'\. Rename it") as caught:
        csp_data.prepare(str(folder))
    assert str(folder / "recordings" / "d\\x1b[2J") in str(caught.value)


@pytest.mark.parametrize(
    ("file", "before", "after", "error", "message"),
    [
        # each of these was prepared without a word: numpy made the shapes fit, by repeating or by cutting
        ("reader.py", "t[:, 1:])", "t)", SourceError, r"values \(T, 1\), .* \(3000, 2\)"),
        ("card.toml", '["vel_x"]', '["vel_x", "vel_y"]', SourceError, r"shape \(149, 2\), found \(149, 1\)"),
        (
            "reader.py",
            '(edges["position"], axis=0)',
            '(edges["position"], axis=0)[1:]',
            SourceError,
            r"found \(148, 1\)",
        ),
        ("reader.py", 'np.diff(edges["position"], axis=0)', 'edges["position"]', SourceError, r"found \(150, 1\)"),
        (
            "reader.py",
            "t[:, 1:])",
            "t[:-5, 1:])",
            SourceError,
            r"found time \(3000,\) and values \(2995, 1\)",
        ),
        (
            "reader.py",
            'position"], axis=0)',
            'position"], axis=0) * np.nan',
            DamagedRecordingError,
            "vel_x, row 0 .* nan",
        ),
        # and these ended in tracebacks of other libraries
        ("reader.py", "t[:, 1:])", "t[:, 1])", SourceError, r"values \(3000,\)"),
        ("reader.py", "[0], streams)", "[0], dict([*streams.items()][:1]))", SourceError, "no stream 'position'"),
        ("reader.py", "Found(f.parent.name, f.p", "Found(7, f.p", SourceError, "id and group should be text"),
    ],
)
def test_a_reader_that_contradicts_its_card(
    file: str, before: str, after: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    folder = new_source("contradicts", tmp_path / "own")
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after))
    with pytest.raises(error, match=message):
        csp_data.prepare(str(folder), out=tmp_path / "made.h5")
    assert not list(tmp_path.glob("*.h5"))


def line_of(part: str, text: str) -> int:
    return 1 + text[: text.index(part)].count("\n")


FAILS = [
    # what is written in place of what, and what is said of it
    ("header, _, rows", "assert 'r2' not in str(path)\n    header, _, rows", "AssertionError"),
    ("    files = sorted(", "    files = (None).sorted(", "AttributeError: 'NoneType' object has no"),
    ('np.diff(edges["position"]', 'np.diff(edges["place"]', "KeyError: 'place'"),
    (
        "    streams = {",
        "    np.ones(3).reshape(2)\n    streams = {",
        "ValueError: cannot reshape array of size 3",
    ),
    ("    streams = {", '    raise OSError("a\\nb" + 999 * "c")\n    streams = {', "OSError: a bccc"),
]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("before", "after", "message"), FAILS)
def test_a_reader_that_raises_is_named_with_the_line(
    before: str, after: str, message: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these ended in a traceback, which named our own lines first."""
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 0)
    folder = new_source("raises", tmp_path / "own")
    text = (folder / "reader.py").read_text()
    assert before in text
    text = text.replace(before, after)
    (folder / "reader.py").write_text(text)
    line = line_of(after.strip(), text)
    with pytest.raises(
        SourceError, match=rf"reader {folder}/reader\.py, line {line}: .* raised {message}"
    ) as caught:
        csp_data.prepare(str(folder), out=tmp_path / "made.h5", jobs=jobs, skip_damaged=True)
    assert caught.value.__cause__ is not None
    if jobs == 1:
        assert traceback.extract_tb(caught.value.__cause__.__traceback__)[-1].line
    told = str(caught.value)
    assert len(told) < 1200
    assert "\n" not in told
    assert ("r2/sensor.csv" if "r2" in after else str(folder / "recordings")) in told
    assert not list(tmp_path.glob("*made.h5*part"))


def divide_by_zero(reader: Path) -> int:
    text = reader.read_text().replace("    header, _, rows", "    1 / 0\n    header, _, rows")
    reader.write_text(text)
    return line_of("1 / 0", text)


def test_the_traceback_of_a_reader_is_shown_on_request(tmp_path: Path) -> None:
    folder = new_source("raises", tmp_path / "own")
    line = divide_by_zero(folder / "reader.py")
    environment = {**os.environ, "CSP_DATA_HOME": str(tmp_path / "home")}
    programs = ["csp_data prepare", *(["baselines train"] if find_spec("torch") else [])]
    for program, verbose in itertools.product(programs, ((), ("-v",))):
        module, word = program.split()
        command = [sys.executable, "-m", module, *verbose, word, str(folder)]
        command += [*(["mean", "--out", str(tmp_path / "run")] if word == "train" else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert done.stderr.splitlines()[-1].startswith(
            f"Error: reader {folder}/reader.py, line {line}: read() of rec"
        )
        assert ("Traceback" in done.stderr) == bool(verbose)
    assert not (tmp_path / "run").exists()


def test_a_file_that_its_reader_cannot_read_is_not_to_be_deleted(tmp_path: Path) -> None:
    """The reader of a beginner may be to blame, and the file the only one there is."""
    folder = new_source("raises", tmp_path / "own")
    line = divide_by_zero(folder / "reader.py")
    failures = csp_data.verify(folder, deep=True).failures
    assert [file.path for file in failures] == [f"r{i}/sensor.csv" for i in range(4)]
    for file in failures:
        assert f"line {line}: read() of recording" in file.found
        assert "Delete" not in str(file)


DERIVED = """kind = "vector"
derived = ["acc_x", "square"]
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("np.stack([x[:, 0], x[:, 0] ** 2], axis=1)", ""),
        ("x", r"derived columns .* expected the shape \(149, 2\), found \(149, 1\)"),
        ("x[:-1]", r"found \(148, 1\)"),
        ("None", "found"),
        ("x.foo", "derived columns of 'accelerometer' of recording r0 .* raised AttributeError"),
    ],
)
def test_columns_that_a_reader_makes(function: str, message: str, tmp_path: Path) -> None:
    folder = new_source("derives", tmp_path / "own")
    card, reader = folder / "card.toml", folder / "reader.py"
    card.write_text(card.read_text().replace('channels = ["acc_x"]', f'channels = ["acc_x"]\n{DERIVED}'))
    text = reader.read_text().replace('{"velocity": velocity}', '{"velocity": velocity}, {"accelerometer": more}')
    reader.write_text(text.replace("SOURCE =", f"def more(x):\n    return {function}\n\n\nSOURCE ="))
    if message:
        with pytest.raises(SourceError, match=message):
            csp_data.prepare(str(folder), input_hz=5, out=tmp_path / "made.h5")
    else:
        ds = csp_data.load(path=csp_data.prepare(str(folder), out=tmp_path / "made.h5"))
        assert ds.channels.names == ("acc_x", "square")
        np.testing.assert_allclose(ds.train[0].inputs[:, 1], ds.train[0].inputs[:, 0] ** 2, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('role = "reference"', 'role = "refernce"', "role should be one of input, reference, found 'refernce'"),
        ("rate_hz = 50", 'rate_hz = 50\nkind = "rotations"', "kind should be one of vector, rotation"),
        ("rate_hz = 50", 'rate_hz = 50\nkind = "rotation"', "four channels each"),
        ("rate_hz = 50", "rate_hz = 0", "rate_hz should be above 0"),
        ('rule = "groups"', 'rule = "group"', "rule should be one of lists, sequential, random, groups"),
        ('rule = "groups"', 'rule = "sequential"\norder = "recoded"', "order should be one of name, recorded"),
        ('rule = "groups"', 'rule = "sequential"\namong = "keep"', "among should be one of found, kept"),
        ('unlisted = "used"', 'unlisted = "use"', "unlisted should be one of left out, used"),
        ("train = 0.5", 'train = "0.5"', "share of train should be above 0"),
        ("train = 0.5, val = 0.25", "train = 1.0, val = -0.25", "share of val should be above 0"),
        ('["acc_x"]', '["acc_x", "acc_x"]', "names of channels, each once"),
        ('["vel_x"]', "[]", "names of channels, each once"),
        (
            "[splits.strict]",
            "[protocols.stric]\ninput_hz = 25\n[splits.strict]",
            "no splits for its protocol 'stric'",
        ),
    ],
)
def test_a_word_that_is_misspelt_on_a_card(before: str, after: str, message: str, tmp_path: Path) -> None:
    """A rule, an order or a kind that was not known was taken for another, without a word."""
    card = new_source("misspelt", tmp_path / "own") / "card.toml"
    text = card.read_text()
    assert before in text
    card.write_text(text.replace(before, after))
    with pytest.raises(CardError, match=message):
        csp_data.register(card.parent)


def test_a_card_that_leaves_all_recordings_out_says_so(folder: Path) -> None:
    """They were said not to be found, in a folder of which the message listed them."""
    card = folder / "card.toml"
    card.write_text(re.sub(r"^files = \[.*?^\]\n", "", card.read_text(), flags=re.DOTALL | re.MULTILINE))
    with pytest.raises(CardError, match=r'lists no files .* all 3 in .*recordings\. .* write unlisted = "used"'):
        csp_data.prepare(str(folder))
    assert "failed   round trip      card eflesh: it lists no files" in str(csp_data.check_source(str(folder)))


def test_a_card_that_an_editor_marked_as_utf_8(tmp_path: Path) -> None:
    card = new_source("marked", tmp_path / "own") / "card.toml"
    card.write_text(card.read_text(), encoding="utf-8-sig")
    assert csp_data.register(card.parent).name == "marked"


def test_a_channel_called_like_a_column_of_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    folder = new_source("named-group", tmp_path / "own")
    (folder / "card.toml").write_text((folder / "card.toml").read_text().replace('["vel_x"]', '["group"]'))
    ds = csp_data.load(str(folder))
    assert list(ds.to_pandas(wide="inputs").columns)[3:] == ["time", "acc_x"]
    with pytest.raises(CspDataError, match="one name stands twice"):
        ds.to_pandas()


def test_a_reader_may_give_the_tables_of_pandas(tmp_path: Path) -> None:
    """Whose indices count by labels: check, plots and the times of a raw recording failed on them."""
    pytest.importorskip("pandas")
    folder = new_source("tables", tmp_path / "own")
    as_arrays = csp_data.read_recording(folder, "r1").streams
    reader = folder / "reader.py"
    text = reader.read_text().replace("t[:, 0], t[:, 1:])", 't["time"], t.drop(columns="time"))')
    reader.write_text(text[: text.index("def table(")] + TABLE + text[text.index("def velocity(") :])
    streams = csp_data.read_recording(folder, "r1").streams
    for name, stream in streams.items():
        assert stream.span == as_arrays[name].span
        np.testing.assert_array_equal(stream.values, as_arrays[name].values)
    report = csp_data.check_source(folder)
    assert {check.status for check in report.checks} == {"ok"}, str(report)
    reader.write_text(reader.read_text().replace('t["time"],', 't["time"].astype("datetime64[s]"),'))
    (reading,) = (check for check in csp_data.check_source(folder).checks if check.name == "reading")
    assert "time of accelerometer: expected an array of numbers, found datetime64" in reading.details[0]


TABLE = """def table(path, columns):
    import pandas as pd

    return pd.read_csv(path)[list(columns)]


"""
