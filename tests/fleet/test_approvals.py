"""Operators propose, approve and have it done, over a broker, on real nodes."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.client.discovery.targeting import targeting_of
from mcshell.errors import UsageError
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until
from tests.peers.workbench import AGENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Row
    from tests.peers.brokers import Broker

APPROVALS = "*\tonce\t2\tapprovers\nbreak-glass\tcert=carol\tonce\n"
GROUPS = "approvers cert=bob cert=carol cert=dave\n"
POLICY = "policy default deny\nallow\t*\t*\t*\t*\n"
PLAN = """\
plan: marks
steps:
  - step: one
    ask: mark.once
    inputs: {{file: {file}, text: plan}}
    nodes: [web1, web2]
"""


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes, and four operators of whom two have to approve."""
    folder = tmp_path_factory.mktemp("approvals")
    with Fleet(
        embedded,
        folder,
        {"web1": Node(facts={"role": "web"}), "web2": Node(facts={"role": "web"})},
        policies={"default": POLICY},
        operators=("alice", "bob", "carol", "mallory"),
        more=f'agents = ["{AGENTS}"]\n',
    ) as one:
        (folder / "policies" / "mark.approvals").write_text(APPROVALS)
        (folder / "policies" / "groups").write_text(GROUPS)
        for name in ("alice", "bob", "carol", "mallory"):
            with (folder / f"{name}.toml").open("a") as file:
                file.write(f'[node]\nagents = ["{AGENTS}"]\n')
        one.start()
        yield one


def lines(file: Path) -> list[str]:
    """What was marked."""
    return sorted(file.read_text().splitlines()) if file.exists() else []


def approved(fleet: Fleet, file: Path, text: str) -> str:
    """Alice proposes to mark a file on both nodes; bob and carol approve it."""
    with fleet.client(state="state-alice") as alice:
        status = alice.approvals.propose(
            *("mark", "once"), where="role=web", inputs={"file": str(file), "text": text}
        )
        assert status.replies is not None
        assert status.replies.stats["ok"] == 2, status.replies.ledger().to_dict()
    for name in ("bob", "carol"):
        with fleet.client(name, state=f"state-{name}") as one:
            said = one.approvals.approve(status.digest[:8])
            assert said.replies is not None
            assert said.replies.stats["ok"] == 2, said.replies.ledger().to_dict()
    return status.digest


@pytest.mark.parametrize("via", [None, "queue"])
def test_a_request_begins_when_two_have_approved_it(
    fleet: Fleet, tmp_path: Path, via: str | None
) -> None:
    """Once on each node; before, and a second time, it is denied with the reason."""
    file = tmp_path / "marks"
    asked = {"nodes": ["web1", "web2"], "via": via, "file": str(file), "text": "t", "timeout": 60}
    with fleet.client(state="state-alice") as alice:
        before = alice.rpc("mark", "once", **asked).wait(60)
        assert before.stats["denied"] == 2
        approved(fleet, file, "t")
        done = alice.rpc("mark", "once", **asked).wait(60)
        assert done.stats["ok"] == 2, done.ledger().to_dict()
        again = alice.rpc("mark", "once", **asked).wait(60)
        assert again.stats["denied"] == 2
        reasons = [one.reply.statusmsg for one in again.entries() if one.reply is not None]
    assert all("has used it" in one for one in reasons), reasons
    assert len(lines(file)) == 2


def test_a_job_and_a_plan_begin_so(fleet: Fleet, tmp_path: Path) -> None:
    """The job's approvals come after it was handed in, and before its time."""
    file = tmp_path / "marks"
    with fleet.client(state="state-alice") as alice:
        job = alice.jobs.submit(
            "mark", "once", nodes=["web1", "web2"], at="+1h", file=str(file), text="job"
        )
        assert job.wait_accepted(60)
        approved(fleet, file, "job")
        assert alice.jobs.edit(job, at="+0s").wait(60).stats["ok"] == 2
        assert job.wait(90).stats["ok"] == 2, job.ledger().to_dict()
    approved(fleet, file, "plan")
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN.format(file=file))
    done = fleet.cli("plan", "run", str(path), "--json", "-y", MCSHELL_STATE="state-plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in lines(file)].count("plan") == 2
    assert len(lines(file)) == 4


def test_what_a_proposal_is_not_good_for(fleet: Fleet, tmp_path: Path) -> None:
    """One's own approval, another's run, a broadcast; the glass is broken by who is named."""
    file = tmp_path / "marks"
    digest = approved(fleet, file, "x")
    with fleet.client("mallory", state="state-mallory") as mallory:
        with pytest.raises(UsageError, match="it is cert=alice's proposal"):
            mallory.approvals.run(digest)
        hers = mallory.rpc("mark", "once", nodes=["web1"], file=str(file), text="x").wait(60)
        assert hers.stats["denied"] == 1
    with fleet.client(state="state-alice") as alice:
        with pytest.raises(UsageError, match="it is your own proposal"):
            alice.approvals.approve(digest)
        with pytest.raises(UsageError, match="the first digits"):
            alice.approvals.show("xyz")
        with pytest.raises(UsageError, match="no node that answers has a proposal"):
            alice.approvals.show("0" * 12)
        wide = alice.rpc("mark", "once", via="broadcast", file=str(file), text="x").wait(60)
        assert wide.stats["denied"] == 2
        found = alice.approvals.list().set_index("proposal").loc[digest]
        assert (found.author, list(found.approved)) == ("cert=alice", ["cert=bob", "cert=carol"])
        assert alice.approvals.run(digest).wait(60).stats["ok"] == 2
    assert len(lines(file)) == 2


def test_the_lines(fleet: Fleet, tmp_path: Path) -> None:
    """`propose`, `proposals`, `approve` and `proposal run` at a shell; glass is broken by a reason."""
    file = tmp_path / "marks"

    def typed(*words: str, by: str = "alice", code: int = 0) -> str:
        config = str(fleet.folder / f"{by}.toml")
        state = str(fleet.folder / f"state-cli-{by}")
        done = fleet.cli(*words, MCSHELL_CONFIG=config, MCSHELL_STATE=state)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    inputs = (f"file={file}", "text=cli")
    why = "the disk; approved so far by: cert=carol"
    told = typed("propose", "mark", "once", *inputs, "-F", "role=web", "--why", why, "--json")
    digest = json.loads(told[: told.rindex("]") + 1])[0]["proposal"]
    asked = typed("approve", digest[:10], by="bob", code=64)
    for word in (
        "cert=alice proposes mark once",
        f'"{why}"; approved so far by: nobody',
        "web[1-2]",
        "say --yes",
    ):
        assert word in asked
    for name in ("bob", "carol"):
        typed("approve", digest[:10], "--yes", by=name)
    assert "cert=bob, cert=carol" in typed("proposals")
    typed("proposal", "run", digest[:10], "--yes")
    assert len(lines(file)) == 2
    words = ("rpc", "mark", "once", *inputs, "-I", "web1", "--yes", "--via", "direct")
    assert "2 approvals wanted" in typed(*words, by="carol", code=2)
    typed(*words, "--break-glass", "the pager", by="carol")
    assert len(lines(file)) == 3
    (event,) = [one for one in fleet.audit("web1") if one["event"] == "break_glass"]
    assert (event["caller"], event["reason"]) == ("cert=carol", "the pager")
    with fleet.client(state="state-alice") as alice:

        def told_flaws() -> str:
            found = alice.find(targeting_of(where="role=web", fresh=True)).answers.get("web1")
            return "" if found is None else str(found.node.flaws)

        assert wait_until(lambda: "cert=carol mark.once: the pager" in told_flaws(), 60)


@pytest.mark.parametrize("via", ["direct", "queue"])
def test_inputs_that_are_bytes(fleet: Fleet, via: str) -> None:
    """They are shown as such to who approves, and compared as all others are: before denied, then done."""
    (fleet.folder / "policies" / "echo.approvals").write_text("*\tsay\t1\tcert=bob\n")
    asked = {"nodes": ["web1"], "inputs": {"value": {"part": b"\xff\0", "of": [via.encode()]}}}
    by_bob = {
        "MCSHELL_CONFIG": str(fleet.folder / "bob.toml"),
        "MCSHELL_STATE": str(fleet.folder / "state-cli-bob"),
    }

    def tried(alice: Client) -> Row:
        (row,) = alice.rpc("echo", "say", via=via, timeout=60, **asked).wait(60).rows()
        return row

    with fleet.client(state="state-alice") as alice:
        assert wait_until(lambda: "approval wanted" in tried(alice).statusmsg, 30)
        digest = alice.approvals.propose("echo", "say", **asked).digest
        assert (before := tried(alice)).state == "denied", before
        assert ": 0 of 1" in before.statusmsg
        shown = fleet.cli("approve", digest[:12], **by_bob)
        assert 'value={"of": [{"$base64": ' in shown.stderr, shown
        assert fleet.cli("approve", digest[:12], "--yes", **by_bob).returncode == 0
        assert (done := tried(alice)).state == "ok", done
        assert done.data["value"] == asked["inputs"]["value"]
    (fleet.folder / "policies" / "echo.approvals").unlink()


def test_a_node_that_names_what_is_not_hides_nothing(fleet: Fleet, tmp_path: Path) -> None:
    """It is named and asked no more; what has ended is told, and is no fault of its node."""
    asked = {"inputs": {"file": str(tmp_path / "marks"), "text": "t"}}
    with fleet.client(state="state-alice") as alice:
        made = {
            name: alice.approvals.propose("mark", "once", nodes=[node], ttl=ttl, **asked).digest
            for name, node, ttl in (
                ("true", "web2", "1h"),
                ("false", "web1", "1h"),
                ("old", "web2", "3s"),
            )
        }
        ended = time.time() + 3
        (first,) = fleet.folder.rglob("state-web1/**/approvals.sqlite")
        (second,) = fleet.folder.rglob("state-web2/**/approvals.sqlite")
        with closing(sqlite3.connect(first)) as db, db:
            copied = "author,agent,action,expires,received,body,signature,certificate"
            db.executemany(
                f"INSERT INTO proposals SELECT ?,{copied} FROM proposals WHERE digest=?",
                [(f"{number:064x}", made["false"]) for number in range(300)],
            )
        with closing(sqlite3.connect(second)) as db, db:
            db.execute("UPDATE proposals SET expires=? WHERE digest=?", (2e9, made["old"]))
        assert wait_until(lambda: time.time() > ended, 10)
        found, left = alice.approvals.told(timeout=10)
    digests = [one.digest for one in found]
    assert made["true"] in digests
    assert not {made["false"], made["old"]} & {*digests}
    assert left[-1] == "web1 names proposals that it does not show"
    assert any(made["old"][:12] in one and "expired" in one for one in left), left
