"""What not every user of a machine may know, no operator learns by a filter that is asked before policy."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from mcshell.message import State
from tests.peers.fleet import Fleet, Node

POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture
def place():
    """A folder that all may enter, with one in it that they may not, with a file."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        (top / "hid").mkdir(mode=0o700)
        (top / "hid" / "acme.db").write_text("secret")
        (top / "motd").write_text("hello")
        (top / "motd").chmod(0o644)
        yield top


def _fleet(embedded, tmp_path, more=""):
    return Fleet(
        embedded,
        tmp_path,
        {"web1": Node()},
        operators=("alice", "bob"),
        policies={"file": POLICY},
        more=more,
    )


def _matches(fleet, filter_):
    config = str(fleet.folder / "bob.toml")
    done = fleet.cli("find", "-S", filter_, "--no-known", "--json", MCSHELL_CONFIG=config)
    return [row["sender"] for row in json.loads(done.stdout or "[]")]


def test_a_filter_tells_nothing_of_hidden_files(embedded, tmp_path, place):
    """Present or not, size, digest: no question about a hidden name tells it from one that is not."""
    with _fleet(embedded, tmp_path) as fleet:
        fleet.start()
        told = {
            f"fstat('{place}/hid/{name}').{test}": []
            for test in ("present=true", "present=false", "size=6", "md5=~/./", "type=unknown")
            for name in ("acme.db", "nothing")
        }
        told[f"fstat('{place}/motd').size=5"] = ["web1"]
        told[f"fstat('{place}/none').present=false"] = ["web1"]
        with ThreadPoolExecutor(4) as at_once:  # each waits for those who do not match
            found = at_once.map(partial(_matches, fleet), told)
            assert dict(zip(told, found, strict=True)) == told


def test_where_it_is_configured_all_is_told(embedded, tmp_path, place):
    """With tell_files = "all" filters and the file agent tell it, also in a shim."""
    more = f'tell_files = "all"\n[agents.file]\nroots = ["{place}"]\n'
    with _fleet(embedded, tmp_path, more) as fleet:
        fleet.start()
        path = str(place / "hid" / "acme.db")
        assert _matches(fleet, f"fstat('{path}').size=6") == ["web1"]
        with fleet.client() as alice:
            for via in ("direct", "queue"):
                (row,) = alice.rpc("file", "read", path=path, nodes=["web1"], via=via).rows()
                assert (row.state, row.data["content"]) == (State.OK, "secret")


def test_the_file_agent_tells_what_all_may_know(embedded, tmp_path, place):
    """Without it the agent says so, in the daemon and in a shim, whoever asks."""
    more = f'[agents.file]\nroots = ["{place}"]\n'
    with _fleet(embedded, tmp_path, more) as fleet:
        fleet.start()
        with fleet.client() as alice:
            for via in ("direct", "queue"):
                for name in ("acme.db", "nothing"):
                    path = str(place / "hid" / name)
                    (row,) = alice.rpc("file", "stat", path=path, nodes=["web1"], via=via).rows()
                    assert row.state is State.FAILED
                    assert row.statusmsg == f"{path}: not readable by all: not told"
                path = str(place / "motd")
                (row,) = alice.rpc("file", "read", path=path, nodes=["web1"], via=via).rows()
                assert row.data["content"] == "hello"
