"""`%mco` and `%%mco` in a real IPython: what a cell gets, stores and is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter

import mcshell
from mcshell.client.rpc.replies import Replies
from mcshell.commands.output.result import Prose
from mcshell.errors import MCShellError
from tests.peers.ipython import ipython, run
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sessions that no other test sees."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path))


@pytest.fixture
def shell(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell with the extension loaded, talking to the fleet."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
    monkeypatch.chdir(fleet.folder)
    with ipython() as found:
        yield found


def test_a_line_gives_a_plain_dataframe(shell: InteractiveShell) -> None:
    """`df = %mco …` assigns a DataFrame with the columns of §4, typed by the DDL."""
    run(shell, "df = %mco rpc rpcutil ping")
    df = shell.user_ns["df"]
    assert type(df) is pd.DataFrame
    first = ["sender", "state", "statuscode", "statusmsg", "pong"]
    assert list(df.columns) == [*first, "lag", "late", "trust", "requestid"]
    assert str(df.dtypes["pong"]) == "Int64"
    assert sorted(df["sender"]) == ["db1", "web1", "web2"]


def test_a_line_of_a_script_gives_a_cell_its_answers(shell: InteractiveShell) -> None:
    """`--jsonl` streams elsewhere; a cell has its rows at the end, and a query is SQL's."""
    df = run(shell, "%mco rpc rpcutil ping --jsonl -F role=web")
    assert df.state.tolist() == ["ok", "ok"]
    df = run(shell, "%mco sql select sender from replies where lag > 0.0 and state = 'ok' limit 1")
    assert len(df) == 1
    for line in ("find > x.csv", "find | wc", "find; ping", "exit"):
        with pytest.raises(MCShellError):
            run(shell, f"%mco {line}")


@pytest.mark.usefixtures("own_state")
def test_what_no_row_says_is_said_beside_it(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of values names below it who is silent, and that a session is new, in a cell too."""
    capsys.readouterr()
    df = run(shell, "%mco facts role -I web1 -I ghost1")
    assert df.nodes.tolist() == ["web1"]
    assert "silent: ghost1" in capsys.readouterr().err
    run(shell, "%mco session new friday")
    run(shell, "%mco session attach frday")
    assert "no session 'frday' here (did you mean friday?)" in capsys.readouterr().err
    run(shell, "%mco doc rpcutil.get_fact")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("own_state")
def test_columns_keep_their_types_where_nothing_is_in_them(shell: InteractiveShell) -> None:
    """Tables of §4 have the dtypes of the Python API, whatever their rows have."""
    assert str(run(shell, "%mco ping -I ghost1").dtypes["time_ms"]) == "Float64"
    ledger = run(shell, "%mco ledger")
    assert ledger.state.tolist() == ["silent"]
    assert ledger.dtypes.equals(mcshell.current().replies().ledger().dtypes)
    jobs = run(shell, "%mco job list -I ghost1")
    assert jobs.dtypes.equals(mcshell.current().jobs.list(nodes=["ghost1"]).dtypes)
    run(shell, "%mco session new untouched")
    kinds = run(shell, "%mco requests").dtypes
    assert {str(kinds[name]) for name in ("requestid", "agent", "ok")} == {"string", "Int64"}


def test_background_gives_replies(shell: InteractiveShell) -> None:
    """With `-b` the value is a handle that fills."""
    replies = run(shell, "%mco rpc rpcutil ping -b")
    assert isinstance(replies, Replies)
    assert replies.wait(30).done
    assert replies.stats["ok"] == 3


def test_a_cell_takes_yaml_and_stores_with_o(shell: InteractiveShell) -> None:
    """The body is the inputs with their types; `-o` stores; the cell itself shows nothing."""
    value = run(shell, "%%mco rpc rpcutil get_fact -I web1 -o found\nfact: role\n")
    assert value is None
    assert list(shell.user_ns["found"]["value"]) == ["web"]
    run(shell, "%%mco rpc exec run -I web1 -o out\nargv: [echo, 'a  b']\n")
    assert shell.user_ns["out"]["stdout"][0].strip() == "a  b"


def test_nodes_take_a_variable_of_any_scope(shell: InteractiveShell) -> None:
    """A table, a list or a local variable names the targets; rows are the targets."""
    run(shell, "df = %mco find -F role=web")
    assert sorted(run(shell, "%mco rpc rpcutil ping --nodes df")["sender"]) == ["web1", "web2"]
    run(shell, "few = ['db1']\nagain = %mco find --nodes few")
    assert list(shell.user_ns["again"]["sender"]) == ["db1"]
    inside = "run_line_magic('mco', 'find --nodes mine')"
    run(shell, f"def f():\n    mine = ['web2']\n    return get_ipython().{inside}\n")
    assert list(run(shell, "f()")["sender"]) == ["web2"]
    assert run(shell, "%%mco find --nodes - -o both\ndb1\nweb1\n") is None
    assert sorted(shell.user_ns["both"]["sender"]) == ["db1", "web1"]


def test_braces_and_dollars_are_left_alone(shell: InteractiveShell) -> None:
    """IPython expands nothing in the line: regular expressions keep their braces."""
    shell.user_ns["x"] = "boom"
    assert list(run(shell, "%mco find -I '/^web[12]{1}$/' -F 'role=/^w.{2}$/'")["sender"]) == [
        "web1",
        "web2",
    ]


def test_errors_are_one_line(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is a single line in the cell's output, without a traceback."""
    for line, words in (
        ("%mco pnig", "did you mean ping"),
        ("%mco rpc rpcutil pnig", "did you mean ping"),
        ("%mco rpc rpcutil ping --vai direct", "did you mean --via"),
        ("%mco broker --data x", "only on the command line"),
        ("%mco rpc rpcutil 'ping", "no closing quotation"),
        ("%mco rpc rpcutil ping -F role=nothing", "no node matches"),
        ("%%mco rpc rpcutil get_fact\n- a list", "lines of `input: value`"),
        ("%%mco rpc rpcutil get_fact\n{", "the cell:2:1: no YAML"),
        (
            "%%mco rpc rpcutil get_fact\nfact: os\nfact: role",
            "the cell:2:1: 'fact' is given twice: it stands in line 1 already",
        ),
        ("%%mco rpc rpcutil get_fact fact=a\nfact: b", "given twice"),
        ("%%mco ping\nx: 1", "takes no cell body"),
        ("%%mco\nping", "a verb is meant on this line"),
        ("%mco watch 1 ping", "watch: only at the prompt"),
        ("%mco find -o not-a-name", "a Python name is meant"),
        ("%mco find -o class", "a Python name is meant"),
    ):
        capsys.readouterr()
        with pytest.raises(MCShellError):
            run(shell, line)
        written = capsys.readouterr()
        said = (written.out + written.err).strip()
        assert words in said, line
        assert "\n" not in said, line
        assert "Traceback" not in said


def test_help_is_text(shell: InteractiveShell) -> None:
    """`%mco`, `%mco help rpc` and `%mco rpc -h` give help that shows as lines."""
    assert isinstance(run(shell, "%mco"), Prose)
    assert "input=value" in run(shell, "%mco help rpc")
    assert "input=value" in repr(run(shell, "%mco rpc -h"))
    assert "Verbs:" in shell.find_line_magic("mco").__doc__


def test_traitlets_give_defaults(shell: InteractiveShell) -> None:
    """`%config MCMagics.timeout` and `.session` hold for lines that say nothing."""
    run(shell, "%config MCMagics.session = 'notebook'")
    run(shell, "%config MCMagics.timeout = 3")
    run(shell, "df = %mco rpc rpcutil ping -I ghost")
    assert list(shell.user_ns["df"]["state"]) == ["silent"]
    assert list(run(shell, "%mco requests")["agent"]) == ["rpcutil"]


@pytest.mark.parametrize("word", ["-1", "float('nan')", "float('inf')", "'soon'"])
def test_a_wait_that_is_none_is_no_default(shell: InteractiveShell, word: str) -> None:
    """`%config MCMagics.timeout` takes what -t takes: no target is silent at once for a slip there."""
    run(shell, "%config MCMagics.timeout = '1500ms'")
    run(shell, f"%config MCMagics.timeout = {word}")
    assert shell.magics_manager.registry["MCMagics"].timeout == 1.5


def test_reloading_works(shell: InteractiveShell) -> None:
    """`%reload_ext mcshell` closes the old connection and gives a magic that works."""
    run(shell, "%mco find")
    run(shell, "%reload_ext mcshell")
    assert len(run(shell, "%mco find")) == 3


def completed(shell: InteractiveShell, text: str) -> list[str]:
    """The lines that completing `text` at its end may give."""
    offered = list(shell.Completer.completions(text, len(text)))
    return [text[: one.start] + one.text + text[one.end :] for one in offered]


def test_lines_complete_as_at_the_prompt(shell: InteractiveShell) -> None:
    """`%mco`, `%%mco` and `df = %mco` complete from the same cache; other code is left alone."""
    run(shell, "df = %mco find")
    cache = shell.magics_manager.registry["MCMagics"].completion.refresher
    assert wait_until(lambda: "db1" in cache.cache.nodes, 30)
    with provisionalcompleter():
        assert completed(shell, "%mco fin") == ["%mco find"]
        assert completed(shell, "df = %mco rpc pack") == ["df = %mco rpc package"]
        assert completed(shell, "%%mco rpc package st") == ["%%mco rpc package status"]
        assert "x = %mco find -F role=web" in completed(shell, "x = %mco find -F role=w")
        assert completed(shell, "%mco find -I d") == ["%mco find -I db1"]
        assert "%mco find --nodes df" in completed(shell, "%mco find --nodes d")
        assert completed(shell, "%mco rpc package status --via=q")[0].endswith("--via=queue")
        assert "import_" not in completed(shell, "fin")
        assert any("find" not in one for one in completed(shell, "prin"))


def test_help_of_the_magic_is_the_grammars(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    """`%mco?` shows the verbs, `%config MCMagics` the settings with their help."""
    capsys.readouterr()
    run(shell, "%mco?")
    assert "find" in capsys.readouterr().out
    run(shell, "%config MCMagics")
    assert "Seconds to wait for replies" in capsys.readouterr().out


def test_a_session_is_attached_for_the_lines_that_follow(shell: InteractiveShell) -> None:
    """`session new` makes one the cells' own, `session detach` leaves it."""
    run(shell, "%mco session new cells")
    run(shell, "%mco rpc rpcutil ping -I web1")
    assert len(run(shell, "%mco requests")) == 1
    run(shell, "%mco session detach")
    run(shell, "%mco session drop cells")


def test_printing_nothing(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    """Loading and assigning print nothing."""
    capsys.readouterr()
    run(shell, "df = %mco find")
    assert capsys.readouterr().out == ""
