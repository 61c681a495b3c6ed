"""Both ends lose their connections at random, and every turn comes once and in order."""

from __future__ import annotations

import random
import signal
import threading
import time

import pytest

from tests.peers.processes import wait_until

WAIT = 60.0


def drops_of(count, drops):
    """After which answers which end loses its connection."""
    chance = random.Random(4)
    places = chance.sample(range(5, count - 5), drops)
    return {place: chance.choice(["client", "node"]) for place in places}


def echoes(fleet, client, talk, count, drops):
    """Take all answers, and break connections on the way, while turns are under way."""
    for number in range(count):
        if drops.get(number) == "node":
            fleet.drop(signal.SIGUSR1)
        elif drops.get(number) == "client":
            client._transport.renew("dropped by the test")
        yield talk.receive(WAIT)


def talk_through_drops(fleet, note, count, drops):
    """Send so many turns while connections drop; returns the seconds once all is checked."""
    with fleet.client() as client:
        talk = client.open("n1", "echo", {"file": str(note)}, timeout=WAIT)
        began = time.monotonic()
        sender = threading.Thread(target=lambda: [talk.send(n, WAIT) for n in range(count)])
        sender.start()
        echoed = list(echoes(fleet, client, talk, count, drops))
        took = time.monotonic() - began
        sender.join()
        assert echoed == list(range(count))
        talk.close(WAIT)
        assert talk.state == "closed"
    assert wait_until(note.exists, WAIT)
    assert note.read_text().splitlines() == ["closed", *map(str, range(count))]
    return took


def trial(fleet, broker, note, count, drops):
    """Run it, and print the figures."""
    plan = drops_of(count, drops)
    took = talk_through_drops(fleet, note, count, plan)
    ends = list(plan.values())
    print(
        f"\n{count} turns and their {count} answers on {broker.kind}: {took:.1f} s; connections"
        f" dropped: {ends.count('client')} of the client's, {ends.count('node')} of the node's;"
        " each turn came once, in order"
    )


@pytest.mark.timeout(300)
def test_2000_turns_through_dropped_connections(talkers, broker, tmp_path):
    """2,000 turns and their answers, both connections dropped at random: each once, in order."""
    trial(talkers, broker, tmp_path / "note", 2000, 10)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_10000_turns_through_dropped_connections(talkers, broker, tmp_path):
    """10,000 turns and their answers, both connections dropped at random: each once, in order."""
    trial(talkers, broker, tmp_path / "note", 10_000, 20)
