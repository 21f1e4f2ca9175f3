"""Certificates: files that the environment names and that are none, and servers that are not trusted."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.hub import FakeHub
from fakes.socks import FakeSocks
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.network.certificates import trust
from launchdeck.network.download import download
from launchdeck.network.remote_file import RemoteFile
from launchdeck.network.session import ask

pytestmark = pytest.mark.usefixtures("plain_network")
TLS = Path(__file__).parents[2] / "data" / "tls"
HASH = "b89c4139.0"  # as 'openssl rehash' names it
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """Has a certificate that nobody has signed."""
    server = FakeHub(TLS / "server.pem")
    server.files = {"them/Tiny-GGUF/tiny.gguf": b"tiny"}
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_that_is_not_there_is_told_with_its_variable(monkeypatch, tmp_path, variable: str) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with pytest.raises(LaunchdeckError, match=rf"{variable} names .*/ca.pem, which cannot be used: it is not there"):
        trust()


def test_a_download_does_not_tell_it_as_a_full_disk(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(LaunchdeckError, match="SSL_CERT_FILE names") as refusal:
        asyncio.run(download(RemoteFile("http://127.0.0.1:1/x", 1), tmp_path / "x", lambda _: None))
    assert refusal.value.failure.cause is not Cause.DISK_FULL


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("content", [b"", b"no certificate", bytes(2000), b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_holds_no_certificate_is_told(monkeypatch, tmp_path, variable: str, content: bytes) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with pytest.raises(LaunchdeckError, match=rf"{variable} names .*: it holds no certificate"):
        trust()


def test_a_pipe_and_what_no_file_can_be_named_are_told(monkeypatch, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), "x" * 5000):
        monkeypatch.setenv("SSL_CERT_FILE", name)
        with pytest.raises(LaunchdeckError, match="SSL_CERT_FILE names"):
            trust()


@pytest.mark.parametrize("variable", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_a_folder_without_certificates_is_told(monkeypatch, tmp_path, variable: str) -> None:
    (tmp_path / "certificate.pem").write_bytes((TLS / "certificate.pem").read_bytes())
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(LaunchdeckError, match=f"{variable} names .*openssl rehash"):
        trust()


def test_a_log_of_keys_that_cannot_be_written_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys"))
    with pytest.raises(LaunchdeckError, match="SSLKEYLOGFILE names"):
        trust()


def test_the_systems_certificates_are_trusted_beside_those_that_come_along() -> None:
    context = trust()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_that_is_named_is_trusted(monkeypatch, server, variable: str) -> None:
    monkeypatch.setenv(variable, str(TLS / "certificate.pem"))
    assert ask(f"{server.url}/api/models").document() == [{"id": "them/Tiny-GGUF"}]


def test_folders_in_the_way_of_openssl(monkeypatch, server, tmp_path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / HASH).write_bytes((TLS / "certificate.pem").read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'nowhere'}{os.pathsep}{tmp_path / 'certs'}")
    assert ask(f"{server.url}/api/models").status == 200


def test_one_that_is_not_trusted_is_told_with_what_to_do(server) -> None:
    with pytest.raises(
        LaunchdeckError, match=r"certificate of 127.0.0.1:\d+ is not trusted: self-signed.*SSL_CERT_FILE"
    ):
        ask(f"{server.url}/api/models")


def test_one_of_another_host_is_told(monkeypatch, server) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    socks = FakeSocks(("127.0.0.1", server.server_address[1]))
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    try:
        assert ask("https://hub.test/api/models").status == 200
        with pytest.raises(LaunchdeckError, match=r"certificate of other.test is not trusted: .*other.test"):
            ask("https://other.test/api/models")
    finally:
        socks.close()


def test_a_server_without_tls_is_told() -> None:
    server = FakeHub()
    try:
        with pytest.raises(LaunchdeckError, match="does not speak TLS as it should"):
            ask(f"{server.url.replace('http', 'https')}/api/models")
    finally:
        server.shutdown()
        server.server_close()
