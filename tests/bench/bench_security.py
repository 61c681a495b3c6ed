"""What signing, checking, policy, audit and claims cost, beside the bare signature check.

Run: python -m pytest tests/bench/bench_security.py -m bench -s -q
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcshell.message import Reply, Request, State, Via, new_nonce, new_request_id
from mcshell.node.admission.policy import Policies
from mcshell.node.admission.replay import ReplayGuard
from mcshell.node.audit.log import AuditLog
from mcshell.pki import Authority
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    Arrival,
    BodyLimits,
    open_reply,
    open_request,
    seal_reply,
    seal_request,
)
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.bench.figures import figure

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]


def micros(
    call: Callable[[], object], times: int = 1000, clock: Callable[[], float] = time.process_time
) -> float:
    """Median of 5 rounds, in microseconds of processor time (or of `clock`) a call."""
    rounds = []
    for _ in range(5):
        started = clock()
        for _ in range(times):
            call()
        rounds.append((clock() - started) / times * 1e6)
    return statistics.median(rounds)


def show(name: str, value: float, unit: str = "µs", beside: float | None = None) -> None:
    """One line of the table."""
    figure(f"{name} ({value / beside:.2f} x bare)" if beside else name, value, unit)


def test_messages(tmp_path):
    """Print the cost of each step of a request and a reply."""
    authority = Authority.init(tmp_path / "ca")
    alice = Signer.from_pem(*authority.issue_pem("alice", "operator"))
    cert, key = authority.issue_pem("web1", "node")
    web1 = Signer.from_pem(cert, key)
    verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
    now, limits = time.time(), BodyLimits()
    reply = Reply(
        requestid="0" * 32,
        sender="web1",
        sequence=2,
        statuscode=0,
        statusmsg="OK",
        data={"pong": 1_800_000_000},
        created=now,
        state=State.OK,
    )
    requestid, nonce = new_request_id("cert=alice")
    request = Request(
        id=requestid,
        nonce=nonce,
        agent="rpcutil",
        action="ping",
        caller="cert=alice",
        collective="mcs",
        via=Via.BROADCAST,
        session="s",
        created=now,
        expires=now + 60,
    )
    answer, asked = seal_reply(reply, web1), seal_request(request, alice)
    private = Ed25519PrivateKey.generate()
    public, raw = private.public_key(), private.sign(answer.body)
    headers = answer.headers
    arrival = Arrival("mcs", Via.BROADCAST, "web1")

    print(f"\na reply of {len(answer.body)} bytes")
    bare = micros(lambda: public.verify(raw, answer.body))
    show("bare Ed25519 verify", bare)
    show(
        "Verifier.verify",
        micros(
            lambda: verifier.verify(answer.body, headers[SIGNATURE], headers[CERTIFICATE], now=now)
        ),
        beside=bare,
    )
    show(
        "open_reply",
        micros(
            lambda: open_reply(
                answer.body, headers, verifier, limits, now, lambda _: {"web1"}, bool
            )
        ),
        beside=bare,
    )
    show(
        "open_request",
        micros(lambda: open_request(asked.body, asked.headers, verifier, arrival, limits, now)),
        beside=bare,
    )
    sign = micros(lambda: private.sign(answer.body))
    show("bare Ed25519 sign", sign)
    show("seal_reply", micros(lambda: seal_reply(reply, web1)), beside=sign)
    show("strict_json.loads", micros(lambda: strict_json.loads(answer.body)))
    show("strict_json.dumps", micros(lambda: strict_json.dumps({"data": reply.data})))
    show(
        "a certificate's first time",
        micros(lambda: verifier._examine(web1.certificate, b""), 200),
    )
    show("Signer.from_pem", micros(lambda: Signer.from_pem(cert, key), 200))


def test_a_fleet(tmp_path):
    """Print what 10,000 certificates cost: issuing them, and a first and second round of replies."""
    authority = Authority.init(tmp_path / "ca")
    started = time.process_time()
    pems = [authority.issue_pem(f"emu{i:05}", "node") for i in range(10_000)]
    show("\nissue_pem, 10,000", time.process_time() - started, "s")
    signers = [Signer.from_pem(*pem) for pem in pems]
    verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
    now = time.time()
    said = [
        seal_reply(
            Reply(
                requestid="0" * 32,
                sender=s.identity.name,
                sequence=2,
                statuscode=0,
                statusmsg="OK",
                data={},
                created=now,
                state=State.OK,
            ),
            s,
        )
        for s in signers
    ]
    everyone = {signer.identity.name for signer in signers}
    for name in ("first", "second"):
        started = time.process_time()
        for reply in said:
            open_reply(
                reply.body, reply.headers, verifier, BodyLimits(), now, lambda _: everyone, bool
            )
        show(f"open_reply, {name} round of 10,000", time.process_time() - started, "s")


def test_the_gate(tmp_path):
    """Print what policy, audit and claims add on a node."""
    (tmp_path / "service.policy").write_text(
        "policy default deny\nallow\tcert=bob\t*\tos=RedHat\t*\nallow\tcert=alice\t*\tos=Debian\t*\n"
    )
    policies = Policies(tmp_path)
    facts, classes = {"os": "Debian"}, frozenset({"web"})
    print()
    show(
        "Policies.decide",
        micros(lambda: policies.decide("cert=alice", "service", "status", facts, classes)),
    )
    log = AuditLog(tmp_path / "audit.jsonl")
    event = {
        "event": "accepted",
        "requestid": "0" * 32,
        "caller": "cert=alice",
        "agent": "rpcutil",
        "action": "ping",
        "via": "broadcast",
        "identity": "web1",
    }
    show("AuditLog.write", micros(lambda: log.write(event)))
    log.close()
    for level in ("NORMAL", "FULL"):
        replay_guard = ReplayGuard(tmp_path / f"{level}.db", synchronous=level)
        now = time.time()
        show(
            f"claim, one by one, {level}",
            micros(
                lambda c=replay_guard, n=now: c.claim("web1", new_nonce(), n, n),
                200,
                time.perf_counter,
            ),
        )
        many = [("web1", new_nonce(), now) for _ in range(1000)]
        started = time.perf_counter()
        replay_guard.claim_many(many, now)
        show(f"claim_many of 1,000, each, {level}", (time.perf_counter() - started) * 1e3)

        def run(c=replay_guard, n=now):
            for _ in range(100):
                c.claim("web1", new_nonce(), n, n)

        threads = [threading.Thread(target=run) for _ in range(16)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        show(f"claim in 16 threads, each, {level}", (time.perf_counter() - started) / 1600 * 1e6)
        replay_guard.close()
