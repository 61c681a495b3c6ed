"""What counts as a disk that takes nothing."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING

import pytest

from mcshell.storage import is_storage_fault, storage_flaws, when_room
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def full(database: sqlite3.Connection) -> None:
    """Fill a database that may have no more pages."""
    database.execute("PRAGMA max_page_count=2")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (zeroblob(100000))")


def read_only(database: sqlite3.Connection) -> None:
    """Write to a database that may only be read."""
    database.execute("PRAGMA query_only=ON")
    database.execute("CREATE TABLE t (x)")


def wrong(database: sqlite3.Connection) -> None:
    """Ask for what is not there."""
    database.execute("SELECT * FROM nothing")


@pytest.mark.parametrize(("do", "fault"), [(full, True), (read_only, True), (wrong, False)])
def test_faults_of_sqlite(do: Callable[[sqlite3.Connection], None], *, fault: bool) -> None:
    """Full and read-only are the disk's; a wrong statement is not."""
    database = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error) as caught:
        do(database)
    database.close()
    assert is_storage_fault(caught.value) is fault


@pytest.mark.parametrize(
    ("number", "fault"), [(errno.ENOSPC, True), (errno.EFBIG, True), (errno.EACCES, False)]
)
def test_faults_of_the_system(number: int, *, fault: bool) -> None:
    """No space, and a limit of files' size, is the disk's fault; a mode is not."""
    assert is_storage_fault(OSError(number, "")) is fault
    assert not is_storage_fault(ValueError())
    assert not is_storage_fault(None)


def test_what_waits_for_room_is_written_once_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is tried again; whatever else goes wrong is raised."""
    monkeypatch.setattr("mcshell.storage._AGAIN", 0.0)
    faults = [OSError(errno.ENOSPC, ""), OSError(errno.EROFS, "")]

    def write() -> None:
        if faults:
            raise faults.pop()

    when_room(write)
    assert not faults
    faults = [OSError(errno.EACCES, "")]
    with pytest.raises(PermissionError):
        when_room(write)


def test_a_disk_with_room_has_no_flaw(tmp_path: Path) -> None:
    """What is said is said of full and read-only ones, and of those that are not there."""
    assert storage_flaws(tmp_path) == ()
    assert "nothing can be kept" in storage_flaws(tmp_path / "gone")[0]


def test_a_disk_that_can_have_no_more_files_is_a_flaw(tmp_path: Path) -> None:
    """It is told apart from a full one, which shows in other figures; a file that is there can grow."""
    with small_disk(tmp_path / "disk", files=20) as disk:
        disk.take_files()
        (flaw,) = storage_flaws(disk.path)
        assert "has no inode left" in flaw
        assert storage_flaws(disk.path, new_files=False) == ()
        disk.empty()
        assert storage_flaws(disk.path) == ()
