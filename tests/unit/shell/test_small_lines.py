"""Lines that need no fleet: what a prompt says of itself, hints, aliases, help on the languages."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from mcshell.client.session.references import parse_reference
from mcshell.commands.completion import Cache, candidates
from mcshell.commands.context import Context
from mcshell.commands.grammar import topics
from mcshell.commands.grammar.options import Options
from mcshell.commands.grammar.parser import only_line, parse
from mcshell.commands.verbs.config_show import show
from mcshell.commands.verbs.prompt import typed_lines
from mcshell.errors import ConfigError
from mcshell.filters.expressions import compile_expression, parse_compound
from mcshell.filters.rows import compile_rows
from mcshell.schedule import local_zone, parse_at
from mcshell.shell.lines import run_lines
from mcshell.shell.output import Screen

if TYPE_CHECKING:
    from pathlib import Path

Run = "Callable[[str], tuple[int, str, str]]"
ALIASES = """
[aliases]
down = "ping --only state=silent"
asked = "doc package"
q3 = "sql --json"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run lines at a prompt whose configuration has only aliases: code, standard output and error."""
    (tmp_path / "c.toml").write_text('state = "state"\n' + ALIASES)
    monkeypatch.setenv("MCSHELL_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.chdir(tmp_path)

    def lines(text: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        code = run_lines(text, Context("prompt"), Screen(out, err, None))
        return code, out.getvalue(), err.getvalue()

    return lines


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exec run uptime", "unknown verb 'exec': it is an agent, asked so: rpc exec run -- uptime"),
        ("exec run -I web1 a=b", "it is an agent, asked so: rpc exec run -I web1 a=b"),
        ("package", "it is an agent, asked so: rpc package ACTION"),
        ("service nginx restart -F role=web", "it is an agent, asked so: rpc service restart name=nginx -F role=web"),
        ("service nginx restart -I web1", "it is an agent, asked so: rpc service restart name=nginx -I web1"),
        ("service.restart name=nginx", "it is an agent, asked so: rpc service restart name=nginx"),
        ("package openssl status", "it is an agent, asked so: rpc package status name=openssl"),
        ("service a b restart", "it is an agent, asked so: rpc service a b restart"),
        ("rpc service nginx restart", "agent service has no action 'nginx': asked so: rpc service restart name=nginx"),
        ("rpc service nginx", "agent service has no action 'nginx': it has"),
        ("rpc exec ls run", "agent exec has no action 'ls': asked so: rpc exec run -- ls"),
        ("package.none", "unknown verb 'package.none'"),
        ("rpc exec run uptime -a", "unknown option -a"),
        ("rpc exec run df /", "'df': input=value is meant; the words of a command stand behind --: rpc exec run -- df /"),
        ("rpc package status name = bash", "'name': input=value is meant, as one word without spaces around =\n"),
        ("rpc rpcutil ping -1", "unknown option -1 (here: --one)\n"),
        ("rpc package status openssl", "'openssl': input=value is meant, such as name=openssl"),
        ("rpc rpcutil ping x", "'x': input=value is meant\n"),
        ("doc package.status status", "'status' is one word too many: package.status is an action"),
        ("retry -r a b", "one request is meant, not a and b"),
        ("watch 5", "watch: N seconds above 0 and a LINE are meant, such as watch 5 ping"),
        ("watch 0 version", "watch: N seconds above 0"),
        ("watch soon version", "'soon' is no duration"),
        ("watch 5 watch 5 version", "watch: watch is nothing to be watched"),
        ("watch 5 help", "watch: help is nothing to be watched"),
        ("watch 5 pnig", "unknown verb 'pnig'"),
        ("broker --data x", "broker: only on the command line: mcshell broker"),
        ("find > f | wc", "one word too many (a file or a command, not both)"),
        ("find 'a", "no closing quotation: find 'a"),
        ("find | while read a; do", "the command behind | lacks its done"),
    ],
)  # fmt: skip
def test_a_slip_is_told_what_was_meant(line: str, said: str, run: Run) -> None:
    """One line on standard error, 64, and nothing else happens."""
    code, out, err = run(line)
    assert (code, out, err.count("\n")) == (64, "", 1), err
    assert said in err


def test_the_second_word_of_doc_is_the_action(run: Run) -> None:
    """`doc package status` is `doc package.status`."""
    assert run("doc package status") == run("doc package.status")
    assert "name" in run("doc package status")[1]


def test_version_and_history(run: Run, tmp_path: Path) -> None:
    """Which mcshell this is, and which lines were typed, the newest last."""
    assert run("version")[1].startswith("mcshell ")
    assert "no line is kept" in run("history")[2]
    (tmp_path / "state").mkdir()
    kept = "\n# 2026-11-25 10:00:00.5\n+find\n+-j\n\n# 2026-11-25 10:00:01\n+ping\n+\n"
    (tmp_path / "state" / "history").write_text(kept)
    assert re.search(r"2026-11-25 10:00:01\S* +ping", run("history")[1])
    assert "find" not in run("history 1")[1]
    assert [line for _when, line in typed_lines(kept.splitlines())] == ["find\n-j", "ping\n"]
    assert list(typed_lines(["+a", "# never", "+b"])) == [(None, "a"), (None, "b")]


def test_leaving_ends_a_script(run: Run) -> None:
    r"""`exit`, `quit` and `\\q`, with and without `;`; the code is that of the lines before."""
    for word in ("exit", "exit;", "quit", "\\q", "q"):
        assert run(f"version\n{word}\nhelp")[1].count("\n") == 1
    assert run("# it's\nexit; pnig")[0] == 0


def test_a_line_of_the_shell_in_a_script(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """It is the shell's to the end of the line, its code is the line's, and the script goes on."""
    code, out, _ = run("!echo a; echo b; exit 3\nversion")
    assert (code, capfd.readouterr().out) == (3, "a\nb\n")
    assert out.startswith("mcshell ")


def test_an_empty_screen_is_a_terminals() -> None:
    """`clear` writes nothing into a file."""
    for width, text in ((80, "\x1b[H\x1b[2J"), (None, "")):
        out = io.StringIO()
        assert run_lines("clear", Context("prompt"), Screen(out, io.StringIO(), width)) == 0
        assert out.getvalue() == text


def test_aliases_stand_for_the_beginning_of_a_line(run: Run) -> None:
    """At the prompt, in scripts and on the command line; what they begin reads the rest."""
    assert run("asked status")[1] == run("doc package status")[1]
    context = Context("cli")
    shown = {key: value for key, value, _origin in show(context, Options()).rows}
    assert shown["aliases.asked"] == "doc package"
    assert context.understand(["down", "-j"]).options.only == "state=silent"
    line = only_line("q3 select a > 3", context.alias)
    assert line is not None
    assert line.meant == ("sql", "--json", "select a > 3")
    cache = Cache(aliases={"down": "ping --only state=silent"})
    assert [one.text for one in candidates("dow", 3, cache)] == ["down"]
    assert "state=silent" in [one.text for one in candidates("ping --only state=s", 19, cache)]
    assert "--json" in [one.text for one in candidates("down --j", 8, cache)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('ping = "find"', "aliases.ping: there is a verb of that name"),
        ('exit = "find"', "aliases.exit: there is a verb of that name"),
        ('a = "find | wc"', "aliases.a: |: only at the prompt"),
        ('a = "find; ping"', "aliases.a: one line is meant"),
        ("""a = "find 'x" """, "aliases.a: no closing quotation"),
        ('a = " "', "aliases.a: it says nothing"),
        ("a = 5", "aliases.a: 5 is not text"),
    ],
)
def test_an_alias_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """When the prompt begins, with its name."""
    (tmp_path / "c.toml").write_text(f"[aliases]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        Context("prompt", tmp_path / "c.toml").check_aliases()
    assert said in str(caught.value)


def examples(name: str) -> list[str]:
    """The lines of a language's help that can be typed."""
    found = re.findall(r"^  (\S.*?)(?:  .*)?$", topics.text(name), re.MULTILINE)
    assert len(found) > 4
    return found


@pytest.mark.parametrize("name", topics.LANGUAGES)
def test_help_on_a_language_shows_lines_that_can_be_typed(name: str, run: Run) -> None:
    """Every example is a line of ours, and what is in it is of the language."""
    assert run(f"help {name}")[1] == topics.text(name)
    assert name in run("help")[1]
    for text in examples(name):
        line = only_line(text)
        assert line is not None
        options = parse(line.meant, face="prompt").options
        for filter_ in getattr(options, "compound", ()):
            compile_expression(parse_compound(filter_))
        if getattr(options, "only", None):
            compile_rows(options.only)
        if getattr(options, "at", None):
            parse_at(options.at, 0.0, local_zone())
        for reference in (getattr(options, "request", None), getattr(options, "diff", None)):
            assert reference is None or parse_reference(reference) is not None
