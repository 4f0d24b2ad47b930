"""A Dataset as Parquet files with its card as README, and as a Hugging Face ``DatasetDict``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csp_data.adapters.common import described
from csp_data.dataset import check_dataset
from csp_data.errors import MissingExtraError
from csp_data.home import expanded
from csp_data.output import output_folder

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("Parquet", "pyarrow", "pandas") from error

if TYPE_CHECKING:
    from datasets import DatasetDict

    from csp_data.dataset import Dataset

__all__ = ["readme", "to_hf", "write_parquet"]

ROWS_BYTES = 32 << 20
"""Bytes of samples in a row group, about."""


DICTIONARIES = ["id", "group", "split", "time.list.element", "target_time.list.element"]
"""Columns whose values repeat, times from episode to episode. Samples do so too little: dictionaries of them make
the file of real recordings larger by two fifths, and of an hour at 1 kHz cost most of the time and the memory."""


def schema(dataset: Dataset) -> pa.Schema:
    """Return the columns: one row per episode, two-dimensional arrays as lists of rows of fixed length."""
    widths = len(dataset.channels.names), len(dataset.targets.names)
    return pa.schema(
        [
            *((name, pa.string()) for name in ("id", "group", "split")),
            ("inputs", pa.list_(pa.list_(pa.float32(), widths[0]))),
            ("targets", pa.list_(pa.list_(pa.float32(), widths[1]))),
            ("start_s", pa.float64()),
            ("time", pa.list_(pa.float64())),
            ("target_time", pa.list_(pa.float64())),
        ],
        metadata={"csp_data": json.dumps({**_columns(dataset), **described(dataset)})},
    )


def _columns(dataset: Dataset) -> dict[str, Any]:
    return {
        "inputs": {"channels": dataset.channels.names, "units": dataset.channels.units, "hz": dataset.rates[0]},
        "targets": {"channels": dataset.targets.names, "units": dataset.targets.units, "hz": dataset.rates[1]},
    }


def _batches(dataset: Dataset, part: str) -> Iterator[pa.RecordBatch]:
    """Yield each episode as a batch of one row, so that memory stays bounded."""
    columns = schema(dataset)
    split = dataset.split(part)
    for row, episode in zip(split.rows, split, strict=True):
        arrays = [pa.array([getattr(episode, name)]) for name in ("id", "group", "split")]
        arrays += [_table(getattr(episode, name)) for name in ("inputs", "targets")]
        times = (getattr(episode, name) - row.start_s for name in ("time", "target_time"))
        arrays += [pa.array([row.start_s]), *(_list(pa.array(time)) for time in times)]
        yield pa.RecordBatch.from_arrays(arrays, schema=columns)


def _list(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def _table(values: np.ndarray[Any, np.dtype[np.float32]]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return _list(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))


def to_hf(dataset: Dataset) -> DatasetDict:
    """Return a ``datasets.DatasetDict`` with a row for each episode (needs datasets).

    Columns: ``id``, ``group``, ``split``, ``inputs`` (T, C), ``targets`` (N, D), ``start_s`` (beginning of the
    first chunk on the recording's clock), ``time`` and ``target_time`` (seconds after ``start_s``: the library's
    numpy format turns them to float32, which would cost a clock that counts from 1970 its digits).

    Raises
    ------
    MissingExtraError
        If the package ``datasets`` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("to_hf()", "datasets", "hf") from error
    check_dataset(dataset)
    info = datasets.DatasetInfo(
        description=json.dumps({**_columns(dataset), **described(dataset)}),
        citation=dataset.card.citation.bibtex,
        license=dataset.card.licence.id,
        homepage=dataset.card.licence.address,
    )
    parts = {}
    for part in dataset.parts:
        table = pa.Table.from_batches(_batches(dataset, part), schema=schema(dataset))
        bare = table.replace_schema_metadata(None)
        parts[part] = datasets.Dataset(bare, info=info, split=datasets.NamedSplit(part))
    return datasets.DatasetDict(parts)


def write_parquet(dataset: Dataset, folder: Path | str) -> Path:
    """Write a folder that Hugging Face's ``load_dataset`` and every Parquet reader understand.

    ``data/<part>.parquet`` for each part, and ``README.md``: the data set's card, with where the parts are.

    Raises
    ------
    OptionError
        If the folder is there and not empty.
    CspDataError
        If it cannot be written.
    """
    check_dataset(dataset)
    path = expanded(folder, "folder")
    with output_folder(path, "folder") as made:
        (made / "data").mkdir()
        for part in dataset.parts:
            with pq.ParquetWriter(
                made / "data" / f"{part}.parquet",
                schema(dataset),
                compression="zstd",
                use_dictionary=DICTIONARIES,
            ) as writer:
                for table in _groups(_batches(dataset, part)):
                    writer.write_table(table)
        (made / "README.md").write_text(readme(dataset), encoding="utf-8")
    return path


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= ROWS_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


LICENCES = {"CC-BY-4.0": "cc-by-4.0", "MIT": "mit", "BSD-3-Clause-Clear": "bsd-3-clause-clear"}
"""Names that the Hugging Face hub has for licences of our cards; others are ``other``."""


def readme(dataset: Dataset) -> str:
    """Return the card of an exported data set in the form of the Hugging Face hub (YAML head, Markdown)."""
    card = dataset.card
    licence = LICENCES.get(card.licence.id, "other")
    terms = f"[{card.licence.name}]({card.licence.address})" if card.licence.address else card.licence.name
    head = [
        "---",
        f"pretty_name: {json.dumps(card.title)}",
        f"license: {licence}",
        *([f"license_name: {json.dumps(card.licence.id)}"] if licence == "other" else []),
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(line for part in dataset.parts for line in (f"  - split: {part}", f"    path: data/{part}.parquet")),
        "---",
    ]
    simulated = (
        ["**Simulated: nothing in this data set was measured.**", ""] if dataset.kind == "simulated" else []
    )
    version = f" (version {card.version})" if card.version else ""
    body = [
        f"# {card.title}",
        "",
        *simulated,
        card.summary.strip(),
        "",
        f"Made by {dataset.provenance['created_by']} from recordings of kind: {dataset.kind}{version}; protocol "
        f"`{dataset.protocol.name}`, recipe `{dataset.provenance['recipe_hash']}`. One row per episode.",
        "",
        "| column | channels | units | rate |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {', '.join(row.names)} | {', '.join(dict.fromkeys(row.units))} | {row.rate_hz:g} Hz |"
            for name, row in (("inputs", dataset.channels), ("targets", dataset.targets))
        ),
        "",
        "`time` and `target_time` are the times of these rows, in seconds after `start_s`, which is on the "
        "recording's own clock.",
        "",
        *(["Known defects:", "", *(f"- {defect}" for defect in card.defects), ""] if card.defects else []),
        f"Licence: {terms}. {card.licence.terms}",
        "",
        *([] if card.licence.redistribution else ["**The terms do not allow passing these recordings on.**", ""]),
        f"Cite: {card.citation.text}",
        "",
        "```bibtex",
        card.citation.bibtex.strip(),
        "```",
    ]
    return "\n".join([*head, "", *body, ""])
