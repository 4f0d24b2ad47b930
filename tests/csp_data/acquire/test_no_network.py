"""Every command in a process that has no network at all: it works, or says soon what could not be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

HANGS = 60
"""Seconds after which a command hangs."""


@pytest.fixture(scope="module")
def nowhere():
    """Command words that start a process in an empty network namespace: not even loopback is up."""
    words = ["unshare", "--net", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare and the right to make network namespaces")
    return words


def run(nowhere, home, *arguments):
    command = [*nowhere, sys.executable, "-m", "csp_data", *arguments]
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANGS)


@pytest.mark.parametrize("name", ["broad", "vector", "marker", "ronin"])
def test_download_says_what_could_not_be_reached(nowhere, empty_home, name):
    done = run(nowhere, empty_home, "download", name, "--accept-licence", "--timeout", "2", "--tries", "2")
    assert done.returncode == 4, done.stderr
    assert "cannot be reached" in done.stderr
    assert f"csp-data import {name}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list",), 0),
        (("info", "vector"), 0),
        (("verify", "sample"), 0),
        (("prepare", "sample"), 0),
        (("cite", "ronin"), 0),
        (("path",), 0),
        (("clean", "broad"), 0),
        (("simulate", "vector", "OUT", "--hours", "0.01"), 0),
        (("import", "broad", "OUT"), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_the_others_do_not_need_one(nowhere, empty_home, tmp_path, arguments, code):
    done = run(nowhere, empty_home, *(str(tmp_path / "out") if word == "OUT" else word for word in arguments))
    assert done.returncode == code, done.stderr


def test_a_resolver_that_never_answers(nowhere, empty_home, tmp_path):
    """The system's resolver waits as it is told, here 30 s twice; the command's own bound ends it before."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:2\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    silent = f"""
import ctypes, fcntl, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("resolv.conf", "nsswitch.conf"):
    source = os.path.join({str(tmp_path)!r}, name).encode()
    if libc.mount(source, os.path.realpath("/etc/" + name).encode(), None, 4096, None):  # bind
        sys.exit(99)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
    request = struct.pack("16sh14x", b"lo", 1 | 64)  # up, running
    fcntl.ioctl(any_, 0x8914, request)
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("127.0.0.1", 53))
from csp_data.cli import cli
cli(["download", "broad", "--timeout", "2", "--tries", "1"])
"""
    environment = {**os.environ, "CSP_DATA_HOME": str(empty_home)}
    command = [*nowhere, sys.executable, "-c", silent]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=25)
    if done.returncode == 99:
        pytest.skip("cannot mount here")
    assert done.returncode == 4, done.stderr
    assert "cannot be reached (the server was silent for too long)" in done.stderr
