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

from mcshell.node.facts.system import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["FactSource", "merge", "plain"]

log = logging.getLogger(__name__)

MAX_FILE = 4 * 1024 * 1024
MAX_DEPTH = 32


class FactSource:
    """The facts of one node, read again when they are `refresh` seconds old.

    `patterns` are globs below `base` (or absolute ones). A file that cannot be used is one warning
    for each of its versions: what it last said when it was whole stays, and so does all the rest.
    Safe to ask from any thread; what was handed out never changes.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        base: Path,
        refresh: float = 60.0,
        *,
        builtin: Callable[[], dict[str, Any]] = machine,
    ) -> None:
        self._patterns = tuple(patterns)
        self._base = base
        self._refresh = refresh
        self._builtin = builtin
        self._lock = threading.Lock()
        self._files: dict[Path, _FactFile] = {}
        self._facts: Mapping[str, Any] = MappingProxyType({})
        self._due = float("-inf")

    def facts(self) -> Mapping[str, Any]:
        """All facts, nested: hashes, lists, strings, numbers, booleans and nulls only."""
        with self._lock:
            now = time.monotonic()
            if now >= self._due:
                self._facts = MappingProxyType(self._read())
                self._due = now + self._refresh
            return self._facts

    def _read(self) -> dict[str, Any]:
        facts = self._builtin()
        own = facts.keys() & {"mcshell"}
        for path in self._paths():
            file = self._files.setdefault(path, _FactFile(path))
            merge(facts, {key: value for key, value in file.facts().items() if key not in own})
        return facts

    def _paths(self) -> list[Path]:
        found: dict[Path, None] = {}
        for pattern in self._patterns:
            # An absolute pattern is relative to the root: pathlib globs only below a directory.
            top, relative = self._base, pattern
            if pattern.startswith("/"):
                top, relative = type(self._base)("/"), pattern.lstrip("/")
            found.update(dict.fromkeys(sorted(p for p in top.glob(relative) if p.is_file())))
        for gone in self._files.keys() - found.keys():
            del self._files[gone]
        return list(found)


class _FactFile:
    """One file of facts, parsed again only when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._facts: dict[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        try:
            found = self._path.stat()
            stamp: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._stamp = stamp
                self._facts = _parse(self._path, found.st_size)
        except (OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            log.warning("facts: %s is left out as it is now: %s", self._path, reason)
        return self._facts


def _parse(path: Path, size: int) -> dict[str, Any]:
    """Read one file of `size` bytes; ValueError says what is wrong with it."""
    if size > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    content = path.read_bytes()
    if path.suffix == ".json":
        document = json.loads(content)
    elif path.suffix in (".yaml", ".yml"):
        import yaml  # noqa: PLC0415 - loaded only where a YAML file is: it costs 3 MB

        try:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            document = yaml.load(content, Loader=loader)  # noqa: S506 - both are safe loaders
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    else:
        raise ValueError("neither .yaml nor .json")
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"a hash is wanted at the top, not a {type(document).__name__}")  # noqa: TRY004 - content, not a wrong call
    return {_key(key): plain(value) for key, value in document.items()}


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON can carry: YAML's dates become text, its sets lists.

    Raises:
        ValueError: nested deeper than facts may be (or into itself, which YAML allows).
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 - the test for NaN
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat else value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


def merge(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay `over` over `under` in place: hashes are merged, everything else is replaced."""
    for key, value in over.items():
        mine = under.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            merge(mine, value)
        else:
            under[key] = copy.deepcopy(value)
