"""`pki token`, `requests`, `receive`, `sign` and `node enroll`: certificates for keys that stay where they are."""

from __future__ import annotations

import re
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.commands.output.sanitize import sanitize
from mcshell.enrolment.machine import EnrollingMachine, fingerprints_in
from mcshell.enrolment.service import EnrolmentService
from mcshell.enrolment.store import EnrolmentStore
from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import Authority, check_name
from mcshell.private import UnsafeFile, read_obeyed, replace_file
from mcshell.storage import not_written
from mcshell.wire.documents.enrolment import EnrolmentAnswer, EnrolmentMessage, read_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import (
        NodeEnrollOptions,
        PKIReceiveOptions,
        PKIRequestsOptions,
        PKISignOptions,
        PKITokenOptions,
    )
    from mcshell.wire.documents.enrolment import EnrolmentToken

__all__ = ["enroll", "receive", "requests", "sign", "token"]

_CODES = {"signed": 0, "refused": 1, "waiting": 5}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_MOST: int = 1 << 21
"""Bytes of a file that carries a request or an answer."""


def token(context: Context, options: PKITokenOptions) -> Table:
    """Make a token, which is a secret: whoever has it can enrol a machine of such a name."""
    if not options.ends:
        raise UsageError("--ends 0: a token that has ended is good for nothing")
    with _service(context, options.pki) as service:
        ends = time.time() + options.ends
        made = service.new_token(options.matching, options.kind, ends, options.count)
    return Table(("token",), [(str(made),)])


def requests(context: Context, options: PKIRequestsOptions) -> Table:
    """The requests that wait for a hand, each with the beginning of its digest."""
    with _service(context, options.pki) as service:
        rows = [
            (one.name, one.kind, one.digest[:12], one.received, one.reason)
            for one in service.waiting()
        ]
    return Table(("name", "kind", "request", "received", "reason"), rows, times=("received",))


def receive(context: Context, options: PKIReceiveOptions) -> Table:
    """Take requests that came as files, and write the answers that there are: NAME.answer."""
    rows = []
    with _service(context, options.pki) as service:
        for path in map(Path, options.files):
            try:
                said, answer = service.receive(_read(path))
            except Rejected as refusal:
                raise UsageError(f"{path}: {refusal}") from refusal
            written = _answer(Path(options.out or "."), path.stem, answer)
            rows.append((str(path), said.state, said.reason, written))
    return Table(("request", "state", "reason", "answer"), rows)


def sign(context: Context, options: PKISignOptions) -> Table:
    """Sign what waits, and write the answers; 5 where some of it still waits, with the reason."""
    if not options.names and options.matching is None:
        raise UsageError("which? `pki requests` lists them: pki sign NAME …, or --matching PATTERN")
    with _service(context, options.pki, options.days) as service:
        signed = service.sign(options.names, options.matching)
    rows = [
        (
            one.name,
            one.kind,
            one.state,
            "" if one.state == "signed" else one.reason,
            _answer(Path(options.out or "."), one.name, answer),
        )
        for one, answer in signed
    ]
    code = max((_CODES[one.state] for one, _ in signed), default=0)
    return Table(("name", "kind", "state", "reason", "answer"), rows, code)


def enroll(context: Context, options: NodeEnrollOptions) -> Table:
    """Make this machine's key and request, and ask for a certificate, or take the answer that came."""
    folder, kind = Path(options.out or "."), options.kind
    name = check_name(options.name or socket.getfqdn(), kind)
    if options.broker or options.check:
        if EnrollingMachine(folder=folder, name=name, kind=kind).has_certificate():
            return _enrolled(folder, name, "signed", "it has a certificate already")
        if options.check:
            return _enrolled(
                folder, name, "waiting", "it has no certificate, or one that has ended"
            )
    vouching = None if options.token_file is None else read_token(_secret(options.token_file))
    if options.answer is None and options.broker is None:
        EnrollingMachine(folder=folder, name=name, kind=kind, token=vouching).begin()
        return Table(("name", "request"), [(name, str(folder / f"{name}.request"))])
    machine = EnrollingMachine(
        folder=folder,
        name=name,
        kind=kind,
        token=vouching,
        cas=_cas_meant(options, vouching),
        enrolment=tuple(options.broker or ()),
    )
    if options.broker is not None:
        return _ask(context, options, machine)
    assert options.answer is not None
    try:
        found = machine.accept(_read(Path(options.answer)))
    except Rejected as refusal:
        raise UsageError(f"{options.answer} is not taken: {refusal}") from refusal
    return _enrolled(folder, name, found.state, found.reason)


def _ask(context: Context, options: NodeEnrollOptions, machine: EnrollingMachine) -> Table:
    """Ask over a broker, until there is a certificate, a refusal, or no more time."""
    from mcshell.enrolment.asking import ask  # noqa: PLC0415 - who carries files needs no connection

    found = EnrolmentAnswer(request="", state="waiting", reason="no answer came")

    def take(answer: EnrolmentMessage) -> bool:
        nonlocal found
        before = found.reason
        try:
            found = _accepted(machine, answer)
        except Rejected as refusal:
            found = replace(found, reason=f"an answer is not taken: {refusal}")
            raise
        if found.state == "waiting" and found.reason != before:
            reason = " ".join(found.reason.split())  # without a token it may be anybody's word
            sys.stderr.write(f"{machine.name} waits: {sanitize(reason)}\n")
        return found.state != "waiting"

    ask(
        options.broker or (),
        options.collective or context.settings.collective.main,
        machine.begin(),
        take,
        ca=None if options.ca_file is None else Path(options.ca_file),
        timeout=options.wait,
    )
    return _enrolled(machine.folder, machine.name, found.state, found.reason)


def _accepted(machine: EnrollingMachine, answer: EnrolmentMessage) -> EnrolmentAnswer:
    """What a broker that cannot be verified yet has brought; a CA says no refusal that no token seals."""
    found = machine.accept(answer)
    if found.state == "refused" and machine.token is None:
        raise Rejected(Reason.BAD_SIGNATURE, "a refusal, of which nobody can say whose it is")
    return found


def _enrolled(folder: Path, name: str, state: str, reason: str) -> Table:
    """What came of it; 1 when it was refused, 5 while it waits."""
    cert = str(folder / f"{name}.pem") if state == "signed" else None
    columns = ("name", "state", "reason", "cert")
    return Table(columns, [(name, state, reason, cert)], _CODES[state])


def _cas_meant(options: NodeEnrollOptions, vouching: EnrolmentToken | None) -> frozenset[str]:
    """The fingerprints of the CAs of which one has to sign the answer."""
    if vouching is not None:
        return frozenset({vouching.ca})
    if options.ca is not None:
        found = options.ca.rpartition("=")[2].replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(found):
            raise UsageError(
                f"--ca {options.ca[:120]!r} is no SHA-256 of a CA, as openssl x509 -in ca.pem -noout "
                "-fingerprint -sha256 prints it"
            )
        return frozenset({found})
    if options.ca_file is not None:
        return fingerprints_in(Path(options.ca_file))
    raise UsageError("whose answer? --token-file FILE, or without a token --ca FINGERPRINT")


@contextmanager
def _service(
    context: Context, pki: str | None, lifetime: float | None = None
) -> Iterator[EnrolmentService]:
    folder = context.ca_dir(pki)
    authority = Authority.open(folder)
    with EnrolmentStore(folder) as store:
        yield EnrolmentService(authority, store, lifetime=lifetime)


def _read(path: Path) -> EnrolmentMessage:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return EnrolmentMessage.load(text)


def _secret(file: str) -> str:
    """A token, from a file that nobody else can read, or from standard input."""
    if file == "-":
        return sys.stdin.readline()
    try:
        return read_obeyed(file, pipes=True, secret=True).decode("latin-1")
    except (OSError, UnsafeFile) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or error}") from error


def _answer(folder: Path, name: str, answer: EnrolmentMessage) -> str:
    path = folder / f"{name}.answer"
    try:
        replace_file(path, answer.dump(), 0o666)
    except OSError as error:
        raise not_written(path, error) from error
    return str(path)
