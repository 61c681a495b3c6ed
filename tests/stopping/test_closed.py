"""A client that one thread closes: whoever waits for it in another one is told at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ClientClosed
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(240)


def nap(client: Client) -> object:
    """Ask a node that is at it for longer than anybody here waits."""
    return client.rpc("mark", "nap", sleep=100, nodes=["web1"], timeout=100)


def queued(client: Client) -> object:
    """Wait for a queue that nobody reads."""
    return client.rpc("rpcutil", "ping", nodes=["ghost1"], via="queue", ttl="1d").wait()


def arrivals(client: Client) -> object:
    """Take what comes from there as it comes."""
    return list(client.rpc("rpcutil", "ping", nodes=["ghost1"], via="queue", ttl="1d").arrivals())


@pytest.mark.parametrize("work", [nap, queued, arrivals])
def test_who_waits_hears_that_it_is_closed(
    fleet: Fleet, tmp_path: Path, work: Callable[[Client], object]
) -> None:
    """Its wait ends with ClientClosed, whatever it had still to wait, and the request is kept."""
    said: list[BaseException] = []

    def ask() -> None:
        try:
            work(client)
        except BaseException as error:  # noqa: BLE001 - looked at below
            said.append(error)

    with fleet.client(state=tmp_path / "state") as client:
        waiting = threading.Thread(target=ask, daemon=True)
        waiting.start()
        assert wait_until(lambda: bool(client.requests()), 60)
        if work is nap:
            assert wait_until(lambda: client.replies().frame().state[0] == "running", 60)
    waiting.join(30)
    assert [type(error) for error in said] == [ClientClosed]
