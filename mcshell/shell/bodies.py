"""What programs wrote, as `clush -b` shows it: nodes that said the same together, the text below them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.analysis.fold import fold
from mcshell.client.rpc.outputs import FIXED
from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.shell.colours import bold, painted
from mcshell.shell.tables import cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcshell.client.analysis.answers import Answers
    from mcshell.client.analysis.fold import Fold

__all__ = ["bodies_of", "folded_bodies"]

_WRITTEN: Final = ("stdout", "stderr", "content")
_HEADED: Final = ("exitcode", "signal", "truncated")
_RULE: Final = 15
_RULES = re.compile(r"^-+$", re.MULTILINE)


def bodies_of(answers: Answers) -> list[str]:
    """The columns that are what a program or a file says; or the only one, of texts with several lines."""
    there = [name for name in _WRITTEN if name in answers.columns]
    alone = answers.outputs if len(answers.outputs) == 1 else []
    return there or [name for name in alone if _is_text(answers.columns[name])]


def _is_text(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    return sum("\n" in text.rstrip("\n") for text in texts) * 2 > len(texts)


def folded_bodies(
    answers: Answers, bodies: Sequence[str], *, cut: bool, paint: bool
) -> tuple[str, list[str]]:
    """The blocks, those of most nodes first, and the columns that are in none of them.

    `cut`: without what is far too long to read.
    """
    heads = [name for name in ("statusmsg", *_HEADED) if name in answers.columns]
    groups = fold(answers, [*heads, *bodies])
    blocks = []
    for one in groups:
        values = dict(zip([*heads, *bodies], one.cells, strict=True))
        texts = [(name, cell(values[name]).rstrip("\n")) for name in bodies if values[name]]
        if cut:
            texts = [(name, shortened(text)) for name, text in texts]
        blocks.append((_head(one, values, paint=paint), texts))
    # No node can draw a ruler of its own: ours is longer than any line like it.
    ruled = [len(line) for _, texts in blocks for _, text in texts for line in _RULES.findall(text)]
    ruler = "-" * max(_RULE, *(length + 1 for length in ruled), 0)
    lines = [line for head, texts in blocks for line in (ruler, head, ruler, *_below(texts))]
    left = [name for name in answers.outputs if name not in (*heads, *bodies)]
    return "".join(f"{line}\n" for line in lines), [name for name in left if name not in FIXED]


def _head(one: Fold, values: dict[str, Any], *, paint: bool) -> str:
    """`web[01-03] (3): failed, exitcode 2: what the node said of it`."""
    said = [] if one.state in (None, "ok") else [str(one.state)]
    said += [f"{name} {cell(values[name])}" for name in _HEADED if values.get(name)]
    names = f"{sanitize(one.nodes)} ({len(one.senders)})"
    told = painted(", ".join(said)) if paint else ", ".join(said)
    why = values.get("statusmsg") if one.state != "ok" else None
    parts = [bold(names) if paint else names, told, " ".join(cell(why).split())]
    return ": ".join(part for part in parts if part)


def _below(texts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The texts, each under its name where it is not the first column's."""
    for at, (name, text) in enumerate(texts):
        if at or name == "stderr":
            yield f"{name}:"
        yield text
