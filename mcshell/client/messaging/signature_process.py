"""The signatures of a backlog, checked by a process beside ours.

A check is most of what a reply costs. In threads of ours each lets go of the interpreter and waits
for it again, and four threads on two cores waste half a core with that. The process gets of each
reply what a check needs, some 150 bytes, and says which are good. Whatever it does not call good is
checked here, as if there were no such process: so it can die, and only `verify` refuses anything.
"""

from __future__ import annotations

import logging
import marshal
import os
import select
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Final

from mcshell.children import python_environment, python_module
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.wire.documents.signatures import Claim, Verifier
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["SignatureProcess"]

log = logging.getLogger(__name__)

_BACKLOG: Final = 3000
"""Replies that have come in groups worth asking about: to start a process takes as long as 1,500 checks."""
_FEW: Final = 100
"""Replies that are sooner checked here than sent there."""
_LARGE: Final = 16_384
"""Bytes of a body that is dearer to hash a second time than to check here."""
_PIPE: Final = 1 << 20
"""Bytes, in which two groups fit with the longest of keys: to ask never waits."""
_PATIENCE: Final = 10.0  # seconds
_NO_CLAIM: Final = (b"", b"", b"")


class SignatureProcess:
    """The process: started when there is a backlog, it ends by itself when none has come for a while.

    One thread asks, and takes the answers in the same order; two groups at most are under way.

    Args:
        verifier: knows the certificates; only what has one that it has examined is sent there.
        repeated: says of a delivery that it needs no check.
    """

    def __init__(self, verifier: Verifier, repeated: Callable[[Delivery], object]) -> None:
        self._verifier = verifier
        self._repeated = repeated
        self._backlog = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: deque[int] = deque()

    def ask(self, group: Sequence[Delivery]) -> bool:
        """Have the signatures of a group checked; whether there will be an `answer` about it."""
        few = len(group) < _FEW
        # a slow broker pauses between its pages: a small group alone does not end a backlog
        self._backlog = self._backlog // 2 if few else self._backlog + len(group)
        if self._process is None and self._backlog >= _BACKLOG:
            self._start()
            return False  # it is not yet there
        if self._process is None or self._process.stdin is None or few:
            return False
        batch = marshal.dumps([self._claim(one) or _NO_CLAIM for one in group])
        try:
            self._process.stdin.write(len(batch).to_bytes(4, "big") + batch)
        except OSError as error:
            self._end(str(error))
            return False
        self._asked.append(len(group))
        return True

    def answer(self) -> bytes:
        """Of the first group that was asked about a byte for each delivery: 1 for a good signature."""
        count = self._asked.popleft()
        found = b""
        while len(found) < count:
            more = self._read(count - len(found))
            if not more:
                self._end("it does not answer")
                return bytes(count)
            found += more
        return found

    def close(self) -> None:
        """End the process."""
        self._end("")

    def _claim(self, one: Delivery) -> Claim | None:
        if len(one.body) > _LARGE or self._repeated(one):
            return None
        signature, certificate = one.headers.get(SIGNATURE, ""), one.headers.get(CERTIFICATE, "")
        return self._verifier.claim(one.body, signature, certificate)

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                python_module("mcshell.pki.check_main"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=python_environment(os.environ),
                bufsize=0,
                pipesize=_PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is ours
            )
        except OSError as error:
            self._backlog = 0
            log.info("no process to check signatures: %s", error)

    def _read(self, most: int) -> bytes:
        """What it answers; nothing at its end, or when it is silent too long."""
        pipe = None if self._process is None else self._process.stdout
        if pipe is None:
            return b""
        poll = select.poll()  # `select` itself knows no descriptor above 1,023
        poll.register(pipe, select.POLLIN)
        if not poll.poll(_PATIENCE * 1000):
            return b""
        return os.read(pipe.fileno(), most)

    def _end(self, why: str) -> None:
        process, self._process = self._process, None
        self._backlog = 0
        if process is None:
            return
        if why:
            log.info("the process that checks signatures has ended: %s", why)
        process.kill()
        process.communicate()
