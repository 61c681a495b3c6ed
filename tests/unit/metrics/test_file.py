"""The file for the textfile collector: whole at every moment, and no trouble to whoever writes it."""

from __future__ import annotations

import logging
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from mcshell.config import Measured
from mcshell.errors import MCShellError
from mcshell.metrics.file import MetricsFile, MetricsThread
from tests.peers.processes import wait_until
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

LONG = "a 1\n" * 20_000


@pytest.mark.parametrize(("readers", "mode"), [("group", 0o640), ("all", 0o644)])
def test_its_readers_are_those_that_are_wished(tmp_path: Path, readers: str, mode: int) -> None:
    """Group or all may read it, whatever the umask; nothing else lies in the folder."""
    before = os.umask(0o077)
    try:
        assert MetricsFile(tmp_path / "x.prom", readers).write(lambda: "a 1\n")
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]
    assert stat.S_IMODE((tmp_path / "x.prom").stat().st_mode) == mode
    assert (tmp_path / "x.prom").read_text() == "a 1\n"


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    """Who reads it again and again while it is written has one whole text or the other."""
    path, texts = tmp_path / "x.prom", [LONG, LONG.replace("1", "2")]
    file = MetricsFile(path, "all")
    file.write(lambda: texts[0])
    over = threading.Event()

    def write() -> None:
        for number in range(200):
            file.write(lambda number=number: texts[number % 2])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(texts)


def test_a_folder_that_is_missing_is_said_once_and_used_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log for as long as it stays so, and one when it is written again."""
    path = tmp_path / "later" / "x.prom"
    file = MetricsFile(path, "all")
    assert [file.write(lambda: "a 1\n") for _ in range(3)] == [False] * 3
    assert [one.getMessage() for one in caplog.records] == [
        f"{path}: the metrics are not written: No such file or directory"
    ]
    path.parent.mkdir()
    assert file.write(lambda: "a 1\n")
    assert caplog.records[-1].getMessage() == f"{path}: it is written again"


def test_on_a_full_disk_the_old_file_stays_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was there is there, beside it lies nothing, and it goes on when there is room."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk.path / "x.prom"
        file = MetricsFile(path, "all")
        assert file.write(lambda: "a 1\n")
        disk.fill()
        assert not file.write(lambda: LONG)
        assert "No space left on device" in caplog.text
        assert path.read_text() == "a 1\n"
        assert {one.name for one in disk.path.iterdir()} == {"x.prom", "filler"}
        disk.empty()
        assert file.write(lambda: LONG)
        assert path.read_text() == LONG


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    """Who may write to the folder cannot have us write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "textfiles"
    folder.mkdir()
    (folder / f".x.prom.{os.getpid()}").symlink_to(victim)
    (folder / "x.prom").symlink_to(victim)
    assert MetricsFile(folder / "x.prom", "all").write(lambda: "a 1\n")
    assert victim.read_text() == "mine"
    assert not (folder / "x.prom").is_symlink()


@pytest.mark.parametrize(
    ("error", "said"),
    [(MCShellError("no spool"), "no spool"), (ZeroDivisionError(), "could not be taken")],
)
def test_figures_that_cannot_be_taken_end_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    """It is a line in the log, and the thread takes them again."""
    calls: list[int] = []

    def make() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return "a 1\n"

    path = tmp_path / "x.prom"
    with caplog.at_level(logging.WARNING):
        thread = MetricsThread(Measured(metrics=path, metrics_every=0.01), make)
        thread.start()
        assert wait_until(path.exists, 60)
        thread.stop(remove=True)
    assert said in caplog.text
    assert not path.exists()


def test_without_a_path_there_is_no_thread() -> None:
    """It is off by default; `start` and `stop` do nothing then."""
    before = threading.active_count()
    thread = MetricsThread(Measured(), lambda: "")
    thread.start()
    assert threading.active_count() == before
    thread.stop()
