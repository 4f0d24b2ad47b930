"""Every adapter: what is read back with the other library's own tools equals the data set."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from click.testing import CliRunner, Result

import csp_data
from csp_data.cli import cli
from csp_data.errors import OptionError
from csp_data.normalization import Affine, Normalization
from csp_data.store import Channels, Writer


@pytest.fixture(scope="module", params=["strict", "windows of another length, other inputs"])
def ds(request: pytest.FixtureRequest) -> csp_data.Dataset:
    if request.param == "strict":
        return csp_data.load("sample")
    return csp_data.load("sample", input_hz=40, target_hz=2, inputs=["gyroscope", "magnetometer"], min_episode_s=5)


def export(dataset: csp_data.Dataset, out: Path, *options: str) -> Path:
    result: Result = CliRunner().invoke(cli, ["export", str(dataset.path), "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert [path.name for path in out.parent.glob(".*")] == []
    return out


def same(episode: csp_data.Episode, **found: object) -> None:
    for name, value in found.items():
        want = getattr(episode, name)
        if isinstance(want, np.ndarray):
            got = np.asarray(value)
            assert got.dtype == want.dtype, name
            np.testing.assert_array_equal(got, want)
        else:
            assert value == want


def episodes(dataset: csp_data.Dataset) -> list[csp_data.Episode]:
    """One by one, which adapters do not."""
    return [dataset.read(row, row.target_start, row.target_stop) for row in dataset.episodes]


def test_npz(ds: csp_data.Dataset, tmp_path: Path) -> None:
    with np.load(export(ds, tmp_path / "a.npz"), allow_pickle=False) as file:
        a = dict(file)
    assert len(a["id"]) == len(ds.episodes)
    for i, episode in enumerate(episodes(ds)):
        x, y = (slice(a[f"{side}_start"][i], a[f"{side}_stop"][i]) for side in ("input", "target"))
        same(
            episode,
            **{name: str(a[name][i]) for name in ("id", "group", "split")},
            inputs=a["inputs"][x],
            targets=a["targets"][y],
            time=a["time"][x],
            target_time=a["target_time"][y],
        )
    assert (tuple(a["channels"]), tuple(a["units"])) == (ds.channels.names, ds.channels.units)
    assert (tuple(a["target_names"]), tuple(a["target_units"])) == (ds.targets.names, ds.targets.units)
    assert (a["input_hz"], a["target_hz"]) == ds.rates
    for side, affine in (("input", ds.normalization.inputs), ("target", ds.normalization.targets)):
        np.testing.assert_array_equal(a[f"{side}_shift"], affine.shift)
        np.testing.assert_array_equal(a[f"{side}_scale"], affine.scale)
    about = json.loads(str(a["about"]))
    assert about["kind"] == "real recordings"
    assert about["licence"]["id"] == "CC-BY-4.0"
    assert csp_data.Protocol.from_json(about["protocol"]) == ds.protocol


def test_pandas_long(ds: csp_data.Dataset) -> None:
    pytest.importorskip("pandas")
    frame = ds.to_pandas("val")
    kinds = dict.fromkeys(("episode", "group", "split", "side", "channel", "unit"), "category")
    kinds |= {"time": "float64", "value": "float32"}
    assert list(frame.dtypes.astype(str).items()) == list(kinds.items())
    assert list(frame.index) == list(range(len(frame)))
    blocks = [
        key for key, _ in itertools.groupby(zip(frame["episode"], frame["side"], frame["channel"], strict=True))
    ]
    assert blocks == [
        (episode.id, side, name)
        for episode in ds.val
        for side, of in (("inputs", ds.channels), ("targets", ds.targets))
        for name in of.names
    ]
    for episode in ds.val:
        own = frame[frame["episode"] == episode.id]
        assert set(own["split"]) == {"val"}
        assert set(own["group"]) == {episode.group}
        for side, of, time in (
            ("inputs", ds.channels, episode.time),
            ("targets", ds.targets, episode.target_time),
        ):
            for i, (name, unit) in enumerate(zip(of.names, of.units, strict=True)):
                rows = own[(own["side"] == side) & (own["channel"] == name)]
                assert set(rows["unit"]) == {unit}
                np.testing.assert_array_equal(rows["time"], time)
                np.testing.assert_array_equal(rows["value"], getattr(episode, side)[:, i])
    assert set(ds.to_pandas()["split"]) == {"train", "val", "test"}
    assert frame.attrs["licence"]["id"] == "CC-BY-4.0"


def test_pandas_side_that_is_none(ds: csp_data.Dataset) -> None:
    with pytest.raises(OptionError, match="wide='input': expected one of inputs, targets"):
        ds.to_pandas(wide="input")  # type: ignore[arg-type]


def test_pandas_wide_and_csv(ds: csp_data.Dataset, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = ds.to_pandas(wide="targets")
    assert list(frame.columns) == ["episode", "group", "split", "time", *ds.targets.names]
    assert frame.attrs["units"] == dict(zip(ds.targets.names, ds.targets.units, strict=True))
    assert frame.attrs["rate_hz"] == ds.rates[1]
    assert frame.attrs["recipe_hash"] == ds.provenance["recipe_hash"]
    for episode in episodes(ds):
        own = frame[frame["episode"] == episode.id]
        np.testing.assert_array_equal(own[list(ds.targets.names)].to_numpy(), episode.targets)
    back = pd.read_csv(export(ds, tmp_path / "a.csv.gz", "--part", "test"))
    want = ds.to_pandas("test")
    np.testing.assert_array_equal(back["value"].astype(np.float32), want["value"])
    assert (back["episode"].astype(str) == want["episode"].astype(str)).all()


def test_netcdf(ds: csp_data.Dataset, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xr.open_dataset(export(ds, tmp_path / "a.nc"), engine="h5netcdf") as x:
        assert x["inputs"].dims == ("sample", "channel")
        assert x["targets"].dims == ("step", "target")
        assert (x["inputs"].attrs["rate_hz"], x["targets"].attrs["rate_hz"]) == ds.rates
        assert x["targets"].attrs["units"] == "m/s"
        assert tuple(x["channel"].values) == ds.channels.names
        assert tuple(x["unit"].values) == ds.channels.units
        assert tuple(x["target_unit"].values) == ds.targets.units
        assert json.loads(x.attrs["licence"])["id"] == "CC-BY-4.0"
        assert (x.attrs["featureType"], x.attrs["kind"]) == ("timeSeries", "real recordings")
        for side, affine in (("feature", ds.normalization.inputs), ("target", ds.normalization.targets)):
            np.testing.assert_array_equal(x[f"{side}_shift"], affine.shift)
            np.testing.assert_array_equal(x[f"{side}_scale"], affine.scale)
        for i, episode in enumerate(episodes(ds)):
            rows, steps = x["sample_episode"].values == i, x["step_episode"].values == i
            assert (rows.sum(), steps.sum()) == (x["input_count"].values[i], x["target_count"].values[i])
            same(
                episode,
                id=str(x["episode"].values[i]),
                group=str(x["group"].values[i]),
                split=str(x["split"].values[i]),
                inputs=x["inputs"].values[rows],
                targets=x["targets"].values[steps],
                time=x["time"].values[rows],
                target_time=x["target_time"].values[steps],
            )
        assert set(ds.to_xarray("test")["split"].values) == {"test"}


def test_hugging_face(ds: csp_data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    folder = export(ds, tmp_path / "made", "--format", "parquet")
    stored = export(ds, tmp_path / "stored", "--format", "hf")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    for parts in (ds.to_hf(), datasets.load_from_disk(str(stored)), loaded):
        assert set(parts) == {"train", "val", "test"}
        for name, part in parts.with_format("numpy").items():
            assert len(part) == len(ds.split(name))
            for row, episode in zip(part, ds.split(name), strict=True):
                same(
                    episode,
                    **{key: str(row[key]) for key in ("id", "group", "split")},
                    **{key: row[key] for key in ("inputs", "targets")},
                )
        for row, episode in zip(parts["val"].with_format(None), ds.val, strict=True):
            for key in ("time", "target_time"):
                time = np.array(row[key]) + row["start_s"]
                np.testing.assert_allclose(time, getattr(episode, key), rtol=0, atol=1e-9)
    info = ds.to_hf()["train"].info
    assert (info.license, info.homepage) == ("CC-BY-4.0", ds.card.licence.url)
    assert tuple(json.loads(info.description)["inputs"]["units"]) == ds.channels.units
    assert "license: cc-by-4.0" in (folder / "README.md").read_text()
    again = CliRunner().invoke(cli, ["export", "sample", "-o", str(folder), "--format", "parquet"])
    assert again.exit_code == 2
    assert "new or empty" in again.stderr


@pytest.mark.parametrize("group", ["all", "one"])
def test_parquet_for_others(
    ds: csp_data.Dataset, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In groups of rows, which of small episodes are all and of large ones each."""
    pq = pytest.importorskip("pyarrow.parquet")
    from csp_data.adapters import hf

    if group == "one":
        monkeypatch.setattr(hf, "ROWS_BYTES", 1)
    with pq.ParquetFile(ds.to_parquet(tmp_path / "p") / "data" / "val.parquet") as file:
        assert file.num_row_groups == (1 if group == "all" else len(ds.val))
        table = file.read()
        columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    # a dictionary of samples made the file of half an hour at 1 kHz half as large again, in seven times the time
    by_dictionary = {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
    assert by_dictionary == {"id", "group", "split", "time.list.element", "target_time.list.element"}
    for row, episode in zip(table.to_pylist(), ds.val, strict=True):
        np.testing.assert_array_equal(np.array(row["inputs"], np.float32), episode.inputs)
    about = json.loads(table.schema.metadata[b"csp_data"])
    assert tuple(about["targets"]["units"]) == ds.targets.units


def test_the_work_of_writing_parquet_grows_with_the_episodes(tmp_path: Path) -> None:
    """It grew with their square: ten thousand short recordings took eight minutes."""
    pytest.importorskip("pyarrow")
    calls = []
    for count in (300, 600):
        with Writer(tmp_path / f"{count}.h5") as writer:
            writer.begin(Channels(("x",), ("m",), 50.0), Channels(("y",), ("m",), 5.0))
            for i in range(count):
                writer.append(str(i), str(i), 0.0, np.ones((10, 1)), np.ones((1, 1)), str(i))
            writer.assign(["train"] * count)
            one, header = Affine(np.zeros(1), np.ones(1)), csp_data.load("sample").prepared.index.header
            writer.finish(header, Normalization(one, one), None)
        many = csp_data.load(path=tmp_path / f"{count}.h5")
        seen = 0

        def count_call(_frame: FrameType, event: str, _value: object) -> None:
            nonlocal seen
            seen += event == "call"

        sys.setprofile(count_call)
        try:
            many.to_parquet(tmp_path / str(count))
        finally:
            sys.setprofile(None)
        calls.append(seen)
    assert calls[1] < 2.1 * calls[0]


def test_the_readme_says_what_is_simulated_and_what_may_not_be_passed_on(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    raw = csp_data.simulate("marker", tmp_path / "raw", hours=0.005, seed=0)
    made = csp_data.load("marker", raw=raw, protocol="strict").to_parquet(tmp_path / "made")
    real = csp_data.load("sample").to_parquet(tmp_path / "real")
    simulated, measured = ((folder / "README.md").read_text() for folder in (made, real))
    assert 'license: other\nlicense_name: "unstated"\n' in simulated
    for sentence in (
        "Simulated: nothing in this data set was measured",
        "do not allow passing these recordings on",
    ):
        assert sentence in simulated
        assert sentence not in measured
    licence = "[Creative Commons Attribution 4.0 International](https://creativecommons.org/licenses/by/4.0/)"
    assert f"Licence: {licence}." in measured
    assert "`time` and `target_time` are the times of these rows, in seconds after `start_s`" in measured


def test_torch_loader_is_seeded_whatever_the_workers() -> None:
    torch = pytest.importorskip("torch")
    view = csp_data.load("sample", window=csp_data.Window(4, 2)).to_torch("train")
    view = pickle.loads(pickle.dumps(view))

    def order(seed: int | None, workers: int) -> list[object]:
        torch.manual_seed(np.random.default_rng().integers(1 << 30).item())
        return list(view.loader(7, seed=seed, workers=workers))

    one, two, other, plain = order(3, 0), order(3, 2), order(4, 0), order(None, 0)
    assert sum(len(batch.inputs) for batch in one) == len(view)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.inputs, b.inputs, rtol=0, atol=0)
    assert not torch.equal(one[0].inputs, other[0].inputs)
    torch.testing.assert_close(plain[0].inputs[0], view[0][0])


@pytest.mark.parametrize(
    ("missing", "use", "message"),
    [
        ("torch", 'ds.to_torch("val")', "pip install 'csp-data[baselines]'"),
        ("pandas", "ds.to_pandas()", "pip install 'csp-data[pandas]'"),
        ("xarray", "ds.to_xarray()", "pip install 'csp-data[xarray]'"),
        ("h5netcdf", 'run("x.nc")', "pip install 'csp-data[xarray]'"),
        ("pyarrow", 'ds.to_parquet("p")', "pip install 'csp-data[pandas]'"),
        ("datasets", "ds.to_hf()", "pip install 'csp-data[hf]'"),
        ("matplotlib", "ds.plot()", "pip install 'csp-data[plot]'"),
    ],
)
def test_the_error_names_the_extra(missing: str, use: str, message: str, tmp_path: Path) -> None:
    code = f"""
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {missing!r} else found(name, *more)
import csp_data
from csp_data.adapters import common
def run(out):
    from csp_data.adapters.xarray import write_netcdf
    write_netcdf(ds, out)
ds = csp_data.load("sample")
try:
    {use}
except csp_data.CspDataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert message in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_npz_needs_nothing_and_formats_follow_the_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["export", "sample", "-o", str(tmp_path / "a.txt")])
    assert result.exit_code == 2
    assert "a name that ends in .npz, .nc" in result.stderr
    options = ("--format", "hf", "--part", "val")
    result = CliRunner().invoke(cli, ["export", "sample", "-o", str(tmp_path / "p"), *options])
    assert result.exit_code == 2
    assert "no part with the format hf" in result.stderr
