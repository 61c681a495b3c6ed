"""A line that dies while a node works: it is noticed only after the answer has gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.client.client import Client
from mcshell.message import State
from tests.nemesis.proxy import Proxy
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import free_ports, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

EXEC = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"
SOON = 60.0  # seconds: a bound for what takes a few on an idle machine


def test_what_a_dead_line_took_is_answered_over_the_next_one(
    embedded: Broker, tmp_path: Path
) -> None:
    """A node that has said that it is at work sends its last word again where the connection ended unconfirmed."""
    (port,) = free_ports(1)
    proxy = Proxy(port, embedded.port, 1)
    proxy.start()
    place = SimpleNamespace(
        urls=[f"stomp://127.0.0.1:{port}"], user=embedded.user, passcode=embedded.passcode
    )
    try:
        with Fleet(place, tmp_path, {"web1": Node()}, policies={"exec": EXEC}) as fleet:
            fleet.start()
            settings = config.load(fleet.config, overrides={"broker.urls": [embedded.url]})
            with Client(settings) as alice:
                line = ["sleep", "3"]
                asked = alice.rpc("exec", "run", argv=line, nodes=["web1"], wait=False, timeout=600)
                assert wait_until(lambda: asked["web1"].state is State.RUNNING, SOON)
                proxy.mode = "dead"
                assert wait_until(lambda: fleet.audit("web1")[-1]["event"] == "finished", SOON)
                proxy.reset()
                proxy.mode = "pass"
                assert wait_until(lambda: asked["web1"].state is State.OK, SOON)
    finally:
        proxy.stop()
