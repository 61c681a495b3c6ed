"""What a child of fork(2) has of a file, a lock and a condition of its parent: nothing."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mcshell import forking
from mcshell.errors import ForkedClient, MCShellError
from mcshell.interrupts import InterruptibleCondition
from mcshell.private import is_locked, lock_file
from mcshell.sqlite import Database, FileKind

KIND = FileKind(name="file", versions={1: "CREATE TABLE t (n INTEGER)"}, shared=True)
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_child(work):
    """Run it in a child, and whatever the child says."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except MCShellError as error:
            said = type(error).__name__
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said


def write(database, number):
    """One row."""
    with database.transaction() as db:
        db.execute("INSERT INTO t VALUES (?)", (number,))


def test_a_file_is_the_parents(tmp_path):
    """Reading and writing are refused; nothing of the file is open; the parent goes on."""
    database = Database(tmp_path / "a.sqlite", KIND)
    write(database, 1)
    assert in_child(lambda: database.read("SELECT 1")) == "ForkedClient"
    assert in_child(lambda: write(database, 2)) == "ForkedClient"
    assert str(tmp_path) not in in_child(open_files)
    write(database, 3)
    assert [row[0] for row in database.read("SELECT n FROM t")] == [1, 3]
    database.close()


def open_files():
    """What this process has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that looks
            found.append(str(one.readlink()))
    return found


def test_a_child_opens_it_anew(tmp_path):
    """SQLite has forgotten the parent's: locks count between the two, and both write."""
    path = tmp_path / "a.sqlite"
    database = Database(path, KIND)
    write(database, 1)

    def work():
        own = Database(path, KIND)
        write(own, 2)
        found = len(own.read("SELECT * FROM t"))
        own.close()
        return found

    assert in_child(work) == "2"
    write(database, 3)
    assert [row[0] for row in database.read("SELECT n FROM t")] == [1, 2, 3]
    assert database.read("PRAGMA integrity_check")[0][0] == "ok"
    database.close()


def test_a_fork_waits_for_a_commit(tmp_path):
    """No child is made in the middle of another thread's transaction."""
    database = Database(tmp_path / "a.sqlite", KIND)
    begun, go_on = threading.Event(), threading.Event()

    def commit():
        with database.transaction() as db:
            begun.set()
            go_on.wait(20)
            db.execute("INSERT INTO t VALUES (1)")

    thread = threading.Thread(target=commit)
    thread.start()
    assert begun.wait(20)
    threading.Timer(0.3, go_on.set).start()
    assert (
        in_child(lambda: len(Database(tmp_path / "a.sqlite", KIND).read("SELECT * FROM t"))) == "1"
    )
    thread.join()
    database.close()


def test_a_lock_is_the_parents(tmp_path):
    """It ends with the parent's, though a child lives on that had it open too."""
    lock = lock_file(tmp_path / "lock")
    assert lock is not None
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        there.sendall(b"there")
        there.recv(1)
        os._exit(0)
    assert here.recv(5) == b"there"
    assert is_locked(tmp_path / "lock")
    lock.close()
    assert not is_locked(tmp_path / "lock")
    here.sendall(b"x")
    os.waitpid(pid, 0)
    here.close()
    there.close()


def test_a_condition_whose_holder_is_gone():
    """It is refused before its lock is waited for: whoever held that is not in the child."""
    condition = InterruptibleCondition()
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with condition:
            held.set()
            go_on.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    assert in_child(condition.__enter__) == "ForkedClient"
    go_on.set()
    thread.join()
    with condition:
        pass


def test_a_child_of_a_child():
    """Each has a generation of its own."""
    assert forking.generation() == 0
    assert in_child(lambda: (forking.generation(), in_child(forking.generation))) == "(1, '2')"
    with pytest.raises(ForkedClient):
        forking.check(forking.generation() - 1)
