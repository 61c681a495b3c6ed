"""A process that checks signatures for a client with a backlog (`client.messaging.signature_process`).

From stdin come batches, each four bytes of its length and a marshalled list of (public key in DER,
signature, signed bytes); to stdout goes a byte for each, 1 where the three belong together. It ends
with its input, or when nothing has come for a while.
"""

from __future__ import annotations

import marshal
import select
import signal
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from mcshell.pki.keys import checking_der

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["check_all", "main"]

_IDLE: Final = 60.0  # seconds
_KEYS: Final = 100_000


@lru_cache(_KEYS)
def _key(der: bytes) -> Callable[[bytes, bytes], None]:
    return checking_der(der)


def _belong(der: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        _key(der)(signature, signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def check_all(batch: Iterable[tuple[bytes, bytes, bytes]]) -> bytes:
    """A byte for each (public key in DER, signature, signed bytes): 1 where they belong together."""
    return bytes(_belong(*one) for one in batch)


def main() -> None:
    """Answer each batch, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the client's to heed
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while select.select([source], [], [], _IDLE)[0] and len(size := source.read(4)) == 4:  # noqa: PLR2004
        batch = source.read(int.from_bytes(size, "big"))
        sink.write(check_all(marshal.loads(batch)))  # noqa: S302 - of the client that has started us
        sink.flush()


if __name__ == "__main__":
    main()
