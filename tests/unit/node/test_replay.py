"""Claims: at most once, from any thread, over restarts and kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import ConfigError, MCShellError, StorageError
from mcshell.node.admission.replay import ReplayGuard

NOW = 1_800_000_000.0


@pytest.fixture
def replay_guard(tmp_path):
    """An empty file of claims."""
    found = ReplayGuard(tmp_path / "claims.db")
    yield found
    found.close()


def test_a_request_is_claimed_once_for_each_identity(replay_guard):
    """A second claim is refused, also long after; another identity's is its own."""
    assert replay_guard.claim("web1", "a", NOW + 60, NOW)
    assert not replay_guard.claim("web1", "a", NOW + 60, NOW)
    assert not replay_guard.claim("web1", "a", NOW + 60, NOW + 59)
    assert replay_guard.claim("web2", "a", NOW + 60, NOW)
    assert replay_guard.claim("web1", "b", NOW + 60, NOW)


def test_many_are_claimed_in_one_transaction(replay_guard):
    """Each claim gets its own answer, one that is there twice included."""
    wanted = [("web1", "a", NOW + 60), ("web2", "a", NOW + 60), ("web1", "a", NOW + 60)]
    assert replay_guard.claim_many(wanted, NOW) == [True, True, False]
    assert replay_guard.claim_many([], NOW) == []


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_a_claim_outlives_kill_9(tmp_path, synchronous):
    """What was claimed by a process that was killed right after is claimed still."""
    path = tmp_path / "claims.db"
    code = (
        "import sys, time; from mcshell.node.admission.replay import ReplayGuard\n"
        f"c = ReplayGuard({str(path)!r}, synchronous={synchronous!r})\n"
        f"print(c.claim('web1', 'a', {NOW + 60}, {NOW}), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"True\n"
        os.kill(process.pid, signal.SIGKILL)
    again = ReplayGuard(path)
    assert not again.claim("web1", "a", NOW + 60, NOW)
    assert again.claim("web1", "b", NOW + 60, NOW)
    again.close()


def test_threads_never_win_the_same_claim(replay_guard):
    """Of many threads that claim the same requests, exactly one wins each."""
    won: list[str] = []
    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        won.extend(f"r{i}" for i in range(50) if replay_guard.claim("web1", f"r{i}", NOW + 60, NOW))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(f"r{i}" for i in range(50))


def test_claims_that_come_together_are_committed_together(replay_guard):
    """While one thread commits, the others queue up, and the next commit is for all of them."""
    database = replay_guard._database
    transactions = []
    database._connection.set_trace_callback(
        lambda sql: transactions.append(sql) if sql == "COMMIT" else None
    )
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda i=i: results.append(replay_guard.claim("web1", f"r{i}", NOW + 60, NOW))
        )
        for i in range(10)
    ]
    with database._turn:
        for before, thread in enumerate(threads):
            thread.start()
            while not database._led or len(database._queue) != before:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert results == [True] * 10
    assert transactions == ["COMMIT"] * 2


def test_expired_claims_are_purged_an_hour_later(replay_guard):
    """What expired is kept for an hour, in case the clock was wrong, and then goes."""
    replay_guard.claim("web1", "a", NOW + 60, NOW)
    assert not replay_guard.claim("web1", "a", NOW + 60, NOW + 3000)
    replay_guard.claim("web1", "other", NOW + 9000, NOW + 60 + 3700)
    (count,) = replay_guard._database.read("SELECT count(*) FROM claims")
    assert tuple(count) == (1,)


def test_many_expired_claims_go_little_by_little(replay_guard):
    """A purge takes a bounded number of rows at a time, and goes on at the next claim."""
    replay_guard.claim_many([("web1", f"r{i}", NOW) for i in range(2500)], NOW)
    left = []
    for i in range(4):
        replay_guard.claim("web1", f"new{i}", NOW + 9999, NOW + 4000)
        query = "SELECT count(*) FROM claims WHERE expires = ?"
        left.append(replay_guard._database.read(query, (NOW,))[0][0])
    assert left == [1500, 500, 0, 0]


def test_a_longer_ttl_prolongs_the_claim(replay_guard):
    """The same id under a later expiry stays claimed until that."""
    replay_guard.claim("web1", "a", NOW + 60, NOW)
    assert not replay_guard.claim("web1", "a", NOW + 90_000, NOW)
    replay_guard.claim("web1", "b", NOW + 9000, NOW + 10_000)
    assert not replay_guard.claim("web1", "a", NOW + 90_000, NOW + 80_000)


def test_a_claim_that_cannot_be_recorded_is_an_error(replay_guard):
    """Who cannot claim must not run: who asked is told, and none of what they asked is kept."""
    with replay_guard._database.transaction() as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON claims WHEN NEW.requestid = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(MCShellError, match="cannot be written: disk full"):
        replay_guard.claim_many([("web1", "a", NOW + 60), ("web1", "bad", NOW + 60)], NOW)
    assert replay_guard.claim("web1", "a", NOW + 60, NOW)
    with pytest.raises(MCShellError):
        replay_guard.claim("web1", "\udc80", NOW + 60, NOW)
    assert replay_guard.claim("web1", "b", NOW + 60, NOW)


def test_what_a_full_disk_kept_in_the_reserve_is_claimed(replay_guard):
    """It is refused the second time, is found by who asks, and stays so once there is room."""
    with replay_guard._database.transaction() as database:
        database.execute(
            f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}"
        )
    batch = [("web1", f"{number:0500}", NOW + 60) for number in range(20)]
    assert all(replay_guard.claim_many(batch, NOW))
    assert replay_guard._reserve.kept
    assert not any(replay_guard.claim_many(batch, NOW))
    assert all(replay_guard.claimed("web1", requestid) for _, requestid, _ in batch)
    assert not replay_guard.claimed("web2", batch[0][1])
    with replay_guard._database.transaction() as database:
        database.execute("PRAGMA max_page_count=100000")
    assert replay_guard.claim("web1", "later", NOW + 60, NOW)
    assert not replay_guard._reserve.kept
    assert all(replay_guard.claimed("web1", requestid) for _, requestid, _ in batch)


def test_of_a_batch_on_a_full_disk_only_the_new_ones_are_claimed(replay_guard):
    """What was claimed stays another's, what is new is kept in the reserve, whatever stood before it."""
    assert replay_guard.claim("web1", "a", NOW + 60, NOW)
    with replay_guard._database.transaction() as database:
        database.execute(
            f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}"
        )
    filler = [("web1", f"{number:0500}", NOW + 60) for number in range(20)]
    assert all(replay_guard.claim_many(filler, NOW))
    mixed = [("web1", "a", NOW + 60), ("web1", "b", NOW + 60), ("web1", "b", NOW + 60)]
    assert replay_guard.claim_many(mixed, NOW) == [False, True, False]
    assert replay_guard.claim_many(mixed, NOW) == [False, False, False]
    assert replay_guard.claim("web2", "b", NOW + 60, NOW)


def test_nothing_can_be_claimed_when_the_reserve_is_full_too(replay_guard):
    """Then who asks is told that the disk is the reason, and may not run."""
    with replay_guard._database.transaction() as database:
        database.execute(
            f"PRAGMA max_page_count={database.execute('PRAGMA page_count').fetchone()[0]}"
        )
    batch = [("web1", f"{number:01000}", NOW + 60) for number in range(100)]
    with pytest.raises(StorageError, match="full"):
        replay_guard.claim_many(batch, NOW)
    assert not replay_guard.claimed("web1", batch[0][1])
    assert all(replay_guard.claim_many(batch[:40], NOW))
    with pytest.raises(StorageError, match="full"):
        replay_guard.claim_many(batch, NOW)
    assert replay_guard.claim_many(batch[:40], NOW) == [False] * 40


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_a_claim_is_as_durable_as_was_asked(tmp_path, synchronous, level):
    """FULL is on the disk before the action starts; NORMAL costs no fsync."""
    guard = ReplayGuard(tmp_path / "claims.db", synchronous=synchronous)
    guard.claim("web1", "a", NOW + 60, NOW)
    assert guard._database.read("PRAGMA synchronous")[0][0] == level
    assert not guard.hindered
    guard.close()


def descriptors() -> set[str]:
    """What this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_closed_file_takes_no_claim_and_holds_nothing(tmp_path):
    """Who comes too late is told so, and no descriptor is left open."""
    before = descriptors()
    guard = ReplayGuard(tmp_path / "claims.db")
    guard.close()
    assert descriptors() == before
    with pytest.raises(MCShellError):
        guard.claim("web1", "a", NOW + 60, NOW)


def test_a_purge_waits_for_its_time(replay_guard):
    """It looks again ten seconds later, not at every claim."""
    replay_guard.claim("web1", "old", NOW, NOW)
    later = NOW + 4000
    replay_guard._purge_at = later + 1
    replay_guard.claim("web1", "b", later + 999, later)
    assert replay_guard.claimed("web1", "old")
    replay_guard.claim("web1", "c", later + 999, later + 1)
    assert not replay_guard.claimed("web1", "old")
    replay_guard.claim("web1", "stale", NOW, later + 2)
    replay_guard.claim("web1", "d", later + 999, later + 10)
    assert replay_guard.claimed("web1", "stale")
    replay_guard.claim("web1", "e", later + 999, later + 11)
    assert not replay_guard.claimed("web1", "stale")


def test_what_is_no_database_is_a_configuration_error(tmp_path):
    """A file of something else is found when the node starts."""
    (tmp_path / "claims.db").write_bytes(b"hello" * 1000)
    with pytest.raises(ConfigError, match="no file for claims"):
        ReplayGuard(tmp_path / "claims.db")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.just(NOW + 60))))
)
def test_claims_are_a_set(tmp_path_factory, batches):
    """In whatever batches they come, exactly the first of each pair wins."""
    replay_guard = ReplayGuard(tmp_path_factory.mktemp("set") / "claims.db")
    seen: set[tuple[str, str]] = set()
    for batch in batches:
        expected = []
        for identity, requestid, _ in batch:
            expected.append((identity, requestid) not in seen)
            seen.add((identity, requestid))
        assert replay_guard.claim_many(batch, NOW) == expected
    replay_guard.close()


def test_the_file_is_in_wal_mode(replay_guard, tmp_path):
    """Readers do not wait for the node, and a commit costs no rollback journal."""
    reader = sqlite3.connect(tmp_path / "claims.db")
    assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    reader.close()
