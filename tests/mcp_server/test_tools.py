"""What an assistant can do, tool by tool, over a real server and real daemons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.mcp.tools import TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mcp_server.conftest import Assistant, Desk

pytestmark = pytest.mark.timeout(300)
READING = set(TOOLS) - {"propose"}


def test_the_tools_say_what_they_are(desk: Desk) -> None:
    """All but `propose` are marked as reading, none as destructive; each has schemas for both ways."""

    async def story(one: Assistant) -> None:
        listed = (await one.client.list_tools()).tools
        assert {tool.name for tool in listed} == set(TOOLS)
        for tool in listed:
            hints = tool.annotations
            assert hints is not None
            assert (hints.read_only_hint, hints.destructive_hint) == (tool.name in READING, False)
            assert tool.input_schema["additionalProperties"] is False
            assert tool.output_schema is not None
        assert not {"approve", "run", "exec", "policy"} & set(TOOLS)

    desk.run(story)


def test_it_finds_reads_and_explains(desk: Desk) -> None:
    """Discovery, facts, inventory, documentation and explanation are of the fleet as it is."""

    async def story(one: Assistant) -> None:
        found = await one.ask("discover", where="role=web")
        assert [node["sender"] for node in found["nodes"]] == ["web1", "web2", "web3"]
        assert all(node["answered"] for node in found["nodes"])
        found = await one.ask("discover", where="role=web", limit=2)
        assert (found["total"], found["next_offset"], len(found["nodes"])) == (3, 2, 2)
        assert "offset=2" in found["cut"]
        found = await one.ask("facts", fact="role")
        assert [(row["says"], row["count"], row["nodes"]) for row in found["values"]] == [
            ("web", 3, "web[1-3]")
        ]
        found = await one.ask("inventory", nodes=["web1"])
        (row,) = found["rows"]
        assert row["says"]["data"]["facts"]["number"] == 1
        agents = {row["agent"]: row for row in (await one.ask("doc"))["agents"]}
        assert "status" in agents["service"]["reads"]
        assert "restart" in agents["service"]["changes"]
        assert not {"approval", "job", "inventory"} & set(agents)
        (action,) = (await one.ask("doc", agent="service", action="restart"))["actions"]
        assert action["tool"] == "propose"
        assert [given["name"] for given in action["inputs"]] == ["name"]
        found = await one.ask("explain", node="web9")
        assert found["causes"][0]["cause"] == "never seen"

    desk.run(story)


def test_it_calls_what_changes_nothing_and_asks_sql(desk: Desk) -> None:
    """The request is in the session with its origin, its rows are in `replies` and in tables of SQL."""

    async def story(one: Assistant) -> None:
        asked = await one.ask(
            "call", agent="echo", action="say", inputs={"text": "hello", "value": {"a": [1]}}
        )
        assert (asked["complete"], asked["states"]) == (True, {"ok": 3})
        assert asked["meanings"]["ok"].startswith("done")
        assert {row["says"]["data"]["text"] for row in asked["rows"]} == {"hello"}
        again = await one.ask("replies", request=asked["request"][:8], states=["ok"], limit=1)
        assert (again["total"], len(again["rows"]), again["next_offset"]) == (3, 1, 1)
        again = await one.ask("replies", request="echo.say", senders=["web2"])
        assert [row["sender"] for row in again["rows"]] == ["web2"]
        query = "SELECT text, count(*) AS many FROM echo_say GROUP BY 1"
        found = await one.ask("sql", query=query)
        assert found["columns"] == ["text", "many"]
        assert {"says": {"text": "hello", "many": 3}} in found["rows"]

    desk.run(story, name="Tester\x1b[2J\n\u202e" + "x" * 200)
    with desk.fleet.client(state="state-mcp-alice", session="assistant") as client:
        (record, _counts), *_ = client.requests()[::-1]
        origin = record.options["origin"]
    assert origin.startswith("mcp: Tester")
    assert origin.isprintable()
    assert len(origin) < 200
    book = desk.fleet.folder / "assistant.ipynb"
    state = str(desk.fleet.folder / "state-mcp-alice")
    words = ("notebook", "assistant", "-o", str(book))
    done = desk.fleet.cli(*words, MCSHELL_STATE=state)
    assert done.returncode == 0, done.stderr
    assert "from mcp&#58; Tester" in book.read_text()


def test_a_client_of_the_older_protocol_has_the_same(desk: Desk) -> None:
    """With a handshake, and without tasks, a call that is not complete says how to go on."""

    async def story(one: Assistant) -> None:
        assert {tool.name for tool in (await one.client.list_tools()).tools} == set(TOOLS)
        asked = await one.ask("call", agent="rpcutil", action="ping", nodes=["web1"])
        assert asked["states"] == {"ok": 1}
        asked = await one.ask(
            "call", agent="rpcutil", action="ping", nodes=["web1", "absent"], wait=5, ttl="1h"
        )
        assert (asked["complete"], asked["states"]) == (False, {"ok": 1, "pending": 1})
        assert f"request={asked['request']}" in asked["cut"]

    desk.run(story, mode="legacy", tasks=False)


def test_what_changes_is_refused_and_can_be_proposed(desk: Desk, tmp_path: Path) -> None:
    """Proposed by the assistant, approved by two others at a shell, run by its author at a shell."""
    file = tmp_path / "marks"
    inputs = {"file": str(file), "text": "mcp"}

    async def story(one: Assistant) -> str:
        line = await one.refused("call", agent="mark", action="once", inputs=inputs)
        assert "has to be proposed" in line
        line = await one.refused(
            "call", agent="hostile", action="unsaid", inputs={"file": str(file)}
        )
        assert "does not say" in line
        said = await one.ask(
            "propose",
            agent="mark",
            action="once",
            inputs=inputs,
            nodes=["web1", "web2"],
            why="the disk is full",
        )
        assert {row["state"] for row in said["nodes"]} == {"ok"}
        (found,) = [
            row
            for row in (await one.ask("proposals"))["proposals"]
            if row["proposal"] == said["proposal"]
        ]
        assert (found["asks"], found["approved"], found["nodes"]) == ("mark.once", [], "web[1-2]")
        assert found["inputs"] == inputs
        assert found["why"] == "[an assistant's, by mcp] the disk is full"
        digest: str = said["proposal"]
        assert f"mcshell approve {digest[:12]}" in said["next"]
        return digest

    digest = desk.run(story)
    assert not file.exists()

    def typed(*words: str, by: str, code: int = 0) -> None:
        config = str(desk.fleet.folder / f"{by}.toml")
        state = str(desk.fleet.folder / f"state-shell-{by}")
        done = desk.fleet.cli(*words, MCSHELL_CONFIG=config, MCSHELL_STATE=state)
        assert done.returncode == code, done.stdout + done.stderr

    typed("approve", digest[:12], "--yes", by="bob")
    typed("approve", digest[:12], "--yes", by="carol")
    typed("proposal", "run", digest[:12], "--yes", "-t", "60", by="alice")
    assert len(file.read_text().splitlines()) == 2


ONCE = {"agent": "mark", "action": "once", "inputs": {"file": "x"}}
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "discover: where: 7 is not of type 'string'": ("discover", {"where": 7}),
    "discover: limit: 0 is less than": ("discover", {"limit": 0}),
    "Additional properties are not allowed ('nods'": ("discover", {"nods": []}),
    "expected": ("discover", {"where": "((("}),
    "facts: 'fact' is a required property": ("facts", {}),
    "no agent 'nobody'": ("doc", {"agent": "nobody"}),
    "does not match": ("doc", {"agent": "../../etc/passwd"}),
    "agent service has no action": ("doc", {"agent": "service", "action": "fly"}),
    "explain: 'node' is a required property": ("explain", {}),
    "no request 'ffffffff'": ("replies", {"request": "ffffffff"}),
    "replies: wait: 1000000000": ("replies", {"wait": 1e9}),
    "replies: states: 0:": ("replies", {"states": ["happy"]}),
    "inventory: nodes: [] should be non-empty": ("inventory", {"nodes": []}),
    "sql: 'query' is a required property": ("sql", {}),
    "syntax error": ("sql", {"query": "SELEC 1"}),
    "has no input 'nam'": ("call", {"agent": "service", "action": "status", "inputs": {"nam": 1}}),
    "needs the input name": ("call", {"agent": "service", "action": "status"}),
    "call: inputs: 'x' is not of type 'object'": (
        "call",
        {"agent": "a", "action": "b", "inputs": "x"},
    ),
    "above 0": ("call", {"agent": "rpcutil", "action": "ping", "ttl": "999d", "nodes": ["web1"]}),
    "'approval' is mcshell's own": ("call", {"agent": "approval", "action": "approve"}),
    "'job' is mcshell's own": ("propose", {"agent": "job", "action": "submit", "why": "x"}),
    "propose: 'why' is a required property": ("propose", {"agent": "mark", "action": "once"}),
    "a ttl of 0 s: above 0": ("propose", {**ONCE, "why": "x", "ttl": "0"}),
    "a ttl of 3.456e+07 s: above 0": ("propose", {**ONCE, "why": "x", "ttl": "400d"}),
    "propose: why:": ("propose", {**ONCE, "why": "x" * 451}),
    "why: it is blank": ("propose", {**ONCE, "why": " \n"}),
    "over and over at 'web[1-90000]'": ("facts", {"fact": "a", "nodes": ["web[1-90000]"] * 1000}),
    "proposals: offset: -1 is less than": ("proposals", {"offset": -1}),
}


def test_bad_arguments_are_one_line(desk: Desk) -> None:
    """Each says which tool, which argument and what was meant; a reason's escapes fit; no tool is an error."""

    async def story(one: Assistant) -> None:
        for expected, (tool, arguments) in BAD.items():
            line = await one.refused(tool, **arguments)
            assert expected in line, (expected, line)
            assert len(line) < 600
        longest = await one.ask("propose", **ONCE, nodes=["web1"], why="\u202e" * 450)
        assert [row["state"] for row in longest["nodes"]] == ["ok"]
        with pytest.raises(Exception, match="no tool 'approve'"):
            await one.raw("approve", proposal="0" * 64)

    desk.run(story)


SQL = {
    "ATTACH '/etc/passwd' AS x": "only these can be asked",
    "ATTACH 'file:/tmp/mcp-new.db?mode=rwc' AS x": "only these can be asked",
    "DETACH file": "sql:",
    "PRAGMA writable_schema=1": "only these can be asked",
    "PRAGMA journal_mode=delete": "only these can be asked",
    "PRAGMA hard_heap_limit=1": "only these can be asked",
    "SELECT * FROM pragma_database_list": "only these can be asked",
    "SELECT load_extension('/tmp/x.so')": "not authorized",
    "INSERT INTO asked VALUES (1)": "sql:",
    "UPDATE targets SET state='ok'": "only these can be asked",
    "DELETE FROM targets": "only these can be asked",
    "DROP TABLE targets": "only these can be asked",
    "CREATE TEMP TABLE x AS SELECT 1": "only these can be asked",
    "VACUUM INTO '/tmp/mcp-copy.db'": "sql:",
    "SELECT 1; DROP TABLE targets": "one statement",
    "BEGIN": "only these can be asked",
    "SELECT zeroblob(1000000000)": "too big",
    "SELECT randomblob(1000000000)": "too big",
    "SELECT replace(printf('%1000000d', 1), ' ', printf('%1000d', 1))": "too big",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c": "longer",
    "SELECT instr(zeroblob(20000000), zeroblob(10000000) || x'01')": "longer",
    "SELECT " + ", ".join(["hex(zeroblob(30000000))"] * 20): "MiB of memory",
    "SELECT fts3_tokenizer('simple')": "not authorized",
    "SELECT * FROM known.nodes": "sql:",
    "SELECT readfile('/etc/passwd')": "no such function",
    "SELECT edit('x', 'sh')": "no such function",
    "EXPLAIN SELECT 1; ": "",
    "": "sql:",
}


def test_sql_reads_and_does_nothing_else(desk: Desk) -> None:
    """Files, settings, writes and extensions are refused; what has no end is ended; much is cut."""

    async def story(one: Assistant) -> None:
        await one.ask("call", agent="rpcutil", action="ping")
        for query, expected in SQL.items():
            for _ in range(5):  # on a busy machine the time may be over before the memory is
                found = await one.raw("sql", query=query)
                assert found.is_error == bool(expected), (query, found)
                text = found.content[0].text  # type: ignore[union-attr]
                if expected in text:
                    break
            assert expected in text, (query, text)
        endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) "
        found = await one.ask("sql", query=endless + "SELECT n FROM c", limit=1_000.0)
        assert len(found["rows"]) == 1_000
        assert "there are more than" in found["cut"]
        found = await one.ask("sql", query=endless + "SELECT hex(zeroblob(400000)) AS x FROM c")
        assert len(json.dumps(found)) < 500_000
        assert "there are more than" in found["cut"]

    desk.run(story)
