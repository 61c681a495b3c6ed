"""A notebook's parameters: `-p name=value`, typed by what the notebook's own cell gives them.

Text stays as it was written (`1.10`, `0644`, `2026-11-25`): only where the notebook has a number, a
list or a hash is it read as one.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from mcshell.client.documents.reader import load_yaml, untyped
from mcshell.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["declared", "given"]

_ASSIGNED = re.compile(r"^([A-Za-z_]\w*)\s*(?::[^=\n]*)?=(?!=)", re.MULTILINE)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


def declared(cells: Iterable[str]) -> dict[str, Any]:
    """The names that a notebook's cells of parameters give values to, with those; None if unknown."""
    found: dict[str, Any] = {}
    for cell in cells:
        found |= dict.fromkeys(_ASSIGNED.findall(cell))
        found |= dict(_literals(cell))
    return found


def _literals(cell: str) -> Iterator[tuple[str, Any]]:
    try:
        lines = ast.parse(cell).body
    except (SyntaxError, ValueError):  # such as a magic in it
        return
    for line in lines:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and (value := getattr(line, "value", None)) is not None:
                try:
                    yield target.id, ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    yield target.id, None


def given(words: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `name=value` words.

    Raises:
        UsageError: a word is none, names no parameter or one twice, or gives it no value of its type.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"report: -p {word!r}: name=value is meant")
        if name not in known:
            among = f": one of {', '.join(known)} is meant" if known else ""
            hint = did_you_mean(name, known) or among
            raise UsageError(f"report: the notebook has no parameter {name!r}{hint}")
        if name in found:
            raise UsageError(f"report: -p {name} is given twice")
        found[name] = _typed(name, text, known[name])
    return found


def _typed(name: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    number = isinstance(default, int | float) and not isinstance(default, bool)
    try:
        value = _number(text) if number else _as_written(text)
    except ValueError:
        value = text
    if not _like(value, default):
        shown = f"{name}={text}"
        raise UsageError(f"report: -p {shown!r}: a value such as {default!r} is meant")
    return value


def _like(value: Any, default: Any) -> bool:
    """Whether a value is of the kind that the notebook has; anything is like None."""
    if isinstance(default, bool) or isinstance(value, bool):
        return default is None or (isinstance(default, bool) and isinstance(value, bool))
    for kinds in ((int, float), (list, tuple, set), dict):
        if isinstance(default, kinds):
            return isinstance(value, kinds)
    return True


def _number(text: str) -> int | float:
    if not _NUMBER.fullmatch(text):  # 0644 is none: nobody could say which
        raise ValueError(text)
    return float(text) if set(text) & set(".eE") else int(text)


def _as_written(text: str) -> Any:
    """YAML in which only what is plainly a number, true, false or null is no text."""
    try:
        return untyped(load_yaml(text, "-p"))
    except UsageError as error:
        raise ValueError(text) from error
