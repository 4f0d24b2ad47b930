"""The data set that :func:`csp_data.load` returns, read from its prepared file."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from csp_data.card import NOT_STORED, Card, card_from, is_shipped, load_card
from csp_data.card.splits import PARTS, REPORT, SELECTION
from csp_data.dataset.parts import Episode, Split
from csp_data.errors import CspDataError, MissingExtraError, OptionError, StoreError, UnknownNameError
from csp_data.home import expanded
from csp_data.normalization import Affine, Normalization
from csp_data.protocol import Protocol
from csp_data.store import Channels, EpisodeRow, Prepared, found_damaged
from csp_data.terminal import count_of

if TYPE_CHECKING:
    from datasets import DatasetDict
    from pandas import DataFrame
    from xarray import Dataset as XarrayDataset

    from csp_data.adapters.torch import TorchDataset

__all__ = ["Dataset", "check_dataset"]

BLOCK_BYTES = 1 << 20
"""Inputs that are read together at most, if an episode alone has not more."""


class Dataset:
    """A prepared data set; :func:`csp_data.load` makes one.

    Its parts are sequences of :class:`Episode`: ``train``, ``val`` and ``test`` (``train`` and ``eval`` under the
    protocol ``paper``); :meth:`split` gives one by name. ``channels`` and ``targets`` have the names, units and
    rates of the columns, ``card`` says what was measured, ``protocol`` how the file was made, ``provenance`` from
    what. Only tables are read at once; samples are read from the file when an episode is asked for.

    Parameters
    ----------
    path
        The prepared file.

    Raises
    ------
    StoreError
        If the file is missing, damaged, not a prepared file, or of a newer format version.

    Examples
    --------
    >>> import csp_data
    >>> ds = csp_data.load("sample")
    >>> ds.parts, len(ds.test), ds.rates
    (('train', 'val', 'test'), 3, (50.0, 5.0))
    >>> ds.test[0].targets.shape, ds.targets.names, ds.targets.units
    ((184, 3), ('vel_x', 'vel_y', 'vel_z'), ('m/s', 'm/s', 'm/s'))
    """

    def __init__(self, path: Path | str) -> None:
        self.prepared = Prepared(expanded(path))
        header = self.prepared.index.header
        self.name = header.dataset
        self.protocol = self._read_protocol()
        self._chunk, self._offsets = self.protocol.chunk, self.protocol.first_offset
        self._normalization: Normalization | None = None

    def _read_protocol(self) -> Protocol:
        text = self.prepared.index.header.protocol
        with found_damaged(self.path):
            json.loads(text)["name"]
        try:
            return Protocol.from_json(text)
        except OptionError as error:
            fix = "Upgrade csp-data, or prepare the file again with this version."
            raise StoreError(self.path, f"has a protocol that this version cannot read ({error})", fix) from error

    @property
    def path(self) -> Path:
        """The prepared file."""
        return self.prepared.path

    @cached_property
    def card(self) -> Card:
        """The card of the data set; the copy in the file, if this process does not know that version of it."""
        card: Card | None = None
        with suppress(CspDataError):
            card = load_card(self.name)
        if card is not None and is_shipped(card):
            return card
        stored = card_from(self._stored_provenance["card"], str(self.path))
        if card is None:
            return stored
        if (stored.version, stored.streams, stored.targets) == (card.version, card.streams, card.targets):
            return card  # with what was corrected in its texts since
        return replace(stored, **{name: getattr(card, name) for name in ("reader", *NOT_STORED)})

    @property
    def kind(self) -> str:
        """``"CSP-Bench"``, ``"real recordings"`` or ``"simulated"``: what this file was made from."""
        return str(self._stored_provenance["kind"])

    @cached_property
    def _stored_provenance(self) -> dict[str, Any]:
        with found_damaged(self.path):
            provenance: dict[str, Any] = json.loads(self.prepared.index.header.provenance)
            for name in ("kind", "card", "recordings"):
                provenance[name]  # or it is something else
        return provenance

    @property
    def train(self) -> Split:
        """The training part."""
        return self.split("train")

    @property
    def val(self) -> Split:
        """The part for choosing models; errors as for :meth:`split`."""
        return self.split("val")

    @property
    def test(self) -> Split:
        """The part for reporting; errors as for :meth:`split`."""
        return self.split("test")

    @property
    def eval(self) -> Split:
        """The part of the protocol ``paper`` for choosing and reporting; errors as for :meth:`split`."""
        return self.split("eval")

    def split(self, name: str) -> Split:
        """Return a part by name.

        Raises
        ------
        UnknownNameError
            If the protocol has no such part: under ``paper`` there are only ``train`` and ``eval``.
        """
        if name not in self.parts:
            raise UnknownNameError(f"part of {self.name} ({self.protocol.name})", name, self.parts)
        return Split(self, name)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts there are: train, val and test, or what the protocol's split has instead."""
        return tuple(part for part in PARTS if part in self._numbers_by_part)

    @cached_property
    def _numbers_by_part(self) -> dict[str, list[int]]:
        """Which of all episodes are in each part: found once, for ``ds.train[i]`` in a loop makes many splits."""
        numbers: dict[str, list[int]] = {}
        for i, row in enumerate(self.episodes):
            numbers.setdefault(row.split, []).append(i)
        return numbers

    @property
    def selection(self) -> str:
        """Name of the part for choosing models: ``"val"``, or ``"eval"`` of a published protocol."""
        return self._first(SELECTION)

    @property
    def report(self) -> str:
        """Name of the part for reporting: ``"test"``, or ``"eval"``, on which models are chosen too."""
        return self._first(REPORT)

    def _first(self, names: tuple[str, ...]) -> str:
        parts = self.parts
        for name in names:
            if name in parts:
                return name
        raise UnknownNameError(f"part of {self.name} ({self.protocol.name})", names[0], parts)

    @property
    def episodes(self) -> tuple[EpisodeRow, ...]:
        """Ids, parts and extents of all episodes."""
        return self.prepared.index.episodes

    @property
    def channels(self) -> Channels:
        """Names, units and rate (Hz) of the C input channels."""
        return self.prepared.index.inputs

    @property
    def targets(self) -> Channels:
        """Names, units and rate (Hz) of the D target channels."""
        return self.prepared.index.targets

    @property
    def rates(self) -> tuple[float, float]:
        """Input and target rate in Hz."""
        return self.channels.rate_hz, self.targets.rate_hz

    @property
    def normalization(self) -> Normalization:
        """Shift and scale of features and targets, from the part that the protocol names.

        Or what :meth:`with_normalization` put in their place.
        """
        return self._normalization or self.prepared.index.normalization

    @property
    def has_own_normalization(self) -> bool:
        """Whether shift and scale are those of the prepared file."""
        return self._normalization is None

    def with_normalization(self, normalization: Normalization | None) -> Dataset:
        """Return the data set with another shift and scale, such as those that a model was trained with.

        Parameters
        ----------
        normalization
            Of as many features and targets; ``None`` for the data set's own.

        Returns
        -------
        Dataset
            Of the same prepared file, which stays as it is.

        Raises
        ------
        OptionError
            If it is none, is of other numbers of features or targets, or holds what is no shift or scale.

        Examples
        --------
        >>> import csp_data
        >>> ds, filtered = csp_data.load("sample"), csp_data.load("sample", lowpass=csp_data.LowPass(hz=5))
        >>> filtered.normalization == ds.normalization
        False
        >>> filtered.with_normalization(ds.normalization).normalization == ds.normalization
        True
        """
        if normalization is not None:
            normalization = self._checked(normalization)
            if normalization == self.prepared.index.normalization:
                normalization = None
        changed = copy.copy(self)
        changed._normalization = normalization
        return changed

    def _checked(self, normalization: Normalization) -> Normalization:
        """Return a shift and scale as arrays; refuse what is none of this data set's width."""
        own, affines = self.prepared.index.normalization, {}
        for name, here in vars(own).items():
            affine, wanted = getattr(normalization, name, None), len(here.shift)
            if not isinstance(affine, Affine):
                raise OptionError(
                    "normalization", normalization, "a csp_data.Normalization: dataset.normalization"
                )
            shift, scale = (np.asarray(values, np.float64) for values in (affine.shift, affine.scale))
            if shift.shape != (wanted,) or scale.shape != (wanted,):
                raise OptionError(f"normalization.{name}", shift.shape, f"{wanted} values, as {self.name} has")
            if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
                raise OptionError(f"normalization.{name}", affine, "finite shifts, and scales above 0")
            affines[name] = Affine(shift, scale)
        return Normalization(**affines)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the file was made from, and what was dropped or repaired on the way."""
        header = self.prepared.index.header
        return {
            **self._stored_provenance,
            "recipe_hash": header.recipe_hash,
            "source_digest": header.source_digest,
            "created_by": header.created_by,
        }

    def read(self, row: EpisodeRow, start: int, stop: int) -> Episode:
        """Read target rows ``[start, stop)`` of the file, which lie within one episode, and their inputs."""
        chunk = self._chunk
        inputs = self.prepared.read("inputs", start * chunk, stop * chunk)
        return self._episode(row, start, inputs, self.prepared.read("targets", start, stop))

    def read_rows(self, rows: Iterable[EpisodeRow]) -> Iterator[Episode]:
        """Read whole episodes, neighbours in the file together: short ones cost more to ask for than to read."""
        longest = BLOCK_BYTES // (4 * len(self.channels.names))
        block: list[EpisodeRow] = []
        for row in rows:
            joins = block and row.input_start == block[-1].input_stop
            if block and not (joins and row.input_stop - block[0].input_start <= longest):
                yield from self._read_block(block)
                block = []
            block.append(row)
        if block:
            yield from self._read_block(block)

    def _read_block(self, rows: Sequence[EpisodeRow]) -> Iterator[Episode]:
        """Read whole episodes that follow each other in the file, at once."""
        first, last = rows[0], rows[-1]
        inputs = self.prepared.read("inputs", first.input_start, last.input_stop)
        targets = self.prepared.read("targets", first.target_start, last.target_stop)
        for row in rows:
            input_rows = slice(row.input_start - first.input_start, row.input_stop - first.input_start)
            target_rows = slice(row.target_start - first.target_start, row.target_stop - first.target_start)
            yield self._episode(row, row.target_start, inputs[input_rows], targets[target_rows])

    def _episode(
        self, row: EpisodeRow, start: int, inputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]
    ) -> Episode:
        chunk = self._chunk
        first = start - row.target_start
        input_hz, target_hz = self.rates
        input_s, target_s = (row.start_s + offset for offset in self._offsets)
        return Episode(
            id=row.id,
            group=row.group,
            split=row.split,
            inputs=inputs,
            targets=targets,
            time=input_s + np.arange(first * chunk, first * chunk + len(inputs)) / input_hz,
            target_time=target_s + np.arange(first, first + len(targets)) / target_hz,
        )

    def to_torch(self, part: str, *, normalized: bool = True) -> TorchDataset:
        """Return a part as a map-style ``torch.utils.data.Dataset`` (needs torch).

        Parameters
        ----------
        part
            ``"train"``, ``"val"`` or ``"test"``.
        normalized
            Give the features that a model sees (input deltas appended, clipped) and the targets, shifted and
            scaled; otherwise inputs and targets in physical units.

        Returns
        -------
        TorchDataset
            Item i is a pair of float32 tensors, inputs (T, F) and targets (T / chunk, D), of window i, or of
            episode i where the protocol has no windows. F is twice the number of channels with input deltas. Its
            ``loader(batch, seed=0)`` gives batches, with a mask of the real targets where lengths differ.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        UnknownNameError
            If there is no such part.

        Examples
        --------
        >>> import csp_data
        >>> ds = csp_data.load("sample", window=csp_data.Window(seconds=10))
        >>> inputs, targets = ds.to_torch("train")[0]
        >>> inputs.shape, targets.shape
        (torch.Size([500, 12]), torch.Size([50, 3]))
        >>> batch = next(iter(ds.to_torch("train").loader(8, seed=0)))
        >>> batch.inputs.shape, batch.targets.shape, batch.mask.shape
        (torch.Size([8, 500, 12]), torch.Size([8, 50, 3]), torch.Size([8, 50]))
        """
        from csp_data.adapters.torch import TorchDataset

        return TorchDataset(self.split(part), normalized=normalized)

    def to_pandas(self, part: str | None = None, *, wide: Literal["inputs", "targets"] | None = None) -> DataFrame:
        """Return the episodes of a part, or all, as a data frame (needs pandas).

        Parameters
        ----------
        part
            One part; ``None`` for all.
        wide
            One row per sample of the inputs or of the targets; by default one row per value of both
            (:func:`csp_data.adapters.pandas.long_frame`).

        Returns
        -------
        DataFrame
            With ``wide``, the columns ``episode``, ``group``, ``split``, ``time`` (s) and one for each channel
            (float32, physical units). Otherwise ``channel``, ``side``, ``unit`` and ``value`` take the place of
            the channels.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        UnknownNameError, OptionError
            If there is no such part or side.

        Examples
        --------
        >>> import csp_data
        >>> table = csp_data.load("sample").to_pandas("test", wide="targets")
        >>> table.columns[3:].tolist(), len(table)
        (['time', 'vel_x', 'vel_y', 'vel_z'], 535)
        """
        from csp_data.adapters.pandas import long_frame, wide_frame

        return long_frame(self, part) if wide is None else wide_frame(self, wide, part)

    def to_xarray(self, part: str | None = None) -> XarrayDataset:
        """Return the episodes of a part, or all, with named dimensions and units (needs xarray).

        See :func:`csp_data.adapters.xarray.to_xarray`; ``to_netcdf(path, engine="h5netcdf")`` writes it. Errors
        are as for :meth:`to_pandas`.
        """
        from csp_data.adapters.xarray import to_xarray

        return to_xarray(self, part)

    def to_hf(self) -> DatasetDict:
        """Return a Hugging Face ``DatasetDict`` with a row for each episode (needs datasets and pyarrow)."""
        if find_spec("datasets") is None:  # before pyarrow is missed, whose own extra would not be enough
            raise MissingExtraError("to_hf()", "datasets", "hf")
        from csp_data.adapters.hf import to_hf

        return to_hf(self)

    def to_parquet(self, folder: Path | str) -> Path:
        """Write Parquet files with the card as README into a new folder, and return it (needs pyarrow).

        Raises
        ------
        OptionError
            If the folder is there and not empty.
        """
        from csp_data.adapters.hf import write_parquet

        return write_parquet(self, folder)

    def to_npz(self, path: Path | str, part: str | None = None) -> Path:
        """Write all arrays to one ``.npz`` file, and return its path; a file that is there is replaced.

        ``inputs`` and ``targets`` are those of all episodes end to end; ``input_start``, ``target_start`` and the
        like say where each begins (:func:`csp_data.adapters.numpy.arrays`).

        Parameters
        ----------
        path
            The file to write.
        part
            One part; ``None`` for all.

        Raises
        ------
        UnknownNameError
            If there is no such part.
        """
        from csp_data.adapters.numpy import write_npz

        return write_npz(self, path, part)

    def plot(self, figure: str = "episode", **options: Any) -> Any:
        """Draw a figure (needs matplotlib).

        Parameters
        ----------
        figure
            ``"episode"``, ``"lowpass"``, ``"spectra"``, ``"splits"``, ``"targets"`` or ``"trajectory"``.
        **options
            ``part`` and ``episode`` (number or id), ``lowpass``, ``channels`` and ``predictions``, as
            :func:`csp_data.plot.draw` describes them.

        Returns
        -------
        Figure
            Of matplotlib: ``figure.savefig(path)`` writes it.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        UnknownNameError, OptionError
            As for :func:`csp_data.plot.draw`.
        """
        from csp_data.plot import draw

        return draw(self, figure, **options)

    def close(self) -> None:
        """Close the file; it opens again when samples are asked for."""
        self.prepared.close()

    def _repr_html_(self) -> str:
        from csp_data.dataset.html import dataset_html

        return dataset_html(self)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part} {len(self.split(part))}" for part in self.parts)
        return (
            f"<Dataset {self.name} ({self.kind}), protocol {self.protocol.name}: {parts} episodes, "
            f"{count_of(len(self.channels.names), 'input')} at {self.rates[0]:g} Hz, "
            f"{count_of(len(self.targets.names), 'target')} at {self.rates[1]:g} Hz>"
        )


def check_dataset(dataset: object) -> None:
    """Raise :class:`OptionError` for what is no data set, such as the name of one."""
    if not isinstance(dataset, Dataset):
        name = str(dataset) if isinstance(dataset, str | Path) else None
        call = "csp_data.load(...)" if name is None else f"csp_data.load({name!r})"
        raise OptionError("dataset", dataset if name is None else name, f"a data set: {call}")
