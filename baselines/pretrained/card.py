"""The card of a pretrained model: what it is, what it was measured on, what it is not for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from baselines.pretrained.mounting import DRAWS

__all__ = ["SECTIONS", "card_text"]

SECTIONS = ("Use", "Data", "Training", "Measured", "Limits")


def card_text(about: Mapping[str, Any]) -> str:
    """Return the card as Markdown, every number of it from :attr:`Pretrained.about`."""
    data, run = about["data"], about["run"]
    bodies = (_use(about), _data(data), _training(about), _measured(about), _limits(about))
    sections = (f"## {title}\n\n{body}" for title, body in zip(SECTIONS, bodies, strict=True))
    first = f"{run['model']}, {run['parameters']:,} values, trained on {data['name']} ({data['kind_label']})."
    return "\n\n".join([f"# pretrained:{about['name']}", first, *sections]) + "\n"


def _use(about: Mapping[str, Any]) -> str:
    name, data = about["name"], about["data"]
    return (
        f'```python\nimport baselines\n\nstream = baselines.load_pretrained("{name}").streamer()\n'
        "prediction = stream.push(sample)  # an array (0, D) or (1, D)\n```\n\n"
        f"Or `csp-baselines stream pretrained:{name} --input samples.csv`.\n\n"
        f"- Takes {_channels(data['inputs'])} at {data['input_hz']:g} Hz, as the sensor gives them.\n"
        f"- Gives {_channels(data['targets'])} at {data['target_hz']:g} Hz: {data['target']}"
    )


def _data(data: Mapping[str, Any]) -> str:
    parts = "\n".join(
        f"- {part}: {len(facts['recordings'])} recordings, {facts['minutes']:.1f} min "
        f"({', '.join(facts['recordings'])})"
        for part, facts in data["parts"].items()
    )
    return f"{data['title']}, licence {data['licence']}. {data['citation']}\n\n{parts}"


def _training(about: Mapping[str, Any]) -> str:
    data, run = about["data"], about["run"]
    machine = f"{run['device']} ({run['cpu']})" if run["cpu"] else run["device"]
    turns = "" if data["augment"] == "none" else f", turned at random (augment {data['augment']})"
    return (
        f"Protocol {data['protocol']}, recipe {data['recipe_hash']}; seed {run['seed']}, epoch {run['epoch']} of "
        f"{run['epochs']}, chosen on {data['selection']}; {_windows(run)}{turns}. Commit {run['commit']}, "
        f"{machine}, {run['seconds']:.0f} s. Of {about['candidates']} runs ({about['models']} models that stream) "
        f"it is the one with the lowest error on {data['selection']}; {data['report']} had no part in the choice."
    )


def _measured(about: Mapping[str, Any]) -> str:
    data, run, unit = about["data"], about["run"], about["data"]["unit"]
    others = "; ".join(f"{name} {error:.4f}" for name, error in about["references"].items())
    return (
        f"In {_windows(run)} the model starts afresh at each, as in training; as a stream it never does.\n\n"
        + _table(f"part, mean squared error ({unit})²", about["errors"])
        + f"\n\nReferences on {data['report']}, windows: {others}.\n\n"
        + _otherwise(about)
        + _table(f"{data['report']} recording, root mean squared error ({unit})", about["recordings"])
    )


def _otherwise(about: Mapping[str, Any]) -> str:
    error, data = about["mounted_otherwise"], about["data"]
    if error is None:
        return ""
    return (
        f"Each {data['report']} recording turned by a random rotation, as if the sensor had been mounted "
        f"otherwise, windows: {error:.4f} ({data['unit']})², mean of {DRAWS} draws.\n\n"
    )


def _limits(about: Mapping[str, Any]) -> str:
    data = about["data"]
    own_error, otherwise = about["errors"][data["report"]]["windows"], about["mounted_otherwise"]
    better = [f"{name} ({error:.4f})" for name, error in about["references"].items() if error < own_error]
    statements: Iterable[str] = (
        *(
            [f"On {data['report']} the reference {' and '.join(better)} is better than it ({own_error:.4f})."]
            if better
            else []
        ),
        *(
            [
                "It knows one mounting of the sensor, that of the recordings: where the sensor's axes point "
                f"elsewhere in the device, its error is {otherwise:.4f} instead of {own_error:.4f}."
            ]
            if otherwise is not None and data["augment"] == "none"
            else []
        ),
        f"It knows {data['parts']['train']['minutes']:.0f} minutes of one set of recordings. Other sensors"
        f"{', other mountings' if otherwise is None else ''} and other movements were not tested: expect it to "
        "fail there, without saying so.",
        f"It is the best of {about['candidates']} runs on {data['selection']}, which flatters that number: go by "
        f"{data['report']}.",
        f"{len(about['recordings'])} recordings cannot rank models, and they differ more than the average says: "
        "see the table above.",
        "Errors add up: what is summed from its predictions over minutes drifts.",
        *(f"Known defect of the data: {defect}" for defect in data["defects"]),
    )
    return "\n".join(f"- {line}" for line in statements)


def _table(label: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"| {name} | {errors['windows']:.4f} | {errors['stream']:.4f} |" for name, errors in rows.items()]
    return "\n".join([f"| {label} | in windows | as a stream |", "| --- | ---: | ---: |", *lines])


def _windows(run: Mapping[str, Any]) -> str:
    return "whole episodes" if run["window_s"] is None else f"windows of {run['window_s']:g} s"


def _channels(channels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({unit})" for name, unit in channels.items())
