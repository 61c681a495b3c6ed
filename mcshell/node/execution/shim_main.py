"""The shim: `python -m mcshell.node.execution.shim_main DIR LOCK` does one queued action.

It is a process that leads a session of its own, keeps to the limits, enforces the time itself and
writes the outcome down before it ends, so that it needs no daemon: one that starts again finds it
at work, or finds what came of it. It loads what an action needs and nothing else: no broker, no
keys, no policies.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from mcshell.errors import AgentError
from mcshell.message import Request, Via
from mcshell.node.agent import Call
from mcshell.node.agents.loading import load_agent
from mcshell.node.execution.run_directory import RunDirectory, RunLog, write_whole
from mcshell.node.files.obeyed import is_among, is_obeyed
from mcshell.node.system import LocalSystem
from mcshell.storage import is_storage_fault, when_room
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ShimNode", "main"]

GRACE: Final = 4.0
"""Seconds that an action has to end by itself after its time, or after SIGTERM."""
ALARM: Final = 5.0
"""Seconds after that at which the kernel ends a shim that cannot even do that."""
LOG: Final = 256 * 1024
PROGRESS: Final = 256 * 1024
_BALLAST: Final = 2 << 20


class ShimNode:
    """The node as it was when the action started: an `agent.NodeView` without a daemon."""

    system = LocalSystem()

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.identity: str = document["identity"]
        self.facts: Mapping[str, Any] = document["facts"]
        self.classes = frozenset(document["classes"])
        self.agents = frozenset(document["agents"])
        self.collectives = tuple(document["collectives"])
        self._inventory: list[dict[str, Any]] = document["inventory"]
        self._stats: dict[str, Any] = document["stats"]
        self.tells_all_files = bool(document.get("tells_all_files"))
        state = document.get("state")
        self.state = None if state is None else Path(state)
        self._private = [Path(path) for path in document["private"]]
        self._obeyed = [Path(path) for path in document.get("obeyed", ())]
        self._settings: Mapping[str, Mapping[str, Any]] = document["settings"]

    def inventory(self) -> list[dict[str, Any]]:
        """The active agents' metadata."""
        return self._inventory

    def stats(self) -> dict[str, Any]:
        """The daemon's counters at the start of the action."""
        return self._stats

    def seen(self, requestid: str) -> dict[str, Any]:
        """What became of a request: a shim has no records."""
        return {"requestid": requestid, "state": "unknown"}

    def protects(self, path: str) -> bool:
        """Whether a path is the node's key or state, by what it resolves to."""
        return is_among(path, self._private)

    def obeys(self, path: str) -> bool:
        """Whether a path is what the node obeys or has noted."""
        return is_obeyed(path, self._obeyed)

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The [agents.NAME] table of the configuration."""
        return self._settings.get(agent, {})


class Shim:
    """One action in this process: a thread does it, the main thread watches over it."""

    def __init__(self, folder: RunDirectory, document: Mapping[str, Any]) -> None:
        self._folder = folder
        self._document = document
        self._timeout: float = document["timeout"]
        self._cancelled = threading.Event()
        self._outcome: dict[str, Any] | None = None
        self._wakeup, self._wake = os.pipe()
        output = document["limits"].get("output")
        self._log_room = LOG if output is None else min(LOG, output)
        self._progress_room = PROGRESS if output is None else min(PROGRESS, output)

    def run(self) -> None:
        """Do it, and leave the outcome behind."""
        signal.signal(signal.SIGTERM, lambda *_: self._cancel())
        # The last resort is the kernel's: code that holds the interpreter's lock cannot stop it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self._timeout + GRACE + ALARM)
        ballast = bytearray(_BALLAST)
        stream = self._take_streams()
        _limit(self._document["limits"])
        thread = threading.Thread(target=self._act, name="action", daemon=True)
        try:
            thread.start()
            self._watch(stream)
        except (RuntimeError, MemoryError) as error:
            self._outcome = _failed(f"the limits of memory leave no room: {error}")
        del ballast
        self._leave()

    def _cancel(self) -> None:
        self._cancelled.set()
        os.write(self._wake, b"t")

    def _take_streams(self) -> int:
        """Have what the action writes come to us, to be kept within bounds."""
        reading, writing = os.pipe()
        for stream in (1, 2):
            os.dup2(writing, stream)
        os.close(writing)
        return reading

    def _act(self) -> None:
        try:
            outcome = self._do()
        except AgentError as error:
            outcome = {**_failed(str(error), error.statuscode), "data": error.data}
        except MemoryError:
            outcome = _failed(f"{self._name} ran out of the memory that it may use")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome
            sys.excepthook(type(error), error, error.__traceback__)
            outcome = _failed(f"{self._name} crashed: {type(error).__name__}: {error}")
        self._outcome = outcome
        os.write(self._wake, b"d")

    @property
    def _name(self) -> str:
        request = self._document["request"]
        return f"{request['agent']}.{request['action']}"

    def _do(self) -> dict[str, Any]:
        document = self._document
        deadline = time.monotonic() + self._timeout
        node = ShimNode(document["node"])
        agent = load_agent(Path(document["source"]))
        agent.activate(node)
        request = Request(**{**document["request"], "via": Via(document["request"]["via"])})
        call = Call(
            request,
            request.data,
            node,
            deadline,
            self._cancelled,
            self._progress(),
            _write_out,
            GRACE - 1.0,
        )
        result = getattr(agent, request.action)(call)
        if not isinstance(result, dict):
            return _failed(f"the agent returned {type(result).__name__}, a dict is meant")
        return {"state": "ok", "statuscode": 0, "statusmsg": "OK", "data": result}

    def _progress(self) -> Callable[[float | None, str], None]:
        file = self._folder.progress.open("ab", buffering=0)

        def report(percent: float | None, text: str) -> None:
            line = json.dumps({"time": time.time(), "percent": percent, "text": str(text)[:1000]})
            if file.tell() + len(line) < self._progress_room:
                _write(file, line.encode() + b"\n")

        return report

    def _watch(self, stream: int) -> None:
        """Wait for the end, at the latest for that of the time."""
        began = time.monotonic()
        overdue = False
        with RunLog(self._folder, self._log_room) as log:
            limit = began + self._timeout
            while self._outcome is None:
                left = limit - time.monotonic()
                if left <= 0:
                    if self._cancelled.is_set():
                        break
                    overdue = True
                    self._cancelled.set()
                    limit += GRACE
                    continue
                ready, _, _ = select.select([stream, self._wakeup], [], [], left)
                if self._wakeup in ready and b"t" in os.read(self._wakeup, 64):
                    limit = min(limit, time.monotonic() + GRACE)
                if stream in ready:
                    _write(log, os.read(stream, 65536))
            while select.select([stream], [], [], 0)[0] and (data := os.read(stream, 65536)):
                _write(log, data)
        if overdue:
            data = {} if self._outcome is None else self._outcome["data"]
            self._outcome = {**_failed(f"timed out after {self._timeout:g} s"), "data": data}
        elif self._outcome is None:
            self._outcome = _failed("stopped: the request was cancelled")

    def _leave(self) -> None:
        """Write the outcome down and end, with all that is left of the process group."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        most = self._document["max_reply"]
        try:
            body = strict_json.dumps(self._outcome)
            if len(body) > most:
                text = f"reply too large: {len(body)} bytes, {most} are allowed (max_reply)"
                body = strict_json.dumps(_failed(text))
        except (strict_json.Unwritable, MemoryError) as error:
            body = strict_json.dumps(_failed(f"the reply cannot be sent: {error}"))
        when_room(lambda: write_whole(self._folder.outcome, body))
        os.killpg(0, signal.SIGKILL)


def _write(file: IO[bytes] | RunLog, text: bytes) -> None:
    """Write down what is good to have; on a disk that takes nothing it is lost, the action is not."""
    try:
        file.write(text)
    except OSError as error:
        if not is_storage_fault(error):
            raise


def _write_out(data: bytes) -> None:
    """Write to standard output, which goes to the log."""
    while data:
        data = data[os.write(1, data) :]


def _failed(text: str, statuscode: int = 5) -> dict[str, Any]:
    return {"state": "failed", "statuscode": statuscode, "statusmsg": text, "data": {}}


def _limit(limits: Mapping[str, int | None]) -> None:
    """Set what the kernel enforces: memory, and how large a file that is written may become.

    The second is lifted again for the outcome, so only its soft limit is set.
    """
    memory, output = limits.get("memory"), limits.get("output")
    if memory is not None:
        most = _at_most(resource.RLIMIT_AS, memory)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if output is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (_at_most(resource.RLIMIT_FSIZE, output), hard))


def _at_most(kind: int, value: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def main(argv: list[str]) -> None:
    """Do what DIR says; LOCK is the descriptor of its lock, which no program may inherit."""
    folder = RunDirectory(Path(argv[1]))
    os.set_inheritable(int(argv[2]), False)
    when_room(folder.note_pid)
    Shim(folder, strict_json.loads(folder.request.read_bytes(), max_depth=64)).run()


if __name__ == "__main__":
    main(sys.argv)
