"""Session files on a disk that is full or read-only: what is there is read, and nothing is half made."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mcshell import config
from mcshell.client.session.transfer import export_session, import_session
from mcshell.errors import ExitCode, MachineError, StorageError
from mcshell.wire.credentials import load_verifier
from tests.peers.processes import wait_until
from tests.peers.small_disk import small_disk

from .conftest import NAMES

HOLDER = """\
import sys, time
from pathlib import Path
from mcshell import config
from mcshell.client.client import Client
client = Client(config.load(Path(sys.argv[1]), overrides={"state": sys.argv[2]}), session="heir")
print(client.session.holds, flush=True)
time.sleep(600)
"""


@pytest.fixture
def disk(fleet, state):
    """A small disk below the fleet's folder, with the state of that name on it."""
    with small_disk(fleet.folder / state, "6m") as small:
        yield small


def test_who_follows_takes_over_once_there_is_room(fleet, state, disk):
    """The holder dies while the disk is full: whoever follows goes on trying, and then receives."""
    argv = [sys.executable, "-c", HOLDER, str(fleet.config), str(disk.path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=fleet.environ) as holder:
        try:
            assert holder.stdout.readline() == "True\n"
            with fleet.client(state=state, session="heir") as follower:
                assert not follower.session.holds
                disk.fill()
                holder.kill()
                holder.wait()
                tried = wait_until(lambda: follower.session.holds, 3)
                assert not tried  # what nobody listens for is held by nobody
                disk.empty()
                assert wait_until(lambda: follower.session.holds, 60)
                replies = follower.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=90)
                assert replies.stats["ok"] == len(NAMES)
        finally:
            holder.kill()


def test_a_session_that_is_closed_on_a_full_disk_is_free(fleet, state, disk):
    """Another one of the same process has it, as in a notebook whose disk ran full."""
    client = fleet.client(state=state, session="friday")
    disk.fill()
    client.close()
    disk.empty()
    with fleet.client(state=state, session="friday") as again:
        assert again.session.holds


def test_a_client_that_found_no_room_holds_nothing(fleet, state, disk):
    """Wherever its opening fails for want of room, the same process, or another, opens it afterwards."""
    kept = []  # as a prompt keeps the last error, with all that its frames refer to
    with fleet.client(state=state, session="friday"):
        pass
    room = disk.path / "room"
    for size in range(0, 200_000, 20_000):
        room.write_bytes(bytes(size))
        disk.fill()
        room.unlink()
        try:
            fleet.client(state=state, session="friday").close()
        except StorageError as error:
            kept.append(error)
        disk.empty()
        with fleet.client(state=state, session="friday") as again:
            assert again.session.holds, size
    assert kept


def test_an_export_that_fails_leaves_nothing(fleet, state, disk):
    """It names the file that could not be written, and the same line works once there is room."""
    with fleet.client(state=f"{state}-b", session="friday") as client:
        client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    target = disk.path / "friday.mcs"
    disk.fill()
    with pytest.raises(
        MachineError, match=f"^{target} cannot be written: database or disk is full$"
    ):
        export_session(fleet.folder / f"{state}-b", "friday", target)
    disk.empty()
    assert not [*disk.path.iterdir()]
    assert export_session(fleet.folder / f"{state}-b", "friday", target).stat().st_size


def test_an_import_that_fails_leaves_no_half_of_a_session(fleet, state, disk):
    """What was not brought in whole is not there: its rows would say that nobody has answered."""
    with fleet.client(state=f"{state}-b", session="friday") as client:
        for _ in range(3):
            client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    path = export_session(fleet.folder / f"{state}-b", "friday", fleet.folder / f"{state}.mcs")
    trusted = load_verifier(config.load(fleet.config).pki)
    room = disk.path / "room"
    room.write_bytes(bytes(330_000))  # for the requests, and not for what came of them
    disk.fill()
    room.unlink()
    with pytest.raises(MachineError):
        import_session(disk.path, trusted, path, lambda *_: False)
    assert not [*disk.path.glob("sessions/*.sqlite")]
    disk.empty()
    report = import_session(disk.path, trusted, path, lambda *_: False)
    assert (report.requests, report.refused.total()) == (3, 0)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_sessions_are_listed_and_carried_off_a_bad_disk(fleet, state, disk, fault):
    """What is there is shown and exported elsewhere; what would be written is a fault of the machine."""
    environ = {"MCSHELL_STATE": str(disk.path)}
    with fleet.client(state=state, session="friday") as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    if fault == "full":
        disk.fill()
    else:
        disk.remount("ro")
    listed = fleet.cli("session", "list", "--json", **environ)
    assert '"friday"' in listed.stdout, listed.stderr
    copy = fleet.folder / f"{state}.mcs"
    assert fleet.cli("session", "export", "friday", str(copy), **environ).returncode == ExitCode.OK
    made = fleet.cli("session", "new", "monday", **environ)
    assert made.returncode == ExitCode.MACHINE, made.stderr
    trusted = load_verifier(config.load(fleet.config).pki)
    import_session(fleet.folder / f"{state}-b", trusted, copy, lambda *_: False)
    with fleet.client(state=f"{state}-b", session="friday") as there:
        assert there.replies(asked.requestid).stats["ok"] == len(NAMES)
    if fault == "full":  # and room is made by it
        assert fleet.cli("session", "drop", "friday", **environ).returncode == ExitCode.OK
    else:
        disk.remount("rw")


def test_a_session_that_found_no_room_is_not_there(fleet, disk):
    """Nothing of it is listed, and it is made once there is room."""
    environ = {"MCSHELL_STATE": str(disk.path)}
    assert fleet.cli("session", "new", "monday", **environ).returncode == ExitCode.OK
    disk.fill()
    made = fleet.cli("session", "new", "tuesday", **environ)
    assert made.returncode == ExitCode.MACHINE, made.stderr
    disk.empty()
    listed = fleet.cli("session", "list", "--json", **environ)
    assert [one["name"] for one in json.loads(listed.stdout)] == ["monday"]
    made = fleet.cli("session", "new", "tuesday", **environ)
    assert made.returncode == ExitCode.OK, made.stderr
