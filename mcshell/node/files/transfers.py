"""Files that come by broadcast: which of them this node has admitted, and their raw chunks.

In memory alone: a node that was started again knows no key any more, and is sent what it lacks directly.
A chunk is kept where `file.put` has admitted its transfer, its manifest proves it, and it did not come before;
whatever else comes is dropped.
"""

from __future__ import annotations

import threading
import time
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mcshell.errors import AgentError
from mcshell.values import dataclass
from mcshell.wire.chunk import DIGEST, KeyShare, manifest_entry, parse_chunk

if TYPE_CHECKING:
    from mcshell.node.files.parts import PartLimits, Parts, Shape
    from mcshell.wire.chunk import TransferKey

__all__ = ["AdmittedTransfer", "Transfers"]

_MOST: Final = 64
"""Transfers at a time; the oldest goes."""
_KEPT: Final = 3600.0
"""Seconds after which one is forgotten."""


@dataclass(slots=True, kw_only=True)
class AdmittedTransfer:
    """A transfer that may bring chunks: `part` is the key of what is kept of it."""

    key: TransferKey
    manifest: bytes
    part: str
    shape: Shape
    parts: Parts
    limits: PartLimits
    got: set[int] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)

    def take(self, number: int, body: bytes, digest: bytes) -> bool:
        """Keep a chunk; False where it is dropped. OSError where the disk does not take it."""
        if number >= self.shape.chunks or number in self.got:
            return False
        if self.manifest[number * DIGEST : (number + 1) * DIGEST] != digest:
            return False
        content = self.key.open(body)
        if len(content) != self.shape.length(number) or not self.parts.has(self.part):
            return False
        with self.parts.open(self.part, self.shape, self.limits) as part:
            part.write(number, content)
        self.got.add(number)
        return True


class Transfers:
    """Those of one node; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._admitted: dict[bytes, AdmittedTransfer] = {}

    @cached_property
    def share(self) -> KeyShare:
        """The node's half of each agreement, for as long as its process lives."""
        return KeyShare()

    def admit(self, transfer: AdmittedTransfer) -> None:
        """Take the chunks of a transfer from now on.

        Raises:
            AgentError: 4, its manifest is not one of so many chunks.
        """
        if len(transfer.manifest) != transfer.shape.chunks * DIGEST:
            raise AgentError("the manifest has not one SHA-256 a chunk", statuscode=4)
        with self._lock:
            gone = time.monotonic() - _KEPT
            kept = {key: one for key, one in self._admitted.items() if one.since > gone}
            kept.pop(transfer.key.id, None)
            while len(kept) >= _MOST:
                kept.pop(next(iter(kept)))
            self._admitted = {**kept, transfer.key.id: transfer}

    def forget(self, part: str) -> None:
        """Take no chunk of a file any more: it is there, or was given up."""
        with self._lock:
            kept = {key: one for key, one in self._admitted.items() if one.part != part}
            self._admitted = kept

    def take(self, body: bytes) -> bool:
        """Keep a raw chunk, if it is of an admitted transfer; False where it is dropped."""
        parsed = parse_chunk(body)
        admitted = self._admitted.get(parsed[0]) if parsed is not None else None
        if parsed is None or admitted is None:
            return False
        try:
            return admitted.take(parsed[1], body, manifest_entry(body))
        except (OSError, ValueError):  # who asks what is missing is told why
            return False
