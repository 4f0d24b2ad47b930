"""eFlesh: five magnetometers under a printed skin, and the force with which a probe presses on it."""

import gzip

import numpy as np

import csp_data
from csp_data.sources.text import numbers


def find(root):
    """Each recording is a folder with two CSV files, and a group of its own."""
    files = sorted(root.rglob("sensor.csv.gz"))
    return [csp_data.Found(f.parent.name, f.parent.name, (f, f.with_name("states.csv.gz"))) for f in files]


def read(found, card, protocol):
    """Read the field (15 channels) and the force, each at its own times; force -1 means: no reading."""
    field, states = (table(path, columns) for path, columns in zip(found.files, (16, 5), strict=True))
    states = states[states[:, 4] != -1]
    streams = {
        "field": csp_data.Stream.of(card.stream("field"), field[:, 0], field[:, 1:]),
        "force": csp_data.Stream.of(card.stream("force"), states[:, 0], states[:, 4:]),
    }
    return csp_data.Recording(found.id, found.group, found.files[0], streams)


def table(path, columns):
    """Read a gzipped CSV file without a header."""
    try:
        return numbers(gzip.decompress(path.read_bytes()), columns, path)
    except (OSError, EOFError) as error:
        raise csp_data.DamagedRecordingError(path, "cannot be read", "a gzipped CSV file", str(error)) from error


def force(edges):
    """Give the force at the end of each step."""
    return np.asarray(edges["force"][1:])


SOURCE = csp_data.Source(find, read, "folders with sensor.csv.gz and states.csv.gz", {"force": force})
