"""Measure preparing all six sets, training steps, or streaming, and put the table into docs/performance.md.

    OMP_NUM_THREADS=1 python scripts/make_performance.py            # trees of half an hour each
    OMP_NUM_THREADS=1 python scripts/make_performance.py --full     # as long as the publishers' (9 GB)
    OMP_NUM_THREADS=1 python scripts/make_performance.py --streams  # one core, two minutes
    python scripts/make_performance.py --steps                      # two cores, five minutes

Other options go to ``csp-data bench prepare`` (``--raw FOLDER`` keeps the trees). What was measured is kept in
docs/performance; ``--render`` writes the tables from there without measuring.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from baselines.bench import stream as bench_stream
from baselines.runs.environment import commit

DOCS = Path(__file__).parent.parent / "docs"
KEPT, PAGE = DOCS / "performance", DOCS / "performance.md"
TARGETS = {"totalcapture": 5.0, "vector": 0.5, "ronin": 1.0, "marker": 0.25, "slip": 0.25, "joystick": 0.25}
PUBLISHED = {
    "totalcapture": "830",
    "vector": "53",
    "ronin": "13",
    **dict.fromkeys(("marker", "slip", "joystick"), "2.5 to 3"),
}


STEPS = ["csp-baselines", "bench", "--parts", "steps", "--batches", "4", "--threads"]
COMMANDS = {
    "prepare": ("csp_data", ["csp-data", "bench", "prepare"]),
    "steps": ("baselines", [*STEPS, "2"]),
    "one_thread": ("baselines", [*STEPS, "1"]),
    "streams": ("baselines", ["csp-baselines", "bench", "--parts", "streams", "--threads", "1"]),
    "paced": ("baselines", ["csp-baselines", "bench", "--parts", "streams", "--threads", "1", "--paced"]),
}
PACED = ["--samples", "1000", "--models", "hiss-s4-mamba", "hiss-s4-s4", "hiss-mamba-mamba"]


def measure(part: str, options: list[str], code: str | None) -> dict[str, Any]:
    """Run a benchmark and return its rows with what they were measured on; ``code`` is the commit."""
    module, command = COMMANDS[part][0], [*COMMANDS[part][1], *options]
    load = os.getloadavg()[0]
    said = subprocess.run(
        [sys.executable, "-m", module, *command[1:], "--json"], check=True, stdout=subprocess.PIPE
    )
    found = json.loads(said.stdout)
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "command": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '(unset)')} {' '.join(_shown(command))}",
        "commit": code,
        "machine": f"{os.cpu_count()} cores ({cpu}), {platform.system()}, Python {platform.python_version()}",
        "load_before": load,
        "rows": found if part == "prepare" else found["streams"] or found["steps"],
    }


def _shown(command: list[str]) -> list[str]:
    """Return a command without the folder's name, which says nothing to others."""
    return ["FOLDER" if before == "--raw" else word for before, word in zip(["", *command], command, strict=False)]


def _how(measured: dict[str, Any]) -> str:
    return (
        f"Measured with `{measured['command']}` at commit {measured['commit']} on {measured['machine']}; load of "
        f"the machine before it: {measured['load_before']:.1f}."
    )


def render_prepare(measured: dict[str, Any]) -> str:
    """Return the table of preparing as Markdown."""
    lines = [
        f"{_how(measured)} Simulated trees.",
        "",
        "| set | hours | published, s/h | target, s/h | **s/h** | with digests | one process (CPU) "
        "| floor (CPU) | to floor | peak MiB | `load(name)` ms | `load(path=)` ms | read : h5py |",
        "|---|" + "---:|" * 12,
    ]
    for row in measured["rows"]:
        name, hours = row["name"], row["hours"]
        first, again, single, floor = (row[k] / hours for k in ("first_s", "prepare_s", "one_job_s", "floor_s"))
        cpu, floor_cpu = row["one_job_cpu_s"] / hours, row["floor_cpu_s"] / hours
        met = "" if again <= TARGETS[name] else " (missed)"
        lines.append(
            f"| {name} | {hours:.2f} | {PUBLISHED[name]} | {TARGETS[name]:g} | **{again:.2f}**{met} | {first:.2f} "
            f"| {single:.2f} ({cpu:.2f}) | {floor:.3f} ({floor_cpu:.3f}) | {row['ratio_to_floor']:.1f} "
            f"| {row['peak_bytes'] / 2**20:.0f} "
            f"| {row['load_ms']:.0f} | {row['open_ms']:.1f} | {row['read_ratio']:.2f} |"
        )
    hours, seconds, first = (
        sum(row[key] for row in measured["rows"]) for key in ("hours", "prepare_s", "first_s")
    )
    lines += [
        "",
        f"All six together: {hours:.1f} hours in {seconds:.0f} s ({first:.0f} s with digests), at most "
        f"{max(row['peak_bytes'] for row in measured['rows']) / 2**20:.0f} MiB. Target at full size (40 hours): "
        "under 60 s and 1024 MiB.",
    ]
    return "\n".join(lines)


def measure_steps(code: str | None) -> dict[str, Any]:
    """Measure training steps three times with two threads, then once with one; return a row a model."""
    runs = [measure("steps", [], code) for _ in range(3)]
    single = measure("one_thread", [], code)
    rows = [
        {**row, "medians_s": [run["rows"][i]["median_s"] for run in runs], "one_thread": single["rows"][i]}
        for i, row in enumerate(runs[0]["rows"])
    ]
    return {**runs[0], "rows": rows}


def render_steps(measured: dict[str, Any]) -> str:
    """Return the table of training steps as Markdown."""
    lines = [
        f"{_how(measured)} The command ran three times, then once with `--threads 1`.",
        "",
        "| model | s per step, two threads: medians of 7 | one thread | its processor time | target | floor s |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in measured["rows"]:
        medians, single, target = row["medians_s"], row["one_thread"], row["reach"]["seconds"]
        missed = sum(seconds > target for seconds in medians)
        met = {0: "", 3: " (missed)"}.get(missed, f" (missed in {missed} of 3)")
        lines.append(
            f"| {row['label']} | **{', '.join(f'{seconds:.3f}' for seconds in medians)}** "
            f"| {single['median_s']:.3f} | {single['cpu_s']:.3f} | {target:.2f}{met} | {row['floor_s']:.3f} |"
        )
    return "\n".join(lines)


def render_streams(measured: dict[str, Any]) -> str:
    """Return the table of streaming as Markdown."""
    first = measured["rows"][0]
    pace = "as fast as they were taken" if first["paced_hz"] is None else f"{first['paced_hz']:g} a second"
    table = bench_stream.render_streams(measured["rows"])
    return f"{_how(measured)} {first['samples']:,} samples each, {pace}.\n\n{table}\n{_reached(first)}"


def _reached(row: dict[str, Any]) -> str:
    """Say of the model that has figures to reach, the first row, which ones it misses."""
    parts = []
    for kind, name, most in (
        ("without_ms", "p50", 0.13),
        ("with_ms", "p50", 0.34),
        ("without_ms", "p99", 0.5),
        ("with_ms", "p99", 0.5),
    ):
        met = "" if row[kind][name] <= most else ", missed"
        parts.append(f"{name} {kind.removesuffix('_ms')} a prediction {row[kind][name]:.3f} ({most:g}{met})")
    return f"{row['label']}, in ms, with the target in brackets: {'; '.join(parts)}."


RENDER = {"prepare": render_prepare, "steps": render_steps, "streams": render_streams, "paced": render_streams}


def main() -> None:
    """Measure, keep, render."""
    options = sys.argv[1:]
    if "--render" not in options:
        code = commit(DOCS.parent / "baselines")  # before the first result makes the tree another one
        if options == ["--steps"]:
            measured = {"steps": measure_steps(code)}
        elif options == ["--streams"]:
            measured = {"streams": measure("streams", [], code), "paced": measure("paced", PACED, code)}
        else:
            measured = {"prepare": measure("prepare", options, code)}
        KEPT.mkdir(exist_ok=True)
        for part, found in measured.items():
            (KEPT / f"{part}.json").write_text(json.dumps(found, indent=1) + "\n")
    page = PAGE.read_text()
    for part, render in RENDER.items():
        begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
        before, after = page.split(begin)[0], page.split(end)[1]
        page = f"{before}{begin}\n{render(json.loads((KEPT / f'{part}.json').read_text()))}\n{end}{after}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
