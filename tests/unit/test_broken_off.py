"""A CA whose commands were killed, whose disk forgot, or that is an older copy of itself."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from mcshell.errors import ConfigError, UsageError
from mcshell.pki import Authority, certificates
from mcshell.pki.keys import load_private, read_private, same_key

if TYPE_CHECKING:
    from pathlib import Path


class Killed(Exception):
    """The process ends here."""


def killed_at(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Have the CA's process die while it brings a file to the disk, after so many others."""
    left = writes

    def fsync(_file: int) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    monkeypatch.setattr(os, "fsync", fsync)


def revoked(ca: Authority) -> set[int]:
    """The serials of the CA's list."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl(ca.crl_pem)}


@pytest.mark.parametrize("writes", range(4))
def test_init_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """The same line makes the CA, or says that it is made; its key is the certificate's."""
    with monkeypatch.context() as patch, suppress(Killed):
        killed_at(patch, writes)
        Authority.init(tmp_path)
    try:
        Authority.init(tmp_path)
    except ConfigError:
        assert (tmp_path / "ca.pem").exists()
    made = Authority.open(tmp_path)
    assert same_key(load_private(read_private(tmp_path / "ca.key")), made.certificate.public_key())
    made.issue_pem("web1", "node")
    assert revoked(made) == set()
    with pytest.raises(ConfigError, match="holds a CA"):
        Authority.init(tmp_path)


def test_a_revocation_that_was_killed_before_its_list_is_in_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens the CA signs the list that the journal wants."""
    made = Authority.init(tmp_path)
    pem, _ = made.issue_pem("web1", "node")
    with monkeypatch.context() as patch:
        killed_at(patch, 1)
        with pytest.raises(Killed):
            made.revoke("web1")
    again = Authority.open(tmp_path)
    assert revoked(again) == {x509.load_pem_x509_certificate(pem).serial_number}
    with pytest.raises(UsageError, match="revoked already"):
        again.revoke("web1")


@pytest.mark.parametrize("rest", [b'{"event":"issued","name":"we', b"\0\0\0\0"])
def test_a_line_of_the_journal_that_was_cut_off_is_taken_away_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    """Nobody has what it tells of; what is whole stays, and the next line stands alone."""
    Authority.init(tmp_path).issue_pem("web1", "node")
    with (tmp_path / "issued.jsonl").open("ab") as journal:
        journal.write(rest)
    Authority.open(tmp_path).issue_pem("web2", "node")
    assert "the last line is cut off" in caplog.text
    assert [one["name"] for one in Authority.open(tmp_path).listing()] == ["web1", "web2"]


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    """As an editor leaves it: it is an entry, and the next one does not spoil it."""
    Authority.init(tmp_path).issue_pem("web1", "node")
    journal = tmp_path / "issued.jsonl"
    journal.write_bytes(journal.read_bytes().rstrip())
    Authority.open(tmp_path).issue_pem("web2", "node")
    assert [one["name"] for one in Authority.open(tmp_path).listing()] == ["web1", "web2"]


def test_an_older_copy_goes_on_from_the_newest_list_that_is_brought_into_it(
    tmp_path: Path,
) -> None:
    """Neither its number goes back, nor is anybody taken back in whom the copy's journal does not know."""
    made = Authority.init(tmp_path)
    older = {path: path.read_bytes() for path in tmp_path.iterdir()}
    pem, _ = made.issue_pem("web1", "node")
    number = made.revoke("web1")
    newest = made.crl_pem
    for path, content in older.items():
        path.write_bytes(content)
    (tmp_path / "crl.pem").write_bytes(newest)
    restored = Authority.open(tmp_path)
    restored.issue_pem("web2", "node")
    assert restored.revoke("web2") == number + 1
    assert x509.load_pem_x509_certificate(pem).serial_number in revoked(restored)


@pytest.mark.parametrize("whose", ["cut off", "another CA's"])
def test_a_list_that_is_none_of_ours_is_said(tmp_path: Path, whose: str) -> None:
    """What number comes next nobody knows then."""
    Authority.init(tmp_path / "ca")
    other = Authority.init(tmp_path / "other").crl_pem
    text = other if whose == "another CA's" else b"-----BEGIN X509 CRL-----\nAAAA"
    (tmp_path / "ca" / "crl.pem").write_bytes(text)
    with pytest.raises(ConfigError, match=r"crl\.pem: no revocation list of this CA .* bring the"):
        Authority.open(tmp_path / "ca")


@pytest.mark.parametrize("name", ["ca", "crl", "ca.second", "ca.retired"])
def test_no_certificate_takes_the_place_of_the_cas_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By whatever path the folder is named: its key would be gone."""
    made = Authority.init(tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"own {name}\.pem"):
        made.issue(name, "node", os.curdir, renew=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_list_of_a_hundred_thousand_is_signed_in_seconds(tmp_path: Path) -> None:
    """What it takes grows with its length alone."""
    made = Authority.init(tmp_path)
    ca = made.cas[0]
    entries = [(1 << 150 | number, 1e9) for number in range(100_000)]
    began = time.process_time()
    crl = certificates.build_crl(
        ca.certificate.subject, ca.key, ca.identifier, number=2, now=time.time(), revoked=entries
    )
    assert time.process_time() - began < 8
    assert len(certificates.revoked_in(crl)) == len(entries)
