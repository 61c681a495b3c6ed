"""One file to many nodes at once: its chunks leave this machine one time, and only its targets can read them.

Each target is given the transfer's key, sealed for it, and the manifest in a signed request of its own. Then
the chunks go to the topic that all listen to, some at a time; between, each says what it lacks. What several
lack goes out again, twice at most; who lacks something then is sent it directly (`sending`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mcshell import interrupts
from mcshell.client.files.copies import RESEND
from mcshell.client.files.sending import chunks_of
from mcshell.errors import UsageError, WireError
from mcshell.message import State
from mcshell.wire.chunk import DIGEST, KeyShare, TransferKey, manifest_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.client.files.copies import CopyTerms, FileCopy
    from mcshell.client.files.sending import SourceFile
    from mcshell.client.messaging.queries import NodeQueries, QueryAnswers

__all__ = ["BroadcastFile", "Lacking"]

#: What each target has come to, and the numbers of the chunks that it lacks.
Lacking = dict[str, "tuple[FileCopy, set[int]]"]

_WINDOW: Final = 16
_ROUNDS: Final = 3
_SEVERAL: Final = 2
_PAUSE: Final = 0.2
_MANIFEST: Final = 16_384 * DIGEST
"""Bytes of a manifest, which travels in one request."""


class BroadcastFile:
    """One file on its way to all of its targets; `copies` is how it stands with each."""

    def __init__(
        self,
        queries: NodeQueries,
        source: SourceFile,
        inputs: Mapping[str, Any],
        share: KeyShare,
        terms: CopyTerms,
    ) -> None:
        self._queries = queries
        self._source = source
        self._inputs = inputs
        self._share = share
        self._terms = terms
        self._key = TransferKey.new()
        self._began = time.monotonic()
        self._bytes = 0
        self.lacking: Lacking = {}
        self.ended: dict[str, FileCopy] = {}

    @staticmethod
    def fits(source: SourceFile) -> bool:
        """Whether its manifest fits a request."""
        return source.chunks * DIGEST <= _MANIFEST

    def run(self, lacking: Lacking, shares: Mapping[str, bytes]) -> Lacking:
        """Send it to those who have said their share; what is still lacking then, and by whom."""
        self.lacking = dict(lacking)
        manifest = b"".join(
            manifest_entry(self._body(number)) for number in range(self._source.chunks)
        )
        admitted = self._admit(shares, manifest)
        for _round in range(_ROUNDS):
            wanted = self._wanted(admitted)
            for start in range(0, len(wanted), _WINDOW):
                self._send(wanted[start : start + _WINDOW], manifest)
                last = start + _WINDOW >= len(wanted)
                admitted = self._ask(admitted, self._terms.patience if last else RESEND)
            if not wanted:
                break
        return self.lacking

    def _body(self, number: int) -> bytes:
        return self._key.seal(number, self._source.chunk(number))

    def _admit(self, shares: Mapping[str, bytes], manifest: bytes) -> set[str]:
        """Give each node the key; those who take the chunks from now on."""
        asked: list[tuple[str, str, QueryAnswers]] = []
        for name, share in shares.items():
            try:
                sealed = self._share.seal(self._key, share, name)
                data = {
                    **self._inputs,
                    "share": self._share.public,
                    "transfer": self._key.id,
                    "sealed": sealed,
                    "manifest": manifest,
                }
                question, answers = self._queries.ask_each(
                    self._terms.collective, "file", "put", data, [name]
                )
            except (WireError, ValueError):  # no connection, or no share: it is sent all directly
                continue
            asked.append((name, question, answers))
        end = time.monotonic() + RESEND
        admitted: set[str] = set()
        for name, question, answers in asked:
            found = answers.wait(max(0.0, end - time.monotonic()))
            self._queries.forget(question)
            if name in found and found[name][0].state is State.OK:
                admitted.add(name)
        return admitted

    def _wanted(self, admitted: Iterable[str]) -> list[int]:
        """The numbers that several of these lack."""
        counts: dict[int, int] = {}
        for name in admitted:
            for number in self.lacking[name][1] if name in self.lacking else ():
                counts[number] = counts.get(number, 0) + 1
        return sorted(number for number, count in counts.items() if count >= _SEVERAL)

    def _send(self, numbers: Iterable[int], manifest: bytes) -> None:
        """Send chunks to all. One that is not what the manifest says is not sent: the file has changed."""
        for number in numbers:
            body = self._body(number)
            if manifest_entry(body) != manifest[number * DIGEST : (number + 1) * DIGEST]:
                raise UsageError(f"{self._source.path}: it has changed while it was read")
            try:
                self._queries.send_chunk(self._terms.collective, body)
            except WireError:  # whoever lacks it then says so
                interrupts.sleep(_PAUSE)
            self._bytes += len(body)
            if self._terms.rate:
                early = self._began + self._bytes / self._terms.rate - time.monotonic()
                while early > 0:
                    interrupts.sleep(min(early, _PAUSE))
                    early -= _PAUSE

    def _ask(self, admitted: set[str], patience: float) -> set[str]:
        """Ask each what it lacks; those who have answered and lack something."""
        names = sorted(admitted & self.lacking.keys())
        if not names:
            return set()
        terms = self._terms
        try:
            question, answers = self._queries.ask_each(
                terms.collective, "file", "put", self._inputs, names
            )
        except WireError:
            return admitted
        found = answers.wait(patience)
        self._queries.forget(question)
        for name, (reply, _at) in found.items():
            copy, _missing = self.lacking[name]
            if reply.state is not State.OK:
                self._end(copy.ended(State(reply.state or State.FAILED), reply.statusmsg))
                continue
            copy = copy.told(reply.data)
            if copy.result == "partial":
                missing = chunks_of(reply.data.get("missing"), self._source.chunks)
                self.lacking[name] = copy, missing
            else:
                self._end(copy)
        every = [*self.ended.values(), *(copy for copy, _missing in self.lacking.values())]
        terms.progress(sum(one.bytes for one in every), self._source.size * len(every))
        return {name for name in found if name in self.lacking}

    def _end(self, copy: FileCopy) -> None:
        del self.lacking[copy.sender]
        self.ended[copy.sender] = copy
