"""What importing costs, and what the wheel holds."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("torch", "matplotlib", "pandas", "xarray", "numba", "dask")


def test_import_is_light() -> None:
    code = f"import csp_data, csp_data.cli, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sources of this checkout."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_wheel_holds_cards_sample_results_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "csp_data/py.typed",
        "csp_data/cards/broad.toml",
        "csp_data/cards/sample.toml",
        "baselines/py.typed",
    ):
        assert wanted in names
    ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / "csp_data" / "samples").rglob("*.hdf5")}
    assert ours
    for folder, kinds in (("results", (".csv", ".json")), ("pretrained", (".safetensors", ".md"))):
        held = [p for p in (ROOT / "baselines" / folder).iterdir() if p.suffix in kinds]
        assert {p.suffix for p in held} == set(kinds)
        ours |= {p.relative_to(ROOT).as_posix() for p in held}
    assert ours <= names
    assert not any(name.startswith("tests/") for name in names)


def test_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """A base install: no torch, no matplotlib; the sample loads, optional features name their extra."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True, timeout=300
    )
    code = """
import csp_data
ds = csp_data.load("sample")
print(len(ds.train), ds.train[0].inputs.shape[1])
def models():
    import baselines

for use in (lambda: ds.to_torch("train"), lambda: ds.plot(), models):
    try:
        use()
    except csp_data.CspDataError as error:
        print(error)
"""
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"CSP_DATA_HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines() == [
        "8 6",
        "to_torch() needs torch. Install it with: pip install 'csp-data[baselines]'",
        "Plotting needs matplotlib. Install it with: pip install 'csp-data[plot]'",
        "baselines needs torch. Install it with: pip install 'csp-data[baselines]'",
    ]
