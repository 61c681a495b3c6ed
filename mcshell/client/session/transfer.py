"""Sessions between machines: a copy of the file goes out, and comes in verified again.

Import trusts nothing that the file says of itself: every signature is checked against our own CA,
and the ledger is made again from the replies. What another caller asked can be read, not answered.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.client.session.session import folder_of
from mcshell.client.store.records import ReplyRecord, RequestRecord, target_of
from mcshell.client.store.store import SessionStore
from mcshell.errors import MCShellError, Rejected, SessionError
from mcshell.private import is_locked, private_file, private_folder
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply, verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import Members, OutgoingMessage
    from mcshell.message import State
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["ImportReport", "export_session", "import_session"]

_GROUP = 500
_OWN = ("caller", "collective", "address")


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import came to. `refused` counts what did not verify, by reason; `missing` is how
    many replies the former holder said that it had, beyond those that are here now.
    """

    name: str
    caller: str
    requests: int = 0
    replies: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    missing: int = 0


def export_session(state_dir: Path, name: str, target: Path) -> Path:
    """Write a consistent copy of a session's file; works while a process holds the session.

    Raises:
        SessionError: there is no such session, or the target is there already.
    """
    source = folder_of(state_dir) / f"{name}.sqlite"
    if not source.exists():
        raise SessionError(f"no session {name!r}", name)
    if target.exists():
        raise SessionError(f"{target} is there already", name)
    store = SessionStore(source)
    try:
        store.copy(private_file(target))  # before a byte is in it
    finally:
        store.close()
    copy = SessionStore(target)
    try:
        copy.set_meta("name", name)
        if not is_locked(source.with_suffix(".lock")):
            copy.set_meta("holder", "")
        copy.pack()
    finally:
        copy.close()
    return target


def import_session(
    state_dir: Path, verifier: Verifier, source: Path, members: Members, name: str | None = None
) -> ImportReport:
    """Bring a copied session file in, or merge it into the session that it is a copy of.

    Raises:
        SessionError: it is no session file, or another session has its name.
    """
    if not source.is_file():
        raise SessionError(f"{source}: no such file", source.stem)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(source, Path(folder) / source.name))
        theirs = SessionStore(copy)
        try:
            return _merge(state_dir, theirs, verifier, members, name or theirs.meta("name"))
        finally:
            theirs.close()


def _merge(
    state_dir: Path, theirs: SessionStore, verifier: Verifier, members: Members, name: str | None
) -> ImportReport:
    name = destinations.check_word("session", name or theirs.meta("address") or "imported")
    path = private_folder(folder_of(state_dir)) / f"{name}.sqlite"
    ours = SessionStore(path)
    try:
        if ours.meta("address") is None:
            for key in (*_OWN, "holder"):
                ours.set_meta(key, theirs.meta(key) or "")
        elif any(ours.meta(key) != theirs.meta(key) for key in _OWN):
            raise SessionError(f"there is another session {name!r}: give this one a name", name)
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
        self._records: dict[str, RequestRecord] = {}

    def run(self) -> None:
        for record, _counts in self._theirs.requests():
            self._request(record)
        self._jobs()
        for replies in self._replies():
            news = self._ours.enter(replies, durable=True)
            self._report.replies += len(news)
        for record in self._records.values():
            self._judgements(record)

    def _request(self, record: RequestRecord) -> None:
        outgoing = self._theirs.outgoing(record.id)
        good = [one for one, _confirmed in outgoing if self._is_ours(one)]
        if outgoing and not good:
            return
        self._records[record.id] = record
        if self._ours.find_request(record.id) is None:
            entries = self._theirs.entries(record.id)
            names = [entry.sender for entry in entries if not entry.unexpected]
            self._ours.add(record, names, good)
            for entry in entries:
                if entry.sent is not None:
                    self._ours.mark_sent(record.id, [entry.sender], entry.sent)
            self._report.requests += 1
        for one, confirmed in outgoing:
            if confirmed is not None:
                self._ours.mark_confirmed([one], confirmed)

    def _jobs(self) -> None:
        """Take over the jobs whose requests are theirs, and which requests are runs of them."""
        for kept in self._theirs.jobs.all():
            if kept.request not in self._records:
                continue
            if self._ours.jobs.get(kept.id) is None:
                self._ours.jobs.add(kept)
            for request, run in self._theirs.jobs.runs(kept.id):
                self._ours.jobs.add_run(request, kept.id, run)

    def _is_ours(self, one: OutgoingMessage) -> bool:
        """Whether the caller of the session signed these bytes, while he might."""
        made = self._theirs.find_request(one.request)
        assert made is not None
        try:
            headers = {SIGNATURE: one.signature, CERTIFICATE: one.certificate}
            signer = verified(one.body, headers, self._verifier, made.created, stored=True)
        except Rejected as refusal:
            self._report.refused[f"request: {refusal.reason.value}"] += 1
            return False
        if signer.callerid == self._theirs.meta("caller"):
            return True
        self._report.refused["request: caller_mismatch"] += 1
        return False

    def _replies(self) -> Iterator[list[ReplyRecord]]:
        after = 0
        while rows := self._theirs.replies(after, _GROUP):
            after = rows[-1][0]
            replies = [self._record(*rest) for _number, *rest in rows]
            yield [received for received in replies if received is not None]

    def _record(
        self, request: str, body: bytes, kept: float, signature: str, cert: str, trust: str
    ) -> ReplyRecord | None:
        """Verify a kept reply as of when it came in."""
        record = self._records.get(request)
        if record is None:
            self._report.refused["reply: unknown_request"] += 1
            return None
        try:
            headers = {SIGNATURE: signature, CERTIFICATE: cert}
            signer = verified(body, headers, self._verifier, kept, stored=True)
            reply = read_reply(body, trust=trust)
        except MCShellError as error:
            reason = error.reason.value if isinstance(error, Rejected) else "malformed"
            self._report.refused[f"reply: {reason}"] += 1
            return None
        if signer.kind != "node" or signer.name != reply.sender or reply.requestid != request:
            self._report.refused["reply: wrong_sender"] += 1
            return None
        target = target_of(record, reply.sender, self._members)
        return ReplyRecord(
            reply=reply, kept=kept, body=body, signature=signature, certificate=cert, target=target
        )

    def _judgements(self, record: RequestRecord) -> None:
        """Take over what their client decided without a reply, where we know no better."""
        decided: dict[State, list[LedgerEntry]] = {}
        for entry in self._theirs.entries(record.id):
            if entry.reason and not entry.unexpected:
                decided.setdefault(entry.state, []).append(entry)
        for state, entries in decided.items():
            verdicts = [(entry.sender, entry.reason) for entry in entries]
            self._ours.judge(record.id, verdicts, state)
