"""Hostile messages of every class, each with the reason it must be refused for, and its twin.

A `Case` is two messages for the same destination: `hostile`, which must be refused with `reason`,
and `twin`, the same without the tampering, which must be accepted (after it: the twin of a
replay is its own first delivery). Unit tests open them directly; end-to-end tests put them on a
real broker with a bare socket, so a case knows its destination.

`Forge` makes identities of its own from the CA that it is given. It revokes some of them, so the
receiver needs the CRL as it is after the Forge was made.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.errors import Reason
from mcshell.message import Reply, Request, State, Via, new_nonce, new_request_id, run_id
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    Arrival,
    BodyLimits,
    SealedMessage,
    digest_of,
    seal_reply,
    seal_request,
)
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLASSES = (
    "changed byte",
    "signature stripped",
    "other certificate",
    "foreign CA",
    "node posing as operator",
    "expired",
    "from the future",
    "replayed",
    "other collective",
    "moved to another queue",
    "reply of another node",
    "reply to nobody's request",
    "revoked",
    "huge",
    "deeply nested",
    "not JSON",
    "ambiguous",
    "id of another's making",
    "reply to something else",
)


@dataclass(frozen=True, slots=True)
class Case:
    """`arrival` is how a request comes in; None for a reply, which goes to the reply queue."""

    kind: str
    name: str
    reason: Reason
    hostile: SealedMessage
    twin: SealedMessage
    destination: str
    arrival: Arrival | None


class Forge:
    """A hostile participant that knows the protocol, and has a few certificates.

    Args:
        authority: the fleet's CA.
        node, collective: the node that requests go to; it must allow `cert=CALLER` rpcutil.ping.
        caller, session: whose reply queue the replies go to.
        outstanding: gives the id of a request that the receiver of replies has sent to `node`
            and that has no reply yet, and the digest of its body: a fresh one at each call.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        outstanding: Callable[[], tuple[str, str]],
        node: str = "web1.example.com",
        collective: str = "mcs",
        caller: str = "alice",
        session: str = "scratch-1",
        limits: BodyLimits | None = None,
    ) -> None:
        self.node, self.collective, self.session = node, collective, session
        self.outstanding = outstanding
        self.limits = limits or BodyLimits()

        def signer(name: str, kind: Any, ca: Authority = authority, **more: Any) -> Signer:
            return Signer.from_pem(*ca.issue_pem(name, kind, renew=True, **more))

        self.alice = signer(caller, "operator")
        self.bob = signer("forge-bob", "operator")
        self.web1 = signer(node, "node")
        self.web2 = signer("forge-web2", "node")
        self.mallory = signer("forge-mallory", "operator")
        self.lost = signer("forge-lost", "node")
        for name in ("forge-mallory", "forge-lost"):
            authority.revoke(name)
        past: dict[str, Any] = {"not_before": time.time() - 1000, "lifetime": 500.0}
        self.retired = signer("forge-retired", "operator", **past)
        self.scrapped = signer("forge-scrapped", "node", **past)
        name = authority.certificate.subject.rfc4514_string().removeprefix("CN=")
        with tempfile.TemporaryDirectory() as folder:
            lookalike = Authority.init(Path(folder) / "lookalike", name, mark="")
            stranger = Authority.init(Path(folder) / "stranger", "Another CA")
            self.foreign = {
                ca_name: (signer(caller, "operator", ca), signer(node, "node", ca))
                for ca_name, ca in (("lookalike", lookalike), ("stranger", stranger))
            }

    # --- honest messages -------------------------------------------------------------------

    def request(
        self, via: Via = Via.BROADCAST, signer: Signer | None = None, **other: Any
    ) -> Request:
        """An honest rpcutil.ping, made now, with what `other` says."""
        now = time.time()
        caller = (signer or self.alice).identity.callerid
        requestid, nonce = new_request_id(caller)
        fields: dict[str, Any] = {
            "id": requestid,
            "nonce": nonce,
            "agent": "rpcutil",
            "action": "ping",
            "caller": caller,
            "collective": self.collective,
            "via": via,
            "session": self.session,
            "created": now,
            "expires": now + 600,
            "identity": self.node if via in (Via.DIRECT, Via.QUEUE) else None,
        }
        return Request(**{**fields, **other})

    def reply(self, **other: Any) -> Reply:
        """An honest final reply of the node about an outstanding request."""
        requestid, digest = self.outstanding()
        fields: dict[str, Any] = {
            "requestid": requestid,
            "digest": digest,
            "sender": self.node,
            "sequence": 2,
            "statuscode": 0,
            "statusmsg": "OK",
            "data": {"pong": 1},
            "created": time.time(),
            "state": State.OK,
        }
        return Reply(**{**fields, **other})

    def arrival(self, via: Via) -> Arrival:
        """How a request comes in by `via`."""
        return Arrival(self.collective, via, self.node)

    # --- cases -----------------------------------------------------------------------------

    def cases(self) -> list[Case]:
        """All hostile messages, made now: use them within ten minutes."""
        return [
            *self._changed(),
            *self._stripped(),
            *self._other_certificate(),
            *self._foreign(),
            *self._posing(),
            *self._dates(),
            *self._replayed(),
            *self._moved(),
            *self._replies(),
            *self._revoked(),
            *self._bodies(),
            *self._ids(),
            *self._unbound(),
        ]

    def _to_node(
        self,
        kind: str,
        name: str,
        reason: Reason,
        hostile: SealedMessage,
        twin: SealedMessage | None = None,
        via: Via = Via.BROADCAST,
    ) -> Case:
        destination = (
            destinations.broadcast(self.collective)
            if via is Via.BROADCAST
            else destinations.node(self.collective, self.node)
            if via is Via.DIRECT
            else destinations.work(self.collective, self.node)
        )
        twin = twin or seal_request(self.request(via), self.alice)
        return Case(kind, f"request: {name}", reason, hostile, twin, destination, self.arrival(via))

    def _to_client(
        self,
        kind: str,
        name: str,
        reason: Reason,
        hostile: SealedMessage,
        twin: SealedMessage | None = None,
    ) -> Case:
        destination = destinations.reply(
            self.collective, self.alice.identity.callerid, self.session
        )
        twin = twin or seal_reply(self.reply(), self.web1)
        return Case(kind, f"reply: {name}", reason, hostile, twin, destination, None)

    def _changed(self) -> Iterator[Case]:
        """Each signed field with another value, under the signature of the honest one."""
        kind = CLASSES[0]
        values: dict[str, Any] = {
            "v": 3,
            "kind": "reply",
            "id": new_nonce(),
            "nonce": new_nonce(),
            "collective": "mcz",
            "via": "direct",
            "identity": self.node,
            "pool": "sms",
            "agent": "rpcutik",
            "action": "pinh",
            "data": {"x": 1},
            "filter": {"fact": ["a=b"], "class": [], "agent": [], "identity": [], "compound": []},
            "caller": "cert=alicf",
            "session": "scratch-2",
            "created": time.time() - 1,
            "expires": time.time() + 601,
        }
        for name, value in values.items():
            twin = seal_request(self.request(), self.alice)
            hostile = changed(twin, **{name: value})
            reason = Reason.WRONG_VERSION if name == "v" else Reason.BAD_SIGNATURE
            yield self._to_node(kind, f"{name} changed", reason, hostile, twin)
        twin = seal_request(self.request(), self.alice)
        old = as_version_1(twin, self.alice)
        yield self._to_node(kind, "of version 1", Reason.WRONG_VERSION, old, twin)
        twin = seal_request(self.request(), self.alice)
        spaced = SealedMessage(twin.body.replace(b",", b", ", 1), twin.headers)
        yield self._to_node(kind, "a space added", Reason.BAD_SIGNATURE, spaced, twin)
        yield from self._changed_replies(kind)

    def _changed_replies(self, kind: str) -> Iterator[Case]:
        values: dict[str, tuple[Any, Reason]] = {
            "v": (3, Reason.WRONG_VERSION),
            "kind": ("request", Reason.WRONG_KIND),
            "id": (self.outstanding()[0], Reason.BAD_SIGNATURE),
            "sender": ("forge-web2", Reason.BAD_SIGNATURE),
            "sequence": (5, Reason.BAD_SIGNATURE),
            "statuscode": (1, Reason.BAD_SIGNATURE),
            "statusmsg": ("OJ", Reason.BAD_SIGNATURE),
            "data": ({"pong": 2}, Reason.BAD_SIGNATURE),
            "created": (time.time() - 1, Reason.BAD_SIGNATURE),
            "state": ("failed", Reason.BAD_SIGNATURE),
            "digest": ("ab" * 32, Reason.BAD_SIGNATURE),
        }
        for name, (value, reason) in values.items():
            twin = seal_reply(self.reply(), self.web1)
            yield self._to_client(
                kind, f"{name} changed", reason, changed(twin, **{name: value}), twin
            )

    def _stripped(self) -> Iterator[Case]:
        kind = CLASSES[1]
        for gone in ((SIGNATURE,), (CERTIFICATE,), (SIGNATURE, CERTIFICATE)):
            what = " and ".join(gone)
            twin = seal_request(self.request(), self.alice)
            yield self._to_node(
                kind, f"without {what}", Reason.UNSIGNED, stripped(twin, *gone), twin
            )
            answer = seal_reply(self.reply(), self.web1)
            hostile = stripped(answer, *gone)
            yield self._to_client(kind, f"without {what}", Reason.UNSIGNED, hostile, answer)
        twin = seal_request(self.request(), self.alice)
        cut = SealedMessage(twin.body, {**twin.headers, SIGNATURE: twin.headers[SIGNATURE][:-4]})
        yield self._to_node(kind, "signature cut short", Reason.BAD_SIGNATURE, cut, twin)

    def _other_certificate(self) -> Iterator[Case]:
        kind = CLASSES[2]
        der = bytearray(base64.b64decode(self.alice.certificate))
        der[-1] ^= 1
        certificates = {
            "of another operator": (self.bob.certificate, Reason.BAD_SIGNATURE),
            "that is none": ("QUJD", Reason.BAD_CERTIFICATE),
            "not in base64": ("~~~", Reason.BAD_CERTIFICATE),
            "with a changed byte": (base64.b64encode(bytes(der)).decode(), Reason.FOREIGN_CA),
        }
        for name, (certificate, reason) in certificates.items():
            twin = seal_request(self.request(), self.alice)
            hostile = SealedMessage(twin.body, {**twin.headers, CERTIFICATE: certificate})
            yield self._to_node(kind, name, reason, hostile, twin)
        twin = seal_request(self.request(), self.alice)
        hostile = signed(twin.body, self.bob)
        name = "and signature of another operator"
        yield self._to_node(kind, name, Reason.CALLER_MISMATCH, hostile, twin)
        answer = seal_reply(self.reply(), self.web1)
        other = SealedMessage(answer.body, {**answer.headers, CERTIFICATE: self.web2.certificate})
        yield self._to_client(kind, "of another node", Reason.BAD_SIGNATURE, other, answer)

    def _foreign(self) -> Iterator[Case]:
        for name, (operator, node) in self.foreign.items():
            twin = seal_request(self.request(), self.alice)
            hostile = signed(twin.body, operator)
            yield self._to_node(CLASSES[3], f"of a {name}", Reason.FOREIGN_CA, hostile, twin)
            direct = seal_request(self.request(Via.DIRECT), self.alice)
            hostile = signed(direct.body, operator)
            yield self._to_node(
                CLASSES[3], f"of a {name}, direct", Reason.FOREIGN_CA, hostile, direct, Via.DIRECT
            )
            answer = seal_reply(self.reply(), self.web1)
            hostile = signed(answer.body, node)
            yield self._to_client(CLASSES[3], f"of a {name}", Reason.FOREIGN_CA, hostile, answer)

    def _posing(self) -> Iterator[Case]:
        for via in (Via.BROADCAST, Via.DIRECT):
            for caller, signer in (
                (self.web2.identity.callerid, self.web2),
                (self.alice.identity.callerid, self.web2),
                (self.web1.identity.callerid, self.web1),
            ):
                honest = seal_request(self.request(via), self.alice)
                body = changed(honest, caller=caller).body
                yield self._to_node(
                    CLASSES[4],
                    f"by {via}, {signer.identity.name} as {caller}",
                    Reason.WRONG_KIND,
                    signed(body, signer),
                    honest,
                    via,
                )

    def _dates(self) -> Iterator[Case]:
        now, skew = time.time(), self.limits.max_skew
        for via in (Via.BROADCAST, Via.DIRECT):
            for age in (1.0, 3600.0):
                old = self.request(via, created=now - age - 60, expires=now - age)
                yield self._to_node(
                    CLASSES[5],
                    f"by {via}, {age:.0f} s ago",
                    Reason.EXPIRED,
                    seal_request(old, self.alice),
                    via=via,
                )
            for ahead in (skew + 120, 86_400.0):
                early = self.request(via, created=now + ahead, expires=now + ahead + 60)
                yield self._to_node(
                    CLASSES[6],
                    f"by {via}, in {ahead:.0f} s",
                    Reason.FROM_FUTURE,
                    seal_request(early, self.alice),
                    via=via,
                )
        retired = seal_request(self.request(signer=self.retired), self.retired)
        yield self._to_node(CLASSES[5], "operator's certificate", Reason.CERT_EXPIRED, retired)
        scrapped = seal_reply(self.reply(sender="forge-scrapped"), self.scrapped)
        yield self._to_client(CLASSES[5], "node's certificate", Reason.CERT_EXPIRED, scrapped)
        eternal = self.request(expires=now + self.limits.max_ttl + 3600)
        yield self._to_node(
            CLASSES[5], "never to expire", Reason.MALFORMED, seal_request(eternal, self.alice)
        )

    def _replayed(self) -> Iterator[Case]:
        """The twin is sent first here: it is the second delivery that is hostile."""
        for via in (Via.BROADCAST, Via.DIRECT):
            for number in (1, 2):
                once = seal_request(self.request(via), self.alice)
                yield self._to_node(
                    CLASSES[7], f"by {via}, {number}", Reason.REPLAYED, once, once, via
                )

    def _moved(self) -> Iterator[Case]:
        for via in (Via.BROADCAST, Via.DIRECT):
            for other in ("eu", f"{self.collective}2"):
                sealed = seal_request(self.request(via, collective=other), self.alice)
                yield self._to_node(
                    CLASSES[8], f"by {via} of {other}", Reason.WRONG_COLLECTIVE, sealed, via=via
                )
        addressed = {
            "a broadcast": (self.request(), Via.DIRECT),
            "a direct request": (self.request(Via.DIRECT), Via.BROADCAST),
            "a direct request of another node": (
                self.request(Via.DIRECT, identity="forge-web2"),
                Via.DIRECT,
            ),
            "queued work": (self.request(Via.QUEUE), Via.DIRECT),
            "work of a pool": (self.request(Via.POOL, pool="sms"), Via.BROADCAST),
        }
        for name, (request, via) in addressed.items():
            sealed = seal_request(request, self.alice)
            yield self._to_node(CLASSES[9], f"{name} on {via}", Reason.MISROUTED, sealed, via=via)

    def _replies(self) -> Iterator[Case]:
        words = (
            (0, State.RECEIVED, None),
            (1, State.RUNNING, None),
            (2, State.OK, 0),
            (2, State.DENIED, 1),
        )
        for sequence, state, code in words:
            answer = self.reply(sequence=sequence, state=state, statuscode=code)
            twin = seal_reply(answer, self.web1)
            yield self._to_client(
                CLASSES[10],
                f"says {state}",
                Reason.WRONG_SENDER,
                signed(twin.body, self.web2),
                twin,
            )
            stray = seal_reply(replace(answer, requestid=new_nonce()), self.web1)
            yield self._to_client(CLASSES[11], f"says {state}", Reason.UNKNOWN_REQUEST, stray)
        twin = seal_reply(self.reply(), self.web1)
        yield self._to_client(
            CLASSES[10], "an operator's", Reason.WRONG_KIND, signed(twin.body, self.bob), twin
        )

    def _revoked(self) -> Iterator[Case]:
        for via in (Via.BROADCAST, Via.DIRECT):
            request = self.request(via, signer=self.mallory)
            yield self._to_node(
                CLASSES[12],
                f"operator, by {via}",
                Reason.REVOKED,
                seal_request(request, self.mallory),
                via=via,
            )
        for sequence, state, code in ((0, State.RECEIVED, None), (2, State.OK, 0)):
            answer = self.reply(
                sender="forge-lost", sequence=sequence, state=state, statuscode=code
            )
            yield self._to_client(
                CLASSES[12], f"node says {state}", Reason.REVOKED, seal_reply(answer, self.lost)
            )

    def _ids(self) -> Iterator[Case]:
        """Ids that another has made, or nobody: bob's requests would stand in alice's way."""
        ids: dict[str, Callable[[Request, Request], tuple[str, str | None]]] = {
            "alice's, with her nonce": lambda hers, _his: (hers.id, hers.nonce),
            "alice's, with his own": lambda hers, his: (hers.id, his.nonce),
            "a run of her job's": lambda hers, his: (
                run_id(hers.id, "2026-11-25T04:00"),
                his.nonce,
            ),
            "without a nonce": lambda _hers, his: (his.id, None),
        }
        for via in (Via.BROADCAST, Via.DIRECT):
            for name, stolen in ids.items():
                hers, his = self.request(via), self.request(via, signer=self.bob)
                requestid, nonce = stolen(hers, his)
                hostile = changed(seal_request(his, self.bob), id=requestid, nonce=nonce)
                yield self._to_node(
                    CLASSES[17],
                    f"{name}, by {via}",
                    Reason.FOREIGN_ID,
                    signed(hostile.body, self.bob),
                    seal_request(hers, self.alice),
                    via,
                )

    def _unbound(self) -> Iterator[Case]:
        """Genuine replies of the node to something else than what was asked."""
        other, elsewhere = self.outstanding()[1], digest_of(b"asked by another")
        answer = self.reply()
        for name, digest in (("nothing", ""), ("another's", elsewhere), ("another of hers", other)):
            for sequence, state, code in ((0, State.RECEIVED, None), (2, State.OK, 0)):
                said = replace(answer, sequence=sequence, state=state, statuscode=code)
                hostile = seal_reply(replace(said, digest=digest), self.web1)
                twin = seal_reply(self.reply(), self.web1)
                yield self._to_client(
                    CLASSES[18], f"{name}, {state}", Reason.UNBOUND, hostile, twin
                )

    def _bodies(self) -> Iterator[Case]:
        """What a broken or hostile program with a good key could sign."""
        most = self.limits.max_body
        bodies: dict[str, list[tuple[str, Reason, Callable[[bytes], bytes]]]] = {
            CLASSES[13]: [
                ("a byte too many", Reason.TOO_LARGE, lambda b: b + b" " * (most + 1 - len(b))),
                (
                    "twice too large",
                    Reason.TOO_LARGE,
                    lambda b: with_data(b, b'"' + b"x" * 2 * most + b'"'),
                ),
            ],
            CLASSES[14]: [
                ("lists", Reason.TOO_DEEP, lambda b: with_data(b, b"[" * 100 + b"]" * 100)),
                (
                    "objects",
                    Reason.TOO_DEEP,
                    lambda b: with_data(b, b'{"a":' * 60 + b"1" + b"}" * 60),
                ),
                ("never closed", Reason.TOO_DEEP, lambda _: b"[" * 200_000),
            ],
            CLASSES[15]: [
                ("nothing", Reason.NOT_JSON, lambda _: b""),
                ("cut short", Reason.NOT_JSON, lambda b: b[:-1]),
                ("no text", Reason.NOT_JSON, lambda _: b"\x04\x08{\x07\xff\xfe"),
                ("NaN", Reason.NOT_JSON, lambda b: with_data(b, b"NaN")),
                ("two documents", Reason.NOT_JSON, lambda b: b + b),
            ],
            CLASSES[16]: [
                ("a key twice", Reason.MALFORMED, lambda b: b[:-1] + b',"v":2}'),
                ("a long number", Reason.MALFORMED, lambda b: with_data(b, b"9" * 5000)),
                ("an infinite number", Reason.MALFORMED, lambda b: with_data(b, b"1e999")),
                ("half a surrogate pair", Reason.MALFORMED, lambda b: with_data(b, b'"\\ud800"')),
                ("a list", Reason.MALFORMED, lambda b: b"[" + b + b"]"),
            ],
        }
        for kind, changes in bodies.items():
            for name, reason, change in changes:
                twin = seal_request(self.request(), self.alice)
                hostile = signed(change(twin.body), self.alice)
                yield self._to_node(kind, name, reason, hostile, twin)
                answer = seal_reply(self.reply(), self.web1)
                hostile = signed(change(answer.body), self.web1)
                yield self._to_client(kind, name, reason, hostile, answer)


def changed(sealed: SealedMessage, **fields: Any) -> SealedMessage:
    """The message with other values in its body, under the same signature."""
    document = {**json.loads(sealed.body), **fields}
    return SealedMessage(json.dumps(document, separators=(",", ":")).encode(), sealed.headers)


def stripped(sealed: SealedMessage, *names: str) -> SealedMessage:
    """The message without some of its headers."""
    headers: Mapping[str, str] = sealed.headers
    return SealedMessage(sealed.body, {k: v for k, v in headers.items() if k not in names})


def signed(body: bytes, signer: Signer) -> SealedMessage:
    """Any bytes at all, signed."""
    return SealedMessage(body, {SIGNATURE: signer.sign(body), CERTIFICATE: signer.certificate})


def as_version_1(message: SealedMessage, signer: Signer) -> SealedMessage:
    """The same document as mcshell 0.1.0 wrote and signed it."""
    body = message.body.replace(b'{"v":2,', b'{"v":1,', 1)
    body = re.sub(rb',"(nonce|digest)":("[0-9a-f]*"|null)', b"", body)
    signature = base64.b64encode(signer._sign(body)).decode()
    return SealedMessage(body, {**message.headers, SIGNATURE: signature})


def with_data(body: bytes, value: bytes) -> bytes:
    """The document with raw bytes as one value in its data."""
    head, _, tail = body.partition(b'"data":{')
    rest = tail.partition(b"}")[2]
    return head + b'"data":{"x":' + value + b"}" + rest
