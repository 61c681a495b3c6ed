"""A request that is larger than nodes take is refused before it is sent: they would refuse it without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import UsageError
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

RULES = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
FITS = 1_000_000


@pytest.fixture(scope="module")
def alice(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An operator of a node that runs programs for her."""
    rules = dict.fromkeys(("exec", "job"), RULES)
    folder = tmp_path_factory.mktemp("large")
    with Fleet(embedded, folder, {"n1": Node()}, policies=rules) as fleet:
        fleet.start()
        with fleet.client() as client:
            yield client


def cat(alice: Client, size: int, **how: Any) -> Any:
    """Have a program take so many bytes."""
    asked = {"argv": ["wc", "-c"], "stdin": "x" * size}
    return alice.rpc("exec", "run", inputs=asked, nodes="n1", timeout=30, **how)


def job(alice: Client, stdin: str) -> Any:
    """Hand in a job whose program takes a text."""
    asked = {"argv": ["wc", "-c"], "stdin": stdin}
    return alice.jobs.submit("exec", "run", inputs=asked, nodes="n1", at="+1h")


ASKED: dict[str, Callable[[Client], Any]] = {
    "at once": lambda alice: cat(alice, 2**20),
    "by queue": lambda alice: cat(alice, 2**20, via="queue"),
    "a job": lambda alice: job(alice, "x" * 2**20),
    "a job that grows as it is wrapped": lambda alice: job(alice, "\n" * 400_000),
}


def test_what_fits_is_done(alice: Client) -> None:
    """A million bytes go by either way, and into a job."""
    for how in ({}, {"via": "queue"}):
        (row,) = cat(alice, FITS, **how)
        assert (row.state, row.data["stdout"].strip()) == ("ok", str(FITS))
    assert job(alice, "x" * FITS).wait_accepted(30)


@pytest.mark.parametrize("how", ASKED)
def test_what_nodes_would_refuse_unheard_is_refused_here(alice: Client, how: str) -> None:
    """It says how large it is; nothing that is queued is pending to its end."""
    with pytest.raises(UsageError, match=r"\d{7} bytes, and nodes take 1048576"):
        ASKED[how](alice)
    durable = [counts for record, counts in alice.requests() if record.via.durable]
    assert [one for one in durable if one["pending"]] == []


def test_where_nobody_waits_each_row_says_why_it_was_not_sent(alice: Client) -> None:
    """It is over at once, and no thread has died of it."""
    replies = cat(alice, 2**20, wait=False).wait(30)
    ((row,), stats) = replies.rows(), replies.stats
    assert row.statusmsg.startswith("not sent: the request is 10"), row.statusmsg
    assert (row.state, stats["elapsed"] < 25) == ("pending", True)
