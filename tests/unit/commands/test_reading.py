"""One reading of a line: what its words are, where it ends, and that every face reads it so."""

from __future__ import annotations

import io
import shlex
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcshell.commands.completion.scan import incomplete, scan
from mcshell.commands.context import Context
from mcshell.commands.grammar.options import InputsOptions
from mcshell.commands.grammar.parser import only_line, parse, split_line
from mcshell.commands.grammar.reading import read_lines
from mcshell.commands.grammar.verbs import VERBS
from mcshell.errors import UsageError
from mcshell.shell import lines as running
from mcshell.shell.cli import main
from mcshell.shell.output import Screen
from mcshell.shell.prompt import loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PIECES = st.sampled_from(
    [
        *(
            "find",
            "sql",
            "rpc exec run",
            "rpc",
            "watch 5",
            "help",
            "select a",
            "--json",
            "--format",
            "csv",
        ),
        *(
            " ",
            "  ",
            "\t",
            "\u00a0",
            "\n",
            ";",
            "#",
            "\\",
            "'",
            '"',
            "|",
            ">",
            ">>",
            "--",
            "!",
            "-",
        ),
        *(
            "x",
            "web1",
            "a=b",
            "0.02",
            "> f",
            "| cat",
            "it's",
            "while read a; do",
            "done",
            "\\\n",
            "\u4e2d",
        ),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.lists(PIECES, max_size=14).map(" ".join)


def read(text: str) -> list[tuple[Sequence[str], str, list[str]]]:
    """The lines of a text: words, sign, and what stands behind it."""
    return [(line.meant, line.sign, [one.text for one in line.rest]) for line in read_lines(text)]


SQL = "select sender from replies where lag > 0.02 and state = 'ok'"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("find -I 'a b' \"c d\"", [(("find", "-I", "a b", "c d"), "", [])]),
        (r"""find a\ b "a\"b\\" 'a\b' "a\n" """, [(("find", "a b", 'a"b\\', r"a\b", r"a\n"), "", [])]),
        ("find ''", [(("find", ""), "", [])]),
        ("find; ping;; \n ping", [(("find",), "", []), (("ping",), "", []), (("ping",), "", [])]),
        ("fi\\\nnd \\\n -j", [(("find", "-j"), "", [])]),
        ("find 'a\nb'", [(("find", "a\nb"), "", [])]),
        ("ping\n# it's; fine\nping # it's\n", [(("ping",), "", [])] * 2),
        ("find a#b", [(("find", "a#b"), "", [])]),
        ("find\u00a0-j", [(("find", "-j"), "", [])]),
        ("find -F a>b c|d", [(("find", "-F", "a>b", "c|d"), "", [])]),
        ("find | sort; ping", [(("find",), "|", ["sort"]), (("ping",), "", [])]),
        ("find >a.csv; ping", [(("find",), ">", ["a.csv"]), (("ping",), "", [])]),
        ("find >> 'a b.csv' # yes", [(("find",), ">>", ["a b.csv"])]),
        ("find > a b", [(("find",), ">", ["a", "b"])]),
        ("find > f | wc", [(("find",), ">", ["f", "|", "wc"])]),
        ("find >", [(("find",), ">", [])]),
        (
            'find | while read a; do echo "$a;"; done; ping',
            [(("find",), "|", ['while read a; do echo "$a;"; done']), (("ping",), "", [])],
        ),
        (
            "find | for i in $(ls; pwd)\ndo if x; then y; fi; done | wc\nping",
            [(("find",), "|", ["for i in $(ls; pwd)\ndo if x; then y; fi; done | wc"]), (("ping",), "", [])],
        ),
        (
            "find | case $x in a) b;; (c) d;; esac; ping",
            [(("find",), "|", ["case $x in a) b;; (c) d;; esac"]), (("ping",), "", [])],
        ),
        ("find | { ls; pwd; }; ping", [(("find",), "|", ["{ ls; pwd; }"]), (("ping",), "", [])]),
        ("find | grep while; ping", [(("find",), "|", ["grep while"]), (("ping",), "", [])]),
        ("find | sed 's/;/|/' # it's\nping", [(("find",), "|", ["sed 's/;/|/' # it's"]), (("ping",), "", [])]),
        ("!date; ls | wc\nfind -j", [((), "!", ["date; ls | wc"]), (("find", "-j"), "", [])]),
        ("find; !ls", [(("find",), "", []), ((), "!", ["ls"])]),
        (f"sql {SQL}", [(("sql", SQL), "", [])]),
        (f"sql {SQL}; ping", [(("sql", SQL), "", []), (("ping",), "", [])]),
        ("sql select a || ';' -- \"x", [(("sql", "select a || ';' -- \"x"), "", [])]),
        ("sql select '\\', \"a\\\" from b # it's", [(("sql", "select '\\', \"a\\\" from b"), "", [])]),
        ("sql -j --session a select 1 > 2", [(("sql", "-j", "--session", "a", "select 1 > 2"), "", [])]),
        ("sql select 1 > 2 --format csv --json", [(("sql", "select 1 > 2", "--format", "csv", "--json"), "", [])]),
        ("sql select '--json", [(("sql", "select '--json"), "", [])]),
        ("sql 'select 1' > a.csv", [(("sql", "select 1"), ">", ["a.csv"])]),
        ("sql - > a.csv", [(("sql", "-"), ">", ["a.csv"])]),
        ("sql > a.csv", [(("sql",), ">", ["a.csv"])]),
        (
            "rpc exec run -- df '/x y' | sort > f; ping",
            [(("rpc", "exec", "run", "--", "df", "/x y", "|", "sort", ">", "f"), "", []), (("ping",), "", [])],
        ),
        ("facts -- os | wc", [(("facts", "--", "os"), "|", ["wc"])]),
        ("watch 5 ping | head; find", [(("watch", "5", "ping"), "|", ["head"]), (("find",), "", [])]),
        ("watch 5 sql select a > 3", [(("watch", "5", "sql", "select a > 3"), "", [])]),
        ("exit;", [(("exit",), "", [])]),
        ("\\q", [(("q",), "", [])]),
        ("", []),
        (" # nothing\n\n;", []),
    ],
)  # fmt: skip
def test_a_text_is_cut_into_lines_and_words(
    text: str, lines: list[tuple[Sequence[str], str, list[str]]]
) -> None:
    """Quotes, comments, continuations, pipes, files, the shell's lines and free text."""
    assert read(text) == lines


@pytest.mark.parametrize(
    ("text", "open_"),
    [
        ("find 'a", "'"),
        ('find "a\\"', '"'),
        ("find \\", "\\"),
        ("find\\\n\\", "\\"),
        ("sql select 'a", "'"),
        ("sql select a \\", "\\"),
        ("find | awk '{", "'"),
        ("find | while read a; do", "done"),
        ("find | if x; then (", ")"),
        ("find\nfind 'a", "'"),
        ("find \\\\", ""),
        ("!echo 'x", ""),
        ("# don't", ""),
        ("ping\n# it's fine\nping", ""),
        ("ping # it's", ""),
        ("find 'a\nb'", ""),
    ],
)
def test_a_line_that_goes_on_says_what_it_lacks(text: str, open_: str) -> None:
    """The prompt asks for more; where there is no more, it is refused with what was left open."""
    assert read_lines(text)[-1:] == [] or read_lines(text)[-1].open == open_
    assert incomplete(text) is bool(open_)
    if open_ and "\n" not in text:
        with pytest.raises(UsageError, match=r"no closing quotation|no escaped|lacks its"):
            only_line(text)


def test_an_alias_is_the_beginning_of_a_line() -> None:
    """Its words stand in its place, and what it begins decides how the rest is read."""
    known = {
        "down": ["ping", "--only", "state=silent"],
        "q": ["sql", "--json"],
        "w": ["watch", "5"],
    }

    def alias(word: str) -> Sequence[str]:
        return known.get(word, ())

    def words(text: str) -> list[Sequence[str]]:
        return [line.meant for line in read_lines(text, alias)]

    assert words("down -j; find down") == [
        ("ping", "--only", "state=silent", "-j"),
        ("find", "down"),
    ]
    assert words("q select a > 3") == [("sql", "--json", "select a > 3")]
    assert words("w q select a > 3") == [("watch", "5", "sql", "--json", "select a > 3")]
    assert scan("down ", alias).words == ("ping", "--only", "state=silent")
    assert (scan("down", alias).words, scan("down", alias).current) == ((), "down")


def test_free_text_reaches_its_verb_whole() -> None:
    """The query is one word; what stood behind `--` are the command's words."""
    assert parse(split_line(f"sql --json {SQL}")).options.query == [SQL]
    found = parse(split_line("watch 5 rpc exec run -- ls | wc"), face="prompt").options
    assert found.line == ["rpc", "exec", "run", "--", "ls", "|", "wc"]


def test_commands_behind_dashes_are_those_of_verbs_with_inputs() -> None:
    """The table of verbs says of each verb with inputs, and of no other, that `--` ends its signs."""
    for verb in VERBS.values():
        assert (verb.free == "--") == issubclass(verb.kind, InputsOptions), verb.name


def test_a_cell_sends_its_result_nowhere() -> None:
    """There are neither pipes nor files where the result is a value, and no second line."""
    for text, said in (
        ("find > x", ">: only at the prompt"),
        ("find | wc", "|: only at the prompt"),
        ("!ls", "!: only at the prompt"),
        ("find; ping", "one line is meant, and these are 2: ping"),
    ):
        with pytest.raises(UsageError) as caught:
            split_line(text)
        assert said in str(caught.value)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_what_a_shell_has_quoted_comes_back(words: list[str]) -> None:
    """Whatever words there are, quoted as `shlex.join` quotes they are these words again."""
    assert split_line("find " + shlex.join(words)) == ["find", *words]


@pytest.fixture(scope="module")
def heard() -> Iterator[list[Sequence[str]]]:
    """The words of each line that would have been run."""
    found: list[Sequence[str]] = []

    def run_and_show(words: Sequence[str], context: Context, *_: object) -> int:
        found.append(tuple(words))
        context.left = list(words) == ["exit"]
        return 0

    def run_shell(command: str, _screen: Screen) -> int:
        found.append(("!", command))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "run_and_show", run_and_show)
        patch.setattr(running, "_run_shell", run_shell)
        patch.setattr(running, "shower_of", lambda line: line)
        yield found


class Typed:
    """An operator who types one text and leaves."""

    def __init__(self, text: str) -> None:
        self._texts = [text]

    def prompt(self) -> str:
        """The text, then Ctrl-D."""
        if not self._texts:
            raise EOFError
        return self._texts.pop()


def to_be_run(text: str) -> Iterator[Sequence[str]]:
    """The words of each line, until one that is not whole."""
    for one in read_lines(text):
        if one.open:
            return
        yield ("!", one.rest[0].text) if one.sign == "!" else one.meant


@given(text=TEXTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_faces_read_the_same_words(text: str, heard: list[Sequence[str]]) -> None:
    """Prompt, script, `-e` and completion agree on the words of each line; a cell, where it is one."""

    def faces() -> Iterator[list[Sequence[str]]]:
        for face in ("prompt", "script", "-e"):
            heard.clear()
            if face == "prompt":
                loop(Typed(text), Context("prompt"), Screen(io.StringIO(), io.StringIO(), None))
            elif face == "-e":
                main(["-e", text])
            else:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("sys.stdin", io.StringIO(text))
                    main([])
            yield list(heard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", io.StringIO())
        prompt, script, line = faces()
    assert prompt == script == line == list(to_be_run(text))
    for one in read_lines(text):
        if one.open:
            continue
        assert read_lines(one.text) == read_lines(f"{one.text}\n") != []
        (again,) = read_lines(one.text)
        assert (again.meant, again.sign) == (one.meant, one.sign)
        if not one.sign:
            assert scan(f"{one.text}\n").words == ()
            assert split_line(one.text) == list(one.meant)
            free = one.meant[one.begun :][:1] == ("sql",)  # a blank may belong to a query
            assert free or scan(f"{one.text} ").words == one.meant[one.begun :]


@pytest.mark.parametrize(
    "text",
    [
        "rpc odd echo text={}",
        "rpc odd echo text='{}'",
        'rpc odd echo text="{}"',
        "sql select {}",
        "sql select '{}'",
        "find | grep {}",
        "find > {}",
        "# {}",
        "!{}",
    ],
)
def test_a_long_word_is_read_in_one_go(text: str) -> None:
    """A megabyte takes hundredths of a second; what was quadratic took 22."""
    began = time.process_time()
    line = text.format("x" * 1_000_000)
    read_lines(line)
    scan(line)
    assert time.process_time() - began < 5
