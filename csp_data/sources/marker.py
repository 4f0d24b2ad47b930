"""Marker Writing (CSP-Bench): ReSkin pads feel the strokes of a marker that a Kinova arm holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.sources import Found, Source
from csp_data.sources.reskin import LAYOUT, find_pairs, read


def find(root: Path) -> list[Found]:
    """Find the demonstrations below `root`, sorted by name; each is its own group."""
    return [Found(id=id_, group=id_, files=files) for id_, files in find_pairs(root)]


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement of the gripper over each step along the table's x and y."""
    return np.diff(edges["position"][:, :2], axis=0)


SOURCE = Source(find=find, read=read, layout=LAYOUT, targets={"velocity": velocity})
