"""What importing costs, and what the source archive and the wheel hold."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("torch", "matplotlib", "pandas", "xarray", "numba", "dask", "scipy.signal")


def test_import_is_light() -> None:
    code = f"import csp_data, csp_data.cli, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_are_there_without_an_import_of_their_own() -> None:
    """``csp_data.plot.draw``, as docstrings have it, was there only once somebody had imported the module."""
    code = (
        "import csp_data, inspect, types\n"
        "modules = {name for name, one in vars(csp_data).items() if isinstance(one, types.ModuleType)}\n"
        "listed = {name for name in dir(csp_data) if not name.startswith('__')} | {'__version__'}\n"
        "assert set(csp_data.__all__) <= listed <= set(csp_data.__all__) | modules - {'_version'}, listed\n"
        "assert not hasattr(csp_data, 'laod') and not hasattr(csp_data, '_nothing')\n"
        "assert isinstance(csp_data.simulate, types.FunctionType)\n"
        "inspect.getmembers(csp_data)  # as help() does\n"
        "import sys; assert 'matplotlib' not in sys.modules\n"
        "assert csp_data.plot is sys.modules['csp_data.plot'] and callable(csp_data.plot.draw)\n"
        "assert csp_data.predictions.read_predictions"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_needs_no_module_of_posix_alone() -> None:
    blocked = ("fcntl", "grp", "pty", "resource", "syslog", "termios", "tty")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import csp_data.cli, baselines.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_whatever_is_imported_is_required_by_name() -> None:
    """What comes along with another package is gone when that no longer needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    required = {canonicalize_name(Requirement(line).name) for line in lines}
    imported = set()
    for file in (path for package in ("csp_data", "baselines") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    homes = packages_distributions()
    for name in imported - sys.stdlib_module_names - {"baselines", "csp_data"}:
        assert {canonicalize_name(home) for home in homes.get(name, [name])} & required, name


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of this checkout, and the wheel that is built from that."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


def test_the_source_archive_holds_all_that_is_kept_under_version_control(dist: Path) -> None:
    """Whoever packages it runs the tests and builds the docs from the archive."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True)
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(filter(None, listed.stdout.split("\0"))) <= names
    built = ("__pycache__", "_build", "generated", "gallery_built", ".egg-info/PKG-INFO")
    assert [name for name in names if name.endswith(built)] == ["csp_data.egg-info/PKG-INFO"]


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


FEATURES = """
import csp_data
ds = csp_data.load("sample")
assert (len(ds.train), ds.train[0].inputs.shape[1]) == (8, 6)
ds.to_npz("x.npz")

def models():
    import baselines

for use in (
    lambda: ds.to_torch("train"),
    lambda: ds.to_pandas(),
    lambda: ds.to_parquet("x.parquet"),
    lambda: ds.to_xarray(),
    lambda: ds.to_hf(),
    lambda: ds.plot(),
    models,
):
    try:
        use()
    except csp_data.CspDataError as error:
        print(error)
    else:
        print("nothing is missing")
"""

PROGRAMS = {
    "csp-data plot sample -o x.png": "plot",
    "csp-data export sample -o x.nc": "xarray",
    "csp-data export sample -o x.csv": "pandas",
    "csp-data export sample -o folder --format parquet": "pandas",
    "csp-data export sample -o folder --format hf": "hf",
    "csp-data view sample --no-browser": "view",
    "csp-baselines --help": "baselines",
    "csp-baselines train sample mean": "baselines",
}

BEHIND = {
    "train sample strapdown --out strapdown": "imu",
    "train sample mean --track tensorboard": "track",
    "train sample mean --track trackio": "trackio",
    "train sample mean --track wandb": "wandb",
    "train sample flat-mamba --set scan=mamba_ssm": "mamba",
    "sweep --datasets sample --models mean --seeds 0 --backend dask:tcp://127.0.0.1:1 --out dask": "dask",
    "sweep --datasets sample --models mean --seeds 0 --backend slurm:local --out slurm": "slurm",
    "export lstm -o x.onnx": "onnx",
}
"""What needs torch and one thing more."""


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and what it requires; nothing optional."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "env", with_pip=True)
    command = [folder / "env" / "bin" / "python", "-I", "-m", "pip", "install", "-q", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if "No matching distribution" in done.stderr or "Max retries exceeded" in done.stderr:
        pytest.skip("no package registry answers")
    assert done.returncode == 0, done.stderr
    return folder


def _run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"CSP_DATA_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"} | environment
    program = folder / "env" / "bin" / command[0]
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, cwd=folder, env=environment)


def test_wheel_works_in_an_empty_environment(empty: Path) -> None:
    """A base install: the sample loads and is exported, optional features name their extra."""
    done = _run(empty, "python", "-c", FEATURES)
    install = "Install it with: pip install 'csp-data"
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            f"to_torch() needs torch. {install}[baselines]'",
            f"to_pandas() needs pandas. {install}[pandas]'",
            f"Parquet needs pyarrow. {install}[pandas]'",
            f"to_xarray() needs xarray. {install}[xarray]'",
            f"to_hf() needs datasets. {install}[hf]'",
            f"Plotting needs matplotlib. {install}[plot]'",
            f"baselines needs torch. {install}[baselines]'",
        ],
        "",
    )
    for line, extra in PROGRAMS.items():
        done = _run(empty, *line.split())
        assert (done.returncode, done.stdout) == (1, ""), line
        assert done.stderr.startswith("Error: "), done.stderr
        assert done.stderr.endswith(f"pip install 'csp-data[{extra}]'\n"), done.stderr
    assert _run(empty, "csp-data", "doctor").returncode == 0


def test_with_torch_alone_the_other_features_name_their_extra(empty: Path) -> None:
    """As ``pip install '.[baselines]'`` would leave it: the empty environment borrows packages of this one."""
    lent = empty / "lent"
    lent.mkdir()
    for top, place in _tops("csp-data[baselines]").items():
        (lent / top).symlink_to(place)
    code = f"""
import contextlib, io, sys
from baselines.cli import main
main("train sample flat-lstm --set dim=4 hidden=4 layers=1 --epochs 1 --out lstm --quiet".split())
for line in {list(BEHIND)!r}:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main([*line.split(), "--quiet"])
        except SystemExit as stop:
            print(stop.code, said.getvalue().strip())
"""
    done = _run(empty, "python", "-c", code, PYTHONPATH=str(lent))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "Error: " in line]
    assert [line.rpartition("pip install ")[2] for line in said] == [f"'csp-data[{e}]'" for e in BEHIND.values()]
    assert all(line.startswith("1 Error: ") for line in said)


def _tops(requirement: str) -> dict[str, Path]:
    """Return the files and folders in site-packages of all that a requirement needs, itself left out."""
    found: dict[str, Path] = {}
    seen, waiting = set(), [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        if (key := (wanted.name, *sorted(wanted.extras))) in seen:
            continue
        seen.add(key)
        installed = distribution(wanted.name)
        if wanted.name != "csp-data":
            for file in installed.files or ():
                if file.parts[0] not in ("..", "__pycache__"):
                    found[file.parts[0]] = Path(str(installed.locate_file(file.parts[0])))
        for text in installed.requires or ():
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": e}) for e in (*wanted.extras, "")):
                waiting.append(other)
    return found
