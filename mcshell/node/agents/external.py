"""Agents in any language, by Choria's external-agent protocol (`io.choria.mcorpc.external.v1`).

Such an agent is an executable NAME beside its DDL, NAME.json or NAME.ddl. It is called with three
arguments: a file with the request, a file for the reply, and the protocol; the same stand in
CHORIA_EXTERNAL_REQUEST, _REPLY and _PROTOCOL. CHORIA_EXTERNAL_CONFIG is a file of `key = value`
lines from [agents.NAME], CHORIA_EXTERNAL_FACTS one with the facts as JSON. Whether it serves this
machine it is asked once, at the start. What it writes to its standard streams goes to our log.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import AgentError, PluginError, Unavailable, on_one_line
from mcshell.message import Request, StatusCode, Via, new_nonce
from mcshell.node.agent import Agent, Call, run
from mcshell.private import UnsafeFile, check_obeyed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.node.agent import NodeView

__all__ = ["External"]

log = logging.getLogger(__name__)

_PROTOCOL: Final = "io.choria.mcorpc.external.v1"
_SCHEMA: Final = "https://choria.io/schemas/mcorpc/external/v1"
_ACTIVATION: Final = 30.0  # seconds: a machine that boots is busy, and an agent left out stays out
_MAX_REPLY: Final = 64 << 20
_OWN: Final = frozenset(("activate", "name"))


class External(Agent):
    """Stands for one executable: every action of its DDL is a call of it."""

    def __init__(self, command: Path) -> None:
        self._command = command

    def __getattr__(self, action: str) -> Callable[[Call], dict[str, Any]]:
        """An action; the DDL has said which there are."""
        if action.startswith("_"):
            raise AttributeError(action)
        return partial(self._act, action)

    def check(self, actions: Mapping[str, Any]) -> None:
        """Refuse what cannot be served; PluginError."""
        command = self._command
        for action in _OWN.intersection(actions):
            raise PluginError(f"{command}: an external agent has no action {action!r}", "agent")
        try:
            check_obeyed(command)
        except UnsafeFile as error:
            raise PluginError(str(error), "agent", command.name) from error
        if not os.access(command, os.X_OK):
            raise PluginError(f"{command} is not executable; run: chmod +x {command}", "agent")

    def activate(self, node: NodeView, cancelled: threading.Event | None = None) -> None:
        """Ask it whether it serves this machine; Unavailable when it does not.

        Once `cancelled` is set it is ended.
        """
        name = self._command.name
        now = time.time()
        asked = Request(
            id=new_nonce(),
            agent=name,
            action="activate",
            caller="",
            collective=node.collectives[0],
            via=Via.DIRECT,
            session="",
            created=now,
            expires=now + _ACTIVATION,
        )
        ends = time.monotonic() + _ACTIVATION
        call = Call(asked, {}, node, ends, cancelled or threading.Event())
        document = {
            "$schema": f"{_SCHEMA}/activation_request.json",
            "protocol": f"{_PROTOCOL}.activation_request",
            "agent": name,
        }
        try:
            reply = self._ask(call, document)
        except AgentError as error:
            raise Unavailable(f"its activation check failed: {error}") from error
        if reply.get("activate") is not True:
            raise Unavailable("it says that it does not serve this machine")

    def _act(self, action: str, call: Call) -> dict[str, Any]:
        request = call.request
        document = {
            "$schema": f"{_SCHEMA}/rpc_request.json",
            "protocol": f"{_PROTOCOL}.rpc_request",
            "agent": request.agent,
            "action": action,
            "requestid": request.id,
            "senderid": call.node.identity,
            "callerid": request.caller,
            "collective": request.collective,
            "ttl": max(1, int(request.expires - request.created)),
            "msgtime": int(request.created),
            "data": dict(call.data),
        }
        reply = self._ask(call, document)
        code, text, data = reply.get("statuscode"), reply.get("statusmsg"), reply.get("data")
        if type(code) is not int or not 0 <= code <= StatusCode.UNKNOWN_ERROR:
            raise AgentError(f"{self._command.name} gave the statuscode {code!r}")
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise AgentError(f"{self._command.name} gave data that is no object")
        if code != StatusCode.OK:
            raise AgentError(str(text or f"statuscode {code}"), statuscode=code, data=data)
        return data

    def _ask(self, call: Call, document: Mapping[str, Any]) -> dict[str, Any]:
        """Run it once; AgentError (1), as in Choria, when it does not come to a reply."""
        protocol = str(document["protocol"])
        with _files(call, document, self._command.name) as (folder, environ):
            environ["CHORIA_EXTERNAL_PROTOCOL"] = protocol
            reply = folder / "reply"
            argv = [str(self._command), str(folder / "request"), str(reply), protocol]
            try:
                check_obeyed(self._command)
            except OSError as error:
                raise AgentError(f"could not call the external agent: {error}") from error
            outcome = run(call, argv, env=environ, cwd=str(folder))
            for line in (*outcome.lines, *outcome.stderr.decode(errors="replace").splitlines()):
                log.info("%s: %s", self._command.name, on_one_line(line))
            if not outcome.ok:
                raise AgentError(f"could not call the external agent: {outcome.why()}")
            return self._read(reply)

    def _read(self, path: Path) -> dict[str, Any]:
        name = self._command.name
        try:
            reply = json.loads(_content(path, name))
        except (OSError, ValueError, RecursionError) as error:
            raise AgentError(f"{name} wrote no reply that is JSON: {error}") from error
        if not isinstance(reply, dict):
            raise AgentError(f"{name} wrote a reply that is no object")
        return reply


def _content(path: Path, name: str) -> bytes:
    """The bytes of a file that an agent has left: of a pipe or a device in its place there is no end."""
    if path.exists() and not path.is_file():
        raise AgentError(f"{name} left something that is no file as its reply")
    with path.open("rb") as file:
        content = file.read(_MAX_REPLY + 1)
    if len(content) > _MAX_REPLY:
        raise AgentError(f"{name} wrote a reply of more than {_MAX_REPLY} bytes")
    return content


@contextmanager
def _files(
    call: Call, document: Mapping[str, Any], name: str
) -> Iterator[tuple[Path, dict[str, str]]]:
    """The files of one call in a folder of its own, and the variables that name them."""
    # What it has left running may write there still: what was done is not undone by that.
    with tempfile.TemporaryDirectory(
        prefix="mcshell-external-", ignore_cleanup_errors=True
    ) as place:
        folder = Path(place)
        try:
            text = json.dumps(document)
        except (TypeError, ValueError) as error:
            raise AgentError(f"an input that no JSON can hold: {error}", statuscode=4) from error
        settings = call.node.settings(name)
        (folder / "request").write_text(text, encoding="utf-8")
        (folder / "reply").touch()
        (folder / "facts").write_text(json.dumps(dict(call.node.facts), default=str))
        (folder / "config").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        environ = {f"CHORIA_EXTERNAL_{key.upper()}": str(folder / key) for key in _FILES}
        yield folder, environ


_FILES: Final = ("request", "reply", "facts", "config")
