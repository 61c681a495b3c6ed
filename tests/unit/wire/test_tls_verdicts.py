"""Which broker's certificate the connection takes: a handshake a row, both ends in memory."""

from __future__ import annotations

import contextlib
import ssl
import time

import pytest

from mcshell.pki import Authority
from mcshell.wire.stomp.endpoint import TLSFiles, tls_context, words_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Certificates of a broker: the right one, and what others may show in its place."""
    folder = tmp_path_factory.mktemp("tls")
    ca = Authority.init(folder / "pki", "lab", mark="")
    namesake = Authority.init(folder / "evil", "lab", mark="")
    ca.issue("alice", "operator", out=folder)
    ca.issue("right", "node", out=folder, dns=["localhost"])
    ca.issue("other", "node", out=folder)
    namesake.issue("foreign", "node", out=folder, dns=["localhost"])
    expired = ca.issue_pem(
        "expired", "node", dns=["localhost"], lifetime=3600, not_before=time.time() - 7200
    )
    for suffix, pem in zip(("pem", "key"), expired, strict=True):
        (folder / f"expired.{suffix}").write_bytes(pem)
    return folder


def handshake(folder, who, host, *, version=None):
    """Connect as alice to a broker that shows `who`; None, or why it is refused, in our words."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
    if version is not None:
        server.minimum_version = server.maximum_version = version
    client = tls_context(
        TLSFiles(folder / "pki" / "ca.pem", folder / "alice.pem", folder / "alice.key")
    )
    a, b, c, d = (ssl.MemoryBIO() for _ in range(4))
    theirs = server.wrap_bio(a, b, server_side=True)
    ours = client.wrap_bio(c, d, server_hostname=host)
    try:
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                ours.do_handshake()
            a.write(d.read())
            with contextlib.suppress(ssl.SSLWantReadError):
                theirs.do_handshake()
            c.write(b.read())
    except ssl.SSLError as error:
        return words_of(error)
    assert ours.version() in {"TLSv1.2", "TLSv1.3"}
    return None


ROWS = {
    "the right one": ("right", "localhost", None),
    "its own name": ("right", "right", None),
    "another node's": ("other", "localhost", "Hostname mismatch"),
    "a CA of the same name": ("foreign", "localhost", "unable to get local issuer"),
    "expired": ("expired", "localhost", "has expired"),
    "an address that it does not name": ("right", "127.0.0.1", "IP address mismatch"),
    "an operator's": ("alice", "localhost", "Hostname mismatch"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_broker_is_taken_for_the_name_that_was_asked_for(folder, row):
    """The fleet's CA, the dates and the name must fit; each refusal says which does not."""
    who, host, words = ROWS[row]
    said = handshake(folder, who, host)
    assert said is None if words is None else words in said


def test_only_tls_1_2_and_1_3_are_spoken(folder):
    """Both work, and the client's least is 1.2."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert handshake(folder, "right", "localhost", version=version) is None
    client = tls_context(TLSFiles(folder / "pki" / "ca.pem"))
    assert client.minimum_version == ssl.TLSVersion.TLSv1_2
