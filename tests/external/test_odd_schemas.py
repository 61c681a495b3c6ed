"""Schemas of which a part, or all, cannot be used: each costs itself, on nodes and for operators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)

PROGRAM = """#!/bin/sh
case "$3" in
*activation_request) echo '{"activate": true}' >"$2"; exit 0 ;;
esac
action=$(sed 's/.*"action": "\\([^"]*\\)".*/\\1/' "$1")
echo "{\\"statuscode\\": 0, \\"statusmsg\\": \\"\\", \\"data\\": {\\"ran\\": \\"$action\\"}}" >"$2"
"""
METADATA = {
    "name": "unit",
    "description": "Looks at a unit",
    "author": "the tests",
    "license": "Apache-2.0",
    "version": "2.1.0",
    "url": "urn:mcshell:tests",
    "timeout": 10,
    "provider": "external",
}
OUTPUT = {"ran": {"description": "What ran", "display_as": "Ran", "type": "string"}}
UNIT = {
    "metadata": METADATA,
    "actions": [
        {
            "action": "status",
            "description": "Its state",
            "input": {
                "unit": {
                    "prompt": "Unit",
                    "description": "Which",
                    "type": "string",
                    "validation": "unit_name",
                    "maxlength": "90",
                    "optional": False,
                }
            },
            "output": OUTPUT,
            "aggregate": [{"function": "unit_states", "args": ["ran"]}],
        },
        {"action": "reload", "description": "Reads again", "input": {}, "output": OUTPUT},
    ],
}
TIMER = """metadata :name => "A timer", :description => "Timers", :author => "a", :license => "l",
         :version => "1.0", :url => "u", :timeout => 10

%w[list next-start].each do |act|
  action act, :description => act.sub(/t$/, 'tt') + "ing" do
    if act == "next-start"
      input :within, :prompt => "p", :description => "d", :type => :integer, :optional => true,
            :default => 60 * 60
    end
    input :labels, :prompt => "p", :description => "d", :type => :hash, :optional => true
    output :ran, :description => "What ran", :display_as => "Ran"
    summarize { summary(:ran) } if respond_to?(:summarize)
  end
end

action "odd", :description => `uname` do
end
"""
BAD = {
    "cut.json": '{"metadata": {"name": "cut"',
    "plain.json": '["no", "DDL"]',
    "torn.ddl": "metadata :name => 'torn\n",
    "bytes.json": b"\xff\xfe{}",
}


def agents(folder: Path) -> Path:
    """Two agents with odd schemas, and schemas that are none."""
    folder.mkdir()
    for name in ("unit", "timer"):
        (folder / name).write_text(PROGRAM)
        (folder / name).chmod(0o755)
    (folder / "unit.json").write_text(json.dumps(UNIT))
    (folder / "timer.ddl").write_text(TIMER)
    for name, content in BAD.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "cut").write_text(PROGRAM)
    (folder / "cut").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node that refuses what it cannot check, and one that is told to take it."""
    folder = tmp_path_factory.mktemp("odd-schemas")
    more = f"agents = {json.dumps([str(agents(folder / 'agents'))])}\n"
    with Fleet(embedded, folder, {"web1": Node(), "web2": Node()}, more=more) as fleet:
        with (folder / "web2.toml").open("a") as file:
            file.write('unknown_validators = "warn"\n')
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{more}")
        fleet.start()
        with fleet.client() as client:

            def all_known() -> bool:
                rows = client.rpc("rpcutil", "agent_inventory").rows()
                has = [{one["name"] for one in row.data["agents"]} for row in rows]
                return len(has) == 2 and all({"unit", "timer"} <= one for one in has)

            assert wait_until(all_known, 60)
        yield fleet


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """Its operator."""
    with fleet.client() as client:
        yield client


def test_what_cannot_be_checked_is_refused_where_it_is_served(client: Client) -> None:
    """The client lets it pass; the node refuses the input, unless it is told to take it."""
    rows = {row.sender: row for row in client.rpc("unit", "status", unit="nginx").rows()}
    assert (rows["web1"].state, rows["web1"].statuscode) == (State.FAILED, 4)
    assert "validator unit_name is not here" in rows["web1"].statusmsg
    assert (rows["web2"].state, rows["web2"].data["ran"]) == (State.OK, "status")
    for row in client.rpc("unit", "reload").rows():
        assert (row.state, row.data["ran"]) == (State.OK, "reload")


def test_ruby_that_is_read(client: Client) -> None:
    """An `if`, a regex, a product, a hyphen, a hash: the agent with such a .ddl is asked."""
    rows = client.rpc("timer", "next-start", labels={"a": 1}).rows()
    assert [(row.state, row.data["ran"]) for row in rows] == [(State.OK, "next-start")] * 2
    schema = client.ddls.get("timer")
    assert list(schema.actions) == ["list", "next-start"]
    assert schema.action("next-start").description == "next-startting"
    assert list(schema.action("list").inputs) == ["labels"]


def test_a_line_gives_a_summary_that_is_not_here(fleet: Fleet) -> None:
    """An aggregate that nobody has costs the summary, never the rows."""
    done = fleet.cli("rpc", "unit", "status", "unit=a", "-I", "web2")
    assert done.returncode == 0, done.stderr
    assert "status" in done.stdout
    assert "unit_states" in done.stderr


def test_agents_doc_and_doctor_say_so(fleet: Fleet) -> None:
    """Each bad schema is a row of `agents` and one of `doctor`; the others are all there."""
    done = fleet.cli("agents", "--json")
    assert done.returncode == 0
    rows = {row["agent"]: row for row in json.loads(done.stdout)}
    assert {"package", "service", "rpcutil", "unit", "timer"} < rows.keys()
    for name in (path.partition(".")[0] for path in BAD):
        assert rows[name]["actions"] == []
        assert rows[name]["description"].startswith("cannot be read: ")
    assert rows["unit"]["actions"] == ["status", "reload"]
    shown = fleet.cli("doc", "unit")
    assert "validator unit_name is not here" in shown.stdout + shown.stderr
    asked = fleet.cli("doc", "cut")
    assert (asked.returncode, "is no JSON" in asked.stderr) == (64, True)
    found = {row["check"]: row for row in json.loads(fleet.cli("doctor", "--json").stdout)}
    assert found["agent package"]["state"] == "ok"
    assert "unit_name" in found["agent unit"]["detail"]
    assert "at line" in found["agent timer"]["detail"]
    assert "is no JSON" in found["agent cut"]["detail"]
    assert "no metadata" in found["schema torn"]["detail"]


def test_the_others_are_exported(fleet: Fleet) -> None:
    """`ddl export` writes all that have a form there; each that has none is a row with the reason."""
    done = fleet.cli("ddl", "export", "out", "--json")
    assert done.returncode == 2
    rows = {row["agent"]: row for row in json.loads(done.stdout)}
    bad = {path.partition(".")[0] for path in BAD}
    assert {name for name, row in rows.items() if row["reason"]} == bad
    folder = fleet.folder / "out" / "mcollective" / "agent"
    written = {path.stem for path in folder.glob("*.ddl")}
    assert written == rows.keys() - bad
    assert {"package", "unit", "timer"} < written


def test_the_node_names_it_from_afar(fleet: Fleet) -> None:
    """What a node cannot use of its schemas is in its log, and in `explain`."""
    done = fleet.cli("explain", "web1", "--json")
    told = " ".join(str(row["evidence"]) for row in json.loads(done.stdout))
    for part in ("agent unit: action status, input unit: validator unit_name", "agent cut"):
        assert part in told
        assert part in fleet.nodes["web1"].tail(200)
