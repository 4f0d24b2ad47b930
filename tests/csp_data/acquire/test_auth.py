"""User and password: given as the server asks for them, when it asks, and to nobody else."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from csp_data.acquire.auth import Credentials, answer_to, origin
from csp_data.acquire.client import Client
from csp_data.acquire.transfer import RemoteFile, fetch
from csp_data.errors import AccessError

from .conftest import QUICK, noise
from .servers import Resource, Server, digest_response, redirect

BODY = noise(100_000)
USER = ("ann", "s3cret")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
BASIC = 'Basic realm="the data, or not"'
MD5 = f'Digest realm="data", qop="auth", nonce="{NONCE}", opaque="x"'
SHA256 = f'Digest realm="data", qop="auth,auth-int", algorithm=SHA-256, nonce="{NONCE}"'


def served(*challenges: str) -> Resource:
    return Resource(BODY, etag='"1"', user=USER, challenges=challenges)


def client_of(server: Server, user: tuple[str, str] = USER) -> Client:
    return Client(QUICK, Credentials(origin(server.url), *user))


def test_the_servers_own_digest_is_the_standards():
    """RFC 7616, 3.9.1: the example of the standard, for the side that checks."""
    said = {
        "realm": "http-auth@example.org",
        "nonce": NONCE,
        "uri": "/dir/index.html",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
    }
    user = ("Mufasa", "Circle of Life")
    assert digest_response({**said, "algorithm": "MD5"}, user, "GET") == "8ca523f5e9506fed4657c9700eebdbec"
    assert digest_response({**said, "algorithm": "SHA-256"}, user, "GET") == (
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_is_let_in_too(tmp_path):
    with Server({"/f.bin": served(MD5)}) as server:
        command = [
            "curl",
            "-sf",
            "--digest",
            "-u",
            ":".join(USER),
            "-o",
            str(tmp_path / "f"),
            server.url + "/f.bin",
        ]
        subprocess.run(command, check=True)
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize(
    ("challenges", "scheme"),
    [
        ((BASIC,), "Basic"),
        ((MD5,), "Digest"),
        ((SHA256,), "Digest"),
        ((BASIC, MD5), "Digest"),
        ((MD5, BASIC), "Digest"),
    ],
    ids=["basic", "digest", "sha-256", "basic first", "digest first"],
)
def test_answers_as_it_is_asked(tmp_path, challenges, scheme):
    """The stronger of what is offered, when it is asked: never the password itself where Digest is offered."""
    with Server({f"/{name}": served(*challenges) for name in ("a.bin", "b.bin")}) as server:
        client = client_of(server)
        for name in ("a.bin", "b.bin"):
            fetch(RemoteFile(name, f"{server.url}/{name}?v=1"), tmp_path / name, client)
            assert (tmp_path / name).read_bytes() == BODY
        sent = [seen.headers.get("Authorization", "") for seen in server.seen]
    assert sent[0] == ""
    assert {text.split(" ")[0] for text in sent if text} == {scheme}
    assert sent[-1]
    assert [seen.path for seen in server.seen].count("/b.bin") == 1  # the second file is not asked twice


def test_digest_is_resumed_and_a_stale_nonce_is_renewed(tmp_path):
    resource = served(MD5)
    resource.cut = 40_000
    with Server({"/f.bin": resource}) as server:
        client = client_of(server)

        def renew(handler, resource):
            if handler.headers.get("Range") and server.nonce == NONCE:
                server.nonce = "another"
                resource.challenges = (MD5.replace(NONCE, "another") + ", stale=true",)
                handler.challenge(resource.challenges)
                return True
            return False

        resource.always = renew
        fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client)
        assert server.seen[-1].headers["Range"] == "bytes=40000-"
    assert (tmp_path / "f.bin").read_bytes() == BODY


@pytest.mark.parametrize("challenge", [BASIC, MD5])
def test_wrong_password_is_told_and_not_shown(tmp_path, challenge):
    with (
        Server({"/f.bin": served(challenge)}) as server,
        pytest.raises(AccessError, match=r"f\.bin: the server denies access \(401\)") as caught,
    ):
        fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client_of(server, ("ann", "wrong!")))
    assert "wrong!" not in str(caught.value)
    assert "import" in str(caught.value)
    assert len(server.seen) <= 3


@pytest.mark.parametrize("challenge", ["Negotiate", "NTLM, Bearer realm=x", ""])
def test_other_schemes_are_named_and_get_nothing(tmp_path, challenge):
    with (
        Server({"/f.bin": served(*([challenge] if challenge else []))}) as server,
        pytest.raises(AccessError, match="only Basic and Digest") as caught,
    ):
        fetch(RemoteFile("f.bin", server.url + "/f.bin"), tmp_path / "f.bin", client_of(server))
    assert not any("Authorization" in seen.headers for seen in server.seen)
    assert (challenge.split(",")[0].lower() or "does not say") in str(caught.value)


@pytest.mark.parametrize("challenge", [BASIC, MD5])
@pytest.mark.parametrize("elsewhere", ["127.0.0.2", "127.0.0.1"])
def test_another_host_may_ask_and_gets_nothing(tmp_path, challenge, elsewhere):
    """After a redirect another host, or port, asks for a password itself: it is not told any."""
    with Server({"/f.bin": served(challenge)}, host=elsewhere) as other, Server() as first:
        first.resources["/x"] = Resource(
            b"", always=redirect(other.url + "/f.bin"), user=USER, challenges=(challenge,)
        )
        with pytest.raises(AccessError, match=r"denies access \(401\)"):
            fetch(RemoteFile("x", first.url + "/x"), tmp_path / "x", client_of(first))
    assert any("Authorization" in seen.headers for seen in first.seen)
    assert len(other.seen) == 1
    assert "Authorization" not in other.seen[0].headers


def test_scheme_names_are_read_not_guessed():
    """A scheme's name within a quoted string is none."""
    mine = Credentials("https://x:443", *USER)
    assert isinstance(answer_to('Basic realm="Digest x, Digest y"', mine), HTTPBasicAuth)
    assert isinstance(answer_to(f"NEGOTIATE, basic realm=x, dIgEsT {MD5[7:]}", mine), HTTPDigestAuth)
