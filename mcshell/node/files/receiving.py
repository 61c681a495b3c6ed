"""A file comes to a node: asked what is missing, given chunks, put in its place when all are there.

Each chunk says all there is to say of the file, so that they may come in any order, twice, and after
a restart; what they have in common makes the key of the transfer. The settings are those of the agent
`file`, which lists them.
"""

from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.errors import AgentError
from mcshell.node.files.parts import CHUNKS, PartLimits, Shape, owner_of, ranges, refuse_full
from mcshell.node.files.place import Attributes, WrongContent, steps_below
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mcshell.node.files.parts import Parts
    from mcshell.node.files.place import Place
    from mcshell.node.files.transfers import Transfers

__all__ = ["RANGES", "Wanted", "chunk_number", "receive", "receive_file"]

_AGENT: Final = "file"
_LEAST_CHUNK, _MOST_CHUNK = 4096, 512 * 1024
_MAX_FILE: Final = 1 << 30
_PARTS_MAX, _PARTS_KEEP, _KEEP_FREE = 4 << 30, 7 * 86_400, 64 << 20

RANGES: Final = 256
"""Pairs of missing chunks that one answer names."""


class FileSystem(Protocol):
    """What is needed of the machine below a node (`node.system.System`)."""

    def place(self, root: str, steps: list[str]) -> AbstractContextManager[Place]:
        """Hold the place that the steps below a root lead to."""

    def parts(self, state: Path | None) -> Parts:
        """What has come of files that are not whole."""

    @property
    def transfers(self) -> Transfers:
        """The files that come to it by broadcast."""

    def uid(self, owner: str) -> int:
        """The number of a user."""

    def gid(self, group: str) -> int:
        """The number of a group."""


class ReceivingNode(Protocol):
    """What is needed of a node (`node.agent.NodeView`)."""

    @property
    def system(self) -> FileSystem:
        """The machine below it."""

    @property
    def identity(self) -> str:
        """The node's name."""

    @property
    def state(self) -> Path | None:
        """The node's own folder."""

    def protects(self, path: str) -> bool:
        """Whether a path is the node's own key or state."""

    def obeys(self, path: str) -> bool:
        """Whether a path is what the node obeys or has noted."""

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The agent's settings."""


class PutCall(Protocol):
    """A call of `file.put` (`node.agent.Call`)."""

    @property
    def node(self) -> ReceivingNode:
        """The node it is for."""

    @property
    def caller(self) -> str:
        """The verified callerid."""

    def __getitem__(self, name: str) -> Any:
        """An input."""

    def get(self, name: str, default: Any = None) -> Any:
        """An input, or `default`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file as its sender announces it, to one node."""

    node: str
    caller: str
    path: str
    shape: Shape
    sha256: str
    attributes: Attributes

    @property
    def key(self) -> str:
        """What tells this transfer from all others: who sends what where, and how it is cut."""
        shape = self.shape
        parts = (self.node, self.caller, self.path, str(shape.size), str(shape.chunk), self.sha256)
        owner = owner_of(self.caller)
        return owner + hashlib.sha256("\0".join(parts).encode()).hexdigest()[len(owner) :]


def receive_file(call: PutCall) -> dict[str, Any]:
    """Take what a call of `file.put` brings, where the node's settings let it be written.

    Raises:
        AgentError: not below `write`, no room, or not what was announced; a line that says which.
    """
    wanted = _wanted(call)
    chunk, data = None, call.get("content")
    if data is not None:
        if not isinstance(data, bytes):
            raise AgentError("content is bytes", statuscode=4)
        chunk = chunk_number(wanted.shape, call.get("offset", 0), data), data
    system = call.node.system
    root, steps = _write_root(call, wanted.path)
    try:
        with system.place(root, steps) as place:
            if call.node.protects(place.real):
                raise AgentError.at(wanted.path, "the node's own keys and state are not written")
            if call.node.obeys(place.real):
                raise AgentError.at(wanted.path, "what the node obeys or has noted is not written")
            parts, noop = system.parts(call.node.state), call.get("noop", False)
            told = receive(place, parts, _part_limits(call), wanted, chunk, noop=noop)
    except OSError as error:
        raise AgentError.at(wanted.path, _why(error)) from None
    if call.get("share") is not None:
        told["share"] = _agree(call, wanted, parts, told["result"])
    elif told["result"] != "partial":
        system.transfers.forget(wanted.key)
    return told


def _agree(call: PutCall, wanted: Wanted, parts: Parts, result: str) -> bytes:
    """Say the node's share; with a sealed key and a manifest the transfer's raw chunks are taken."""
    from mcshell.node.files.transfers import AdmittedTransfer  # noqa: PLC0415 - few files come so

    transfers = call.node.system.transfers
    given = [call.get(name) for name in ("share", "transfer", "sealed", "manifest")]
    if not all(isinstance(one, bytes | None) for one in given):
        raise AgentError("share, transfer, sealed and manifest are bytes", statuscode=4)
    share, transfer, sealed, manifest = given
    if sealed is None or result != "partial":
        return transfers.share.public
    try:
        key = transfers.share.open(sealed, share, transfer or b"", call.node.identity)
    except ValueError as error:
        raise AgentError(f"the key of the transfer: {error}", statuscode=4) from None
    transfers.admit(
        AdmittedTransfer(
            key=key,
            manifest=manifest or b"",
            part=wanted.key,
            shape=wanted.shape,
            parts=parts,
            limits=_part_limits(call),
        )
    )
    return transfers.share.public


def _why(error: OSError) -> OSError | str:
    """What is wrong with a place."""
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return "a step of the way is no folder, or a link, which is not followed here"
    return error


def _wanted(call: PutCall) -> Wanted:
    """The file that a call announces."""
    system, path = call.node.system, call["path"]
    size, chunk = call["size"], call.get("chunk", _MOST_CHUNK)
    if not path.startswith("/") or "\0" in path:
        raise AgentError(f"{path!r} is not an absolute path", statuscode=4)
    most = int(call.node.settings(_AGENT).get("max_file", _MAX_FILE))
    if not 0 <= size <= most:
        raise AgentError.at(path, f"{size} bytes; from 0 to {most} are taken (max_file)")
    if not _LEAST_CHUNK <= chunk <= _MOST_CHUNK:
        raise AgentError(f"chunk is from {_LEAST_CHUNK} to {_MOST_CHUNK}", statuscode=4)
    mode, owner, group = (call.get(name) for name in ("mode", "owner", "group"))
    return Wanted(
        node=call.node.identity,
        caller=call.caller,
        path=path,
        shape=Shape(size=size, chunk=chunk),
        sha256=call["sha256"],
        attributes=Attributes(
            mode=None if mode is None else int(mode, 8),
            uid=None if owner is None else system.uid(owner),
            gid=None if group is None else system.gid(group),
        ),
    )


def _write_root(call: PutCall, path: str) -> tuple[str, list[str]]:
    """The root that a path lies below, and the names that lead there."""
    roots = call.node.settings(_AGENT).get("write", ())
    for root in roots:
        if steps := steps_below(root, path):
            return root, steps
    if not roots:
        raise AgentError.at(path, "nothing is written here ([agents.file] write names no folder)")
    raise AgentError.at(path, f"not below the folders that are written to ({', '.join(roots)})")


def _part_limits(call: PutCall) -> PartLimits:
    settings = call.node.settings(_AGENT)
    return PartLimits(
        most=int(settings.get("parts_max", _PARTS_MAX)),
        keep=float(settings.get("parts_keep", _PARTS_KEEP)),
        free=int(settings.get("keep_free", _KEEP_FREE)),
    )


def chunk_number(shape: Shape, offset: int, data: bytes) -> int:
    """The number of a chunk.

    Raises:
        AgentError: 4, it is none of this file: not at a chunk's beginning, too long, too short.
    """
    number, rest = divmod(offset, shape.chunk)
    if rest or not 0 <= number < shape.chunks or len(data) != shape.length(number):
        where = f"{len(data)} bytes at {offset}"
        raise AgentError(
            f"{where} are no chunk of {shape.size} bytes by {shape.chunk}", statuscode=4
        )
    return number


def receive(
    place: Place,
    parts: Parts,
    limits: PartLimits,
    wanted: Wanted,
    chunk: tuple[int, bytes] | None = None,
    *,
    noop: bool = False,
) -> dict[str, Any]:
    """Take a chunk, or say what is missing; the last one puts the file in its place.

    Raises:
        AgentError: what came is not what was announced: it has to be sent again.
        OSError: there is no room, or the place does not take it.
    """
    shape = wanted.shape
    if shape.chunks > CHUNKS:
        raise AgentError(f"{shape.chunks} chunks, {CHUNKS} at most", statuscode=4)
    begun = parts.has(wanted.key)
    if not begun and place.digest(shape.size) == wanted.sha256:
        return _there(place, wanted, noop=noop)
    place.refuse_special()
    if noop:
        return _told(wanted, "noop", list(range(shape.chunks)), changed=True)
    if not begun:
        refuse_full(place.room(), shape.size, limits)
    if not shape.size:
        return _put(place, wanted, ())
    with parts.open(wanted.key, shape, limits) as part:
        fresh = len(part.missing()) == shape.chunks
        if fresh and place.digest(shape.size) == wanted.sha256:  # it has ended while we waited
            part.discard()
            return _there(place, wanted, noop=False)
        if chunk is not None:
            part.write(*chunk)
        if missing := part.missing():
            return _told(wanted, "partial", missing)
        refuse_full(place.room(), shape.size, limits)  # what has come may have taken it
        try:
            told = _put(place, wanted, part.blocks())
        except AgentError:
            part.discard()
            raise
        part.discard()
        return told


def _there(place: Place, wanted: Wanted, *, noop: bool) -> dict[str, Any]:
    """The same content is there already: only its attributes may be others."""
    found = place.status()
    changed = found is not None and wanted.attributes.differ(found)
    if changed and not noop:
        place.adjust(wanted.attributes)
    return _told(wanted, "noop" if noop and changed else "same", [], changed=changed)


def _put(place: Place, wanted: Wanted, blocks: Iterable[bytes]) -> dict[str, Any]:
    try:
        place.replace(blocks, wanted.sha256, wanted.attributes, wanted.key)
    except WrongContent as error:
        raise AgentError.at(wanted.path, f"{error}: nothing of it is kept") from None
    return _told(wanted, "written", [], changed=True)


def _told(
    wanted: Wanted, result: str, missing: list[int], *, changed: bool = False
) -> dict[str, Any]:
    shape = wanted.shape
    return {
        "path": wanted.path,
        "result": result,
        "size": shape.size,
        "bytes": shape.size - sum(map(shape.length, missing)),
        "missing": ranges(missing, RANGES),
        "sha256": wanted.sha256,
        "changed": changed,
    }
