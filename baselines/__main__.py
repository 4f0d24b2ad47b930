"""``python -m baselines``, the same as ``csp-baselines``."""

from baselines.cli import main

main()
