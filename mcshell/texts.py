"""The text of a file that somebody wrote: UTF-8, with or without BOM, with CRLF or without; YAML; and paths."""

from __future__ import annotations

import codecs
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import UsageError, on_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bytes_of", "decoded", "expanded", "make_careful"]

_YAML: Final = "tag:yaml.org,2002:"
_WRITER: Final = 2.0
"""Seconds that a pipe waits for who writes to it: he may begin just now."""
_MERGED: Final = 1_000_000
"""Entries that merge keys (`<<`) may copy: ten lines of them have more than there is memory for."""

_OTHERS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def bytes_of(path: Path, most: int) -> bytes:
    """What is in a file that somebody named, or comes from a pipe that somebody writes to.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than `most` bytes, or a pipe from which nothing comes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        os.set_blocking(descriptor, True)
        data, until = file.read(most + 1), time.monotonic() + _WRITER
        while not data and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            if time.monotonic() > until:
                raise ValueError("nothing comes from this pipe")
            time.sleep(0.05)
            data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"larger than {most >> 20} MiB")
    return data


def decoded(data: bytes) -> str:
    r"""The text without its BOM; CRLF becomes `\n`, a CR alone stays.

    Raises:
        ValueError: it is in another encoding, or no text; with the line.
    """
    for mark, name in _OTHERS.items():
        if data.startswith(mark):
            raise ValueError(f"it is {name}: save it as UTF-8")
    if (at := data.find(b"\0")) >= 0:
        raise ValueError(f"line {_line(data, at)}: a NUL byte: it is no text in UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        where = _line(data, error.start)
        wrong = error.object[error.start]
        raise ValueError(f"line {where}: not UTF-8 (byte 0x{wrong:02x})") from error


def expanded(path: str | Path) -> Path:
    """A path in which `~` is a home; UsageError for that of somebody who has none here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{on_one_line(str(path))}: there is no such home") from None


def make_careful(loader: Any, *, lenient: bool = False) -> None:
    """Have a loader, a class derived from a safe one of PyYAML's, outlive whatever stands in a file.

    What is no value of its type (a day 0000-00-00, `!!bool maybe`) is a YAMLError with its place; if
    `lenient` it is the text that stands there, and a tag that nobody knows is not looked at.
    """
    for kind in ("binary", "bool", "float", "int", "timestamp"):
        tag = f"{_YAML}{kind}"
        loader.add_constructor(tag, _judged(loader.yaml_constructors[tag], kind, lenient=lenient))
    loader.add_constructor(f"{_YAML}value", loader.construct_scalar)
    if lenient:
        loader.add_constructor(None, _untagged)
    loader.flatten_mapping = _bounded(loader.flatten_mapping)


def _judged(made: Callable[..., Any], kind: str, *, lenient: bool) -> Callable[..., Any]:
    """The constructor `made` of scalars, of which PyYAML's raise whatever comes to them."""
    import yaml  # noqa: PLC0415 - loaded only where a YAML file is: it costs 3 MB

    def construct(loader: Any, node: Any) -> Any:
        try:
            return made(loader, node)
        except (ArithmeticError, AttributeError, LookupError, ValueError, yaml.YAMLError) as error:
            if not isinstance(node, yaml.ScalarNode):
                raise
            if lenient:
                return node.value
            what = f"{node.value[:60]!r} is no {kind}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error

    return construct


def _untagged(loader: Any, node: Any) -> Any:
    by_kind = {"mapping": loader.construct_mapping, "sequence": loader.construct_sequence}
    return by_kind[node.id](node, deep=True) if node.id in by_kind else node.value


def _bounded(flatten: Callable[..., None]) -> Callable[..., None]:
    """PyYAML's `flatten_mapping`, which copies the entries of each `<<`, up to so many in a document."""
    import yaml  # noqa: PLC0415 - as above

    def bounded(loader: Any, node: Any) -> None:
        done, merged = vars(loader).setdefault("merging", (set(), [0]))
        if node in done:
            return
        done.add(node)
        named = [value for key, value in node.value if key.tag == f"{_YAML}merge"]
        for value in named:
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(one, yaml.MappingNode):
                    continue
                bounded(loader, one)
                merged[0] += len(one.value)
                if merged[0] > _MERGED:
                    what = f"merge keys bring more than {_MERGED:,} entries"
                    raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        flatten(loader, node)

    return bounded


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
