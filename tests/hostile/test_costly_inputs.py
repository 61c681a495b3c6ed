"""Ten costly inputs on a running daemon: a ping is answered beside each, and none costs a second."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mcshell.message import Duty, Filter, Request, Rule, Via, When, new_nonce, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.crl import seal_crl
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, SealedMessage, seal_request
from mcshell.wire.documents.rule import seal_rule
from mcshell.wire.documents.signatures import Signer
from tests.hostile.forge import signed
from tests.hostile.lists import carrier, crl_of
from tests.peers.bare import Bare, Closed
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)

PATIENCE = 60.0
MIB = 1 << 20
ROOM = MIB - 4096
"""What fits into a body of 1 MiB beside its other fields."""
LONG = "ab" * 30_000
BOMB = r"long=~^((ab)+)+!$"


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node with a long fact; alice may all, bob nothing."""
    folder = tmp_path_factory.mktemp("costly")
    nodes = {"web1": Node({"long": LONG, "role": "web"})}
    with (
        Fleet(embedded, folder, nodes, operators=("alice", "bob")) as one,
        tempfile.NamedTemporaryFile(dir="/var/tmp") as large,
    ):
        large.truncate(16 * MIB)
        Path(large.name).chmod(0o644)
        (folder / "large.at").write_text(large.name)
        one.start()
        yield one


def signer(fleet: Fleet, name: str) -> Signer:
    """One of the operators."""
    return Signer.load(fleet.folder / f"{name}.pem", fleet.folder / f"{name}.key")


def bob(fleet: Fleet) -> Signer:
    """Who may nothing."""
    return signer(fleet, "bob")


def asked(fleet: Fleet, **other: Any) -> SealedMessage:
    """A request of bob's to all, as he could sign it without a client's checks."""
    now = time.time()
    made, nonce = new_request_id("cert=bob")
    fields: dict[str, Any] = {
        "id": made,
        "nonce": nonce,
        "agent": "discovery",
        "action": "ping",
        "caller": "cert=bob",
        "collective": fleet.collective,
        "via": Via.BROADCAST,
        "session": "costly",
        "created": now,
        "expires": now + 600,
        **other,
    }
    return seal_request(Request(**fields), bob(fleet))


def rule(fleet: Fleet, author: str, times: int) -> SealedMessage:
    """A hundred duties whose inputs are patterns, each so many times a nasty one."""
    now = time.time()
    nasty = r"^([\w/.-]+ ?)+!$" * times
    data = {"pattern": nasty}
    late = When(at="2099-11-25T04:00")
    duties = [
        Duty(name=f"d{number}", agent="process", action="list", data=data, when=late)
        for number in range(100)
    ]
    made = Rule(
        name=f"r{new_nonce()}",
        revision=1,
        author=f"cert={author}",
        collective=fleet.collective,
        created=now,
        expires=now + 600,
        filter=Filter(fact=("long=~^((ab)+)+$",)),
        duties=tuple(duties),
    )
    return seal_rule(made, signer(fleet, author))


def lists(fleet: Fleet) -> SealedMessage:
    """Sixteen lists of 64 KiB of base64 each, of our own CA."""
    der = crl_of(fleet.authority, number=9, entries=1000)
    return seal_crl([der] * 16, carrier(fleet.authority), time.time())


def turn(fleet: Fleet) -> SealedMessage:
    """A turn of 256 KiB of nested lists, in nobody's conversation."""
    document = {
        "v": 2,
        "kind": "turn",
        "id": "0" * 32,
        "protocol": "echo",
        "caller": "cert=bob",
        "node": "web1",
        "collective": fleet.collective,
        "session": "costly",
        "word": "turn",
        "sequence": 1,
        "ack": 0,
        "limit": 33,
        "created": time.time(),
        "data": [[[1]]] * 43_000,
        "nonce": None,
        "digest": "0" * 64,
    }
    return signed(json.dumps(document, separators=(",", ":")).encode(), bob(fleet))


def many(count: int, text: str) -> tuple[str, ...]:
    """As many different terms, all that fit."""
    return tuple(f"{text}{number}" for number in range(count))


def digests(fleet: Fleet) -> SealedMessage:
    """Hundreds of digests of a file of 16 MiB that all may read, each of which is another than that."""
    (large,) = fleet.folder.glob("large.at")
    path = large.read_text()
    links = [f"{path[:at]}{'/' * number}{path[at:]}" for at in (1, 4) for number in range(50)]
    one = " or ".join(
        f"fstat('{link}').{digest}=0" for link in links for digest in ("md5", "sha256")
    )
    return asked(
        fleet, filter=Filter(compound=(f"{one[:8000].rpartition(' or ')[0]} or role=web",) * 3)
    )


def expressions(_: Fleet) -> Filter:
    """As many as fit, each of which is short enough for itself."""
    one = " or ".join(f"a{number}=1" for number in range(900))[:8000].rpartition(" or ")[0]
    return Filter(compound=tuple(f"{one} or x{number}=1" for number in range(118)))


INPUTS: dict[str, Callable[[Fleet], SealedMessage]] = {
    "unsigned junk": lambda _: SealedMessage(b"\xff\x00junk" * (MIB // 6), {}),
    "a raw chunk of nobody's": lambda _: SealedMessage(b"\x00\xffjunk" * (MIB // 6), {}),
    "PEM heads": lambda fleet: seal_crl(
        [b"-----BEGIN X509 CRL-----" * 30_000], bob(fleet), time.time()
    ),
    "nested JSON": lambda fleet: signed(b"[" * ROOM, bob(fleet)),
    "nested JSON, with a mark": lambda _: SealedMessage(
        b'{"kind":"rule","x":' + b'{"a":' * (ROOM // 6), {}
    ),
    "a huge certificate": lambda _: SealedMessage(
        b"{}", {SIGNATURE: "QUJD", CERTIFICATE: "QUJD" * (ROOM // 4)}
    ),
    "a certificate of 48 KB": lambda _: SealedMessage(
        b"{}", {SIGNATURE: "QUJD", CERTIFICATE: "QUJD" * 12_000}
    ),
    "1,000 regexes": lambda fleet: asked(
        fleet, filter=Filter(identity=tuple(f"/{'(a|b)*' * 80}{n}/" for n in range(1000)))
    ),
    "a bomb over a long fact": lambda fleet: asked(
        fleet, filter=Filter(fact=(BOMB, *(f"long=~^(a|b|ab)*{n}!$" for n in range(60))))
    ),
    "an expression of 1 MB": lambda fleet: asked(
        fleet, filter=Filter(compound=(" and ".join(["role=web"] * (ROOM // 13)),))
    ),
    "an expression of brackets": lambda fleet: asked(
        fleet, filter=Filter(compound=("(" * (ROOM // 2) + "role=web" + ")" * (ROOM // 2 - 8),))
    ),
    "1 MB of identities": lambda fleet: asked(
        fleet, filter=Filter(identity=many(1000, "x" * 1030))
    ),
    "hundreds of digests": digests,
    "1 MB of short expressions": lambda fleet: asked(fleet, filter=expressions(fleet)),
    "ranges of 2,000,000 names": lambda fleet: asked(
        fleet, filter=Filter(identity=many(20, "x[1-99999]y"))
    ),
    "a rule of 100 duties": lambda fleet: rule(fleet, "bob", 600),
    "a rule of alice's": lambda fleet: rule(fleet, "alice", 14),
    "16 lists": lists,
    "a turn of 256 KiB": turn,
    "a million keys": lambda fleet: asked(
        fleet, data={f"{number:x}": 0 for number in range(ROOM // 10)}
    ),
}


REASONS = {
    "unsigned junk": "unsigned",
    "PEM heads": "bad_certificate",
    "nested JSON": "too_deep",
    "nested JSON, with a mark": "unsigned",
    "a certificate of 48 KB": "bad_certificate",
    "1,000 regexes": "malformed",
    "an expression of 1 MB": "malformed",
    "an expression of brackets": "malformed",
    "1 MB of identities": "malformed",
    "hundreds of digests": "malformed",
    "1 MB of short expressions": "malformed",
    "ranges of 2,000,000 names": "malformed",
    "a rule of 100 duties": "default.policy",
    "a million keys": "discovery.ping",
}
"""Why each is refused; the others are silent: the broker refuses such a header itself, the bomb
means another node, alice's rule and the CA's lists are taken, a reset answers the turn."""


def spent(fleet: Fleet) -> tuple[float, int]:
    """Seconds of processor, with its children, and private bytes of web1's daemon, so far."""
    process = psutil.Process(fleet.nodes["web1"].pid)
    return sum(process.cpu_times()[:4]), process.memory_full_info().uss


@pytest.mark.parametrize("name", INPUTS)
def test_nobody_waits_for_a_costly_input(fleet: Fleet, name: str) -> None:
    """A ping is answered beside it; it costs a second of processor and 20 MB at most."""
    sealed = INPUTS[name](fleet)
    broad = b'"via":"broadcast"' in sealed.body
    place = destinations.broadcast if broad else lambda one: destinations.node(one, "web1")
    with fleet.client() as alice, Bare(fleet.broker).connect() as bare:
        answered(alice)
        refused = refusals(fleet)
        seconds, memory = spent(fleet)
        try:
            bare.send(place(fleet.collective), sealed.body, sealed.headers)
        except Closed:
            assert name == "a huge certificate"  # the broker refuses such a header
        began = time.monotonic()
        answered(alice)
        waited = time.monotonic() - began
        # each way is in order: what was before these has been judged now
        assert "web1" in set(alice.discover(known=False).sender)
        answered(alice)
        assert wait_until(lambda: idle(fleet), PATIENCE)
        after, grown = spent(fleet)
    cost, growth = after - seconds, (grown - memory) / MIB
    print(f"{name}: {len(sealed.body)} bytes, {cost:.2f} s, {growth:+.1f} MB, ping {waited:.2f} s")
    reasons = refusals(fleet)[len(refused) :]
    wanted = REASONS.get(name)
    assert any(wanted in one for one in reasons) if wanted else not reasons, reasons
    assert cost < 1.0
    assert growth < 20


def answered(alice: Client) -> None:
    """A ping of web1 is answered: late where the machine is busy with others, never not."""
    replies = alice.rpc("rpcutil", "ping", nodes="web1", timeout=20)
    assert wait_until(lambda: replies.stats["ok"] == 1, PATIENCE)


def refusals(fleet: Fleet) -> list[str]:
    """Why the daemon has refused what it refused so far."""
    events = (one for one in fleet.audit("web1") if one["event"] in ("refused", "denied"))
    return [one.get("reason", "") for one in events]


def idle(fleet: Fleet) -> bool:
    """Whether the daemon does nothing for a fifth of a second."""
    before = spent(fleet)[0]
    time.sleep(0.2)
    return spent(fleet)[0] - before < 0.02
