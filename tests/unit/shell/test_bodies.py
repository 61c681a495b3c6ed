"""What programs wrote, as `clush -b` shows it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.analysis.answers import Answers
from mcshell.shell.bodies import bodies_of, folded_bodies


def answers(**nodes: dict[str, Any]) -> Answers:
    """Nodes and what each has said; a node's `state` is ok where it says none."""
    common = {"state": "ok", "statusmsg": ""}
    names = ("state", "statusmsg", "exitcode", "stdout", "stderr", "elapsed")
    columns = {name: [{**common, **one}.get(name) for one in nodes.values()] for name in names}
    return Answers(tuple(nodes), columns)


def drawn(said: Answers) -> str:
    """The blocks as a pipe gets them."""
    return folded_bodies(said, bodies_of(said), cut=False, paint=False)[0]


RULE = "-" * 15


def test_nodes_that_said_the_same_stand_together() -> None:
    """The largest group comes first, each with its names and their number, the text below."""
    up = {"exitcode": 0, "stdout": " 12:00 up 3 days\n", "stderr": ""}
    said = answers(web1=up, db1={**up, "stdout": "other\n"}, web2={**up, "elapsed": 2.5})
    assert drawn(said).splitlines() == [
        RULE,
        "web[1-2] (2)",
        RULE,
        " 12:00 up 3 days",
        RULE,
        "db1 (1)",
        RULE,
        "other",
    ]
    assert folded_bodies(said, bodies_of(said), cut=False, paint=False)[1] == ["elapsed"]


def test_who_is_not_well_has_a_block_that_says_so() -> None:
    """An exit code, a denial and a silence are in the heading; nobody is left out."""
    said = answers(
        web1={
            "exitcode": 3,
            "stdout": "a\n",
            "stderr": "b\n",
            "state": "failed",
            "statusmsg": "exit 3",
        },
        web2={"state": "silent", "statusmsg": "no answer"},
    )
    assert drawn(said).splitlines() == [
        RULE,
        "web1 (1): failed, exitcode 3: exit 3",
        RULE,
        "a",
        "stderr:",
        "b",
        RULE,
        "web2 (1): silent: no answer",
        RULE,
    ]


def test_what_is_more_than_a_text_stays_a_table() -> None:
    """Only what a program or a file says, or a text that is all there is, is shown so."""
    senders = ("a", "b")
    said = Answers(senders, {"sender": ["a", "b"], "version": ["1.10", "2\nlines"]})
    assert bodies_of(said) == []
    texts = ["1\n2\n", "2\n3\n"]
    update = Answers(senders, {"sender": ["a", "b"], "before": ["1", "1"], "output": texts})
    assert bodies_of(update) == []
    assert bodies_of(Answers(senders, {"sender": ["a", "b"], "motd": texts})) == ["motd"]
    tail = Answers(senders, {"sender": ["a", "b"], "path": ["/x", "/x"], "content": texts})
    assert bodies_of(tail) == ["content"]


@given(st.lists(st.text("-\nab1 ()", max_size=60), min_size=1, max_size=4))
def test_no_node_draws_a_heading_of_its_own(texts: list[str]) -> None:
    """The rulers are longer than any line of dashes in a text, so each heading is ours."""
    said = answers(**{f"n{at}": {"stdout": text, "stderr": ""} for at, text in enumerate(texts)})
    lines = drawn(said).split("\n")
    rulers = [at for at, line in enumerate(lines) if line == lines[0]]
    assert [end - begin for begin, end in zip(rulers[::2], rulers[1::2], strict=True)] == [2] * (
        len(rulers) // 2
    )
    heads = [lines[at + 1] for at in rulers[::2]]
    assert sum(int(head.rpartition("(")[2].rstrip(")")) for head in heads) == len(texts)


def test_what_a_terminal_would_act_on_is_drawn() -> None:
    """Escapes in a text, and in what a node says of its failure, are shown as escapes."""
    said = answers(web1={"stdout": "\x1b[2J\u202e\n", "state": "failed", "statusmsg": "\x1b[31m"})
    for paint in (False, True):
        text = folded_bodies(said, bodies_of(said), cut=True, paint=paint)[0]
        assert "\\x1b[2J\\u202e" in text
        assert "\\x1b[31m" in text
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
