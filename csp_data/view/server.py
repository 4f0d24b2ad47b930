"""Serve the page, on this machine only unless told otherwise."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import panel as pn

from csp_data.acquire.client import is_loopback
from csp_data.dataset import Dataset
from csp_data.errors import OptionError
from csp_data.view.page import build
from csp_data.view.selection import find_runs

__all__ = ["serve"]

logger = logging.getLogger(__name__)


def serve(
    dataset: Dataset,
    *,
    runs: Path | None = None,
    raw: Path | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
    public: bool = False,
    browser: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until the process is told to stop (Ctrl-C).

    Parameters
    ----------
    dataset
        The data set.
    runs
        Folder of run folders; predictions are read from below it and nowhere else.
    raw
        Folder of the raw recordings; by default what ships, or the home's.
    address, port
        Where to listen; port 0 for any free one.
    public
        Allow an address that others can reach. The page needs no password.
    browser
        Open a browser on it.
    ready
        Called with the page's address once it can be opened.

    Raises
    ------
    OptionError
        If the address is not one of this machine alone and `public` is not given, or it cannot be listened on.
    """
    if not (public or is_loopback(address)):
        raise OptionError(
            "address",
            address,
            "one of this machine alone, such as 127.0.0.1",
            "With public=True everybody who reaches this machine can look at the data.",
        )
    held: Mapping[str, Path] = {} if runs is None else find_runs(runs)
    port = _free(address, port)
    shown = f"[{address}]" if ":" in address else address
    server: Any = pn.serve(
        {"view": lambda: build(dataset, held, _arguments(), raw)},
        address=address,
        port=port,
        websocket_origin="*" if public else [f"{shown}:{port}", f"localhost:{port}"],
        title=f"{dataset.name}: csp-data",
        show=browser,
        start=False,
        verbose=False,
    )
    server.start()
    if ready is not None:
        ready(f"http://{shown}:{port}/view")
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        logger.info("stopped")
    finally:
        server.stop()


def _arguments() -> dict[str, str]:
    """Return the arguments in the address of the page that is asked for, the first of each name."""
    arguments = pn.state.session_args or {}
    return {name: values[0].decode(errors="replace") for name, values in arguments.items() if values}


def _free(address: str, port: int) -> int:
    """Return the port to listen on, having seen that it can be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OptionError("port", port, f"one that is free on {address} ({error.strerror})") from error
        return int(probe.getsockname()[1])
