"""Connections that a person can end at once: while they resolve, connect, shake hands or read."""

from __future__ import annotations

import queue
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

__all__ = ["Breaker", "BreakerAdapter"]

GLANCE_S = 0.05
"""Between two looks at whether to stop, while a connection is made."""


class Breaker:
    """Ends every connection that was made through its adapters, from any thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def pull(self) -> None:
        """End all connections, and let no new one be made. Who reads from one sees its end."""
        self._stop.set()
        with self._mutex:
            for connection in self._open:
                with suppress(OSError):  # it has ended already
                    # past SSLSocket.shutdown, which takes the TLS layer away from the thread that reads
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def connect(self, connection: HTTPConnection, connect: Callable[[], None], longest_s: float) -> None:
        """Run a connection's own `connect`, but no longer than `longest_s`, and not past a stop.

        The system's resolver can neither be interrupted nor bounded, so all of it runs in a thread that is left
        behind if it takes too long.
        """
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        left = threading.Event()

        def work() -> None:
            try:
                connect()
                done.put(None)
            except BaseException as error:
                done.put(error)
            if left.is_set():
                connection.close()

        threading.Thread(target=work, daemon=True, name="csp-data connect").start()
        until = time.monotonic() + longest_s
        while not self._stop.is_set() and time.monotonic() < until:
            with suppress(queue.Empty):
                if (error := done.get(timeout=GLANCE_S)) is not None:
                    raise error
                self._add(connection.sock)
                return
        left.set()
        if self._stop.is_set():
            raise NewConnectionError(connection, "stopped")
        raise ConnectTimeoutError(connection, f"no connection to {connection.host} within {longest_s:g} s")

    def _add(self, connection: socket.socket | None) -> None:
        with self._mutex:
            if connection is not None:
                self._open.add(connection)
        if self._stop.is_set():
            self.pull()


class BreakerAdapter(HTTPAdapter):
    """Gives a session's connections to a breaker.

    Parameters
    ----------
    breaker
        Ends them.
    longest_s
        Bound of making a connection, name and handshake included, in seconds.
    """

    def __init__(self, breaker: Breaker, longest_s: float) -> None:
        self._pools = _pools(breaker, longest_s)
        super().__init__()

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        """Make the pools for direct connections."""
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> PoolManager:
        """Make the pools for connections through a proxy; SOCKS has its own, which are left alone."""
        manager: PoolManager = super().proxy_manager_for(proxy, **keywords)
        if proxy.lower().startswith("http"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(breaker: Breaker, longest_s: float) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            breaker.connect(self, super().connect, longest_s)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            breaker.connect(self, super().connect, longest_s)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
