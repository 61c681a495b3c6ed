"""The one grammar: what it reads, what it refuses, and that it never exits or prints."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.grammar import elsewhere
from mcshell.commands.grammar import verbs as grammar
from mcshell.commands.grammar.parser import (
    help_text,
    numbered_lines,
    parse,
    split_line,
)
from mcshell.errors import UsageError


def test_inputs_and_options_mix_in_any_order() -> None:
    """`input=value` words may stand before, between and after options."""
    options = parse(split_line("rpc a b x=1 -F os=Debian y='two words' --dt 3s -j z=-1")).options
    assert (options.agent, options.action) == ("a", "b")
    assert options.inputs == ["x=1", "y=two words", "z=-1"]
    assert options.fact == ["os=Debian"]
    assert options.discovery_timeout == 3.0
    assert options.format == "json"


def test_every_targeting_option_of_mcollective_is_read() -> None:
    """The short options are MCollective's own, and each may come several times."""
    line = (
        "rpc a b -F f=1 --wf g=2 -C c -A ag -I web1 -I /^db/ -S 'os=Debian and !web' -T eu "
        "--nodes hosts.txt --dm file --no-known --limit 10% --limit-seed 4 --one --session s "
        "-t 1m --via direct --ttl 7d --batch 5 --batch-sleep 2s --max-failures 20% -b -y --senders"
    )
    found = vars(parse(split_line(line)).options)
    assert found["fact"] == ["f=1", "g=2"]
    assert found["identity"] == ["web1", "/^db/"]
    assert found["compound"] == ["os=Debian and !web"]
    assert (found["cls"], found["agent_filter"], found["collective"]) == (["c"], ["ag"], "eu")
    assert (found["nodes"], found["source"], found["known"]) == ("hosts.txt", "file", False)
    assert (found["limit"], found["limit_seed"], found["one"]) == ("10%", 4, True)
    assert (found["timeout"], found["ttl"], found["via"]) == (60.0, 604800.0, "direct")
    assert (found["batch"], found["batch_sleep"], found["max_failures"]) == ("5", 2.0, "20%")
    assert found["background"]
    assert found["yes"]
    assert (found["session"], found["format"]) == ("s", "senders")


def test_words_behind_two_dashes_are_no_options() -> None:
    """For a verb that takes inputs they are kept as they are; without dashes there are none."""
    found = parse(split_line("rpc exec run -I web1 x=1 -- ls -l --json 'a b' -- c")).options
    assert found.behind == ["ls", "-l", "--json", "a b", "--", "c"]
    assert (found.inputs, found.identity, found.format) == (["x=1"], ["web1"], None)
    assert parse(split_line("job submit exec run --at 04:00 -- ls")).options.behind == ["ls"]
    assert parse(split_line("rpc exec run")).options.behind is None
    assert parse(split_line("facts -- os")).options.name == "os"


def test_a_session_may_go_without_its_name() -> None:
    """`session export FILE` is the current one, with two words the first is its name."""
    options = [parse(split_line(f"session export {words}")).options for words in ("f", "s f")]
    assert [(one.session, one.file) for one in options] == [(None, "f"), ("s", "f")]


@pytest.mark.parametrize("face", ["cli", "prompt", "magic"])
@pytest.mark.parametrize("line", ["ping -F os=Debian", "rpc rpcutil ping x=1", "requests --json"])
def test_the_faces_read_a_line_alike(face: str, line: str) -> None:
    """The three faces differ only in what is the face's own."""
    own = {"config", "store"}
    seen = vars(parse(split_line(line), face=face).options)
    cli = vars(parse(split_line(line), face="cli").options)
    assert {k: v for k, v in seen.items() if k not in own} == {
        k: v for k, v in cli.items() if k not in own
    }


@pytest.mark.parametrize("word", ["batch", "--batch", "-F", "limit", "ttl", "canary"])
def test_an_option_is_explained_with_the_verbs_that_have_it(word: str) -> None:
    """Who knows an option's name alone asks for its help by that, with dashes or without."""
    shown, verbs = help_text([word]).splitlines()[:2]
    flag = word if word.startswith("-") else f"--{word}"
    assert flag in shown.partition(":")[0].split()
    assert "rpc" in verbs.replace(",", "").split()


def test_every_option_has_a_line_of_help() -> None:
    """No name of an option leads nowhere, and none is shown as argparse writes it."""
    arguments = [one for verb in grammar.VERBS.values() for one in verb.kind.arguments().values()]
    for flag in {flag for one in arguments for flag in one.flags}:
        told = help_text([flag])
        assert flag in told
        assert "%(" not in told


@pytest.mark.parametrize("word", sorted(elsewhere.VERBS_ELSEWHERE))
def test_what_other_tools_call_a_verb_leads_to_one(word: str) -> None:
    """No word of theirs is one of ours, and what is named for it here begins with a verb."""
    assert not grammar.begins_verb(word)
    first = elsewhere.VERBS_ELSEWHERE[word].split()[0].rstrip(",")
    assert first == "VERB" or grammar.begins_verb(first)


def test_the_first_word_of_several_verbs_is_not_corrected() -> None:
    """Who says `session` alone has misspelled nothing: what may follow is all that is said."""
    with pytest.raises(UsageError, match=r"drop is meant$"):
        parse(split_line("session"))


@pytest.mark.parametrize("face", ["prompt", "magic"])
def test_help_of_verbs_that_are_elsewhere_says_where(face: grammar.Face) -> None:
    """At the prompt and in a cell `help pki` lists what there is on the command line, and says so."""
    told = parse(["help", "pki"], face=face).help
    assert "On the command line, as mcshell pki ..." in told
    assert "  pki init " in told


def test_help_of_help_is_the_help() -> None:
    """`help help`, as people type it first, is no question about a verb of that name."""
    assert parse(["help", "help"]).help == parse(["help"]).help


@pytest.mark.parametrize(
    ("line", "beside"),
    [
        ("help pki", ""),
        ("pki -h", ""),
        ("pki --help", ""),
        ("help job", "job.submit"),
        ("help broker", "--listen HOST:PORT"),
        ("broker -h", "--listen HOST:PORT"),
    ],
)
def test_help_of_the_first_word_of_several_verbs_lists_them(line: str, beside: str) -> None:
    """Help about `pki` is a list of its verbs, beside what the manual or the verb `broker` says."""
    told = parse(split_line(line)).help
    (word,) = {*line.split()} - {"help", "-h", "--help"}
    verbs = [verb for verb in grammar.VERBS.values() if verb.name.startswith(f"{word} ")]
    assert verbs
    listed = [re.search(rf"^  {one.name} +{one.summary}$", told, re.MULTILINE) for one in verbs]
    assert all(listed), told
    assert beside in told
    assert "\n  ping" not in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pnig", ["unknown verb 'pnig'", "did you mean ping"]),
        (
            "pki",
            [
                "one of init, issue, list, revoke, rotate, token, requests, receive, sign, serve, publish is meant"
            ],
        ),
        ("pki isue web1", ["unknown verb 'pki isue'", "did you mean issue?"]),
        ("ping --timout 3", ["unknown option --timout", "did you mean --timeout"]),
        ("ping --time 3", ["unknown option --time"]),
        ("ping --form=json", ["unknown option --form", "--format"]),
        ("ping -Z", ["unknown option -Z (help ping lists them)"]),
        ("ping -1", ["unknown option -1 (here: --one)"]),
        ("rpc rpcutil ping -W web", ["-W (here: -F FACT=VALUE, -C CLASS, or -S with both)"]),
        ("rpc service restart name=x --serial 2", ["unknown option --serial (here: --batch)"]),
        ("rpc service restart name=x --failhard", ["--failhard (here: --max-failures 1)"]),
        ("rpc service restart name=x --subset 2", ["--subset (here: --limit)"]),
        ("rpc service status name=x --display ok", ["--display (here: --only state=failed"]),
        ("ping --out json", ["--out (here: --format)"]),
        ("rpc service restart name=x --noop", ["--noop (help see-before-a-change)"]),
        ("cp a web1:/b --dry-run", ["--dry-run (here: --noop)"]),
        ("rpc service restart name=x --check", ["--check (help see-before-a-change)"]),
        ("find --disc-method=file", ["--disc-method (here: --dm)"]),
        ("cp -r conf @web:/etc/", ["unknown option -r (folders are not copied: name the files"]),
        ("cp --archive conf web1:/etc/", ["--archive (folders are not copied"]),
        ("doctor -1", ["unknown option -1 (help doctor lists them)"]),
        ("-I web1 ping", ["-I: a line begins with its verb, options stand behind it"]),
        ("mco ping -I web1", ["unknown verb 'mco': without it, 'ping' is one"]),
        ("cmd.run ls", ["unknown verb 'cmd.run' (here: rpc exec run -- COMMAND)"]),
        ("salt * test.ping", ["unknown verb 'salt' (here: VERB ..., the nodes behind it"]),
        ("playbook site.yml", ["unknown verb 'playbook' (here: plan run FILE)"]),
        (
            "rpc exec run -I web1 ls -l",
            ["unknown option -l (here: -I", "); the words of a command stand behind --"],
        ),
        ("nodes", ["unknown verb 'nodes' (here: find)"]),
        ("revoke web1", ["unknown verb 'revoke' (here: pki revoke)"]),
        ("list", ["unknown verb 'list' (here: session list, job list, plan list, pki list)"]),
        ("help grains", ["unknown verb 'grains' (here: facts NAME)"]),
        ("zzz", ["unknown verb 'zzz' (help lists them)"]),
        ("agent", ["agent: one of new is meant (did you mean agents?)"]),
        ("x" * 5000, [f"unknown verb '{'x' * 60}'"]),
        (f"ping --{'x' * 5000}", [f"unknown option --{'x' * 58}"]),
        (f"ping {'x' * 5000}", [f"'{'x' * 60}' is one word too many"]),
        ("ping?", ["unknown verb 'ping?' (here: help ping)"]),
        ("?", ["unknown verb '?' (here: help)"]),
        ("find web1", ["'web1' is one word too many (a node's name goes with -I)"]),
        ("ping role=web", ["'role=web' is one word too many (a fact goes with -F)"]),
        ("facts os.name 'role=web and x'", ["one word too many (an expression goes with -S)"]),
        ("rpc", ["AGENT and ACTION are missing"]),
        ("rpc rpcutil", ["ACTION is missing"]),
        ("rpc a b --via brodcast", ["--via", "did you mean broadcast?"]),
        ("rpc a b --dm fille", ["--dm", "did you mean file?"]),
        ("ping --format jsno", ["did you mean json"]),
        ("ping -t soon", ["--timeout", "'soon' is no duration"]),
        ("ping --limit 0", ["--limit", "'0' is no number or percentage"]),
        (f"ping --limit {'9' * 5000}", ["--limit", f"'{'9' * 60}' is no number or percentage"]),
        (f"ping --limit-seed {'9' * 5000}", ["--limit-seed", f"'{'9' * 60}' is no whole number"]),
        ("ping --limit many", ["--limit", "'many' is no number or percentage"]),
        ("ping --limit-seed x", ["--limit-seed", "'x' is no whole number"]),
        ("ping --nodes", ["--nodes", "expected one argument"]),
        ("ping --json --senders", ["--senders", "not allowed with"]),
        ("pki issue web1 --kind nod", ["--kind", "did you mean node?"]),
        ("pki issue web1", ["--kind is missing"]),
        ("help pnig", ["unknown verb 'pnig'"]),
    ],
)
def test_what_means_nothing_is_one_line_that_says_what_was_meant(
    line: str, words: list[str]
) -> None:
    """Each refusal is a single line with the culprit and the nearest thing that exists."""
    with pytest.raises(UsageError) as caught:
        parse(split_line(line))
    assert caught.value.exit_code == 64
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for word in words:
        assert word in message


def test_services_belong_to_the_command_line() -> None:
    """A prompt or a cell that asks for a service is told where it runs."""
    for face in ("prompt", "magic"):
        with pytest.raises(UsageError, match="only on the command line: mcshell broker"):
            parse(["broker", "--data", "x"], face=face)
        offered = [line.split()[:1] for line in help_text(face=face).splitlines()]
        assert ["ping"] in offered
        assert ["broker"] not in offered
    assert parse(["broker", "--data", "x"]).options.data == "x"


@pytest.mark.parametrize("verb", list(grammar.VERBS))
def test_every_verb_has_help_as_text(verb: str) -> None:
    """`help VERB` and `VERB -h` give the same text, which names the verb; nothing exits."""
    face = grammar.VERBS[verb].only or "cli"
    text = help_text(verb.split(), face=face)
    assert verb in text
    assert grammar.VERBS[verb].summary in text
    assert parse([*verb.split(), "--help"], face=face).help == text
    assert parse(["help", *verb.split()], face=face).help == text


@pytest.mark.parametrize(
    "verb",
    [verb for verb in grammar.VERBS.values() if not verb.target.startswith("face:")],
    ids=lambda verb: verb.name,
)
def test_the_function_of_a_verb_takes_what_its_lines_say(verb: grammar.Verb) -> None:
    """The table pairs functions and options by name: the function's own type is that one or a base."""
    place, _, name = verb.target.partition(":")
    function = getattr(import_module(f"mcshell.commands.verbs.{place}"), name)
    taken = list(function.__annotations__.values())[1].rpartition(".")[2]
    assert taken in [base.__name__ for base in verb.kind.__mro__]


def test_what_a_line_says_does_not_change() -> None:
    """Nothing can be written into it; a copy may say something else."""
    said = parse(["ping", "-t", "3"]).options
    with pytest.raises(AttributeError, match="timeout does not change"):
        said.timeout = 5.0
    other = said.replace(timeout=5.0)
    assert (said.timeout, other.timeout, type(other)) == (3.0, 5.0, type(said))


def test_help_lists_the_verbs() -> None:
    """Without a verb help lists all that the face offers."""
    for words in ([], ["help"], ["-h"], ["--help"]):
        found = parse(words)
        assert found.verb is None
        for verb in grammar.offered("cli"):
            assert verb in found.help


def test_a_line_splits_as_a_shell_would() -> None:
    """Quotes group words and go away; an open quote is an error of one line."""
    assert split_line("rpc a b x='1 2' y=\"z\"") == ["rpc", "a", "b", "x=1 2", "y=z"]
    with pytest.raises(UsageError, match="no closing quotation"):
        split_line("rpc 'a")


def test_a_script_is_cut_at_line_ends_and_semicolons_outside_quotes() -> None:
    """Quotes protect `;`, a backslash continues a line, `#` lines are dropped."""
    script = "a 'b;c' ; d \\; e\n# don't; run\n\nf \\\n g\nh 'two\nlines'\n   # end"
    lines = [(1, "a 'b;c'"), (1, "d \\; e"), (4, "f \\\n g"), (6, "h 'two\nlines'")]
    assert numbered_lines(script) == lines


@given(st.lists(st.from_regex(r"[a-z]([a-z =.]*[a-z])?", fullmatch=True), max_size=5))
def test_joined_lines_come_apart_again(lines: list[str]) -> None:
    """Whatever plain lines are joined by `;` or line ends come back as they were."""
    for mark in (";", "\n"):
        assert [line for _number, line in numbered_lines(mark.join(lines))] == lines


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_words_give_an_invocation_or_a_usage_error(words: list[str]) -> None:
    """No words make the parser exit, print or break."""
    try:
        parse(words)
    except UsageError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right
