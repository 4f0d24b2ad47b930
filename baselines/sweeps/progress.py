"""Show the progress of a sweep: a table that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from baselines.cpu.threads import compiling_note
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.worker import Outcome
from baselines.training.ledger import LEDGER, read_lines
from csp_data.terminal import at_terminal, count_of, stdout_is_result

__all__ = ["Progress", "draws_bars"]

REFRESH_S = 1.0
COMPILING_LABEL = "compiling loops"


def draws_bars(progress: bool) -> bool:
    """Whether preparing draws bars: where Python asks for progress, as in a notebook, and in a terminal."""
    return progress and (at_terminal(sys.stderr) or not stdout_is_result.get())


class Progress:
    """Counts outcomes and shows them.

    Parameters
    ----------
    runs
        All runs of the sweep.
    jobs
        Runs at once, for the time that is left.
    shown
        Whether to show anything.
    file
        Where to; by default stderr.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], jobs: int, *, shown: bool = True, file: TextIO | None = None
    ) -> None:
        self.runs = {planned.folder: planned for planned in runs}
        self.jobs, self.shown, self.file = max(1, jobs), shown, file or sys.stderr
        self.outcomes: dict[Path, Outcome] = {}
        self._lines = 0
        self._announced = False
        self._mutex = threading.Lock()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw the table again every second, if this is a terminal; elsewhere say once that loops are compiled."""
        if not self.shown:
            yield
            return
        stopped, terminal = threading.Event(), self.file.isatty()

        def refresh() -> None:
            while not stopped.wait(REFRESH_S) and not self._announced:
                (self._draw if terminal else self._announce_compiling)()

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            if terminal:
                self._draw()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome and show it."""
        self.outcomes[outcome.folder] = outcome
        if not self.shown:
            return
        if self.file.isatty():
            self._draw()
            return
        label = self.runs[outcome.folder].label
        result = {"done": f"done in {outcome.seconds:.1f} s", "skipped": "was done before"}.get(
            outcome.state, f"FAILED: {outcome.error.splitlines()[-1] if outcome.error else ''}"
        )
        print(
            f"[{len(self.outcomes)}/{len(self.runs)}] {label}: {result}{self._time_left()}",
            file=self.file,
            flush=True,
        )

    def running(self) -> list[tuple[PlannedRun, str]]:
        """Return the runs that a worker has taken up, and what it is at."""
        taken_up = []
        for folder, planned in self.runs.items():
            if folder in self.outcomes:
                continue
            lines = read_lines(folder / LEDGER)
            event = lines[-1].get("event") if lines else None
            if event in ("start", "compile", "epoch"):
                epochs = sum(line.get("event") == "epoch" for line in lines)
                activity = f"epoch {epochs} of {planned.train.epochs}"
                taken_up.append((planned, COMPILING_LABEL if event == "compile" else activity))
        return taken_up

    def seconds_left(self) -> float | None:
        """Guess from the runs that were executed here: of the same model where there are, else of any."""
        by_model: dict[str, list[float]] = {}
        for folder, outcome in self.outcomes.items():
            if outcome.state == "done":
                by_model.setdefault(self.runs[folder].model, []).append(outcome.seconds)
        if not by_model:
            return None
        overall = [seconds for of_model in by_model.values() for seconds in of_model]
        left = (planned.model for folder, planned in self.runs.items() if folder not in self.outcomes)
        return sum(statistics.fmean(by_model.get(model, overall)) for model in left) / self.jobs

    def table(self) -> list[str]:
        """Return the lines of the table."""
        running = self.running()
        models = list(dict.fromkeys(planned.model for planned in self.runs.values()))
        width = max(len("model"), *(len(model) for model in models))
        lines = [f"{'model':<{width}}  done  running  failed  waiting"]
        for model in models:
            folders = [folder for folder, planned in self.runs.items() if planned.model == model]
            states = [self.outcomes[folder].state for folder in folders if folder in self.outcomes]
            running_count, failed = sum(planned.model == model for planned, _ in running), states.count("failed")
            waiting = len(folders) - len(states) - running_count
            done = len(states) - failed
            lines.append(f"{model:<{width}}  {done:4d}  {running_count:7d}  {failed:6d}  {waiting:7d}")
        lines += [f"  {planned.label}: {activity}" for planned, activity in running[: self.jobs]]
        return [*lines, self.summary() + self._time_left()]

    def summary(self) -> str:
        """Return the counts in one line."""
        states = [outcome.state for outcome in self.outcomes.values()]
        failed, skipped = states.count("failed"), states.count("skipped")
        done = len(states) - failed
        earlier = f" ({skipped} of them before)" if skipped else ""
        runs, left = count_of(len(self.runs), "run"), len(self.runs) - len(states)
        return f"{runs}: {done} done{earlier}, {failed} failed, {left} left"

    def _time_left(self) -> str:
        seconds = self.seconds_left()
        if seconds is None or len(self.outcomes) == len(self.runs):
            return ""
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"; about {f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s'} left"

    def _announce_compiling(self) -> None:
        """Say that loops are compiled, the first time that some are."""
        if any(activity == COMPILING_LABEL for _, activity in self.running()):
            self._announced = True
            print(compiling_note(), file=self.file, flush=True)

    def _draw(self) -> None:
        with self._mutex:
            size = shutil.get_terminal_size()
            lines = [line[: size.columns - 1] for line in self.table()[-(size.lines - 1) :]]
            back = f"\x1b[{self._lines}F" if self._lines else ""
            self.file.write(back + "\x1b[J" + "".join(line + "\n" for line in lines))
            self.file.flush()
            self._lines = len(lines)
