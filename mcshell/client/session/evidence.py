"""Is a session what was asked and answered? Each request and reply of its file is verified again.

Signatures are checked against the CA of today, with dates as of reception. What is derived from the
signed bytes (columns, digests, the ledger, its counts) is made again and compared. What is the client's
own note is covered by a seal, where the file bears one (`seal`); `SessionEvidence.unsigned` says what is.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.origin import origin_of
from mcshell.client.session.proof import open_sent
from mcshell.client.session.raw_rows import BROKEN, RawRows, as_it_is, copied, strange
from mcshell.client.session.replayed import miscounted, unlike_replies
from mcshell.client.session.seal import SEAL, Seal, read_seal
from mcshell.client.store import bodies
from mcshell.client.store.records import OutgoingMessage
from mcshell.ddl import REDACTED
from mcshell.errors import MCShellError, Reason, Rejected
from mcshell.message import NATIVE, Filter, State, Via, run_id
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    is_old,
    read_reply,
    verified,
)
from mcshell.wire.documents.plan import plan_id, read_plan, targets_digest
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mcshell.client.session.proof import SentMessage
    from mcshell.message import Reply
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["UNSIGNED", "Finding", "RequestEvidence", "SessionEvidence", "examine"]

UNSIGNED: Final = (
    "when messages were sent and confirmed, when replies came and in which order, whom the client"
    " called silent and why, whom a broadcast was known to reach, how and where from a request was put"
)
"""What of a session nobody signs, so that only a seal would show a change of it."""
_META: Final = frozenset(
    (
        *("caller", "collective", "address", "origins", "holder", "epoch", "name"),
        *("told_rows", "bodies", "broker", SEAL),
    )
)
_TABLES: Final = ("meta", "requests", "targets", "counts", "outgoing", "certificates", "replies")
_MORE_TABLES: Final = ("jobs", "runs", "plans", "accepted", "digests", "reissued", "secrets")
_REST: Final = ("unverified", "strays")
_ORDERS: Final = {"targets": "request, place, sender", "replies": "number"}
_A_WHILE: Final = 3600.0
"""Seconds between the note of a request and its signature: somebody was asked, nodes were looked for."""
_JUST_BEFORE: Final = 60.0
_NO_FLAW: Final = (Reason.CERT_EXPIRED, Reason.REVOKED, Reason.STALE_CRL)
"""What may have become of a certificate since: whether it counts is a question of each message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written, about a request where it is about one."""

    request: str | None
    what: str


@dataclass(slots=True, kw_only=True)
class RequestEvidence:
    """One request as its caller signed it, and the replies that verify, each with when it was kept.

    `proof` says how it is known: `signed` (the bytes are here), `secret` (their inputs were, and were
    not kept), `run` (of a job that was signed), `unsent`, or nothing. `created` is epoch seconds, as
    signed where it is. `counts` are the targets in each state, `origin` where it was put from.
    """

    id: str
    agent: str
    action: str
    via: str
    caller: str
    created: float
    origin: str = ""
    proof: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    replies: list[tuple[Reply, float]] = field(default_factory=list)
    foreign: int = 0


@dataclass(slots=True, kw_only=True)
class SessionEvidence:
    """What was found in one session file. `foreign` replies came over MCollective's wire."""

    name: str
    caller: str = ""
    requests: list[RequestEvidence] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seal: Seal | None = None

    @property
    def replies(self) -> int:
        """How many replies verify."""
        return sum(len(one.replies) for one in self.requests)

    @property
    def foreign(self) -> int:
        """How many replies came over MCollective's wire, whose signatures are not kept."""
        return sum(one.foreign for one in self.requests)

    @property
    def unsigned(self) -> str:
        """What could not be checked; empty under a seal."""
        return "" if self.seal is not None else UNSIGNED


def examine(path: Path, verifier: Verifier) -> SessionEvidence:
    """Verify all that a session file holds; the file is not changed.

    Raises:
        SessionError: it is no session file, or so broken that it cannot be opened.
    """
    found = SessionEvidence(name=path.stem)
    if why := strange(path):
        found.findings.append(Finding(None, why))
    else:
        found = _examined(path, verifier, found)
    try:
        found.seal = read_seal(path, verifier)
    except Rejected as refusal:
        found.findings.insert(0, Finding(None, f"the seal: {refusal}"))
    return found


def _examined(path: Path, verifier: Verifier, found: SessionEvidence) -> SessionEvidence:
    with copied(path) as copy, as_it_is(copy) as connection:
        try:
            rows = RawRows(connection)
            examiner = _Examiner(rows, path, verifier)
            examiner.run()
            found = examiner.evidence
            found.findings += [Finding(None, flaw) for flaw in rows.flaws]
        except BROKEN as error:
            found.findings.append(Finding(None, f"damaged: {error}"))
    return found


class _Examiner:
    """Goes through the tables of one file, in the order in which they rest on each other."""

    def __init__(self, rows: RawRows, path: Path, verifier: Verifier) -> None:
        names = (*_TABLES, *_MORE_TABLES, *_REST)
        self._rows = {name: rows.all(name, _ORDERS.get(name, "1")) for name in names}
        self._highest = rows.highest("replies")
        self._path, self._verifier = path, verifier
        meta = {row["key"]: row["value"] for row in self._rows["meta"]}
        self._meta = meta
        self._caller = meta.get("caller", "")
        self.evidence = SessionEvidence(name=meta.get("name") or path.stem, caller=self._caller)
        self._certificates = {row["id"]: row["text"] for row in self._rows["certificates"]}
        self._digests = {
            (row["request"], row["sender"], row["digest"]) for row in self._rows["digests"]
        }
        self._secrets = {row["request"] for row in self._rows["secrets"]}
        self._runs = {row["request"]: row for row in self._rows["runs"]}
        self._jobs = {row["id"]: row for row in self._rows["jobs"]}
        self._sent: dict[str, list[SentMessage]] = defaultdict(list)
        self._forgotten: set[str] = set()
        self._known: dict[str, RequestEvidence] = {}

    def run(self) -> None:
        """Look at all of it."""
        self._look_at_meta()
        self._look_at_certificates()
        for row in self._rows["outgoing"]:
            self._look_at_outgoing(row)
        self._look_at_jobs()
        for row in sorted(self._rows["requests"], key=lambda one: (one["created"], one["number"])):
            self._look_at_request(row)
        self._look_at_replies()
        self._look_at_ledgers()
        self._look_at_the_rest()
        self.evidence.requests.sort(key=lambda one: one.created)

    def _found(self, what: str, request: str | None = None) -> None:
        self.evidence.findings.append(Finding(request, what))

    def _look_at_meta(self) -> None:
        for key in ("caller", "collective", "address"):
            if not self._meta.get(key):
                self._found(f"the file does not say its {key}")
        for key in sorted(self._meta.keys() - _META):
            self._found(f"the file says {key[:40]!r} of itself, which is no fact of a session")

    def _look_at_certificates(self) -> None:
        for number, text in self._certificates.items():
            try:
                self._verifier.examine(text, now=0.0)
            except Rejected as refusal:
                if refusal.reason not in _NO_FLAW:
                    self._found(f"certificate {number}: {refusal}")

    # -- what was asked

    def _look_at_outgoing(self, row: Mapping[str, Any]) -> None:
        request = row["request"]
        if not row["body"]:
            self._forgotten.add(request)
            if row["signature"] or request not in self._secrets:
                self._found(f"to {row['sender']}: its bytes are missing", request)
            return
        message = OutgoingMessage(
            **{key: row[key] for key in ("request", "sender", "destination", "body", "signature")},
            certificate=self._certificates.get(row["certificate"], ""),
        )
        try:
            sent = open_sent(message, self._caller, self._verifier)
        except Rejected as refusal:
            self._found(f"to {row['sender']}: {refusal}", request)
            return
        self._sent[request].append(sent)
        if not is_old(message.body) and message.digest not in self._digests:
            self._found(f"to {row['sender']}: its digest is not the one that was kept", request)
        if not is_old(row["body"]) and row["destination"] != destinations.of(sent.request):
            self._found(f"to {row['sender']}: not the destination of what was signed", request)
        asked = sent.request.session, sent.request.collective
        if asked[0] != self._meta.get("address"):
            self._found(f"to {row['sender']}: asked in the session {asked[0]!r}", request)

    def _look_at_jobs(self) -> None:
        handed = {
            one.body
            for sent in self._sent.values()
            for message in sent
            if (one := message.document) is not None
        }
        for row in self._jobs.values():
            if not row["body"]:
                if row["id"] not in self._secrets:
                    self._found("the document of its job is missing", row["id"])
                continue
            try:
                job = read_job(row["body"])
            except MCShellError as error:
                self._found(f"its job is none: {error}", row["id"])
                continue
            if (job.id, job.name) != (row["id"], row["name"]) or row["body"] not in handed:
                self._found("its job is not the one that was signed", row["id"])
            if row["request"] not in self._sent and row["request"] not in self._forgotten:
                self._found("nothing signed has handed in its job", row["id"])
        for row in self._runs.values():
            if run_id(row["job"], row["run"]) != row["request"] or row["job"] not in self._jobs:
                self._found(f"no run {row['run']!r} of a job of this session", row["request"])

    def _look_at_request(self, row: Mapping[str, Any]) -> None:
        request, sent = row["id"], self._sent.get(row["id"], [])
        try:
            data, options = _object(row["data"]), _object(row["options"])
            filter_ = Filter.from_dict(_object(row["filter"]))
        except (ValueError, TypeError, KeyError) as error:
            self._found(f"its inputs, filter or options are no longer read: {error}", request)
            data, options, filter_ = {}, {}, Filter()
        one = RequestEvidence(
            id=request,
            agent=row["agent"],
            action=row["action"],
            via=row["via"],
            caller=self._caller,
            created=min((each.request.created for each in sent), default=row["created"]),
            origin=origin_of(options),
            data=data,
        )
        self._known[request] = one
        self.evidence.requests.append(one)
        one.proof = self._proof(row, data)
        if not one.proof:
            self._found("nothing signed proves what was asked", request)
        told = {name: row[name] for name in ("agent", "action", "via", "collective", "pool")}
        if sent:
            for what in _unlike(told, data, filter_, row, sent):
                self._found(f"{what}: not what was signed", request)
        elif one.proof == "run":
            self._look_at_run(row, request)
        if row["via"] not in tuple(Via):
            self._found(f"no request goes by {row['via']!r}", request)

    def _look_at_run(self, row: Mapping[str, Any], request: str) -> None:
        kept = self._jobs.get(self._runs[request]["job"])
        if kept is None or not kept["body"]:
            return
        try:
            job = read_job(kept["body"])
        except MCShellError:
            return  # said of the job
        found = row["agent"], row["action"], row["collective"], row["via"]
        if found != (job.agent, job.action, job.collective, Via.QUEUE):
            self._found("a run of another job than the one that was signed", request)

    def _proof(self, row: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        request = row["id"]
        if request in self._sent:
            return "signed"
        if request in self._runs:
            return "run"
        secret = request in self._secrets or REDACTED in data.values()
        if secret and any(digest[0] == request for digest in self._digests):
            return "secret"
        mine = [one for one in self._rows["targets"] if one["request"] == request]
        went_out = any(one["sent"] is not None or one["sequence"] is not None for one in mine)
        return "" if went_out or request in self._forgotten else "unsent"

    # -- what was answered

    def _look_at_replies(self) -> None:
        for row in self._rows["replies"]:
            request = row["request"]
            one = self._known.get(request)
            if one is None:
                self._found(f"{row['sender']} answers what is no request of this file", request)
            elif not row["body"].startswith((b"{", b"\0")) and row["trust"] != NATIVE:
                one.foreign += 1  # our own are JSON, or beside the file
            else:
                try:
                    one.replies.append((self._reply(row), row["kept"]))
                except MCShellError as refusal:
                    self._found(f"the reply of {row['sender']}: {refusal}", request)

        if self._highest < max((row["number"] for row in self._rows["replies"]), default=0):
            self._found("replies have other numbers than SQLite has given")

    def _reply(self, row: Mapping[str, Any]) -> Reply:
        """A reply, verified as of when it came in; raises Rejected, or MachineError for a lost body."""
        body = bodies.whole(lambda: self._path, row["body"])
        certificate = self._certificates.get(row["certificate"], "")
        headers = {SIGNATURE: row["signature"], CERTIFICATE: certificate}
        signer = verified(body, headers, self._verifier, row["kept"], stored=True)
        reply = read_reply(body, trust=row["trust"])
        named = reply.requestid, reply.sender, reply.sequence
        if signer.kind != "node" or signer.name != reply.sender:
            raise Rejected(Reason.WRONG_SENDER, f"signed by the {signer.kind} {signer.name}")
        if named != (row["request"], row["sender"], row["sequence"]) or row["trust"] != NATIVE:
            raise Rejected(Reason.WRONG_SENDER, "kept as another's, or of another request")
        about = reply.job or reply.requestid
        asked = {(about, to, reply.digest) for to in (reply.sender, "*")}
        if not asked & self._digests:
            raise Rejected(Reason.UNBOUND, f"it answers {reply.digest or 'nothing'}")
        if reply.job is not None and reply.requestid != reply.job:
            run = self._runs.get(reply.requestid)
            if run is None or (run["job"], run["run"]) != (reply.job, reply.run):
                raise Rejected(Reason.UNBOUND, "a run that is not noted")
        return reply

    def _look_at_ledgers(self) -> None:
        targets: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in self._rows["targets"]:
            targets[row["request"]].append(row)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self._rows["counts"]:
            counts[row["request"]][row["state"]] = row["number"]
            if row["state"] not in (*State, "unexpected"):
                self._found(f"no target is ever {row['state']!r}", row["request"])
        for request in sorted((targets.keys() | counts.keys()) - self._known.keys()):
            if targets[request] or any(counts[request].values()):
                self._found("its ledger is here, and the request is not", request)
        pools = {row["id"]: row["pool"] for row in self._rows["requests"]}
        for request, one in self._known.items():
            one.counts = counts[request]
            for what in self._unlike_ledger(one, targets[request], pools.get(request)):
                self._found(what, request)

    def _unlike_ledger(
        self, one: RequestEvidence, targets: list[Mapping[str, Any]], pool: str | None
    ) -> Iterator[str]:
        if miscounted(targets, one.counts):
            yield "the counts are not those of its targets"
        if not one.foreign:
            yield from unlike_replies(targets, one.replies, pool)
        yield from self._unasked(one, targets)

    def _unasked(self, one: RequestEvidence, targets: list[Mapping[str, Any]]) -> Iterator[str]:
        """Targets that nothing signed was for, where each had bytes of its own; and the reverse."""
        sent = self._sent.get(one.id, [])
        names = {message.target for message in sent}
        if not sent or None in names or one.foreign:
            return
        for row in targets:
            asked = row["sender"] in names or row["unexpected"] or row["sequence"] is not None
            if not asked and row["sent"] is not None:
                yield f"{row['sender']}: nothing signed was for it"
        for name in sorted(name for name in names if name is not None):
            if not any(row["sender"] == name for row in targets):
                yield f"{name} was asked, and is no row of the ledger"

    # -- what else there is

    def _look_at_the_rest(self) -> None:
        for row in self._rows["strays"]:
            self._check_signed(row, row["kept"], "node", f"the reply of {row['sender']} (a stray)")
        for row in self._rows["plans"]:
            self._look_at_plan(row, f"the plan {row['name']}")
        for row in self._rows["unverified"]:
            if row["sender"] == "*":
                self._found(
                    "nothing signed proved it when the session was imported", row["request"]
                )

    def _look_at_plan(self, row: Mapping[str, Any], what: str) -> None:
        self._check_signed(row, row["created"], "operator", what)
        try:
            plan, waves = read_plan(row["body"]), _object(row["waves"])
        except (ValueError, TypeError, Rejected) as error:
            self._found(f"{what}: {error}")
            return
        if row["id"] not in (plan_id(row["body"]), plan.run):
            self._found(f"{what}: another id than its document's")
        if plan.targets not in ("", targets_digest(waves)):
            self._found(f"{what}: its nodes are not those that were signed")

    def _check_signed(self, row: Mapping[str, Any], at: float, kind: str, what: str) -> None:
        headers = {SIGNATURE: row["signature"], CERTIFICATE: row["certificate"]}
        try:
            signer = verified(row["body"], headers, self._verifier, at, stored=True, ended=True)
        except Rejected as refusal:
            self._found(f"{what}: {refusal}")
            return
        if signer.kind != kind:
            self._found(f"{what}: signed by the {signer.kind} {signer.name}")


def _object(text: str) -> dict[str, Any]:
    """A JSON object; raises ValueError, or TypeError for what is another thing."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def _unlike(
    told: Mapping[str, Any],
    data: Mapping[str, Any],
    filter_: Filter,
    row: Mapping[str, Any],
    sent: list[SentMessage],
) -> Iterator[str]:
    """Which columns of a request say something else than what was signed of it."""
    records = [one.record for one in sent]
    for name, value in told.items():
        if any(getattr(record, name) != value for record in records):
            yield name
    inputs = {name: value for name, value in data.items() if value != REDACTED}
    if not any(_agree(inputs, record.data, data.keys()) for record in records):
        yield "inputs"
    if records[0].via is Via.BROADCAST and filter_ != records[0].filter:
        yield "filter"
    first = min(one.request.created for one in sent)
    if not -_JUST_BEFORE <= first - row["created"] <= _A_WHILE:
        yield "created"
    if records[0].via.durable and abs(records[0].expires - row["expires"]) > _A_WHILE:
        yield "expires"


def _agree(inputs: Mapping[str, Any], signed: Mapping[str, Any], names: Any) -> bool:
    """Whether the inputs that were kept are those that were signed; secret ones are not kept."""
    written = json.loads(json.dumps(dict(signed), default=str))
    return {name: written.get(name) for name in inputs} == inputs and set(names) == written.keys()
