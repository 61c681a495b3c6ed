"""Ansible's connection over mcshell: commands by the agent `exec`, files by the agent `file`."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path
from typing import Any, Final

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display
from ansible_collections.mcshell.mcshell.plugins.plugin_utils.shared_client import (
    SharedClient,
    packed,
    unpacked,
)
from ansible_collections.mcshell.mcshell.plugins.plugin_utils.shell_lines import (
    after_password,
    at_home,
)

DOCUMENTATION = r"""
name: mcshell
author: the mcshell founders
short_description: run tasks on nodes of mcshell
description:
  - Tasks go to mcshell's nodes over the broker, with the identity, rights and audit of mcshell. A node needs no port,
    no ssh and no account; it needs a Python, as every host of Ansible's does.
  - Commands are requests C(exec.run), files are C(file.put) and C(file.get); the node's policies say who may.
  - A node that is silent or unknown is UNREACHABLE, with mcshell's reason. What a node denies, refuses or could not do
    has FAILED, with the reason.
  - mcshell has to be installed beside Ansible, in the same environment.
extends_documentation_fragment:
  - connection_pipelining
options:
  node:
    description: The node's identity.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: mcshell_node
  config:
    description: The operator's configuration file; by default the one that C(mcshell) reads.
    type: path
    ini:
      - section: mcshell
        key: config
    vars:
      - name: mcshell_config
  session:
    description: The session in which all that is asked is kept; by default a scratch one.
    type: str
    ini:
      - section: mcshell
        key: session
    vars:
      - name: mcshell_session
  collective:
    description: The collective in which nodes are asked; by default the configuration's main one.
    type: str
    vars:
      - name: mcshell_collective
  command_timeout:
    description:
      - Seconds that one command may take. By default as long as the node lets C(exec.run) take, 300 where its
        C([node.limits.exec]) says nothing else. A longer time than the node's is the node's.
    type: float
    ini:
      - section: mcshell
        key: command_timeout
    vars:
      - name: mcshell_command_timeout
  persist:
    description: Seconds that the connection to the broker, which all workers share, stays open when nobody uses it.
    type: float
    default: 60
    ini:
      - section: mcshell
        key: persist
    vars:
      - name: mcshell_persist
"""

_NAME: Final = re.compile(r"\w[\w.:+~-]*")
_REQUEST: Final = 1_000_000
"""Bytes of a command and what it reads."""
_REFUSED: Final = "is there, but refused"
"""So begins what mcshell says of a node that took no notice of a request, asked why."""
_AWAY: Final = frozenset({"silent", "expired"})
_DONE: Final = frozenset({"ok", "failed"})
_display = Display()


class Connection(ConnectionBase):  # type: ignore[misc] # Ansible is there when it runs
    """One host's; a worker makes it for a task."""

    transport = "mcshell.mcshell.mcshell"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def close(self) -> None:
        """Nothing: what is open is shared."""
        self._connected = False

    def reset(self) -> None:
        """Nothing either: each task finds the node anew, so that one which has been away is there again."""

    def exec_command(
        self,
        cmd: str,
        in_data: bytes | None = None,
        sudoable: bool = True,  # noqa: FBT001, FBT002 - Ansible's
    ) -> tuple[int, bytes, bytes]:
        """Run a line of the shell there; its exit code and what it wrote."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        _display.vvv(f"EXEC {to_text(cmd)}", host=self._node())
        line, data = to_bytes(cmd), in_data or b""
        if sudoable and self.become is not None and self.become.expect_prompt():
            password = to_bytes(self.become.get_option("become_pass"))
            line, data = after_password(line, self.become.success.encode(), password, data)
        if len(line) + len(data) > _REQUEST:
            raise AnsibleError(
                f"{len(line) + len(data)} bytes are more than a request carries ({_REQUEST}): "
                "without pipelining (ansible_pipelining) a module goes as a file"
            )
        timeout = self.get_option("command_timeout")
        asked = {"line": at_home(line), "stdin": packed(data), "timeout": timeout}
        return self._outcome(self._ask("execute", **asked))

    def put_file(self, in_path: str, out_path: str) -> None:
        """Put a file of this machine there."""
        super().put_file(in_path, out_path)
        _display.vvv(f"PUT {in_path} TO {out_path}", host=self._node())
        if not Path(in_path).is_file():
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}")
        self._done(self._ask("put", source=os.path.abspath(in_path), path=out_path))  # noqa: PTH100 - a string

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Fetch a file from there."""
        super().fetch_file(in_path, out_path)
        _display.vvv(f"FETCH {in_path} TO {out_path}", host=self._node())
        place = Path(os.path.abspath(out_path))  # noqa: PTH100 - no link is followed
        with tempfile.TemporaryDirectory(prefix=".mcshell-", dir=place.parent) as folder:
            answer = self._done(self._ask("fetch", path=in_path, folder=folder))
            Path(answer["path"]).replace(place)

    def _node(self) -> str:
        name = str(self.get_option("node"))
        if not _NAME.fullmatch(name):
            raise AnsibleError(f"{name!r} is no name of a node of mcshell's")
        return name

    def _ask(self, question: str, **words: Any) -> dict[str, Any]:
        client = SharedClient(*map(self.get_option, ("config", "session", "persist")))
        collective = self.get_option("collective")
        answer: dict[str, Any] = client.ask(
            question, node=self._node(), collective=collective, **words
        )
        return answer

    def _done(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer of a node that has done it; raises what Ansible is to make of any other."""
        state = answer["state"]
        if state != "ok":
            away = state in _AWAY and not answer["reason"].startswith(_REFUSED)
            kind = AnsibleConnectionFailure if away else AnsibleError
            raise kind(f"{state}: {answer['reason']}")
        return answer

    def _outcome(self, answer: dict[str, Any]) -> tuple[int, bytes, bytes]:
        """What a program has come to that has ended by itself, whatever its exit code."""
        ended = answer.get("ended")
        if answer["state"] not in _DONE or ended is None:
            self._done(answer)
            raise AnsibleError(f"{self._node()}: what it says is no answer of exec.run")
        code = ended["exitcode"]
        if code is None:  # as `local` has it
            code = -int(signal.Signals.__members__.get(ended["signal"], 0)) or 128
        if ended["cut"]:
            raise AnsibleError(
                f"{self._node()}: the command has ended with {code} and has written more than "
                "[agents.exec] max_output of the node lets through: some is missing, none is used"
            )
        stdout, stderr = (unpacked(ended[name]) for name in ("stdout", "stderr"))
        if self.become is not None and self.become.check_incorrect_password(stderr):
            raise AnsibleError(f"Incorrect {self.become.name} password")
        return code, stdout, stderr
