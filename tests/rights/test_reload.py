"""A configuration that was written again is taken over while the fleet works: nothing of it is lost."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest

from mcshell.broker.config import rewrite
from mcshell.config import load
from mcshell.pki import Authority
from tests.peers.bare import Closed
from tests.peers.processes import wait_until
from tests.rights.conftest import ONLY_ACTIVEMQ
from tests.rights.test_rights import read, take_over

if TYPE_CHECKING:
    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(300)
ASKED = 40


def test_who_is_new_comes_in_while_the_fleet_works(guarded: Guarded) -> None:
    """What was asked before, during and after a reload is answered, once each, and the new node may read."""
    guarded.fleet.start("web1", "db1")
    try:
        session = f"s{uuid.uuid4().hex[:8]}"
        with guarded.fleet.client(session=session) as alice:
            asked = []
            for number in range(ASKED):
                if number == ASKED // 4:
                    _rewritten(guarded, "fresh")
                    guarded.broker.command("reload")
                ask = {"nodes": ["web1", "db1"], "via": "queue", "wait": False}
                asked.append(alice.rpc("rpcutil", "ping", **ask))
                time.sleep(0.1)  # they go out for as long as a broker takes to run anew
            for one in asked:
                assert one.wait(120).stats["ok"] == 2, one.rows()
            assert not alice.junk
        for name in ("web1", "db1"):
            done = [e["requestid"] for e in guarded.fleet.audit(name) if e["event"] == "finished"]
            assert {one.requestid for one in asked} <= set(done)
            assert len(done) == len(set(done))
        assert wait_until(lambda: _enters(guarded, "fresh"), 60)
    finally:
        guarded.fleet.stop()


def _rewritten(guarded: Guarded, name: str) -> None:
    """Have a new node's certificate, and the configuration written again as its signer does."""
    guarded.fleet.authority.issue(name, "node", out=guarded.folder)
    authority = Authority.open(guarded.folder / "pki")
    rewrite(guarded.folder / "conf", authority, load(guarded.folder / "alice.toml"))


def _enters(guarded: Guarded, who: str) -> bool:
    try:
        with guarded.enter(who) as bare:
            read(bare, f"/queue/mcs.{guarded.fleet.collective}.work.{who}")
    except (Closed, OSError):
        return False
    return True


@ONLY_ACTIVEMQ
def test_how_long_everybody_is_away(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    """ActiveMQ runs anew in some seconds."""
    began = time.monotonic()
    take_over(guarded)
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\nActiveMQ took {took:.1f} s for a reload")
    assert took < 60


@ONLY_ACTIVEMQ
def test_reload_starts_nothing_that_does_not_run(guarded: Guarded) -> None:
    """Once `start` was ended it ends its broker, too, and `reload` says that there is nothing to do; also
    when another process has got its number since.
    """
    conf = guarded.folder / "conf"
    assert guarded.broker.child is not None
    java = psutil.Process(guarded.broker.pid)
    try:
        os.kill(guarded.broker.child.pid, signal.SIGTERM)
        guarded.broker.child.process.wait(30)
        assert not java.is_running()
        assert not (conf / "start.pid").exists()
        assert "does not run" in guarded.broker.command("reload")
        (conf / "start.pid").write_text(f"{os.getpid()} 1\n")
        assert "does not run" in guarded.broker.command("reload")
        (conf / "start.pid").unlink()
    finally:
        guarded.broker.stop()
        guarded.broker.restart()


@ONLY_ACTIVEMQ
def test_a_broker_that_dies_ends_its_start(guarded: Guarded) -> None:
    """When the broker dies `start` ends with its status, so that its minder sees it."""
    assert guarded.broker.child is not None
    try:
        os.kill(guarded.broker.pid, signal.SIGKILL)
        assert guarded.broker.child.process.wait(30) == 128 + signal.SIGKILL
    finally:
        guarded.broker.stop()
        guarded.broker.restart()
