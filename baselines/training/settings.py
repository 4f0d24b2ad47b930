"""Settings of a training and the names of its files, in a module that does not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from baselines.errors import OptionError
from csp_data.options import check_number, is_number

if TYPE_CHECKING:
    from baselines.training.data import Part, Windows

__all__ = ["BEST", "LAST", "METRICS", "Form", "TrainConfig", "window_steps"]

BEST, LAST, METRICS = "best.safetensors", "last.safetensors", "metrics.jsonl"
"""What a training writes into its folder."""

Form = Literal["eager", "inductor", "graph", "inductor-graph"]
"""Forms of a training step, see :func:`baselines.training.step.make_step`."""

_CHOICES = {
    "schedule": ("cosine", "constant"),
    "precision": ("fp32", "tf32", "bf16"),
    "compile": ("auto", *get_args(Form)),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every choice of a training.

    Parameters
    ----------
    epochs
        Passes over the training windows; 0 leaves the weights that a run begins with as they are
        (:func:`baselines.run`).
    patience
        Stop early, once so many epochs in a row were no better than the best before them; ``None`` never does. The
        schedule of the learning rate is that of all ``epochs``.
    batch
        Windows in each step.
    lr
        Learning rate of Adam (S4's dynamics may have their own, see ``S4Config.learning_rate``).
    schedule
        ``"cosine"`` lets the learning rate fall to zero along half a cosine; ``"constant"`` keeps it.
    clip_norm
        Scale the gradient down to this norm if it is larger; ``None`` leaves it as it is.
    window_s
        Length in seconds of the windows that models are trained and evaluated on; ``None`` for that of the
        protocol's windows, or whole episodes when it has none.
    window_stride_s
        Seconds from one training window to the next; ``None`` for the length, or the protocol's with
        ``window_s=None``. Evaluation windows never overlap.
    seed
        Seed of the initial weights, the order of batches and dropout.
    precision
        Precision of the training steps: ``"fp32"``, ``"tf32"`` or ``"bf16"``, see
        :func:`baselines.training.step.numerics`. Evaluation is always in float32.
    compile
        ``"eager"`` runs the step as it stands; ``"inductor"`` has torch's compiler fuse its small operations (for
        GPUs: on a CPU the package's own loops are faster); ``"graph"`` captures it in a CUDA graph,
        ``"inductor-graph"`` both. All but the first pad batches to few shapes, each compiled once. None of them
        has been run on a GPU by its authors, so ``"auto"`` is ``"eager"`` for now.
    """

    epochs: int = 60
    patience: int | None = None
    batch: int = 8
    lr: float = 3e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float | None = None
    window_s: float | None = 20.0
    window_stride_s: float | None = 4.0
    seed: int = 0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    compile: Literal["auto"] | Form = "auto"

    def __post_init__(self) -> None:
        for option, least in (("epochs", 0), ("patience", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, option)
            if value is None and option == "patience":
                continue
            check_number(option, value, f"a whole number of at least {least}", least=least, whole=True)
            object.__setattr__(self, option, int(value))  # one of numpy's is not JSON
        if self.seed >= 2**64:
            raise OptionError("seed", self.seed, "a whole number below 2^64, as torch's generators take")
        for option in ("lr", "clip_norm", "window_s", "window_stride_s"):
            value = getattr(self, option)
            if value is None and option != "lr":
                continue
            expected = "a number above 0" if option == "lr" else "a number above 0, or None"
            check_number(option, value, expected, above=0, below=math.inf)
            object.__setattr__(self, option, float(value))  # 10 and 10.0 are the same training
        for option, known in _CHOICES.items():
            if getattr(self, option) not in known:
                raise OptionError(option, getattr(self, option), " or ".join(known))
        if self.window_s is None and self.window_stride_s is not None:
            raise OptionError("window_stride_s", self.window_stride_s, "None, as window_s=None")

    def windows(self, part: Part) -> tuple[Windows, int | None]:
        """Cut a part for training; also return a window's length in target steps (``None``: whole episodes)."""
        from baselines.training.data import cut_windows

        length, stride = (part.window or (None, None)) if self.window_s is None else self.steps(part.target_hz)
        return cut_windows(part, length, stride), length

    def steps(self, target_hz: float) -> tuple[int | None, int | None]:
        """Return ``window_s`` and ``window_stride_s`` in target steps; :class:`OptionError` if they are none."""
        return (
            window_steps("window_s", self.window_s, target_hz),
            window_steps("window_stride_s", self.window_stride_s, target_hz),
        )


def window_steps(option: str, seconds: float | None, target_hz: float) -> int | None:
    """Turn a length in seconds into target steps; ``None`` stays.

    Raises
    ------
    OptionError
        If it is not a positive, whole number of steps.
    """
    if seconds is None:
        return None
    steps = round(seconds * target_hz) if is_number(seconds) and math.isfinite(seconds) else 0
    if steps < 1 or abs(steps - seconds * target_hz) > 1e-6 * steps:
        raise OptionError(option, seconds, f"a positive multiple of {1 / target_hz:g} s, one target step")
    return steps
