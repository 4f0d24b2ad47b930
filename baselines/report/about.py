"""The head of a section: the result in a sentence, the data, and the effect of a filter on them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from baselines.report import html
from baselines.report.group import Group
from baselines.report.panels import panel
from baselines.tables.digits import number
from baselines.tables.setting_text import value_text
from baselines.tables.table import Row, Table, best_on_val
from csp_data import Dataset, LowPass, plot
from csp_data.card import printed, printed_unit
from csp_data.store import Channels
from csp_data.terminal import count_of

__all__ = ["data", "lede", "signals"]


def lede(group: Group) -> str:
    """Return what kind of data and which protocol it is, and the result in a sentence."""
    table, dataset = group.table, group.dataset
    best = best_on_val(table.rows)
    reported_split = dataset.split(table.report)
    reported = count_of(len(reported_split), f"{table.report} episode")
    comparison = ""
    if best.improvement is not None:
        below = f", {100 * best.improvement:.0f} % below the mean of the training targets"
        comparison = below if best.improvement >= 0 else ", worse than the mean of the training targets"
    return (
        f'<p class="sub"><span class="badge">{html.escape(table.kind_label)}</span>'
        f"protocol {html.escape(table.protocol)}, recipe {html.escape(table.recipe_hash)}</p>"
        + html.paragraph(
            f"The {'reference' if best.kind == 'reference' else 'learned model'} with the lowest error on "
            f"{table.selection}, {best.model}, has a mean squared error of "
            f"{number(best.test_mse)} {table.squared_unit} on {reported} "
            f"({reported_split.seconds / 60:.1f} minutes) that it was not trained on{comparison}. "
            f"{_better_reference(table, best)} {_selection_note(table)}".strip(),
            "lede",
        )
    )


def _better_reference(table: Table, best: Row) -> str:
    """Say so where the best reference, by the part for choosing too, has a lower error than the best model."""
    references = [row for row in table.rows if row.kind == "reference"]
    reference = min(references, key=lambda row: row.val_mse, default=best)
    if reference.test_mse >= best.test_mse:
        return ""
    return (
        f"A reference has a lower one: {reference.model}, with {number(reference.test_mse)} {table.squared_unit}."
    )


def _selection_note(table: Table) -> str:
    if table.selection != table.report:
        return ""
    return (
        f"Its epoch was chosen on {table.report} too, as in the published results: the error of a new recording "
        "can be expected to be larger."
    )


def data(group: Group) -> str:
    """Say what the recordings are, their parts, channels, licence and known defects."""
    dataset = group.dataset
    card, protocol = dataset.card, dataset.protocol
    parts = ", ".join(
        f"{split.name} {count_of(len(split), 'episode')} ({split.seconds / 60:.1f} min)"
        for split in map(dataset.split, dataset.parts)
    )
    lowpass = []
    if protocol.lowpass is not None:
        lowpass = [("Low-pass", f"{value_text(vars(protocol.lowpass))}, before everything below")]
    pairs = [
        ("Recordings", f"{card.title} ({dataset.kind})"),
        ("Parts", f"{parts}; {_shared_recordings(dataset)}"),
        ("Inputs", _channels(dataset.channels)),
        ("Targets", _channels(dataset.targets)),
        *lowpass,
        ("Target", _plain_text(card.target(protocol.target).summary)),
        ("Licence", f"{card.licence.name} ({card.licence.id})"),
        ("Cite", card.citation.text),
        *(("Known defect", _plain_text(defect)) for defect in card.defects),
    ]
    return html.paragraph(_plain_text(card.summary)) + html.definitions(pairs)


def _shared_recordings(dataset: Dataset) -> str:
    """Say whether recordings are in one part each: pieces of one may be in several where the protocol asks so."""
    recordings = [name for part in dataset.parts for name in {row.recording for row in dataset.split(part).rows}]
    shared = sum(count > 1 for count in Counter(recordings).values())
    return f"pieces of {shared} recordings are in several parts" if shared else "no recording is in two parts"


def _plain_text(text: str) -> str:
    """Return a card's text without its code marks."""
    return printed(text.replace("`", ""))


def _channels(channels: Channels) -> str:
    channel_units = zip(channels.names, channels.units, strict=True)
    return (
        ", ".join(f"{name} ({printed_unit(unit)})" for name, unit in channel_units)
        + f" at {channels.rate_hz:g} Hz"
    )


def signals(group: Group) -> str:
    """Show the input that varies most before and after a low-pass, over time and as spectra."""
    dataset = group.dataset
    episode, channels = dataset.split(dataset.report)[0], dataset.channels
    column = int(np.argmax(np.std(episode.inputs, axis=0)))
    name, rate = channels.names[column], channels.rate_hz
    filters = (LowPass(hz=rate / 10, phase="causal"), LowPass(hz=rate / 10, phase="zero"))
    waves = panel(
        lambda axes: plot.plot_lowpass(axes, episode, channels, column, *filters),
        f"{name} over three seconds, before and after the two low-pass filters.",
    )
    spectrum = panel(
        lambda axes: plot.plot_spectra(axes, episode, channels, [column], *filters),
        f"Power spectrum of {name} before and after; the cut-off is at {rate / 10:g} Hz.",
    )
    return html.paragraph(
        f"{name} of {episode.id}, and the same after a Butterworth low-pass of order 3 at {rate / 10:g} Hz. "
        "The causal filter could run on a device and lags behind; the zero-phase one does not lag because it "
        "looks ahead, so results with it cannot be had live. "
        + ("The models here were given the signal as recorded." if dataset.protocol.lowpass is None else "")
    ) + html.figures([waves, spectrum])
