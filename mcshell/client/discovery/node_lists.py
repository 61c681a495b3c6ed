"""Lists of nodes as people have them: what `--nodes FILE`, standard input and a cell may hold.

A form is recognised by what is in it, never by the file's name: tables of ours (csv, tsv, json,
jsonl) by their column `sender`; lists of names, one a line, or one line of them; JSON and YAML
lists; sets of nodes; clush groups; genders; Ansible inventories (all their hosts). Whatever else
it may be is refused with its line: a name that stands in a file by chance is never a target.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery import inventories
from mcshell.client.discovery.group_book import GroupBook
from mcshell.errors import FilterError, UsageError
from mcshell.filters.nodes import MAX_NODES, canonical, expand, has_group
from mcshell.texts import bytes_of, decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mcshell.filters.nodes import GroupLookup

__all__ = ["MAX_LIST", "read_file", "read_node_list"]

MAX_LIST: Final = 64 * 2**20
"""Bytes of a list: a table of 10,000 replies has some ten million."""

_COLUMN: Final = "sender"
_ADDRESS: Final = re.compile(
    r"(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]*:[0-9a-f:.]+(?:%\w+)?", re.IGNORECASE
)
_LISTED: Final = re.compile(rf"[^\W_][\w.+~-]*|{_ADDRESS.pattern}", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"[\w.:/%-]+(?:=\S*)?")
_KEY: Final = re.compile(r"(?:[\w.@-]+|\"[^\"]*\"|'[^']*')[ \t]*:(?:\s|$)")
_PIECE: Final = re.compile(r"\[[^\]]*\]?|[\s,]+|[^\[\s,]+")
_LONGEST: Final = 4096
_MOST_YAML: Final = 4 * 2**20
# A word that is a name whatever stands beside it: web1, web[1-3], a.example.com, @web.
_NAME: Final = re.compile(
    r"@[\w.:-]+|[A-Za-z][\w-]*[\d\[][\w.\[\],/-]*|[A-Za-z0-9][\w-]*(?:\.[\w-]+)*\.[A-Za-z]+"
)
_HINT: Final = "one name a line is meant, a set of nodes, or a table with the column sender"

_Entry = tuple[str, str]
"""A set of nodes, and where in the file it stands."""

_Groups = Mapping[str, inventories.Groups]
"""A file that is nothing but groups: all their nodes are meant."""


def read_node_list(data: bytes, groups: GroupLookup, *, place: str = "--nodes") -> tuple[str, ...]:
    """The names in a list, each once, in its order; `groups` gives those of an `@GROUP`.

    Raises:
        UsageError: what is no list of nodes, or has a name that is none: with `place` and the line.
    """
    if len(data) > MAX_LIST:
        raise UsageError(f"{place}: larger than {MAX_LIST >> 20} MiB")
    try:
        entries = _entries(decoded(data))
        if isinstance(entries, Mapping):
            groups = GroupBook(dict(entries), groups)
            entries = [
                (f"@{s}:{name}", f"group {name}") for s, all_ in entries.items() for name in all_
            ]
        found: dict[str, None] = {}
        for entry, where in entries:
            found.update(dict.fromkeys(_names(entry, where, groups)))
            if len(found) > MAX_NODES:
                raise FilterError(f"{where}: more than {MAX_NODES:,} nodes")
    except (UsageError, ValueError) as error:
        raise UsageError(f"{place}: {error}") from error
    return tuple(found)


def read_file(path: Path, groups: GroupLookup, option: str) -> tuple[str, ...]:
    """The names in a file, as `read_node_list`; UsageError when it cannot be read."""
    place = f"{option} {path}"
    try:
        data = bytes_of(path.expanduser(), MAX_LIST)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{place}: {error}") from error
    return read_node_list(data, groups, place=place)


def _entries(text: str) -> Iterable[_Entry] | _Groups:
    """The sets of nodes of a text, or its groups, by its form."""
    lines = list(inventories.significant(text))
    if not lines:
        return []
    number, first = lines[0]
    if first.startswith(("[", "{")) and (documents := _json(text)) is not None:
        return _of_documents(documents)
    if any(inventories.is_ini_section(line) for _number, line in lines):
        return {"file": inventories.ansible_ini(text)}
    if first.startswith(("---", "%YAML", "- ", "[", "{")) or first == "-" or _KEY.match(first):
        named = None if first.startswith("-") else inventories.clush_lines(text)
        return {"file": named} if named else _of_yaml(text, number, first)
    return _of_words(text, lines)


def _of_words(text: str, lines: list[tuple[int, str]]) -> Iterable[_Entry]:
    """Lines of words: a table of ours, nodes with what is said of them, or names alone."""
    number, first = lines[0]
    if (delimiter := _delimiter(first)) is not None:
        return _of_table(text.split("\n")[number - 1 :], number - 1, delimiter)
    words = [line.split() for _number, line in lines]
    if any("=" in one for _name, *said in words for one in said) and not any(
        "=" in name for name, *_said in words
    ):
        return _of_attributes(lines)
    return _of_lines(lines)


def _names(entry: str, where: str, groups: GroupLookup) -> list[str]:
    """The names of one set; what only some odd certificate could have is none in a list."""
    try:
        names = expand([entry], groups)
    except (FilterError, UsageError) as error:
        raise UsageError(f"{where}: {error}") from error
    strange = next((name for name in names if not _LISTED.fullmatch(name)), None)
    if strange is not None:
        raise UsageError(f"{where}: {_shown(strange)} may be no name: {_HINT}")
    if not names and not has_group(entry):
        raise UsageError(f"{where}: no name")
    return names


def _of_lines(lines: list[tuple[int, str]]) -> Iterator[_Entry]:
    """A plain list: a name or a set a line, or several names that can be nothing else."""
    words = [_words(line) for _number, line in lines]
    columns = {len(some) for some in words}
    if len(lines) > 1 and len(columns) == 1 and 1 not in columns and "[" not in lines[0][1]:
        raise UsageError(
            f"line {lines[0][0]}: {columns.pop()} words a line ({_shown(lines[0][1])}): {_HINT}"
        )
    for (number, line), some in zip(lines, words, strict=True):
        where = f"line {number}"
        if len(some) > 1:
            _check_words(some, where, alone=len(lines) == 1 or "[" in line)
        for word in some:
            yield word, where


def _words(line: str) -> list[str]:
    """The words of a line; white space and commas in brackets part none."""
    words = [""]
    for piece in _PIECE.findall(line):
        if piece[0] == "," or piece[0].isspace():
            words.append("")
        else:
            words[-1] += piece
    return [word for word in words if word]


def _check_words(words: list[str], where: str, *, alone: bool) -> None:
    """Refuse a line of several words, unless all are names: of one kind, or `alone` like names."""
    if _ADDRESS.fullmatch(words[0]) and not _ADDRESS.fullmatch(words[1]):
        raise UsageError(f"{where}: addresses and names, as hosts(5) has them: {_HINT}")
    if len({re.sub(r"\d+", "0", word) for word in words}) == 1:
        return
    if not alone:
        raise UsageError(f"{where}: {len(words)} words ({_shown(' '.join(words))}): {_HINT}")
    strange = next((w for w in words if len(w) > _LONGEST or not _NAME.fullmatch(w)), None)
    if strange is not None:
        raise UsageError(f"{where}: {_shown(strange)} may be no name: {_HINT}")


def _of_attributes(lines: list[tuple[int, str]]) -> Iterator[_Entry]:
    """Genders, or hosts of Ansible's without a section: nodes, and what is said of them."""
    for number, line in lines:
        name, *said = line.split()
        told = all(map(_ATTRIBUTE.match, said))
        if not told or (len(said) > 1 and not all("=" in one for one in said)):
            raise UsageError(f"line {number}: {_shown(line)}: {_HINT}")
        yield name, f"line {number}"


def _delimiter(header: str) -> str | None:
    """What parts the columns of a table with a `sender` among them."""
    for delimiter in ("\t", ",", ";"):
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if _COLUMN in names:
            return delimiter
    return None


def _of_table(lines: list[str], before: int, delimiter: str) -> Iterator[_Entry]:
    """The column `sender` of a table with a header, behind so many lines."""
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    csv.field_size_limit(MAX_LIST)
    try:
        header = [name.strip().lower() for name in next(rows)]
        if header.count(_COLUMN) != 1:
            raise UsageError(f"line {before + 1}: several columns are named sender")
        for row in rows:
            if not row:
                continue
            where = f"line {before + rows.line_num}"
            if len(row) != len(header):
                raise UsageError(f"{where}: {len(row)} columns, and {len(header)} in the header")
            yield _plain(row[header.index(_COLUMN)], where), where
    except csv.Error as error:
        raise UsageError(f"line {before + rows.line_num}: {error}") from error


def _json(text: str) -> list[Any] | None:
    """The one document of a text or those of its lines; None when it is neither."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        pass
    if not text.lstrip().startswith("{"):
        return None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            if number == 1 or not found:
                return None
            raise UsageError(f"line {number}: no JSON: {error}") from error
    return found


def _of_documents(documents: list[Any]) -> Iterable[_Entry] | _Groups:
    """Names in JSON: a list, rows with a sender, a document of replies, an inventory."""
    if len(documents) > 1:
        return [(_sender(row, f"line {n}"), f"line {n}") for n, row in enumerate(documents, 1)]
    (document,) = documents
    if isinstance(document, Mapping) and isinstance(document.get("replies"), list):
        document = document["replies"]
    return _of_document(document, "JSON")


def _of_document(document: Any, kind: str) -> Iterable[_Entry] | _Groups:
    if isinstance(document, list):
        return [(_item(one, f"item {n}"), f"item {n}") for n, one in enumerate(document, 1)]
    if isinstance(document, Mapping) and _COLUMN in document:
        return [(_sender(document, "item 1"), "item 1")]
    if inventories.is_ansible_tree(document):
        return {"file": inventories.ansible_tree(document)}
    if inventories.is_clush_tree(document):
        return inventories.clush_tree(document)
    raise UsageError(
        f"line 1: {kind} that is no list of names, rows with a sender, clush groups or Ansible "
        "inventory"
    )


def _of_yaml(text: str, number: int, first: str) -> Iterable[_Entry] | _Groups:
    if len(text) > _MOST_YAML:
        raise UsageError(f"YAML larger than {_MOST_YAML >> 20} MiB (JSON may be larger)")
    try:
        document = inventories.read_yaml(text)
    except UsageError as error:
        raise UsageError(f"{error} (line {number} is {_shown(first)}: {_HINT})") from error
    return _of_document(document, "YAML")


def _item(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    return _sender(value, where)


def _sender(row: Any, where: str) -> str:
    if isinstance(row, Mapping) and isinstance(row.get(_COLUMN), str):
        return _plain(row[_COLUMN], where)
    raise UsageError(
        f"{where}: {_shown(json.dumps(row))}: a name, or a row with a sender, is meant"
    )


def _plain(name: str, where: str) -> str:
    """A sender of a table, which is a name and never a set."""
    try:
        return canonical(name)
    except FilterError as error:
        raise UsageError(f"{where}: {error}") from error


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")  # noqa: PLR2004 - half a line
