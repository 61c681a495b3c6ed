"""The audit log: whole lines, from any thread, over a full disk and a rotation."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
import time

import pytest

from mcshell.errors import ConfigError
from mcshell.node.audit import log as audit
from mcshell.node.audit.log import AuditLog, SinkThread


def lines(path):
    """The events of a file."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_an_event_is_one_line_with_its_time(tmp_path):
    """Time comes first, in both forms, then what the caller said, in its order."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "refused", "reason": "expired", "caller": "cert=é\n"}, now=1.5)
    assert list(lines(path)[0].items()) == [
        ("time", "1970-01-01T00:00:01.500Z"),
        ("epoch", 1.5),
        ("event", "refused"),
        ("reason", "expired"),
        ("caller", "cert=é\n"),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_whatever_an_event_holds_is_written(tmp_path):
    """A value that is no JSON is written as Python shows it: an audit line is never lost to it."""
    path = tmp_path / "audit.jsonl"
    loop: list[object] = []
    loop.append(loop)
    with AuditLog(path) as log:
        log.write({"event": "x", "bytes": b"\xff", "lone": "\udc80"})
        log.write({"event": "y", "code": 5, "nan": float("nan"), "keys": {(1, 2): 3}, "loop": loop})
    first, second = path.read_text("ascii").splitlines()
    assert json.loads(first)["bytes"] == "b'\\xff'"
    assert json.loads(first)["lone"] == "\udc80"
    assert second.endswith(
        '"event":"y","code":5,"nan":"nan","keys":"{(1, 2): 3}","loop":"[[...]]"}'
    )


def test_threads_write_whole_lines(tmp_path):
    """Two logs on one file, four threads each: all lines are there, none is mixed."""
    path = tmp_path / "audit.jsonl"
    logs = [AuditLog(path), AuditLog(path)]

    def run(log, number):
        for i in range(200):
            log.write({"event": "accepted", "text": f"{number}" * 500, "i": i})

    threads = [threading.Thread(target=run, args=(logs[n % 2], n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = lines(path)
    assert len(events) == 1600
    assert all(len(set(event["text"])) == 1 for event in events)


def test_a_full_disk_does_not_stop_the_node(tmp_path, caplog):
    """The event goes to the daemon's log, is counted, and later ones are written again."""
    log = AuditLog(tmp_path / "audit.jsonl")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file)
    os.close(full)
    log._look_at = time.monotonic() + 60
    with caplog.at_level(logging.ERROR):
        log.write({"event": "denied", "caller": "cert=alice"})
    assert log.lost == 1
    assert "No space left" in caplog.text
    assert '"event":"denied","caller":"cert=alice"' in caplog.text
    log._look_at = 0.0
    log.write({"event": "accepted"})
    log.close()
    assert [event["event"] for event in lines(tmp_path / "audit.jsonl")] == ["accepted"]


def test_half_a_line_does_not_spoil_the_next(tmp_path, monkeypatch, caplog):
    """When the disk took only part of a line, the next event begins a line of its own."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, line: write(file, line[:10]))
        log.write({"event": "torn"})
    log.write({"event": "whole"})
    log.close()
    assert log.lost == 1
    assert "torn" in caplog.text
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "whole"


def test_a_file_that_was_moved_away_is_made_anew(tmp_path, monkeypatch):
    """After logrotate has moved the file, events go to a new one of the old name."""
    monkeypatch.setattr(audit, "_LOOK_EVERY", 0.0)
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "one"})
        path.rename(tmp_path / "old")
        log.write({"event": "two"})
    assert [e["event"] for e in lines(path)] == ["two"]
    assert [e["event"] for e in lines(tmp_path / "old")] == ["one"]


def test_our_own_rotation_keeps_so_many(tmp_path):
    """With max_bytes no file grows over it, and the newest `keep` old ones stay."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, max_bytes=300, keep=2) as log:
        for i in range(30):
            log.write({"event": "accepted", "i": i})
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(file.stat().st_size <= 300 for file in files)
    kept = [e["i"] for file in reversed(files) for e in lines(file)]
    assert kept == list(range(kept[0], 30))


def test_a_sink_that_stands_still_loses_lines_and_holds_up_nobody(tmp_path, caplog):
    """What finds no room is counted, and said once; the file has every line, other sinks too."""
    path, taken, go_on = tmp_path / "audit.jsonl", [], threading.Event()
    sink = SinkThread("stuck", lambda _line: go_on.wait(), room=3)
    with AuditLog(path, {"list": taken.append}) as log:
        log._sinks.append(sink)
        for i in range(20):
            log.write({"event": "accepted", "i": i})
        assert 16 <= sink.lost <= 17  # it may hold one line beside the three that wait
        go_on.set()
    assert taken == path.read_text().splitlines()
    assert len(taken) == 20
    said = [record.message for record in caplog.records]
    assert "audit sink stuck leaves 3 lines waiting; lines lost so far: 1" in said[0]
    assert said[1:] == [f"the audit sink stuck has lost {sink.lost} lines"]


def test_a_line_that_the_file_cannot_take_reaches_the_sinks(tmp_path, monkeypatch):
    """A disk that is full costs the file, not them."""

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    taken: list[str] = []
    with AuditLog(tmp_path / "audit.jsonl", {"list": taken.append}) as log:
        monkeypatch.setattr(audit.os, "write", full)
        log.write({"event": "accepted"})
        monkeypatch.undo()
    assert [json.loads(line)["event"] for line in taken] == ["accepted"]


def test_a_place_that_cannot_be_is_a_configuration_error(tmp_path):
    """A node whose audit log cannot be opened at all does not start."""
    with pytest.raises(ConfigError, match="audit log cannot be written: No such file"):
        AuditLog(tmp_path / "none" / "audit.jsonl")
