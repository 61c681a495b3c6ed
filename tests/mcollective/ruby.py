"""The real Ruby in one long-lived child: what it loads and dumps is what MCollective does."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from pathlib import Path
from typing import Any

from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol

PEER = Path(__file__).with_name("peer.rb")


class RubyError(Exception):
    """What Ruby raised."""


class RubyChild:
    """A ruby process that answers one JSON line for each that it is asked."""

    def __init__(self, *argv: object) -> None:
        words = ["ruby", *map(str, argv)]
        self._child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the process by closing what it reads from."""
        self._child.communicate(timeout=30)

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        if "error" in answer:
            raise RubyError(answer["error"])
        return answer


class Ruby(RubyChild):
    """Reads and writes what MCollective's peers do."""

    def __init__(self) -> None:
        super().__init__(PEER)

    def load(self, form: str, body: bytes) -> Any:
        """Have Ruby read a body; the value is what it saw, as `describe` has it."""
        return self._ask({"do": "load", "form": form, "body": body.hex()})["value"]

    def dump(self, form: str, value: Any) -> bytes:
        """Have Ruby write a value."""
        answer = self._ask({"do": "dump", "form": form, "value": describe(value)})
        return bytes.fromhex(answer["body"])

    def dump_code(self, code: str, form: str = "marshal") -> bytes:
        """Have Ruby write what a piece of Ruby gives."""
        return bytes.fromhex(self._ask({"do": "eval", "form": form, "code": code})["body"])

    def run(self, code: str) -> Any:
        """Have Ruby describe what a piece of Ruby gives."""
        return self._ask({"do": "ruby", "code": code})["value"]


def describe(value: Any) -> list[Any]:  # noqa: PLR0911 - one for each type
    """Write a value in the peer's own form; equal forms are the same value to Ruby and here."""
    if value is None:
        return ["nil"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, int):
        return ["int", str(value)]
    if isinstance(value, float):
        return ["float", struct.pack(">d", math.nan if math.isnan(value) else value).hex()]
    if isinstance(value, RubySymbol):
        return ["symbol", value.name.encode().hex()]
    if isinstance(value, RubyRegexp):
        return ["regexp", value.source.encode().hex(), value.options]
    if isinstance(value, (list, tuple)):
        return ["array", [describe(one) for one in value]]
    if isinstance(value, dict):
        return ["hash", [[describe(key), describe(one)] for key, one in value.items()]]
    if isinstance(value, str):
        return ["text", value.encode().hex()]
    assert isinstance(value, bytes)
    return ["bytes", value.hex()]
