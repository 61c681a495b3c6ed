"""What a run writes is read whole by whoever follows it; of much the first and the last is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mcshell.node.command import left_out_line, whole
from mcshell.node.execution.run_directory import RunDirectory, RunLog, read_log

ROOM = 80
CHUNKS = st.lists(st.binary(max_size=50), max_size=20)


def read_on(folder: RunDirectory, offset: int, limit: int) -> tuple[bytes, int]:
    """Read until there is nothing more."""
    found = b""
    while True:
        data, offset = read_log([folder], offset, limit)
        if not data:
            return found, offset
        found += data


@given(chunks=st.lists(st.binary(max_size=ROOM // 4), max_size=20), limit=st.integers(4, 100))
def test_who_follows_a_run_reads_all_of_it(chunks: list[bytes], limit: int) -> None:
    """However much is written, nothing is missing for who keeps up with it."""
    with tempfile.TemporaryDirectory() as path:
        folder, found, offset = RunDirectory(Path(path)), b"", 0
        with RunLog(folder, ROOM) as log:
            for chunk in chunks:
                log.write(chunk)
                data, offset = read_on(folder, offset, limit)
                found += data
        assert found == b"".join(chunks)


@given(chunks=CHUNKS, limit=st.integers(4, 100))
def test_of_a_long_output_head_and_tail_are_kept(chunks: list[bytes], limit: int) -> None:
    """Who comes later reads the first half, how much is left out, and the last quarter at least."""
    with tempfile.TemporaryDirectory() as path:
        folder, every = RunDirectory(Path(path)), b"".join(chunks)
        with RunLog(folder, ROOM) as log:
            for chunk in chunks:
                log.write(chunk)
        kept, end = read_on(folder, 0, limit)
        assert end == len(every)
        assert sum(one.stat().st_size for one in Path(path).iterdir()) <= ROOM
        if len(every) <= ROOM:
            assert kept == every
            return
        assert kept.startswith(every[: ROOM // 2])
        assert kept.endswith(every[-ROOM // 4 :])
        middle = kept[ROOM // 2 : -ROOM // 4]
        line = next(line for line in map(left_out_line, range(1, 1001)) if line in middle)
        count = int(line.split()[1])
        assert len(kept) == len(every) - count + len(line)


def test_where_nothing_may_be_kept_nothing_is(tmp_path: Path) -> None:
    """A run whose output has no room at all goes on without a log."""
    folder = RunDirectory(tmp_path)
    with RunLog(folder, 0) as log:
        log.write(b"x" * 100)
    assert read_log([folder], 0, 100) == (b"", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@given(text=st.text(), end=st.integers(0, 8))
def test_a_character_is_whole_or_left_out(text: str, end: int) -> None:
    """UTF-8 that ends anywhere is text without the last few bytes."""
    data = text.encode()
    data = data[: len(data) - end] if end else data
    kept = whole(data)
    assert kept.decode() is not None
    assert data.startswith(kept)
    assert len(data) - len(kept) < 4


def test_a_follower_reads_on_while_the_files_are_moved(tmp_path: Path) -> None:
    """Whatever has been moved already to where ended runs are kept, nothing is missed or said twice."""
    work, kept = RunDirectory(tmp_path / "work"), RunDirectory(tmp_path / "kept")
    for folder in (work, kept):
        folder.path.mkdir()
    with RunLog(work, 4000) as run_log:
        for number in range(1000):
            run_log.write(b"line %04d\n" % number)
    whole, _end = read_log([work], 0, 10_000)
    for path in sorted(work.path.glob("log*")):
        path.replace(kept.path / path.name)
        assert read_log([work, kept], 0, 10_000)[0] == whole
    assert not list(work.path.iterdir())
