"""Catalogs that go to five daemons' own puppet, and reports that come back; kills on the way."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import ConversationError
from mcshell.wire.conversation.whole_file import offer, parts
from tests.peers.processes import wait_until
from tests.puppet.conftest import NAMES, Puppets, catalog

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(600), pytest.mark.puppet]
WAIT = 60.0
RUN = "0" * 32


def greeting(fleet: Puppets, name: str = "hello", **more: Any) -> tuple[str, str, dict[str, Any]]:
    """A file that says hello."""
    return ("File", str(fleet.work / name), {"ensure": "file", "content": "hello\n", **more})


def test_five_nodes_twice(puppets: Puppets) -> None:
    """Each applies what was compiled for it, its report comes as puppet wrote it, and there is no more to do."""
    lines = "file { \"%s/${facts['clientcert']}\": content => \"${facts['kernel']}\\n\" }\n"
    site = puppets.source("site.pp", lines % puppets.work)
    rows = puppets.apply(site, "first", NAMES)
    assert list(rows.index) == NAMES
    assert set(rows.state) == {"ok"}, rows.to_string()
    assert set(rows.changed) == set(rows.out_of_sync) == {1}
    for name in NAMES:
        assert (puppets.work / name).read_text() == "Linux\n"
        report = puppets.folder / "first" / name / "report.yaml"
        assert report.read_bytes() == puppets.node_file(name, "report.yaml").read_bytes()
        assert b"\nstatus: changed\n" in report.read_bytes()
        assert rows.report[name] == str(report)
        assert wait_until(catalog_gone(puppets, name), WAIT)
        again = puppets.folder / "second" / name
        again.mkdir(parents=True)
        (again / "catalog.json").write_bytes((report.parent / "catalog.json").read_bytes())
    rows = puppets.apply(site, "second", NAMES)
    assert set(rows.state) == {"ok"}, rows.to_string()
    assert set(rows.changed) == set(rows.out_of_sync) == {0}


def catalog_gone(fleet: Puppets, name: str) -> Any:
    """Whether a node has taken the catalog away: secrets may be in it."""
    return lambda: not list(fleet.node_file(name, "").glob("*.catalog"))


def test_who_may_not_runs_nothing(puppets: Puppets) -> None:
    """A caller without the right is a row that says so, an audit line, and no file on the node."""
    source = puppets.source("denied.json", catalog(greeting(puppets, "denied")))
    rows = puppets.apply(source, "denied", ["n2"], who="bob")
    assert rows.state["n2"] == "denied"
    assert "denied by policy: converse.policy" in rows.statusmsg["n2"]
    last = puppets.talks("n2")[-1]
    assert (last["event"], last["action"], last["caller"]) == ("denied", "puppet", "cert=bob")
    rows = puppets.apply(source, "denied-too", ["n2"], who="carol")
    assert rows.state["n2"] == "denied", "who may only look may not apply"
    assert not (puppets.work / "denied").exists()


def test_who_is_not_there_is_silent(puppets: Puppets) -> None:
    """A node that does not answer is a row as any other, and a line that names nobody is refused."""
    source = puppets.source("silent.json", catalog(greeting(puppets, "silent")))
    line = puppets.line(source, "silent", "-I", "nobody", "-t", "1s")
    assert wait_until(lambda: not line.running, WAIT)
    assert line.process.returncode == 2
    assert "silent no answer from nobody within 1 s" in line.tail()
    line = puppets.line(source, "unnamed")
    assert wait_until(lambda: not line.running, WAIT)
    assert line.process.returncode == 64
    assert line.tail() == "-I or -S: say which nodes are to apply it"


def test_who_may_look_changes_nothing(puppets: Puppets) -> None:
    """With noop nothing is changed, also where a resource says that noop is not for it."""
    resources = [greeting(puppets, "looked"), greeting(puppets, "looked-too", noop=False)]
    source = puppets.source("looked.json", catalog(*resources))
    rows = puppets.apply(source, "looked", ["n3"], who="carol", noop=True)
    assert rows.state["n3"] == "ok", rows.to_string()
    assert (rows.changed["n3"], rows.out_of_sync["n3"]) == (0, 2)
    assert b"\nnoop: true\n" in (puppets.folder / "looked" / "n3" / "report.yaml").read_bytes()
    assert not (puppets.work / "looked").exists()
    assert not (puppets.work / "looked-too").exists()


def test_a_changed_byte_is_refused(puppets: Puppets) -> None:
    """A catalog that is not what was offered is not applied, and nothing of it is kept."""
    source = puppets.source("changed.json", catalog(greeting(puppets, "changed")))
    order = {"run": RUN, **offer(source).told()}
    source.write_text(source.read_text().replace("hello", "hallo"))
    with puppets.client(state="state-changed") as client:
        talk = client.open("n4", "puppet", order, timeout=WAIT)
        assert talk.receive(WAIT) == {"have": 0}
        talk.send({"part": source.read_bytes()})
        with pytest.raises(ConversationError, match=r"came, not .*: nothing of it is kept"):
            talk.receive(WAIT)
        assert talk.state == "failed"
    assert not list(puppets.node_file("n4", "").glob("*.part"))
    assert not (puppets.work / "changed").exists()


def test_what_no_order_is_is_refused(puppets: Puppets) -> None:
    """An order without a run, or of a catalog that is too large, and a catalog that is none, say why."""
    wrong = {
        "run is 32 hexadecimal digits": {"run": "../../x", "size": 1, "sha256": "0" * 64},
        "67108864 are taken": {"run": RUN, "size": 2**40, "sha256": "0" * 64},
        "sha256 is 64 digits": {"run": RUN, "size": 1, "sha256": "../../../etc/passwd"},
    }
    with puppets.client(state="state-wrong") as client:
        for words, order in wrong.items():
            with pytest.raises(ConversationError, match=words):
                client.open("n4", "puppet", order, timeout=WAIT).receive(WAIT)
    rows = puppets.apply(puppets.source("none.json", "[]"), "none", ["n4"], who="carol", noop=True)
    assert rows.state["n4"] == "failed"
    assert "not a catalog" in rows.statusmsg["n4"]


def large(fleet: Puppets, name: str) -> Path:
    """A catalog of more than 5 MB."""
    text = "".join(f"{number:08}\n" for number in range(600_000))
    return fleet.source(f"{name}.json", catalog(greeting(fleet, name, content=text)))


def test_five_megabytes_of_a_killed_server(puppets: Puppets) -> None:
    """What has come of a catalog when its server is killed is not sent again by the next run."""
    source = large(puppets, "server")
    size = source.stat().st_size
    part = puppets.node_file("n5", f"{offer(source).sha256}.part")
    server = puppets.line(source, "server", "-I", "n5")
    assert wait_until(lambda: part.exists() and part.stat().st_size > 0, WAIT, 0.005), server.tail()
    puppets.pause("n5")
    server.kill9()
    have = part.stat().st_size
    puppets.resume("n5")
    assert 0 < have < size
    rows = puppets.apply(source, "server", ["n5"])
    assert rows.state["n5"] == "ok", rows.to_string()
    assert (puppets.work / "server").stat().st_size > 5_000_000
    assert turns(puppets, "n5") <= len(list(parts(source, have))) + 3
    assert len(list(parts(source, 0))) > 40


def turns(fleet: Puppets, node: str) -> int:
    """How many turns a node got in the conversation that closed last."""

    def closed() -> list[dict[str, Any]]:
        return [one for one in fleet.talks(node) if one.get("state") == "closed"]

    before = fleet.talks(node)[-1]["requestid"]
    assert wait_until(lambda: any(one["requestid"] == before for one in closed()), WAIT)
    return int(closed()[-1]["turns"])


def test_five_megabytes_to_a_killed_node(puppets: Puppets) -> None:
    """What a node had of a catalog when it was killed is not sent again to its next daemon."""
    source = large(puppets, "node")
    with puppets.client(state="state-node") as client:
        talk = client.open("n4", "puppet", {"run": RUN, **offer(source).told()}, timeout=WAIT)
        assert talk.receive(WAIT) == {"have": 0}
        for _, one in zip(range(10), parts(source, 0), strict=False):
            talk.send({"part": one}, WAIT)
        part = puppets.node_file("n4", f"{offer(source).sha256}.part")
        assert wait_until(lambda: part.stat().st_size == 10 * 128 * 1024, WAIT)
        puppets.kill9("n4")
        puppets.start("n4")
    rows = puppets.apply(source, "node", ["n4"])
    assert rows.state["n4"] == "ok", rows.to_string()
    assert turns(puppets, "n4") == len(list(parts(source, 10 * 128 * 1024))) + 3


def waiting(fleet: Puppets, name: str) -> Path:
    """A catalog that leaves a mark, and ends when there is a file to end it."""
    mark, go = fleet.work / f"{name}.mark", fleet.work / f"{name}.go"
    script = f"echo begun >> {mark}; while [ ! -e {go} ]; do sleep 0.1; done"
    order = {"command": ["/bin/sh", "-c", script], "timeout": 0}
    return fleet.source(f"{name}.json", catalog(("Exec", name, order)))


def marks(fleet: Puppets, name: str) -> int:
    """How often it was begun."""
    path = fleet.work / f"{name}.mark"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_both_ends_die_and_puppet_goes_on(puppets: Puppets) -> None:
    """Server and daemon are killed while puppet runs: it goes on, once, and the next run has its report."""
    source = waiting(puppets, "alive")
    server = puppets.line(source, "alive", "-I", "n1")
    assert wait_until(lambda: marks(puppets, "alive") == 1, WAIT), server.tail()
    server.kill9()
    daemon = puppets.nodes.pop("n1")
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait(WAIT)
    puppets.start("n1")
    other = puppets.source("other.json", catalog(greeting(puppets, "other")))
    rows = puppets.apply(other, "other", ["n1"])
    assert (rows.state["n1"], rows.statusmsg["n1"][-38:]) == (
        "failed",
        "failed: a run of cert=alice is under way"[-38:],
    )
    (puppets.work / "alive.go").touch()
    rows = puppets.apply(source, "alive", ["n1"])
    assert (rows.state["n1"], rows.changed["n1"], rows.cut["n1"]) == ("ok", 1, 0), rows.to_string()
    assert marks(puppets, "alive") == 1


@pytest.mark.soak  # its time is puppet's
def test_a_run_that_was_cut_begins_again(puppets: Puppets) -> None:
    """Daemon and puppet are killed: the row says interrupted, the next run that it was cut, and does it."""
    source = waiting(puppets, "cut")
    server = puppets.line(source, "cut", "-I", "n2")
    assert wait_until(lambda: marks(puppets, "cut") == 1, WAIT), server.tail()
    puppets.kill9("n2")
    puppets.start("n2")
    assert wait_until(lambda: not server.running, WAIT), server.tail()
    assert server.process.returncode == 2
    assert "interrupted" in server.tail()
    (puppets.work / "cut.go").touch()
    rows = puppets.apply(source, "cut", ["n2"])
    assert (rows.state["n2"], rows.changed["n2"], rows.cut["n2"]) == ("ok", 1, 1), rows.to_string()
    assert marks(puppets, "cut") == 2


def test_a_resource_that_fails_is_a_row(puppets: Puppets) -> None:
    """What puppet could not do is counted, and the report comes all the same."""
    wrong = ("File", str(puppets.work / "no" / "folder"), {"ensure": "file", "content": "x"})
    rows = puppets.apply(puppets.source("wrong.json", catalog(wrong)), "wrong", ["n3"])
    assert (rows.state["n3"], rows.failed["n3"]) == ("failed", 1), rows.to_string()
    assert rows.statusmsg["n3"] == "1 resources failed"
    assert (
        b"No such file or directory"
        in (puppets.folder / "wrong" / "n3" / "report.yaml").read_bytes()
    )


@pytest.mark.soak  # its time is puppet's
@pytest.mark.rabbitmq
def test_on_rabbitmq(rabbitmq, tmp_path: Path) -> None:
    """The same over RabbitMQ: a catalog of 5 MB to one node, and its report back."""
    with Puppets(rabbitmq, tmp_path, ["n1"]) as fleet:
        fleet.start()
        rows = fleet.apply(large(fleet, "large"), "large", ["n1"])
        assert rows.state["n1"] == "ok", rows.to_string()
        mine, its = tmp_path / "large" / "n1" / "report.yaml", fleet.node_file("n1", "report.yaml")
        assert mine.read_bytes() == its.read_bytes()
