"""A small certificate authority for fleets without one: what `mcshell pki` and the demo use.

One directory: `ca.pem`, `ca.key` (0600), `crl.pem`, and `issued.jsonl`, a journal with one line
for each certificate issued or revoked. A certificate is in the journal before anyone has it, so
that whatever exists can be revoked by name. A lock on the journal keeps two processes apart.

While a fleet goes from one CA to the next the directory holds both (`rotation`), and there is one journal
for both, and a list of each in `crl.pem`.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.errors import ConfigError, UsageError, did_you_mean
from mcshell.pki import certificates, rotation
from mcshell.pki.identity import check_name
from mcshell.pki.journal import IssuedCertificate, append, held, issued, mended, read_issued
from mcshell.pki.keys import checking, dump_private, load_private, read_private, signing
from mcshell.private import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mcshell.pki.identity import Kind
    from mcshell.pki.journal import CertificateStatus
    from mcshell.pki.keys import PublicKey

__all__ = ["Authority"]

DAY: Final = 86_400.0
LEAF_LIFE: Final = 365 * DAY
RENEWAL: Final = 30 * DAY
_TOLD: Final = 8
"""So many names are said."""
_JOURNAL: Final = "issued.jsonl"
_OWN: Final = ("ca", "ca.second", "ca.retired", "crl")
"""Whose .pem and .key in the directory are the CA's."""


class Authority:
    """A CA in a directory. One thread owns it; other processes are kept out by a lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cas: tuple[rotation.KeyedCA, ...] = ()
        self._pem = b""
        self._stamp: object = None
        """Of the file that the CAs were read from."""
        self._entries: dict[str, list[IssuedCertificate]] = {}
        self._by_serial: dict[int, IssuedCertificate] = {}
        self._hosts: dict[str, list[IssuedCertificate]] = {}
        self._read = 0
        self._lines = 0

    @classmethod
    def init(
        cls,
        directory: str | os.PathLike[str],
        name: str = "mcshell CA",
        *,
        mark: str | None = None,
        not_before: float | None = None,
    ) -> Authority:
        """Make a new CA, whose common name is `name` and a mark that no other has (by default).

        It is good from `not_before` on (epoch; default: now).

        Raises:
            ConfigError: the directory holds a CA already.
            UsageError: a name that no certificate can bear.
        """
        name = _marked(name, mark)
        home = Path(directory)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held(home / _JOURNAL) as journal:
            file = home / "ca.pem"
            if file.exists() or os.fstat(journal).st_size:
                raise ConfigError(f"{home} holds a CA already, or its journal")
            if not (home / "ca.key").exists():  # else an earlier call had got so far
                replace_file(home / "ca.key", dump_private(Ed25519PrivateKey.generate()), 0o600)
            key = load_private(read_private(home / "ca.key"), str(home / "ca.key"))
            since = time.time() if not_before is None else not_before
            certificate = certificates.build_ca(key, name, since)
            replace_file(file, certificate.public_bytes(Encoding.PEM), 0o644)
        return cls.open(home)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, mend: bool = True) -> Authority:
        """Open an existing CA: ours, or any `ca.pem` and `ca.key` of RSA, ECDSA or Ed25519.

        What was broken off is finished, unless who opens it only looks (`mend` is false).

        Raises:
            ConfigError: there is none, its key can be read by others, or the two do not match.
        """
        home = Path(directory)
        rotation.read_cas(home)  # before a file is made
        authority = cls(home)
        if mend:
            with authority._journal():
                rotation.tidy_keys(home, authority._cas)
            if authority.list_due:
                authority.publish()
        return authority

    @property
    def list_due(self) -> bool:
        """Whether a CA has no revocation list, or one in which a revocation of the journal is missing."""
        with self._journal():
            listed = self._listed()
            return any(
                ca.id not in listed or self._revoked(ca).keys() - listed[ca.id][1].keys()
                for ca in self._cas
            )

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the CA that signs."""
        return self.cas[0].certificate

    @property
    def cas(self) -> tuple[rotation.KeyedCA, ...]:
        """The CAs as they are now, first the one that signs."""
        with self._journal():
            return self._cas

    @property
    def ca_pem(self) -> bytes:
        """The file of CAs that are to be trusted."""
        with self._journal():
            return self._pem

    @property
    def retired_pem(self) -> bytes:
        """Those that are to be trusted no more."""
        return rotation.read_retired(self.directory)

    @property
    def crl_pem(self) -> bytes:
        """The newest revocation list."""
        return (self.directory / "crl.pem").read_bytes()

    def issue(
        self,
        name: str,
        kind: Kind,
        out: str | os.PathLike[str] | None = None,
        *,
        dns: Sequence[str] = (),
        ip: Sequence[str] = (),
        renew: bool = False,
        lifetime: float = LEAF_LIFE,
        not_before: float | None = None,
    ) -> tuple[Path, Path]:
        """Issue a certificate into `out` (default: the CA's directory) as NAME.pem and NAME.key.

        A login's are NAME.login.pem and NAME.login.key.

        Raises:
            UsageError: a name that cannot be, or that has a valid certificate; a file in the way.
        """
        paths = self._paths(name, kind, out, renew=renew)
        certificate, key = self.issue_pem(
            name, kind, dns=dns, ip=ip, renew=renew, lifetime=lifetime, not_before=not_before
        )
        with self._journal():  # of two at once both files are one's
            replace_file(paths[1], key, 0o600)
            replace_file(paths[0], certificate, 0o644)
        return paths

    def issue_for(
        self,
        name: str,
        kind: Kind,
        public: PublicKey,
        out: str | os.PathLike[str] | None = None,
        *,
        renew: bool = False,
    ) -> Path:
        """Issue a certificate for a key that is elsewhere, as NAME.pem; raises as `issue`."""
        path, _ = self._paths(name, kind, out, renew=renew)
        replace_file(path, self.certify(name, kind, public, renew=renew), 0o644)
        return path

    def _paths(
        self, name: str, kind: Kind, out: str | os.PathLike[str] | None, *, renew: bool
    ) -> tuple[Path, Path]:
        """Where certificate and key go; a login's have a name of their own beside the identity's."""
        name = check_name(name, kind)
        stem = f"{name}.login" if kind == "login" else name
        target = self.directory if out is None else Path(out)
        target.mkdir(parents=True, exist_ok=True)
        paths = target / f"{stem}.pem", target / f"{stem}.key"
        for path in paths:
            if path.exists() and not renew:
                raise UsageError(f"{path} is there already; nothing was issued")
        if stem in _OWN and target.samefile(self.directory):
            raise UsageError(f"{name!r} would overwrite the CA's own {paths[0].name}")
        return paths

    def issue_pem(
        self,
        name: str,
        kind: Kind,
        *,
        dns: Sequence[str] = (),
        ip: Sequence[str] = (),
        renew: bool = False,
        lifetime: float = LEAF_LIFE,
        not_before: float | None = None,
    ) -> tuple[bytes, bytes]:
        """Issue a certificate in memory: PEM of certificate and key.

        A node's certificate carries its name as DNS SAN; `dns` and `ip` add more, for a broker.
        `lifetime` is seconds from `not_before` (epoch; default: now). A second certificate for a
        name with a valid one is refused, until 30 days before the end or with `renew`.
        """
        key = Ed25519PrivateKey.generate()
        pem = self.certify(
            name,
            kind,
            key.public_key(),
            dns=dns,
            ip=ip,
            renew=renew,
            lifetime=lifetime,
            not_before=not_before,
        )
        return pem, dump_private(key)

    def certify(
        self,
        name: str,
        kind: Kind,
        public: PublicKey,
        *,
        dns: Sequence[str] = (),
        ip: Sequence[str] = (),
        renew: bool = False,
        lifetime: float = LEAF_LIFE,
        not_before: float | None = None,
    ) -> bytes:
        """Issue a certificate (PEM) for a key that somebody else has, as `issue_pem` does.

        Raises:
            UsageError: a name that cannot be, or has a valid certificate; a key that we do not take.
        """
        name = check_name(name, kind)
        try:
            checking(public)
        except ValueError as error:
            raise UsageError(f"{error}; nothing was issued") from error
        now = time.time()
        start = now if not_before is None else not_before
        with self._journal() as journal:
            self._refuse_double(name, kind, now, renew=renew)
            serial = x509.random_serial_number()
            ca = self._cas[0]
            end = min(start + lifetime, ca.certificate.not_valid_after_utc.timestamp())
            entry = IssuedCertificate(
                name=name,
                kind=kind,
                serial=serial,
                issued=start,
                expires=end,
                ca=ca.id,
                dns=tuple(host.lower() for host in dns),
            )
            self._append(journal, issued(entry))
            self._index(entry)
            os.fsync(journal)
        leaf = certificates.Leaf(
            name=name, kind=kind, serial=serial, start=start, end=end, dns=tuple(dns), ip=tuple(ip)
        )
        certificate = certificates.build_leaf(
            leaf, public, ca.certificate.subject, ca.key, ca.identifier
        )
        return certificate.public_bytes(Encoding.PEM)

    def listing(self) -> list[dict[str, Any]]:
        """All certificates, oldest first: name, kind, serial (hex), issued, expires, status, ca."""
        now = time.time()
        with self._journal():
            return [
                {
                    "name": entry.name,
                    "kind": entry.kind,
                    "serial": f"{entry.serial:x}",
                    "issued": entry.issued,
                    "expires": entry.expires,
                    "revoked": entry.revoked,
                    "status": entry.status(now, self._ids),
                    "ca": entry.ca,
                }
                for entry in self._by_serial.values()
            ]

    def ending(self, within: float) -> list[dict[str, Any]]:
        """Of each name and kind the valid certificate that ends last, where that is within so many seconds.

        The first to end is the first; as `listing`.
        """
        last: dict[tuple[str, str], dict[str, Any]] = {}
        for entry in self.listing():
            who = entry["name"], entry["kind"]
            if entry["status"] == "valid" and entry["expires"] >= last.get(who, entry)["expires"]:
                last[who] = entry
        until = time.time() + within
        return sorted(
            (one for one in last.values() if one["expires"] < until), key=lambda one: one["expires"]
        )

    def statuses(self, name: str) -> set[CertificateStatus]:
        """What the certificates of a name are worth now, of any kind."""
        now = time.time()
        with self._journal():
            return {entry.status(now, self._ids) for entry in self._entries.get(name.lower(), ())}

    def serves(self, host: str) -> bool:
        """Whether another name's certificate that is good now is for a host: its broker's."""
        now = time.time()
        with self._journal():
            found = self._hosts.get(host.lower(), ())
            return any(one.status(now, self._ids) == "valid" for one in found if one.name != host)

    def of_serial(self, text: str) -> IssuedCertificate:
        """What was issued under a serial, as openssl, step or we print one; raises UsageError."""
        digits = text.lower().removeprefix("serial=").removeprefix("0x").replace(":", "")
        with self._journal():
            for base in (16, 10):
                try:
                    found = self._by_serial.get(int(digits, base))
                except ValueError:
                    continue
                if found is not None:
                    return found
        raise UsageError(
            f"no certificate of the serial {text[:80]!r} was issued here (mcshell pki list)"
        )

    def revoke(self, name: str, kind: Kind | None = None, serial: int | None = None) -> int:
        """Revoke all certificates of a name (of one kind, of a serial) and sign a new CRL; returns its number.

        Raises:
            UsageError: nobody of that name, or all of its certificates are revoked already.
        """
        name = name.lower()
        now = time.time()
        with self._journal() as journal:
            if not name:
                raise UsageError("whose? NAME or --serial is meant")
            if name not in self._entries:
                hint = did_you_mean(name, self._entries)
                raise UsageError(f"no certificate was issued for {name!r}{hint}")
            meant = [
                entry
                for entry in self._entries[name]
                if kind in (None, entry.kind) and serial in (None, entry.serial)
            ]
            if not meant:
                raise UsageError(f"{name!r} has no such certificate (mcshell pki list)")
            standing = [entry for entry in meant if entry.revoked is None]
            if not standing:
                raise UsageError(f"{name!r} is revoked already")
            for entry in standing:
                digits = f"{entry.serial:x}"
                self._append(
                    journal, {"event": "revoked", "name": name, "serial": digits, "revoked": now}
                )
                entry.revoked = now
            os.fsync(journal)
        return self.publish()

    def publish(self) -> int:
        """Sign the CRL of each CA anew, with the next number and the present date; returns the number."""
        with self._journal():
            listed = self._listed()
            number = 1 + max((number for number, _ in listed.values()), default=0)
            lists = [
                self._crl(ca, number, listed.get(ca.id, (0, {}))[1] | self._revoked(ca))
                for ca in self._cas
            ]
            replace_file(self.directory / "crl.pem", b"".join(lists), 0o644)
        return number

    def _listed(self) -> dict[str, tuple[int, dict[int, float]]]:
        """By the CA: the number of its list, and who is revoked in it, when."""
        # More than the journal knows, where the directory is an older copy with the newest list.
        path = self.directory / "crl.pem"
        if not path.exists():
            return {}
        try:
            lists = certificates.lists_in(path.read_bytes())
        except (OSError, ValueError) as error:
            why, _, _page = str(error).partition(". See https://")
            raise _no_list(path, why) from error
        found = {
            ca.id: (certificates.crl_number(crl) or 0, certificates.revoked_in(crl))
            for ca in self._cas
            for crl in lists
            if certificates.signed_by(crl, ca.certificate)
        }
        if not found:
            raise _no_list(path, "another CA has signed it")
        return found

    def _revoked(self, ca: rotation.KeyedCA) -> dict[int, float]:
        """What a CA has issued and taken back, when."""
        return {
            entry.serial: entry.revoked
            for entry in self._by_serial.values()
            if entry.revoked is not None and entry.ca in ("", ca.id)
        }

    def _crl(self, ca: rotation.KeyedCA, number: int, revoked: Mapping[int, float]) -> bytes:
        """The list of one CA (PEM)."""
        crl = certificates.build_crl(
            ca.certificate.subject,
            ca.key,
            ca.identifier,
            number=number,
            now=time.time(),
            revoked=revoked.items(),
        )
        return crl.public_bytes(Encoding.PEM)

    @property
    def _ids(self) -> set[str]:
        return {ca.id for ca in self._cas}

    def introduce(self, name: str = "mcshell CA") -> rotation.KeyedCA:
        """Make the CA that is to take the place of this one; it is trusted, and does not sign yet.

        Raises:
            UsageError: there are two already; a name that no certificate can bear.
        """
        name = _marked(name, None)
        with self._journal() as journal:
            if len(self._cas) > 1:
                raise UsageError(f"{self.directory} has two CAs already: one at a time is changed")
            rotation.tidy_keys(self.directory, self._cas)
            self._append(journal, {"event": "ca", "ca": self._cas[0].id})
            self._name_first(self._cas[0].id)
            os.fsync(journal)
            key = Ed25519PrivateKey.generate()
            new = rotation.KeyedCA.of(certificates.build_ca(key, name, time.time()), key)
            rotation.write_second_key(self.directory, dump_private(key))
            rotation.write_cas(self.directory, (*self._cas, new))
        self.publish()
        return new

    def switch(self) -> rotation.KeyedCA:
        """Have the other CA sign from now on, which is that one; raises UsageError without one."""
        with self._journal():
            before, new = self._two()
            rotation.write_cas(self.directory, (new, before))
        return new

    def retire(self, *, force: bool = False) -> rotation.KeyedCA:
        """Trust the CA that does not sign no more, which is that one; its key is removed.

        Raises:
            UsageError: there is one alone; somebody has no certificate that would be trusted (unless
                it is with `force`).
        """
        with self._journal():
            new, old = self._two()
            left = sorted(self._holders(old) - self._holders(new))
            if left and not force:
                some = ", ".join(f"{kind} {name}" for name, kind in left[:_TOLD])
                more = f" and {len(left) - _TOLD} more" if len(left) > _TOLD else ""
                raise UsageError(
                    f"no certificate of the CA that signs have: {some}{more}; renew or revoke them,"
                    " or say --force"
                )
            rotation.retire(self.directory, old)
            rotation.write_cas(self.directory, (new,))
            rotation.tidy_keys(self.directory, (new,))
        self.publish()
        return old

    def _two(self) -> Sequence[rotation.KeyedCA]:
        if len(self._cas) < 2:  # noqa: PLR2004 - that many
            raise UsageError(f"{self.directory} has one CA: mcshell pki rotate begin makes another")
        return self._cas[:2]

    def holders(self) -> list[tuple[rotation.KeyedCA, set[tuple[str, Kind]]]]:
        """Each CA, first the one that signs, with those who have a valid certificate of it."""
        with self._journal():
            return [(ca, self._holders(ca)) for ca in self._cas]

    def _holders(self, ca: rotation.KeyedCA) -> set[tuple[str, Kind]]:
        now = time.time()
        return {
            (entry.name, entry.kind)
            for entry in self._by_serial.values()
            if entry.ca in ("", ca.id) and entry.status(now, self._ids) == "valid"
        }

    def sign(self, text: bytes) -> list[bytes]:
        """Sign a text as each of the CAs."""
        return [signing(ca.key)(text) for ca in self.cas]

    def _refuse_double(self, name: str, kind: Kind, now: float, *, renew: bool) -> None:
        every = [e for e in self._entries.get(name, ()) if e.status(now, self._ids) == "valid"]
        for entry in every:
            if entry.kind != kind and "login" not in (entry.kind, kind):
                raise UsageError(f"{name!r} is a valid {entry.kind}'s name; revoke it first")
        valid = [entry for entry in every if entry.kind == kind]
        if valid and not renew and max(e.expires for e in valid) - now > RENEWAL:
            until = datetime.fromtimestamp(valid[-1].expires, UTC).date()
            raise UsageError(
                f"{name!r} has a certificate, valid until {until}; revoke it first, or say --renew"
            )

    @contextmanager
    def _journal(self) -> Iterator[int]:
        """Hold the journal's lock, with all that others appended or changed read in."""
        path = self.directory / _JOURNAL
        with held(path) as journal:
            self._read_cas()
            size = os.fstat(journal).st_size
            if size > self._read:
                text = mended(journal, os.pread(journal, size - self._read, self._read), path)
                self._catch_up(text, path)
                self._read += len(text)
            yield journal

    def _read_cas(self) -> None:
        """Read the CAs, where they are others than they were."""
        try:
            status = (self.directory / "ca.pem").stat()
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        if stamp != self._stamp:
            self._cas = rotation.read_cas(self.directory)
            self._pem = rotation.cas_pem(self.directory)
            self._stamp = stamp

    def _catch_up(self, text: bytes, path: Path) -> None:
        for line in text.splitlines():
            self._lines += 1
            try:
                record = json.loads(line)
                if record["event"] == "ca":
                    self._name_first(record["ca"])
                    continue
                if record["event"] == "revoked":
                    serial = int(record["serial"], 16)
                    self._by_serial[serial].revoked = float(record["revoked"])
                else:
                    self._index(read_issued(record))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path}: line {self._lines} is no journal entry: {error}"
                ) from error

    def _name_first(self, ca: str) -> None:
        """Whose the certificates are that were issued before each said its CA's."""
        for entry in self._by_serial.values():
            entry.ca = entry.ca or ca

    def _append(self, journal: int, record: dict[str, Any]) -> None:
        self._read += append(journal, record, self.directory / _JOURNAL)
        self._lines += 1

    def _index(self, entry: IssuedCertificate) -> None:
        self._entries.setdefault(entry.name, []).append(entry)
        for host in entry.dns:
            self._hosts.setdefault(host, []).append(entry)
        self._by_serial[entry.serial] = entry


def _no_list(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path}: no revocation list of this CA ({why}): bring the newest one here")


def _marked(name: str, mark: str | None) -> str:
    """A CA's whole name: two of one name are hard to tell apart, for people and for TLS stacks."""
    name = f"{name} {secrets.token_hex(4) if mark is None else mark}".strip()
    if not 0 < len(name) <= certificates.MAX_CN:
        raise UsageError(f"{name[:80]!r}: a CA's name and mark have 1 to 64 characters")
    return name
