"""`--only`, `--odd`, `--top`, `--fold`, `--diff`, `--nodes _` and words behind `--`, on a real fleet."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen
from tests.peers.ipython import ipython

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def run(context: Context) -> Callable[[str], tuple[int, str, str]]:
    """Run one line: its exit code, what it gave, and what it said."""

    def line(text: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        code = run_line(text, context, Screen(out, err, None))
        return code, out.getvalue(), err.getvalue()

    return line


Run = "Callable[[str], tuple[int, str, str]]"
ROLE = "rpc rpcutil get_fact fact=role"


def test_only_shows_rows_and_counts_all(run: Run) -> None:
    """The rows are few, the counts and the exit code are those of the whole request."""
    code, out, err = run(f"{ROLE} -I web1 -I db1 -I ghost --only value=db --senders")
    assert (code, out) == (5, "db1\n")
    assert "3 targets: 2 ok, 1 silent" in err
    assert "no answer from ghost" in err
    code, out, _ = run(f"{ROLE} -I web1 -I ghost --only state=silent --json")
    found = json.loads(out)
    assert [row["sender"] for row in found["replies"]] == ["ghost"]
    assert found["stats"]["ok"] == 1
    code, out, _ = run("ping -I web1 -I ghost --only state=silent --json")
    assert [(row["sender"], row["state"]) for row in json.loads(out)] == [("ghost", "silent")]
    assert code == 5
    _, out, _ = run("ledger --only state=silent --senders")
    assert out == "ghost\n"
    _, out, _ = run("inventory --only 'facts.role=web' --senders")
    assert out == "web1\nweb2\n"


@pytest.mark.parametrize("verb", ["ping", "inventory", f"{ROLE}", "ledger", "replies"])
def test_a_state_that_is_none_is_refused(run: Run, verb: str) -> None:
    """A slip of a state is told, with the nearest, before anybody is asked: it looked like no rows."""
    code, out, err = run(f"{verb} --only 'sender=web1 or state=silnt'")
    assert (code, out) == (64, "")
    assert "there is no state 'silnt' (did you mean silent?)" in err
    _, _, err = run(f"{verb} --only state!=down")
    assert "one of pending, received, running, ok," in err


def test_who_is_not_well_and_not_shown_is_named(run: Run) -> None:
    """A node that was denied is never lost between the rows that were asked for."""
    _, out, err = run("rpc file checksum path=/etc/no-such-file --odd checksum")
    assert out == ""
    assert "denied: db1,web[1-2]" in err


def test_odd_and_then_only_there(run: Run) -> None:
    """`--odd` finds them, `--nodes _` asks them: the rows shown last, also when there are none."""
    code, out, _ = run(f"{ROLE} --odd value --senders")
    assert (code, out) == (0, "db1\n")
    assert run("find --nodes _ --senders")[1] == "db1\n"
    run("doc package")
    assert run("rpc rpcutil ping --nodes _ --senders")[1] == "db1\n"
    run(f"{ROLE} --only value=nobody")
    code, _, err = run("rpc rpcutil ping --nodes _")
    assert (code, err) == (1, "--nodes _: no names in there\n")
    run("ping -F role=web")
    assert run("find --nodes _ --senders")[1] == "web1\nweb2\n"


def test_before_any_rows_there_are_no_last_ones(fleet: Fleet) -> None:
    """`--nodes _` says so, and is no file."""
    context = Context("prompt", fleet.config)
    err = io.StringIO()
    assert run_line("find --nodes _", context, Screen(io.StringIO(), err, None)) == 64
    assert "no line has shown nodes yet" in err.getvalue()
    context.close()


def test_fold_and_top_make_tables(run: Run) -> None:
    """Nodes that answer alike are a line; of a list of hashes each is a row."""
    code, out, err = run(f"{ROLE} --fold value --json")
    assert [(row["nodes"], row["value"]) for row in json.loads(out)] == [
        ("web[1-2]", "web"),
        ("db1", "db"),
    ]
    code, out, err = run("rpc process list limit=3 --top 4 processes.rss_bytes --json")
    rows = json.loads(out)
    assert len(rows) == 4
    sizes = [row["rss_bytes"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    _, out, _ = run("replies --json")
    every = [
        one["rss_bytes"] for row in json.loads(out)["replies"] for one in row["data"]["processes"]
    ]
    assert sizes == sorted(every, reverse=True)[:4]
    code, out, err = run("rpc process list --top 1 processes.rss_bytes")
    assert out.split()[:2] == ["sender", "rss_bytes"], "what is asked for is in sight first"
    assert "3 targets: 3 ok" in err
    assert code == 0
    _, out, _ = run(f"{ROLE} --top 1 lag --senders")
    assert len(out.split()) == 1


@pytest.mark.parametrize("verb", ["replies", "ledger", "retry", "diff", "explain web1"])
def test_what_was_asked_is_told_to_who_mistypes_it(run: Run, verb: str) -> None:
    """A request that nobody has made is told beside those that are called alike, of any session."""
    run("rpc rpcutil ping")
    for wrong in ("rpcutil.pign", "rpcutil"):
        code, _, err = run(f"{verb} {wrong}")
        assert code == 64
        assert f"no request '{wrong}' in any session (did you mean rpcutil.ping" in err


def test_diff_compares_with_the_last_time(run: Run, tmp_path: Path) -> None:
    """`--diff @now` asks, and shows what has changed since the same was asked before."""
    place = tmp_path / "release"
    line = f"rpc exec run -I web1 --diff @now --json -- cat {place}"
    place.write_text("12.1")
    code, _, err = run(line)
    assert code == 64
    assert "exec run was not asked so as of @now in any session" in err
    place.write_text("12.2")
    code, out, err = run(line)
    found = {row["column"]: (row["before"], row["after"]) for row in json.loads(out)}
    assert found["stdout"] == ("12.1", "12.2")
    first = json.loads(run("replies exec.run --json")[1])["request"]["id"]
    code, out, _ = run(f"rpc exec run -I web1 --diff {first[:12]} --json -- echo other")
    assert {"before": "12.2", "after": "other\n"}.items() <= json.loads(out)[0].items()


def test_words_behind_the_dashes_arrive_as_they_are(run: Run) -> None:
    """Quoted once, as in any shell; no shell on the node reads them again."""
    words = """'[%s]' "it's" 'say "hi"' '$HOME' '*' 'a  b' '; rm -rf' -x --yes '|' '>' 'x=1'"""
    code, out, _ = run(f"rpc exec run -I web1 --json -- printf {words}")
    (row,) = json.loads(out)["replies"]
    given = ["it's", 'say "hi"', "$HOME", "*", "a  b", "; rm -rf", "-x", "--yes", "|", ">", "x=1"]
    assert row["data"]["stdout"] == "".join(f"[{word}]" for word in given)
    assert code == 0
    code, _, err = run("rpc rpcutil ping -- a")
    assert (code, err) == (64, "--: rpcutil ping takes no list: input=value is meant\n")
    code, _, err = run("""rpc exec run 'argv=["ls"]' -- ls""")
    assert (code, err) == (64, "input argv is given twice, once behind --\n")
    run("rpc exec run -I web1 -- false")
    _, out, _ = run("retry --json -- echo well")
    assert json.loads(out)["replies"][0]["data"]["stdout"] == "well\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{ROLE} --only ok", "'ok' compares no column: COLUMN=VALUE is meant"),
        (f"{ROLE} --only 'value='", "expected a value"),
        (f"{ROLE} --top none value", "--top 'none': a number of rows above 0 is meant"),
        (f"{ROLE} --fold value -b", "--fold wants the answers: it does not go with -b"),
        (f"{ROLE} --diff @7d --odd value", "--diff compares all rows: it does not go with --odd"),
        (f"{ROLE} --diff @lunch", "@lunch: @now, @yesterday"),
        (f"{ROLE} --odd vlaue", "did you mean value"),
        ("inventory --follow --jsonl --only state=ok", "takes no such option"),
        (
            "rpc rpcutil ping --canary 1 --via queue",
            "it cannot be combined with --batch or --canary",
        ),
        ("rpc rpcutil ping --canary 1 --via broadcast", "--batch or --canary"),
        ("replies package.status@yesterday", "no request 'package.status@yesterday'"),
    ],
)
def test_what_means_nothing_is_one_line(run: Run, line: str, said: str) -> None:
    """Each refusal is one line that says what was meant."""
    code, out, err = run(line)
    assert (code, out) == (64, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_open_session_is_exported_under_the_files_name(
    run: Run, context: Context, tmp_path: Path
) -> None:
    """`session export FILE` names a session that has no name yet, and stays in it."""
    run(ROLE)
    code, out, err = run(f"session export {tmp_path}/Handover.mcs")
    assert code == 64
    assert "only a-z, 0-9" in err
    code, out, _ = run(f"session export {tmp_path}/handover.mcs --json")
    (row,) = json.loads(out)
    assert (code, row["name"]) == (0, "handover")
    assert (tmp_path / "handover.mcs").exists()
    assert context.session == "handover"
    assert "there already" in run(f"session export {tmp_path}/handover.mcs")[2]
    run("session detach")
    assert "SESSION FILE is meant" in run(f"session export {tmp_path}/x.mcs")[2]


def test_a_cell_gets_typed_columns(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """In IPython the rows that are left have the dtypes of the reply table, and `_` is the last."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
    with ipython() as shell:
        found: Any = shell.run_line_magic("mco", "rpc rpcutil ping --only sender=db1")
        assert type(found) is pd.DataFrame
        assert str(found.dtypes["pong"]) == "Int64"
        assert list(found["sender"]) == ["db1"]
        none = shell.run_line_magic("mco", "rpc rpcutil ping --only sender=nobody")
        assert list(none.columns) == list(found.columns)
        shell.user_ns["_"] = found
        assert list(shell.run_line_magic("mco", "find --nodes _")["sender"]) == ["db1"]
        folded = shell.run_line_magic("mco", f"{ROLE} --fold value")
        assert list(folded["nodes"]) == ["web[1-2]", "db1"]
        assert list(found.mco.odd("pong")["sender"]) == []


def test_facts_take_the_path_that_a_filter_takes(
    fleet: Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    """A path with slashes, quoted or not, is the same fact for `facts` and for -F."""
    for path in ("mountpoints./.capacity", '"mountpoints./.capacity"'):
        assert fleet.cli("find", "-F", f"{path}=9%", "--senders").stdout == "db1\nweb1\nweb2\n"
        done = fleet.cli("facts", path, "--jsonl")
        assert json.loads(done.stdout) == {"value": "9%", "count": 3, "nodes": "db1,web[1-2]"}


def test_outputs_that_are_times_are_shown_as_times(run: Run) -> None:
    """What the DDL calls a time is one for a reader, and seconds for a program."""
    line = "rpc rpcutil ping -I web1"
    shown = run(line)[1].split()[-1]
    assert re.fullmatch(r"\d\d:\d\d:\d\d(\.\d+)?", shown), shown
    (row,) = json.loads(run(f"{line} --json")[1])["replies"]
    assert abs(row["data"]["pong"] - time.time()) < 600


def test_what_programs_wrote_is_below_the_nodes(run: Run) -> None:
    """Nodes that said the same stand together; a named format has a row a node."""
    line = "rpc exec run -I web1 -I web2 -y"
    code, out, err = run(f"{line} -- printf 'a\\nb\\n'")
    ruler = "-" * 15
    assert (code, out.splitlines()) == (0, [ruler, "web[1-2] (2)", ruler, "a", "b"])
    assert "not shown: elapsed, ended (--format table shows all)" in err
    assert "2 targets: 2 ok" in err
    head = run(f"{line} --format table -- true")[1].splitlines()[0].split()
    assert head[:3] == ["sender", "state", "exitcode"]
