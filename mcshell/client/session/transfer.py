"""Sessions between machines: a copy of the file goes out, and comes in verified again.

Import trusts nothing that the file says of itself: every signature is checked against our own CA. What
was asked is read from the bytes that its caller signed (`proof`), the ledger is made again from the
replies that answer them; what nothing proves is marked. What another caller asked can be read, not
answered. A plan comes with the nodes that its caller has signed it for. No copy has secret inputs, or
what is not proven.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import interrupts
from mcshell.client.session.folder import folder_of
from mcshell.client.session.proof import open_kept, open_sent, unproven
from mcshell.client.session.raw_rows import refuse_misfits, snapshot
from mcshell.client.session.session import check_name, delete, origins_of, refuse_taken
from mcshell.client.session.strays import give_strays, hold_expired, pass_strays
from mcshell.client.store.plans import OK, OPEN, UNHEARD
from mcshell.client.store.records import NewRequest
from mcshell.client.store.store import SessionStore
from mcshell.client.store.strays import Stray
from mcshell.errors import MachineError, MCShellError, Reason, Rejected, SessionError
from mcshell.message import State, made_id
from mcshell.private import is_locked, lock_file, private_file, private_folder
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.plan import (
    MAX_PLAN,
    open_plan,
    plan_id,
    targets_digest,
    wave_nonce,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcshell.client.session.proof import SentMessage
    from mcshell.client.store.plans import KeptPlan
    from mcshell.client.store.records import Members, ReplyRecord, RequestRecord
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["ImportReport", "export_session", "import_session"]

_GROUP = 500
_DRAFT = ".imported"
_PATIENCE = 60.0
"""Seconds to wait for another import to end."""
_OWN = ("caller", "collective", "address")


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import came to. `refused` counts what did not verify, by reason; `unverified` are the
    requests, of those counted, that nothing proves; `missing` is how many replies the former holder
    said that it had, beyond those that are here now. `strays` are those of its replies that nothing
    here asked for: they are kept for whoever did. `held` are the nodes of whom replies wait for a
    newer certificate. `plans_left` are plans of an earlier version, which did not sign for whom their
    waves are: they are left out.
    """

    name: str
    caller: str
    requests: int = 0
    replies: int = 0
    unverified: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    strays: int = 0
    held: int = 0
    plans_left: int = 0


def export_session(state_dir: Path, name: str, target: Path) -> Path:
    """Write a consistent copy of a session's file; works while a process holds the session.

    It is at its place when it is whole, and without what no copy has.

    Raises:
        SessionError: there is no such session, it has no name yet, or the target is there already.
        MachineError: it could not be written.
    """
    source = folder_of(state_dir) / f"{name}.sqlite"
    if not source.exists():
        raise SessionError(f"no session {name!r}", name)
    check_name(name)
    if target.exists():
        raise SessionError(f"{target} is there already", name)
    with tempfile.TemporaryDirectory(prefix=".session-", dir=target.parent) as folder:
        path = Path(folder) / target.name
        try:
            _write_copy(source, path, name)
        except MachineError as error:
            full = getattr(error.__cause__, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            why = error.__cause__ if full else error  # SQLite says it of the file that it reads
            raise type(error)(f"{target} cannot be written: {why}") from error
        path.rename(target)
    return target


def _write_copy(source: Path, path: Path, name: str) -> None:
    store = SessionStore(source, patient=True)
    try:
        store.copy(private_file(path))  # before a byte is in it
    finally:
        store.close()
    copy = SessionStore(path)
    try:
        copy.set_meta("name", name)
        if not is_locked(source.with_suffix(".lock")):
            copy.set_meta("holder", "")
        copy.forget_secrets(0.0, all_of_them=True)
        copy.unverified.drop()
        copy.pack()
    finally:
        copy.close()


def import_session(
    state_dir: Path, verifier: Verifier, source: Path, members: Members, name: str | None = None
) -> ImportReport:
    """Bring a copied session file in, or merge it into the session that it is a copy of.

    Raises:
        SessionError: it is no session file, it has no name yet and is given none, another session
            has its name, or another import does not end.
        MachineError: the disk takes nothing.
    """
    if not source.is_file():
        raise SessionError(f"{source}: no such file", source.stem)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        try:
            snapshot(source, copy)
            refuse_misfits(copy)
            theirs = SessionStore(copy)
        except SessionError as error:
            # what is wrong with the copy is so with what was named
            raise SessionError(str(error).replace(str(copy), str(source)), error.name) from error
        try:
            with _alone(private_folder(folder_of(state_dir))):
                return _merge(state_dir, theirs, verifier, members, name or theirs.meta("name"))
        finally:
            theirs.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only import into a folder: another one would merge into half of a session, or remove it."""
    end = time.monotonic() + _PATIENCE
    while (lock := lock_file(folder / ".import.lock")) is None:
        if time.monotonic() > end:
            raise SessionError("another import goes on: try again when it has ended", folder.name)
        interrupts.sleep(0.05)
    with lock:
        yield


def _merge(
    state_dir: Path, theirs: SessionStore, verifier: Verifier, members: Members, name: str | None
) -> ImportReport:
    name = name or theirs.meta("address") or "imported"
    check_name(name)
    path = folder_of(state_dir) / f"{name}.sqlite"
    if path.exists():
        return _merged(path, name, theirs, verifier, members)
    caller, collective, address = (theirs.meta(key) or "" for key in _OWN)
    merge = "merge this one into it (session import FILE --session {})"
    refuse_taken(state_dir, name, caller, collective, address, merge)
    # Half of a session would say of the other half that nobody has answered.
    draft = path.with_name(_DRAFT)
    delete(draft)  # of one that was killed
    try:
        report = _merged(draft, name, theirs, verifier, members)
        _put(draft, path)
    except BaseException:
        with suppress(OSError):
            delete(draft)
        raise
    return report


def _put(draft: Path, path: Path) -> None:
    """Have what was brought in at its place, whole."""
    lock = lock_file(path.with_suffix(".lock"))
    if lock is None or path.exists():
        raise SessionError(f"session {path.stem!r} has begun here meanwhile: try again", path.stem)
    with lock, closing(SessionStore(draft)) as store:
        store.move(path)


def _merged(
    path: Path, name: str, theirs: SessionStore, verifier: Verifier, members: Members
) -> ImportReport:
    ours = SessionStore(path)
    try:
        marks: tuple[str, ...] = ()
        if ours.meta("address") is None:
            for key in (*_OWN, "holder"):
                ours.set_meta(key, theirs.meta(key) or "")
        elif any(ours.meta(key) != theirs.meta(key) for key in _OWN):
            raise SessionError(f"there is another session {name!r}: give this one a name", name)
        else:
            marks = origins_of(ours)
        ours.set_meta("origins", " ".join(dict.fromkeys((*marks, *origins_of(theirs)))))
        report = ImportReport(name=name, caller=ours.meta("caller") or "")
        _Merger(theirs, ours, verifier, members, report).run()
        report.missing = max(0, int(ours.meta("told_rows") or 0) - ours.reply_count())
        return report
    finally:
        ours.close()


class _Merger:
    """Copies what is new and verifies, from one session file into another."""

    def __init__(
        self,
        theirs: SessionStore,
        ours: SessionStore,
        verifier: Verifier,
        members: Members,
        report: ImportReport,
    ) -> None:
        self._theirs = theirs
        self._ours = ours
        self._verifier = verifier
        self._members = members
        self._report = report
        self._new: list[RequestRecord] = []

    def run(self) -> None:
        runs = self._theirs.jobs.run_ids()
        told = [record for record, _counts in self._theirs.requests()]
        for record in told:
            if record.id not in runs:  # those are proven by their first reply
                self._request(record)
        for replies in self._replies():
            news = self._ours.enter(replies, durable=True)
            self._report.replies += len(news)
        for record in told:
            if record.id in runs and self._ours.find_request(record.id) is None:
                self._request(record)
        self._strays()
        self._plans()
        self._ours.unverified.answered()
        self._judge(time.time())

    def _strays(self) -> None:
        """Give what either file has kept for others to what was asked in ours."""
        pass_strays(self._theirs, self._ours, self._verifier)
        given = give_strays(self._ours, self._ours, self._verifier, self._members)
        self._report.replies += given
        self._report.strays = self._ours.strays.count()
        self._report.held = len(self._ours.strays.held())

    def _plans(self) -> None:
        """Take over the plans that the session's caller has signed; how they stand, replies say."""
        caller, known = self._report.caller, {one.id for one in self._ours.plans.all()}
        for kept in self._theirs.plans.all():
            if kept.id in known:
                continue
            try:
                plan = _proven_plan(kept, caller, self._verifier)
            except Rejected as refusal:
                self._report.refused[f"plan: {refusal.reason.value}"] += 1
                continue
            if plan is None:
                self._report.plans_left += 1
                continue
            through = kept.state == OK and self._all_sent(plan)
            self._ours.plans.add(replace(plan, state=OK if through else OPEN))

    def _all_sent(self, plan: KeptPlan) -> bool:
        """Whether a request of each wave of a plan is here."""
        nonces = (
            wave_nonce(plan.id, plan.revision, step, number)
            for step, waves in plan.waves.items()
            if step != UNHEARD
            for number in range(1, len(waves) + 1)
        )
        caller, find = self._report.caller, self._ours.find_request
        return all(find(made_id("request", caller, nonce)) is not None for nonce in nonces)

    def _request(self, told: RequestRecord) -> None:
        """Take over a request: what its caller signed of it, or that nothing proves it."""
        proofs = list(self._proofs(told.id))
        if self._ours.find_request(told.id) is None:
            self._add(told, [sent for sent, _confirmed in proofs])
        for sent, confirmed in proofs:
            if confirmed is not None:
                self._ours.mark_confirmed([sent.message], confirmed)

    def _proofs(self, request: str) -> Iterator[tuple[SentMessage, float | None]]:
        for message, confirmed in self._theirs.outgoing(request):
            if not message.body:
                continue  # its inputs were secret
            try:
                caller = self._ours.meta("caller") or ""
                yield open_sent(message, caller, self._verifier), confirmed
            except Rejected as refusal:
                self._report.refused[f"request: {refusal.reason.value}"] += 1

    def _add(self, told: RequestRecord, proofs: Sequence[SentMessage]) -> None:
        entries = [
            entry
            for entry in self._theirs.entries(told.id)
            if not (entry.unexpected or entry.found_late)  # these are proven by their replies
        ]
        names = [entry.sender for entry in entries]
        proven = [sent.target for sent in proofs if sent.target is not None]
        names += [name for name in proven if name not in set(names)]
        if not proofs:
            record = unproven(told)
            self._ours.add(record, names)
            self._ours.unverified.mark(record.id)
            self._report.unverified += 1
        else:
            record = replace(proofs[0].record, options=told.options)
            outgoing = [sent.message for sent in proofs]
            jobs = {one.body: one for sent in proofs if (one := sent.document) is not None}
            self._ours.add_all([NewRequest(record, names, outgoing, tuple(jobs.values()))])
            self._ours.unverified.mark(record.id, set(names) - set(proven))
        for entry in entries:
            if entry.sent is not None:
                self._ours.mark_sent(record.id, [entry.sender], entry.sent)
        self._new.append(record)
        self._report.requests += 1

    def _replies(self) -> Iterator[list[ReplyRecord]]:
        after = 0
        while rows := self._theirs.replies(after, _GROUP):
            after = rows[-1][0]
            found = []
            for _number, request, body, kept, signature, certificate, _trust in rows:
                try:
                    one = Stray(
                        request=request,
                        kept=kept,
                        body=self._theirs.whole(body),
                        signature=signature,
                        certificate=certificate,
                    )
                    found.append(open_kept(one, self._ours, self._verifier, self._members))
                except Rejected as refusal:
                    expired = refusal.reason is Reason.CERT_EXPIRED
                    if not (expired and hold_expired(one, self._ours, self._verifier)):
                        self._report.refused[f"reply: {refusal.reason.value}"] += 1
                except MCShellError:
                    self._report.refused["reply: malformed"] += 1
            yield found

    def _judge(self, now: float) -> None:
        """Say of whom the file has no reply, where none is waited for; what it says counts nothing."""
        self._ours.lapse(now)
        for record in self._new:
            if not record.via.durable:
                names = [one.sender for one in self._ours.entries(record.id)]
                verdicts = [(name, "no reply is in the imported file") for name in names]
                self._ours.judge(record.id, verdicts, State.SILENT)


def _proven_plan(kept: KeptPlan, caller: str, verifier: Verifier) -> KeptPlan | None:
    """A plan as its caller's signature proves it: under way, with no failure accepted.

    None for one of an earlier version, which did not sign for whom its waves are.

    Raises:
        Rejected: as `open_plan`; CALLER_MISMATCH, or UNBOUND for one whose id or nodes are not those
            that were signed.
    """
    headers = {SIGNATURE: kept.signature, CERTIFICATE: kept.certificate}
    limits = BodyLimits(max_body=MAX_PLAN)
    plan = open_plan(kept.body, headers, verifier, limits, kept.created)
    if plan.author != caller:
        raise Rejected(Reason.CALLER_MISMATCH, f"it is one of {plan.author}, not of {caller}")
    if not plan.targets and plan_id(kept.body) == kept.id:
        return None
    signed = plan_id(kept.body), plan.created, plan.targets
    if signed != (kept.id, kept.created, targets_digest(kept.waves)):
        raise Rejected(Reason.UNBOUND, "its id or its nodes are not those that were signed")
    return replace(kept, name=plan.name, revision=plan.revision, state=OPEN, reason="", accepted=())
