"""Ansible inventories and clush groups as groups of nodes: pure, from text to values.

Each reader gives the groups by name, their members as sets of nodes (`filters.nodes`) in which
`@NAME` is another group of the same file. YAML is read as text alone: `no` and `0123` are names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import UsageError
from mcshell.filters.nodes import MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Groups",
    "ansible_ini",
    "ansible_tree",
    "clush_lines",
    "clush_tree",
    "is_ansible_tree",
    "is_clush_tree",
    "is_ini_section",
    "read_yaml",
    "significant",
]

Groups = dict[str, list[str]]
"""Sets of nodes by the name of their group."""

_SECTION: Final = re.compile(r"\[([A-Za-z_][\w.-]*)(?::(hosts|vars|children))?\]")
_RANGE: Final = re.compile(r"\[(?:(\d{1,9}):(\d{1,9})|([A-Za-z]):([A-Za-z]))(?::(\d{1,6}))?\]")
_PORT: Final = re.compile(r"(?<=[^:]):\d{1,5}$")
_GROUP: Final = re.compile(r"[\w.-]+")
_LINE: Final = re.compile(r"([\w.-]+):[ \t]*(.*)")
_KEYS: Final = {"hosts", "children", "vars"}
_DEPTH: Final = 64
_SYNTAX: Final = re.compile(r"\[\d|(?:^|[,!&^])\s*@")


def significant(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers: no blank ones, no comments.

    A comment begins with `#` at a line's start or behind white space, or a line with `;` or `//`.
    """
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
        if line and not line.startswith((";", "//")):
            yield number, line


def is_ini_section(line: str) -> bool:
    """Whether a line begins a section of an Ansible inventory, `[web]` or `[web:children]`."""
    return _SECTION.fullmatch(line) is not None


def ansible_ini(text: str) -> Groups:
    """An Ansible inventory as INI: the first word of a host's line is its name.

    Raises:
        UsageError: a line that is none of an inventory's, with its number.
    """
    groups: Groups = {"ungrouped": []}
    group, kind = "ungrouped", "hosts"
    raw = text.split("\n")
    for number, line in significant(text):
        if match := _SECTION.fullmatch(line):
            group, kind = match[1], match[2] or "hosts"
            groups.setdefault(group, [])
            continue
        if kind == "vars":
            continue
        try:  # in quotes, a # begins no comment
            name, *variables = shlex.split(raw[number - 1], comments=True)
        except ValueError as error:
            raise UsageError(f"line {number}: {error}") from error
        strange = next((one for one in variables if not re.match(r"[\w.:-]+=", one)), None)
        if strange is not None:
            raise UsageError(f"line {number}: {strange[:60]!r}: a host's line is NAME key=value …")
        if "=" in name or name.startswith("["):
            raise UsageError(f"line {number}: {name[:60]!r} is no host of an Ansible inventory")
        groups[group] += [f"@{name}"] if kind == "children" else _hosts(name, f"line {number}")
    return groups


def is_ansible_tree(document: Any) -> bool:
    """Whether a parsed document is an Ansible inventory, as YAML or `ansible-inventory --list`."""
    return (
        isinstance(document, Mapping)
        and bool(document)
        and all(
            _is_text(name)
            and (
                name == "_meta"
                or not value
                or (isinstance(value, Mapping) and value.keys() <= _KEYS)
            )
            for name, value in document.items()
        )
        and any(isinstance(value, Mapping) and value.keys() & _KEYS for value in document.values())
    )


def ansible_tree(document: Mapping[str, Any]) -> Groups:
    """An Ansible inventory as a tree: YAML, or the JSON that `ansible-inventory --list` prints.

    Raises:
        UsageError: a group that is none, by its name.
    """
    groups: Groups = {}
    open_ = [(name, value) for name, value in document.items() if name != "_meta"]
    seen: set[int] = set()
    while open_:
        name, value = open_.pop()
        found = groups.setdefault(name, [])
        if not value or id(value) in seen:
            continue
        if not isinstance(value, Mapping) or not value.keys() <= _KEYS:
            raise UsageError(f"{name[:60]!r}: a group of Ansible's has hosts, children and vars")
        seen.add(id(value))
        for host in _named(value.get("hosts"), f"{name}: hosts"):
            found += _hosts(host, name)
        children = value.get("children")
        found += [f"@{child}" for child in _named(children, f"{name}: children")]
        if isinstance(children, Mapping):
            open_ += children.items()
        else:
            open_ += [(child, None) for child in children or ()]
    return groups


def is_clush_tree(document: Any, *, sure: bool = False) -> bool:
    """Whether a parsed document is clush groups: sources, each with sets of nodes by group.

    Without `sure` some group must be a set of nodes beyond doubt.
    """
    return (
        isinstance(document, Mapping)
        and bool(document)
        and all(
            isinstance(source, Mapping)
            and source
            and all(_GROUP.fullmatch(str(name)) for name in source)
            and all(_is_set(one) for one in source.values())
            for source in document.values()
        )
        and (
            sure or any(_has_syntax(one) for source in document.values() for one in source.values())
        )
    )


def clush_tree(document: Mapping[str, Any]) -> dict[str, Groups]:
    """Clush groups as YAML: the groups of each source."""
    return {
        str(source): {
            str(name): [str(one) for one in value] if isinstance(value, list) else [str(value)]
            for name, value in groups.items()
        }
        for source, groups in document.items()
    }


def clush_lines(text: str, *, sure: bool = False) -> Groups | None:
    """Clush groups as lines `GROUP: nodes`; None when it is something else.

    So writes clush itself, `NODE: what it said`: without `sure` some line must have a set of nodes
    as nobody says it, or the group `all`.
    """
    groups: Groups = {}
    told = sure
    for _number, line in significant(text):
        match = _LINE.fullmatch(line)
        if match is None or not match[2] or re.match(r"[{'\"]|\[(?![0-9])", match[2]):
            return None
        if not sure and re.search(r"\s", match[2]):
            return None
        told = told or match[1] == "all" or _has_syntax(match[2])
        groups.setdefault(match[1], []).append(re.sub(r"[,\s]+", ",", match[2]))
    return groups if told else None


def read_yaml(text: str) -> Any:
    """A YAML document with every scalar as text; a key twice, or what is no YAML, is a UsageError."""
    import yaml  # noqa: PLC0415 - only for those who have such a file

    class TextLoader(yaml.BaseLoader):
        """Scalars as they are written, and no key twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
            seen: set[str] = set()
            for key, _value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
                if name and name in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"line {line}: {name[:60]!r} is there twice")
                seen.add(name)
            return super().construct_mapping(node, deep=deep)

    if _depth(text) > _DEPTH:
        raise UsageError(f"no YAML: brackets in brackets, more than {_DEPTH} deep")
    try:
        return yaml.load(text, TextLoader)  # noqa: S506 - BaseLoader makes texts, lists and hashes only
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{where}no YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"no YAML: {' '.join(str(error).split())[:200]}") from error


def _depth(text: str) -> int:
    """How deep its brackets nest: PyYAML's time is the square of that."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _named(value: Any, where: str) -> list[str]:
    """The names in a mapping's keys or in a list."""
    if not value:
        return []
    if isinstance(value, Mapping | list) and all(map(_is_text, value)):
        return list(value)
    raise UsageError(f"{where[:80]}: names are meant")


def _hosts(pattern: str, where: str) -> list[str]:
    """Ansible's `web[01:50].example.com` and `db-[a:f]`, and a port behind, as names."""
    pattern = _PORT.sub("", pattern)
    parts = _RANGE.split(pattern)
    names = [parts[0]]
    for at in range(1, len(parts), 6):
        first, last, letter, to, step, tail = parts[at : at + 6]
        by = int(step or 1)
        if by == 0 or (int(first) > int(last) if first is not None else letter > to):
            raise UsageError(f"{where}: {pattern[:60]!r}: a range goes up, [1:3]")
        if first is not None:
            middles = range(int(first), int(last) + 1, by)
            made = [str(number).zfill(len(first)) for number in middles[: MAX_NODES + 1]]
        else:
            made = [chr(code) for code in range(ord(letter), ord(to) + 1, by)]
        if len(names) * len(made) > MAX_NODES:
            raise UsageError(f"{where}: {pattern[:60]!r} stands for more than {MAX_NODES:,} nodes")
        names = [f"{name}{one}{tail}" for name in names for one in made]
    return names


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_set(value: Any) -> bool:
    return all(map(_is_text, value)) if isinstance(value, list) else _is_text(value)


def _has_syntax(value: Any) -> bool:
    """Whether it is a set of nodes beyond doubt: it has a range or a group in it."""
    return any(_SYNTAX.search(one) for one in (value if isinstance(value, list) else [value]))
