"""What is private is made so from the start, whatever the umask."""

from __future__ import annotations

import os
import stat

import pytest

from mcshell.broker.store import MessageStore as BrokerStore
from mcshell.client.discovery.node_cache import NodeCache
from mcshell.client.session.session import Session
from mcshell.client.session.transfer import export_session
from mcshell.private import UnsafeFile, private_file, private_folder, replace_file
from tests.peers.small_disk import small_disk


@pytest.fixture
def lax_umask():
    """A umask that hides nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def _modes(top):
    """Every path below `top`, and its mode."""
    return {
        str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*")
    }


def test_missing_parents_are_private_too(tmp_path, lax_umask):
    """Every folder that is made on the way has mode 0700; one that was there keeps its own."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o755)
    private_folder(tmp_path / "there" / "a" / "b")
    assert _modes(tmp_path) == {"there": 0o755, "there/a": 0o700, "there/a/b": 0o700}


def test_a_file_in_the_place_of_a_folder_is_no_folder(tmp_path):
    """Whoever names a file as the place for what is kept is told that it is none."""
    (tmp_path / "state").touch()
    for path in (tmp_path / "state", tmp_path / "state" / "below"):
        with pytest.raises(NotADirectoryError, match=f"Not a directory: '{tmp_path}/state'"):
            private_folder(path)


def test_a_file_that_is_there_is_kept(tmp_path, lax_umask):
    """A new file has mode 0600; what an old one holds stays."""
    path = private_file(tmp_path / "new")
    path.write_text("kept")
    assert private_file(path).read_text() == "kept"
    assert _modes(tmp_path) == {"new": 0o600}


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_the_disk_does_not_take_is_named_and_the_old_one_stays(tmp_path, there):
    """Neither is anything left of the new one."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk.path / "ca.pem"
        if there:
            replace_file(path, b"old", 0o644)
        filler = disk.fill()
        with pytest.raises(OSError, match="No space left") as refused:
            replace_file(path, bytes(1 << 16), 0o644)
        assert refused.value.filename == str(path)
        assert set(disk.path.iterdir()) == ({path, filler} if there else {filler})
        assert not there or path.read_bytes() == b"old"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
@pytest.mark.parametrize("below", ["", "node"])
def test_what_is_kept_lies_where_nobody_else_can_write(tmp_path, mode, below):
    """A folder in which others could put a file for us, or swap one of ours, is refused by name."""
    folder = tmp_path / "state"
    (folder / "node").mkdir(parents=True)
    folder.chmod(mode)
    if below and mode & stat.S_ISVTX:  # as /tmp: what is there stays whose it is
        assert private_folder(folder / below) == folder / below
        return
    with pytest.raises(UnsafeFile, match=f"{folder}.*: anyone can write"):
        private_folder(folder / below)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to other users")
def test_a_folder_that_another_user_has_made_for_us_is_refused(tmp_path):
    """In a place where all may write somebody was there first: what he has put in is not used."""
    tmp_path.chmod(0o1777)
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 65534, 65534)
    with pytest.raises(UnsafeFile, match="it belongs to user 65534"):
        NodeCache(tmp_path / "state" / "nodes.sqlite", "realm")


def test_a_client_keeps_nothing_that_others_can_read(tmp_path, lax_umask):
    """State directory, session file, its lock and WAL, the known nodes, and an export: 0700, 0600."""
    state = tmp_path / "state"
    known = NodeCache(state / "nodes.sqlite", "realm")
    session = Session.open(state, "cert=alice", "mcs", "audit")
    export_session(state, "audit", tmp_path / "copy.session")
    modes = _modes(tmp_path)
    session.close()
    known.close()
    assert {"state/sessions/audit.sqlite", "state/nodes.sqlite-wal"} <= set(modes)
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_dir()} == {0o700}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_file()} == {0o600}


def test_the_embedded_broker_keeps_messages_to_itself(tmp_path, lax_umask):
    """The broker's data directory and its file: 0700, 0600."""
    store = BrokerStore(tmp_path / "lab" / "broker")
    modes = _modes(tmp_path)
    store.close()
    assert modes.pop("lab") == 0o700
    assert modes.pop("lab/broker") == 0o700
    assert set(modes.values()) == {0o600}
