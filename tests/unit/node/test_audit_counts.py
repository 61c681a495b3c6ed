"""What anybody can cause is counted: few lines, and no event is missing from them."""

from __future__ import annotations

import json
import threading
from collections import Counter

from mcshell.node.audit.log import MOST, AuditLog
from tests.peers.processes import no_threads, wait_until


def event(reason="not_json", **more):
    """One that failed before policy."""
    return {"event": "refused", "identity": "web1", "reason": reason, "via": "broadcast", **more}


def lines(path):
    """The events of a file, but for its first."""
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def test_the_first_is_a_line_and_the_others_are_one(tmp_path):
    """20,000 of a kind are two lines when the log is closed, with the newest in the second."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        for number in range(20_000):
            log.count(event(requestid=f"{number}"))
        (first,) = lines(path)
        assert (first["count"], first["requestid"]) == (1, "0")
    _first, rest = lines(path)
    assert (rest["count"], rest["requestid"]) == (19_999, "19999")
    assert first["epoch"] <= rest["since"] <= rest["epoch"]


def test_more_kinds_than_there_may_be_are_others(tmp_path):
    """Foreign text in callers and reasons makes no more lines than a flood of one kind does."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        for number in range(20_000):
            log.count(event(caller=f"cert=x{number % 5000}"))
    found = lines(path)
    assert len(found) < 100
    assert sum(one["count"] for one in found) == 20_000
    assert Counter(one["event"] for one in found)["others"] <= 2
    assert len({one.get("caller") for one in found}) == MOST + 1


def test_counts_are_written_after_their_time(tmp_path):
    """A thread writes them when the time is over, and once a time; what stops is forgotten."""
    path, twice = tmp_path / "audit.jsonl", threading.Event()
    found = []

    def look(line):
        found.append(json.loads(line))
        if len(found) == 3:
            twice.set()

    with AuditLog(path, {"look": look}, every=0.2) as log:
        log.count(event(), at_once=False)
        log.count(event(), at_once=False)
        log.count(event("expired"), at_once=False)
        assert twice.wait(30)
    assert [(one.get("reason"), one.get("count")) for one in found[1:]] == [
        ("not_json", 2),
        ("expired", 1),
    ]


def test_every_0_each_is_a_line(tmp_path):
    """Who wants to see each one says so."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, every=0.0) as log:
        for _ in range(3):
            log.count(event())
        assert [one["count"] for one in lines(path)] == [1, 1, 1]


def test_counts_from_many_threads_are_all_there(tmp_path):
    """None is lost between two threads, nor at the end."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, every=0.01) as log:

        def run():
            for _ in range(500):
                log.count(event())

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(one["count"] for one in lines(path)) == 4000


def test_counts_are_written_though_no_thread_could_begin_with_the_first(tmp_path):
    """What is counted meanwhile is no failure of whoever counts it, and is written in its time."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, every=0.2) as log:
        with no_threads():
            log.count(event())
            log.count(event())
        log.count(event("expired"))
        assert wait_until(lambda: lines(path)[-1]["count"] == 1 and len(lines(path)) == 3, 60)
    assert [one["count"] for one in lines(path)] == [1, 1, 1]
