"""What a daemon tells its service manager, and when its signs of life stay away."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise

import pytest

from tests.peers.fleet import Fleet, Node
from tests.peers.manager import Manager
from tests.peers.processes import wait_until
from tests.plugins.distributions import install

PERIOD, SHORT = 4.0, 2.0
"""Seconds in which a sign is due: where one may not be late, and where none is to come."""
PATIENCE = 20.0
HANGING = """
import os, time
def hang(question):
    while question.action == "ping" and os.path.exists(os.environ["HANG"]):
        time.sleep(0.02)
"""


@pytest.mark.parametrize("abstract", [False, True])
def test_a_node_says_how_it_is_from_start_to_end(fleet, tmp_path, abstract):
    """Connected to which broker, ready, alive, stopping: in this order, over either kind of socket."""
    with Manager(None if abstract else tmp_path) as manager:
        fleet.environ |= manager.environ(PERIOD)
        fleet.start()
        assert wait_until(lambda: len(manager.signs()) >= 3, 3 * PERIOD)
        fleet.nodes["web1"].stop()
        told = [next(iter(one.items())) for one in manager.all("STATUS", "READY", "STOPPING")]
    status = ("STATUS", f"connected to {fleet.broker.url}")
    assert told == [status, ("READY", "1"), ("STOPPING", "1")]


def test_what_a_node_runs_cannot_speak_for_it(fleet, manager):
    """The manager's socket is not in the environment of an action's programs."""
    (fleet.folder / "policies" / "exec.policy").write_text("allow\tcert=alice\t*\t*\t*\n")
    fleet.environ |= manager.environ(PERIOD)
    fleet.start()
    done = fleet.cli("rpc", "exec", "run", "-I", "web1", "-y", "--json", "--", "env")
    assert done.returncode == 0, done.stdout
    assert "PATH=" in done.stdout
    assert "NOTIFY_SOCKET" not in done.stdout
    assert "WATCHDOG_USEC" not in done.stdout


def test_a_node_is_ready_only_once_it_serves(doomed, tmp_path, manager):
    """Without a broker it waits and says for which, alive; it is ready when one has come."""
    doomed.kill9()
    with Fleet(doomed, tmp_path, {"web1": Node()}) as fleet:
        fleet.environ |= manager.environ(30.0)
        argv = ["node", "--config", str(fleet.folder / "web1.toml")]
        fleet.nodes["web1"] = fleet._run("web1", argv)
        assert manager.came(30, STATUS=f"waiting for {doomed.url}: ")
        assert wait_until(lambda: len(manager.signs()) >= 3, 30)
        assert not manager.all("READY")
        doomed.restart()
        assert manager.came(30, READY="1")
        assert manager.all("STATUS")[-1] == {"STATUS": f"connected to {doomed.url}"}


def test_a_broker_that_is_gone_is_no_reason_to_be_ended(doomed, tmp_path, manager):
    """For three periods there is none, and work is under way: the signs of life go on, none is late."""
    with Fleet(doomed, tmp_path, {"web1": Node()}) as fleet:
        fleet.environ |= manager.environ(PERIOD)
        fleet.start()
        doomed.kill9()
        assert manager.came(30, STATUS="waiting for ")
        end = time.monotonic() + 3 * PERIOD
        assert wait_until(lambda: bool(manager.signs()) and manager.signs()[-1] > end, 5 * PERIOD)
        signs = manager.signs()
        assert max(after - before for before, after in pairwise(signs)) < PERIOD
        doomed.restart()
        assert wait_until(lambda: "connected" in manager.all("STATUS")[-1]["STATUS"], 60)
        assert fleet.cli("ping", "-I", "web1").returncode == 0


def test_a_daemon_that_is_stopped_gives_no_sign(fleet, manager):
    """For as long as SIGSTOP holds it; then it goes on."""
    fleet.environ |= manager.environ(SHORT)
    fleet.start()
    assert wait_until(lambda: len(manager.signs()) >= 2, PATIENCE)
    fleet.pause("web1")
    manager.forget()
    assert not wait_until(lambda: bool(manager.signs()), 2 * SHORT)
    fleet.resume("web1")
    assert wait_until(lambda: bool(manager.signs()), PATIENCE)


def test_a_thread_that_hangs_withholds_the_signs(fleet, manager, tmp_path):
    """One that reads messages, in an authoriser that does not return: the log names it; others live."""
    site, hang = tmp_path / "site", tmp_path / "hang"
    install(site, "hanging", {"authoriser": {"hang": "hanging:hang"}}, HANGING)
    fleet.environ |= manager.environ(SHORT)
    fleet.environ |= {"HANG": str(hang), "PYTHONPATH": f"{fleet.environ['PYTHONPATH']}:{site}"}
    fleet.start()
    hang.touch()
    done = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "-t", "1")
    assert done.returncode != 0
    child = fleet.nodes["web1"]
    assert wait_until(lambda: "no sign of life" in child.tail(100), PATIENCE)
    assert (
        child.tail(100)
        .partition("no sign of life")[2]
        .splitlines()[0]
        .endswith("reader of messages")
    )
    manager.forget()
    assert not wait_until(lambda: bool(manager.signs()), 2 * SHORT)
    hang.unlink()
    assert wait_until(lambda: bool(manager.signs()), PATIENCE)
    assert fleet.cli("rpc", "rpcutil", "ping", "-I", "web1").returncode == 0


def test_what_a_watchdog_ends_says_where_its_threads_were(fleet, manager):
    """SIGABRT leaves the place of each thread in the log."""
    fleet.environ |= manager.environ(PERIOD)
    fleet.start()
    assert manager.came(PATIENCE, READY="1")
    manager.forget()  # a sign of life comes with each try for a connection too
    assert wait_until(lambda: bool(manager.signs()), PATIENCE)  # it is where it attends
    child = fleet.nodes.pop("web1")
    os.kill(child.pid, signal.SIGABRT)
    assert child.process.wait(20) == -signal.SIGABRT
    assert "_attend" in child.tail(400)
    child.kill9()


def test_a_supervisor_says_how_it_is(fleet, manager):
    """As a node does; a broken configuration is refused, and the old one stays in force."""
    fleet._enrol(
        "sup1", "node", '[supervisor]\nrules = "rules"\n[pools.inventory]\nmembers = ["sup*"]\n'
    )
    fleet.environ |= manager.environ(PERIOD)
    config = fleet.folder / "sup1.toml"
    child = fleet._run("sup1", ["supervisor", "--config", str(config), "--log-level", "info"])
    try:
        assert manager.came(60, READY="1")
        assert wait_until(lambda: len(manager.signs()) >= 3, 3 * PERIOD)
        whole = config.read_text()
        config.write_text(whole + "oops\n")
        child.signal(signal.SIGHUP)
        assert wait_until(lambda: "not reloaded, all stays as it was" in child.tail(), 60)
        config.write_text(whole.replace('"rules"', '"more-rules"').replace('user = "', 'user = "x'))
        child.signal(signal.SIGHUP)
        assert wait_until(lambda: "only after a restart: broker.user" in child.tail(), 60)
        assert "0 rules in" in child.tail() or wait_until(lambda: "more-rules" in child.tail(), 60)
        assert child.running
    finally:
        child.stop()
    told = [next(iter(one)) for one in manager.all("READY", "RELOADING", "STOPPING")]
    assert told == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
