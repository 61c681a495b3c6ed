"""Which inputs of a request a schema takes, where an agent has several."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.discovery.targeting import RequestOptions
from mcshell.client.rpc.schemas import fitted, fitting
from mcshell.ddl import joint
from mcshell.ddl.ddl_library import Library
from mcshell.errors import DDLError, UsageError
from tests.unit.ddl.documents import METADATA, an_input, document

if TYPE_CHECKING:
    from pathlib import Path

#: What `ours` and `theirs` take: an input's name, with a ? where it is optional.
OURS = ("name?", "version?", "force?")
THEIRS = ("package", "noop?")


def folder(place: Path, version: str, names: tuple[str, ...], **action: Any) -> Path:
    """A folder with the agent `sample`, whose action takes these inputs."""
    place.mkdir()
    inputs = {
        name.rstrip("?"): an_input("any", optional=name.endswith("?")) | {"description": version}
        for name in names
    }
    made = document(input=inputs, **action)
    made["metadata"] = METADATA | {"version": version}
    (place / "sample.json").write_text(json.dumps(made))
    return place


def both(tmp_path: Path, theirs: tuple[str, ...] = THEIRS) -> Library:
    """A library with two schemas of one agent."""
    ours = folder(tmp_path / "ours", "1.0", OURS)
    return Library([ours], [folder(tmp_path / "theirs", "2.0", theirs)])


def fit(library: Library, *given: str) -> dict[str, list[str]]:
    """Which inputs go to each schema, by version."""
    ask = RequestOptions(agent="sample", action="act", data={name: name for name in given})
    every, found = library.every("sample"), {}
    for ddl in every:
        try:
            found[ddl.version] = list(fitted(ddl, every, ask)[1])
        except UsageError:
            with pytest.raises(UsageError):
                ddl.action("act").check(ask.data)
    if found:
        assert list(fitting(library, ask)[1]) in found.values()
    return found


@pytest.mark.parametrize(
    ("given", "ours", "theirs"),
    [
        ("name", "name", None),
        ("package", None, "package"),
        ("name package", "name", "package"),
        ("name version package", "name version", None),  # its version would be missed
        ("name package noop", None, "package noop"),  # and so would what only looks
        ("name force package noop", None, None),  # each has one that the other would miss
        ("name force noop", None, None),  # neither says the same in other words
        ("", "", None),
        ("other", None, None),
        ("name package other", None, None),
    ],
)
def test_what_each_schema_takes(
    tmp_path: Path, given: str, ours: str | None, theirs: str | None
) -> None:
    """Another's name for what is given in its own is left out, and nothing else."""
    found = fit(both(tmp_path), *given.split())
    expected = {"1.0": ours, "2.0": theirs}
    assert found == {name: one.split() for name, one in expected.items() if one is not None}


def test_which_schema_a_node_has(tmp_path: Path) -> None:
    """That of its wire before the other's, then that of its version, else the first."""
    places = [folder(tmp_path / f"ours{n}", f"1.{n}", OURS) for n in range(2)]
    old = [folder(tmp_path / f"theirs{n}", f"2.{n}", THEIRS) for n in range(2)]
    library = Library(places, old)
    chosen = {
        (wire, version): library.of_node("sample", old=wire, version=version).version
        for wire in (False, True)
        for version in ("1.1", "2.1", "")
    }
    assert chosen == {
        (False, "1.1"): "1.1", (False, "2.1"): "1.0", (False, ""): "1.0",
        (True, "1.1"): "2.0", (True, "2.1"): "2.1", (True, ""): "2.0",
    }  # fmt: skip
    assert Library([], old).of_node("sample", old=False, version="").version == "2.0"


def test_a_bad_schema_does_not_hide_a_good_one(tmp_path: Path) -> None:
    """Of several schemas those that can be read count; where none can, the first says why."""
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "sample.json").write_text("{")
    library = Library([bad, folder(tmp_path / "good", "1.0", OURS)])
    assert [ddl.version for ddl in library.every("sample")] == ["1.0"]
    with pytest.raises(DDLError, match="is no JSON"):
        Library([bad]).every("sample")


def test_one_action_for_several(tmp_path: Path) -> None:
    """It has all inputs and outputs, is as secret as one and as able to change as one."""
    described = {"description": "D", "display_as": "O"}
    one = folder(
        tmp_path / "one", "1.0", ("a", "b"), mcshell={"changes": False, "rerun_safe": True},
        output={"x": described | {"type": "string"}, "y": described},
    )  # fmt: skip
    two = folder(
        tmp_path / "two", "2.0", ("b", "c"), mcshell={"sensitive": ["c"], "timeout": 99},
        output={"x": described | {"type": "integer"}, "z": described},
    )  # fmt: skip
    library = Library([one, two])
    made = library.joint("sample", "act")
    assert list(made.inputs) == ["a", "b", "c"]
    assert [(name, out.type) for name, out in made.outputs.items()] == [
        ("x", "any"), ("y", "any"), ("z", "any"),
    ]  # fmt: skip
    assert (made.changes, made.rerun_safe, made.timeout) == (True, False, 99)
    assert made.redact({"a": 1, "c": 2}) == {"a": 1, "c": "[redacted]"}
    first = library.get("sample").action("act")
    assert joint([first]) is first
    assert list(library.merged("sample").actions["act"].inputs) == ["a", "b", "c"]
