"""TLS with a head-end: verified by default, expired and strange certificates are trouble in one line, mutual where it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.openadr3.ven import Ven
from ems.errors import DataError
from ems.program.channel import ChannelFile
from simulators.openadr3.serve import SITE, AppServer
from simulators.openadr3.vtn import Vtn
from tests.adapters.certificates import Authority
from tests.adapters.openadr3.headend import NOW


@contextmanager
def served(**tls: Any) -> Iterator[str]:
    with AppServer(Vtn([SITE], lambda: NOW).app, **tls) as server:
        yield server.url


def trouble(url: str, folder: Path, **more: Any) -> str:
    """What a look says is wrong, "" when it worked."""
    (folder / "secret").write_text(SITE.secret)
    given = {"id": "dso", "profile": "openadr-3.1", "url": url, "programs": {"Flex": "nonfirm-connection"}, "client_id": SITE.id}
    ven = Ven(ChannelFile.model_validate({**given, "secret_file": "secret", **more}), folder / "channels.yaml")
    try:
        return ven.look(NOW, ()).trouble
    finally:
        ven.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_certificate_of_a_known_authority_is_taken_and_of_an_unknown_one_not(authority: Authority, tmp_path: Path):
    pair = authority.pair("vtn")
    stranger = Authority(tmp_path, "stranger")
    with served(certificate=pair.certificate, key=pair.key) as url:
        assert trouble(url, tmp_path, ca_file=authority.file.name) == ""
        assert "CERTIFICATE_VERIFY_FAILED" in trouble(url, tmp_path, ca_file=stranger.file.name)
        assert "CERTIFICATE_VERIFY_FAILED" in trouble(url, tmp_path)
        assert trouble(url, tmp_path, verify_tls=False) == ""


def test_an_expired_certificate_is_refused_and_said(authority: Authority, tmp_path: Path):
    pair = authority.pair("old", days=-1)
    with served(certificate=pair.certificate, key=pair.key) as url:
        assert "certificate has expired" in trouble(url, tmp_path, ca_file=authority.file.name)


def test_a_head_end_that_asks_for_our_certificate_gets_it(authority: Authority, tmp_path: Path):
    pair, ours = authority.pair("vtn"), authority.pair("site")
    with served(certificate=pair.certificate, key=pair.key, authority=authority.file) as url:
        assert trouble(url, tmp_path, ca_file=authority.file.name) != ""
        assert trouble(url, tmp_path, ca_file=authority.file.name, cert_file=ours.certificate.name, key_file=ours.key.name) == ""


def test_files_that_are_no_certificates_are_one_clear_line(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(DataError, match="channel dso: certificates cannot be used"):
        trouble("https://127.0.0.1:1", tmp_path, ca_file="ca.pem")


def test_plain_http_is_for_this_machine_only():
    given = {"id": "dso", "profile": "openadr-3.1", "programs": {"Flex": "nonfirm-connection"}}
    assert ChannelFile.model_validate({**given, "url": "http://127.0.0.1:1"}).verify_tls
    with pytest.raises(ValidationError, match="https://"):
        ChannelFile.model_validate({**given, "url": "http://vtn.example/openadr3"})
