"""The audit log: whole lines, from any thread, over a full disk and a rotation."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import shutil
import stat
import threading
import time

import pytest

from mcshell.errors import ConfigError
from mcshell.node.audit import file
from mcshell.node.audit.files import log_files
from mcshell.node.audit.log import AuditLog
from mcshell.node.audit.reserve import AUDIT_ROOM
from mcshell.node.audit.sinks import SinkThread
from mcshell.node.audit.verify import verify


def lines(path):
    """The events of a file, but for its first line, which says what it follows."""
    first, *others = (json.loads(line) for line in path.read_text("ascii").splitlines())
    assert first["event"] == ("gap" if "lost" in first else "file")
    assert list(first)[2:4] == ["event", "previous"]
    return others


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
        ("n", 2),
        ("prev", hashlib.sha256(path.read_bytes().splitlines()[0]).hexdigest()),
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
    _file, first, second = path.read_text("ascii").splitlines()
    assert json.loads(first)["bytes"] == "b'\\xff'"
    assert json.loads(first)["lone"] == "\udc80"
    assert '"event":"y","code":5,"nan":"nan","keys":"{(1, 2): 3}","loop":"[[...]]","n":' in second


def test_threads_write_whole_lines(tmp_path):
    """Eight threads on one log: all lines are there, none is mixed, and they are one chain."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)

    def run(number):
        for i in range(200):
            log.write({"event": "accepted", "text": f"{number}" * 500, "i": i})

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = lines(path)
    assert len(events) == 1600
    assert all(len(set(event["text"])) == 1 for event in events)
    assert [event["n"] for event in events] == list(range(2, 1602))


def test_one_process_writes_a_file(tmp_path):
    """A second log on the file is refused in words: two writers are no chain."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path), pytest.raises(ConfigError, match="another process writes it"):
        AuditLog(path)


def fill(log):
    """Have the log write to a disk that is full."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file._file)
    os.close(full)
    log._file._look_at = time.monotonic() + 60
    log._file._size = 0


def clear(log):
    """Have the log look for its file, on a disk that has room again."""
    log._file._look_at = 0.0


def test_a_full_disk_does_not_stop_the_node(tmp_path, caplog):
    """The event goes to the daemon's log, is counted, and later ones are written, after a gap."""
    log = AuditLog(tmp_path / "audit.jsonl")
    fill(log)
    with caplog.at_level(logging.ERROR):
        why = log.write({"event": "denied", "caller": "cert=alice"})
    assert log.lost == 1
    assert why == "No space left on device"
    assert "No space left" in caplog.text
    assert '"event":"denied","caller":"cert=alice"' in caplog.text
    clear(log)
    assert log.write({"event": "accepted"}) is None
    log.close()
    gap, accepted = lines(tmp_path / "audit.jsonl")
    assert (gap["event"], gap["lost"], accepted["event"]) == ("gap", 1, "accepted")


def test_what_is_vital_goes_to_the_reserve(tmp_path, caplog):
    """It is of the chain at once, and comes into the file before all that is written later."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write({"event": "before"})
    fill(log)
    assert log.write({"event": "lost"}) is not None
    assert log.write({"event": "vital"}, vital=True) is None
    assert log.write({"event": "lost"}) is not None
    assert log.write({"event": "vital"}, vital=True) is None
    kept = verify(log_files(path), {})
    assert (kept.broken, kept.files, kept.head) == (None, 2, log._file.head)
    clear(log)
    log.write({"event": "after"})
    log.close()
    assert [(one["event"], one.get("lost")) for one in lines(path)] == [
        ("before", None),
        ("gap", 1),
        ("vital", None),
        ("vital", None),
        ("gap", 1),
        ("after", None),
    ]
    assert verify(log_files(path), {}).broken is None


def test_the_reserve_survives_a_kill(tmp_path, caplog):
    """What an ended process had kept there, and could not write, the next one writes."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write({"event": "before"})
    fill(log)
    log.write({"event": "vital"}, vital=True)
    log._file._shut()
    with AuditLog(path) as again:
        again.write({"event": "after"})
    assert [one["event"] for one in lines(path)] == ["before", "gap", "vital", "after"]
    assert verify(log_files(path), {}).broken is None


def test_a_reserve_that_is_full_takes_no_more(tmp_path, caplog):
    """Then what changes the machine is refused, too; its room is as large as was said."""
    log = AuditLog(tmp_path / "audit.jsonl")
    assert (tmp_path / "audit.jsonl.reserve").stat().st_size == AUDIT_ROOM
    fill(log)
    number = 0
    while log.write({"event": "vital", "text": "x" * 1000}, vital=True) is None:
        number += 1
    assert 150 < number < 192
    clear(log)
    log.write({"event": "after"})
    log.close()
    found = verify(log_files(tmp_path / "audit.jsonl"), {})
    assert (found.broken, [gap.lost for gap in found.gaps]) == (None, [0, 1])


def test_half_a_line_does_not_spoil_the_next(tmp_path, monkeypatch, caplog):
    """When the disk took only part of a line, it is taken back."""
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
    assert [one["event"] for one in lines(path)] == ["gap", "whole"]


def test_what_an_end_has_torn_is_said_so(tmp_path):
    """Half a line stays, and the next says how long it is: that is no tampering."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "one"})
    with path.open("ab") as file:
        file.write(b'{"time":"2026')
    assert verify(log_files(path), {}).torn == 1
    with AuditLog(path) as log:
        log.write({"event": "two"})
    found = verify(log_files(path), {})
    assert (found.broken, found.torn, found.lines) == (None, 1, 4)
    path.write_bytes(path.read_bytes().replace(b'{"time":"2026\n', b'{"time":"2025\n'))
    assert verify(log_files(path), {}).broken is not None


def test_a_file_that_was_moved_away_is_made_anew(tmp_path, monkeypatch):
    """After logrotate has moved the file, events go to a new one, which says what it follows."""
    monkeypatch.setattr(file, "_LOOK_EVERY", 0.0)
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "one"})
        path.rename(tmp_path / "audit.jsonl-20261125")
        log.write({"event": "two"})
    assert [e["event"] for e in lines(path)] == ["two"]
    assert [e["event"] for e in lines(tmp_path / "audit.jsonl-20261125")] == ["one"]
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["previous"]["name"], first["previous"]["count"]) == ("audit.jsonl-20261125", 2)
    assert verify(log_files(path), {}).broken is None


@pytest.mark.parametrize("kept", ["packed", "on another disk", "not at all"])
def test_what_is_written_behind_a_file_that_is_gone_is_kept(tmp_path, kept):
    """A file that was moved and packed at once, or deleted, takes no line more: a new one does."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with AuditLog(path) as log:
        log.write({"event": "one"})
        if kept == "packed":  # as logrotate does it with `compress`
            path.rename(old)
            old.with_name(f"{old.name}.gz").write_bytes(gzip.compress(old.read_bytes()))
            old.unlink()
        elif kept == "on another disk":
            shutil.copy(path, old)
            path.unlink()
        else:
            path.unlink()
        log.write({"event": "two"})
    assert [e["event"] for e in lines(path)] == ["two"]
    name = json.loads(path.read_text().splitlines()[0])["previous"]["name"]
    assert name == ("audit.jsonl.1" if kept == "packed" else "audit.jsonl")
    found = verify(log_files(path), {})
    assert (found.broken, found.lines) == (None, 2 if kept == "not at all" else 4)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_was_moved_away_meanwhile_is_followed(tmp_path, packed):
    """Also what rotates while no daemon is there, torn at its end and compressed."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with AuditLog(path) as log:
        log.write({"event": "one"})
    text = path.read_bytes() + b'{"half'
    path.unlink()
    if packed:
        old = old.with_name("audit.jsonl.1.gz")
    old.write_bytes(gzip.compress(text) if packed else text)
    with AuditLog(path) as log:
        log.write({"event": "two"})
    found = verify(log_files(path), {})
    assert (found.broken, found.files, found.torn, found.lines) == (None, 2, 1, 5)


def test_copytruncate_is_a_gap(tmp_path):
    """The file was copied and cut to nothing: it begins again, and follows the copy."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "one"})
        shutil.copy(path, tmp_path / "audit.jsonl.1")
        os.truncate(path, 0)
        log.write({"event": "two"})
    assert [e["event"] for e in lines(path)] == ["two"]
    found = verify(log_files(path), {})
    assert (found.broken, found.lines, len(found.gaps)) == (None, 4, 1)


def test_what_was_written_between_copy_and_cut_is_missed(tmp_path):
    """Such a line is nowhere, and its place is named."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.write({"event": "one"})
        shutil.copy(path, tmp_path / "audit.jsonl.1")
        log.write({"event": "in between"})
        os.truncate(path, 0)
        log.write({"event": "two"})
    broken = verify(log_files(path), {}).broken
    assert (broken.file, broken.line) == ("audit.jsonl", 1)
    assert "3 to 3 are missing" in broken.what


def test_a_log_of_67a4456_is_gone_on_with(tmp_path):
    """Its lines know no chain; the first that does has the hash of them all."""
    path = tmp_path / "audit.jsonl"
    path.write_text('{"event":"accepted"}\n' * 3)
    with AuditLog(path) as log:
        log.write({"event": "one"})
    found = verify(log_files(path), {})
    assert (found.broken, found.before, found.lines) == (None, 3, 2)
    path.write_text(path.read_text().replace("accepted", "Accepted", 1))
    assert verify(log_files(path), {}).broken.line == 1


def test_a_head_is_on_the_disk(tmp_path):
    """It is synced before it is told, told again for a second, and none without a line."""
    with AuditLog(tmp_path / "audit.jsonl") as log:
        assert log.head() is None
        log._head_until = 0.0
        log.write({"event": "one"})
        head = log.head()
        log.write({"event": "two"})
        assert log.head() == head
        log._head_until = 0.0
        assert log.head().count == head.count + 1 == 3


def test_our_own_rotation_keeps_so_many(tmp_path):
    """With max_bytes no file grows over it, and the newest `keep` old ones stay."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, max_bytes=1000, keep=2) as log:
        for i in range(30):
            log.write({"event": "accepted", "i": i})
    files = sorted(tmp_path.iterdir())
    *files, reserve = files
    assert reserve.name == "audit.jsonl.reserve"
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    found = verify(log_files(path), {})
    assert (found.broken, found.files) == (None, 3)
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
        assert 17 <= sink.lost <= 18  # it may hold one line beside the three that wait
        go_on.set()
    assert taken == path.read_text().splitlines()
    assert len(taken) == 21
    said = [record.message for record in caplog.records]
    assert "audit sink stuck leaves 3 lines waiting; lines lost so far: 1" in said[0]
    assert said[1:] == [f"the audit sink stuck has lost {sink.lost} lines"]


def test_a_line_that_the_file_cannot_take_reaches_the_sinks(tmp_path, monkeypatch):
    """A disk that is full costs the file, not them."""

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    taken: list[str] = []
    with AuditLog(tmp_path / "audit.jsonl", {"list": taken.append}) as log:
        monkeypatch.setattr(file.os, "write", full)
        log.write({"event": "accepted"})
        monkeypatch.undo()
    assert [json.loads(line)["event"] for line in taken] == ["accepted"]


def test_a_place_that_cannot_be_is_a_configuration_error(tmp_path):
    """A node whose audit log cannot be opened at all does not start."""
    with pytest.raises(ConfigError, match="audit log cannot be written: No such file"):
        AuditLog(tmp_path / "none" / "audit.jsonl")
