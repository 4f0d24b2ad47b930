"""The command ``export``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import (
    json_option,
    load_named,
    name_argument,
    protocol_options,
    raw_option,
    skip_damaged_option,
)
from csp_data.dataset import Dataset
from csp_data.errors import OptionError
from csp_data.output import output, output_folder
from csp_data.terminal import loudness

__all__ = ["export"]


def _netcdf(dataset: Dataset, out: Path, part: str | None) -> Path:
    from csp_data.adapters.xarray import write_netcdf

    return write_netcdf(dataset, out, part)


def _parquet(dataset: Dataset, out: Path, part: str | None) -> Path:
    _whole("parquet", part)
    return dataset.to_parquet(out)


def _hf(dataset: Dataset, out: Path, part: str | None) -> Path:
    _whole("hf", part)
    parts = dataset.to_hf()
    if not loudness.get().progress:
        import datasets

        datasets.disable_progress_bars()
    with output_folder(out) as made:
        parts.save_to_disk(str(made))
    return out


def _csv(dataset: Dataset, out: Path, part: str | None) -> Path:
    frame = dataset.to_pandas(part)
    with output(out) as temporary:
        frame.to_csv(temporary, index=False, compression="gzip" if out.suffix.lower() == ".gz" else None)
    return out


def _whole(kind: str, part: str | None) -> None:
    if part is not None:
        raise OptionError("part", part, f"no part with the format {kind}", "It keeps the parts apart by itself.")


FORMATS: Mapping[str, Callable[[Dataset, Path, str | None], Path]] = {
    "npz": Dataset.to_npz,
    "netcdf": _netcdf,
    "parquet": _parquet,
    "hf": _hf,
    "csv": _csv,
}
SUFFIXES = {".npz": "npz", ".nc": "netcdf", ".csv": "csv", ".csv.gz": "csv"}


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data export sample -o sample.npz",
        "csp-data export sample --format parquet -o sample-parquet",
        "csp-data export broad --lowpass 5 --part test -o test.nc",
    ),
)
@name_argument
@raw_option
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="File or new folder to write.")
@click.option(
    "--format", "kind", type=click.Choice(list(FORMATS)), help="Format to write [default: by the ending of OUT]."
)
@click.option("--part", help="Write one part only [default: all].")
@skip_damaged_option
@json_option
@protocol_options
def export(
    name: str,
    raw: Path | None,
    out: Path,
    kind: str | None,
    part: str | None,
    skip_damaged: bool,
    protocol: str | None,
    as_json: bool,
    changes: dict[str, Any],
) -> None:
    """Write the prepared data in another format.

    NAME is a data set or a prepared file (.h5). Prints what was written.

    \b
    npz      one NumPy file with all arrays, no pickle
    netcdf   one netCDF file: dimensions, units, rates (pip install 'csp-data[xarray]')
    parquet  a folder: one file per part, the card as README ('csp-data[pandas]')
    hf       a folder for datasets.load_from_disk ('csp-data[hf]')
    csv      one row per value ('csp-data[pandas]')
    """
    kind = kind or next((of for end, of in SUFFIXES.items() if out.name.lower().endswith(end)), None)
    if kind is None:
        raise OptionError("out", str(out), f"a name that ends in {', '.join(SUFFIXES)}", "Or say --format.")
    dataset = load_named(name, raw, protocol, changes, skip_damaged=skip_damaged)
    written = FORMATS[kind](dataset, out, part)
    report({"path": written, "format": kind}, str(written), as_json=as_json)
