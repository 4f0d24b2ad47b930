"""Grids from each stream's own start, on the reference's edge cases: overlaps, duplicates, gaps, exact seconds.

Three of the inputs made the published code stop with an exception (an episode without overlap that is the last,
or that is followed by an earlier clock). The refusal there is a drop with a note; the other episodes come out as
always.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from csp_data import PAPER, Recording, Stream
from csp_data.card import StreamCard, TargetCard, load_card
from csp_data.prepare.examples import Example, examples
from csp_data.recording import FloatArray, Note
from csp_data.sources import Source

STREAMS = (
    StreamCard("a", "input", ("a1", "a2", "a3"), "1", 100.0, "made"),
    StreamCard("b", "reference", ("b1", "b2"), "1", 30.0, "made"),
)
TARGET = TargetCard("b", ("b1", "b2"), "1", increment=False, summary="the reference itself")
# the first edge stands twice, so the last N of the N + 1 edges are the published samples
SOURCE = Source(lambda root: [], lambda found, card, protocol: None, "", {"b": lambda edges: edges["b"][1:]})  # type: ignore[arg-type,return-value]


def episodes(path: Path) -> list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Time and values of a and of b, episode by episode."""
    with h5py.File(path) as file:
        ids = {name: file[f"{name}_episode_ids"][()] for name in "ab"}
        return [
            tuple(
                file[key][ids[name][i] : ids[name][i + 1]] for name in "ab" for key in (f"{name}_timestamps", name)
            )
            for i in range(len(ids["a"]) - 1)
        ]


def cut(path: Path) -> list[tuple[list[Example], list[Note]]]:
    card = dataclasses.replace(load_card("broad"), name="edge", streams=STREAMS, targets=(TARGET,))
    results = []
    for i, (a_time, a, b_time, b) in enumerate(episodes(path)):
        streams = {"a": Stream.of(STREAMS[0], a_time, a), "b": Stream.of(STREAMS[1], b_time, b)}
        results.append(examples(Recording(f"e{i}", f"e{i}", path, streams), card, SOURCE, PAPER))
    return results


def equal(example: Example, expected: tuple[FloatArray, FloatArray, FloatArray, FloatArray]) -> None:
    a_time, a, _, b = expected
    assert example.start_s == pytest.approx(a_time[0], abs=1e-9)
    np.testing.assert_allclose(example.inputs, a, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(example.targets, b, rtol=1e-6, atol=1e-9)


@pytest.fixture
def folder(reference_dir: Path) -> Path:
    return reference_dir / "golden" / "resample_edge"


@pytest.mark.parametrize("name", ["ok", "with_zero_len", "dropped_abs"])
def test_edge_cases(folder: Path, name: str) -> None:
    ours = cut(folder / f"{name}_in.h5")
    expected = episodes(folder / f"{name}_out.h5")
    # the published file keeps an episode of no samples; here it is left out with a note
    kept = [made for made, notes in ours if not any(note.kind == "drop" for note in notes)]
    assert len(kept) == len(expected)
    for made, theirs in zip(kept, expected, strict=True):
        assert len(made) == (1 if len(theirs[0]) else 0)
        for example in made:
            equal(example, theirs)
    empty = [notes for made, notes in ours if not made]
    assert all(notes for notes in empty)


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ("all", [1, 1, "drop", "repair", 1, 1, 1]),
        ("lone_no_overlap_last", [1, "drop"]),
        ("with_dropped", [1, "drop", 1]),
    ],
)
def test_where_the_published_code_stops(folder: Path, name: str, fate: list[int | str]) -> None:
    ours = cut(folder / f"{name}_in_ORIGINAL_CRASHES.h5")
    assert [len(made) or notes[-1].kind for made, notes in ours] == fate
    whole = cut(folder / "ok_in.h5")
    for (made, _), (same, _) in ((ours[0], whole[0]), (ours[-1], whole[-1])):
        for a, b in zip(made, same, strict=False):
            np.testing.assert_array_equal(a.inputs, b.inputs)
            np.testing.assert_array_equal(a.targets, b.targets)
