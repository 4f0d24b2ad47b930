"""Taking in what a person fetched, in the layouts people have."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

import csp_data
from csp_data.acquire.importing import bring, import_card, unpack_into
from csp_data.acquire.leftovers import incoming_dir
from csp_data.acquire.place import find_files, place
from csp_data.authoring.template import new_source
from csp_data.card import FileEntry, bundled_root, load_card
from csp_data.errors import CspDataError, MissingDataError, UnsafeArchiveError, VerificationError
from csp_data.simulate.stamp import read_stamp

from .conftest import run


def zipped(path, folder, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for source in sorted(folder.rglob("*")):
            if source.is_file():
                file.write(source, prefix + source.relative_to(folder).as_posix())
    return path


@pytest.fixture(scope="module")
def trees(vector, marker, ronin, tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    for tree in (vector, marker, ronin):
        shutil.copytree(tree, root / tree.name)
    return root


def files_of(root, pattern="*"):
    own = ("csp-data.lock.json", "csp-data.unpacked.json")
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in root.rglob(pattern)
        if p.is_file() and p.name not in own
    }


def test_folder_is_copied_and_locked(trees, empty_home):
    result = run("import", "vector", trees / "vector")
    assert result.exit_code == 0, result.output
    assert "36 of 36 files verified (36 locked)" in result.stdout
    root = empty_home / "raw" / "vector"
    assert files_of(root, "*.txt") == files_of(trees / "vector", "*.txt")
    assert not (empty_home / "raw" / "vector.incoming" / "import").exists()


def test_a_file_of_another_kind_is_not_called_a_folder(tmp_path, empty_home):
    (tmp_path / "notes.txt").write_text("x")
    result = run("import", "vector", tmp_path / "notes.txt")
    assert result.exit_code == 1
    assert f"not found at {tmp_path / 'notes.txt'}. What is there: notes.txt. " in result.stderr
    assert not (empty_home / "raw" / "vector").exists()  # an empty one would look like a data set


@pytest.mark.parametrize("path", ["vector", "vector/board_slow1.synced.imu.txt", "ronin"])
def test_a_simulated_tree_stays_simulated(path, trees, empty_home):
    name = path.split("/")[0]
    if "/" in path:
        path = next(file for file in (trees / name).rglob("*.txt")).relative_to(trees)
    run("import", name, trees / path)
    assert read_stamp(empty_home / "raw" / name)["simulated"] is True


@pytest.mark.parametrize(
    "layout", ["wrapped", "flat", "nameless", "capitals", "nested in an export", "nested twice", "tar"]
)
def test_layouts_of_archives_end_in_one_tree(layout, trees, empty_home, tmp_path):
    source = trees / "vector"
    if layout == "wrapped":
        path = zipped(tmp_path / "vector_hiss_dataset.zip", source, "vector_hiss_dataset/")
    elif layout == "flat":
        path = zipped(tmp_path / "things.zip", source)
    elif layout == "nameless":
        path = zipped(tmp_path / ".zip", source)
    elif layout == "capitals":
        path = zipped(tmp_path / "VECTOR_HISS_DATASET.ZIP", source, "Vector_HiSS_Dataset/")
    elif layout == "tar":
        path = tmp_path / "v.tar.xz"
        with tarfile.open(path, "w:xz", preset=0) as file:
            file.add(source, "vector_hiss_dataset")
    else:
        zipped(tmp_path / "vector_hiss_dataset.zip", source)
        (tmp_path / "in").mkdir()
        path = tmp_path / "export.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.write(tmp_path / "vector_hiss_dataset.zip", "export/data/vector_hiss_dataset.zip")
            file.writestr("export/README.txt", "read me")
        if layout == "nested twice":
            path = zipped(tmp_path / "all.zip", path.rename(tmp_path / "in" / "vector_dataset.zip").parent)
    assert run("import", "vector", path).exit_code == 0
    root = empty_home / "raw" / "vector"
    below = {"flat": "things/", "nameless": "archive/"}.get(layout, "")  # the publisher's own folder adds no name
    own = files_of(source, "*.txt")
    assert files_of(root, "*.txt") == {below + name: content for name, content in own.items()}
    assert len(csp_data.load("vector").train) > 0


def test_what_the_lists_of_a_split_name_is_missing_by_name(empty_home, tmp_path):
    """The lists name all sequences of one person, three of five of another, and a folder."""
    tree = csp_data.simulate("totalcapture", tmp_path / "given", hours=0.005, seed=0)
    for person in ("S3", "S4"):
        for file in tree.glob(f"{person}/*Xsens*"):
            file.unlink()
    lines = run("import", "totalcapture", tree).stderr.splitlines()
    ids = {f"s3_{kind}{i}" for kind in ("acting", "freestyle", "rom", "walking") for i in (1, 2, 3)}
    named = {line.split(":")[0].strip() for line in lines if ": missing" in line}
    assert named == {*ids, "s4_acting3", "s4_freestyle3", "s4_walking2", "2 more of 46 recordings"}
    tree = csp_data.simulate("ronin", tmp_path / "ronin", hours=0.01, seed=0)
    shutil.rmtree(tree / "train_dataset_2")
    message = run("import", "ronin", tree).stderr
    assert "of 152 recordings: missing: expected a recording, found none of train_dataset_2/*. " in message


def test_a_folder_and_an_archive_given_together_are_both_brought(trees, empty_home, tmp_path):
    """Whatever the folder's own folders are called, and archives are unpacked to meanwhile."""
    rest = Path(shutil.copytree(trees / "vector", tmp_path / "rest"))
    (tmp_path / "given" / "1").mkdir(parents=True)
    for file in sorted(rest.glob("*_fast*.txt")):
        file.rename(tmp_path / "given" / "1" / file.name)
    csp_data.import_raw("vector", tmp_path / "given", zipped(tmp_path / "rest.zip", rest))
    own = files_of(trees / "vector", "*.txt").items()
    expected = {f"{'1' if '_fast' in name else 'rest'}/{name}": content for name, content in own}
    assert files_of(empty_home / "raw" / "vector", "*.txt") == expected


def test_export_of_frdr(trees, empty_home, tmp_path):
    """The repository's zip of the publisher's zips, with its own lists beside them."""
    path = tmp_path / "FRDR_dataset_538_download_1_202605250000.zip"
    with zipfile.ZipFile(path, "w") as file:
        for archive in (trees / "ronin").glob("*.zip"):
            file.write(archive, f"FRDR_dataset_538/Data/{archive.name}")
        file.writestr("FRDR_dataset_538/frdr-checksums-and-filetypes.md", "sha256 ...")
    result = run("import", "ronin", path)
    assert result.exit_code == 4  # fewer than the publisher has
    assert "of 152 recordings" in result.stderr
    folders = {p.name for p in (empty_home / "raw" / "ronin").iterdir() if p.is_dir()}
    assert folders == {archive.stem for archive in (trees / "ronin").glob("*.zip")}
    assert {file.trust for file in csp_data.verify("ronin").present} == {"locked"}


def test_all_sets_in_one_folder_give_only_the_asked_one(trees, empty_home, tmp_path):
    shutil.copytree(trees / "marker", tmp_path / "drive" / "marker_writing_hiss_dataset")
    shutil.copytree(trees / "marker", tmp_path / "drive" / "intrinsic_slip_hiss_dataset")
    (tmp_path / "drive" / "vector_hiss_dataset.zip").write_bytes(b"half of one, which is not opened")
    csp_data.import_raw("marker", tmp_path / "drive")
    assert files_of(empty_home / "raw" / "marker", "*.h5") == files_of(trees / "marker", "*.h5")


def test_another_set_is_told_by_its_name(trees, empty_home, tmp_path):
    """Marker and slip have files of the same names; only the folder tells them apart."""
    shutil.copytree(trees / "marker", tmp_path / "intrinsic_slip_hiss_dataset")
    with pytest.raises(
        MissingDataError, match="intrinsic_slip_hiss_dataset is the name of a folder of slip: csp-data import slip"
    ):
        csp_data.import_raw("marker", tmp_path / "intrinsic_slip_hiss_dataset")


def test_another_set_is_told_by_what_it_holds(trees, empty_home, tmp_path):
    shutil.copytree(trees / "vector", tmp_path / "stuff")
    with pytest.raises(MissingDataError, match=r"It looks like vector \(18 recordings\)"):
        csp_data.import_raw("joystick", tmp_path / "stuff")


@pytest.mark.parametrize("kind", ["folder", "named folder", "file", "archive", "two"])
def test_a_wrong_tree_is_called_what_was_given(kind, trees, empty_home, tmp_path):
    folder = tmp_path / ("intrinsic_slip_hiss_dataset" if kind == "named folder" else "stuff")
    folder.mkdir()
    (folder / "notes.txt").write_text("none of it")
    given = {"file": [folder / "notes.txt"], "archive": [zipped(tmp_path / "a.zip", folder)]}.get(kind, [folder])
    given += [trees / "vector"] if kind == "two" else []
    result = run("import", "ronin", *given)
    assert result.exit_code == 1
    assert f"not found at {', '.join(map(str, given))}. " in result.stderr
    assert "incoming" not in result.stderr
    assert str(empty_home) not in result.stderr


def test_two_that_differ_are_called_what_was_given(trees, empty_home, tmp_path):
    """One in an archive within an archive, the other in a folder; then one below the raw folder."""
    inner, outer = zipped(tmp_path / "vector_hiss_dataset.zip", trees / "vector"), tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "data/vector_hiss_dataset.zip")
    other = shutil.copytree(trees / "vector", tmp_path / "vector_hiss_dataset")
    file = next(other.glob("*.imu.txt"))
    file.write_bytes(file.read_bytes() + b"\n")
    packed = f"{outer}: data/vector_hiss_dataset.zip: {file.name}"
    with pytest.raises(VerificationError) as error:
        csp_data.import_raw("vector", outer, other)
    assert str(error.value).startswith(
        f"{file} and {packed} both want to be vector_hiss_dataset/{file.name}, and differ."
    )
    csp_data.import_raw("vector", other, how="link")
    (empty_home / "raw" / "vector" / "csp-data.lock.json").unlink()
    with pytest.raises(VerificationError) as error:
        csp_data.import_raw("vector", outer)
    assert str(error.value).startswith(
        f"{packed} differs from {empty_home / 'raw' / 'vector' / file.name}, and no"
    )


def test_a_damaged_archive_in_an_archive_is_called_by_both(trees, empty_home, tmp_path):
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("vector_hiss_dataset.zip", zipped(tmp_path / "v.zip", trees / "vector").read_bytes()[:-9])
    with pytest.raises(UnsafeArchiveError) as error:
        csp_data.import_raw("vector", outer)
    assert str(error.value).startswith(f"{outer}: vector_hiss_dataset.zip: ")


def test_broad_in_any_layout(empty_home, tmp_path):
    """Names of the publisher's list count, wherever they lie and in whatever case; a wrong file is told."""
    source = bundled_root(load_card("sample"))
    folder = tmp_path / "broad-main" / "DATA"
    folder.mkdir(parents=True)
    first = sorted(source.glob("*.hdf5"))[0]
    shutil.copy(first, folder / first.name.upper())
    result = run("import", "broad", tmp_path)
    assert result.exit_code == 3  # the excerpt is not the original trial
    assert f"{first.name}: truncated: " in result.stderr
    assert (empty_home / "raw" / "broad" / first.name).exists()


def test_what_is_missing_is_named(trees, empty_home, tmp_path):
    shutil.copytree(trees / "vector", tmp_path / "some")
    for name in ("desk_fast1", "sofa_normal1"):
        for kind in ("imu", "gt"):
            (tmp_path / "some" / f"{name}.synced.{kind}.txt").unlink()
    result = run("import", "vector", tmp_path / "some")
    assert result.exit_code == 4
    assert "  desk_fast1: missing: " in result.stderr
    assert "  sofa_normal1: missing: " in result.stderr
    assert run("import", "vector", trees / "vector").exit_code == 0


@pytest.mark.parametrize("how", ["move", "link"])
def test_move_and_link(how, trees, empty_home, tmp_path):
    """A folder, and a file that is given by itself."""
    source = Path(shutil.copytree(trees / "vector", tmp_path / "given" / "vector"))
    file = next(source.glob("*.txt"))
    alone = file.rename(tmp_path / "given" / file.name)
    given = [alone, *source.glob("*.txt")]
    assert run("import", "vector", source, alone, f"--{how}").exit_code == 0
    root = empty_home / "raw" / "vector"
    assert files_of(root, "*.txt") == files_of(trees / "vector", "*.txt")
    if how == "move":
        assert not any(path.exists() for path in given)
    else:
        assert all(path.samefile(root / path.name) for path in given)


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_to_a_disk_without_links(how, trees, empty_home, tmp_path, monkeypatch):
    """Such as an external one with exFAT, whose driver answers like this."""
    source = Path(shutil.copytree(trees / "vector", tmp_path / "vector"))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for file in source.glob("desk_fast1.*"):
            archive.write(file, file.name)
            file.unlink()
    given = list(source.glob("*.txt"))
    for name in ("link", "symlink"):
        real = getattr(os, name)

        def refuse(src, dst, *args, real=real, **options):
            if Path(dst).is_relative_to(empty_home):
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(src), None, str(dst))
            real(src, dst, *args, **options)

        monkeypatch.setattr(os, name, refuse)
    flags = [] if how == "copy" else [f"--{how}"]
    assert run("import", "vector", source, tmp_path / "more.zip", *flags).exit_code == 0
    root = empty_home / "raw" / "vector"
    assert sorted(path.name for path in root.rglob("*.txt")) == sorted(files_of(trees / "vector", "*.txt"))
    assert {path.exists() for path in given} == {how != "move"}
    assert (tmp_path / "more.zip").exists()


def test_what_a_killed_import_left_is_not_imported(trees, empty_home):
    left = empty_home / "raw" / "vector.incoming" / "import" / "all"
    left.mkdir(parents=True)
    for kind in ("imu", "gt"):
        shutil.copy(trees / "vector" / f"desk_fast1.synced.{kind}.txt", left / f"other.synced.{kind}.txt")
    csp_data.import_raw("vector", trees / "vector")
    assert files_of(empty_home / "raw" / "vector", "*.txt") == files_of(trees / "vector", "*.txt")
    assert not (empty_home / "raw" / "vector.incoming").exists()


def test_a_link_where_work_is_unpacked_leads_to_no_deletion(trees, empty_home, tmp_path):
    """In a home that others write to; the folder of that name in what it leads to was deleted."""
    somebodys = tmp_path / "somebodys" / "import" / "thesis.tex"
    somebodys.parent.mkdir(parents=True)
    somebodys.write_text("ten years of work")
    link = empty_home / "raw" / "vector.incoming"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "somebodys")
    for command in (("import", "vector", trees / "vector"), ("clean", "vector", "--yes"), ("doctor",)):
        result = run(*command)
        assert result.exit_code == (command[0] == "import"), result.output
        assert somebodys.read_text() == "ten years of work"
        assert (f"{link} is a link, and what arrives is unpacked" in result.stderr) == (command[0] == "import")
    assert link.is_symlink()
    with pytest.raises(csp_data.CspDataError, match="is a link"):
        csp_data.download("broad", raw=empty_home / "raw" / "vector", accept_licence=True)


def test_importing_twice_changes_nothing(trees, empty_home):
    run("import", "vector", trees / "vector")
    root = empty_home / "raw" / "vector"
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    assert run("import", "vector", trees / "vector").exit_code == 0
    assert run("import", "vector", root).exit_code == 0  # the raw folder itself
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == before


def test_a_second_copy_in_another_place_is_refused(trees, empty_home, tmp_path):
    """An archive keeps its own name before what it holds: recordings lay there twice, and none could be read."""
    archive = zipped(tmp_path / "mine.zip", trees / "vector")
    main = sorted(file.name for file in trees.glob("vector/*.imu.txt"))[0]
    root = empty_home / "raw" / "vector"
    with pytest.raises(VerificationError, match=rf"mine\.zip: {main} is recording .* as is .*vector/{main}: "):
        csp_data.import_raw("vector", trees / "vector", archive)
    assert not root.exists()
    csp_data.import_raw("vector", archive)
    before = files_of(root)
    with pytest.raises(VerificationError, match=rf"vector/{main} is recording .* as is .*mine/{main}: "):
        csp_data.import_raw("vector", trees / "vector")
    assert files_of(root) == before
    assert csp_data.import_raw("vector", archive).present


def test_other_bytes_never_replace_what_is_there(trees, empty_home, tmp_path):
    run("import", "vector", trees / "vector")
    shutil.copytree(trees / "vector", tmp_path / "other")
    file = sorted((tmp_path / "other").glob("*.txt"))[0]
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(VerificationError, match=rf"{file.name} differs from .*, whose digest is the right one\."):
        csp_data.import_raw("vector", tmp_path / "other")
    assert not csp_data.verify("vector", deep=True).failures


@pytest.mark.parametrize("kind", ["sha256", "git_blob"])
def test_the_publishers_bytes_replace_others_and_never_the_reverse(kind, tmp_path, empty_home):
    """Broad's files have a git blob id each, and not all of them a SHA-256."""
    source = bundled_root(load_card("sample"))
    file = sorted(source.glob("*.hdf5"))[0]
    git = hashlib.sha1(b"blob %d\0" % file.stat().st_size + file.read_bytes()).hexdigest()
    digest = {"git_blob": git} if kind == "git_blob" else {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    card = dataclasses.replace(load_card("sample"), bundled=None, files=(FileEntry(file.name, **digest),))
    bad, raw = tmp_path / "bad" / file.name, tmp_path / "raw"
    bad.parent.mkdir()
    bad.write_bytes(file.read_bytes()[:-1] + b"?")
    assert [row.status for row in import_card(card, [bad], raw=raw).failures] == ["altered"]
    assert not import_card(card, [file], raw=raw).failures
    assert (raw / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(VerificationError, match=rf"{bad} differs from .*, whose digest is the right one\."):
        import_card(card, [bad], raw=raw)
    assert (raw / file.name).read_bytes() == file.read_bytes()


def test_what_a_killed_process_left_is_not_taken_for_a_part_of_the_archive(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.txt").write_text("a")
    left = tmp_path / "scratch" / "given" / "old.txt"
    left.parent.mkdir(parents=True)
    left.write_text("of another version")
    folder = unpack_into(zipped(tmp_path / "given.zip", tmp_path / "given"), tmp_path / "scratch")
    assert files_of(folder) == {"given/a.txt": b"a"}


@pytest.mark.parametrize("how", ["copy", "link"])
def test_a_file_of_which_a_killed_process_left_a_part_arrives(how, tmp_path):
    (tmp_path / "a.txt").write_text("whole")
    (tmp_path / "b.txt.part").write_text("wh")
    place(tmp_path / "a.txt", tmp_path / "b.txt", how)
    assert files_of(tmp_path) == {"a.txt": b"whole", "b.txt": b"whole"}


@pytest.mark.parametrize("how", ["copy", "link"])
def test_what_came_out_of_an_archive_is_moved(how, tmp_path):
    """A second copy of it would need the room twice."""
    root, files = tmp_path / "vector", {}
    for name, folder in (("given.txt", tmp_path), ("unpacked.txt", incoming_dir(root) / "import" / "1")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        files[name] = tmp_path / f"link to {name}"
        files[name].symlink_to(folder / name)
    unpacked = files["unpacked.txt"].stat()
    bring(files, root, how)
    assert os.path.samestat(unpacked, (root / "unpacked.txt").stat())
    assert [file.exists() for file in files.values()] == [True, False]  # of links, what they lead to
    assert (root / "given.txt").samefile(files["given.txt"]) == (how == "link")


def test_a_file_that_the_card_lists_is_found_once_beside_those_that_it_does_not(trees, tmp_path):
    folder = tmp_path / "given" / "day"
    shutil.copytree(trees / "vector", folder)
    names = sorted(path.name for path in folder.glob("*.txt"))
    card = dataclasses.replace(load_card("vector"), files=(FileEntry(names[0]),))
    assert card.unlisted == "used"
    found = find_files(card, tmp_path / "given")
    assert sorted(found) == sorted([names[0], *(f"day/{name}" for name in names[1:])])


def test_two_folders_of_a_set_whose_files_differ(trees, empty_home, tmp_path):
    """Neither is taken for the other; equal ones are one."""
    for where in ("first", "second"):
        shutil.copytree(trees / "vector", tmp_path / "given" / where / "vector_hiss_dataset")
    file = next((tmp_path / "given" / "second" / "vector_hiss_dataset").glob("*.imu.txt"))
    whole = file.read_bytes()
    file.write_bytes(whole + b"\n")
    first = tmp_path / "given" / "first" / "vector_hiss_dataset" / file.name
    with pytest.raises(VerificationError) as error:
        csp_data.import_raw("vector", tmp_path / "given")
    assert str(error.value).startswith(f"{first} and {file} are both {file.name} of vector, with different bytes.")
    assert not (empty_home / "raw" / "vector").exists()
    file.write_bytes(whole)
    assert len(csp_data.import_raw("vector", tmp_path / "given").present) == 36


@pytest.mark.parametrize("how", ["move", "link"])
def test_from_another_disk_the_bytes_are_brought(how, trees, empty_home):
    """A file can neither be renamed nor linked to another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == empty_home.parent.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        source = Path(shutil.copytree(trees / "vector", Path(folder) / "vector"))
        before = files_of(source, "*.txt")
        assert not csp_data.import_raw("vector", source, how=how).failures
        assert len(files_of(source, "*.txt")) == (0 if how == "move" else 36)
    assert files_of(empty_home / "raw" / "vector", "*.txt") == before


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_what_cannot_be_brought_is_told_and_stays(how, trees, empty_home, tmp_path):
    """A folder stands where a file belongs."""
    source = Path(shutil.copytree(trees / "vector", tmp_path / "vector"))
    root = empty_home / "raw" / "vector"
    name = sorted(path.name for path in source.glob("*.txt"))[0]
    (root / name / "inside").mkdir(parents=True)
    with pytest.raises(CspDataError, match=rf"{source / name} cannot be brought to {root / name}: "):
        csp_data.import_raw("vector", source, how=how)
    assert (source / name).read_bytes() == (trees / "vector" / name).read_bytes()
    assert not list(root.rglob("*.part"))


def test_a_simulated_tree_that_is_refused_leaves_no_mark(trees, empty_home, tmp_path):
    """Else genuine recordings in the folder would be called simulated from then on."""
    root = empty_home / "raw" / "vector"
    (tmp_path / "other").mkdir()
    shutil.copy(trees / "marker" / "SIMULATED.json", tmp_path / "other")
    with pytest.raises(MissingDataError):
        csp_data.import_raw("vector", tmp_path / "other")
    assert read_stamp(root) is None
    names = sorted(path.name for path in (trees / "vector").glob("*.txt"))
    root.mkdir(exist_ok=True)
    (root / names[-1]).write_bytes(b"measured")
    with pytest.raises(VerificationError, match=rf"{names[-1]}.*differs from"):
        csp_data.import_raw("vector", trees / "vector")
    assert read_stamp(root) is None
    assert files_of(root) == {names[-1]: b"measured"}


def test_a_simulated_tree_beside_the_files_marks_nothing(trees, empty_home, tmp_path):
    shutil.copytree(trees / "vector", tmp_path / "both" / "vector")
    shutil.copytree(trees / "marker", tmp_path / "both" / "marker")
    (tmp_path / "both" / "vector" / "SIMULATED.json").unlink()
    csp_data.import_raw("vector", tmp_path / "both")
    assert read_stamp(empty_home / "raw" / "vector") is None
    csp_data.import_raw("marker", tmp_path / "both")
    assert read_stamp(empty_home / "raw" / "marker")["name"] == "marker"


def test_locked_bytes_mend_what_was_altered(trees, empty_home):
    run("import", "vector", trees / "vector")
    file = sorted((empty_home / "raw" / "vector").glob("*.txt"))[0]
    good = file.read_bytes()
    file.write_bytes(good[:-10])
    assert csp_data.verify("vector").failures[0].status == "truncated"
    assert run("import", "vector", trees / "vector").exit_code == 0
    assert file.read_bytes() == good


def test_hostile_archive_brings_nothing(trees, empty_home, tmp_path):
    path = zipped(tmp_path / "v.zip", trees / "vector")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../../evil.txt", "x")
    with pytest.raises(UnsafeArchiveError):
        csp_data.import_raw("vector", path)
    assert not (empty_home / "raw" / "vector").exists()
    assert not list(tmp_path.rglob("evil.txt"))


def test_path_that_is_not_there(empty_home):
    result = run("import", "vector", "/nonexistent/v.zip")
    assert result.exit_code == 1
    assert "What to import into vector: not found at /nonexistent/v.zip. Check the path." in result.stderr


def test_files_that_lie_beside_a_card_are_not_imported_elsewhere(tmp_path, empty_home):
    folder = new_source("beside", tmp_path / "own")
    said = run("import", folder, tmp_path).stderr
    where = f"Copy yours into {folder / 'recordings'}, or take bundled off the card."
    assert said == f"Error: NAME beside: expected a data set whose files do not come with its card. {where}\n"
    assert run("import", "sample", tmp_path).stderr.endswith("whose files do not come with its card.\n")
    assert "8 of 8 files" in run("import", folder, folder / "recordings", "--raw", tmp_path / "raw").stdout


def test_clean_deletes_only_left_overs(trees, empty_home):
    run("import", "vector", trees / "vector")
    root = empty_home / "raw" / "vector"
    (root / "x.txt.part").write_bytes(b"1")
    (root / "x.txt.part.json").write_text("{}")
    (root / "x.txt.part.new").write_text("{")  # of a transfer that was killed before it had noted whose bytes come
    (root / "x.txt.lock").write_text("")  # somebody else's
    (root.with_name("vector.incoming")).mkdir(exist_ok=True)
    (root.with_name("vector.incoming") / "a.zip.part").write_bytes(b"1")
    told = [file.path for file in csp_data.verify("vector").files if "csp-data clean" in file.fix]
    assert told == ["x.txt.part", "x.txt.part.json", "x.txt.part.new"]
    refused = run("clean", "vector")  # nobody can be asked here
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert (root / "x.txt.part").exists()
    result = run("clean", "vector", "--yes")
    assert result.exit_code == 0
    assert "x.txt.part" in result.stdout
    assert len(list(root.glob("*.txt"))) == 36
    assert not list(Path(empty_home).rglob("*.part*"))
    assert (root / "x.txt.lock").exists()
    assert not csp_data.verify("vector").failures


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_links_bring_what_they_lead_to(how, trees, empty_home, tmp_path):
    """A store with links into it: what is brought are files, and the store keeps its own."""
    store = shutil.copytree(trees / "vector", tmp_path / "store")
    folder = tmp_path / "below" / "links"
    folder.mkdir(parents=True)
    for file in store.glob("*.txt"):
        (folder / file.name).symlink_to(Path("..", "..", "store", file.name))
    csp_data.import_raw("vector", folder, how=how)
    root = empty_home / "raw" / "vector"
    brought = list(root.glob("*.txt"))
    assert len(brought) == len(list(store.glob("*.txt"))) == 36
    assert not any(file.is_symlink() for file in brought)
    assert all(file.samefile(store / file.name) == (how == "link") for file in brought)
    assert len(list(folder.iterdir())) == (0 if how == "move" else 36)
    assert not root.with_name("vector.incoming").exists()


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_linked_folders_are_looked_into_as_readers_do(how, trees, empty_home, tmp_path):
    """Large recordings often lie on another disk; what lies there stays."""
    store = Path(shutil.copytree(trees / "vector", tmp_path / "disk" / "store"))
    given = tmp_path / "given"
    (given / "own").mkdir(parents=True)
    own = sorted(store.glob("*.txt"))[:2]
    for file in own:
        file.rename(given / "own" / file.name)
    (given / "vectors").symlink_to(store)
    (given / "again").symlink_to(given)  # without end
    assert len(csp_data.verify("vector", raw=given).present) == 36
    csp_data.import_raw("vector", given, how=how)
    root = empty_home / "raw" / "vector"
    assert {path.name: path.read_bytes() for path in root.rglob("*.txt")} == files_of(trees / "vector", "*.txt")
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert len(list(store.glob("*.txt"))) == 34
    assert len(list((given / "own").iterdir())) == (0 if how == "move" else 2)
    file = next(store.glob("*.txt"))
    assert file.samefile(root / "vectors" / file.name) == (how == "link")


@pytest.mark.parametrize("stamp", ["given", "disk"])
def test_what_a_simulated_tree_links_to_stays_simulated(stamp, trees, empty_home, tmp_path):
    store = Path(shutil.copytree(trees / "vector", tmp_path / "disk" / "store"))
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "vectors").symlink_to(store)
    (store / "SIMULATED.json").rename(tmp_path / stamp / "SIMULATED.json")
    csp_data.import_raw("vector", tmp_path / "given")
    assert read_stamp(empty_home / "raw" / "vector")["name"] == "vector"


@pytest.mark.parametrize("packed", [True, False])
def test_what_macos_puts_beside_files_is_no_recording(packed, trees, empty_home, tmp_path):
    """``._NAME`` is what its disks remember of a file: in archives below ``__MACOSX``, elsewhere beside it."""
    folder = shutil.copytree(trees / "vector", tmp_path / "vector")
    for file in list(folder.glob("*.txt")):
        beside = folder / "__MACOSX" / f"._{file.name}" if packed else folder / f"._{file.name}"
        beside.parent.mkdir(exist_ok=True)
        beside.write_bytes(bytes([0, 5, 22, 7]) + b"Mac OS X")
    given = zipped(tmp_path / "vector.zip", folder) if packed else folder
    assert not csp_data.import_raw("vector", given).failures
    root = empty_home / "raw" / "vector"
    assert len([file for file in root.rglob("*.txt") if "._" not in file.name]) == 36
    assert not list(root.rglob("._*.txt"))
    assert csp_data.load("vector", raw=folder).provenance["recordings"]["found"] == 18


def test_the_users_folder_may_be_abbreviated(vector, empty_home, tmp_path, monkeypatch):
    shutil.copytree(vector, tmp_path / "fetched")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # of Windows
    assert csp_data.import_raw("vector", "~/fetched").present
