"""Ctrl-C: a real signal ends a transfer at once, also while nothing moves, and it can be resumed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from csp_data.acquire.download import _fetch
from csp_data.acquire.plan import Item
from csp_data.acquire.transfer import Stopped, Watch
from csp_data.card import FileEntry, load_card

from .conftest import noise, run
from .servers import Resource, Server, stall, swallowing

FOREVER = "600"
"""Seconds of silence that the command would wait; the test ends long before."""
HANGS = 30
"""Seconds after which a process that should have ended hangs."""


def start(home, mirror):
    command = [sys.executable, "-m", "csp_data", "download", "broad", "--mirror", mirror, "--timeout", FOREVER]
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "NO_PROXY": "*"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)


def until(condition):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < HANGS
        time.sleep(0.01)


def stopped(process):
    """Send what Ctrl-C sends, and return what the process says at its end."""
    process.send_signal(signal.SIGINT)
    try:
        said = process.communicate(timeout=HANGS)[1]
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "Run the command again" in said


@pytest.mark.parametrize("length", ["promised", "unknown"])
def test_stop_in_a_stalled_read(empty_home, length):
    """Four transfers hang in a read. What came stays, nothing looks complete, the next run goes on there."""
    entries = {entry.path: entry for entry in load_card("broad").files}
    body = noise(50_000)

    def hang(handler, resource):
        if length == "promised":
            return stall(20_000)(handler, resource)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(resource.body[:20_000])
        handler.server.closing.wait(HANGS)
        return True

    with Server({f"/{path}": Resource(body, etag='"1"', always=hang) for path in entries}) as server:
        process = start(empty_home, server.url)
        raw = empty_home / "raw" / "broad"
        until(lambda: len([p for p in raw.glob("*.part") if p.stat().st_size == 20_000]) == 4)
        stopped(process)
        assert len(list(raw.glob("*.part"))) == 4
        assert not list(raw.glob("*.hdf5"))
        for resource in server.resources.values():
            resource.always = None
        before = len(server.seen)
        with start(empty_home, server.url) as again:  # ends: the bytes are not the publisher's, and that is told
            assert "expected" in again.communicate(timeout=2 * HANGS)[1]
        assert again.returncode == 3
        resumed = [seen for seen in server.seen[before:] if seen.headers.get("Range") == "bytes=20000-"]
        assert len(resumed) == 4


def test_stop_while_connecting(empty_home):
    """The connection itself hangs."""
    with swallowing() as address:
        process = start(empty_home, address)
        until(lambda: (empty_home / "raw" / "broad.incoming").exists())
        stopped(process)


def test_stop_in_a_handshake(empty_home):
    """A host that accepts, and then says nothing where TLS should begin."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start(empty_home, f"https://127.0.0.1:{listener.getsockname()[1]}")
        listener.settimeout(HANGS)
        with listener.accept()[0] as connection:
            assert connection.recv(1)
            stopped(process)


def test_interrupt_keeps_what_arrived(sample_mirror, empty_home, monkeypatch):
    """Ctrl-C in the middle: exit at once, .part files stay, the next run ends it."""
    for resource in sample_mirror.resources.values():
        resource.rate = 1e5
    raw = empty_home / "raw" / "excerpt"

    def interrupt_when_bytes_are_there():
        while not any(part.stat().st_size for part in raw.glob("*.part")):
            time.sleep(0.01)
        # a real signal: it wakes the main thread from its wait, as Ctrl-C does
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt_when_bytes_are_there, daemon=True).start()
    result = run("download", "excerpt", "--mirror", sample_mirror.url)
    assert result.exit_code == 1
    assert "Run the command again" in result.stderr
    parts = list(raw.glob("*.part"))
    assert parts
    for resource in sample_mirror.resources.values():
        resource.rate = None
    assert run("download", "excerpt", "--mirror", sample_mirror.url).exit_code == 0
    assert any("Range" in seen.headers for seen in sample_mirror.seen)
    assert not list(raw.glob("*.part*"))


def test_stop_while_an_archive_comes_by_the_other_case_of_its_name(tmp_path, client):
    """It went on with attempts that could not succeed, and no progress was shown."""
    moved, stop = [], threading.Event()
    with Server({"/S1.zip": Resource(noise(50_000), etag='"1"', always=stall(20_000))}) as server:
        item = Item(FileEntry("s1.zip"), f"{server.url}/s1.zip", "By hand.")
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(_fetch, item, tmp_path / "s1.zip", client, Watch(moved=moved.append, stop=stop))
            until(lambda: sum(moved) == 20_000)
            stop.set()
            client.abort()
            with pytest.raises(Stopped, match="20000 bytes are kept"):
                coming.result(timeout=HANGS)
