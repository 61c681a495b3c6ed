"""Who may move what waits in a broker: an operator who is named, until the rights are written again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.peers.brokers import greet
from tests.peers.processes import Child, free_ports, wait_until
from tests.rights.test_rights import read, refused, take_over, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(600)

MOVER = "alice.smith"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The URL of a broker without rights, to which things are moved."""
    port = free_ports(1)[0]
    argv = [sys.executable, "-m", "mcshell.broker", "--listen", f"127.0.0.1:{port}"]
    child = Child([*argv, "--data", str(tmp_path / "lab")], tmp_path / "lab.log")
    try:
        assert wait_until(lambda: greet("127.0.0.1", port, "", "") == "CONNECTED", 30)
        yield f"stomp://127.0.0.1:{port}"
    finally:
        child.stop()


def _move(
    guarded: Guarded, to: str, queues: list[str]
) -> tuple[int, dict[str, dict[str, object]], str]:
    place = guarded.fleet.broker.url
    words = ["--from", place, "--to", to, "--json"]
    listing = ""
    if guarded.kind == "rabbitmq":
        words += ["--queues", "-"]
        every = guarded.broker.command("ctl", "-q", "list_queues", "name", "messages").splitlines()
        # what other tests here have left costs minutes
        listing = "".join(f"{line}\n" for line in every if line.split("\t")[0] in queues)
    config = str(guarded.folder / f"{MOVER}.toml")
    done = guarded.fleet.cli(
        "broker", "move", *words, stdin=listing, timeout=200, MCSHELL_CONFIG=config
    )
    rows = json.loads(done.stdout) if done.returncode in (0, 2) else []
    return done.returncode, {row["queue"]: row for row in rows}, done.stderr


def test_who_is_named_may_move_all_and_only_until_it_is_written_again(
    guarded: Guarded, lab: str
) -> None:
    """Another's work, pool requests and replies: all with the right to, and nothing without."""
    c = guarded.fleet.collective
    theirs = [f"mcs.{c}.{rest}" for rest in ("work.off", "pool.sms", "reply.cert~3dalice.moving")]
    with guarded.enter("alice") as alice:
        read(alice, f"/queue/{theirs[2]}")  # where replies go by topic, this makes their queue
        for queue in theirs[:2]:
            write(alice, f"/queue/{queue}")
    with guarded.enter("db1") as db1:
        write(db1, f"/queue/{theirs[2]}")
    code, rows, said = _move(guarded, lab, theirs)
    assert code == 2 or "not authorized" in said.lower(), said
    assert not any(row["taken"] for name, row in rows.items() if name in theirs), rows
    guarded.configure("--mover", MOVER)
    take_over(guarded)
    code, rows, said = _move(guarded, lab, theirs)
    assert code == 0, (rows, said)
    assert {name: row["taken"] for name, row in rows.items() if name in theirs} == dict.fromkeys(
        theirs, 1
    )
    guarded.configure()
    take_over(guarded)
    with guarded.enter(MOVER) as mover:
        existing = mover.dialect.existing(f"/queue/{theirs[0]}")
        assert refused(lambda: read(mover, existing))
    with guarded.enter("web1") as web1:  # nothing was made that shuts others out
        read(web1, f"/queue/mcs.{c}.work.web1")
        write(web1, f"/queue/{theirs[2]}")
