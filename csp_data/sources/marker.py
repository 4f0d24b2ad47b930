"""Marker Writing (CSP-Bench): ReSkin pads feel the strokes of a marker that a Kinova arm holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.sources import Found, Source
from csp_data.sources.demonstrations import find_demonstrations
from csp_data.sources.reskin import FILES, read


def find(root: Path) -> list[Found]:
    """Find the demonstrations below `root`, sorted by name; each is its own group.

    They lie side by side. The slip recordings have the same files, with a folder a box: what lies in several
    folders is none of these.
    """
    found = find_demonstrations(root, FILES, "marker_writing")
    above = {id_.lower().partition("demonstration_")[0] for id_, _ in found}
    return [Found(id=id_, group=id_, files=files) for id_, files in found] if len(above) == 1 else []


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement of the gripper over each step along the table's x and y."""
    return np.diff(edges["position"][:, :2], axis=0)


SOURCE = Source(
    find=find,
    read=read,
    layout=f"folders demonstration_N side by side that hold {FILES[0]} and {FILES[1]}, at any depth",
    targets={"velocity": velocity},
)
