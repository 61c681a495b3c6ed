"""An MCollective network, and nothing of ours but what `config import client.cfg` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import mcshell
from mcshell.errors import UsageError
from mcshell.message import State
from tests.mcollective.interop.network import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mcollective.interop.network import Network

pytestmark = [pytest.mark.timeout(300)]
COUNT = 3
NAMES = [f"node{number:04d}" for number in range(1, COUNT + 1)]
OPENS = {"psk": "psk proves that somebody", "ssl": "ssl signs inputs", "aes": "aes hides bodies"}


@dataclass(frozen=True)
class Newcomer:
    """An empty home, in which mcshell has just been installed."""

    network: Network
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command line; the environment says nothing of any network."""
        environ = {key: value for key, value in os.environ.items() if "MCSHELL" not in key}
        own = {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state")}
        return subprocess.run(
            [sys.executable, "-m", "mcshell", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**environ, **own, "MCSHELL_CONFIG": str(self.home / "mco.toml")},
        )


@pytest.fixture(
    scope="module",
    params=[("activemq", Pair()), ("rabbitmq", Pair("ssl", "yaml"))],
    ids=["psk on ActiveMQ", "ssl on RabbitMQ"],
)
def newcomer(
    request: pytest.FixtureRequest,
    networks: Callable[..., Network],
    tmp_path_factory: pytest.TempPathFactory,
) -> Newcomer:
    """The network's client.cfg, imported: that is all there is."""
    kind, pair = request.param
    found = Newcomer(networks(kind, pair, COUNT), tmp_path_factory.mktemp("home"))
    (found.home / "out").mkdir()
    done = found.run(
        "config", "import", str(found.network.folder / "client.cfg"), "-o",
        str(found.home / "mco.toml"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert OPENS[pair.security] in done.stderr
    return found


def test_ping(newcomer: Newcomer) -> None:
    """The nodes answer at once, and the answer says what the plugin leaves open."""
    done = newcomer.run("ping", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["sender"] for row in json.loads(done.stdout)] == NAMES
    assert (
        f"only MCollective's wire is spoken: {OPENS[newcomer.network.pair.security]}" in done.stderr
    )


def test_nothing_of_ours_is_said(newcomer: Newcomer) -> None:
    """Whom a line names and nobody knows is silent; the answer is MCollective's, and says so."""
    done = newcomer.run(
        "rpc", "rpcutil", "get_fact", "fact=role", "-I", f"{NAMES[0]},nobody1", "--json", "-t", "6"
    )
    assert done.returncode == 5, done.stderr
    rows: dict[str, Any] = {row["sender"]: row for row in json.loads(done.stdout)["replies"]}
    assert rows[NAMES[0]]["data"]["value"] == "web"
    assert rows[NAMES[0]]["trust"] == newcomer.network.pair.security
    assert rows["nobody1"]["state"] == "silent"


def test_the_rest_of_a_day(newcomer: Newcomer) -> None:
    """Filters, facts, sessions and the ledger work; what MCollective cannot keep is refused."""
    done = newcomer.run("find", "-F", "os=debian", "--senders")
    assert (done.returncode, done.stdout) == (0, "node0001\n"), done.stderr
    facts = newcomer.run("facts", "dc", "--jsonl")
    assert {json.loads(line)["value"] for line in facts.stdout.splitlines()} == {
        "ams",
        "lon",
        "nyc",
    }
    kept = newcomer.run("rpc", "rpcutil", "ping", "--session", "work", "--json")
    assert kept.returncode == 0, kept.stderr
    ledger = newcomer.run("ledger", "--session", "work", "--jsonl")
    assert {json.loads(line)["state"] for line in ledger.stdout.splitlines()} == {"ok"}
    names = {path.stem for path in newcomer.home.rglob("sessions/*.sqlite")}
    assert "work" in names
    for words in (
        ("rpc", "rpcutil", "ping", "--via", "queue", "-I", NAMES[0]),
        ("rpc", "rpcutil", "ping", "--via", "queue", "-I", "nobody1"),
        ("job", "submit", "rpcutil", "ping", "--cron", "0 4 * * *", "-I", NAMES[0]),
    ):
        refused = newcomer.run(*words)
        assert refused.returncode == 64, (words, refused.stderr)
        assert "MCollective keeps no requests" in refused.stderr, (words, refused.stderr)
        assert "Traceback" not in refused.stderr
    doctor = newcomer.run("doctor", "--jsonl")
    states = [json.loads(line) for line in doctor.stdout.splitlines()]
    assert [row for row in states if row["state"] == "fail"] == []
    assert [row["check"] for row in states if row["check"].startswith("mcollective")]


def test_from_python(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same client in Python, twice at once; a conversation wants a node of ours."""
    monkeypatch.setenv("MCSHELL_STATE", str(newcomer.home / "python"))
    path = newcomer.home / "mco.toml"
    with mcshell.connect(config_file=path) as one, mcshell.connect(config_file=path) as two:
        for client in (one, two):
            assert client.broker == newcomer.network.broker.kind
            assert client.connected
            rows = client.rpc("rpcutil", "ping").rows()
            assert {row.sender: row.state for row in rows} == dict.fromkeys(NAMES, State.OK)
        with pytest.raises(UsageError, match="MCollective"):
            one.open(NAMES[0], "echo", timeout=3)
