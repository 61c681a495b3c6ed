"""`summary` and the plots."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mcshell.client import accessor
from mcshell.client.analysis.summary import rows
from mcshell.client.rpc.history import inputs_again
from mcshell.client.store.records import RequestRecord
from mcshell.ddl import REDACTED
from mcshell.errors import InputError, UsageError
from mcshell.message import Filter, Via
from tests.analysis.conftest import answers

if TYPE_CHECKING:
    from pathlib import Path

assert accessor

PNG = b"\x89PNG\r\n\x1a\n"


def table() -> pd.DataFrame:
    """A small fleet as `%mco` gives it, with a silent node, hashes and hostile text."""
    chance = random.Random(1)
    size = 60
    return pd.DataFrame(
        {
            "sender": [f"web{n:02}" for n in range(size)],
            "state": ["ok"] * (size - 3) + ["failed", "silent", "odd"],
            "statuscode": pd.array([0] * (size - 3) + [1, None, 0], dtype="Int64"),
            "lag": [chance.random() for _ in range(size)],
            "version": [chance.choice(["1", "2", "$x^2$\x1b<b>" * 100]) for _ in range(size)],
            "load": [chance.gauss(2, 1) for _ in range(size)],
            "os": [{"name": "Debian", "n": n % 2} for n in range(size)],
        }
    )


def test_each_column_is_a_line() -> None:
    """What most have, how many, and the span of numbers; hashes by path; mixed types named."""
    found = {
        row[0]: row[1:]
        for row in rows(
            answers(
                {
                    "a": {"v": "1", "n": 1, "os": {"name": "x"}, "m": 1},
                    "b": {"v": "1", "n": 2.5, "os": {"name": "y"}, "m": "1"},
                    "c": {"v": "2", "n": 9, "os": None, "m": None},
                    "d": {"v": "1", "n": 9, "os": {}, "m": [1]},
                }
            )
        )
    }
    assert found["state"] == ("text", 4, 0, 1, "ok", 1.0, None, None, None)
    assert found["v"] == ("text", 4, 0, 2, "1", 0.75, None, None, None)
    assert found["n"] == ("number", 4, 0, 3, 9, 0.5, 1, 5.75, 9)
    assert found["os.name"] == ("text", 2, 2, 2, None, None, None, None, None)
    assert found["m"][:4] == ("number/text/list", 3, 1, 3)


def test_the_accessor_sums_up() -> None:
    """`df.mco.summary()` is a table, of one column too; nothing fails on an empty one."""
    assert {"state", "lag", "version", "load", "os.name"} <= set(table().mco.summary()["column"])
    assert list(table().mco.summary("os.n")["distinct"]) == [2]
    assert table().head(0).mco.summary()["answers"].sum() == 0


@pytest.mark.parametrize(
    ("what", "column"),
    [
        ("states", None),
        ("lag", None),
        ("map", None),
        ("map", "load"),
        ("map", "version"),
        ("distribution", "load"),
        ("distribution", "version"),
        ("distribution", "os"),
        ("distribution", "os.n"),
    ],
)
def test_each_picture_is_a_small_png(what: str, column: str | None, tmp_path: Path) -> None:
    """Every kind of picture is drawn of foreign values, for a notebook and into a file."""
    picture: Any = table().mco.plot(what, column)
    data = picture.png()
    assert data.startswith(PNG)
    assert 1000 < len(data) < 100_000
    assert picture._repr_mimebundle_()[1]["image/png"]["alt"] in repr(picture)
    assert repr(picture).startswith("<Plot: ")
    picture.save(tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said() -> None:
    """An unknown picture or column, none at all, and an empty one are one line each."""
    for arguments, words in (
        (("heatmap",), "no plot 'heatmap'"),
        (("distribution",), "of which column"),
        (("distribution", "versoin"), "did you mean version"),
        (("lag", "nothing"), "no column"),
    ):
        with pytest.raises(UsageError, match=words):
            table().mco.plot(*arguments)
    empty = pd.DataFrame({"sender": ["a"], "state": ["silent"], "lag": [None]})
    with pytest.raises(UsageError, match="nothing in column"):
        empty.mco.plot("lag")


def test_tables_are_sets_of_nodes() -> None:
    """`-`, `&`, `|` and `^` of `.mco` are those of sets of senders, with tables or names."""
    a = pd.DataFrame({"sender": ["n1", "n2", "n3"], "v": [1, 2, 3]})
    b = pd.DataFrame({"sender": ["n3", "n4"], "w": [3, 4]})
    assert list((a.mco - b.mco)["sender"]) == ["n1", "n2"]
    assert list((a.mco & b)["sender"]) == ["n3"]
    assert list((a.mco | b.mco)["sender"]) == ["n1", "n2", "n3", "n4"]
    assert list((a.mco ^ b.mco)["sender"]) == ["n1", "n2", "n4"]
    assert list((a.mco - ["n1"])["sender"]) == ["n2", "n3"]
    assert list((a.mco ^ ["n1", "n9"])["sender"]) == ["n2", "n3", "n9"]
    assert list((a.mco & b["sender"])["v"]) == [3]
    assert list(((a.mco - b.mco).mco - a.mco)["sender"]) == []
    with pytest.raises(AttributeError):
        pd.DataFrame({"name": ["a"]}).mco  # noqa: B018 - looking it up is the test


def test_secret_inputs_are_to_be_given_again() -> None:
    """What was redacted is not sent as it stands in the history; given, it takes its place."""
    record = RequestRecord(
        id="0" * 32,
        agent="app",
        action="login",
        via=Via.DIRECT,
        collective="mcs",
        created=0.0,
        expires=1.0,
        filter=Filter(),
        data={"user": "x", "token": REDACTED},
    )
    with pytest.raises(InputError, match="input token is secret"):
        inputs_again(record, {"user": "y"})
    assert inputs_again(record, {"token": "t"}) == {"user": "x", "token": "t"}
