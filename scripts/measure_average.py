"""Measure what the average of several models' predictions is worth; prints the table of docs/howto-predict.md.

Run ``python scripts/measure_average.py SWEEP`` on a finished sweep of one data set. Nothing is trained.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
import torch

import baselines
from baselines.runs.collect import read_runs
from baselines.runs.interface import dataset_of
from csp_data.predictions import EpisodePrediction, read_predictions


def squared_errors(members: Sequence[Sequence[EpisodePrediction]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared error of the members' average, and their variance, over targets: each (steps,)."""
    pred = np.stack([np.concatenate([episode.pred for episode in member]) for member in members])
    true = np.concatenate([episode.true for episode in members[0]])
    spread = pred.var(axis=0, ddof=1) if len(members) > 1 else np.zeros_like(true)
    return np.square(pred.mean(axis=0) - true).mean(axis=1), spread.mean(axis=1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)

    runs = read_runs([options.sweep])
    dataset = dataset_of(runs[0])
    kinds: dict[str, dict[int, list[EpisodePrediction]]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            kept = Path(folder) / "kept.npz"
            baselines.evaluate(run, dataset, keep=kept)
            kinds[run.config.name][run.config.train.seed] = read_predictions(kept)

    def mean_error(groups: Sequence[Sequence[list[EpisodePrediction]]]) -> float:
        return float(np.mean([squared_errors(group)[0].mean() for group in groups]))

    print("| members | one | average of two | of all | rank correlation of spread and error | spread / error |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    seeds = sorted(next(iter(kinds.values())))
    groups = {f"{name}, {len(of)} seeds": [list(of.values())] for name, of in sorted(kinds.items())}
    groups["one of each kind"] = [[of[seed] for of in kinds.values()] for seed in seeds]
    for label, sets in groups.items():
        ones = [[member] for members in sets for member in members]
        twos = [pair for members in sets for pair in itertools.combinations(members, 2)]
        error, spread = map(np.concatenate, zip(*(squared_errors(members) for members in sets), strict=True))
        rank = scipy.stats.spearmanr(spread, error).statistic
        share = np.sqrt(spread.mean() / error.mean())
        cells = [f"{mean_error(group):.4f}" for group in (ones, twos, sets)]
        print(f"| {label} | {' | '.join(cells)} | {rank:.2f} | {share:.2f} |")


if __name__ == "__main__":
    main()
