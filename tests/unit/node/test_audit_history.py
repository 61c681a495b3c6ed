"""What the audit file still tells of a request, when the daemon's memory is gone."""

from __future__ import annotations

import json

import pytest

from mcshell.node.audit.history import TAIL, AuditHistory, recall
from mcshell.node.audit.log import AuditLog

ID, OTHER = "a" * 32, "b" * 32


def lines(*events):
    """Audit lines, each a second after the other."""
    common = {"identity": "web1", "requestid": ID}
    return b"".join(
        json.dumps({"epoch": float(number), **common, **event}).encode() + b"\n"
        for number, event in enumerate(events)
    )


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([{"event": "accepted"}], "accepted", "accepted before the daemon started again"),
        (
            [{"event": "accepted"}, {"event": "finished", "state": "ok", "reason": "OK"}],
            "ok",
            "OK",
        ),
        ([{"event": "denied", "reason": "denied by x:1", "statuscode": 1}], "denied", "denied by x:1"),
        ([{"event": "refused", "reason": "no agent", "statuscode": 2}], "failed", "no agent"),
        ([{"event": "refused", "reason": "expired", "detail": "3 s ago"}], "refused", "expired: 3 s ago"),
        ([{"event": "refused", "reason": "unsigned", "detail": ""}], "refused", "unsigned"),
    ],
)  # fmt: skip
def test_the_last_word_about_a_request(events, state, reason):
    """Each kind of event is given under the keys of `seen`, with the time of the first."""
    found = recall(lines(*events), "web1", ID)
    assert (found["state"], found["reason"], found["received"]) == (state, reason, 0.0)


def test_a_later_replay_does_not_hide_what_became_of_it():
    """Anyone may send an old message again: it was accepted all the same."""
    events = [{"event": "accepted"}, {"event": "refused", "reason": "replayed", "detail": ""}]
    assert recall(lines(*events), "web1", ID)["state"] == "accepted"


def test_of_others_nothing_is_told():
    """Another identity's or another request's lines are not this one's, nor is a torn line."""
    text = lines(
        {"event": "accepted", "identity": "web2"}, {"event": "accepted", "requestid": OTHER}
    )
    assert recall(text + b'{"requestid": "' + ID.encode(), "web1", ID) is None


def test_it_reads_the_end_of_a_long_file(tmp_path):
    """However long the file is, what it reads is bounded, and the newest is found."""
    path = tmp_path / "audit.jsonl"
    filler = {"event": "accepted", "identity": "web1", "requestid": OTHER, "inputs": "x" * 4000}
    line = json.dumps(filler).encode() + b"\n"
    path.write_bytes(line * (2 * TAIL // len(line)))
    with AuditLog(path) as log:
        log.write({"event": "accepted", "identity": "web1", "requestid": ID})
    assert AuditHistory(path).seen("web1", ID)["state"] == "accepted"


def test_who_asks_too_often_is_told_nothing(tmp_path):
    """The file is read for some questions that come at once, not for every probe of a flood."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(lines({"event": "accepted"}))
    history = AuditHistory(path)
    found = [history.seen("web1", ID) for _ in range(100)]
    assert None not in found[:20]
    assert None in found[20:]


def test_without_a_file_nothing_is_known(tmp_path):
    """A node that has audited nothing yet answers all the same."""
    assert AuditHistory(tmp_path / "none.jsonl").seen("web1", ID) is None
