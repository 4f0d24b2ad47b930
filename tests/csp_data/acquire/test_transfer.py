"""Transfers against real servers that misbehave, fault by fault."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
import shutil
import ssl
import subprocess
import threading
import time

import numpy as np
import pytest

from csp_data.acquire.auth import Credentials, origin
from csp_data.acquire.client import Client, Patience, RedirectError
from csp_data.acquire.digests import digest_file
from csp_data.acquire.transfer import RemoteFile, Stopped, Watch, fetch, part_of
from csp_data.errors import AccessError, CspDataError, TransferError, VerificationError

from .conftest import QUICK, noise
from .servers import Handler, Resource, Server, change, drop, page, redirect, stall, status, swallowing

BODY = noise(300_000)


def wanted(server, body=BODY, path="/f.bin", **known):
    known = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)} if known == {} else known
    return RemoteFile("f.bin", server.url + path, **known)


@pytest.fixture
def server():
    with Server({"/f.bin": Resource(BODY, etag='"1"')}) as server:
        yield server


@pytest.fixture
def resource(server):
    return server.resources["/f.bin"]


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_plain_file_arrives_with_all_digests(server, client, tmp_path):
    moved, totals = [], []
    git = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()
    digest = fetch(
        wanted(server, git_blob=git),
        tmp_path / "f.bin",
        client,
        watch=Watch(totals.append, moved.append),
    )
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert (digest.size, digest.sha256, digest.git_blob) == (len(BODY), hashlib.sha256(BODY).hexdigest(), git)
    assert left(tmp_path) == ["f.bin"]
    assert (sum(moved), totals) == (len(BODY), [len(BODY)])


def test_cut_at_200_offsets_within_one_call(client, tmp_path):
    """64 MiB, 200 random cuts, half by RST: 201 requests at least, and not a byte wrong."""
    body = noise(64 << 20)
    resource = Resource(body, etag='"1"')
    cuts = sorted(np.random.default_rng(1).choice(len(body), 200, replace=False).tolist())
    resource.script = [change(cut=int(cut), reset=i % 2 == 1) for i, cut in enumerate(cuts)]
    with Server({"/f.bin": resource}) as server:
        digest = fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client)
        ranged = [seen for seen in server.seen if "Range" in seen.headers]
    assert digest.sha256 == hashlib.sha256(body).hexdigest() == digest_file(tmp_path / "f.bin").sha256
    assert not resource.script
    assert len(server.seen) >= 201
    assert len(ranged) >= 200
    assert all(seen.headers["If-Range"] == '"1"' for seen in ranged)


def test_cut_at_200_offsets_each_ending_the_call(tmp_path):
    """The same as 200 commands that fail one after the other: all state is on the disk."""
    body = noise(64 << 20, seed=2)
    resource = Resource(body, etag='"1"')
    once = Client(Patience(stall_s=5, tries=1))
    target, failed = tmp_path / "f.bin", 0
    with Server({"/f.bin": resource}) as server:
        for cut in np.sort(np.random.default_rng(3).choice(len(body), 200, replace=False)).tolist():
            before = len(server.seen)
            resource.cut = int(cut)
            with pytest.raises(TransferError, match="bytes are kept"):
                fetch_once(server, target, once)
            failed += 1
            assert not target.exists()
            assert len(server.seen) == before + 1
        fetch_once(server, target, once)
        sent = [seen.headers.get("Range") for seen in server.seen]
    assert failed == 200
    assert target.read_bytes() == body
    assert len([value for value in sent if value is not None]) >= 199


def fetch_once(server, target, client):
    """One attempt that does not try again; progress would earn another one."""
    stop = threading.Event()
    wanted = RemoteFile("f.bin", server.url + "/f.bin")
    try:
        return fetch(wanted, target, client, watch=Watch(stop=stop))
    except Stopped as error:
        raise TransferError("f.bin", "", str(error), "bytes are kept") from error


def test_server_that_ignores_range(server, resource, client, tmp_path):
    resource.ranges, resource.cut = False, 100_000
    moved, totals = [], []
    fetch(wanted(server), tmp_path / "f.bin", client, watch=Watch(totals.append, moved.append))
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert server.seen[1].headers["Range"] == "bytes=100000-"
    assert (sum(moved), totals) == (len(BODY), [len(BODY)])  # what came twice counts once


@pytest.mark.parametrize("honest", [True, False])
def test_file_that_changes_between_two_attempts(server, resource, client, tmp_path, honest):
    """An honest server answers If-Range with the new file; a careless one sends its end, with its new ETag."""
    new = noise(len(BODY), seed=9)

    def careless(handler, resource):
        if not honest and "If-Range" in handler.headers:
            handler.headers.replace_header("If-Range", '"2"')
        return False

    resource.cut = 100_000
    resource.script = [lambda handler, resource: False, change(body=new, etag='"2"')]
    resource.always = careless
    fetch(wanted(server, new, size=len(BODY)), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == new


def test_changed_file_without_validator_is_told_by_the_digest(server, resource, client, tmp_path):
    """No ETag, no date: the end of another version is appended, the digest tells, it is fetched afresh."""
    new = noise(len(BODY), seed=9)
    resource.etag, resource.cut = None, 100_000
    resource.script = [lambda handler, resource: False, change(body=new)]
    fetch(wanted(server, new), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == new
    assert [seen.headers.get("Range") for seen in server.seen] == [None, "bytes=100000-", None]


def test_without_validator_and_digest_nothing_is_joined(server, resource, client, tmp_path):
    resource.etag, resource.cut = None, 100_000
    fetch(wanted(server, size=len(BODY)), tmp_path / "f.bin", client)
    assert [seen.headers.get("Range") for seen in server.seen] == [None, None]


def test_whole_part_is_recognised_by_416(server, client, tmp_path):
    target = tmp_path / "f.bin"
    stopping = Watch()
    resource_wanted = wanted(server)
    fetch(resource_wanted, target, client)
    target.rename(part_of(target))
    (tmp_path / "f.bin.part.json").write_text(
        f'{{"address": "{resource_wanted.address}", "have": 0, "etag": "\\"1\\"", "last_modified": null,'
        f' "total": {len(BODY)}}}'
    )
    fetch(resource_wanted, target, client, watch=stopping)
    assert target.read_bytes() == BODY
    assert server.seen[-1].headers["Range"] == f"bytes={len(BODY)}-"


def test_part_from_another_address_is_not_joined(server, resource, client, tmp_path):
    """Though its server gives the same ETag, as those that count versions do."""
    new = noise(len(BODY), seed=9)
    server.resources["/g.bin"] = Resource(new, etag=resource.etag)
    resource.cut = 100_000
    with pytest.raises(TransferError, match="100000 bytes are kept"):
        fetch(wanted(server, size=len(BODY)), tmp_path / "f.bin", Client(Patience(stall_s=5, tries=1)))
    fetch(wanted(server, path="/g.bin", size=len(BODY)), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == new


def test_whole_part_of_another_version_is_fetched_again(server, resource, client, tmp_path):
    """A process killed before its last step left all bytes of what the file was then."""
    resource.etag, file = None, wanted(server)
    (tmp_path / "f.bin.part").write_bytes(noise(len(BODY), seed=9))
    (tmp_path / "f.bin.part.json").write_text(json.dumps({"address": file.address, "total": len(BODY)}))
    fetch(file, tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert [seen.headers.get("Range") for seen in server.seen] == [f"bytes={len(BODY)}-", None]


def test_nothing_is_written_through_a_link(server, client, tmp_path):
    """In a raw folder of several people, somebody may put one where a part file will be."""
    precious, file = tmp_path / "precious", wanted(server, size=len(BODY))
    precious.write_bytes(b"mine")
    (tmp_path / "f.bin.part").symlink_to(precious)
    (tmp_path / "f.bin.part.new").symlink_to(precious)
    fetch(file, tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    (tmp_path / "g.bin.part").symlink_to(precious)
    (tmp_path / "g.bin.part.json").write_text(
        json.dumps({"address": file.address, "total": len(BODY), "etag": '"1"'})
    )
    with pytest.raises(CspDataError, match=r"cannot write to .*g\.bin\.part"):
        fetch(file, tmp_path / "g.bin", client)
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize("sidecar", ["", "{", "[]", '{"address": 3}', '{"address": "x", "have": "y"}', "\x00"])
def test_damaged_sidecar_only_costs_time(server, client, tmp_path, sidecar):
    (tmp_path / "f.bin.part").write_bytes(b"something else")
    (tmp_path / "f.bin.part.json").write_text(sidecar)
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert left(tmp_path) == ["f.bin"]


def test_wrong_length_is_refused_before_it_is_stored(server, client, tmp_path):
    with pytest.raises(VerificationError, match=r"expected 299999 bytes, the server offers 300000"):
        fetch(wanted(server, size=len(BODY) - 1), tmp_path / "f.bin", client)
    assert left(tmp_path) == []


def test_wrong_bytes_of_the_right_length_are_deleted(server, client, tmp_path):
    with pytest.raises(VerificationError, match=r"f\.bin.*expected sha256 .*found .*deleted.*mirror"):
        fetch(wanted(server, size=len(BODY), sha256="0" * 64), tmp_path / "f.bin", client)
    assert left(tmp_path) == []


def test_a_byte_more_than_promised_is_not_kept(server, resource, client, tmp_path):
    """In chunks, whose end no Content-Length tells; and no digest would."""

    def one_more(handler, resource):
        rest = BODY[100_000:] + b"?"
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 100000-{len(BODY) - 1}/{len(BODY)}")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
        return True

    resource.cut, resource.script = 100_000, [change(), one_more]
    fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(server.seen) == 3


@pytest.mark.parametrize("promised", [True, False])
def test_a_body_without_end_is_not_stored(server, resource, client, tmp_path, promised):
    """It filled the disk, though the card says how large the file is."""
    sent = []

    def endless(handler, resource):
        handler.send_response(206 if promised else 200)
        if promised:
            handler.send_header("Content-Range", f"bytes 100000-{len(BODY) - 1}/{len(BODY)}")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            for _ in range(1000):
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(BODY), BODY))
                sent.append(len(BODY))
        handler.close_connection = True
        return True

    if promised:
        resource.cut, resource.script = 100_000, [change(), endless]
        fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client)
        assert (tmp_path / "f.bin").read_bytes() == BODY
    else:
        resource.always = endless
        with pytest.raises(VerificationError, match=rf"expected size {len(BODY)}, found \d+.* deleted"):
            fetch(wanted(server, size=len(BODY)), tmp_path / "f.bin", client)
        assert left(tmp_path) == []
    assert sum(sent) < 100 * len(BODY)


def test_length_that_is_never_reached(server, resource, client, tmp_path):
    resource.length = len(BODY) + 7
    with pytest.raises(TransferError, match=r"f\.bin: the connection ended too early; gave up after 3 attempts"):
        fetch(wanted(server, sha256="0" * 64), tmp_path / "f.bin", client)
    assert not (tmp_path / "f.bin").exists()


@pytest.mark.parametrize(
    ("code", "words"), [(404, "does not have it"), (403, "denies access"), (410, "does not have it")]
)
def test_denied_and_gone_need_a_person(server, resource, client, tmp_path, code, words):
    resource.always = status(code)
    with pytest.raises(AccessError, match=rf"f\.bin: the server {words} \({code}\).*csp-data import") as caught:
        fetch(wanted(server), tmp_path / "f.bin", client)
    assert caught.value.exit_code == 4
    assert str(caught.value).count("csp-data import") == 1
    assert len(server.seen) == 1
    assert left(tmp_path) == []


def test_429_is_retried_after_the_asked_time_which_is_said(server, resource, client, tmp_path, caplog):
    resource.script = [status(429, Retry_After="1")]
    begun = time.monotonic()
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert time.monotonic() - begun >= 1  # at least what the server asked for; how much later does not matter
    assert len(server.seen) == 2
    assert caplog.messages == ["f.bin: the server answered 429; attempt 2 in 1.0 s"]


def test_long_retry_after_is_told_not_slept(server, resource, client, tmp_path):
    resource.always = status(429, Retry_After="86400")
    with pytest.raises(TransferError, match="come back in 86400 s"):
        fetch(wanted(server), tmp_path / "f.bin", client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("asked", ["0", "Mon, 02 Nov 2020 10:00:00 GMT"])
def test_a_wait_that_is_over_at_once_is_none(server, resource, tmp_path, asked):
    """All attempts were over within milliseconds."""
    resource.always = status(503, Retry_After=asked)
    begun = time.monotonic()
    with pytest.raises(TransferError, match=r"gave up after 2 attempts .*\. Run the command again later\.$"):
        fetch(wanted(server), tmp_path / "f.bin", Client(Patience(tries=2, first_wait_s=0.4)))
    assert time.monotonic() - begun >= 0.2  # half of the first wait, however slow the machine


def test_500_then_fine(server, resource, client, tmp_path):
    resource.script = [status(500), drop()]
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_503_for_ever(server, resource, client, tmp_path):
    resource.always = status(503)
    with pytest.raises(TransferError, match="answered 503; gave up after 3 attempts") as caught:
        fetch(wanted(server), tmp_path / "f.bin", client)
    assert len(server.seen) == QUICK.tries
    assert caught.value.exit_code == 1


def test_waits_double_up_to_their_bound():
    """Between half and all of it; 100 attempts are the most that the command takes."""
    patience, jitter = Patience(first_wait_s=1, longest_wait_s=10), random.Random(0)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (100, 10)):
        waits = [patience.wait_s(failures, jitter) for _ in range(200)]
        assert 0.5 * longest <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest


def test_a_connection_that_breaks_is_not_the_end_of_a_file(server, resource, client, tmp_path):
    """Where no length was promised; what had come was deleted as not the publisher's."""

    def broken(handler, resource):
        handler.send_response(200)
        handler.send_header("ETag", resource.etag)
        handler.end_headers()
        handler.wfile.write(BODY[:1000])
        handler.hang_up(reset=False)
        return True

    resource.script = [broken]
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert server.seen[1].headers["Range"] == "bytes=1000-"
    resource.always = broken
    with pytest.raises(TransferError, match=r"the connection ended at byte 1000 of 300000; gave up after 3"):
        fetch(wanted(server), tmp_path / "f.bin", client)


def test_stalled_stream_is_left_and_resumed(server, resource, client, tmp_path):
    resource.script = [stall(after=1000)]
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert server.seen[1].headers["Range"] == "bytes=1000-"


def test_stalled_for_ever_ends(server, resource, client, tmp_path):
    resource.always = stall(after=0)
    with pytest.raises(TransferError, match="silent for too long"):
        fetch(wanted(server), tmp_path / "f.bin", client)


def test_redirects_are_followed(server, client, tmp_path):
    server.resources["/a"] = Resource(b"", always=redirect("/b", 301))
    server.resources["/b"] = Resource(b"", always=redirect(server.url + "/f.bin", 307))
    fetch(wanted(server, path="/a"), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY


@pytest.mark.parametrize("loop", [True, False])
def test_endless_redirects(server, client, tmp_path, loop):
    for i in range(30):
        server.resources[f"/{i}"] = Resource(b"", always=redirect(f"/{(i + 1) % 3 if loop else i + 1}"))
    with pytest.raises(RedirectError, match="do not end"):
        fetch(wanted(server, path="/0"), tmp_path / "f.bin", client)
    assert len(server.seen) <= 11


def test_redirect_to_a_file_of_this_machine_is_not_followed(server, resource, client, tmp_path):
    resource.always = redirect("file:///etc/passwd")
    with pytest.raises(RedirectError, match="not https"):
        fetch(wanted(server), tmp_path / "f.bin", client)


@pytest.mark.parametrize("elsewhere", ["127.0.0.2", "127.0.0.1"])
def test_password_stays_with_its_host(tmp_path, elsewhere):
    """A redirect to another host, or to another port of the same one, gets no Authorization header."""
    with Server(host=elsewhere) as other, Server() as first:
        other.resources["/f.bin"] = Resource(BODY)
        first.resources["/x"] = Resource(b"", always=redirect(other.url + "/f.bin"), user=("ann", "secret"))
        client = Client(QUICK, Credentials(origin(first.url), "ann", "secret"))
        fetch(wanted(first, path="/x"), tmp_path / "f.bin", client)
    assert ["Authorization" in seen.headers for seen in first.seen] == [False, True]  # not before it is asked for
    assert len(other.seen) == 1
    assert "Authorization" not in other.seen[0].headers


def test_netrc_default_entry_is_not_sent(server, client, tmp_path, monkeypatch):
    """Requests would send netrc's default entry to any host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fetch(wanted(server), tmp_path / "f.bin", client)
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize("host", ["data.invalid", "127.data.invalid", "127.0.0.1.data.invalid"])
def test_password_is_not_sent_in_the_clear(host):
    """A name that begins like this machine's address can be anybody's."""
    client = Client(QUICK, Credentials(f"http://{host}:80", "ann", "secret"))
    with (
        pytest.raises(AccessError, match="not sent over plain http"),
        client.open(f"http://{host}/f", {}),
    ):
        pass
    assert "secret" not in repr(client._credentials)


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
@pytest.mark.parametrize("begins", ["\n<!DOCTYPE html><html>", "<HTML>", "\ufeff<html lang='en'>", "<head>"])
def test_web_page_is_never_stored(server, resource, client, tmp_path, content_type, begins):
    resource.always = page(f"{begins}<title>Sign in</title>", content_type=content_type)
    with pytest.raises(AccessError, match="a web page came instead of the file"):
        fetch(wanted(server, sha256="0" * 64), tmp_path / "f.bin", client)
    assert left(tmp_path) == []


def test_where_a_web_page_came_from_is_named_without_its_secrets(server, resource, client, tmp_path):
    """As from the network of a hotel, or from a host that wants a log-in."""
    server.resources["/portal"] = Resource(b"", always=page("<html>Welcome"))
    resource.always = redirect("/portal?token=secret")
    with pytest.raises(AccessError, match=rf"which led to {server.url}/portal\)") as caught:
        fetch(wanted(server), tmp_path / "f.bin", client)
    assert "secret" not in str(caught.value)


def test_unreachable_host_is_asked_once_for_all_files(tmp_path):
    with Server() as gone:
        address = gone.url
    client = Client(QUICK)
    for name in ("a", "b"):
        with pytest.raises(AccessError, match=r"cannot be reached \(connection refused\)") as caught:
            fetch(RemoteFile(name, f"{address}/{name}"), tmp_path / name, client)
        assert caught.value.exit_code == 4


def test_host_that_swallows_everything_ends_within_the_time_out(tmp_path):
    client = Client(Patience(connect_s=0.2, tries=2, first_wait_s=0))
    with (
        swallowing() as address,
        pytest.raises(AccessError, match=r"cannot be reached \(the server was silent for too long\)"),
    ):
        fetch(RemoteFile("f.bin", f"{address}/f.bin"), tmp_path / "f.bin", client)


def test_host_name_that_does_not_exist(tmp_path):
    with pytest.raises(AccessError, match="cannot be reached"):
        fetch(RemoteFile("f.bin", "https://data.invalid/f.bin"), tmp_path / "f.bin", Client(QUICK))


@contextlib.contextmanager
def secure_server(tmp_path, monkeypatch):
    """Serve with the certificate own.pem, which is signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", tmp_path / "key.pem", "-out", tmp_path / "own.pem")
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with Server({"/f.bin": Resource(BODY)}) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server, context


def test_a_network_with_a_certificate_authority_of_its_own(tmp_path, monkeypatch):
    """As of companies; the reason was the nested text of three libraries."""
    with secure_server(tmp_path, monkeypatch) as (server, _):
        file = RemoteFile("f.bin", f"https://localhost:{server.server_port}/f.bin", size=len(BODY))
        with pytest.raises(AccessError, match=r"signed by nobody known here.* in REQUESTS_CA_BUNDLE or SSL_CERT"):
            fetch(file, tmp_path / "f.bin", Client(QUICK))
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(tmp_path / "own.pem"))
                fetch(file, tmp_path / name, Client(QUICK))
            assert (tmp_path / name).read_bytes() == BODY


def test_certificates_that_a_wrong_clock_or_a_log_in_page_spoils(tmp_path, monkeypatch):
    """All were called signed by nobody known here, with the advice to trust their authority."""

    def ask(host):
        with pytest.raises(AccessError) as caught:
            fetch(
                RemoteFile("f.bin", f"https://{host}:{server.server_port}/f.bin"),
                tmp_path / "f.bin",
                Client(QUICK),
            )
        return str(caught.value)

    with secure_server(tmp_path, monkeypatch) as (server, context):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
        assert "(its certificate is another host's, as where a network wants you to log in)" in ask("127.0.0.1")
        old, key = tmp_path / "old.pem", tmp_path / "key.pem"
        shorten = ["openssl", "x509", "-in", tmp_path / "own.pem", "-signkey", key, "-days", "-1", "-out", old]
        if subprocess.run(shorten, capture_output=True, check=False).returncode:
            pytest.skip("this openssl makes no certificate that has expired")
        monkeypatch.setenv("SSL_CERT_FILE", str(old))
        context.load_cert_chain(old, key)
        assert "(its certificate has expired; is the clock of this machine right?)" in ask("localhost")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_denies_or_is_gone_is_told(scheme, tmp_path, monkeypatch):
    def ask(proxy):
        for name in ("no_proxy", "NO_PROXY", f"{scheme}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        fetch(RemoteFile("f.bin", f"{scheme}://data.invalid/f.bin"), tmp_path / "f.bin", Client(QUICK))

    with Server() as server:
        server.find = lambda seen: Resource(b"", always=status(407))
        monkeypatch.setattr(Handler, "do_CONNECT", Handler.do_GET, raising=False)
        with pytest.raises(AccessError, match=r"prox.* wants a user and a password that fit"):
            ask(server.url)
    with pytest.raises(AccessError, match=r"through the proxy that http_proxy or https_proxy names: it cannot be"):
        ask(server.url)  # it is closed


def test_server_that_compresses_though_not_asked(server, resource, client, tmp_path):
    resource.body, resource.headers = gzip.compress(BODY), {"Content-Encoding": "gzip"}
    git = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()  # begins with the size, which no header tells
    fetch(wanted(server, git_blob=git), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_offline_opens_no_connection(server, client, tmp_path, monkeypatch):
    monkeypatch.setenv("CSP_DATA_OFFLINE", "1")
    with pytest.raises(AccessError, match="CSP_DATA_OFFLINE"):
        fetch(wanted(server), tmp_path / "f.bin", client)
    assert server.seen == []


def test_stopping_keeps_what_arrived(server, resource, client, tmp_path):
    watch, target = Watch(), tmp_path / "f.bin"
    resource.rate = 2e6
    threading.Timer(0.05, watch.stop.set).start()
    with pytest.raises(Stopped, match="bytes are kept"):
        fetch(wanted(server), target, client, watch=watch)
    kept = part_of(target).stat().st_size
    resource.rate, moved = None, []
    fetch(wanted(server), target, client, watch=Watch(moved=moved.append))
    assert 0 < kept < len(BODY)
    assert (moved[0], sum(moved)) == (kept, len(BODY))  # else a progress bar would end before its end
    assert server.seen[1].headers["Range"] == f"bytes={kept}-"
    assert target.read_bytes() == BODY


def test_stopping_does_not_wait_for_the_server(server, resource, tmp_path):
    """It asked to come back in a day, and the client would."""
    watch = Watch()
    resource.always = status(429, Retry_After="86400")
    threading.Timer(0.2, watch.stop.set).start()
    with pytest.raises(Stopped, match="Run the command again"):
        fetch(wanted(server), tmp_path / "f.bin", Client(Patience(tries=3, longest_wait_s=1e6)), watch=watch)
    assert len(server.seen) == 1


def test_file_larger_than_the_disk_is_refused_first(server, resource, client, tmp_path):
    resource.length = 1 << 60
    with pytest.raises(CspDataError, match=r"only .* are free.*CSP_DATA_HOME"):
        fetch(wanted(server, sha256="0" * 64), tmp_path / "f.bin", client)
    assert not (tmp_path / "f.bin").exists()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_small_files(client, tmp_path, size):
    with Server({"/f.bin": Resource(BODY[:size])}) as server:
        fetch(wanted(server, BODY[:size]), tmp_path / "f.bin", client)
    assert (tmp_path / "f.bin").read_bytes() == BODY[:size]
