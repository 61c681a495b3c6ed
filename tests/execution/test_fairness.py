"""What one operator has asked for, however much, does not keep another's single request from running."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.message import State, Via, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_request
from mcshell.wire.documents.signatures import Signer
from tests.peers.processes import wait_until
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)

ALLOW = "allow\tcert=eve\t*\t*\t*\n"


class Eve:
    """A second operator, who asks for more."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.signer = Signer.from_pem(*bench.authority.issue_pem("eve", "operator"))
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        queue = destinations.reply(bench.collective, "cert=eve", bench.session)
        bench.operator.subscribe(queue, self.inbox, ack="auto")

    def flood(self, count: int, action: str, data: dict[str, Any], **more: Any) -> list[str]:
        """SEND that many requests; returns their ids once the broker has them all."""
        ids: list[str] = []
        for _ in range(count):
            request, _sealed = self.bench.seal(action, data, **more)
            requestid, nonce = new_request_id("cert=eve")
            mine = replace(request, id=requestid, nonce=nonce, caller="cert=eve")
            sealed = seal_request(mine, self.signer)
            if len(ids) == count - 1:
                self.bench.put(mine, sealed)
            else:
                place = destinations.node if mine.via is Via.DIRECT else destinations.work
                where = place(self.bench.collective, "n1")
                self.bench.operator.send(
                    where, sealed.body, sealed.headers, persistent=mine.via.durable
                )
            ids.append(requestid)
        return ids

    def finals(self, count: int, seconds: float = 60.0) -> list[dict[str, Any]]:
        """That many final replies to her."""
        found: list[dict[str, Any]] = []
        end = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            try:
                reply = json.loads(self.inbox.get(timeout=0.2).body)
            except Empty:
                continue
            if reply["statuscode"] is not None:
                found.append(reply)
        return found


@pytest.fixture
def crowd(embedded: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench on which eve may do what alice may."""
    with Bench(embedded, tmp_path, deny=ALLOW) as bench:
        yield bench


def test_a_queued_request_waits_for_a_round_at_most(crowd: Bench, tmp_path: Path) -> None:
    """Behind 500 slow ones of eve's alice's runs next; eve's own keep their order."""
    crowd.enrol("n1", "slots = 1")
    crowd.start()
    eve, marks = Eve(crowd), tmp_path / "marks"
    hers = eve.flood(500, "once", {"file": str(marks), "sleep": 0.3})
    assert wait_until(marks.exists, 60)
    mine = crowd.ask("once", {"file": str(marks)})
    assert wait_until(lambda: "received" in crowd.states(mine), 60)  # it has read all of hers
    before = len(marks.read_text().split())
    assert crowd.final(mine).state is State.OK
    ran = marks.read_text().split()
    assert ran.index(mine) <= before + 3  # what ran, and one that began while it was taken in
    assert wait_until(lambda: len(marks.read_text().split()) > len(ran) + 3, 30)
    ran = [one for one in marks.read_text().split() if one != mine]
    assert ran == hers[: len(ran)]


def test_two_who_ask_much_share(crowd: Bench, tmp_path: Path) -> None:
    """Of what runs while both wait, each has half."""
    crowd.enrol("n1", "slots = 2")
    marks = tmp_path / "marks"
    eve = Eve(crowd)
    hers = set(eve.flood(60, "once", {"file": str(marks)}))
    mine = [crowd.ask("once", {"file": str(marks)}) for _ in range(10)]
    crowd.start()
    for one in mine:
        assert crowd.final(one).state is State.OK
    ran = marks.read_text().split()
    first, last = ran.index(mine[0]), ran.index(mine[-1])  # before, all of hers may be read
    assert [one for one in ran if one not in hers] == mine
    assert sum(one in hers for one in ran[first:last]) <= len(mine) + 3


def test_what_one_may_have_in_the_spool_is_bounded(crowd: Bench, tmp_path: Path) -> None:
    """Beyond `caller_spool` eve is told so at once, and alice's request does not wait in the broker."""
    crowd.enrol("n1", "slots = 1\nspool_max = 60\ncaller_spool = 40")
    crowd.start()
    eve, marks = Eve(crowd), tmp_path / "marks"
    eve.flood(300, "nap", {"sleep": 1.0})
    mine = crowd.ask("once", {"file": str(marks)})
    assert crowd.final(mine).state is State.OK
    refused = [one for one in eve.finals(250, 30) if one["state"] == "failed"]
    assert len(refused) >= 240
    assert {one["statuscode"] for one in refused} == {5}
    assert "40 requests of cert=eve wait here already" in refused[0]["statusmsg"]
    events = [e for e in crowd.audit() if e["event"] == "finished" and e["caller"] == "cert=eve"]
    assert sum(e["state"] == "failed" for e in events) >= len(refused)


def test_interactive_threads_are_not_one_callers(crowd: Bench, tmp_path: Path) -> None:
    """While forty long actions of eve's run and wait, alice's is answered at once."""
    crowd.start()
    eve, go = Eve(crowd), tmp_path / "go"
    held = {"file": str(tmp_path / "marks"), "text": str(go)}
    eve.flood(40, "hold", held, via=Via.DIRECT, ttl=60.0)
    assert wait_until(lambda: eve.inbox.qsize() > 20, 60)  # each has said that it takes long
    answer = crowd.final(crowd.ask("nap", {"sleep": 0.0}, via=Via.DIRECT, ttl=60.0))
    assert answer.state is State.OK
    assert eve.finals(1, 0.1) == []
    go.touch()
    assert len(eve.finals(40, 60)) == 40
