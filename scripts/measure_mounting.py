"""Measure what runs are worth where the sensor is mounted otherwise; prints the table of docs/howto-ablations.md.

Run ``python scripts/measure_mounting.py SWEEP --raw FOLDER`` on a sweep of ``broad`` with
``data.augment=none,mounting``. Nothing is trained. The pretrained models are measured too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import baselines
import csp_data
from baselines.pretrained import pretrained_names
from baselines.pretrained.mounting import mounting_error
from baselines.runs.collect import read_runs
from baselines.trained import load_model
from baselines.training.data import load_part
from baselines.training.evaluate import predict


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--raw", required=True, help="folder of the trials of broad")
    options = parser.parse_args()
    torch.set_num_threads(1)

    dataset = csp_data.load("broad", raw=options.raw)
    part = load_part(dataset, dataset.report)
    rows: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def measure(name: str, augment: str, model: torch.nn.Module, length: int | None) -> None:
        errors = [episode.pred - episode.true for episode in predict(model, part, length)]
        otherwise = mounting_error(model, dataset, dataset.report, length)
        assert otherwise is not None
        rows[name, augment].append((float(np.square(np.concatenate(errors)).mean()), otherwise))

    for run in read_runs([options.sweep]):
        length = run.config.train.windows(part)[1]
        measure(run.config.name, str(run.config.data.protocol["augment"]), load_model(run, "cpu"), length)
    for name in pretrained_names():
        shipped = baselines.load_pretrained(name)
        measure(f"pretrained:{name}", shipped.about["data"]["augment"], shipped.model, 100)

    print("| model | trained with augment | MSE as recorded (m/s)² | mounted otherwise |")
    for (name, augment), values in sorted(rows.items()):
        cells = [f"{np.mean(v):.4f} ± {np.std(v, ddof=min(1, len(v) - 1)):.4f}" for v in zip(*values, strict=True)]
        print(f"| {name} ({len(values)}) | {augment} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
