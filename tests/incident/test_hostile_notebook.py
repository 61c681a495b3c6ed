"""What nodes, operators and files say of themselves is text in an incident's notebook, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown import markdown2html

from mcshell.client.session.evidence import RequestEvidence
from mcshell.commands.output.incident import IncidentSession, incident, plain
from mcshell.message import Reply, State

OURS = {"h1", "h2", "ul", "li", "p", "strong", "a"}
NASTY = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "```\nimport os; os.remove('x')\n```",
    "`code` **bold** _em_ ~~gone~~ [a](javascript:alert(1)) ![i](http://example.com/i.png)",
    "http://example.com www.example.com someone@example.com",
    "# heading\n\n| a | b |\n|---|---|\n\n- list\n\n1. one\n---\n===",
    "$\\alpha$ $$x$$ \\(x\\) \\[x\\] \\begin{equation}",
    "&lt;b&gt; &#60; &amp;",
    "\x00\x1b[31m\r\n\u2028\u202e\u2066\ud800",
    "') or __import__('os').system('x') #",
    "{{ evil }} {% raw %} {variable} %system !ls",
    "x" * (10 << 20),
)


class Rendered(HTMLParser):
    """The tags and the text of a rendered cell."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.text = ""
        self.feed(markdown2html(source))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and where it leads."""
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def book(text: str) -> dict[str, Any]:
    """A notebook in which everything that another may have written is this text."""
    reply = Reply(
        requestid=text,
        sender=text,
        sequence=2,
        statuscode=1,
        statusmsg=text,
        data={text: text},
        created=1.0,
        state=State.FAILED,
    )
    asked = RequestEvidence(
        id=text,
        agent=text,
        action=text,
        via=text,
        caller=text,
        created=float("inf"),
        origin=text,
        data={text: text},
        replies=[(reply, 1.0)],
    )
    session = IncidentSession(
        name=text,
        file=text,
        sha256=text,
        caller=text,
        requests=[asked],
        problems={None: [text], text: [text]},
        notes=[text],
    )
    return incident(text, [session])


def check(text: str) -> None:
    """It is a notebook; its Markdown shows tags of ours alone; its code calls us, with literals."""
    made = book(text)
    assert len(json.dumps(made)) < 100_000 + 30 * min(len(text), 1 << 21) or len(text) > 1 << 20
    nbformat.validate(nbformat.from_dict(made))
    for cell in made["cells"]:
        if cell["cell_type"] == "markdown":
            shown = Rendered(cell["source"])
            assert shown.tags <= OURS, cell["source"]
            assert all(link is not None and link.startswith("#") for link in shown.links)
            assert not re.search(r"[`<>$\\\[\]]", cell["source"]), cell["source"]
        else:
            calls(cell["source"])


def calls(source: str) -> None:
    """Nothing but our own names, and literals."""
    names = {"pandas", "mcshell", "session1"}
    for node in ast.walk(ast.parse(source)):
        assert isinstance(
            node,
            ast.Module
            | ast.Import
            | ast.alias
            | ast.Expr
            | ast.Assign
            | ast.Call
            | ast.Name
            | ast.Attribute
            | ast.Constant
            | ast.keyword
            | ast.Load
            | ast.Store,
        ), ast.dump(node)
        assert not isinstance(node, ast.Name) or node.id in names


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_values_stay_text(text: str) -> None:
    """Markup, code, formulas, links, control characters and ten megabytes are shown, cut, and do nothing."""
    check(text)


@given(text=st.text(max_size=200))
def test_any_value_stays_text(text: str) -> None:
    """Whatever the text is."""
    check(text)


@given(text=st.text(max_size=80).filter(lambda one: one.isprintable() and one.strip()))
def test_a_text_is_shown_as_it_is(text: str) -> None:
    """A reader sees each printable character of it, runs of blanks as one."""
    shown = Rendered(f"- about {plain(text)}").text
    assert " ".join(shown.split()) == f"about {' '.join(text.split())}"
