"""Real servers on loopback that behave, and misbehave, as the hosts of the data sets do.

A :class:`Server` serves resources by path. Each resource may have a script: acts that are used up one a request,
after which it is served as a good server would.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

Act = Callable[["Handler", "Resource"], bool]
"""Answers a request itself and returns True, or changes how the resource is served and returns False."""


@dataclass
class Resource:
    body: bytes
    etag: str | None = None
    last_modified: str | None = None
    ranges: bool = True
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    script: list[Act] = field(default_factory=list)
    always: Act | None = None
    user: tuple[str, str] | None = None
    challenges: tuple[str, ...] = ('Basic realm="data"',)  # with which a user is asked for
    rate: float | None = None  # bytes a second
    cut: int | None = None  # position in the file after which the next answer ends; used once
    reset: bool = False  # how it ends: RST instead of FIN
    length: int | None = None  # the Content-Length to claim


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        seen = Seen("GET", unquote(parts.path), self.query, dict(self.headers))
        with self.server.mutex:
            self.server.seen.append(seen)
            resource = self.server.find(seen)
            act = resource.script.pop(0) if resource is not None and resource.script else None
        try:
            if resource is None:
                self.answer(404, b"not here")
            elif resource.user is not None and not self.authorised(resource.user):
                self.challenge(resource.challenges)
            elif not ((act and act(self, resource)) or (resource.always and resource.always(self, resource))):
                self.serve(resource)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def challenge(self, challenges: tuple[str, ...]) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "4")
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        self.wfile.write(b"who?")

    def authorised(self, user: tuple[str, str]) -> bool:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            return given == base64.b64encode(":".join(user).encode()).decode()
        if scheme != "Digest":
            return False
        said = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', given)}
        fresh = said["nonce"] == self.server.nonce and said["uri"] == self.path and said["username"] == user[0]
        return fresh and said["response"] == digest_response(said, user, self.command)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def serve(self, resource: Resource) -> None:
        body, first = resource.body, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if wanted and resource.ranges and condition in (None, resource.etag, resource.last_modified):
            first = int(wanted[1])
            if first >= len(body):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        named = {"ETag": resource.etag, "Last-Modified": resource.last_modified, **resource.headers}
        for name, value in named.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Type", resource.content_type)
        self.send_header("Content-Length", str(resource.length if resource.length else len(body) - first))
        self.end_headers()
        cut, resource.cut = resource.cut, None
        stop = len(body) if cut is None else max(first, cut)
        self.send(memoryview(body)[first:stop], resource.rate)
        if cut is not None or resource.length:
            self.hang_up(resource.reset)
        return None

    def send(self, data: memoryview, rate: float | None) -> None:
        step = len(data) if rate is None else max(1, int(rate * 0.01))
        for i in range(0, len(data), max(1, step)):
            self.wfile.write(data[i : i + step])
            if rate is not None:
                time.sleep(0.01)

    def hang_up(self, reset: bool) -> None:
        self.close_connection = True
        if reset:  # linger 0: the kernel sends RST and drops what is not sent yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_WR)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, resources: dict[str, Resource] | None = None, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.resources = resources or {}
        self.seen: list[Seen] = []
        self.mutex = threading.Lock()
        self.closing = threading.Event()
        self.nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"

    def find(self, seen: Seen) -> Resource | None:
        return self.resources.get(seen.path)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that were killed or went away

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"

    def count(self, path: str) -> int:
        return sum(seen.path == path for seen in self.seen)

    def __enter__(self) -> Server:
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


@contextlib.contextmanager
def swallowing() -> Iterator[str]:
    """The address of a host that does not even answer a connection, as behind a firewall that drops."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(8):  # fill the queue
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def digest_response(said: dict[str, str], user: tuple[str, str], method: str) -> str:
    """What a client should answer to a Digest challenge with qop=auth (RFC 7616, 3.4.1)."""
    kind = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[said.get("algorithm", "MD5")]

    def h(*parts: str) -> str:
        return kind(":".join(parts).encode()).hexdigest()

    secret, what = h(user[0], said["realm"], user[1]), h(method, said["uri"])
    return h(secret, said["nonce"], said["nc"], said["cnonce"], said["qop"], what)


def tree(root: Path) -> dict[str, Resource]:
    """The files below a folder, as resources with ETags."""
    resources = {}
    for file in sorted(root.rglob("*")):
        if file.is_file():
            body = file.read_bytes()
            path = "/" + file.relative_to(root).as_posix()
            resources[path] = Resource(body, etag=f'"{hashlib.md5(body).hexdigest()}"')
    return resources


def status(code: int, body: bytes = b"sorry", **headers: str) -> Act:
    def act(handler: Handler, resource: Resource) -> bool:
        handler.answer(code, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return act


def redirect(address: str, code: int = 302) -> Act:
    return status(code, b"", Location=address)


def page(html: str, code: int = 200, content_type: str = "text/html; charset=utf-8") -> Act:
    return status(code, html.encode(), Content_Type=content_type)


def stall(after: int) -> Act:
    """Send the head and the first bytes, then nothing until the server closes."""

    def act(handler: Handler, resource: Resource) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(resource.body)))
        if resource.etag:
            handler.send_header("ETag", resource.etag)
        handler.end_headers()
        handler.wfile.write(resource.body[:after])
        handler.server.closing.wait(30)
        handler.close_connection = True
        return True

    return act


def change(**values: object) -> Act:
    """Change the resource, then serve it."""

    def act(handler: Handler, resource: Resource) -> bool:
        for name, value in values.items():
            setattr(resource, name, value)
        return False

    return act


def drop(said: bytes = b"") -> Act:
    """Hang up without an answer, or within its head."""

    def act(handler: Handler, resource: Resource) -> bool:
        handler.wfile.write(said)
        handler.hang_up(reset=False)
        return True

    return act
