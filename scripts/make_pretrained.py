"""Put the best of some finished runs into the package as a pretrained model, with its card.

    python scripts/make_pretrained.py broad sweeps/broad

Of the runs whose models stream (no Transformer without a window) it takes the one with the lowest error on the
part for choosing. Unfinished runs and runs of uncommitted code are refused. ``--data FILE``: the prepared file, if
it is no longer where the runs found it; ``--cpu NAME``: the processor, where runs did not record it;
``--leave-unfinished``: go without the unfinished ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.pretrained.make import pretrained_from
from baselines.pretrained.model import SHIPPED, write_pretrained
from baselines.runs.collect import find_runs


def main() -> None:
    """Make the model and its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cpu")
    parser.add_argument("--leave-unfinished", action="store_true")
    options = parser.parse_args()
    folders = find_runs(options.runs)[0] if options.leave_unfinished else options.runs
    made = pretrained_from(options.name, folders, options.data, options.cpu)
    write_pretrained(SHIPPED / f"{options.name}.safetensors", made)
    print(made.card)


if __name__ == "__main__":
    main()
