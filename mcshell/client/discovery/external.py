"""The discovery method `external`: a program of yours, by Choria's external-discovery protocol.

`client.external_discovery` or `--do command=…` names it, with arguments. It is called with three
more: a file with the request (JSON), a file for the reply, and the protocol; the same stand in
CHORIA_EXTERNAL_REQUEST, _REPLY and _PROTOCOL. Other options (`--do key=value`) go into the request.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell import interrupts
from mcshell.client.discovery.methods import Discovered
from mcshell.client.discovery.targeting import choose
from mcshell.errors import FilterError, PluginError, UsageError
from mcshell.filters.nodes import MAX_NODES, canonical
from mcshell.filters.simple import parse_fact
from mcshell.filters.values import Regex
from mcshell.private import check_obeyed

if TYPE_CHECKING:
    from mcshell.client.discovery.methods import DiscoveryQuery
    from mcshell.filters.values import Value
    from mcshell.message import Filter

__all__ = ["external"]

log = logging.getLogger(__name__)

_PROTOCOL: Final = "io.choria.choria.discovery.v1"
_SCHEMA: Final = "https://choria.io/schemas/choria/discovery/v1/external_request.json"
_MOST: Final = 64 << 20
"""Bytes of what it writes."""
_LEAST: Final = 10.0  # seconds: a program has to start, and to ask a database


def external(search: DiscoveryQuery) -> Discovered:
    """The names that the program gives.

    Raises:
        UsageError: no program is named, or an option is no key=value.
        PluginError: it failed, or said what is no reply.
    """
    options = _options(search.targeting.source_options)
    command = options.pop("command", search.settings.external_discovery)
    if not command:
        raise UsageError(
            "--dm external wants a program: client.external_discovery, or --do command=PROGRAM"
        )
    window = search.targeting.discovery_timeout
    timeout = max(_LEAST, search.settings.discovery_timeout) if window is None else window
    request = {
        "$schema": _SCHEMA,
        "protocol": f"{_PROTOCOL}.external_request",
        "timeout": timeout,
        "collective": search.collective,
        "filter": _filter(search.filter),
        "options": options,
    }
    names = _ask(shlex.split(command), request, timeout)
    return Discovered(names=choose(list(dict.fromkeys(names)), search.targeting))


def _options(words: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--do {word}: key=value is meant")
        options[key] = value
    return options


def _filter(filter_: Filter) -> dict[str, Any]:
    """The filter in Choria's form."""
    facts = [parse_fact(text) for text in filter_.fact]
    return {
        "fact": [
            {"fact": fact.fact, "operator": fact.operator, "value": _written(fact.value)}
            for fact in facts
        ],
        "cf_class": list(filter_.cls),
        "agent": list(filter_.agent),
        "identity": list(filter_.identity),
        "compound": list(filter_.compound),
    }


def _written(value: Value) -> str:
    return f"/{value.pattern}/" if isinstance(value, Regex) else value.text


def _ask(argv: list[str], request: dict[str, Any], timeout: float) -> list[str]:
    protocol = request["protocol"]
    with tempfile.TemporaryDirectory(prefix="mcshell-discovery-") as place:
        asked, said = Path(place) / "request", Path(place) / "reply"
        asked.write_text(json.dumps(request), encoding="utf-8")
        said.touch()
        printed = Path(place) / "output"
        environ = _environment() | {
            "CHORIA_EXTERNAL_REQUEST": str(asked),
            "CHORIA_EXTERNAL_REPLY": str(said),
            "CHORIA_EXTERNAL_PROTOCOL": protocol,
        }
        try:
            check_obeyed(shutil.which(argv[0]) or argv[0])
            # What it starts and leaves behind would keep a pipe open, and us waiting.
            with interrupts.pause(), printed.open("wb") as output:
                code = subprocess.run(
                    [*argv, str(asked), str(said), protocol],
                    env=environ,
                    cwd=place,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=timeout,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired:
            raise _failed(argv, f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise _failed(argv, str(error.strerror)) from error
        lines = _content(argv, printed).decode(errors="replace").strip().splitlines()
        for line in lines:
            log.info("%s: %s", argv[0], line)
        if code:
            raise _failed(argv, ": ".join([f"exit code {code}", *lines[-1:]]))
        return _names(argv, _content(argv, said))


def _content(argv: list[str], path: Path) -> bytes:
    """What it has written, unless that is no file any more: nobody may ever write into a pipe."""
    try:
        if not path.is_file():
            raise _failed(argv, f"there is no file {path.name} any more")
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise _failed(argv, str(error.strerror)) from error
    if len(content) > _MOST:
        raise _failed(argv, f"its {path.name} is larger than {_MOST >> 20} MiB")
    return content


def _names(argv: list[str], body: bytes) -> list[str]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _failed(argv, f"its reply is no JSON: {error}") from error
    if not isinstance(reply, dict):
        raise _failed(argv, "its reply is no object")
    if reply.get("error"):
        raise _failed(argv, str(reply["error"])[:500])
    if reply.get("protocol") != f"{_PROTOCOL}.external_reply":
        raise _failed(argv, f"its reply is of the protocol {str(reply.get('protocol'))[:80]!r}")
    nodes = reply.get("nodes") or []
    if not isinstance(nodes, list) or not all(isinstance(one, str) and one for one in nodes):
        raise _failed(argv, "its nodes are no list of names")
    if len(nodes) > MAX_NODES:
        raise _failed(argv, f"{len(nodes):,} nodes: at most {MAX_NODES:,} are meant")
    try:
        return list(filter(None, map(canonical, nodes)))
    except FilterError as error:
        raise _failed(argv, str(error)) from error


def _environment() -> dict[str, str]:
    """Our environment, without what is mcshell's own: a passcode may stand there."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MCSHELL_")}


def _failed(argv: list[str], why: str) -> PluginError:
    return PluginError(f"discovery by {argv[0]}: {why}", "discovery", "external")
