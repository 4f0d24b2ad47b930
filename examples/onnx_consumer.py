"""Run an exported model with numpy and onnxruntime alone: samples in, predictions out.

    csp-baselines export RUN --format onnx -o step.onnx
    python onnx_consumer.py step.onnx samples.csv > predictions.csv

The CSV has a header with the channels; samples come at the rate that step.onnx.json says. Neither csp-data nor
torch is needed where this runs.
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

    def push(self, sample):
        """Take a sample (C,); return the prediction (D,) if it completes one, else None."""
        self._waiting.append(sample)
        if len(self._waiting) < self.about["samples_per_call"]:
            return None
        samples = np.array(self._waiting, dtype=np.float64)
        prediction, *state = self._session.run(None, {"samples": samples, **self._state})
        self._state = dict(zip(self._state, state, strict=True))
        self._waiting = []
        due = self._calls % self.about["calls_per_prediction"] == self.about["prediction_call"]
        self._calls += 1
        return prediction if due else None


def main(model, samples):
    predictor = Predictor(model)
    interface = predictor.about["interface"]
    writer = csv.writer(sys.stdout)
    writer.writerow(["time", *interface["targets"]])
    with Path(samples).open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            prediction = predictor.push([float(row[name]) for name in interface["inputs"]])
            if prediction is not None:
                writer.writerow([number / interface["input_hz"], *map(float, prediction)])


if __name__ == "__main__":
    main(*sys.argv[1:])
