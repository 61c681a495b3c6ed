"""Facts of a node: what the machine says of itself, and the operator's files over that.

Built-in facts are nested and named as Facter names them (os.family, kernelrelease,
network.interfaces.eth0.ip); read from /proc, /sys and files only: no program is run and no name
server is asked, since a fact that hangs would hang the node. Files (`facts.d/*.yaml`, `*.json`)
are laid over the built-in facts, later ones over earlier ones, key by key; only `mcshell`, which
speaks of the software that runs, cannot be overridden.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mcshell.node.facts.sendable import fitted, sendable
from mcshell.node.facts.system import machine
from mcshell.texts import make_careful

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["FactSource", "merge", "read_yaml"]

log = logging.getLogger(__name__)

MAX_FILE = 4 * 1024 * 1024
MAX_DIGITS = 4000
ROOM = 512 * 1024
"""Bytes that all facts may take as JSON, where nobody says another size."""


class FactSource:
    """The facts of one node, read again when they are `refresh` seconds old.

    `patterns` are globs below `base` (or absolute ones). A file that cannot be used is one warning
    for each of its versions: what it last said when it was whole stays, and so does all the rest. A
    fact that cannot be sent is left out by name; of those that together are more than `room` bytes,
    the largest. Safe to ask from any thread; what was handed out never changes.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        base: Path,
        refresh: float = 60.0,
        *,
        room: int = ROOM,
        builtin: Callable[[], dict[str, Any]] = machine,
    ) -> None:
        self._patterns = tuple(patterns)
        self._base = base
        self._refresh = refresh
        self._room = room
        self._builtin = builtin
        self._lock = threading.Lock()
        self._files: dict[Path, _FactFile] = {}
        self._facts: Mapping[str, Any] = MappingProxyType({})
        self._flaws: tuple[str, ...] = ()
        self._due = float("-inf")

    def facts(self) -> Mapping[str, Any]:
        """All facts, nested: hashes, lists, strings, numbers, booleans and nulls only."""
        with self._lock:
            self._refreshed()
            return self._facts

    def flaws(self) -> tuple[str, ...]:
        """What is left out, a line each: files that cannot be used, facts that cannot be sent."""
        with self._lock:
            self._refreshed()
            return self._flaws

    def _refreshed(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        facts, flaws = sendable(self._builtin())
        own = facts.keys() & {"mcshell"}
        for path in self._paths(flaws):
            file = self._files.setdefault(path, _FactFile(path))
            merge(facts, {key: value for key, value in file.facts().items() if key not in own})
            flaws += file.flaws
        facts, large = fitted(facts, self._room)
        self._say([*flaws, *large])
        self._facts = MappingProxyType(facts)
        self._due = now + self._refresh

    def _say(self, flaws: list[str]) -> None:
        found = tuple(f"fact {line}" for line in flaws)
        for line in found:
            if line not in self._flaws:
                log.warning("%s", line)
        self._flaws = found

    def _paths(self, flaws: list[str]) -> list[Path]:
        found: dict[Path, None] = {}
        for pattern in self._patterns:
            # An absolute pattern is relative to the root: pathlib globs only below a directory.
            top, relative = self._base, pattern
            if pattern.startswith("/"):
                top, relative = type(self._base)("/"), pattern.lstrip("/")
            try:
                there = sorted(p for p in top.glob(relative) if p.is_file())
            except (OSError, ValueError) as error:
                flaws.append(f"files {pattern[:80]!r}: {error}")
                continue
            found.update(dict.fromkeys(there))
        for gone in self._files.keys() - found.keys():
            del self._files[gone]
        return list(found)


class _FactFile:
    """One file of facts, parsed again only when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._facts: dict[str, Any] = {}
        self.flaws: list[str] = []

    def facts(self) -> dict[str, Any]:
        try:
            found = self._path.stat()
            stamp: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._stamp = stamp
                self._facts, flaws = sendable(_parse(self._path, found.st_size))
                self.flaws = [f"{line} ({self._path})" for line in flaws]
        except (OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            self.flaws = [f"file {self._path} is left out as it is now: {reason}"]
            if isinstance(error, OSError):
                self._stamp = None  # the next look may read it, though it has not changed
        return self._facts


def _parse(path: Path, size: int) -> dict[Any, Any]:
    """Read one file of `size` bytes; ValueError says what is wrong with it."""
    if size > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    content = path.read_bytes()
    if path.suffix == ".json":
        document = json.loads(content, parse_int=_integer)
    elif path.suffix in (".yaml", ".yml"):
        document = read_yaml(content)
    else:
        raise ValueError("neither .yaml nor .json")
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"a hash is wanted at the top, not a {type(document).__name__}")  # noqa: TRY004 - content, not a wrong call
    return document


def read_yaml(content: bytes | str) -> Any:
    """YAML as facts are read from it: an odd value is its text. ValueError says what is none."""
    import yaml  # noqa: PLC0415 - loaded only where a YAML file is: it costs 3 MB

    loader: Any = type("_FactLoader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    make_careful(loader, lenient=True)
    try:
        return yaml.load(content, Loader=loader)  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _integer(text: str) -> int | str:
    # Of more digits Python makes no number, which would cost the file.
    return int(text) if len(text) < MAX_DIGITS else text


def merge(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay `over` over `under` in place: hashes are merged, everything else is replaced."""
    for key, value in over.items():
        mine = under.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            merge(mine, value)
        else:
            under[key] = copy.deepcopy(value)
