"""Registration on real daemons and brokers: who listens knows, whoever asks later is told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import Reason
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.registration import open_registration
from mcshell.wire.documents.signatures import Verifier
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

PATIENCE = 60.0
NODES = {"web1": Node({"role": "web"}), "db1": Node({"role": "db"})}
OFTEN = 'register_every = "1s"\n'


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """Two nodes that register each second, not started yet."""
    with Fleet(embedded, tmp_path, NODES, more=OFTEN) as fleet:
        yield fleet


def known(client) -> set[str]:
    """The nodes that a client knows."""
    return {node.identity for node in client.known.nodes(client.settings.collective.main)}


def test_a_client_that_is_open_knows_a_new_node_without_asking(broker, tmp_path):
    """On each broker, a node that starts is known at once, with its facts."""
    with Fleet(broker, tmp_path, NODES) as fleet, fleet.client() as alice:
        assert known(alice) == set()
        fleet.start()
        assert wait_until(lambda: known(alice) == set(NODES), PATIENCE)
        web1 = alice.known.node(fleet.collective, "web1")
    assert web1.facts["role"] == "web"
    assert web1.interval == 300.0
    assert web1.crl == 1
    assert abs(web1.skew) < 5


def test_a_fleet_repeats_itself(fleet):
    """A registration that was missed heals: the next one comes within the interval."""
    fleet.start("web1")
    with fleet.client() as alice:
        assert wait_until(lambda: "web1" in known(alice), PATIENCE)
        first = alice.known.node(fleet.collective, "web1").seen

        def again() -> bool:
            return alice.known.node(fleet.collective, "web1").seen > first

        assert wait_until(again, PATIENCE)


def test_what_one_process_hears_all_processes_know(fleet):
    """A second process with the same state directory asks nobody and finds it."""
    with fleet.client() as alice:
        fleet.start("web1")
        assert wait_until(lambda: "web1" in known(alice), PATIENCE)
        fleet.kill9("web1")
        found = fleet.cli("find", "--dm", "inventory", "-F", "role=web")
    assert (found.returncode, found.stdout.split()[-1]) == (0, "web1")
    assert "nobody was asked: last seen" in found.stderr


def test_the_inventory_as_a_source_asks_nobody(fleet):
    """Filters hold by the last known facts; what was forgotten is not found."""
    fleet.start()
    with fleet.client() as alice:
        assert wait_until(lambda: known(alice) == set(NODES), PATIENCE)
        for name in NODES:
            fleet.kill9(name)
        found = alice.discover(source="inventory", facts="role=db")
        assert list(found.sender) == ["db1"]
        assert not found.answered.any()
        assert found.seen.notna().all()
        alice.known.forget("db1")
        assert list(alice.discover(source="inventory").sender) == ["web1"]
    shown = fleet.cli("inventory", "--dm", "inventory", "--json")
    (row,) = json.loads(shown.stdout)
    assert (row["sender"], row["state"], row["facts"]["role"]) == ("web1", None, "web")


def test_a_source_of_ones_own_is_a_plugin(fleet):
    """What a site registers as a discovery source is asked like the built-in ones."""
    from mcshell import plugins
    from mcshell.client.discovery.methods import Discovered

    plugins.register(
        "discovery", "cmdb", lambda search: Discovered(names=["web1"], discovered=False)
    )
    try:
        with fleet.client() as alice:
            assert list(alice.discover(source="cmdb").sender) == ["web1"]
    finally:
        plugins.unregister("discovery", "cmdb")


def test_an_unknown_source_is_refused_with_what_was_meant(fleet):
    """A typing error names the sources that it may have been."""
    done = fleet.cli("find", "--dm", "inventroy")
    assert done.returncode == 64
    assert "inventory" in done.stderr


def follow(fleet, *words):
    """Start `inventory --follow` as a child whose lines are read."""
    return subprocess.Popen(
        [sys.executable, "-m", "mcshell", "inventory", "--jsonl", "--follow", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=fleet.folder,
        env=fleet.environ,
    )


def test_a_node_whose_clock_is_days_behind_is_named(fleet):
    """It takes no question and is not known as of now: it is no target, and not passed over in silence."""
    daemon = Path(__file__).parents[1] / "peers" / "daemon_with_clock.py"
    argv = [sys.executable, str(daemon), str(fleet.folder / "web1.toml"), "-172800"]
    fleet.nodes["web1"] = Child(argv, fleet.folder / "web1.log", fleet.environ)
    with fleet.client() as alice:
        assert wait_until(lambda: known(alice) == {"web1"}, 2 * PATIENCE)
        assert alice.discover().empty
        assert alice.notices.pop().startswith("web1: not asked: it registers by a clock")
        assert alice.discover(source="inventory").empty
        assert alice.notices.pop().startswith("web1: not asked: it registers by a clock")


def test_follow_prints_who_is_there_and_each_registration(fleet):
    """A line for each node that answers now, then a line a registration, until Ctrl-C."""
    fleet.start()
    child = follow(fleet, "-F", "role=web")
    try:
        rows = [json.loads(child.stdout.readline()) for _ in range(3)]
        child.send_signal(2)
        assert child.wait(PATIENCE) == 130
    finally:
        child.kill()
        child.communicate()
    assert {row["sender"] for row in rows} == {"web1"}
    assert rows[-1]["interval"] == 1.0
    assert rows[-1]["facts"]["role"] == "web"


def test_follow_ends_quietly_when_nobody_reads(fleet):
    """A reader that goes away is no error."""
    fleet.start()
    child = follow(fleet)
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(PATIENCE) == 141
    assert child.stderr.read() == ""
    child.stderr.close()


def test_follow_without_jsonl_is_refused(fleet):
    """A table that never ends is none."""
    done = fleet.cli("inventory", "--follow")
    assert (done.returncode, "--jsonl" in done.stderr) == (64, True)


def test_an_emulated_fleet_registers_paced(fleet):
    """Each identity registers once at the start, no more than some 200 a second."""
    verifier = Verifier((fleet.folder / "pki" / "ca.pem").read_bytes())
    broker, inbox = fleet.broker, SimpleQueue()
    listener = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    listener.start(timeout=20)
    try:
        listener.subscribe(destinations.registration(fleet.collective), inbox, ack="auto")
        fleet.emulate(300)
        made: list[float] = []
        seen: Counter[str] = Counter()
        while len(seen) < 300:
            delivery = inbox.get(timeout=PATIENCE)
            one = open_registration(
                delivery.body, delivery.headers, verifier, BodyLimits(), time.time()
            )
            seen[one.identity] += 1
            made.append(one.created)
    finally:
        listener.close()
    assert max(made) - min(made) > 1.0
    assert set(seen.values()) == {1}


def test_what_is_not_signed_by_the_node_is_not_known(fleet, tmp_path):
    """A registration in another's name is counted and dropped, and its repeats are not verified."""
    from mcshell.wire.documents.registration import Registration, seal_registration
    from mcshell.wire.documents.signatures import Signer

    evil = Signer.from_pem(*fleet.authority.issue_pem("evil", "node"))
    with fleet.client() as alice:
        broker = fleet.broker
        link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
        link.start(timeout=20)
        try:
            for name in ("bank", "evil", "evil"):
                said = Registration(
                    identity=name,
                    created=time.time(),
                    interval=60.0,
                    collectives=(fleet.collective,),
                    version="1",
                )
                message = seal_registration(said, evil)
                link.send(
                    destinations.registration(fleet.collective), message.body, message.headers
                )
            counts = alice.monitor.listener.counts
            assert wait_until(
                lambda: counts["learned"] == 1 and counts[Reason.WRONG_SENDER.value] == 1, PATIENCE
            )
        finally:
            link.close()
        assert known(alice) == {"evil"}
        assert alice.monitor.refused("bank").error.reason is Reason.WRONG_SENDER


def test_the_few_that_have_registered_do_not_stand_for_all(fleet):
    """A window that closes early, since all who are known have answered, must know everyone."""
    with fleet.client() as alice:
        fleet.emulate(400)
        assert wait_until(lambda: known(alice), PATIENCE)
        assert len(alice.discover()) == 400
        assert len(alice.discover()) == 400


def test_what_cannot_be_used_is_registered(fleet):
    """A line of a policy that never matches, and an agent that does not load, are said by name."""
    (fleet.folder / "policies" / "rpcutil.policy").write_text(
        "policy default deny\nallow\tcert=Alice\t*\t*\t*\nallow\tcert=alice\t*\t*\t*\n"
    )
    with fleet.client() as alice:
        fleet.start("web1")
        assert wait_until(lambda: alice.known.node(fleet.collective, "web1"), PATIENCE)
        (flaw,) = alice.known.node(fleet.collective, "web1").flaws
        assert flaw.startswith("policy rpcutil.policy:2: ")
        assert flaw.endswith("; it costs this line")
        (fleet.folder / "policies" / "rpcutil.policy").unlink()
        assert wait_until(lambda: alice.known.node(fleet.collective, "web1").flaws == (), PATIENCE)
    doctor = fleet.cli("doctor", "--json", MCSHELL_CONFIG=str(fleet.folder / "web1.toml"))
    rows = {row["check"]: row["state"] for row in json.loads(doctor.stdout)}
    assert rows["policies"] == "ok"
    (fleet.folder / "policies" / "exec.policy").write_text("deny\tcert=Bob\t*\t*\t*\n")
    doctor = fleet.cli("doctor", "--json", MCSHELL_CONFIG=str(fleet.folder / "web1.toml"))
    rows = {row["check"]: row for row in json.loads(doctor.stdout)}
    assert rows["policy exec.policy:1"]["state"] == "warn"
    assert rows["policy exec.policy:1"]["detail"].endswith("the file, which denies everything")


def test_data_plugins_answer_in_a_policy(fleet):
    """A condition that asks a data plugin is decided by the daemon's own answer."""
    (fleet.folder / "policies" / "rpcutil.policy").write_text(
        "policy default deny\n"
        "deny\tcert=alice\tinventory\tagent('package').version!=0\n"
        f"deny\tcert=alice\tdaemon_stats\tcollective('{fleet.collective}').member=true\n"
        f"allow\tcert=alice\tagent_inventory\tfstat('/etc/passwd').type=file\n"
        f"allow\tcert=alice\t*\tcollective('{fleet.collective}').member=true\n"
    )
    fleet.start("web1")
    with fleet.client() as alice:

        def state(action):
            (row,) = alice.rpc("rpcutil", action, nodes=["web1"]).rows()
            return str(row.state)

        asked = ("ping", "agent_inventory", "daemon_stats", "inventory")
        assert [state(action) for action in asked] == ["ok", "ok", "denied", "denied"]
    words = ("policy", "test", "cert=alice", "rpcutil", "daemon_stats", "--json")
    done = fleet.cli(*words, MCSHELL_CONFIG=str(fleet.folder / "web1.toml"))
    (row,) = json.loads(done.stdout)
    assert (done.returncode, row["decision"], row["why"]) == (1, "denied", "rpcutil.policy:3")
