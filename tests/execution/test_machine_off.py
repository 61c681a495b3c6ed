"""Machines that are off: what waits for them holds nobody else up; what is too late expires.

Beside it the real MCollective on the same broker, whose nodes all share one queue.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from mcshell.message import State
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node
from tests.peers.mcollective import Daemon
from tests.peers.processes import wait_until

OFF = 50
EACH = 20
STALL = 400
CLIENT = """\
main_collective = mcollective
collectives = mcollective
libdir = /usr/share/mcollective/plugins
identity = operator
logger_type = console
loglevel = error
direct_addressing = 1
securityprovider = psk
plugin.psk = secret
connector = activemq
plugin.activemq.pool.size = 1
plugin.activemq.pool.1.host = {host}
plugin.activemq.pool.1.port = {port}
plugin.activemq.pool.1.user = {user}
plugin.activemq.pool.1.password = {passcode}
factsource = yaml
plugin.yaml = {folder}/facts.yaml
"""


@pytest.mark.timeout(300)
def test_those_that_are_off_hold_nobody_up(broker, tmp_path):
    """1,000 requests wait for 50 nodes that are down; the live node has its own at once."""
    names = f"emu[0001-{OFF:04d}]"
    with Fleet(broker, tmp_path, {"live": Node()}) as fleet:
        fleet.start()
        with fleet.client(session="off") as client:
            began = time.monotonic()
            waiting = [
                client.rpc("rpcutil", "ping", via="queue", nodes=[names], ttl="1h", wait=False)
                for _ in range(EACH)
            ]
            late = client.rpc("rpcutil", "ping", via="queue", nodes=[names], ttl=1, wait=False)
            took = time.monotonic() - began
            live = client.rpc("rpcutil", "ping", via="queue", nodes=["live"], timeout=30)
            (entry,) = live.entries()
            assert entry.state is State.OK
            assert wait_until(lambda: late.stats["expired"] == OFF, 60)
            fleet.emulate(OFF)
            assert all(replies.wait(120).stats["ok"] == OFF for replies in waiting)
            assert late.stats["expired"] == OFF
            ran = [
                event
                for event in fleet.audit("emulator")
                if event.get("requestid") == late.requestid and event["event"] == "accepted"
            ]
            assert ran == []
        print(
            f"\n{broker.kind}: {OFF * EACH} queued in {took:.1f} s; "
            f"the live node's own answered {entry.lag * 1000:.0f} ms after its SEND"
        )


def _mco(folder, seconds):
    """Ask the live node directly with the real mco; its answer's wall time, or None."""
    (folder / "nodes").write_text("live\n")
    words = ["rpc", "-c", folder / "client.cfg", "rpcutil", "ping", "-j"]
    began = time.monotonic()
    done = subprocess.run(
        ["mco", *map(str, words), "--nodes", str(folder / "nodes"), "-t", str(seconds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
        env={**os.environ, "RUBYOPT": f"-r{folder / 'shim.rb'}"},
    )
    answers = json.loads(done.stdout) if done.stdout.startswith("[") else []
    return time.monotonic() - began if answers else None


@pytest.mark.mcollective
@pytest.mark.bench
@pytest.mark.timeout(240)
def test_mcollective_is_held_up(activemq, tmp_path):
    """With 400 requests for dead hosts in the shared queue, the real live node hears nothing.

    A figure beside ours (`-m bench -s`), no condition of ours: it depends on the broker's paging.
    """
    daemon = Daemon(activemq, tmp_path, "live")
    (tmp_path / "facts.yaml").write_text("---\nhostname: operator\n")
    login = {"host": activemq.host, "port": activemq.port}
    login |= {"user": activemq.user, "passcode": activemq.passcode}
    (tmp_path / "client.cfg").write_text(CLIENT.format(folder=tmp_path, **login))
    daemon.start()
    try:
        before = _mco(tmp_path, 15)
        with Bare(activemq).connect() as link:
            expires = str(int((time.time() + 3600) * 1000))
            headers = {"destination": "/queue/mcollective.nodes", "expires": expires}
            for number in range(STALL):
                headers["mc_identity"] = f"dead{number}"
                link.confirm("SEND", headers, b"x")
        after = _mco(tmp_path, 8)
        print(f"\nmco, direct: {before} s with an empty queue, {after} with {STALL} for dead hosts")
        assert before is not None
        assert after is None
    finally:
        daemon.stop()
        _drain(activemq)


def _drain(activemq):
    """Leave the shared broker as it was."""
    with Bare(activemq).connect() as link:
        headers = {"destination": "/queue/mcollective.nodes", "id": "1", "ack": "auto"}
        link.put("SUBSCRIBE", headers)
        link.messages(STALL)
