"""Run an exported model with numpy and onnxruntime alone: samples in, predictions out.

    csp-baselines export RUN --format onnx -o step.onnx
    python onnx_consumer.py step.onnx samples.csv > predictions.csv
    sensor | python onnx_consumer.py step.onnx - --resample

The CSV has a header with the channels. Samples come at the rate of the training data (a column time, in s, is
compared with it), or with --resample at any other, with their time. Neither csp-data nor torch is needed for this.
"""

import argparse
import csv
import hashlib
import json
import sys
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnxruntime

CLOCK_ROUNDING_S = 5e-7


class Predictor:
    """A stream: give it samples one by one, in physical units."""

    def __init__(self, path):
        content, beside = Path(path).read_bytes(), Path(f"{path}.json")
        expected = json.loads(beside.read_bytes()).get("sha256") if beside.exists() else None
        if expected not in (None, hashlib.sha256(content).hexdigest()):  # it would predict, too, and wrongly
            raise ValueError(f"expected {path} as it was exported, found other bytes: copy or export it again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one sample is too little work to share
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.about = json.loads(self._session.get_modelmeta().custom_metadata_map["csp-baselines-step"])
        self.reset()

    def reset(self, keep_baseline=False):
        """Begin a new recording, or go on after a gap in one."""
        self._state = {s["name"]: np.full(s["shape"], s["initial"], s["dtype"]) for s in self.about["states"]}
        self._waiting, self._calls = [], 0
        if keep_baseline and self._offset is not None:
            return
        self._first, self._offset = [], 0.0 if self.about["interface"]["baseline"] == "none" else None

    def push(self, sample):
        """Take a sample (C,); return the predictions (D,) that it completes, mostly none or one."""
        if not np.isfinite(sample).all():  # it would stay in the state, or be clipped and taken for a value
            raise ValueError(f"expected finite numbers, found {sample}: repeat the last good sample instead")
        if self._offset is not None:
            return self._step(np.subtract(sample, self._offset))
        # the mean or median of the first samples is subtracted from all: until they are there, they wait
        self._first.append(sample)
        interface = self.about["interface"]
        if len(self._first) < interface["baseline_rows"]:
            return []
        self._offset = getattr(np, interface["baseline"])(self._first, axis=0)
        return [made for row in self._first for made in self.push(row)]

    def time_of(self, number):
        """Return when a prediction, counted from 1, is due, in seconds from the beginning of the stream."""
        calls = (number - 1) * self.about["calls_per_prediction"] + self.about["prediction_call"] + 1
        return calls * self.about["samples_per_call"] / self.about["interface"]["input_hz"]

    def _step(self, sample):
        self._waiting.append(sample)
        if len(self._waiting) < self.about["samples_per_call"]:
            return []
        samples = np.array(self._waiting, dtype=np.float64)
        prediction, *state = self._session.run(None, {"samples": samples, **self._state})
        self._state = dict(zip(self._state, state, strict=True))
        self._waiting = []
        due = self._calls % self.about["calls_per_prediction"] == self.about["prediction_call"]
        self._calls += 1
        return [prediction] if due else []


class Grid:
    """Brings samples with times of their own to the rate of the training data, along the lines between them."""

    def __init__(self, hz, max_gap_s=0.1):
        self.hz, self.max_gap_s, self._latest = hz, max_gap_s, None

    def push(self, time, sample):
        """Take a sample (C,) and its time in s; return the samples at the rate that it makes known, or None.

        None says that the stream begins anew with it: as the first, after a gap, or since its clock was set back.
        """
        before, value = self._latest or (-np.inf, None)
        if -1 < time - before <= 0:
            return []  # it came twice, or late
        self._latest = time, np.asarray(sample)
        if not 0 < time - before <= self.max_gap_s + CLOCK_ROUNDING_S:
            self._start, self._given = time, 0
            return None
        known = int((time - self._start + 1e-6) * self.hz)
        at = self._start + np.arange(self._given + 1, known + 1) / self.hz
        self._given = known
        share = np.minimum((at - before) / (time - before), 1)
        return list(value + share[:, None] * (self._latest[1] - value))


def check_times(times, interface, resample):
    """Stop if times (s) show another rate than in training: predictions would be wrong, and look right."""
    step, hz = np.median(np.diff(times)), interface["input_hz"]
    if resample and not step <= 0.1 + CLOCK_ROUNDING_S:
        sys.exit(f"expected times in seconds, samples at most 0.1 s apart, found a median of {step:g}")
    if not resample and not 1 / 1.2 < step * hz < 1.2:
        sys.exit(f"expected samples {1 / hz:g} s apart ({hz:g} Hz), found a median of {step:g}: pass --resample")


def predictions(predictor, rows, resample):
    """Yield the time (s) of each prediction, and the prediction (D,), as soon as rows (dicts) make it known."""
    interface = predictor.about["interface"]
    grid, begun, count = Grid(interface["input_hz"]), 0.0, 0
    for row in rows:
        sample = [float(row[name]) for name in interface["inputs"]]
        ready = grid.push(float(row["time"]), sample) if resample else [sample]
        if ready is None:
            predictor.reset(keep_baseline=True)
            begun, count = float(row["time"]), 0
            continue
        for one in ready:
            for prediction in predictor.push(one):
                count += 1
                yield begun + predictor.time_of(count), prediction


def main(model, samples, resample):
    predictor = Predictor(model)
    interface = predictor.about["interface"]
    if resample and interface["resample"] != "linear":
        sys.exit(
            "expected a model of samples at single times; this one was trained on means, which Grid does not make"
        )
    with sys.stdin if samples == "-" else Path(samples).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        columns = [*interface["inputs"], *(["time"] if resample else [])]
        if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
            sys.exit(f"expected a header with {', '.join(columns)}, found none of the name {missing[0]}")
        first = list(islice(rows, 25))
        times = [float(row["time"]) for row in first if row.get("time")]
        if len(times) > 1:
            check_times(times, interface, resample)
        print("time", *interface["targets"], sep=",", flush=True)
        for time, prediction in predictions(predictor, chain(first, rows), resample):
            print(time, *map(float, prediction), sep=",", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the exported file")
    parser.add_argument("samples", help="CSV file, - for the standard input")
    parser.add_argument("--resample", action="store_true", help="samples have times and a rate of their own")
    main(**vars(parser.parse_args()))
