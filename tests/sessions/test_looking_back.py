"""Lines that only look back, where the broker is away or the disk takes nothing: they show what the file has."""

from __future__ import annotations

import json

import pytest

from mcshell.errors import ExitCode
from tests.peers.small_disk import small_disk

from .conftest import NAMES

AWAY = {"MCSHELL_BROKER_URLS": "stomp://127.0.0.1:9"}
LINES = (
    ("requests", "--session", "friday"),
    ("replies", "{}"),
    ("ledger", "{}", "--session", "friday"),
    ("fold", "state", "--session", "friday"),
    ("diff", "{}", "{}", "--session", "friday"),
)


def asked(fleet, state):
    """Ping all three nodes in a saved session; the request's id."""
    with fleet.client(state=state, session="friday") as client:
        return client.rpc("rpcutil", "ping", nodes=NAMES, timeout=60).requestid


def look(fleet, request, **environ):
    """What each line that looks back says, and on standard error; all of them end well."""
    told = []
    for words in LINES:
        done = fleet.cli(*(word.format(request) for word in words), "--json", **environ)
        assert done.returncode == ExitCode.OK, (words, done.stderr)
        told.append((json.loads(done.stdout), done.stderr))
    return told


def test_without_a_broker(fleet, state):
    """The file's rows come, and one line says why nothing newer does."""
    request = asked(fleet, state)
    environ = {"MCSHELL_STATE": str(fleet.folder / state)}
    there = look(fleet, request, **environ)
    away = look(fleet, request, **environ, **AWAY)
    assert [rows for rows, _ in away] == [rows for rows, _ in there]
    for _, said in away:
        (line,) = (one for one in said.splitlines() if "more may come" in one)
        assert "cannot connect to stomp://127.0.0.1:9" in line


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_on_a_disk_that_takes_nothing(fleet, state, fault):
    """What only reads shows what is there; one line says that nothing can be written."""
    with small_disk(fleet.folder / state, "6m") as disk:
        request = asked(fleet, state)
        environ = {"MCSHELL_STATE": str(disk.path)}
        there = look(fleet, request, **environ)
        if fault == "full":
            disk.fill()
        else:
            disk.remount("ro")
        bad = look(fleet, request, **environ)
        assert [rows for rows, _ in bad] == [rows for rows, _ in there]
        assert all(str(disk.path) in said for _, said in bad)
