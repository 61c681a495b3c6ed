"""`@GROUP`: groups of nodes from `[groups]`, clush's files and Ansible inventories.

`[groups]` of the configuration comes first. `[client] groups` names files; without it those that
clush has its groups in. A group that two files have in two ways is nobody until it is said which
(`@SOURCE:GROUP`): a name that is asked is one that somebody meant.
"""

from __future__ import annotations

import glob
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcshell.client.discovery import inventories
from mcshell.client.discovery.group_book import CONFIGURED, GroupBook
from mcshell.client.discovery.node_lists import MAX_LIST, read_file
from mcshell.errors import FilterError, UsageError
from mcshell.filters.nodes import expand, fold, has_group, parts
from mcshell.texts import bytes_of, decoded, expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.discovery.targeting import Targeting
    from mcshell.config import Settings
    from mcshell.filters.nodes import GroupLookup

__all__ = ["group_lookup", "identities", "load_groups", "resolved"]

_CLUSH: Final = ("~/.config/clustershell", "/etc/clustershell")
_PLACES: Final = tuple(
    f"{folder}/{name}"
    for folder in _CLUSH
    for name in ("groups.d/*.yaml", "groups.d/*.cfg", "groups")
)


def group_lookup(settings: Callable[[], Settings]) -> GroupLookup:
    """Gives a group's nodes; the files are read when the first group is asked for."""
    book = cache(lambda: load_groups(settings()))
    return lambda name: book()(name)  # noqa: PLW0108 - nothing is read before


def resolved(targeting: Targeting, groups: GroupLookup) -> Targeting:
    """The same with names of nodes alone: what stands in a file, each group's, each once.

    Raises:
        FilterError: a group that is none, a name that is none.
        UsageError: a file that is no list of nodes.
    """
    nodes = targeting.nodes
    if targeting.listed is not None:
        nodes = read_file(targeting.listed, groups, "nodes")
    return replace(
        targeting,
        nodes=None if nodes is None else tuple(expand(nodes, groups)),
        listed=None,
        filter=replace(targeting.filter, identity=identities(targeting.filter.identity, groups)),
    )


def identities(entries: Iterable[str], groups: GroupLookup) -> tuple[str, ...]:
    """Entries of `-I`, each group in them as the names that it stands for."""
    found: list[str] = []
    for entry in entries:
        if entry.strip().startswith("/") or not has_group(entry):
            found.append(entry)
        elif names := expand([entry], groups):
            found += parts(fold(names))
        else:
            raise FilterError(f"{entry}: nobody is in it", entry)
    return tuple(found)


def load_groups(settings: Settings) -> GroupBook:
    """Read the groups of `[groups]` and of the files.

    Raises:
        UsageError: a file that is none of groups, or cannot be read.
    """
    sources: dict[str, inventories.Groups] = {}
    if settings.groups:
        sources[CONFIGURED] = {name: list(sets) for name, sets in settings.groups.items()}
    asked = settings.client.groups
    for pattern in asked or _PLACES:
        places = sorted(glob.glob(str(expanded(pattern))))  # noqa: PTH207 - absolute
        if asked and not places:
            raise UsageError(f"client.groups: {pattern}: there is no such file")
        for place in places:
            _add(sources, Path(place))
    return GroupBook(sources)


def _add(sources: dict[str, inventories.Groups], path: Path) -> None:
    try:
        found = _read(decoded(bytes_of(path, MAX_LIST)), path.stem)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    for source, groups in found.items():
        for name, sets in groups.items():
            sources.setdefault(source, {}).setdefault(name, []).extend(sets)


def _read(text: str, stem: str) -> dict[str, inventories.Groups]:
    """The groups of a file by their source: clush's word for it, else the file's name."""
    lines = [line for _number, line in inventories.significant(text)]
    if not lines:
        return {}
    if any(map(inventories.is_ini_section, lines)):
        return {stem: _with_all(inventories.ansible_ini(text))}
    if (flat := inventories.clush_lines(text, sure=True)) is not None:
        return {stem: flat}
    document = inventories.read_yaml(text)
    if inventories.is_ansible_tree(document):
        return {stem: _with_all(inventories.ansible_tree(document))}
    for tree in (document, {stem: document}):
        if inventories.is_clush_tree(tree, sure=True):
            return inventories.clush_tree(tree)
    raise UsageError("neither clush groups nor an Ansible inventory")


def _with_all(groups: inventories.Groups) -> inventories.Groups:
    """An inventory's groups with `all`, which every inventory has."""
    if not groups.get("all"):
        everyone = [one for sets in groups.values() for one in sets if not one.startswith("@")]
        return groups | {"all": everyone}
    return groups
