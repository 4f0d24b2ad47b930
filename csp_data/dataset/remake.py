"""Make the inputs of a prepared part again from its raw recordings, with something changed on the way.

For experiments on what a model makes of other readings than it was trained on: episodes and targets stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csp_data.acquire.rawtree import raw_root, recordings_of
from csp_data.acquire.verify import verify_tree
from csp_data.dataset.dataset import Dataset
from csp_data.errors import DamagedRecordingError, OptionError
from csp_data.prepare.examples import cut_into_pieces, examples
from csp_data.recording import Recording, Stream
from csp_data.signal.lowpass import LowPass
from csp_data.sources import Source, load_source, read_found

__all__ = ["RawPart", "read_part"]

Disturb = Callable[[Recording], Mapping[str, Stream]]


@dataclass(frozen=True)
class RawPart:
    """The raw recordings of a part of a data set, in memory.

    Parameters
    ----------
    dataset
        The prepared data set.
    name
        Of the part.
    recordings
        As the source reads them, in the order of the part's episodes.
    source
        That read them.
    """

    dataset: Dataset
    name: str
    recordings: tuple[Recording, ...]
    source: Source

    def inputs(
        self, disturb: Disturb | None = None, *, lowpass: LowPass | Literal["own"] | None = "own"
    ) -> list[npt.NDArray[np.float32]]:
        """Make the inputs of every episode of the part, in its order.

        Parameters
        ----------
        disturb
            From a recording to the input streams that read something else, at the same times; ``None`` for none.
            What comes after the sensor comes after this: baseline, resampling, filter.
        lowpass
            Filter of the inputs after resampling; ``"own"`` for that of the data set's protocol. With it and
            without `disturb` the result is what the prepared file holds, bit for bit.

        Returns
        -------
        list of arrays, shape (T_e, C), float32
            Physical units.
        """
        protocol = self.dataset.protocol
        if not isinstance(lowpass, str):
            protocol = replace(protocol, lowpass=lowpass)
        rows = {row.id: row for row in self.dataset.split(self.name).rows}
        made: dict[str, npt.NDArray[np.float32]] = {}
        for recording in self.recordings:
            instead: Mapping[str, Any] = {} if disturb is None else disturb(recording)
            found, _ = examples(recording, self.dataset.card, self.source, protocol, instead)
            written = [row.id for row in self.dataset.episodes if row.recording == recording.id]
            if protocol.resplit is not None and [example.id for example in found] != written:
                found = cut_into_pieces(found, protocol.resplit.piece_s, protocol)
            made |= {example.id: example.stored().inputs for example in found if example.id in rows}
        for id_, row in rows.items():
            got, wanted = len(made.get(id_, ())), row.input_stop - row.input_start
            if got != wanted:
                raise DamagedRecordingError(self.dataset.path, f"inputs of {id_}", f"{wanted} rows", f"{got}")
        return [made[id_] for id_ in rows]


def read_part(dataset: Dataset, part: str, raw: Path | str | None = None) -> RawPart:
    """Read the raw recordings of a part.

    Parameters
    ----------
    dataset
        The prepared data set.
    part
        Name of the part.
    raw
        Folder of the raw files; by default what ships with the package or the home's ``raw/<name>``.

    Raises
    ------
    OptionError
        If the raw files are not those that the data set was prepared from.
    VerificationError
        If they are not, and one is damaged.
    MissingDataError
        If there is no recording.
    SourceError
        If the process does not know the data set's reader.
    """
    card = dataset.card
    source = load_source(card)  # before the raw files: those of an unknown reader may lie beside it
    root = raw_root(card, raw)
    report = verify_tree(card, root, extra=False)
    digest = report.source_digest()
    if digest != dataset.provenance["source_digest"]:
        report.raise_for_failures(allow_missing=True)
        raise OptionError(
            "raw", str(root), f"the raw files that {dataset.path.name} was prepared from (source {digest} differs)"
        )
    # those that fail failed when the data set was prepared, too: none of its recordings are of them
    found = {recording.id: recording for recording in recordings_of(card, report)}
    wanted = dict.fromkeys(row.recording for row in dataset.split(part).rows)
    read = tuple(read_found(source, found[id_], card, dataset.protocol) for id_ in wanted)
    return RawPart(dataset, part, read, source)
