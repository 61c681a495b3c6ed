"""One client of mcshell for all workers of Ansible, which are processes that live for one task each.

It has a process of its own (`client_process`), started by the worker that needs it first; it ends when
nobody has asked anything for a while, as ssh does with ControlPersist. Workers reach it by a socket in a folder
that is its user's alone: a line of JSON each way. Nothing of mcshell is loaded here: a worker should start in no time.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.errors import AnsibleConnectionFailure, AnsibleError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SharedClient", "from_line", "packed", "socket_folder", "to_line", "unpacked"]

_PROGRAM: Final = Path(__file__).with_name("client_process.py")
_LONGEST: Final = 107
"""Bytes of a socket's path."""
_PRIVATE: Final = 0o700
_NOBODY: Final = (FileNotFoundError, ConnectionRefusedError)


class SharedClient:
    """The client of one configuration and session. `persist`: seconds that it stays unasked.

    AnsibleError where that is no time, or the user has no folder of his own for its socket.
    """

    def __init__(self, config: str | None, session: str | None, persist: float) -> None:
        if not persist >= 0:  # nor what is no number, for which it would never end
            raise AnsibleError(f"mcshell_persist is a number of seconds, not {persist}")
        self._words = json.dumps({"config": config, "session": session, "persist": persist})
        variables = sorted(one for one in os.environ.items() if one[0].startswith("MCSHELL_"))
        key = json.dumps([self._words, os.getcwd(), variables, _PROGRAM.stat().st_mtime_ns])  # noqa: PTH109 - a string
        self._path = socket_folder() / hashlib.sha256(key.encode()).hexdigest()[:24]
        if len(os.fsencode(self._path)) > _LONGEST:
            raise AnsibleError(
                f"{self._path} is too long for a socket: set TMPDIR to a shorter one"
            )

    def ask(self, question: str, **words: Any) -> dict[str, Any]:
        """What came of a question (`client_process`): its answer, waited for.

        Raises:
            AnsibleConnectionFailure: there is no broker, or the client has ended meanwhile.
            AnsibleError: it cannot be asked so.
        """
        try:
            with self._connected() as connection, connection.makefile("rwb") as stream:
                stream.write(to_line({"question": question, **words}))
                stream.flush()
                answer = stream.readline()
        except ConnectionError as error:
            raise AnsibleConnectionFailure(f"mcshell's client has ended: {error}") from error
        except OSError as error:
            raise AnsibleError(f"mcshell's client cannot be reached: {error}") from error
        if not answer.endswith(b"\n"):
            raise AnsibleConnectionFailure("mcshell's client has ended, without an answer")
        found = from_line(answer)
        _refuse(found)
        return found

    def _connected(self) -> socket.socket:
        """A connection to the process, which is started where there is none."""
        with contextlib.suppress(*_NOBODY):
            return _connection(self._path)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(*_NOBODY):  # another worker was first
                return _connection(self._path)
            self._start()
            return _connection(self._path)

    def _start(self) -> None:
        """Start it, and wait for its word that it serves, or why it does not."""
        log = self._path.with_suffix(".log")
        with log.open("wb") as complaints:
            process = subprocess.Popen(
                [sys.executable, _PROGRAM, self._path, self._words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as stream:
            word = stream.readline()
        if not word:
            raise AnsibleError(f"mcshell's client does not start ({process.wait()}): see {log}")
        _refuse(from_line(word))


def _refuse(answer: Mapping[str, Any]) -> None:
    """Raise what an answer has in place of one."""
    if "error" in answer:
        kind = AnsibleConnectionFailure if answer["unreachable"] else AnsibleError
        raise kind(answer["error"])


def _connection(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    try:
        one.connect(str(path))
    except BaseException:
        one.close()
        raise
    return one


def socket_folder() -> Path:
    """Where a user's sockets are.

    Raises:
        AnsibleError: the folder is another's, or open to others.
    """
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"mcshell-ansible-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE)
    found = folder.lstat()
    mode = stat.S_IMODE(found.st_mode) if stat.S_ISDIR(found.st_mode) else None
    if (mode, found.st_uid) != (_PRIVATE, user):
        raise AnsibleError(f"{folder} is no folder that is user {user}'s alone (mode 0700)")
    return folder


def to_line(document: Mapping[str, Any]) -> bytes:
    """A document as a line of JSON; bytes in it, which a fact may have, are read as text."""
    return json.dumps(document, default=lambda some: some.decode(errors="replace")).encode() + b"\n"


def from_line(line: bytes) -> dict[str, Any]:
    """The document of a line that `to_line` has written."""
    return dict(json.loads(line))


def packed(data: bytes) -> str:
    """Bytes that come back as they are (`unpacked`)."""
    return base64.b64encode(data).decode()


def unpacked(text: str) -> bytes:
    """What was packed."""
    return base64.b64decode(text)
