"""Export the streaming step of a trained model to a file that runs without this package: ``pt2`` or ``onnx``.

Beside the file lies ``<file>.json``: channels, units, rates, samples per call, and the state tensors. The file
itself holds the same, since the two are parted easily. Clipping, filter, deltas and normalisation are inside the
graph, so a consumer passes samples and state on. Only a baseline, where the protocol has one, is left to it
(``before_the_graph``): it is known only after some rows, or beforehand.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import csp_data
from baselines.errors import CspDataError, ExportError, MissingExtraError, OptionError
from baselines.files import atomic_json
from baselines.models.own import OwnModel
from baselines.models.own_window import WindowedModel
from baselines.runs.interface import Interface
from baselines.stream.engine import Arrays, Model, streamable
from baselines.stream.own_step import AS_IT_IS
from baselines.stream.step_module import StepModule
from baselines.stream.streamer import Streamer
from csp_data.files import read_json
from csp_data.home import expanded
from csp_data.options import check_choice
from csp_data.output import output_path, temporary_beside

__all__ = ["FORMATS", "ExportError", "export", "load_step"]

FORMATS = ("onnx", "pt2")
FORMAT, FORMAT_VERSION = "csp-baselines-step", 1
OPSET, IR_VERSION = 18, 8
"""Of ONNX: the earliest that torch writes, which earlier runtimes on robots read, too."""
TOLERANCE = 1e-5
"""Largest difference to the model, in units of the targets' scale, that passes the check."""
CALLS = 24
"""Calls of the step in the check, or more where three predictions take more."""

Step = Callable[[npt.NDArray[np.float64], Arrays], tuple[npt.NDArray[np.float64], Arrays]]
"""Samples (n, C) and state to the output (D,) and the next state."""


def export(
    model: nn.Module,
    interface: Interface,
    path: Path | str,
    format: str | None = None,
    name: str = "",
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the streaming step of a model, check the written file against the model, and write what it needs.

    Parameters
    ----------
    model
        Of any kind; a Transformer must have a window (:func:`baselines.stream.streamer.with_window`), a model of
        one's own a ``step``.
    interface
        Of the data it was trained on.
    path
        The file to write; ``path`` with ``.json`` appended is written too.
    format
        ``"onnx"`` (checked in ONNX Runtime) or ``"pt2"`` (``torch.export``); by default ``"pt2"`` for a path that
        ends so, else ``"onnx"``.
    name
        Of the model, for the record.
    record
        More for the record, as JSON values: where the model comes from, what else is to be known of it.

    Returns
    -------
    dict
        The metadata, as written.

    Raises
    ------
    OptionError
        If the format is not known, the model is a reference, the filter not causal, or the model has a Transformer
        without a window.
    MissingExtraError
        If ONNX is not installed.
    ExportError
        If the exporter refuses the model, a model of one's own has no ``step``, or the file predicts something
        else: nothing is then left.
    ModelError
        If the state of a model of one's own has no fixed size.
    """
    model = streamable(model)
    if isinstance(model, WindowedModel) or (isinstance(model, OwnModel) and model.lacking):
        raise ExportError(
            f"{model.config.source}: expected a model with a step of its own, as an exported state has a fixed "
            "size. csp-baselines stream --window N runs this one."
        )
    path = output_path(path, "path")
    form = ("pt2" if path.suffix == ".pt2" else "onnx") if format is None else format
    check_choice("format", form, FORMATS)
    if form == "onnx":
        _require_onnx()
    with _refusals_named(model):
        model = copy.deepcopy(model).float().cpu().eval()  # the caller's stays what and where it is
    reference = Streamer.of(model, interface, "reference", baseline="none")
    temporary = temporary_beside(path, f".{form}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            module = StepModule(model, interface).eval()
            metadata = describe(module, form, name) | dict(record or {})
            with _refusals_named(model):
                _write_program(module, temporary, form, json.dumps(metadata))
        with _refusals_named(model):
            metadata["largest_difference"] = check(temporary, metadata, reference)
        metadata["sha256"] = hashlib.sha256(temporary.read_bytes()).hexdigest()
        temporary.replace(path)
    except OSError as error:
        raise OptionError("path", str(path), f"a file that can be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, nothing is left
            temporary.unlink(missing_ok=True)
    atomic_json(path.with_name(path.name + ".json"), metadata)
    return metadata


@contextmanager
def _refusals_named(model: Model) -> Iterator[None]:
    """Raise :class:`ExportError` for what the exporters raise; over a model of one's own that may be anything."""
    known: tuple[type[Exception], ...] = (RuntimeError, torch._dynamo.exc.TorchDynamoException)
    try:
        yield
    except (CspDataError, OSError):
        raise
    except Exception as error:
        own = isinstance(model, OwnModel)
        if not own and not isinstance(error, known):
            raise
        what = f"the step of {model.config.source}" if isinstance(model, OwnModel) else "this model"
        reason = _first_line(error)
        more = f". {AS_IT_IS}" if own else ""
        raise ExportError(f"the exporter of torch {torch.__version__} refuses {what}: {reason}{more}") from error


def _first_line(error: BaseException) -> str:
    """Return the first line of what was wrong to begin with, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return (text or type(error).__name__).splitlines()[0].removesuffix(".")


def describe(module: StepModule, form: str, name: str) -> dict[str, Any]:
    """Return all that a consumer must know, as JSON values."""
    states = [
        {
            "name": key,
            "next": f"next_{key}",
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "initial": 0,
        }
        for key, value in module.states.items()
    ]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": name,
        "file_format": form,
        "samples_per_call": module.samples,
        "calls_per_prediction": module.period,
        "prediction_call": module.due,
        "samples": {
            "name": "samples",
            "shape": [module.samples, len(module.interface.inputs)],
            "dtype": "float64",
        },
        "prediction": {"name": "prediction", "shape": [len(module.interface.targets)], "dtype": "float64"},
        "states": states,
        "interface": module.interface.to_dict(),
        "inside_the_graph": ["raw_clip", "lowpass", "deltas", "clip", "normalization"],
        "before_the_graph": [] if module.interface.baseline == "none" else ["baseline"],
        "made_by": {"csp_data": csp_data.__version__, "torch": torch.__version__},
    }


def check(path: Path, metadata: dict[str, Any], reference: Streamer) -> float:
    """Compare a written file with the model over a made-up stream; return the largest difference.

    Returns
    -------
    float
        In units of the targets' scale.

    Raises
    ------
    ExportError
        If it is more than :data:`TOLERANCE` (relative for outputs above 1).
    """
    samples_per_call = metadata["samples_per_call"]
    period, due = metadata["calls_per_prediction"], metadata["prediction_call"]
    calls = max(CALLS, 3 * period)
    norm, width = reference.normalization, reference.channels
    noise = np.random.default_rng(0).normal(size=(calls * samples_per_call, width))
    samples = norm.inputs.shift[:width] + norm.inputs.scale[:width] * noise
    expected = norm.targets.apply(reference.push(samples))
    step = load_step(path, metadata)
    state: Arrays = {s["name"]: np.zeros(s["shape"], s["dtype"]) for s in metadata["states"]}
    outputs = []
    for call, piece in enumerate(samples.reshape(calls, samples_per_call, width)):
        output, state = step(piece, state)
        if call % period == due:
            outputs.append(output)
    difference = np.abs(norm.targets.apply(np.array(outputs)) - expected)
    if not (difference <= TOLERANCE * np.maximum(1.0, np.abs(expected))).all():
        own = isinstance(reference.model, OwnModel)
        raise ExportError(
            f"the exported {metadata['model']} differs from the model by {difference.max():.2g} of the targets' "
            f"scale; expected at most {TOLERANCE:g}. Nothing was written. "
            + (AS_IT_IS if own else "Please report it with the run's config.json.")
        )
    return float(difference.max())


def load_step(path: Path | str, metadata: Mapping[str, Any] | None = None) -> Step:
    """Return the step in a file that :func:`export` wrote, run by ONNX Runtime or torch on one thread.

    Parameters
    ----------
    path
        The file.
    metadata
        What :func:`export` returned; by default what it wrote beside the file.

    Returns
    -------
    callable
        ``prediction, state = step(samples, state)``: takes samples (``metadata["samples_per_call"]``, C), float64
        in physical units, and gives a prediction (D,), float64 in physical units, which is one at every
        ``metadata["calls_per_prediction"]``-th call alone, first at call ``metadata["prediction_call"]``, counted
        from 0. The first state is ``{s["name"]: np.zeros(s["shape"], s["dtype"]) for s in metadata["states"]}``.

    Raises
    ------
    ExportError
        If one of the files is missing, or is not what :func:`export` wrote.
    """
    file = expanded(path)
    try:
        metadata = read_json(Path(f"{file}.json")) if metadata is None else metadata
        names = [s["name"] for s in metadata["states"]]
        onnx, content = metadata["file_format"] == "onnx", file.read_bytes()
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ExportError(f"{path}: cannot be read as an exported step, with its .json ({reason}).") from error
    digest = hashlib.sha256(content).hexdigest()
    if metadata.get("sha256", digest) != digest:  # earlier versions wrote none
        raise ExportError(
            f"{path}: damaged, or of another export than its .json (SHA-256 {metadata['sha256']} there, {digest} "
            "here). Copy both again, or export the model again."
        )
    if onnx:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(samples: npt.NDArray[np.float64], state: Arrays) -> tuple[npt.NDArray[np.float64], Arrays]:
            prediction, *new = session.run(None, {"samples": samples, **state})
            return prediction, dict(zip(names, new, strict=True))

        return run
    with _exporters_silenced():
        module = torch.export.load(io.BytesIO(content)).module()

    def run_torch(samples: npt.NDArray[np.float64], state: Arrays) -> tuple[npt.NDArray[np.float64], Arrays]:
        with torch.no_grad():
            inputs = [torch.from_numpy(state[name]) for name in names]
            prediction, *new = module(torch.from_numpy(samples), *inputs)
        return prediction.numpy(), {name: value.numpy() for name, value in zip(names, new, strict=True)}

    return run_torch


def _write_program(module: StepModule, path: Path, form: str, metadata: str) -> None:
    samples = torch.zeros(module.samples, len(module.interface.inputs), dtype=torch.float64)
    with _exporters_silenced():
        program = torch.export.export(module, (samples, *module.states.values()), strict=False)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names folders of this machine
        if form == "pt2":
            torch.export.save(program, path, extra_files={f"{FORMAT}.json": metadata})
            return
        onnx_program: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["samples", *module.states],
            output_names=["prediction", *(f"next_{name}" for name in module.states)],
        )
        onnx_program.model.ir_version = IR_VERSION
        onnx_program.model.metadata_props[FORMAT] = metadata
        onnx_program.save(path)


@contextmanager
def _exporters_silenced() -> Iterator[None]:
    """Keep the exporters' own notes (deprecations inside torch, progress) from the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        unread = io.StringIO()  # the graph so far, at a decision that cannot be exported
        with warnings.catch_warnings(), redirect_stdout(unread), redirect_stderr(unread):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _require_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError("export to ONNX", package, "onnx") from error
