"""Lists of nodes, whatever is in them: names, or one refusal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.discovery.node_lists import read_file, read_node_list
from mcshell.errors import UsageError
from mcshell.filters.nodes import fold, no_groups
from tests.faces.node_lists import FORMS

WORDS = st.sampled_from(
    [
        *"\n\t ,;:=-[]{}#'\"|@&*!",
        "\r\n",
        "web1",
        "db1",
        "sender",
        "state",
        "---",
        "\ufeff",
        "é",
        "\0",
    ]
)


def names_or_refusal(data: bytes) -> tuple[str, ...]:
    """The names in a list; none where it is refused, which is one line that begins with its name."""
    try:
        return read_node_list(data, no_groups, place="the list")
    except UsageError as error:
        line = str(error)
    assert line.startswith("the list: ")
    assert "\n" not in line
    return ()


@given(st.binary(max_size=200) | st.lists(WORDS, max_size=30).map("".join).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Whatever it is, it is names that a node could have, or refused in one line that names it."""
    names = names_or_refusal(data)
    assert all(name == name.strip().lower() and not {*name} & {*" \t,;=[]{}@"} for name in names)


@given(st.data())
def test_a_form_that_has_a_slip_in_it(data: st.DataObject) -> None:
    """One letter more, less or other in a list: the other words of it are still nobody."""
    name = data.draw(st.sampled_from(sorted(FORMS)))
    text = FORMS[name][0][:4000]
    at = data.draw(st.integers(0, len(text)))
    changed = (
        text[:at] + data.draw(st.binary(max_size=1)) + text[at + data.draw(st.integers(0, 1)) :]
    )
    names_or_refusal(changed)


names = st.lists(st.from_regex(r"[a-z]{1,3}[0-9]{1,3}(\.dc[1-3])?", fullmatch=True), min_size=1)


@given(names)
def test_what_we_write_is_read(some: list[str]) -> None:
    """Names, their fold, tables and documents of them come to the same names."""
    unique = list(dict.fromkeys(some))
    rows = [{"sender": name, "state": "ok"} for name in some]
    for text in (
        "\n".join(some),
        json.dumps(some),
        json.dumps({"replies": rows}),
        "\n".join(map(json.dumps, rows)),
        "\n".join(["sender,state", *(f"{name},ok" for name in some)]),
    ):
        assert list(read_node_list(text.encode(), no_groups)) == unique
    assert set(read_node_list(fold(some).encode(), no_groups)) == set(some)


def test_a_large_list_is_read_soon() -> None:
    """100,000 names, and a table of 20,000 rows, are read; more names than that are refused."""
    many = "".join(f"web{n}\n" for n in range(100_000)).encode()
    assert len(read_node_list(many, no_groups)) == 100_000
    rows = "".join(f'{{"sender": "web{n}", "data": {{"x": "mail7"}}}}\n' for n in range(20_000))
    assert len(read_node_list(rows.encode(), no_groups)) == 20_000
    with pytest.raises(UsageError, match="more than 100,000"):
        read_node_list(many + b"web[1-100000]\n", no_groups)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("none", "No such file"),
        (".", "Is a directory"),
        ("a\0b", "null"),
        ("~nobody-here/x", "home"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, place: str, says: str) -> None:
    """It is named, with the reason."""
    path = tmp_path if place == "." else Path(place)
    with pytest.raises(UsageError, match=says):
        read_file(path, no_groups, "--nodes")


def test_names_of_the_cases_that_people_sent() -> None:
    """Numbers, padding, addresses and hyphens stay as they are."""
    some = [
        "ga001",
        "issue01",
        "issue007",
        "658704",
        "0123-5l6",
        "fe80::1",
        "10.0.0.1",
        "host-02.example.com",
        "123-abc.example.net",
        "x-1-2",
    ]
    assert list(read_node_list("\n".join(some).upper().encode(), no_groups)) == some


def test_a_long_line_is_read_soon() -> None:
    """A line of 50,000 names, and lines made to be slow to read, end soon."""
    started = time.process_time()
    line = " ".join(f"web{n}" for n in range(50_000)).encode()
    assert len(read_node_list(line, no_groups)) == 50_000
    assert len(read_node_list(line.replace(b" ", b","), no_groups)) == 50_000
    for text in (
        "1" * 200_000 + "! x",
        "a." * 100_000 + "! x",
        "[" * 100_000,
        "," * 100_000 + "x =",
    ):
        for one in (text, f"x {text}", f"sender\n{text}", f"- {text[:5000]}"):
            names_or_refusal(one.encode())
    assert time.process_time() - started < 30
