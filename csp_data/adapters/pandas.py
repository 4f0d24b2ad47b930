"""A Dataset as a pandas data frame, with one row per value or one row per sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from csp_data.adapters.common import chosen, described
from csp_data.dataset import check_dataset
from csp_data.errors import CspDataError, MissingExtraError, OptionError

try:
    import pandas as pd
except ImportError as error:
    raise MissingExtraError("to_pandas()", "pandas", "pandas") from error

if TYPE_CHECKING:
    from csp_data.dataset import Dataset

__all__ = ["long_frame", "wide_frame"]

Side = Literal["inputs", "targets"]


def long_frame(dataset: Dataset, part: str | None = None) -> pd.DataFrame:
    """Return one row for each value of the inputs and the targets, which have different rates.

    Columns: ``episode``, ``group``, ``split``, ``side`` (``"inputs"`` or ``"targets"``), ``channel``, ``unit``
    (all categorical), ``time`` (s) and ``value`` (float32). Rows go episode by episode, side by side, channel by
    channel, and in time.

    Parameters
    ----------
    dataset, part
        As in :func:`csp_data.adapters.numpy.arrays`.
    """
    frames = []
    sides: tuple[Side, ...] = ("inputs", "targets")
    for side in sides:
        wide = wide_frame(dataset, side, part)
        channels = dataset.channels if side == "inputs" else dataset.targets
        for name, unit in zip(channels.names, channels.units, strict=True):
            frame = wide[["episode", "group", "split"]].assign(side=side, channel=name, unit=unit)
            frames.append(frame.assign(time=wide["time"], value=wide[name]))
    frame = pd.concat(frames, ignore_index=True)
    order = {row.id: i for i, row in enumerate(chosen(dataset, part))}
    frame = frame.iloc[np.argsort(frame["episode"].map(order).to_numpy(), kind="stable")].reset_index(drop=True)
    for column in ("episode", "group", "split", "side", "channel", "unit"):
        frame[column] = frame[column].astype("category")
    frame.attrs.update(described(dataset))
    return frame


def wide_frame(dataset: Dataset, side: Side, part: str | None = None) -> pd.DataFrame:
    """Return one row for each sample of one side, with a column for each channel.

    Columns: ``episode``, ``group``, ``split``, ``time`` (s), then the channels (float32); ``attrs["units"]`` holds
    their units and ``attrs["rate_hz"]`` the rate.

    Parameters
    ----------
    dataset, part
        As in :func:`csp_data.adapters.numpy.arrays`.
    side
        ``"inputs"`` or ``"targets"``.
    """
    check_dataset(dataset)
    if side not in get_args(Side):
        raise OptionError("wide", side, f"one of {', '.join(get_args(Side))}")
    channels = dataset.channels if side == "inputs" else dataset.targets
    if len({"episode", "group", "split", "time", *channels.names}) < 4 + len(channels.names):
        raise CspDataError(
            f"{side} of {dataset.name}: {', '.join(channels.names)} cannot be columns beside episode, group, split"
            " and time: one name stands twice. Change it on the card, or use to_xarray."
        )
    rows = chosen(dataset, part)
    episodes = list(dataset.read_rows(rows))
    frame = pd.DataFrame(np.concatenate([getattr(e, side) for e in episodes]), columns=list(channels.names))
    counts = [len(getattr(e, side)) for e in episodes]
    clock = "time" if side == "inputs" else "target_time"
    frame.insert(0, "time", np.concatenate([getattr(e, clock) for e in episodes]))
    for name in ("split", "group", "id"):
        values = np.repeat(np.array([getattr(row, name) for row in rows], dtype=object), counts)
        frame.insert(0, "episode" if name == "id" else name, values)
    frame.attrs.update(described(dataset))
    frame.attrs.update(units=dict(zip(channels.names, channels.units, strict=True)), rate_hz=channels.rate_hz)
    return frame
