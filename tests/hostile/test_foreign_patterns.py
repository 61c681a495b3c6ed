"""Foreign patterns on running daemons: nobody waits, and nothing costs a second of processor."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mcshell import config
from mcshell.client.documents.rule_file import save_sealed
from mcshell.errors import InputError
from mcshell.message import Duty, Filter, Request, Rule, Via, new_request_id
from mcshell.supervisor.distributor import RuleDistributor
from mcshell.supervisor.inventory import HeardRegistration
from mcshell.supervisor.rule_folder import RuleFolder
from mcshell.wire import destinations
from mcshell.wire.credentials import load_verifier
from mcshell.wire.documents.envelope import seal_request
from mcshell.wire.documents.registration import Registration
from mcshell.wire.documents.rule import seal_rule
from mcshell.wire.documents.signatures import Signer
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

PATIENCE = 60.0
MIB = 1 << 20
LONG = "ab" * 30_000
METADATA = {
    "name": "odd",
    "description": "d",
    "author": "a",
    "license": "l",
    "version": "1.0",
    "url": "u",
    "timeout": 10,
}
AGENT = """from mcshell.node.agent import Agent


class Odd(Agent):
    name = "odd"

    def take(self, call):
        return {"taken": call["x"][:10]}

    host = guess = take
"""
VALIDATIONS = {"take": r"^([a-z0-9]+[.-]?)+$", "host": "hostname", "guess": r"^(?=a)(a+)+$"}


def schema() -> dict[str, Any]:
    """An agent's DDL: a regex that backtracks, an unknown validator, a look-ahead."""
    about = {"description": "d", "display_as": "t", "type": "string"}
    one = {"prompt": "p", "description": "d", "type": "string", "optional": False, "maxlength": 0}
    return {
        "metadata": METADATA,
        "actions": [
            {
                "action": action,
                "description": "d",
                "display": "always",
                "input": {"x": {**one, "validation": validation}},
                "output": {"taken": about},
            }
            for action, validation in VALIDATIONS.items()
        ],
    }


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes; alice may all, eve lists processes, bob may nothing."""
    folder = tmp_path_factory.mktemp("patterns")
    agents = folder / "agents"
    agents.mkdir()
    (agents / "odd.json").write_text(json.dumps(schema()))
    (agents / "odd.py").write_text(AGENT)
    (folder / "fleet").mkdir()
    policies = {"process": "allow\tcert=alice\t*\t*\t*\nallow\tcert=eve\tlist\t*\t*\n"}
    more = f'agents = ["{agents}"]\n'
    nodes = {"web1": Node({"long": LONG, "kernelish": "6.1.0-18-amd64"}), "web2": Node()}
    with Fleet(
        embedded,
        folder / "fleet",
        nodes,
        operators=("alice", "bob", "eve"),
        policies=policies,
        more=more,
    ) as made:
        with (made.folder / "web2.toml").open("a") as file:
            file.write('unknown_validators = "warn"\n')
        with made.config.open("a") as file:
            file.write(f"[node]\n{more}")
        made.start()
        yield made


def spent(fleet: Fleet) -> tuple[float, int]:
    """Seconds of processor, with its children, and private bytes of web1's daemon, so far."""
    process = psutil.Process(fleet.nodes["web1"].pid)
    return sum(process.cpu_times()[:4]), process.memory_full_info().uss


@contextmanager
def within_bounds(fleet: Fleet) -> Iterator[None]:
    """What is done within costs web1 a second of processor at most, and 20 MB; a ping is answered."""
    with fleet.client("alice") as alice:
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=20).stats["ok"] == 1
        seconds, memory = spent(fleet)
        yield
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=20).stats["ok"] == 1
        # A broadcast comes after the one before: that has been judged now.
        assert "web1" in set(alice.discover(known=False).sender)
        after, grown = spent(fleet)
    assert after - seconds < 1.0
    assert grown - memory < 20 * MIB


def signer(fleet: Fleet, name: str) -> Signer:
    """An operator of the fleet."""
    pem = [(fleet.folder / f"{name}.{kind}").read_bytes() for kind in ("pem", "key")]
    return Signer.from_pem(*pem)


def send(fleet: Fleet, name: str, via: Via, **fields: Any) -> str:
    """Put a signed request on the wire without a client's checks; its id."""
    now = time.time()
    requestid, nonce = new_request_id(f"cert={name}")
    request = Request(
        **{
            "id": requestid,
            "nonce": nonce,
            "agent": "discovery",
            "action": "ping",
            "caller": f"cert={name}",
            "collective": fleet.collective,
            "via": via,
            "session": "scratch-1",
            "created": now,
            "expires": now + 60,
            **fields,
        }
    )
    sealed = seal_request(request, signer(fleet, name))
    where = destinations.node(fleet.collective, "web1")
    if via is Via.BROADCAST:
        where = destinations.broadcast(fleet.collective)
    with Bare(fleet.broker).connect() as bare:
        bare.send(where, sealed.body, sealed.headers)
    return request.id


def audited(fleet: Fleet, requestid: str) -> dict[str, Any]:
    """What web1 has audited of a request."""

    def found() -> list[dict[str, Any]]:
        return [one for one in fleet.audit("web1") if one.get("requestid") == requestid]

    assert wait_until(lambda: bool(found()), PATIENCE)
    return found()[0]


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(fact=(r"kernelish=/(\w|[.-])(?#)+!/",)),
        Filter(fact=(r"kernelish=~^([\w.]+)(?#)+!$",)),
        Filter(fact=("long=~^((ab)+)+!$",)),
        Filter(identity=("/([a-z0-9.-]+)(?#)+!/",)),
        Filter(cls=("/(a+)+$/",)),
        Filter(agent=("/^([a-z]+)+!$/",)),
        Filter(compound=("long=/^(a|b|ab)*!$/ or fact('long').value=/(a*b*)*c$/",)),
    ],
)
def test_a_filter_of_who_has_no_right_at_all_is_linear(fleet: Fleet, wanted: Filter) -> None:
    """The filter is asked before policy: what `re` never ends on is passed over soon."""
    with within_bounds(fleet):
        asked = send(fleet, "bob", Via.BROADCAST, filter=wanted)
    with fleet.client("alice") as alice:
        node = alice.rpc("rpcutil", "ping", nodes="web1", timeout=20)
        assert node.stats["ok"] == 1
    assert not [one for one in fleet.audit("web1") if one.get("requestid") == asked]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Filter(identity=("/(?:){4000000000}y/",)), "a count over 1,000"),
        (Filter(fact=("long=/(?=w){999}/",)), "a look-ahead"),
        (Filter(fact=(r"long=/(.*)(.*)\1\2$/",)), "a back-reference"),
        (Filter(fact=tuple(f"long=/{n}/" for n in range(900))), "more than 64 regexes"),
        (Filter(fact=tuple(f"long!=/(?:.?){{900}}c{n}/" for n in range(64))), "more than 4 MiB"),
    ],
)
def test_a_filter_that_cannot_be_run_is_malformed(fleet: Fleet, wanted: Filter, says: str) -> None:
    """It is refused, audited with the reason, and cost nothing."""
    with within_bounds(fleet):
        event = audited(fleet, send(fleet, "bob", Via.BROADCAST, filter=wanted))
    assert (event["event"], event["reason"]) == ("refused", "malformed")
    assert says in event["detail"]


@pytest.mark.parametrize("pattern", [r"^([\w/.-]+ ?)+!$", "(a|a)*$", r"(\w+\s?)*!$"])
def test_an_input_that_is_a_pattern_is_linear(fleet: Fleet, pattern: str) -> None:
    """Eve may list processes: what she looks for holds up nobody."""
    with within_bounds(fleet), fleet.client("eve", state="state-eve") as eve:
        table = eve.rpc("process", "list", pattern=pattern, nodes="web1", timeout=20)
        assert table.stats["ok"] == 1, table.frame()


def test_an_input_that_cannot_be_run_is_refused_in_words(fleet: Fleet) -> None:
    """A look-ahead in `process.list` is invalid data."""
    with fleet.client("eve", state="state-eve") as eve:
        (reply,) = eve.rpc("process", "list", pattern="(?=a)b", nodes="web1", timeout=20).rows()
    assert reply.statuscode == 4
    assert "a look-ahead or look-behind is not to be had here" in reply.statusmsg


@pytest.mark.parametrize("action", ["take", "guess"])
def test_a_validation_that_backtracks_costs_little(fleet: Fleet, action: str) -> None:
    """Sent past the client's check, an input that takes `re` for ever is refused by the node."""
    with within_bounds(fleet):
        data = {"x": "a" * 100_000 + "!"}
        more = {"agent": "odd", "action": action, "data": data, "identity": "web1"}
        event = audited(fleet, send(fleet, "alice", Via.DIRECT, **more))
    assert (event["event"], event["statuscode"]) == ("refused", 4)
    assert "input x" in event["reason"]


def test_a_validation_that_re2_cannot_say_still_validates(fleet: Fleet) -> None:
    """A child answers for a look-ahead in a schema, on the client and on the node."""
    with fleet.client("alice") as alice:
        assert alice.rpc("odd", "guess", x="aaa", nodes="web1", timeout=20).stats["ok"] == 1
        with pytest.raises(InputError, match="must match"):
            alice.rpc("odd", "guess", x="baa", nodes="web1", timeout=20)


def test_an_unknown_validator_costs_its_input_alone(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    """The client warns, a node refuses the input, one that is told to warns too; the rest works."""
    with fleet.client("alice") as alice:
        replies = alice.rpc("odd", "host", x="web", nodes=["web1", "web2"], timeout=20).rows()
        assert alice.rpc("odd", "take", x="web", nodes="web1", timeout=20).stats["ok"] == 1
    said = {reply.sender: reply for reply in replies}
    assert said["web1"].statuscode == 4
    assert "validator hostname is not here" in said["web1"].statusmsg
    assert said["web2"].data == {"taken": "web"}
    assert "validator hostname is not here: inputs are not checked by it" in caplog.text


def rule(fleet: Fleet, wanted: Filter) -> Rule:
    """A rule of alice's."""
    now = time.time()
    return Rule(
        name="costly",
        revision=1,
        author="cert=alice",
        collective=fleet.collective,
        created=now,
        expires=now + 3600,
        filter=wanted,
        duties=(Duty(name="x", agent="rpcutil", action="ping", data={}),),
    )


def test_a_rules_filter_is_bounded_on_the_node(fleet: Fleet) -> None:
    """One that cannot be run is malformed; one that `re` never ends on is passed over."""
    alice = signer(fleet, "alice")
    costly = seal_rule(rule(fleet, Filter(fact=("long=/^(a|b|ab)*!$/",))), alice)
    refused = seal_rule(rule(fleet, Filter(fact=(r"long=/(.*)(.*)\1\2$/",))), alice)
    with within_bounds(fleet), Bare(fleet.broker).connect() as bare:
        for sealed in (costly, refused):
            where = destinations.node(fleet.collective, "web1")
            bare.send(where, sealed.body, sealed.headers)
        assert wait_until(
            lambda: any(
                "a back-reference" in str(one.get("detail")) for one in fleet.audit("web1")
            ),
            PATIENCE,
        )
    assert not [one for one in fleet.audit("web1") if one["event"] == "rule"]


def test_a_rules_filter_is_bounded_at_the_supervisor(
    fleet: Fleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A supervisor does not carry a rule whose filter cannot be run, and says so."""
    refused = seal_rule(rule(fleet, Filter(identity=("/^(?!db)/",))), signer(fleet, "alice"))
    save_sealed(tmp_path / "costly.rule", refused)
    folder = RuleFolder(tmp_path, load_verifier(config.load(fleet.config).pki))
    folder.refresh(time.time())
    assert folder.rules == {}
    assert "a look-ahead or look-behind is not to be had here" in caplog.text


def test_facts_that_are_too_much_for_a_rule_stop_no_supervisor(
    fleet: Fleet, tmp_path: Path
) -> None:
    """The rule is brought to such a node, which decides for itself; the others are judged."""
    patterns = tuple(f"long=/^(ab)*{n}?/" for n in range(9))
    save_sealed(
        tmp_path / "wide.rule",
        seal_rule(rule(fleet, Filter(fact=patterns)), signer(fleet, "alice")),
    )
    verifier = load_verifier(config.load(fleet.config).pki)
    folder = RuleFolder(tmp_path, verifier)
    now = time.time()
    folder.refresh(now)
    (kept,) = folder.rules.values()
    distributor = RuleDistributor(None, verifier, None, folder)  # nothing is brought here
    lacks = {}
    for facts in ({"long": "x"}, {"long": "x" * MIB}, {}):
        began = time.process_time()
        heard = HeardRegistration(
            collective=fleet.collective,
            registration=Registration(identity="web1", created=now, interval=300.0, facts=facts),
            heard=now,
            body=b"",
            signature="",
            certificate="",
        )
        lacks[len(facts.get("long", ""))] = distributor._state(heard, kept, now)
        assert time.process_time() - began < 1.0
    assert lacks == {1: "lacking", MIB: "lacking", 0: ""}
