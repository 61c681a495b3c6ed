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
from mcshell.commands.run import run_words
from mcshell.errors import MCShellError, NoTargets, UsageError

if TYPE_CHECKING:
    from pathlib import Path

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


def test_the_command_line_prints_them(fleet: Fleet) -> None:
    """`mcshell fold` in another process looks at the same session; `--json` is a list."""
    asked = fleet.cli("rpc", "rpcutil", "get_fact", "fact=role", "--session", "analysis")
    assert asked.returncode == 0, asked.stderr
    done = fleet.cli("fold", "value", "--session", "analysis", "--json")
    assert [row["nodes"] for row in json.loads(done.stdout)] == ["web[1-2]", "db1"]
    done = fleet.cli("outliers", "--session", "analysis")
    assert "1 odd values on 1 nodes" in done.stderr
    done = fleet.cli("summary", "--session", "analysis", "--format", "vertical")
    assert "usual:" in done.stdout


def test_retry_asks_those_again_that_gave_no_word(context: Context) -> None:
    """`df.mco.retry()` asks the same of the silent and the failed, and of nobody else."""
    client = context.client()
    current.use(lambda: client)
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
        with pytest.raises(UsageError, match="one request"):
            pd.DataFrame({"sender": ["a"], "state": ["failed"]}).mco.retry()
        few: Any = frame.mco.ok.mco.rpc("rpcutil", "ping")
        assert list(few["sender"]) == ["web1"]
    finally:
        current.use(None)
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
