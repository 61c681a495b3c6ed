"""Hostile documents of every kind beside requests and replies, each with its untampered twin.

`forge.py` makes the requests and replies. Here are jobs (as handed in, and as a node tells of them),
rules, plans, registrations, turns of both sides, claims to a session and revocation lists. Most
ways to be hostile are the same for all: they are made once, by `_Document`, from what each kind
says of itself.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mcshell.errors import Reason, Rejected
from mcshell.message import (
    Duty,
    Filter,
    Job,
    Plan,
    Rule,
    Step,
    Turn,
    When,
    made_id,
    new_nonce,
    new_request_id,
)
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits, SealedMessage
from mcshell.wire.documents.job import open_job, seal_job
from mcshell.wire.documents.plan import open_plan, seal_plan
from mcshell.wire.documents.registration import Registration, open_registration, seal_registration
from mcshell.wire.documents.rule import open_kept_job, open_rule, seal_rule
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.documents.takeover import TAKEOVER, SessionClaim, open_claim, seal_claim
from mcshell.wire.documents.turn import (
    MAX_TURN,
    open_turn_of_node,
    open_turn_of_operator,
    seal_turn,
)
from tests.hostile.forge import changed, signed, stripped

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from mcshell.pki import Authority

__all__ = ["KINDS", "SIGNED", "Documents", "Hostile"]

KINDS = (
    "job",
    "job as told",
    "rule",
    "plan",
    "registration",
    "turn of an operator",
    "turn of a node",
    "claim",
)
MIB = 1 << 20
SIGNED = (
    "changed byte",
    "stripped",
    "other certificate",
    "foreign CA",
    "posing",
    "expired",
    "revoked",
    "wrong version",
)
"""Ways to be hostile that are about who signed what."""
BY = (
    *SIGNED,
    "wrong kind",
    "malformed",
    "huge",
    "deep",
    "not JSON",
    "ambiguous",
    "future",
    "collective",
    "destination",
    "caller",
    "sender",
    "foreign id",
)
STORED = ("plan", "job as told")
"""Kinds that a store may hold from version 1 of the wire, and that are verified as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """`hostile` must be refused with `reason`; `twin` is the same without the tampering."""

    kind: str
    by: str
    name: str
    reason: Reason
    hostile: SealedMessage
    twin: SealedMessage

    def __str__(self) -> str:
        return f"{self.kind}, {self.by}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """One kind: how an honest one is made, who reads it, and what its fields may say instead.

    `values` has another value of each signed field that is well-formed, and `reasons` why it is
    refused where that is not for its signature. `colleague` is another of the same sort as the
    `signer`, `opposite` one of the other.
    """

    kind: str
    make: Callable[[], SealedMessage]
    open: Callable[[SealedMessage], object]
    signer: Signer
    colleague: Signer
    opposite: Signer
    mismatch: Reason
    most: int | None
    values: Mapping[str, Any]
    reasons: Mapping[str, Reason]

    def cases(self, more: Callable[[_Document], Iterator[Hostile]]) -> Iterator[Hostile]:
        yield from self._changed()
        yield from self._headers()
        yield from self._versions()
        yield from self._kinds()
        yield from self._malformed()
        yield from self._bodies()
        yield from more(self)

    def case(
        self, by: str, name: str, reason: Reason, make: Callable[[SealedMessage], SealedMessage]
    ) -> Hostile:
        twin = self.make()
        return Hostile(
            kind=self.kind, by=by, name=name, reason=reason, hostile=make(twin), twin=twin
        )

    def resigned(
        self, by: str, name: str, reason: Reason, change: Callable[[bytes], bytes]
    ) -> Hostile:
        """What a broken or hostile program with the right key could sign."""
        return self.case(by, name, reason, lambda twin: signed(change(twin.body), self.signer))

    def _changed(self) -> Iterator[Hostile]:
        for name, value in self.values.items():
            reason = self.reasons.get(name, Reason.BAD_SIGNATURE)
            fields = {name: value}
            yield self.case("changed byte", name, reason, lambda twin, f=fields: changed(twin, **f))
        yield self.case(
            "changed byte",
            "a space",
            Reason.BAD_SIGNATURE,
            lambda twin: SealedMessage(twin.body.replace(b",", b", ", 1), twin.headers),
        )

    def _headers(self) -> Iterator[Hostile]:
        for gone in ((SIGNATURE,), (CERTIFICATE,), (SIGNATURE, CERTIFICATE)):
            yield self.case(
                "stripped",
                " and ".join(gone),
                Reason.UNSIGNED,
                lambda twin, gone=gone: stripped(twin, *gone),
            )
        headers = {
            "certificate of a colleague": (
                CERTIFICATE,
                self.colleague.certificate,
                Reason.BAD_SIGNATURE,
            ),
            "certificate that is none": (CERTIFICATE, "QUJD", Reason.BAD_CERTIFICATE),
            "certificate not in base64": (CERTIFICATE, "~~~", Reason.BAD_CERTIFICATE),
            "huge certificate": (CERTIFICATE, "QUJD" * 3000, Reason.BAD_CERTIFICATE),
            "signature not in base64": (SIGNATURE, "~~~", Reason.BAD_SIGNATURE),
            "huge signature": (SIGNATURE, "QUJD" * 300, Reason.BAD_SIGNATURE),
        }
        for name, (header, value, reason) in headers.items():
            yield self.case(
                "other certificate",
                name,
                reason,
                lambda twin, h=header, v=value: SealedMessage(twin.body, {**twin.headers, h: v}),
            )
        yield self.by("other certificate", "all of a colleague's", self.mismatch, self.colleague)
        yield self.by("posing", "signed by the other sort", Reason.WRONG_KIND, self.opposite)

    def by(self, by: str, name: str, reason: Reason, signer: Signer) -> Hostile:
        """The honest bytes, signed by somebody else."""
        return self.case(by, name, reason, lambda twin: signed(twin.body, signer))

    def _versions(self) -> Iterator[Hostile]:
        for version in (0, 1, 3, True, 1.0, 2.0, "2", None):
            reason = Reason.WRONG_VERSION
            if version == 1 and type(version) is int and self.kind in STORED:
                reason = Reason.BAD_SIGNATURE  # version 1 was signed in another way
            yield self.resigned(
                "wrong version", repr(version), reason, lambda body, v=version: with_(body, v=v)
            )

    def _kinds(self) -> Iterator[Hostile]:
        for kind in ("request", "reply", "approval", "", None):
            yield self.resigned(
                "wrong kind",
                repr(kind),
                Reason.WRONG_KIND,
                lambda body, k=kind: with_(body, kind=k),
            )

    def _malformed(self) -> Iterator[Hostile]:
        for name, value in self.values.items():
            if name in ("v", "kind") or (self.kind.startswith("turn") and name == "data"):
                continue
            other = 7 if isinstance(value, dict | list) else {"x": 1}
            yield self.resigned(
                "malformed",
                f"{name} of another type",
                Reason.MALFORMED,
                lambda body, n=name, o=other: with_(body, **{n: o}),
            )

    def _bodies(self) -> Iterator[Hostile]:
        most = self.most
        if most is not None:
            yield self.resigned(
                "huge",
                "a byte too many",
                Reason.TOO_LARGE,
                lambda b: b + b" " * (most + 1 - len(b)),
            )
        bodies: dict[str, list[tuple[str, Reason, Callable[[bytes], bytes]]]] = {
            "deep": [
                ("lists", Reason.TOO_DEEP, lambda b: beside(b, b"[" * 100 + b"]" * 100)),
                ("never closed", Reason.TOO_DEEP, lambda _: b"[" * 4000),
            ],
            "not JSON": [
                ("nothing", Reason.NOT_JSON, lambda _: b""),
                ("cut short", Reason.NOT_JSON, lambda b: b[:-1]),
                ("NaN", Reason.NOT_JSON, lambda b: beside(b, b"NaN")),
                ("two documents", Reason.NOT_JSON, lambda b: b + b),
            ],
            "ambiguous": [
                ("a key twice", Reason.MALFORMED, lambda b: b[:-1] + b',"v":2}'),
                ("a long number", Reason.MALFORMED, lambda b: beside(b, b"9" * 2000)),
                ("an infinite number", Reason.MALFORMED, lambda b: beside(b, b"1e999")),
                ("half a pair", Reason.MALFORMED, lambda b: beside(b, b'"\\ud800"')),
                ("a list", Reason.MALFORMED, lambda b: b"[" + b + b"]"),
            ],
        }
        for by, changes in bodies.items():
            for name, reason, change in changes:
                yield self.resigned(by, name, reason, change)


class Documents:
    """All kinds, with identities from the CA that it is given.

    It revokes some of them: who reads needs the CRL as it is after this was made.
    """

    def __init__(
        self,
        authority: Authority,
        strangers: Mapping[str, Authority],
        *,
        node: str = "web1.example.com",
        collective: str = "mcs",
        called: str = "doc",
    ) -> None:
        self.node, self.collective = node, collective

        def signer(name: str, kind: Any, ca: Authority = authority, **more: Any) -> Signer:
            return Signer.from_pem(*ca.issue_pem(name, kind, renew=True, **more))

        past: dict[str, Any] = {"not_before": time.time() - 1000, "lifetime": 500.0}
        self.alice, self.bob = signer("alice", "operator"), signer(f"{called}-bob", "operator")
        self.web1, self.web2 = signer(node, "node"), signer(f"{called}-web2", "node")
        self.retired = {
            "operator": signer("alice", "operator", **past),
            "node": signer(node, "node", **past),
        }
        self.lost = {
            "operator": signer(f"{called}-mallory", "operator"),
            "node": signer(f"{called}-lost", "node"),
        }
        for signer_lost in self.lost.values():
            authority.revoke(signer_lost.identity.name)
        self.foreign = {
            title: {"operator": signer("alice", "operator", ca), "node": signer(node, "node", ca)}
            for title, ca in strangers.items()
        }
        self.verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
        self._asked = new_nonce()
        """The job that nodes are asked about."""
        self.held: dict[str, str] = {}
        """With whom each conversation is held."""
        self.kinds = {one.kind: one for one in self._kinds()}

    def cases(
        self, kind: str, make: Callable[[], SealedMessage] | None = None, by: Container[str] = BY
    ) -> list[Hostile]:
        """The hostile documents of a kind, made now: use them within five minutes.

        `make` makes the honest ones in place of ours, which fit nothing on a real wire; `by` is
        in which ways they are to be hostile.
        """
        document = self.kinds[kind]
        if make is not None:
            document = replace(document, make=make)
        return [case for case in document.cases(self._people) if case.by in by]

    def refusal(self, kind: str, sealed: SealedMessage) -> Reason | None:
        """Why a document is refused, None when it is taken."""
        try:
            self.kinds[kind].open(sealed)
        except Rejected as refused:
            return refused.reason
        return None

    def _people(self, document: _Document) -> Iterator[Hostile]:
        sort = document.signer.identity.kind
        expired, revoked = self.retired[sort], self.lost[sort]
        yield document.by("expired", "certificate", Reason.CERT_EXPIRED, expired)
        yield document.by("revoked", "certificate", Reason.REVOKED, revoked)
        for name, signers in self.foreign.items():
            yield document.by("foreign CA", name, Reason.FOREIGN_CA, signers[sort])
        for by, name, reason, fields in self._own(document.kind):
            yield document.resigned(by, name, reason, lambda body, f=fields: with_(body, **f))

    def _own(self, kind: str) -> list[tuple[str, str, Reason, dict[str, Any]]]:
        """What only one kind has to fear, honestly signed."""
        now = time.time()
        own: dict[str, list[tuple[str, str, Reason, dict[str, Any]]]] = {
            "rule": [
                ("future", "in two minutes", Reason.FROM_FUTURE, {"created": now + 120}),
                ("expired", "a second ago", Reason.EXPIRED, {"expires": now - 1}),
                ("collective", "another", Reason.WRONG_COLLECTIVE, {"collective": "eu"}),
                ("malformed", "revision 0", Reason.MALFORMED, {"revision": 0}),
                ("malformed", "no plain name", Reason.MALFORMED, {"name": "../../etc"}),
            ],
            "claim": [
                ("future", "in six minutes", Reason.FROM_FUTURE, {"created": now + 360}),
                ("expired", "six minutes old", Reason.EXPIRED, {"created": now - 360}),
                ("caller", "another's", Reason.CALLER_MISMATCH, {"caller": "cert=doc-bob"}),
            ],
            "turn of an operator": [
                ("collective", "another", Reason.WRONG_COLLECTIVE, {"collective": "eu"}),
                ("destination", "another node", Reason.MISROUTED, {"node": "doc-web2"}),
                ("foreign id", "another's", Reason.FOREIGN_ID, {"id": new_nonce()}),
                ("foreign id", "no nonce", Reason.FOREIGN_ID, {"nonce": None}),
                ("malformed", "an unknown word", Reason.MALFORMED, {"word": "shout"}),
                ("malformed", "an open without number", Reason.MALFORMED, {"sequence": 0}),
            ],
            "turn of a node": [
                ("foreign id", "nobody's talk", Reason.UNKNOWN_REQUEST, {"id": new_nonce()}),
                ("malformed", "a short digest", Reason.MALFORMED, {"digest": "ab"}),
            ],
            "job": [
                ("caller", "another's", Reason.CALLER_MISMATCH, {"author": "cert=doc-bob"}),
                ("malformed", "revision 0", Reason.MALFORMED, {"revision": 0}),
            ],
            "job as told": [
                ("foreign id", "another job", Reason.FOREIGN_ID, {"id": "ab" * 16}),
                ("caller", "another's", Reason.CALLER_MISMATCH, {"author": "cert=doc-bob"}),
            ],
            "plan": [
                ("caller", "another's", Reason.CALLER_MISMATCH, {"author": "cert=doc-bob"}),
                ("malformed", "no steps", Reason.MALFORMED, {"steps": []}),
            ],
            "registration": [
                ("sender", "another's", Reason.WRONG_SENDER, {"identity": "doc-web2"}),
                ("malformed", "a long flaw", Reason.MALFORMED, {"flaws": ["x" * 501]}),
            ],
        }
        return own[kind]

    # --- each kind -------------------------------------------------------------------------

    def job(self, **other: Any) -> Job:
        """An honest job."""
        fields: dict[str, Any] = {
            "id": new_request_id("cert=alice")[0],
            "revision": 1,
            "author": "cert=alice",
            "collective": self.collective,
            "session": "scratch-1",
            "agent": "rpcutil",
            "action": "ping",
            "created": time.time(),
            "when": When(at="2099-11-25T04:00"),
        }
        return Job(**{**fields, **other})

    def rule(self) -> Rule:
        """An honest rule."""
        now = time.time()
        return Rule(
            name=f"r{new_nonce()}",
            revision=1,
            author="cert=alice",
            collective=self.collective,
            created=now,
            expires=now + 3600,
            filter=Filter(),
            duties=(Duty(name="x", agent="rpcutil", action="ping"),),
        )

    def plan(self) -> Plan:
        """An honest plan."""
        step = Step(name="one", agent="rpcutil", action="ping", nodes=(self.node,))
        return Plan(
            name="patch",
            revision=1,
            author="cert=alice",
            collective=self.collective,
            created=time.time(),
            steps=(step,),
        )

    def registration(self, version: str = "1") -> Registration:
        """An honest registration."""
        return Registration(
            identity=self.node,
            created=time.time(),
            interval=300.0,
            collectives=(self.collective,),
            version=version,
        )

    def turn(self, **other: Any) -> Turn:
        """An honest first turn of alice's."""
        nonce = new_nonce()
        fields: dict[str, Any] = {
            "id": made_id("turn", "cert=alice", nonce),
            "nonce": nonce,
            "protocol": "echo",
            "caller": "cert=alice",
            "node": self.node,
            "collective": self.collective,
            "session": "scratch-1",
            "word": "open",
            "sequence": 1,
            "ack": 0,
            "limit": 33,
            "created": time.time(),
        }
        return Turn(**{**fields, **other})

    def claim(self, address: str = "friday") -> SessionClaim:
        """An honest claim to a session."""
        return SessionClaim(
            kind=TAKEOVER,
            caller="cert=alice",
            collective=self.collective,
            address=address,
            holder="laptop:4711:x7",
            epoch=1 << 50,
            rows=0,
            created=time.time(),
        )

    def _answer(self) -> SealedMessage:
        answer = self.turn(nonce="", digest="ab" * 32)
        self.held[answer.id] = self.node
        return seal_turn(answer, self.web1)

    def _tell(self) -> SealedMessage:
        return seal_job(self.job(id=self._asked), self.alice)

    def _as_told(self, sealed: SealedMessage) -> Job:
        """What the operator's client does with it, in the words of a node."""
        keys = {SIGNATURE: "signature", CERTIFICATE: "certificate"}
        told = {"document": sealed.body.decode()}
        told |= {key: sealed.headers[name] for name, key in keys.items() if name in sealed.headers}
        return open_kept_job(told, self._asked, self.verifier)

    def _kinds(self) -> Iterator[_Document]:
        yield from self._authored()
        yield self._registration()
        yield from self._turns()
        yield self._claim()

    def _of_operator(self, **more: Any) -> _Document:
        people: dict[str, Any] = {
            "signer": self.alice,
            "colleague": self.bob,
            "opposite": self.web1,
            "mismatch": Reason.CALLER_MISMATCH,
        }
        return _Document(**{**people, "most": MIB, "reasons": {"v": Reason.WRONG_VERSION}, **more})

    def _of_node(self, **more: Any) -> _Document:
        people: dict[str, Any] = {
            "signer": self.web1,
            "colleague": self.web2,
            "opposite": self.alice,
            "mismatch": Reason.WRONG_SENDER,
        }
        return _Document(**{**people, "most": MIB, **more})

    def _authored(self) -> Iterator[_Document]:
        def arguments(sealed: SealedMessage) -> tuple[Any, ...]:
            return sealed.body, sealed.headers, self.verifier, BodyLimits(), time.time()

        common = {"v": 3, "kind": "rule", "author": "cert=doc-bob", "collective": "eu"}
        job = {
            **common,
            "id": "0" * 32,
            "revision": 2,
            "session": "other",
            "agent": "exec",
            "action": "run",
            "created": time.time() - 9,
            "data": {"argv": ["touch", "PWNED"]},
            "name": "harmless",
            "when": {"at": None, "tz": "node", "splay": 0.0, "late": 1.0},
            "after": ["0" * 32 + ":ok"],
            "retries": 3,
            "backoff": 1.0,
            "max_runtime": 7.0,
        }
        yield self._of_operator(
            kind="job",
            make=lambda: seal_job(self.job(), self.alice),
            open=lambda sealed: open_job(*arguments(sealed)),
            values=job,
        )
        yield self._of_operator(
            kind="job as told",
            make=self._tell,
            open=self._as_told,
            most=None,
            values=job,
            reasons={"v": Reason.WRONG_VERSION, "kind": Reason.WRONG_KIND},
        )
        duty = json.loads(seal_rule(self.rule(), self.alice).body)["duties"][0]
        yield self._of_operator(
            kind="rule",
            make=lambda: seal_rule(self.rule(), self.alice),
            open=lambda sealed: open_rule(*arguments(sealed), self.collective),
            values={
                **common,
                "kind": "job",
                "name": "other",
                "revision": 2,
                "created": time.time() - 9,
                "expires": time.time() + 9e6,
                "filter": Filter(identity=("db1",)).as_dict(),
                "duties": [{**duty, "agent": "exec", "action": "run"}],
            },
        )
        step = json.loads(seal_plan(self.plan(), self.alice).body)["steps"][0]
        yield self._of_operator(
            kind="plan",
            make=lambda: seal_plan(self.plan(), self.alice),
            open=lambda sealed: open_plan(*arguments(sealed)),
            values={
                **common,
                "name": "other",
                "revision": 2,
                "created": time.time() - 9,
                "steps": [{**step, "agent": "exec", "action": "run"}],
            },
        )

    def _registration(self) -> _Document:
        return self._of_node(
            kind="registration",
            make=lambda: seal_registration(self.registration(), self.web1),
            open=lambda sealed: open_registration(
                sealed.body, sealed.headers, self.verifier, BodyLimits(), time.time()
            ),
            values={
                "v": 3,
                "kind": "reply",
                "identity": "doc-web2",
                "created": time.time() - 9,
                "interval": 9e9,
                "facts": {"role": "web | touch FILE #"},
                "classes": ["other"],
                "agents": ["exec"],
                "collectives": ["eu"],
                "pools": ["inventory"],
                "version": "9",
                "started": 1.0,
                "crl": 99,
                "machine": "other",
                "rules": {"cert=alice/r": 9},
                "flaws": ["none"],
                "audit": {"count": 1, "hash": "ab" * 32},
            },
            reasons={"v": Reason.WRONG_VERSION, "kind": Reason.WRONG_KIND},
        )

    def _turns(self) -> Iterator[_Document]:
        values = {
            "v": 3,
            "kind": "rule",
            "id": "0" * 32,
            "protocol": "other",
            "caller": "cert=doc-bob",
            "node": "doc-web2",
            "collective": "eu",
            "session": "other",
            "word": "turn",
            "sequence": 2,
            "ack": 1,
            "limit": 99,
            "created": time.time() - 9,
            "data": {"do": "close"},
            "nonce": "0" * 32,
            "digest": "0" * 64,
        }
        yield self._of_operator(
            kind="turn of an operator",
            make=lambda: seal_turn(self.turn(), self.alice),
            open=lambda sealed: open_turn_of_operator(
                sealed.body,
                sealed.headers,
                self.verifier,
                collective=self.collective,
                node=self.node,
                now=time.time(),
            ),
            most=MAX_TURN,
            values=values,
        )
        yield self._of_node(
            kind="turn of a node",
            make=self._answer,
            open=lambda sealed: open_turn_of_node(
                sealed.body, sealed.headers, self.verifier, time.time(), self.held.get
            ),
            most=MAX_TURN,
            values=values,
            reasons={
                "v": Reason.WRONG_VERSION,
                "kind": Reason.WRONG_KIND,
                "id": Reason.UNKNOWN_REQUEST,
                "node": Reason.WRONG_SENDER,
            },
        )

    def _claim(self) -> _Document:
        return self._of_operator(
            kind="claim",
            make=lambda: seal_claim(self.claim(), self.alice),
            open=lambda sealed: open_claim(
                sealed.body, sealed.headers, self.verifier, "cert=alice", now=time.time()
            ),
            most=4096,
            values={
                "v": 3,
                "kind": "handover",
                "caller": "cert=doc-bob",
                "collective": "eu",
                "address": "other",
                "holder": "elsewhere:1:x",
                "epoch": 99,
                "rows": 9,
                "created": time.time() - 9,
            },
        )


def with_(body: bytes, **fields: Any) -> bytes:
    """The document with other values in some fields."""
    return json.dumps({**json.loads(body), **fields}, separators=(",", ":")).encode()


def beside(body: bytes, value: bytes) -> bytes:
    """The document with raw bytes as the value of one field more."""
    return body[:-1] + b',"x":' + value + b"}"
