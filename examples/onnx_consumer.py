"""Run an exported model with numpy and onnxruntime alone: samples in, predictions out.

    csp-baselines export RUN --format onnx -o step.onnx
    python onnx_consumer.py step.onnx samples.csv > predictions.csv

The CSV has a header with the channels; samples come at the rate that step.onnx.json says, as nothing resamples
them here (a column time, in s, is compared with it). Neither csp-data nor torch is needed where this runs.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Predictor:
    """A stream: give it samples one by one, in physical units."""

    def __init__(self, path):
        self.about = json.loads(Path(path + ".json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one sample is too little work to share
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.reset()

    def reset(self):
        """Begin a new recording."""
        self._state = {s["name"]: np.full(s["shape"], s["initial"], s["dtype"]) for s in self.about["states"]}
        self._waiting, self._calls = [], 0
        self._first, self._offset = [], 0.0 if self.about["interface"]["baseline"] == "none" else None

    def push(self, sample):
        """Take a sample (C,); return the predictions (D,) that it completes, mostly none or one."""
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


def check_rate(times, hz):
    """Stop if times (s) show another rate than in training: predictions would be wrong, and look right."""
    step = np.median(np.diff(times))
    if not 1 / 1.2 < step * hz < 1.2:
        sys.exit(
            f"expected samples {1 / hz:g} s apart ({hz:g} Hz), found a median of {step:g}: resample them first"
        )


def main(model, samples):
    predictor = Predictor(model)
    interface = predictor.about["interface"]
    with Path(samples).open(newline="", encoding="utf-8") as file:
        times = [float(row["time"]) for row in csv.DictReader(file) if row.get("time")]
    if len(times) > 1:
        check_rate(times, interface["input_hz"])
    writer = csv.writer(sys.stdout)
    writer.writerow(["time", *interface["targets"]])
    with Path(samples).open(newline="", encoding="utf-8") as file:
        count = 0
        for row in csv.DictReader(file):
            for prediction in predictor.push([float(row[name]) for name in interface["inputs"]]):
                count += 1
                writer.writerow([predictor.time_of(count), *map(float, prediction)])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
