"""Emulated nodes have machines of their own: what is asked of one changes that one, and no host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
ALLOWED = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
NAMES = [f"emu{number:04d}" for number in range(1, 6)]


@pytest.fixture
def machines(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Five emulated nodes of which alice may ask anything."""
    folder = tmp_path_factory.mktemp("machines")
    policies = dict.fromkeys(("exec", "file", "package", "process"), ALLOWED)
    with Fleet(embedded, folder, policies=policies, operators=("alice",)) as fleet:
        fleet.emulate(len(NAMES))
        yield fleet


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["99999999999"], "from one to 100000 nodes are meant"),
        (["0"], "from one to 100000 nodes are meant"),
        (["3", "--prefix", "x" * 300], "is no name of a node"),
        (["3", "--prefix", "../emu"], "is no name of a node"),
    ],
)
def test_what_would_be_no_fleet_is_refused(machines: Fleet, words: list[str], why: str) -> None:
    """One line (64), before a folder is made or memory is filled."""
    config = str(machines.folder / "emulator.toml")
    line = ["emulate", *words, "--config", config, "--pki", str(machines.folder / "pki")]
    done = machines.cli(*line, timeout=120)
    assert done.returncode == 64, done
    assert done.stderr.count("\n") == 1
    assert why in done.stderr


def test_one_is_changed_and_the_others_are_not(machines: Fleet) -> None:
    """A package that one node installs, over its queue, is there on that node alone; filters see files."""
    with machines.client() as client:
        one = client.rpc("package", "install", nodes=NAMES[:1], via="queue", name="tmux")
        assert one.wait(30).stats["ok"] == 1
        frame = client.rpc("package", "status", nodes=NAMES, name="tmux").frame()
        assert frame.set_index("sender")["installed"].to_dict() == {
            name: name == NAMES[0] for name in NAMES
        }
        client.rpc("exec", "run", nodes=NAMES[1:2], argv=["touch", "/etc/marked"])
        found = client.discover(where="fstat('/etc/marked').present=true")
        assert list(found["sender"]) == NAMES[1:2]


def test_one_that_is_switched_off_is_silent_and_gets_its_work_later(machines: Fleet) -> None:
    """A node that reboots answers nothing; its queued work waits in the broker, and is done then."""
    with machines.client() as client:
        down = client.rpc("exec", "run", nodes=NAMES[2:3], argv=["reboot"])
        assert down.stats["ok"] == 1

        def silent() -> bool:
            return bool(client.rpc("rpcutil", "ping", nodes=NAMES, timeout=3).stats["silent"] == 1)

        assert wait_until(silent, 30)
        work = client.rpc("rpcutil", "ping", nodes=NAMES[2:3], via="queue", ttl="5m", wait=False)
        assert work.stats["pending"] == 1
        assert work.wait(60).stats["ok"] == 1
        ping = client.rpc("rpcutil", "get_fact", nodes=NAMES[2:3], fact="uptime_seconds").frame()
        assert int(ping["value"][0]) < 3600
