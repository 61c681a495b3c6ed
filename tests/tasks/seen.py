"""What a line has shown, as rows of text: read from a terminal, or from a kernel's JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from mcshell.filters.nodes import expand

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Seen", "clock", "of_json", "of_screen"]

_RULER = re.compile(r"-{2,}(  -{2,})*")
_BELOW = re.compile(r"not shown: |\d+ targets?: |no answer from ")
_HEADING = re.compile(r"(\S+) \(\d+\)(: .*)?")
_UPRIGHT = re.compile(r"([a-z_]+): *(.*)")


@dataclass(frozen=True, slots=True)
class Seen:
    """The rows and the whole text of one line's answer; `folder` is where it was said."""

    text: str
    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def column(self, name: str, key: str = "sender") -> dict[str, str]:
        """One column by another."""
        return {row[key]: row[name] for row in self.rows}


def of_screen(text: str, folder: Path) -> Seen:
    """Read a table, with a ruler below its heads or upright, or texts below the nodes that wrote them."""
    lines = text.splitlines()
    if blocks := _blocks(lines):
        return Seen(text, folder, blocks)
    at = next((at for at, line in enumerate(lines) if at and _RULER.fullmatch(line)), None)
    return Seen(text, folder, _upright(lines) if at is None else _ruled(lines, at))


def _blocks(lines: list[str]) -> list[dict[str, str]]:
    """A row a node, of what stands below a heading between two rulers: whatever output it is."""
    heads = [
        (at, match[1])
        for at, (above, line, below) in enumerate(zip(lines, lines[1:], lines[2:], strict=False))
        if above == below and set(above) == {"-"} and (match := _HEADING.fullmatch(line))
    ]
    ends = [at for at, _ in heads[1:]] + [len(lines)]
    rows = []
    for (at, names), end in zip(heads, ends, strict=False):
        body = "\n".join(takewhile(lambda line: not _BELOW.match(line), lines[at + 3 : end]))
        rows += [{"sender": name, "stdout": body, "content": body} for name in expand([names])]
    return rows


def _ruled(lines: list[str], at: int) -> list[dict[str, str]]:
    starts = [match.start() for match in re.finditer("-+", lines[at])]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    heads = [lines[at - 1][start:end].strip() for start, end in spans]
    rows: list[dict[str, str]] = []
    for line in lines[at + 1 :]:
        if not line.strip() or any(start and line[start - 1 : start].strip() for start in starts):
            break  # no row of the table any more
        cells = [line[start:end].strip() for start, end in spans]
        if cells[0]:
            rows.append(dict(zip(heads, cells, strict=True)))
        else:
            for head, cell in zip(heads, cells, strict=True):
                rows[-1][head] += f"\n{cell}" if cell else ""
    return rows


def _upright(lines: list[str]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    name = ""
    for line in lines:
        if found := _UPRIGHT.fullmatch(line):
            name = found[1]
            rows += [{}] if name == "sender" else []
            if rows:
                rows[-1][name] = found[2]
        elif name and line.startswith(" "):
            rows[-1][name] += f"\n{line.strip()}"
    return rows


def of_json(text: str, folder: Path) -> Seen:
    """Read the records of a DataFrame; what is no list of records is text alone."""
    records: Any = json.loads(text)
    if not isinstance(records, list):
        return Seen(str(records), folder)
    return Seen(text, folder, [{name: _text(one) for name, one in row.items()} for row in records])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def clock(text: str) -> str:
    """The hour and minute of a moment: of epoch seconds, of ISO's text, or as it is written out."""
    if re.match(r"\d{4}-\d\d-\d\dT", text):
        return f"{datetime.fromisoformat(text).astimezone():%H:%M}"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return f"{datetime.fromtimestamp(float(text)).astimezone():%H:%M}"
    found = re.search(r"\d\d:\d\d", text)
    assert found is not None, text
    return found[0]
