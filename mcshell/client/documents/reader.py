"""What plans and rules have in common as YAML files: read strictly, errors with their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell import config
from mcshell.errors import MCShellError, UsageError, did_you_mean
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand
from mcshell.message import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mcshell.ddl.library import Library

__all__ = ["Section", "load", "read_text"]

_MAX: Final = 1 << 20
_FILTERS: Final = ("facts", "classes", "agents", "identities", "compound")


def read_text(path: Path) -> str:
    """Read a file; UsageError when it cannot be."""
    try:
        if path.stat().st_size > _MAX:
            raise UsageError(f"{path}: larger than {_MAX} bytes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8") from error


def load(text: str, origin: str, known: Iterable[str]) -> Section:
    """Read a YAML document that is a table with these keys; UsageError with line and column."""
    import yaml  # noqa: PLC0415 - only for those who have such a file

    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise UsageError(f"{where}: no YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{origin}: no YAML: {' '.join(str(error).split())[:200]}") from error
    return Section(document, origin, known)


class Section:
    """A table of the document: `place` says where it stands, `known` are the keys it may have.

    Its methods raise UsageError with the place, and what was meant.
    """

    def __init__(self, value: Any, place: str, known: Iterable[str]) -> None:
        self.place = place
        known = tuple(known)
        if not isinstance(value, Mapping):
            raise UsageError(f"{place}: a table is meant, with {', '.join(known)}")
        for key in value:
            if key not in known:
                near = did_you_mean(str(key), known) or f": there are {', '.join(known)}"
                raise UsageError(f"{place}: unknown key {str(key)[:60]!r}{near}")
        self._value = value

    def __contains__(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return self._value.get(key) is not None

    def wrong(self, key: str, what: str) -> UsageError:
        """An error about one of its keys."""
        return UsageError(f"{self.place}: {key}: {what}")

    def get(self, key: str) -> Any:
        """The value as it is, None where there is none."""
        return self._value.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A text (a number is taken for one), which must be there unless there is a default."""
        value = self._value.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or (not value and default != ""):
            raise self.wrong(key, "missing" if value is None else f"no text: {value!r}")
        return value

    def whole(self, key: str, default: int, least: int = 0) -> int:
        """A whole number."""
        value = self._value.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number from {least} on is meant, not {value!r}")
        return value

    def seconds(self, key: str, default: float) -> float:
        """A length of time, such as 10m."""
        return self.maybe_seconds(key, default) or 0.0

    def maybe_seconds(self, key: str, default: float | None = None) -> float | None:
        """A length of time, or none."""
        value = self._value.get(key, default)
        try:
            return None if value is None else config.seconds(value)
        except ValueError as error:
            raise self.wrong(key, str(error)) from None

    def table(self, key: str) -> dict[str, Any]:
        """A table whose keys are names, empty where there is none."""
        value = self._value.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, f"a table of names is meant, not {value!r}")
        return dict(value)

    def parts(self, key: str, known: Iterable[str]) -> list[Section]:
        """A list of tables with these keys."""
        value = self._value.get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list is meant")
        known = tuple(known)
        return [Section(one, f"{self.place}: {key}[{n}]", known) for n, one in enumerate(value, 1)]

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of words, or one; None where there is none."""
        value = self._value.get(key)
        if value is None:
            return None
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
            raise self.wrong(key, f"a list of words is meant, not {value!r}")
        return tuple(map(str, listed))

    def asked(self, ddls: Library) -> tuple[str, str, dict[str, Any]]:
        """The agent and action of `ask: AGENT.ACTION`, and the checked `inputs`."""
        agent, dot, action = self.text("ask").partition(".")
        if not (agent and dot and action):
            raise self.wrong("ask", f"AGENT.ACTION is meant, not {self.text('ask')!r}")
        try:
            data = ddls.get(agent).action(action).check(self.table("inputs"))
        except UsageError as error:
            raise self.wrong("ask", str(error)) from error
        return agent, action, data

    def after(self) -> dict[str, Any]:
        """What it comes `after`, and how that has to end: `ok` where it does not say."""
        value = self._value.get("after")
        if isinstance(value, str):
            return {value: "ok"}
        if isinstance(value, list):
            return {str(name): "ok" for name in value}
        return self.table("after")

    def matching(self, key: str) -> Filter:
        """Whom it is for: text is a compound filter, a table has facts, classes, …"""
        value = self._value.get(key)
        if isinstance(value, str):
            value = {"compound": value}
        if value is None:
            raise self.wrong(key, "missing")
        part = Section(value, f"{self.place}: {key}", _FILTERS)
        found = Filter(
            part.words("facts") or (),
            part.words("classes") or (),
            part.words("agents") or (),
            part.words("identities") or (),
            part.words("compound") or (),
        )
        try:
            compile_filter(found)
        except MCShellError as error:
            raise self.wrong(key, str(error)) from error
        return found

    def names(self, key: str) -> tuple[str, ...] | None:
        """Names of nodes, ranges among them, expanded; None where there are none."""
        words = self.words(key)
        if words is None:
            return None
        try:
            names = tuple(expand(words))
        except MCShellError as error:
            raise self.wrong(key, str(error)) from error
        if not names:
            raise self.wrong(key, "no names")
        return names
