"""What Debian's Prometheus makes of our metrics: figures of real daemons, and alerts that fire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mcshell
from mcshell.wire import destinations
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, wait_until
from tests.peers.prometheus import Prometheus, impatient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
RULES = Path(mcshell.__file__).parent / "deploy" / "prometheus" / "mcshell.rules.yml"
SOON = 60.0
METRICS = 'metrics = "{file}"\nmetrics_every = "1s"\n'


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """Both of them, with the alerts that we ship in a hurry."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    rules = impatient(
        RULES.read_text(), MCShellNodeGone=("> 120", "> 5"), MCShellJunkRises=("> 100", "> 3")
    )
    with Prometheus(folder, rules) as running:
        yield running


def comes(prometheus: Prometheus, query: str, wanted: float) -> bool:
    """Whether a query gives this one figure, in time."""
    return wait_until(lambda: [one for _, one in prometheus.query(query)] == [wanted], SOON, 0.2)


def fires(prometheus: Prometheus, alert: str) -> bool:
    """Whether an alert fires, in time."""
    return wait_until(lambda: alert in prometheus.firing(), SOON, 0.2)


def linted(file: Path) -> str:
    """What `promtool check metrics` finds wrong with names, kinds and help; nothing when all is well."""
    check = ["promtool", "check", "metrics"]
    done = subprocess.run(
        check, input=file.read_text(), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_rules_that_we_ship_are_rules() -> None:
    """`promtool check rules` finds nothing wrong with them."""
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "7 rules found" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_daemon_s_figures_are_scraped_and_its_death_is_an_alert(
    fresh_broker: Callable[[str], Broker], prometheus: Prometheus, tmp_path: Path
) -> None:
    """A query over HTTP gives what was asked of it; junk, a lost broker and SIGKILL each fire theirs."""
    broker = fresh_broker("embedded")
    file = prometheus.textfiles / "mcshell-node.prom"
    folder = tmp_path / "fleet"
    folder.mkdir()
    with Fleet(broker, folder, {"web1": Node()}, more=METRICS.format(file=file)) as fleet:
        fleet.start()
        before = time.time()
        for _ in range(3):
            assert fleet.cli("rpc", "rpcutil", "ping", "-I", "web1").returncode == 0
        assert fleet.cli("rpc", "exec", "run", "-I", "web1", "--", "true").returncode == 2  # denied
        for state, count in (("ok", 3), ("denied", 1), ("failed", 0)):
            assert comes(prometheus, f'mcshell_node_requests_total{{state="{state}"}}', count)
        assert comes(prometheus, "mcshell_node_broker_connected", 1)
        assert comes(prometheus, "mcshell_node_audit_writable", 1)
        assert comes(prometheus, 'mcshell_node_replay_claims_total{outcome="claimed"}', 4)
        ((labels, one),) = prometheus.query("mcshell_node_info")
        assert (labels["identity"], labels["version"], one) == ("web1", mcshell.__version__, 1)
        ((_, end),) = prometheus.query("mcshell_node_certificate_end_timestamp_seconds")
        assert end > before + 86400
        assert wait_until(
            lambda: not prometheus.firing(), SOON, 0.2
        )  # it was not connected at once
        assert linted(file) == ""

        send_junk(broker, destinations.broadcast(fleet.collective), 20)
        assert comes(prometheus, 'mcshell_node_junk_total{reason="unsigned"}', 20)
        assert fires(prometheus, "MCShellJunkRises")

        broker.kill9()
        assert fires(prometheus, "MCShellBrokerLost")
        broker.restart()
        assert comes(prometheus, "mcshell_node_broker_connected", 1)
        assert comes(prometheus, "mcshell_node_broker_reconnects_total", 1)
        assert "MCShellNodeGone" not in prometheus.firing()

        fleet.kill9("web1")
        assert fires(prometheus, "MCShellNodeGone")
        assert prometheus.firing()["MCShellNodeGone"]["file"].endswith("mcshell-node.prom")


def send_junk(broker: Broker, destination: str, count: int) -> None:
    """Write messages that nobody has signed."""
    with Connector([broker.url], user=broker.user, passcode=broker.passcode) as stranger:
        stranger.start()
        for number in range(count):
            stranger.send(destination, json.dumps({"id": f"{number:032x}"}).encode(), receipt=True)


def test_a_supervisor_and_a_session_are_scraped_beside_it(
    embedded: Broker, prometheus: Prometheus, tmp_path: Path
) -> None:
    """Machines by state; open requests and unsent messages of a session, whose file goes when it is closed."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    with Fleet(embedded, folder, {"web1": Node()}, more='register_every = "1s"\n') as fleet:
        fleet._enrol(
            "sup1",
            "node",
            "[supervisor]\n"
            + METRICS.format(file=prometheus.textfiles / "mcshell-supervisor.prom"),
        )
        supervisor = Child(
            [sys.executable, "-m", "mcshell", "supervisor", "--config", folder / "sup1.toml"],
            folder / "sup1.log",
            {**os.environ, "PYTHONPATH": ROOT},
        )
        try:
            fleet.start()
            assert comes(prometheus, 'mcshell_supervisor_machines{state="heard"}', 1)
            assert comes(prometheus, "mcshell_supervisor_broker_connected", 1)
            fleet.kill9("web1")
            assert comes(prometheus, 'mcshell_supervisor_machines{state="silent"}', 1)
        finally:
            supervisor.stop()

        file = prometheus.textfiles / "mcshell-client.prom"
        with fleet.config.open("a") as configuration:
            configuration.write("[client]\n" + METRICS.format(file=file))
        with fleet.client(session="friday") as alice:
            alice.rpc("rpcutil", "ping", nodes=["web1"], via="queue", ttl="1h", wait=False)
            assert comes(prometheus, 'mcshell_client_requests_open{session="friday"}', 1)
            assert comes(prometheus, "mcshell_client_outbox_messages", 0)
            assert [linted(one) for one in prometheus.textfiles.glob("*.prom")] == ["", ""]
            fleet.start("web1")
            assert comes(prometheus, "mcshell_client_requests_open", 0)
            ((labels, kept),) = prometheus.query("mcshell_client_replies_kept")
            assert labels["caller"] == "cert=alice"
            assert kept >= 1
        assert not file.exists()
