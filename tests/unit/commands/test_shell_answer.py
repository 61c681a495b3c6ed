"""What a shell is told when Tab is pressed: pure, from a cache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.completion import Cache
from mcshell.commands.completion.answer import answer, ways
from mcshell.commands.completion.shell_words import read_shell_line
from mcshell.commands.completion.values import LIMIT
from tests.unit.commands.test_hostile_names import LINES, NASTY, knowing

CACHE = Cache(
    nodes=("db1", "web1", "web2"),
    facts={"os.name": ("Debian", "Rocky Linux"), "role": ("db", "web")},
    classes=("role::db",),
    aliases={"upd": "rpc package update"},
)


def told(shell: str, text: str, word: str = "", cache: Cache = CACHE) -> list[str]:
    """The lines of an answer."""
    return answer(shell, text, word, lambda _path: cache).splitlines()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "word", "lines"),
    [
        ("mcshell find -I we", "we", ["space", "web1", "web2"]),
        ("mcshell find -F ro", "ro", ["open", "role="]),
        ("mcshell find -F role=", "", ["space", "db", "web"]),
        ("mcshell find -F os.name=R", "R", ["space", "Rocky\\ Linux"]),
        ("mcshell find -F 'os.name=R", "os.name=R", ["space", "os.name=Rocky Linux"]),
        ("mcshell find -C role::d", "d", ["space", "db"]),
        ("mcshell ping > fi", "fi", ["shell"]),
        ("sudo mcshell find -I d", "d", ["space", "db1"]),
        ("mcshell find -I $x", "$x", []),
        ("mcshell find -I we", "other", []),
        ("mcshell find -I zz", "zz", []),
        ("mcshell --format vert", "vert", ["space", "vertical"]),
        ("mcshell --format=csv find -I d", "d", ["space", "db1"]),
        ("mcshell -e 'find -I d", "find -I d", ["open", "find -I db1"]),
    ],
)
def test_what_bash_is_told(text: str, word: str, lines: list[str]) -> None:
    """What takes the place of the end of the line that readline has looked for, behind `=` and `:`."""
    assert told("bash", text, word) == lines


def test_what_the_others_are_told() -> None:
    """The whole word as it is meant, with a remark."""
    assert told("zsh", "mcshell find -F os.name=R") == ["os.name=Rocky Linux\tspace\t"]
    assert told("zsh", "mcshell find -F ro") == ["role=\topen\tdb, web"]
    assert told("fish", "mcshell find -F ro") == ["role=\tdb, web"]


def test_the_first_spelling_holds() -> None:
    """What a shell puts in the place of a word is never shorter: candidates begin alike."""
    cache = Cache(sessions=("Alpha", "aleph", "ALPHA"))
    assert told("fish", "mcshell session attach AL", cache=cache) == ["ALPHA\t"]
    assert told("fish", "mcshell session attach al", cache=cache) == ["aleph\t"]
    assert told("fish", "mcshell session attach aL", cache=cache) == ["Alpha\t"]


MANY = tuple(f"n{number:04}" for number in range(5000))


@pytest.mark.parametrize(
    ("line", "cache"),
    [
        ("find -I n", Cache(nodes=MANY)),
        ("find -C n", Cache(classes=MANY)),
        ("find -F n", Cache(facts=dict.fromkeys(MANY, ("x",)))),
        ("find -F x=n", Cache(facts={"x": MANY})),
        ("session attach n", Cache(sessions=MANY)),
        ("session attach n", Cache(sessions=MANY[::-1])),
    ],
)
def test_what_all_begin_with_is_so_of_those_that_are_not_offered(line: str, cache: Cache) -> None:
    """Of 5,000 names a few are offered, and a shell that types what they share types no wrong letter."""
    _after, *offered = told("bash", f"mcshell {line}", "n", cache)
    assert LIMIT - 1 <= len(offered) <= LIMIT
    assert len({name[1] for name in offered}) > 1
    assert {*offered} <= {*MANY, *(f"{name}=" for name in MANY)}


def test_options_are_no_names() -> None:
    """A node whose name reads as an option is not offered: the line would ask something else."""
    assert [one.text for one in ways(["find", "-I"], "", Cache(nodes=("--yes", "-y", "web1")))] == [
        "web1"
    ]


@given(
    name=NASTY,
    value=NASTY,
    typed=st.sampled_from(LINES),
    shell=st.sampled_from(("bash", "zsh", "fish")),
)
def test_what_nodes_say_is_one_word(name: str, value: str, typed: str, shell: str) -> None:
    """Whatever nodes say, an answer's lines are those of its candidates, and bash reads each as one word."""
    text = f"mcshell {typed}"
    line = read_shell_line(text, "bash")
    start = len(text) - len(
        text.replace("=", " ").replace("'", " ").replace('"', " ").split(" ")[-1]
    )
    word = text[start:] if not line.quote else text[text.index(line.quote) + 1 :]
    said = answer(shell, text, word, lambda _path: knowing(f"role{name}", value))  # type: ignore[arg-type]
    for one in said.splitlines()[shell == "bash" :]:
        whole, *more = one.split("\t")
        assert len(more) == {"bash": 0, "zsh": 2, "fish": 1}[shell]
        assert whole.isprintable()
        if shell == "bash":
            front = text.removesuffix(word) + whole
            end = "" if not line.quote or whole.endswith(line.quote) else line.quote
            read = read_shell_line(f"{front}{end} ", "bash")
            assert len(read.words) == len(line.words) + 1
            assert read.quote == ""
            assert read.words[: len(line.words)] == line.words
