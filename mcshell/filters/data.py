"""The data plugins of compound filters: what they are called, what they put out, what a node says.

MCollective's four, with its outputs: `fact('os.family').value`, `agent('package').version`,
`collective('eu').member`, `fstat('/etc/hosts').md5`. A node's `Subject.query` calls `answer`.
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mcshell.errors import FilterError, PluginError, did_you_mean
from mcshell.filters.facts import MISSING, lookup

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from mcshell.filters.matcher import Subject

__all__ = [
    "MAX_DIGEST",
    "OUTPUTS",
    "AskedOnce",
    "DataView",
    "FileEntry",
    "HeldFile",
    "answer",
    "declared",
]

MAX_DIGEST = 16 * 1024 * 1024
"""Bytes of a file that a filter may have a node read.

Larger files have no digests, nor have those that not every user of the node may read.
"""

_MOST_DIGESTED: Final = 4 * MAX_DIGEST
"""Bytes of all files whose digests one message may want: who may nothing may send filters, too."""
_BLOCK: Final = 256 * 1024
_DIGESTS: Final = ("md5", "sha256")
_STAMPS: Final = ("mtime", "ctime", "atime")
OUTPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": ("agent", "license", "timeout", "description", "url", "version", "author"),
    "collective": ("member",),
    "fact": ("exists", "value", "value_encoding"),
    "fstat": (
        *("name", "output", "present", "size", "mode", "md5", "sha256", "type", "uid", "gid"),
        *(f"{stamp}{suffix}" for stamp in _STAMPS for suffix in ("", "_seconds", "_age")),
    ),
}
"""Plugin → its outputs."""


class HeldFile(Protocol):
    """A file that is held: the same one, whatever its path means by now."""

    @property
    def real(self) -> str:
        """Its path without links."""

    @property
    def status(self) -> os.stat_result:
        """What it is now."""

    def read(self, length: int, offset: int = 0) -> bytes:
        """So many bytes, fewer at its end; OSError when it cannot be read."""

    def entries(self) -> Iterator[FileEntry]:
        """What is in a folder, in no order; OSError when it is none, or cannot be read."""


class FileEntry(NamedTuple):
    """What has a name in a folder: a link itself, and where that leads in its own words."""

    name: str
    status: os.stat_result
    link: str | None


class FileHolder(Protocol):
    """The machine's files (`node.system.System`)."""

    def hold(
        self, path: str, *, public: bool, follow: bool = True
    ) -> AbstractContextManager[HeldFile]:
        """Hold what a path leads to; without `follow` a link itself."""


class DataView(Protocol):
    """What a node must know of itself to answer (an agent's `NodeView` is one)."""

    @property
    def system(self) -> FileHolder | None:
        """The machine whose files are looked at; None from afar."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """All facts, nested."""

    @property
    def collectives(self) -> tuple[str, ...]:
        """The collectives it listens to."""

    def inventory(self) -> list[dict[str, Any]]:
        """The active agents' metadata, each with its `name`."""

    @property
    def tells_all_files(self) -> bool:
        """Whether it may tell of files that not every user of the machine could look at."""

    def protects(self, path: str) -> bool:
        """Whether a path is the node's own key or state."""


def declared(plugin: str, output: str) -> None:
    """Check that a data plugin and its output exist; FilterError with what was meant."""
    if plugin not in OUTPUTS:
        raise FilterError(f"no data plugin {plugin[:40]!r}{did_you_mean(plugin, OUTPUTS)}")
    if output not in OUTPUTS[plugin]:
        near = did_you_mean(output, OUTPUTS[plugin])
        raise FilterError(f"data plugin {plugin} has no output {output[:40]!r}{near}")


def answer(plugin: str, params: str | None, view: DataView) -> Mapping[str, Any]:
    """Answer a data plugin's question about this node; PluginError when it cannot be answered.

    The digests of `fstat` are only taken when they are looked at.
    """
    answers: Mapping[str, Callable[[str, DataView], Mapping[str, Any]]] = {
        "agent": _agent,
        "collective": _collective,
        "fact": _fact,
        "fstat": _fstat,
    }
    if plugin not in answers or not params:
        raise PluginError(f"no data plugin {plugin}({params or ''}) here", "data", plugin)
    return answers[plugin](params, view)


class AskedOnce:
    """A subject that is looked into once for whatever one message asks of it, and for so much."""

    def __init__(self, subject: Subject) -> None:
        self.identity = subject.identity
        self.agents = subject.agents
        self.classes = subject.classes
        self.facts = subject.facts
        self._query = subject.query
        self._answers: dict[tuple[str, str | None], Mapping[str, Any]] = {}
        self._digested = 0

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer as the subject does; its answer raises FilterError for too many digests."""
        key = plugin, params
        if key not in self._answers:
            self._answers[key] = _Answer(self._query(plugin, params), self._charge)
        return self._answers[key]

    def _charge(self, size: int) -> None:
        self._digested += size
        if self._digested > _MOST_DIGESTED:
            raise FilterError(f"it wants digests of more than {_MOST_DIGESTED >> 20} MiB")


class _Answer(Mapping[str, Any]):
    """A plugin's answer: each output is found out once, digests after they are charged for."""

    def __init__(self, found: Mapping[str, Any], charge: Callable[[int], None]) -> None:
        self._found = found
        self._charge = charge
        self._values: dict[str, Any] = {}

    def __getitem__(self, output: str) -> Any:
        if output not in self._values:
            size = self._found.get("size", 0) if output in _DIGESTS else 0
            if size <= MAX_DIGEST:  # larger files have none
                self._charge(size)
            self._values[output] = self._found[output]
        return self._values[output]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _agent(name: str, view: DataView) -> Mapping[str, Any]:
    for entry in view.inventory():
        if entry.get("name") == name:
            return {"agent": name} | {key: entry.get(key) for key in OUTPUTS["agent"][1:]}
    raise PluginError(f"no agent {name} here", "data", "agent")


def _collective(name: str, view: DataView) -> Mapping[str, Any]:
    return {"member": name in view.collectives}


def _fact(path: str, view: DataView) -> Mapping[str, Any]:
    value = lookup(view.facts, path)
    if value is MISSING:
        return {"exists": False, "value": False, "value_encoding": False}
    if isinstance(value, (list, dict)):
        text = json.dumps(value, default=str)
        return {"exists": True, "value": text, "value_encoding": "application/json"}
    return {"exists": True, "value": value, "value_encoding": "text/plain"}


def _fstat(path: str, view: DataView) -> Mapping[str, Any]:
    if (files := view.system) is None:
        raise PluginError("a file can only be asked of the node itself", "data", "fstat")
    absent = {"name": path, "output": "not present", "present": False, "type": "unknown"}
    if "\0" in path or not path.startswith("/") or view.protects(path):
        return absent
    try:
        with files.hold(path, public=not view.tells_all_files, follow=False) as held:
            status = held.status
    except PermissionError as error:
        raise PluginError(f"{path}: {error.strerror}", "data", "fstat") from error
    except OSError:
        return absent
    seen: dict[str, Any] = {
        "name": path,
        "output": "present",
        "present": True,
        "size": status.st_size,
        "mode": f"{status.st_mode:o}",
        "uid": status.st_uid,
        "gid": status.st_gid,
        "type": _type(status.st_mode),
    }
    for stamp in _STAMPS:
        seconds = int(getattr(status, f"st_{stamp}"))
        seen[stamp] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        seen[f"{stamp}_seconds"] = seconds
        seen[f"{stamp}_age"] = int(time.time()) - seconds
    return _Seen(path, status, seen, files)


def _type(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "directory",
        stat.S_IFREG: "file",
        stat.S_IFLNK: "symlink",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "chardev",
        stat.S_IFBLK: "blockdev",
    }
    return kinds.get(stat.S_IFMT(mode), "unknown")


def _readable(status: os.stat_result) -> bool:
    """Whether any user of the node who finds it could read the file.

    A filter is answered before policy is asked: what it may look into must be no secret.
    """
    return bool(stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH)


class _Seen(Mapping[str, Any]):
    """What is known of a file, its digests when they are asked for."""

    def __init__(
        self, path: str, status: os.stat_result, seen: Mapping[str, Any], files: FileHolder
    ) -> None:
        self._path = path
        self._seen = seen
        self._files = files
        readable = status.st_size <= MAX_DIGEST and _readable(status)
        self._digests = _DIGESTS if readable else ()

    def __getitem__(self, key: str) -> Any:
        if key not in self._digests:
            return self._seen[key]
        try:
            with self._files.hold(self._path, public=True, follow=False) as held:
                if not _readable(held.status):  # it has become another since
                    return None
                digest = hashlib.new(key, usedforsecurity=False)
                for offset in range(0, MAX_DIGEST, _BLOCK):
                    if not (block := held.read(_BLOCK, offset)):
                        break
                    digest.update(block)
        except OSError:
            return None
        return digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        yield from self._seen
        yield from self._digests

    def __len__(self) -> int:
        return len(self._seen) + len(self._digests)
