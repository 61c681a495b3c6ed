"""The verbs of analysis on a real fleet: at the prompt, on the command line, in IPython."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mcshell.client import default as current
from mcshell.commands.output.summary import summary_lines
from mcshell.commands.run import run_words
from mcshell.errors import MCShellError, NoTargets, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.commands.context import Context
    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


def rows(context: Context, line: str) -> list[dict[str, Any]]:
    """The rows that a line gives."""
    _, result = run_words(line.split(), context)
    return result.records()


def ask(context: Context, line: str) -> str:
    """Ask, and return the request's id."""
    return run_words(line.split(), context)[1].requestid


def test_fold_outliers_and_summary_take_the_newest_or_a_named_request(context: Context) -> None:
    """Without `-r` it is the newest request; with it any, by its first letters."""
    role = ask(context, "rpc rpcutil get_fact fact=role")
    ask(context, "rpc rpcutil get_fact fact=rack")
    assert rows(context, "fold value.row") == [
        {"nodes": "web[1-2]", "count": 2, "state": "ok", "value.row": 4},
        {"nodes": "db1", "count": 1, "state": "ok", "value.row": 3},
    ]
    folded = rows(context, f"fold value -r {role[:12]}")
    assert [(row["nodes"], row["value"]) for row in folded] == [("web[1-2]", "web"), ("db1", "db")]
    (odd,) = rows(context, f"outliers -r {role[:12]}")
    assert (odd["sender"], odd["value"], odd["usual"]) == ("db1", "db", "web")
    found = {row["column"]: row for row in rows(context, f"summary -r {role[:12]}")}
    assert (found["value"]["usual"], found["value"]["distinct"]) == ("web", 2)
    assert found["state"]["answers"] == 3
    with pytest.raises(MCShellError, match="no column 'vlaue'"):
        rows(context, "fold vlaue")


def test_diff_finds_the_time_before(context: Context, tmp_path: Path) -> None:
    """What changed since the same was asked last: by itself, by ids, or by moments."""
    place = tmp_path / "release"
    client = context.client()

    def read(text: str) -> str:
        place.write_text(text)
        return client.rpc("exec", "run", argv=["cat", str(place)]).requestid

    first = read("12.1")
    between = time.time()
    second = read("12.2")
    ask(context, "rpc rpcutil get_fact fact=role")
    changed = rows(context, f"diff {first[:12]} {second[:12]} --column stdout")
    assert changed == [
        {"sender": n, "change": "changed", "column": "stdout", "before": "12.1", "after": "12.2"}
        for n in ("db1", "web1", "web2")
    ]
    ago = f"@{datetime.fromtimestamp(between, UTC).isoformat()}"
    assert rows(context, f"diff {ago} {second[:12]} --column stdout") == changed
    assert rows(context, f"diff {first[:12]} @now --column stdout") == changed
    read("12.2")
    assert rows(context, "diff --column stdout") == []
    assert rows(context, f"diff {ago} --column stdout") == changed
    assert rows(context, f"diff {ago} @now --column stdout") == changed
    for line, words in (
        ("diff @lunch", "@7d"),
        ("diff @9d", "was not asked so"),
        ("diff zzzz", "no request"),
    ):
        with pytest.raises(MCShellError, match=words):
            rows(context, line)


def test_sql_over_the_session(context: Context) -> None:
    """A query, quoted or in words; what is wrong with it is one line."""
    ask(context, "rpc rpcutil get_fact fact=role")
    newest = "(SELECT requestid FROM requests ORDER BY created DESC LIMIT 1)"
    query = (
        "SELECT data ->> '$.value' AS role, count(*) AS n FROM replies "
        f"WHERE requestid = {newest} GROUP BY 1 ORDER BY 2 DESC"
    )
    _, result = run_words(["sql", query], context)
    assert result.rows == [("web", 2), ("db", 1)]
    assert rows(context, "sql select count(*) n from requests")[0]["n"] > 0
    context.stdin = io.StringIO("SELECT 1 AS one")
    assert rows(context, "sql -") == [{"one": 1}]
    with pytest.raises(UsageError, match="QUERY is missing"):
        rows(context, "sql")
    with pytest.raises(UsageError, match="no such column"):
        rows(context, "sql select absent from replies")


def test_diff_of_an_action_is_with_the_time_before(context: Context, tmp_path: Path) -> None:
    """`diff exec.run` and `--diff exec.run` compare the newest with the one before, never with itself."""
    place = tmp_path / "release"
    line = f"rpc exec run -I web1 -- cat {place}"
    for text in ("1", "2"):
        place.write_text(text)
        ask(context, line)
    ask(context, "rpc rpcutil get_fact fact=role")
    (changed,) = rows(context, "diff exec.run --column stdout")
    assert (changed["before"], changed["after"]) == ("1", "2")
    place.write_text("3")
    found = rows(context, line.replace(" -- ", " --diff exec.run -- "))
    (out,) = (row for row in found if row["column"] == "stdout")
    assert (out["before"], out["after"]) == ("2", "3")
    (changed,) = rows(context, "diff exec.run exec.run --column stdout")
    assert (changed["before"], changed["after"]) == ("2", "3")


def test_diff_compares_only_with_the_same_targets(context: Context) -> None:
    """What was asked of others is no time before: the line says which it was, and diff takes it by name."""
    line = "rpc rpcutil get_fact fact=rack"
    other = ask(context, f"{line} -I db1")
    with pytest.raises(MCShellError, match=f"of other targets it was: diff {other[:8]}"):
        rows(context, f"{line} -I web1 --diff @now")
    ask(context, f"{line} -I web2")
    with pytest.raises(MCShellError, match="of other targets it was"):
        rows(context, "diff")
    table = run_words(["diff", other[:8]], context)[1]
    assert table.notes[1] == "they did not ask the same: other targets"
    client = context.client()
    for names in (["web1", "web2"], ["web1"], ["web2", "web1"]):
        last = client.rpc("rpcutil", "get_fact", fact="rack", nodes=names)
    table = run_words(["diff"], context)[1]
    assert table.rows == []
    assert last.requestid[:8] in table.notes[0]
    assert len(table.notes) == 1


def test_what_was_cut_short_is_counted_below_the_table(context: Context, fleet: Fleet) -> None:
    """Whose output is not all of it is named, however narrow the table is."""
    script = "head -c 3000000 /dev/zero | tr '\\0' x"
    replies = context.client().rpc("exec", "run", argv=["sh", "-c", script], nodes=["web1"])
    (row,) = replies.rows()
    assert row.data["truncated"] is True, row
    assert "truncated: web1 (1 of 1)" in summary_lines(replies, set())
    done = fleet.cli(
        "rpc", "exec", "run", "-I", "web1", "-I", "web2", "-y", "--", "sh", "-c", script
    )
    assert "truncated: web[1-2] (2 of 2)" in done.stderr
    done = fleet.cli("rpc", "exec", "run", "-I", "web1", "--", "true")
    assert "truncated" not in done.stderr


def test_the_command_line_prints_them(fleet: Fleet) -> None:
    """`mcshell fold` in another process looks at the same session; `--json` is a list."""
    asked = fleet.cli("rpc", "rpcutil", "get_fact", "fact=role", "--session", "analysis")
    assert asked.returncode == 0, asked.stderr
    done = fleet.cli("fold", "value", "--session", "analysis", "--json")
    assert [row["nodes"] for row in json.loads(done.stdout)] == ["web[1-2]", "db1"]
    done = fleet.cli("outliers", "--session", "analysis")
    assert "1 odd value on 1 node" in done.stderr
    done = fleet.cli("summary", "--session", "analysis", "--format", "vertical")
    assert "usual:" in done.stdout


def test_retry_asks_those_again_that_gave_no_word(context: Context) -> None:
    """`df.mco.retry()` asks the same of the silent and the failed, and of nobody else."""
    client = context.client()

    def source() -> Client:
        return client

    current.use(source)
    try:
        request = client.rpc("rpcutil", "get_fact", fact="role", nodes=["web1", "ghost1"])
        frame = request.frame()
        assert list(frame.mco.silent["sender"]) == ["ghost1"]
        again: Any = frame.mco.retry(timeout=5)
        assert list(again["sender"]) == ["ghost1"]
        newest = client.replies()
        assert newest.tracker.record.data == {"fact": "role"}
        other: Any = frame.mco.retry(fact="rack", wait=False)
        assert other.tracker.record.data == {"fact": "rack"}
        with pytest.raises(NoTargets):
            frame.mco.ok.mco.retry()
        with pytest.raises(UsageError, match="no column 'requestid'"):
            pd.DataFrame({"sender": ["a"], "state": ["failed"]}).mco.retry()
        few: Any = frame.mco.ok.mco.rpc("rpcutil", "ping")
        assert list(few["sender"]) == ["web1"]
    finally:
        current.forget(source)
    with pytest.raises(UsageError, match="not connected"):
        frame.mco.retry()


def test_retry_is_a_verb(context: Context) -> None:
    """`retry` asks the silent of the newest request again, or of the one named; else it refuses."""
    request = ask(context, "rpc rpcutil get_fact fact=role -I web1 -I ghost2")
    again = run_words(["retry", "-t", "5"], context)[1]
    assert [row.sender for row in again.rows()] == ["ghost2"]
    assert again.tracker.record.data == {"fact": "role"}
    other = run_words(["retry", "-r", request[:12], "fact=rack", "-b"], context)[1]
    assert other.tracker.record.data == {"fact": "rack"}
    ask(context, "rpc rpcutil ping -I web1")
    with pytest.raises(NoTargets, match="nobody failed or stayed silent"):
        run_words(["retry"], context)
