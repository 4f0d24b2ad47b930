"""Where the programs start, beside the packages: whatever lies within one imports all of it first."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["csp_baselines", "csp_data"]


def csp_data() -> None:
    """Entry point of ``csp-data``."""
    with _ended_by_interrupt():
        from csp_data.cli import main
    main()


def csp_baselines() -> None:
    """Entry point of ``csp-baselines``."""
    with _ended_by_interrupt():
        from csp_data.errors import MissingExtraError

        try:
            from baselines.cli import main
        except MissingExtraError as error:
            sys.exit(f"Error: {error}")
    main()


@contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """Have Ctrl-C end the process as it ends others, without the stack of an import, which takes seconds."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where Ctrl-C is ignored, as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
