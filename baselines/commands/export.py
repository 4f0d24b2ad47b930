"""``csp-baselines export``: the streaming step of a run as a file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from baselines.commands.arguments import Flag
from csp_data.terminal import count_of, loudness

__all__ = ["EXPORT", "Export", "export_run"]

_arg = tyro.conf.arg

EXPORT = """Write the streaming step of a run as a file: samples and state in, prediction and state out.

The filter, the deltas and the normalisation are inside. The written file is checked against the model; FILE.json
beside it says channels, units, rates, samples per call and the state; the file holds the same.
examples/onnx_consumer.py runs it with numpy and onnxruntime alone.

Examples:
  csp-baselines export runs/sample-hiss-s4-mamba-0 --format onnx -o step.onnx
  csp-baselines export runs/sample-hiss-s4-transformer-0 --window 50 --format pt2 -o step.pt2"""


@dataclass(frozen=True)
class Export:
    """Options of ``export``."""

    run: Annotated[Path, tyro.conf.Positional, _arg(metavar="RUN")]
    """Folder of the run, or pretrained:NAME for a model that ships with the package."""
    out: Annotated[Path, _arg(metavar="FILE", aliases=["-o"])]
    """The file to write."""
    format: Literal["auto", "onnx", "pt2"] = "auto"
    """ONNX, or an exported program of torch; auto is pt2 for a file that ends in .pt2, else ONNX."""
    window: Annotated[int | None, _arg(metavar="N")] = None
    """Steps that a Transformer looks back over; needed where the run's own has no window."""
    data: Annotated[Path | None, _arg(metavar="FILE")] = None
    """The prepared file, for runs without interface.json if it is no longer where the run found it."""
    json: Flag = False
    """Print the metadata as JSON."""


def export_run(command: Export, line: str) -> None:
    """Run the command."""
    import torch

    from baselines.commands.stream import model_of, notes_on
    from baselines.stream.export import export

    torch.set_num_threads(1)
    model, interface = model_of(command.run, command.window, command.data)
    notes = list(notes_on(command.run, model, interface))
    record = {"source": _source(command.run), "notes": notes}
    form = None if command.format == "auto" else command.format
    metadata = export(model, interface, command.out, form, model.config.name, record)
    for note in notes if loudness.get().notes else ():
        sys.stderr.write(f"Note: {note}\n")
    if command.json:
        sys.stdout.write(json.dumps(metadata) + "\n")
        return
    sys.stdout.write(
        f"{command.out} and {command.out}.json written; "
        f"{count_of(metadata['samples_per_call'], 'sample')} per call, "
        f"{metadata['largest_difference']:.1e} of the targets' scale from the model at most\n"
    )


def _source(folder: Path) -> dict[str, Any]:
    """Return where a model comes from: the run, and the data that it was trained on."""
    from baselines.pretrained import pretrained_of
    from baselines.runs.run import read_config

    if (shipped := pretrained_of(folder)) is not None:
        named = ("name", "kind", "protocol", "recipe_hash", "licence", "citation")
        return {"run": str(folder), "data": {name: shipped.about["data"][name] for name in named}}
    data = read_config(folder).data
    about = {
        "name": data.name,
        "kind": data.kind,
        "protocol": data.protocol["name"],
        "recipe_hash": data.recipe_hash,
    }
    return {"run": folder.resolve().name, "data": about}
