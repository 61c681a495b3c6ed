"""Rules on real daemons, on each broker: taken once over kills, run as queued work."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from tests.peers.processes import wait_until
from tests.peers.small_disk import small_disk
from tests.supervisor.rule_fleet import RuleFleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

PATIENCE = 60.0
RULE = """\
rule: web
where: role=web
jobs:
  - job: long
    ask: mark.once
    inputs: {{file: {file}, text: long, sleep: 3}}
  - job: next
    ask: mark.once
    inputs: {{file: {file}, text: next}}
    after: {{long: ok}}
"""
MORE = """\
rule: more
where: role=web
jobs:
  - job: one
    ask: mark.once
    inputs: {{file: {file}, text: {text}}}
"""


def states(client) -> dict[tuple[str, str], str]:
    """Where each job of each node stands."""
    return {(one["sender"], one["name"]): one["state"] for one in client.jobs.rows()}


def test_real_machines_get_their_jobs_once(broker: Broker, tmp_path: Path) -> None:
    """On each broker; a daemon that is killed amid a job goes on with it, and takes nothing twice."""
    with RuleFleet(broker, tmp_path, "web1", "web2") as rule_fleet:
        rule_fleet.sign(RULE)
        rule_fleet.supervise("sup1")
        rule_fleet.supervise("sup2")
        rule_fleet.fleet.start()
        assert wait_until(lambda: rule_fleet.runs()["long"] == 2, PATIENCE)
        kill_daemon(rule_fleet, "web1")
        rule_fleet.kill9("sup1")
        rule_fleet.fleet.start("web1")
        assert wait_until(lambda: rule_fleet.runs()["next"] == 2, PATIENCE)
        with rule_fleet.fleet.client() as alice:
            ok = {(f"web{n}", f"web.{job}"): "ok" for n in (1, 2) for job in ("long", "next")}
            assert wait_until(lambda: states(alice) == ok, PATIENCE), states(alice)
        time.sleep(4)  # two more registrations
        assert rule_fleet.runs() == {"long": 2, "next": 2}


def test_a_new_rule_reaches_nodes_at_once_and_the_line_says_when(
    embedded: Broker, tmp_path: Path
) -> None:
    """A node that the supervisor has heard of does not have to register first."""
    with RuleFleet(embedded, tmp_path, "web1", every="1h") as rule_fleet:
        rule_fleet.supervise()
        rule_fleet.fleet.start()
        rule_fleet.sign(MORE, text="first")
        assert wait_until(lambda: rule_fleet.runs()["first"] == 1, PATIENCE)
        again = MORE.replace("rule: more", "rule: more\nrevision: 2")
        rule_fleet.sign(again, text="second")
        assert wait_until(lambda: rule_fleet.runs()["second"] == 1, PATIENCE)
        path = rule_fleet.folder / "third.yaml"
        path.write_text(MORE.format(file=rule_fleet.marks, text="third"))
        done = rule_fleet.fleet.cli("supervisor", "sign", str(path), "-o", str(tmp_path))
        assert "brings it at once to the nodes that it has heard of" in done.stderr


def test_a_supervisor_whose_disk_is_full_brings_rules_all_the_same(
    embedded: Broker, tmp_path: Path
) -> None:
    """To nodes of which it hears then, though it cannot keep that; afterwards it knows them."""
    with RuleFleet(embedded, tmp_path, "web1", "web2") as rule_fleet:
        rule_fleet.sign(MORE, text="one")
        with small_disk(tmp_path / "state-sup1", "16m") as disk:
            child = rule_fleet.supervise("sup1")
            disk.fill()
            rule_fleet.fleet.start()
            assert wait_until(lambda: rule_fleet.runs()["one"] == 2, PATIENCE), child.tail()
            assert "database or disk is full" in child.tail()
            disk.empty()
            log = child.log.read_text()

            def known() -> bool:
                found = rule_fleet.fleet.cli("find", "--dm", "inventory", "--senders").stdout
                return found.split() == ["web1", "web2"]

            assert wait_until(known, PATIENCE), log
            rule_fleet.kill9("sup1")


def kill_daemon(rule_fleet: RuleFleet, name: str) -> None:
    """SIGKILL to the daemon alone: its shims live on."""
    child = rule_fleet.fleet.nodes.pop(name)
    child.family()
    os.kill(child.pid, 9)
    child.process.wait(60)


def test_an_author_who_is_revoked_gives_no_more_jobs(embedded: Broker, tmp_path: Path) -> None:
    """Neither does a new machine take his rule, nor does an old one start a job of it."""
    with RuleFleet(embedded, tmp_path, "web1", "web2", every="1s") as rule_fleet:
        recurs = MORE.replace("ask:", "every: 1s\n    ask:")
        rule_fleet.sign(recurs, text="tick")
        rule_fleet.supervise()
        rule_fleet.fleet.start("web1")
        assert wait_until(lambda: rule_fleet.runs()["tick"] > 1, PATIENCE)
        rule_fleet.fleet.authority.revoke("alice")

        def stopped() -> bool:
            events = rule_fleet.fleet.audit("web1")
            begun, ended = (
                {one["requestid"] for one in events if one["event"] == event}
                for event in ("started", "finished")
            )
            return begun <= ended and any("revoked" in str(one.get("reason")) for one in events)

        assert wait_until(stopped, PATIENCE)
        before = rule_fleet.runs()["tick"]
        rule_fleet.fleet.start("web2")
        time.sleep(3)
        assert rule_fleet.runs()["tick"] == before
        assert not [one for one in rule_fleet.fleet.audit("web2") if one["event"] == "rule"]


def test_a_rules_job_begins_where_it_was_approved(embedded: Broker, tmp_path: Path) -> None:
    """Of two machines with the same rule one is named in the proposal; the other's job is denied."""
    allowed = "policy default deny\nallow\t*\t*\t*\t*\n"
    with RuleFleet(
        embedded, tmp_path, "web1", "web2", policies={"default": allowed}, every="1s"
    ) as rule_fleet:
        approvals = tmp_path / "policies" / "mark.approvals"
        approvals.write_text("*\tonce\t1\tcert=bob\n")
        rule_fleet.fleet.start()
        inputs = {"file": str(rule_fleet.marks), "text": "ruled"}
        with rule_fleet.fleet.client() as alice:
            digest = alice.approvals.propose("mark", "once", nodes=["web1"], inputs=inputs).digest
        with rule_fleet.fleet.client("bob", state="state-bob") as bob:
            bob.approvals.approve(digest)
        rule_fleet.sign(MORE, text="ruled")
        rule_fleet.supervise()
        assert wait_until(lambda: rule_fleet.runs()["ruled"] == 1, PATIENCE)

        def denied() -> bool:
            events = rule_fleet.fleet.audit("web2")
            return any("1 approval wanted" in str(one.get("reason")) for one in events)

        assert wait_until(denied, PATIENCE)
        assert rule_fleet.runs()["ruled"] == 1


def test_a_machine_that_matches_again_gets_what_it_lost(embedded: Broker, tmp_path: Path) -> None:
    """It did not match when a new revision came, which ended the old one's jobs; later it does."""
    with RuleFleet(embedded, tmp_path, "web1", every="1s") as rule_fleet:
        facts = tmp_path / "web1.yaml"

        def become(role: str) -> None:
            facts.write_text(f"role: {role}\n")
            rule_fleet.fleet.nodes["web1"].signal(signal.SIGHUP)

        recurs = MORE.replace("ask:", "every: 1s\n    ask:")
        rule_fleet.sign(recurs, text="first")
        rule_fleet.supervise()
        rule_fleet.fleet.start()
        assert wait_until(lambda: rule_fleet.runs()["first"] > 1, PATIENCE)
        become("db")
        with rule_fleet.fleet.client() as alice:

            def known_as(role: str) -> bool:
                return list(alice.discover(where=f"role={role}").sender) == ["web1"]

            assert wait_until(lambda: known_as("db"), PATIENCE)
            rule_fleet.sign(recurs.replace("rule: more", "rule: more\nrevision: 2"), text="second")
            assert wait_until(lambda: set(states(alice).values()) == {"cancelled"}, PATIENCE)
        become("web")
        assert wait_until(lambda: rule_fleet.runs()["second"] > 1, PATIENCE)
