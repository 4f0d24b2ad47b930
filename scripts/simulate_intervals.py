"""Simulate tables whose true differences are known, and count what their intervals and marks get right.

Run ``python scripts/simulate_intervals.py``; it prints the shares that docs/results.md, docs/howto-results.md and
docs/howto-crossvalidation.md state. Nothing here is measured on a sensor: errors are drawn, each case from seed 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import baselines
from baselines.results.folds import across_folds
from baselines.tables.significance import compare, paired_interval, wilcoxon

DRAWS = 1500
TABLES = 500
MODELS = 10


def people(rng: np.random.Generator, number: int, each: int, between: float) -> tuple[float, float]:
    """Return how often an interval holds the 0 of two equal models, and how often these are marked as different.

    `number` people have `each` recordings; `between` is the share of people in the variance of the difference.
    """
    held = marked = 0
    for _ in range(DRAWS):
        of_people = np.repeat(rng.normal(size=number), each)
        difference = np.sqrt(between) * of_people + np.sqrt(1 - between) * rng.normal(size=number * each)
        base = rng.gamma(2, 1, number * each)
        first, second = (_with_seeds(rng, errors, 3, 0.1, 0.1) for errors in (base + difference, base))
        low, high = paired_interval(first, second, np.ones(number * each))
        p = wilcoxon(first.mean(axis=0), second.mean(axis=0))
        held += low <= 0 <= high
        marked += p is not None and p < 0.05 and not low <= 0 <= high
    return held / DRAWS, marked / DRAWS


def marks(rng: np.random.Generator, recordings: int, seeds: int, spread: float) -> tuple[float, float]:
    """Return in how many tables of models that differ by their seeds alone any is marked.

    They are compared with the best on val, and with one that is named beforehand. `spread` is that of seeds, where
    errors of two models on a recording differ by 1.
    """
    marked = np.zeros(2)
    for _ in range(TABLES):
        base = rng.gamma(2, 1, recordings)
        models, on_val = [], []
        for _ in range(MODELS):
            own = rng.normal(0, np.sqrt(0.5), recordings)
            shift = spread * rng.normal(size=(seeds, 1))
            models.append(base + own + shift + spread * rng.normal(size=(seeds, recordings)))
            on_val.append(shift.mean() + rng.normal(0, np.sqrt(0.5)) / np.sqrt(recordings / 3))
        for i, against in enumerate((int(np.argmin(on_val)), 0)):
            found = compare(models, against, np.ones(recordings))
            marked[i] += any(comparison.significant for comparison in found if comparison is not None)
    return float(marked[0] / TABLES), float(marked[1] / TABLES)


def unequal(rng: np.random.Generator, study: str, ratio: float) -> float:
    """Return how often an interval holds the difference of a model with `ratio` times the error of another.

    Recordings are as unequal as those of a study, and seeds and models differ as they do there, on a log scale.
    """
    rows = across_folds(list(baselines.load_results(study)))
    names = list(rows[0].recordings)
    steps = np.array([rows[0].recordings[name].steps for name in names], dtype=float)
    by_model: dict[str, list[list[float]]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append([row.recordings[name].mse for name in names])
    errors = [np.array(seeds) for seeds in by_model.values() if len(seeds) > 1]
    hardness = np.exp(np.mean([np.log(e.mean(axis=0)) for e in errors], axis=0))
    hard = np.log(hardness).std(ddof=1)
    relative = [np.log(e.mean(axis=0) / hardness) for e in errors]
    of_models = np.std([r - r.mean() for r in relative], ddof=1)
    of_each_seed = np.mean([np.log(e).std(axis=0, ddof=1).mean() for e in errors])
    of_seeds = np.mean([np.log(e).mean(axis=1).std(ddof=1) for e in errors])
    count, seeds = len(steps), len(errors[0])

    def drawn(size: float, hardness: np.ndarray) -> np.ndarray:
        model = np.exp(of_models * rng.normal(size=count) - of_models**2 / 2)
        noise = of_seeds * rng.normal(size=(seeds, 1)) + of_each_seed * rng.normal(size=(seeds, count))
        return size * hardness * model * np.exp(noise - (of_seeds**2 + of_each_seed**2) / 2)

    truth, held = np.exp(hard**2 / 2) * (ratio - 1), 0
    for _ in range(DRAWS):
        drawn_hardness, weights = np.exp(hard * rng.normal(size=count)), rng.choice(steps, count)
        low, high = paired_interval(drawn(ratio, drawn_hardness), drawn(1.0, drawn_hardness), weights)
        held += low <= truth <= high
    return float(held / DRAWS)


def _with_seeds(
    rng: np.random.Generator, errors: np.ndarray, seeds: int, shift: float, noise: float
) -> np.ndarray:
    return errors + shift * rng.normal(size=(seeds, 1)) + noise * rng.normal(size=(seeds, len(errors)))


def main() -> None:
    """Print every share."""

    def seeded(case: Callable[..., object], *arguments: object) -> object:
        return case(np.random.default_rng(0), *arguments)

    held_and_marked = seeded(people, 5, 12, 0.5)
    print("5 people of 12 recordings, half the variance between people: held, marked", held_and_marked, flush=True)
    for recordings, seeds, spread in ((18, 5, 0.1), (50, 5, 0.1), (18, 5, 0.3), (50, 5, 0.3), (18, 1, 0.3)):
        shares = seeded(marks, recordings, seeds, spread)
        print(
            f"{recordings} recordings, {seeds} seeds, spread {spread}: marked against best, named",
            shares,
            flush=True,
        )
    for study in ("broad-folds", "broad"):
        shares = tuple(seeded(unequal, study, ratio) for ratio in (1.0, 1.1, 1.3))
        print(f"as unequal as {study}: held with 1.0, 1.1, 1.3 times the error", shares, flush=True)


if __name__ == "__main__":
    main()
