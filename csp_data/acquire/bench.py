"""Time a download and its verification on this machine, beside curl and sha256sum in the same run."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from csp_data.acquire.client import Client
from csp_data.acquire.digests import Stamps
from csp_data.acquire.transfer import RemoteFile, fetch
from csp_data.errors import MissingDataError

__all__ = ["bench_transfer"]

BLOCK = 1 << 20


def bench_transfer(size: int, repeat: int) -> dict[str, float | int | str]:
    """Transfer and verify a file of random bytes on loopback.

    Parameters
    ----------
    size
        Of the file in bytes; three times as much must be free where temporary files lie.
    repeat
        Runs of each; in turn, so that all meet the same machine. The shortest time counts.

    Returns
    -------
    dict
        Seconds, ratios and the peak memory of the process that downloads, in bytes, by name.

    Raises
    ------
    MissingDataError
        If curl or sha256sum is not installed.
    """
    for tool in ("curl", "sha256sum"):
        if shutil.which(tool) is None:
            raise MissingDataError(tool, "PATH", "It is what the transfer is compared with: install it.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        served = folder / "served.bin"
        _write_noise(served, size)
        parent, child = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(str(served), child), daemon=True
        )
        server.start()
        child.close()  # so that a server that ends early is an end here too
        try:
            address = f"http://127.0.0.1:{parent.recv()}/served.bin"
            return _measure(address, served, folder, size, repeat)
        finally:
            server.terminate()
            server.join()


def _measure(address: str, served: Path, folder: Path, size: int, repeat: int) -> dict[str, float | int | str]:
    downloads, curls, sha256sums, deep_digests, openssls = [], [], [], [], []
    peak, target = 0, folder / "arrived.bin"
    halves = folder / "halves"
    halves.mkdir()
    for i in range(2):
        _copy_half(served, halves / f"{i}.bin", i, size)
    for _ in range(repeat):
        os.sync()  # what the previous run has left to write is not charged to this one
        curls.append(_time(lambda: _run(["curl", "-sS", "-o", str(target), address], ["sha256sum", str(target)])))
        target.unlink()
        os.sync()
        seconds, memory = _ours(address, target)
        downloads.append(seconds)
        peak = max(peak, memory)
        target.unlink()
        sha256sums.append(_time(lambda: _run(["sha256sum", str(served)])))
        seconds, cores = _ours_deep(halves)
        deep_digests.append((seconds, cores))
        if shutil.which("openssl"):
            openssls.append(_time(lambda: _run(["openssl", "dgst", "-sha256", str(served)])))
    deep_s, cores = min(deep_digests)
    rows: dict[str, float | int | str] = {
        "size_bytes": size,
        "download_s": min(downloads),
        "curl_and_sha256sum_s": min(curls),
        "download_ratio": min(downloads) / min(curls),
        "download_peak_memory_bytes": peak,
        "deep_digest_s": deep_s,
        "deep_cores_used": cores,
        "sha256sum_s": min(sha256sums),
        "deep_speed_ratio_per_core": min(sha256sums) / deep_s / min(2, os.cpu_count() or 1),
        "deep_speed_ratio": min(sha256sums) / deep_s,
    }
    if openssls:  # which uses the processor's SHA instructions where many a sha256sum does not
        rows["openssl_s"] = min(openssls)
        rows["deep_speed_ratio_to_openssl"] = min(openssls) / deep_s
        rows["download_ratio_to_curl_and_openssl"] = min(downloads) / (
            min(curls) - min(sha256sums) + min(openssls)
        )
    return rows


def _time(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _run(*commands: list[str]) -> None:
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write_noise(path: Path, size: int) -> None:
    block = hashlib.shake_256(b"csp-data").digest(BLOCK)
    with path.open("wb") as file:
        for _ in range(size // BLOCK):
            file.write(block)
        file.write(block[: size % BLOCK])


def _copy_half(source: Path, target: Path, which: int, size: int) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        read.seek(which * (size // 2))
        left = size // 2
        while left and (block := read.read(min(BLOCK, left))):
            write.write(block)
            left -= len(block)


def _ours(address: str, target: Path) -> tuple[float, int]:
    """Download in a process of its own, as a command does; return seconds without its start, and peak memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_fetch, address, str(target)).result()


def _fetch(address: str, target: str) -> tuple[float, int]:
    os.environ["NO_PROXY"] = "*"
    begun = time.perf_counter()
    fetch(RemoteFile("served.bin", address), Path(target), Client())
    seconds = time.perf_counter() - begun
    return seconds, _peak_memory()


def _peak_memory() -> int:
    """Return this process's peak memory in bytes. On Linux getrusage would count the parent's at the fork too."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _ours_deep(folder: Path) -> tuple[float, float]:
    """Digest two files as ``verify --deep`` does; return seconds, and how many processors were busy with it."""
    stamps, names = Stamps(folder), [path.name for path in sorted(folder.iterdir())]
    busy = time.process_time()
    seconds = _time(lambda: stamps.digests(names, again=True))
    return seconds, (time.process_time() - busy) / seconds


def _serve(path: str, pipe: Connection) -> None:
    """Serve one file with sendfile, so that the server is not what is measured."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (more := connection.recv(BLOCK)):
                    request += more
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode())
                file.seek(0)
                connection.sendfile(file)
