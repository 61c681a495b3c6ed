"""A service's standard error, over a pipe that is read or not."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.wire import log_stream
from mcshell.wire.log_stream import LogStream

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = b"x" * (select.PIPE_BUF - 1)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, LogStream]]:
    """The end that is read, and a log that waits a tenth of a second for it."""
    monkeypatch.setattr(log_stream, "PATIENCE", 0.1)
    ours, theirs = os.pipe()
    with LogStream(theirs) as log:
        yield ours, log
    os.close(ours)


def drained(source: int) -> bytes:
    """All that is there."""
    os.set_blocking(source, False)
    found = b""
    while select.select([source], [], [], 0)[0]:
        found += os.read(source, 1 << 20)
    return found


def fill(log: LogStream) -> int:
    """Write until nothing is taken: how often it was."""
    written = 0
    while log.taking:
        log.write(FULL)
        written += 1
    return written


def test_what_nobody_reads_is_counted_and_waited_for_once(pipe: tuple[int, LogStream]) -> None:
    """The first line that is not taken waits; those after it do not."""
    ours, log = pipe
    fill(log)
    assert log.lost == len(FULL)
    begun = time.monotonic()
    for _ in range(1000):
        assert log.write(b"a line\n") == 7
    assert log.lost == len(FULL) + 7000
    assert time.monotonic() - begun < 1000 * log_stream.PATIENCE / 2
    assert not log.taking
    drained(ours)
    assert log.write(b"a line\n") == 7
    assert log.taking


def test_a_line_that_was_torn_ends_where_the_next_begins(pipe: tuple[int, LogStream]) -> None:
    """The loss may begin within a line: the next one is a line of its own all the same."""
    ours, log = pipe
    fill(log)
    drained(ours)
    assert log.write(b"next\n") == 5
    log.write(b"and one\n")
    assert drained(ours) == b"\nnext\nand one\n"


def test_a_long_line_arrives_whole(pipe: tuple[int, LogStream]) -> None:
    """It is written in parts, each as long as what is ready surely takes."""
    ours, log = pipe
    line = bytes(range(32, 127)) * 400 + b"\n"
    at = 0
    while at < len(line):
        at += log.write(line[at:])
    assert (drained(ours), log.lost) == (line, 0)


def test_a_reader_that_is_gone_costs_no_line_its_time(pipe: tuple[int, LogStream]) -> None:
    """A broken pipe takes nothing, and says so at once."""
    ours, log = pipe
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, ours)
    os.close(null)
    assert log.write(b"a line\n") == 7
    assert (log.lost, log.taking) == (7, False)
