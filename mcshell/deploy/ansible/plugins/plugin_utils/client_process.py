"""The process that has one client of mcshell for Ansible's workers: see `shared_client`.

Run: python client_process.py SOCKET WORDS, where WORDS is JSON of `config`, `session` and `persist`. It writes
one line, `{}` once it serves, or what is wrong. A question is a line of JSON, as is its answer: `state` and `reason`
of a node and what it has said, or `error`, and whether the node is out of reach for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared_client import from_line, packed, to_line, unpacked

import mcshell
from mcshell.client.discovery.targeting import RequestOptions, Targeting, targeting_of
from mcshell.client.files.manager import PATIENCE, PutOptions
from mcshell.config.loading import named_file
from mcshell.errors import MCShellError, NoTargets, WireError
from mcshell.message import State
from mcshell.node.command import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.client.client import Client
    from mcshell.client.files.copies import FileCopy

__all__ = ["Questions", "main", "outcome_of", "refusal"]

_LOOK: Final = 1.0
"""Seconds between two looks whether it is still needed."""
_AGAIN: Final = 10.0
"""Seconds after which a node that is at it is asked whether it is still there."""
_TRIES: Final = 3
_LONGEST: Final = 30 * 86_400.0
"""Seconds that a request is good for; a command that may take longer takes as long as the node lets it."""
_OUTPUT: Final = 1 << 40
"""Bytes: all that the node lets through."""


class Questions:
    """What a worker may ask: each method is a question, its words are its arguments."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def answer(self, question: str, words: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one, or what is wrong with it."""
        asked: dict[str, Callable[..., dict[str, Any]]] = {
            "execute": self.execute,
            "put": self.put,
            "fetch": self.fetch,
            "inventory": self.inventory,
        }
        try:
            return asked[question](**words)
        except MCShellError as error:
            return refusal(error)

    def execute(
        self, node: str, collective: str | None, line: str, stdin: str, timeout: float | None
    ) -> dict[str, Any]:
        """Run a line of the shell there; `timeout` (seconds) is its time, by default the node's.

        What it reads and what it has written is packed.
        """
        inputs: dict[str, Any] = {"argv": ["/bin/sh", "-c", line], "output_limit": _OUTPUT}
        inputs["stdin"] = text(unpacked(stdin))
        patience = None
        if timeout is not None:
            inputs["timeout"], patience = timeout, min(timeout, _LONGEST) + PATIENCE
        ask = RequestOptions(
            agent="exec",
            action="run",
            data=inputs,
            targeting=_only(node, collective),
            timeout=patience,
            wait=False,
        )
        replies = self._client.ask(ask)
        while not replies.wait(_AGAIN).done:
            if not self._there(ask.targeting):
                replies.cancel()
                reason = "it has begun, and the node answers no more"
                return {"state": str(State.SILENT), "reason": reason}
        (row,) = replies.rows()
        return {"state": str(row.state), "reason": row.statusmsg, **outcome_of(row.data)}

    def _there(self, targeting: Targeting) -> bool:
        """Whether a node answers at all, whatever it says; asked several times before it does not.

        While there is no broker nobody can tell: it is waited for.
        """
        ask = RequestOptions(agent="rpcutil", action="ping", targeting=targeting)
        try:
            return any(
                not row.state.judged for _ in range(_TRIES) for row in self._client.ask(ask).rows()
            )
        except WireError:
            return True

    def put(self, node: str, collective: str | None, source: str, path: str) -> dict[str, Any]:
        """Put a file of this machine there."""
        targeting = _only(node, collective)
        (copy,) = self._client.files.copy_to([Path(source)], path, targeting, PutOptions())
        return _copied(copy)

    def fetch(self, node: str, collective: str | None, path: str, folder: str) -> dict[str, Any]:
        """Fetch one from there into a folder of this machine, under its own name."""
        targeting = _only(node, collective)
        (copy,) = self._client.files.copy_from(
            path, Path(folder), targeting, PutOptions(), by_node=False
        )
        return _copied(copy)

    def inventory(self, **targeting: Any) -> dict[str, Any]:
        """What each node says of itself, and what became of those that say nothing."""
        meant = targeting_of(**targeting)
        ask = RequestOptions(agent="rpcutil", action="inventory", targeting=meant)
        return {
            "nodes": [
                {
                    "node": row.sender,
                    "state": str(row.state),
                    "reason": row.statusmsg,
                    "data": dict(row.data),
                }
                for row in self._client.ask(ask).rows()
            ]
        }


def _only(node: str, collective: str | None) -> Targeting:
    return Targeting(nodes=(node,), collective=collective)


def outcome_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a node says of a program that has ended by itself; empty, where that is no such thing."""
    streams = {name: data.get(name) for name in ("stdout", "stderr")}
    written = {name: _bytes(one) for name, one in streams.items() if isinstance(one, str | bytes)}
    code, signal = data.get("exitcode"), data.get("signal")
    known = isinstance(code, int) or (code is None and isinstance(signal, str))
    if data.get("ended") != "exit" or not known or len(written) < len(streams):
        return {}
    ended = {"exitcode": code, "signal": signal, "cut": data.get("truncated") is not False}
    return {"ended": {**ended, **{name: packed(one) for name, one in written.items()}}}


def _bytes(written: str | bytes) -> bytes:
    return written.encode() if isinstance(written, str) else written


def _copied(copy: FileCopy) -> dict[str, Any]:
    return {"state": str(copy.state), "reason": copy.reason, "path": copy.path}


def refusal(error: MCShellError) -> dict[str, Any]:
    """What an error is for a worker."""
    return {"error": str(error), "unreachable": isinstance(error, WireError | NoTargets)}


class _Worker(socketserver.StreamRequestHandler):
    """A worker's connection: a question, and its answer."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with server.busy(), contextlib.suppress(ConnectionError):  # it has gone: nobody to tell
            document = from_line(self.rfile.readline())
            answer = server.questions.answer(document.pop("question"), document)
            self.wfile.write(to_line(answer))


class _Server(socketserver.ThreadingUnixStreamServer):
    """Serves workers until nobody has asked for `persist` seconds, or its configuration is another."""

    timeout = _LOOK
    request_queue_size = 128

    def __init__(self, path: Path, client: Client, config: Path | None, persist: float) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Worker)
        self.questions = Questions(client)
        self._path, self._config = path, config
        self._persist = max(persist, _LOOK)  # who has started it comes first
        self._stamp = _stamp(config)
        self._lock = threading.Lock()
        self._under_way = 0
        self._last = time.monotonic()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A question is under way."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._last = time.monotonic()

    def run(self) -> None:
        """Serve; whoever comes after the socket has gone starts another process.

        Who has come before has an answer: `server_close` waits for all threads.
        """
        while not self._over():
            self.handle_request()
        self._path.unlink(missing_ok=True)
        while select.select([self], [], [], 0)[0]:
            self.handle_request()

    def _over(self) -> bool:
        with self._lock:
            idle = not self._under_way and time.monotonic() - self._last > self._persist
        return idle or _stamp(self._config) != self._stamp


def _stamp(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_mtime_ns
    except OSError:
        return 0


def main(path: Path, config: str | None, session: str | None, persist: float) -> None:
    """Connect, say so, and serve."""
    file = None if config is None else Path(config)
    try:
        client = mcshell.connect(session=session, config_file=file)
    except MCShellError as error:
        _say(refusal(error))
        return
    with client, _Server(path, client, named_file(file), persist) as server:
        _say({})
        server.run()


def _say(document: Mapping[str, Any]) -> None:
    """Say the one line, after which nobody listens."""
    sys.stdout.buffer.write(to_line(document))
    sys.stdout.buffer.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
