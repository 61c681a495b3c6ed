"""Values in cells: what a line and a cell's YAML say reaches the node as it was meant, or not at all."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from mcshell.errors import InputError, MCShellError
from tests.peers import ipython

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def shell(echoes: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell with the extension loaded, talking to the fleet."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(echoes.config))
    with ipython.ipython() as found:
        yield found


def run(shell: InteractiveShell, cell: str) -> Any:
    """Run a cell, written as deep as its test is; its value, or what it raised."""
    return ipython.run(shell, textwrap.dedent(cell))


def asked(shell: InteractiveShell) -> int:
    """How many requests have gone out."""
    return len(run(shell, "%mco requests"))


@pytest.mark.parametrize("word", ["1.10", "yes", "0644", "12:30", "2026-11-25", "~", "null", "1e3"])
def test_text_of_a_cell_is_what_is_written(shell: InteractiveShell, word: str) -> None:
    """What the DDL calls text arrives letter by letter, whatever YAML makes of it."""
    run(shell, f"%%mco rpc echo say -I web1 -o r\ntext: {word}\nitems: [{word}, '{word}']")
    got = shell.user_ns["r"].got[0]
    assert got["text"] == word
    assert got["items"][1] == word
    assert got["items"][0] == (None if word == "null" else word)


def test_a_cell_is_typed_by_the_ddl(shell: InteractiveShell) -> None:
    """A number, a boolean and a hash are what the DDL says; quotes make text, nothing is nothing."""
    run(
        shell,
        "%%mco rpc echo say -I web1 -o r\nn: 0644\nnumber: 1.10\nflag: on\nvalue: 0644\n"
        "text:\nmap: {a: 1.5, b: yes, on: [true]}",
    )
    got = shell.user_ns["r"].got[0]
    assert got == {
        "n": 644,
        "number": 1.1,
        "flag": True,
        "value": "0644",
        "map": {"a": 1.5, "b": "yes", "on": [True]},
    }
    run(shell, "%%mco rpc echo say -I web1 -o r\nvalue: '5'\nn: '5'")
    assert shell.user_ns["r"].got[0] == {"value": "5", "n": 5}


def test_a_key_twice_is_refused_by_name(shell: InteractiveShell) -> None:
    """At any depth, with its place; nothing is asked."""
    before = asked(shell)
    with pytest.raises(MCShellError, match="'text' is given twice: it stands in line 1 already"):
        run(shell, "%%mco rpc echo say -I web1\ntext: a\ntext: b")
    with pytest.raises(MCShellError, match="'b' is given twice"):
        run(shell, "%%mco rpc echo say -I web1\nmap: {a: {b: 1, b: 2}}")
    assert asked(shell) == before


def test_a_loop_puts_its_variable_in(shell: InteractiveShell) -> None:
    """In a loop, a function and a nested one, in a line and in a cell: the value, not the name."""
    run(
        shell,
        """
        seen = []
        for n in ['hello world', '--yes', "it's", 7]:
            r = %mco rpc echo say text={n} -I web1
            seen += r.text.tolist()

        def ask(words, node):
            def inner(words):
                r = %mco rpc echo say items={words} flag={{len(words) > 1}} -I {{'web' + '1'}}
                return r
            return inner(words)

        got = ask(['a', 1], 'web1').got[0]
        """,
    )
    assert shell.user_ns["seen"] == ["hello world", "--yes", "it's", "7"]
    assert shell.user_ns["got"] == {"items": ["a", 1], "flag": True}
    shell.user_ns.update(s="5", words=["x", "{n}"], deep={"k": 1})
    body = "text: {n}\nvalue: {s}\nitems: [{words}, '{s}']\nmap: {a: {{deep['k'] + 1}}}"
    run(shell, f"%%mco rpc echo say -I web1 -o r\n{body}")
    assert shell.user_ns["r"].got[0] == {
        "text": "7",
        "value": "5",
        "items": [["x", "{n}"], "5"],
        "map": {"a": 2},
    }


def test_a_line_has_the_names_around_its_function(shell: InteractiveShell) -> None:
    """In a function within a function it is the outer one's value, as in Python, not the notebook's."""
    run(
        shell,
        """
        n, node, few = 'notebook', 'ghost', ['ghost']

        def outer(n, node, few):
            def inner():
                r = %mco rpc echo say text={n} value={{n.upper()}} -I {node}
                return r.got[0]
            def of_a_list():
                r = %mco find --nodes few
                return r.sender.tolist()
            lines = [get_ipython().run_line_magic('mco', 'find -I {node}').sender[0] for _ in 'a']
            return inner, of_a_list, lines

        inner, of_a_list, lines = outer('outer', 'web1', ['web2'])
        told = inner(), of_a_list(), lines
        """,
    )
    assert shell.user_ns["told"] == ({"text": "outer", "value": "OUTER"}, ["web2"], ["web1"])


def test_nodes_may_be_an_expression(shell: InteractiveShell) -> None:
    """`--nodes` takes a table by its name, in braces or not, and what an expression gives."""
    run(shell, "df = %mco find\nby_sender = df.set_index('sender')\nnames = df['sender']")
    for word in ("by_sender", "{by_sender}", "{{df.head(9)}}", "{names}", "{{list(names)}}"):
        assert len(run(shell, f"%mco rpc echo say --nodes {word}")) == 2
    with pytest.raises(MCShellError, match="a list of names"):
        run(shell, "%mco rpc echo say --nodes {{1 + 1}}")


def test_an_any_takes_the_value_and_guesses_nothing(shell: InteractiveShell) -> None:
    """Text that looks like a number stays text, and a column is a list."""
    shell.user_ns.update(
        s="1", column=pd.Series([1, 2]), array=np.array(["a"]), one=np.int64(3), yes=True
    )
    run(shell, "r = %mco rpc echo say value={s} items={column} n={one} flag={yes} -I web1")
    got = {"value": "1", "items": [1, 2], "n": 3, "flag": True}
    assert shell.user_ns["r"].got[0] == got
    run(shell, "r = %mco rpc echo say value={array} -I web1")
    assert shell.user_ns["r"].got[0] == {"value": ["a"]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%mco rpc echo say text=a{n}b", "inside a word"),
        ("%mco rpc echo say text='{nosuch}'", "no variable 'nosuch'"),
        ("%mco rpc echo say text={{n.nosuch}}", "AttributeError"),
        ("%mco rpc echo say text='{{.Names}}'", "no expression"),
        ("%mco rpc echo say text=$n", "is put in by {n}"),
        ("%mco rpc echo say text={n.upper()}", "is put in by {{n.upper()}}"),
        ("%mco rpc echo say 'text={words[0]}'", "is put in by {{words[0]}}"),
        ("%%mco rpc echo say\nvalue: {n + '1'}", "is put in by {{n + '1'}}"),
        ("%mco rpc echo say text={nothing}", "no value"),
        ("%mco rpc echo say text={frame}", "is a DataFrame"),
        ("%mco rpc echo say value={{[1, n.upper]}}", "must be plain data"),
        ("%mco rpc echo say text={words}", "must be text"),
        ("%mco rpc echo say -F role={words}", "a word is meant"),
        ("%mco rpc echo say -I {option}", "read as an option"),
        ("%%mco rpc echo say\ntext: a {n} b", "inside a word"),
        ("%%mco rpc echo say\ntext: |\n  for {n}\n", "inside a word"),
        ("%%mco rpc echo say\n{n}: x", "inside a word"),
        ("%%mco rpc echo say --nodes -\n{n}", "no value is put in"),
    ],
)
def test_what_is_not_put_in_is_not_sent(shell: InteractiveShell, line: str, words: str) -> None:
    """A place that no value can take is one line about it, and nothing is asked."""
    frame = pd.DataFrame({"a": [1]})
    shell.user_ns.update(n="7", nothing=None, frame=frame, words=["a", "b"], option="--yes")
    before = asked(shell)
    with pytest.raises(MCShellError) as caught:
        run(shell, line)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert asked(shell) == before


def test_braces_that_are_not_python_are_left_alone(shell: InteractiveShell) -> None:
    """A regex, a shell's own variables, awk and JSON arrive as they are written."""
    shell.user_ns["n"] = "boom"
    text = "'/^w{1,3}$/ ${n} $HOME {print $1} NR==1{exit} {}'"
    run(shell, f"r = %mco rpc echo say text={text} -I web1")
    assert shell.user_ns["r"].text[0] == text.strip("'")
    run(shell, """r = %mco rpc echo say map='{"a": {"b": 1}}' -I web1""")
    assert shell.user_ns["r"].got[0]["map"] == {"a": {"b": 1}}
    run(shell, "r = %mco rpc echo say text={{'{n} {{.Names}}'}} -I web1")
    assert shell.user_ns["r"].text[0] == "{n} {{.Names}}"


def test_a_script_s_line_is_waited_for(shell: InteractiveShell) -> None:
    """`--jsonl`, `--json`, `--senders`: a cell gets the answers of the line as a table."""
    for form in ("--jsonl", "--json", "--senders", "--format csv"):
        run(shell, f"d = %mco rpc echo say text=a {form} -I web1")
        assert shell.user_ns["d"].state.tolist() == ["ok"]
    run(shell, "f = %mco rpc echo fail -I web1")
    run(shell, "d = %mco retry --jsonl")
    assert shell.user_ns["d"].state.tolist() == ["failed"]


def test_a_retry_takes_its_inputs_from_the_cell(shell: InteractiveShell) -> None:
    """What stands in the cell replaces what was asked then."""
    run(shell, "r = %mco rpc echo say text=old -I ghost -t 1")
    run(shell, "%%mco retry -t 1 -o r\ntext: 1.10")
    record = run(shell, "%mco requests").iloc[-1]
    assert record["action"] == "say"
    assert "1.10" in str(run(shell, '%mco sql "select inputs from requests"').iloc[-1, 0])


def test_numbers_are_numbers_where_all_answers_are(shell: InteractiveShell) -> None:
    """An output without a type in the DDL has the dtype of its answers; mixed ones keep each its own."""
    run(shell, "a = %mco rpc echo say value=5")
    run(shell, "b = %mco rpc echo say value=1.5")
    run(shell, "c = %mco rpc echo say value=true")
    run(shell, "d = %mco rpc echo say value=words")
    run(shell, "e = %mco rpc echo say value='[1]'")
    dtypes = [str(shell.user_ns[name]["value"].dtype) for name in "abcde"]
    assert dtypes[:3] == ["Int64", "Float64", "boolean"]
    assert dtypes[3] == "string"
    assert dtypes[4] == "object"
    assert shell.user_ns["a"]["value"].sum() == 10


def test_a_value_is_no_sql(shell: InteractiveShell) -> None:
    """`{name}` in a query, in a line or a cell, is a parameter; in quotes it is refused."""
    shell.user_ns.update(node="web1", evil="' OR 1=1 --", none="x")
    run(shell, "%mco rpc echo say text=sql")
    run(shell, "%%mco sql -o r\nSELECT sender FROM echo_say -- {none}\nWHERE sender = {node}")
    assert set(shell.user_ns["r"].sender) == {"web1"}
    run(shell, "r = %mco sql select sender from echo_say where sender = {evil}")
    assert shell.user_ns["r"].empty
    run(shell, "r = %mco sql select {{1 + 1}} as two")
    assert list(shell.user_ns["r"].two) == [2]
    with pytest.raises(MCShellError, match="inside quotes"):
        run(shell, "%%mco sql\nSELECT sender FROM echo_say WHERE sender = '{node}'")


def test_an_error_is_harmless(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    """What a node has said, and an error is about, acts on no terminal."""
    shell.user_ns["said"] = "\x1b[31mred\u202e"
    capsys.readouterr()
    with pytest.raises(MCShellError):
        run(shell, "%mco rpc echo say text={{int(said)}} -I web1")
    with pytest.raises(MCShellError):
        run(shell, "%mco rpc echo say -I {said}")
    written = "".join(capsys.readouterr())
    assert "red" in written
    assert not {"\x1b", "\u202e"} & set(written.replace("\x1b[0m", ""))


def test_an_alias_of_the_line_puts_values_in_as_the_line_does(shell: InteractiveShell) -> None:
    """`%alias_magic`, with words before the line too: a value is one word, and no option."""
    run(shell, "%alias_magic m mco\n%alias_magic ask m -p 'rpc echo say'")
    shell.user_ns.update(evil="web1 -I web2", words=["x y", 2])
    with pytest.raises(MCShellError, match="is no name of a node"):
        run(shell, "%m ping -I {evil}")
    run(shell, "%m rpc echo say text={evil} -I web1 -o r\nt = %ask items={words} -I web1")
    assert shell.user_ns["r"].got[0] == {"text": "web1 -I web2"}
    assert shell.user_ns["t"].got[0] == {"items": ["x y", 2]}
    run(shell, "%%ask -I web1 -o r\nvalue: {evil}")
    assert shell.user_ns["r"].got[0] == {"value": "web1 -I web2"}
    run(
        shell,
        """
        def outer(evil):
            def inner():
                r = %ask text={evil} -I web1
                return r
            return inner()

        near = outer('near').got[0]
        """,
    )
    assert shell.user_ns["near"] == {"text": "near"}
    assert shell.run_cell("%ask text=a -I web1;", store_history=True).result is None
    run(shell, "%reload_ext mcshell\n%ask text={evil} -I web1 -o r")
    assert shell.user_ns["r"].got[0] == {"text": "web1 -I web2"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("client.rpc('echo', 'say', text='a', wher='role=web')", "no input 'wher'.*where?"),
        ("client.rpc('echo', 'say', text='a', timout=3)", "no input 'timout'.*timeout?"),
        ("client.rpc('echo', 'say', text='a', inputs={'text': 'b'})", "text is given twice"),
        ("client.jobs.submit('echo', 'say', text='a', crom='0 4 * * *')", "'crom'.*cron?"),
        ("client.approvals.propose('echo', 'say', text='a', node=['web1'])", "'node'.*nodes?"),
    ],
)
def test_an_argument_that_is_misspelt_or_twice_is_named(
    shell: InteractiveShell, call: str, said: str
) -> None:
    """What is no input of the action may be an argument of the method; an input stands in one place."""
    run(shell, "import mcshell\nclient = mcshell.connect()")
    before = run(shell, "client.requests()")
    try:
        with pytest.raises(InputError, match=said):
            run(shell, call)
        assert run(shell, "client.requests()") == before
    finally:
        run(shell, "client.close()")


def test_a_place_among_replies_is_what_a_notebook_has(shell: InteractiveShell) -> None:
    """An integer of numpy's, a negative one and a slice are places among the rows."""
    run(shell, "r = %mco rpc echo say text=a -I web1 -I web2 -b\nr.wait()")
    replies = shell.user_ns["r"]
    assert [replies[np.int64(0)], replies[-1]] == replies.rows() == replies[:5]
    with pytest.raises(IndexError):
        replies[np.int64(2)]
    with pytest.raises(KeyError, match="a sender of these rows, or a place among them"):
        replies[0.5]
