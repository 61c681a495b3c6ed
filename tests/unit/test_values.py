"""`mcshell.values.dataclass` beside the standard library's."""

from __future__ import annotations

import dataclasses
import pickle
import re
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import pytest

import mcshell
from mcshell.values import dataclass as ours

KINDS = [ours, dataclasses.dataclass]


def described(make: Any) -> tuple[type, type]:
    """Two classes that use what there is to use."""

    @make(frozen=True, slots=True, kw_only=True)
    class Frozen:
        """It does not change."""

        name: str
        sizes: tuple[int, ...] = ()
        tags: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
        secret: str | None = dataclasses.field(default=None, repr=False, compare=False)
        upper: str = dataclasses.field(init=False, repr=False)
        fixed: int = dataclasses.field(init=False, default=7)
        most: ClassVar[int] = 3

        def __post_init__(self) -> None:
            object.__setattr__(self, "upper", self.name.upper())

    @make(slots=True)
    class Open:
        """It does."""

        name: str
        seen: list[str] = dataclasses.field(default_factory=list)
        count: int = 0

    return Frozen, Open


def test_a_value_is_what_the_standard_library_would_make() -> None:
    """Construction, text, equality, hash, copies and `replace` are those of `dataclasses`."""
    said = []
    for make in KINDS:
        frozen, opened = described(make)
        one, same = frozen(name="a", sizes=(1,)), frozen(name="a", sizes=(1,), secret="x")
        first, second = opened("a"), opened("a", count=1)
        first.count = second.count
        said.append(
            (
                repr(one).replace(make.__module__, ""),
                one == same,
                hash(one) == hash(same),
                one == frozen(name="b"),
                one == "a",
                one.tags is not same.tags,
                dataclasses.asdict(one),
                dataclasses.replace(one, name="c").upper,
                copy(one) == one,
                first == second,
                opened.__hash__,
                frozen.__match_args__ == opened.__match_args__,
                first.seen is not second.seen,
                repr(second),
            )
        )
    assert said[0] == said[1]


@pytest.mark.parametrize("make", KINDS, ids=["ours", "theirs"])
def test_a_frozen_value_does_not_change(make: Any) -> None:
    """Fields are neither set nor deleted, and a class says which arguments it lacks or does not know."""
    frozen, opened = described(make)
    value = frozen(name="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.name
    with pytest.raises(TypeError, match="missing 1 required"):
        frozen()
    with pytest.raises(TypeError, match="positional argument"):
        frozen("a")
    with pytest.raises(TypeError, match="nam"):
        opened(nam="a")


@ours(frozen=True, slots=True)
class Travelling:
    """One at the top of a module, where a pickle looks for it."""

    name: str
    size: int


def test_a_frozen_value_travels() -> None:
    """Slots and all, it comes back from a pickle."""
    value = Travelling("a", 1)
    assert pickle.loads(pickle.dumps(value)) == value


def test_each_module_makes_its_values_so() -> None:
    """Nobody pays the library's price unawares."""
    root = Path(mcshell.__file__).parent
    lone = re.compile(r"^\s*from dataclasses import .*\bdataclass\b", re.MULTILINE)
    paying = [str(path) for path in root.rglob("*.py") if lone.search(path.read_text())]
    assert paying == [str(root / "values.py")]
