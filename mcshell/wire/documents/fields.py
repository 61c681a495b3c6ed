"""The fields of an envelope: each is of its type and within its bounds, or the message is malformed.

Whatever passes here is safe to put into a file name, a log line, a 64-bit column or a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcshell.errors import Reason, Rejected
from mcshell.message import Filter, Reply, ReplySequence, State, Via

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_SEQUENCE",
    "action",
    "check_word_of_node",
    "digest",
    "filter_of",
    "job_id",
    "line",
    "mapping",
    "moment",
    "name",
    "nonce",
    "optional",
    "request_id",
    "run",
    "state",
    "statuscode",
    "text",
    "via",
    "whole",
    "word",
]

T = TypeVar("T")

MAX_SEQUENCE: Final = 3_999
MAX_STATUSCODE: Final = 5
MAX_NAME: Final = 256
MAX_LINE: Final = 500
MAX_TERMS: Final = 1000
# The year 5138: times are small enough for every clock that they reach, dates included.
MAX_MOMENT: Final = 1e11

_STATES: Final = {
    ReplySequence.RECEIVED: frozenset({State.RECEIVED}),
    ReplySequence.RUNNING: frozenset({State.RUNNING}),
    ReplySequence.FINAL: frozenset(
        {State.OK, State.FAILED, State.DENIED, State.INTERRUPTED, State.EXPIRED}
    ),
}

_STATE: Final = {state.value: state for state in State}

_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MACHINE = re.compile(r"[0-9a-f]{1,64}")
_WORD = re.compile(r"[a-z0-9_-]{1,128}")
_RUN = re.compile(r"[0-9T:./-]{1,40}")
_ACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")


def optional(
    document: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any], str], T]
) -> T | None:
    """A field that may be null, and may be missing."""
    return None if document.get(key) is None else read(document, key)


def text(document: Mapping[str, Any], key: str) -> str:
    """Any text."""
    value = document.get(key)
    if not isinstance(value, str):
        raise _malformed(key, "no text", value)
    return value


def line(document: Mapping[str, Any], key: str) -> str:
    """Some words in one line, all of them to be seen."""
    value = text(document, key)
    if not 0 < len(value) <= MAX_LINE or not value.isprintable() or not value.strip():
        raise _malformed(key, f"no line of {MAX_LINE} characters at most", value)
    return value


def word(document: Mapping[str, Any], key: str) -> str:
    """What may be part of a destination: a collective, an agent, a pool, a session."""
    return _matching(document, key, _WORD)


def request_id(document: Mapping[str, Any]) -> str:
    """A request's id: 32 hexadecimal digits."""
    return _matching(document, "id", _REQUEST_ID)


def nonce(document: Mapping[str, Any], key: str) -> str:
    """What an id is made of: 32 hexadecimal digits."""
    return _matching(document, key, _REQUEST_ID)


def digest(document: Mapping[str, Any], key: str) -> str:
    """A SHA-256: 64 hexadecimal digits."""
    return _matching(document, key, _DIGEST)


def machine(document: Mapping[str, Any], key: str) -> str:
    """What tells a machine from another of its name: up to 64 hexadecimal digits."""
    return _matching(document, key, _MACHINE)


def job_id(document: Mapping[str, Any], key: str) -> str:
    """A job's id, which is that of the request that brought it."""
    return _matching(document, key, _REQUEST_ID)


def run(document: Mapping[str, Any]) -> str:
    """The name of a start of a job (`schedule.Start`)."""
    return _matching(document, "run", _RUN)


def action(document: Mapping[str, Any]) -> str:
    """An action's name."""
    return _matching(document, "action", _ACTION)


def name(document: Mapping[str, Any], key: str) -> str:
    """An identity or a caller: one word of visible characters."""
    value = document.get(key)
    if not isinstance(value, str):
        raise _malformed(key, "no text", value)
    if not 0 < len(value) <= MAX_NAME or _UNFIT.search(value):
        raise _malformed(key, "no name", value)
    return value


def via(document: Mapping[str, Any]) -> Via:
    """The way that the request was sent."""
    try:
        return Via(text(document, "via"))
    except ValueError:
        raise _malformed("via", "no way to send", document["via"]) from None


def mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object, such as the inputs or the outputs."""
    value = document.get(key)
    if not isinstance(value, (dict, Mapping)):  # a dict is told from its type, the others are asked
        raise _malformed(key, "no object", value)
    return value


def filter_of(document: Mapping[str, Any]) -> Filter:
    """The filter, whose parts are lists of text."""
    try:
        found = Filter.from_dict(mapping(document, "filter"))
    except (KeyError, TypeError) as error:
        raise Rejected(Reason.MALFORMED, f"filter: no filter: {error}") from None
    terms = found.fact, found.cls, found.agent, found.identity, found.compound
    if (count := sum(map(len, terms))) > MAX_TERMS:
        raise Rejected(Reason.MALFORMED, f"filter: {count} terms: more than {MAX_TERMS}")
    return found


def whole(document: Mapping[str, Any], key: str, most: int) -> int:
    """A whole number from 0 to `most`."""
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise _malformed(key, f"no whole number from 0 to {most}", value)
    return value


def statuscode(document: Mapping[str, Any], key: str) -> int:
    """One of MCollective's statuscodes."""
    return whole(document, key, MAX_STATUSCODE)


def state(document: Mapping[str, Any]) -> State:
    """Where a node says that it stands."""
    value = text(document, "state")
    if (found := _STATE.get(value)) is None:
        raise _malformed("state", "no state", value)
    return found


def check_word_of_node(reply: Reply) -> None:
    """Refuse a reply whose sequence, state and statuscode contradict each other."""
    allowed = _STATES[reply.sequence % ReplySequence.STEP]
    if reply.state not in allowed:
        raise _malformed("state", f"no state for sequence {reply.sequence}", reply.state.value)
    if reply.final != (reply.statuscode is not None):
        raise _malformed("statuscode", "a final reply has one, and only a final reply", None)


def moment(document: Mapping[str, Any], key: str) -> float:
    """Seconds since the epoch."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _malformed(key, "no time", value)
    if not 0 <= value <= MAX_MOMENT:
        raise _malformed(key, "no time", value)
    return float(value)


def _matching(document: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise _malformed(key, "no text", value)
    if not pattern.fullmatch(value):
        raise _malformed(key, "not of its form", value)
    return value


def _malformed(key: str, what: str, value: object) -> Rejected:
    return Rejected(Reason.MALFORMED, f"{key}: {what}: {str(value)[:60]!r}")
