"""TotalCapture, which asks for a name and a password."""

from __future__ import annotations

from dataclasses import replace

import pytest

import csp_data
from csp_data.acquire.consent import credentials_for
from csp_data.card import load_card
from csp_data.errors import AccessError

from .conftest import fetch, run
from .servers import Resource, Server, status, tree


@pytest.mark.parametrize(
    ("way", "challenge"),
    [("environment", "Basic"), ("netrc", "Basic"), ("prompt", "Basic"), ("environment", "Digest")],
)
def test_totalcapture_with_http_authentication(
    totalcapture, empty_home, monkeypatch, tmp_path, way, challenge, caplog
):
    """Names on the server vary in case; a redirect leads to another host, which sees no password."""
    with Server(host="127.0.0.2") as store, Server() as server:
        for path, resource in tree(totalcapture).items():
            name = path[1:].replace("_imu.tar", "_imu.tar.gz").replace(".gz.gz", ".gz")
            if "vicon" in name:
                store.resources["/" + name] = resource
                resource = Resource(
                    b"", always=lambda h, r, name=name: status(302, b"", Location=f"{store.url}/{name}")(h, r)
                )
            server.resources[f"/tc/{name}"] = resource
            resource.user = ("ann", "s3cret")
            resource.challenges = (
                'Basic realm="data"'
                if challenge == "Basic"
                else f'Digest realm="data", qop="auth", nonce="{server.nonce}"',
            )
        for name in ("USER", "PASSWORD"):
            monkeypatch.delenv(f"CSP_DATA_TOTALCAPTURE_{name}", raising=False)
        ask = None
        if way == "environment":
            monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_USER", "ann")
            monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_PASSWORD", "s3cret")
        elif way == "netrc":
            (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
            (tmp_path / "netrc").chmod(0o600)
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        else:
            ask = lambda host: ("ann", "s3cret")  # noqa: E731
        for resource in store.resources.values():
            resource.user = None
        with caplog.at_level("DEBUG"), pytest.raises(AccessError) as caught:
            fetch("totalcapture", mirror=server.url + "/tc", accept_licence=True, ask_password=ask)
        assert "Gyro_Mag" in str(caught.value)  # which this mirror does not hold
        assert not any("Authorization" in seen.headers for seen in store.seen)
        assert len(store.seen) >= 5
    report = csp_data.verify("totalcapture")
    assert not report.failures
    assert {file.trust for file in report.present} == {"locked"}
    path = csp_data.prepare("totalcapture")
    dataset = csp_data.load("totalcapture")
    assert dataset.path == path
    assert len(dataset.train) > 0
    assert len(dataset.targets.names) == 63
    written = b"".join(path.read_bytes() for path in empty_home.rglob("*") if path.is_file())
    assert b"s3cret" not in written
    assert "s3cret" not in caplog.text + str(caught.value) + "".join(str(seen.path) for seen in server.seen)


def test_totalcapture_without_password(empty_home):
    result = run("download", "totalcapture", "--accept-licence")
    assert result.exit_code == 4
    assert "CSP_DATA_TOTALCAPTURE_PASSWORD" in result.stderr
    assert ".netrc" in result.stderr


def test_a_name_that_no_variable_can_have(monkeypatch):
    card = replace(load_card("totalcapture"), name="tool-hand 2")
    with pytest.raises(AccessError, match="Set CSP_DATA_TOOL_HAND_2_USER and CSP_DATA_TOOL_HAND_2_PASSWORD, or"):
        credentials_for(card, "https://lab.example/x")
    monkeypatch.setenv("CSP_DATA_TOOL_HAND_2_USER", "ann")
    monkeypatch.setenv("CSP_DATA_TOOL_HAND_2_PASSWORD", "s3cret")
    assert credentials_for(card, "https://lab.example/x").user == "ann"


def test_wrong_password(empty_home):
    served = {"/S1_imu.tar.gz": Resource(b"x", user=("ann", "right"))}
    with Server(served) as server, pytest.raises(AccessError, match="denies access") as caught:
        fetch("totalcapture", mirror=server.url, accept_licence=True, ask_password=lambda host: ("ann", "wrong!"))
    assert "wrong!" not in str(caught.value)
