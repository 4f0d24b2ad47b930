"""Measure preparing all six sets, and put the table into docs/performance.md.

    OMP_NUM_THREADS=1 python scripts/make_performance.py            # trees of half an hour each
    OMP_NUM_THREADS=1 python scripts/make_performance.py --full     # as long as the publishers' (9 GB)

Other options go to ``csp-data bench prepare`` (``--raw FOLDER`` keeps the trees). What was measured is kept as
docs/performance/prepare.json; ``--render`` writes the table from it without measuring.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from baselines.environment import commit

DOCS = Path(__file__).parent.parent / "docs"
KEPT, PAGE = DOCS / "performance" / "prepare.json", DOCS / "performance.md"
BEGIN, END = "<!-- prepare: begin -->", "<!-- prepare: end -->"
TARGETS = {"totalcapture": 5.0, "vector": 0.5, "ronin": 1.0, "marker": 0.25, "slip": 0.25, "joystick": 0.25}
PUBLISHED = {
    "totalcapture": "830",
    "vector": "53",
    "ronin": "13",
    **dict.fromkeys(("marker", "slip", "joystick"), "2.5 to 3"),
}


def measure(options: list[str]) -> dict[str, Any]:
    """Run the benchmark and return its rows with what they were measured on."""
    command = ["csp-data", "bench", "prepare", *options]
    said = subprocess.run(
        [sys.executable, "-m", "csp_data", *command[1:], "--json"], check=True, stdout=subprocess.PIPE
    )
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
        "commit": commit(DOCS.parent / "baselines"),
        "machine": f"{os.cpu_count()} cores ({cpu}), {platform.system()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
        "rows": json.loads(said.stdout),
    }


def _shown(command: list[str]) -> list[str]:
    """Return a command without the folder's name, which says nothing to others."""
    return ["FOLDER" if before == "--raw" else word for before, word in zip(["", *command], command, strict=False)]


def render(measured: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"Measured with `{measured['command']}` at commit {measured['commit']} on {measured['machine']}; load of "
        f"the machine before it: {measured['load_before']:.1f}. Simulated trees.",
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


def main() -> None:
    """Measure, keep, render."""
    options = sys.argv[1:]
    if options != ["--render"]:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(measure(options), indent=1) + "\n")
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{render(json.loads(KEPT.read_text()))}\n{END}{after}")


if __name__ == "__main__":
    main()
