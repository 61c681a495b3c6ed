"""What plans and rules have in common as YAML files: read strictly, errors with their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell import config
from mcshell.client.discovery.groups import identities
from mcshell.ddl.types import Given, from_text
from mcshell.errors import MCShellError, UsageError, did_you_mean
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand, no_groups
from mcshell.message import Filter
from mcshell.texts import bytes_of, decoded, make_careful

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mcshell.ddl.ddl_library import Library
    from mcshell.filters.nodes import GroupLookup

__all__ = ["Section", "Written", "inputs_of", "load", "load_yaml", "read_text", "untyped"]

_MAX: Final = 1 << 20
_MERGE: Final = "tag:yaml.org,2002:merge"
_WRITTEN: Final = "!written"
_FILTERS: Final = ("facts", "classes", "agents", "identities", "compound")


class Written(str):
    """A word of a document as it is written there, without quotes: its type is for others to say."""

    __slots__ = ()


def read_text(path: Path) -> str:
    """Read a file; UsageError when it cannot be."""
    try:
        return decoded(bytes_of(path, _MAX))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def load(text: str, origin: str, known: Iterable[str], groups: GroupLookup = no_groups) -> Section:
    """Read a YAML document that is a table with these keys; UsageError with line and column.

    `groups` gives the nodes of an `@GROUP`.
    """
    return Section(load_yaml(text, origin, under="inputs"), origin, known, groups)


def load_yaml(text: str, origin: str, *, under: str | None = None) -> Any:
    """Read YAML in which no table has a key twice; UsageError with line and column.

    Of two, YAML's own readers take the last without a word: other machines, or another action.
    Words under the key `under`, without one everywhere, are `Written`: YAML itself would make a
    number of 1.10 and of 0644 another, of yes a boolean, of 12:30 a count of minutes.
    """
    import yaml  # noqa: PLC0415 - only for those who have such a file

    class StrictLoader(yaml.SafeLoader):
        as_written = under is None

        def compose_node(self, parent: Any, index: Any) -> Any:
            before = self.as_written
            if isinstance(index, yaml.ScalarNode) and index.value == under:
                self.as_written = True
            try:
                return super().compose_node(parent, index)
            finally:
                self.as_written = before

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
            plain = kind is yaml.ScalarNode and implicit[0] and value
            return _WRITTEN if self.as_written and plain and tag != _MERGE else tag

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - yaml's own
            lines: dict[Any, int] = {}
            for key, _value in node.value if isinstance(node, yaml.MappingNode) else ():
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                    continue
                name, mark = self.construct_object(key), key.start_mark
                if name in lines:
                    place = f"{origin}:{mark.line + 1}:{mark.column + 1}"
                    raise UsageError(
                        f"{place}: {name!r} is given twice: it stands in line {lines[name]} already"
                    )
                lines[name] = mark.line + 1
            return super().construct_mapping(node, deep)

    make_careful(StrictLoader)
    StrictLoader.add_constructor(_WRITTEN, lambda _loader, node: Written(node.value))
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - it is a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise UsageError(f"{where}: no YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{origin}: no YAML: {' '.join(str(error).split())[:200]}") from error


def inputs_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """An action's inputs as a document has them, for `Action.convert`: each text is of its DDL's type.

    An input with nothing behind it is not given. Inside lists and hashes, for which a DDL has no
    types, a word is a number or a boolean only where it is written as JSON would write it.
    """
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Written):
            found[str(name)] = str(value)
        elif isinstance(value, str):
            found[str(name)] = value if isinstance(value, Given) else Given(value, value)
        elif value is not None:
            found[str(name)] = untyped(value)
    return found


def untyped(value: Any) -> Any:
    """What nobody has a type for: a word is a number, a boolean or null as JSON writes it, else text."""
    match value:
        case Written():
            return from_text("any", str(value))
        case Given():
            return value.value
        case Mapping():
            return {_key(name): untyped(inner) for name, inner in value.items()}
        case list():
            return [untyped(inner) for inner in value]
    return value


def _key(name: Any) -> Any:
    return str(name) if isinstance(name, str) else name


class Section:
    """A table of the document: `place` says where it stands, `known` are the keys it may have.

    Its methods raise UsageError with the place, and what was meant.
    """

    def __init__(
        self, value: Any, place: str, known: Iterable[str], groups: GroupLookup = no_groups
    ) -> None:
        self.place = place
        self._groups = groups
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
            return None if value is None else config.read_duration(value)
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
        return [
            Section(one, f"{self.place}: {key}[{n}]", known, self._groups)
            for n, one in enumerate(value, 1)
        ]

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
            data = ddls.get(agent).action(action).from_text(inputs_of(self.table("inputs")))
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
        for name in _FILTERS:
            if part.words(name) == ():
                raise part.wrong(name, "an empty list: leave it out to mean every node")
        try:
            found = Filter(
                part.words("facts") or (),
                part.words("classes") or (),
                part.words("agents") or (),
                identities(part._quoted("identities") or (), self._groups),
                part.words("compound") or (),
            )
            compile_filter(found)
        except MCShellError as error:
            raise self.wrong(key, str(error)) from error
        return found

    def _quoted(self, key: str) -> tuple[str, ...] | None:
        """Words that no number stands for: YAML reads 0123 as 83, which is another node."""
        value = self._value.get(key)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float):
                raise self.wrong(key, f"{one!r}: a name of digits is written in quotes")
        return self.words(key)

    def names(self, key: str) -> tuple[str, ...] | None:
        """Names of nodes, sets and groups among them, expanded; None where there are none."""
        words = self._quoted(key)
        if words is None:
            return None
        try:
            names = tuple(expand(words, self._groups))
        except MCShellError as error:
            raise self.wrong(key, str(error)) from error
        if not names:
            raise self.wrong(key, "no names")
        return names
