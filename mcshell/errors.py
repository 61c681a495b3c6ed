"""The one error tree. Every error carries its data and prints as one line.

::

    MCShellError
    ├── UsageError              a line, option or argument that means nothing here
    │   ├── FilterError         a filter that does not parse
    │   ├── InputError          an input that the action's DDL refuses
    │   ├── ClientClosed        a client after its end
    │   ├── ExecutorClosed      a task for an executor that takes no more
    │   └── ForkedClient        a client in a child of the process that made it
    ├── ConfigError             a setting, a file or a key that cannot be used
    ├── MachineError            a stream, folder or file of this machine that takes or gives no more
    │   └── StorageError        its disk takes nothing: full, read-only, broken
    ├── DDLError                a schema that is not one
    ├── PluginError             a plugin that is not there or does not load
    ├── WireError               what goes over the broker
    │   ├── FrameError          bytes that are not STOMP
    │   ├── UnknownBroker       a broker whose dialect we do not know
    │   ├── ConnectError        no connection: down, refused, not STOMP
    │   ├── ConnectionLost      the connection broke while something waited for it
    │   ├── ReceiptTimeout      the broker did not confirm in time
    │   └── BodyError           a body that is none of MCollective's, or a value it cannot hold
    │       ├── MarshalError    not Ruby's Marshal 4.8, or more than plain data
    │       └── YAMLError       not Ruby's YAML, or more than plain data
    ├── Rejected                a message that fails verification, with its Reason
    ├── NoTargets               a request that would reach nobody
    ├── SessionError            a session that is not there, busy or another's
    ├── TaskError               a task of an executor that did not come out well
    ├── ConversationError       a conversation that is over, or was never begun
    │   └── TurnTimeout         no turn came, or none could be sent, in time; it goes on
    └── AgentError              what an agent raises to answer "failed"
        └── Unavailable         an agent that this platform cannot serve

Exit codes are the command line's (mcshell/README.md §3); each class knows its own. One error stands
outside: `Stopped`, which is KeyboardInterrupt's, so that what handles errors does not handle it.
"""

from __future__ import annotations

import copyreg
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from logging import Logger

__all__ = [
    "AgentError",
    "BodyError",
    "ClientClosed",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "ConversationError",
    "DDLError",
    "ExecutorClosed",
    "ExitCode",
    "FilterError",
    "ForkedClient",
    "FrameError",
    "InputError",
    "MCShellError",
    "MachineError",
    "MarshalError",
    "NoTargets",
    "PluginError",
    "Reason",
    "ReceiptTimeout",
    "Rejected",
    "SessionError",
    "Stopped",
    "StorageError",
    "TaskError",
    "TurnTimeout",
    "Unavailable",
    "UnknownBroker",
    "UsageError",
    "WireError",
    "YAMLError",
    "did_you_mean",
    "not_kept",
    "on_one_line",
    "printable",
]


class ExitCode(IntEnum):
    """What a command line ends with: the first that fits, in this order (§3).

    Attributes:
        USAGE: the line, a setting or a file means nothing here; nothing was sent.
        INTERNAL: a fault of mcshell's own, or of the connection to the broker.
        INTERRUPTED: Ctrl-C; what had arrived was shown. After SIGTERM it is 143, after SIGHUP 129.
        MACHINE: standard output or the state on the disk takes nothing.
        NO_TARGETS: there was nobody to ask. `policy lint`: a line cannot be used; `policy test`:
            denied; `audit verify`: the log is not what the node wrote.
        NO_REPLY: there were targets, and no reply from any of them.
        NO_REPLY_FROM_NAMED: the same, where the targets were only named, not discovered.
        FAILED: somebody failed, was denied or interrupted.
        OPEN: somebody is silent, expired, pending, received or running.
        OK: all are ok; with `-b` the broker has confirmed everything.
    """

    USAGE = 64
    INTERNAL = 70
    INTERRUPTED = 130
    MACHINE = 74
    NO_TARGETS = 1
    NO_REPLY = 3
    NO_REPLY_FROM_NAMED = 4
    FAILED = 2
    OPEN = 5
    OK = 0


def _rendered(error: BaseException) -> str:
    """An error as a line in which nothing acts on a terminal: what it is about may be foreign text."""
    return "\n".join(map(printable, f"{type(error).__name__}: {error}".split("\n")))


class MCShellError(Exception):
    """The root: whatever mcshell raises on purpose is one of these."""

    exit_code: ClassVar[int] = ExitCode.INTERNAL

    def __reduce__(self) -> tuple[Any, ...]:
        """Be read back as it is: a pool of processes whose child's error cannot be waits for ever.

        Python itself would call the class with the message alone, where some take more, or none.
        """
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # typeshed has it not

    def _render_traceback_(self) -> list[str]:
        """One line in IPython, where a traceback would tell the operator nothing."""
        return [_rendered(self)]


class UsageError(MCShellError):
    """A line, option or argument that means nothing here; says what was meant."""

    exit_code = ExitCode.USAGE


class FilterError(UsageError):
    """A filter that does not parse; `text` is the filter, `column` (from 1) where it broke."""

    def __init__(self, message: str, text: str = "", column: int | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.column = column


class InputError(UsageError):
    """An input that the DDL refuses; `statuscode` is 3 (missing, undeclared) or 4 (invalid)."""

    def __init__(self, message: str, name: str = "", statuscode: int = 4) -> None:
        super().__init__(message)
        self.name = name
        self.statuscode = statuscode


class ExecutorClosed(UsageError, RuntimeError):
    """A task for an executor that takes no more: RuntimeError's too, as `concurrent.futures` has it."""


class MachineError(MCShellError):
    """What this machine has of streams, folders and files cannot be used: full, closed, read-only."""

    exit_code = ExitCode.MACHINE


class ClientClosed(UsageError, MachineError):
    """A client that is asked something after its end: MachineError's too, for who goes on without its files."""

    exit_code = ExitCode.USAGE

    def __init__(self) -> None:
        super().__init__("this client is closed; mcshell.connect() makes another")


class ForkedClient(UsageError):
    """A client that was opened before a fork, in the child: it is the parent's."""

    def __init__(self) -> None:
        super().__init__(
            "this client was opened before a fork and is the parent's: mcshell.connect() in the"
            " child opens another"
        )


class Stopped(KeyboardInterrupt):
    """Ctrl-C while something was asked or waited for; no `MCShellError`: it ends loops and scripts.

    `replies` is the request (`client.rpc.replies.Replies`) with what had arrived, in which targets
    without a reply are `silent` (broadcast, direct) or still `pending` (queue, pool); without rows
    where the targets were still being looked for, None where nothing was to be asked. `plan` is the
    plan that was being run (`client.plans.manager.PlanStatus`), which may be resumed. `found` is who
    had answered where nodes were being looked for (`client.discovery.methods.Discovered`); where that
    was all that was asked, `replies` are their answers.
    """

    def __init__(self, replies: Any = None, plan: Any = None, found: Any = None) -> None:
        super().__init__(replies, plan, found)
        self.replies = replies
        self.plan = plan
        self.found = found

    def __str__(self) -> str:
        about = [repr(one) for one in (self.replies, self.plan) if one is not None]
        return ": ".join(["stopped", *about])

    def _render_traceback_(self) -> list[str]:
        """One line in IPython, as for all errors of ours."""
        return [_rendered(self)]


class StorageError(MachineError):
    """State that cannot be written: its disk is full, read-only or broken."""


class ConfigError(MCShellError):
    """A setting, a file or a key that cannot be used; `key` is its name, `origin` where it stands."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, key: str = "", origin: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.origin = origin


class DDLError(MCShellError):
    """A schema that is not one; `path` is the file."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class PluginError(MCShellError):
    """A plugin that is not there or does not load; `kind` and `name` say which."""

    def __init__(self, message: str, kind: str = "", name: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class WireError(MCShellError):
    """What goes wrong between us and the broker."""


class FrameError(WireError):
    """Bytes that are not STOMP; the connection that sent them is of no further use."""


class UnknownBroker(WireError):
    """A broker whose dialect we do not know; `server` is what it called itself."""

    def __init__(self, server: str) -> None:
        super().__init__(
            f"unknown broker {server!r}: mcshell speaks to ActiveMQ, RabbitMQ and its own broker"
        )
        self.server = server


class ConnectError(WireError):
    """No connection; `url` is the last one tried, `reason` what the broker or the system says."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot connect to {url}: {reason}")
        self.url = url
        self.reason = reason


class ConnectionLost(WireError):
    """The connection broke while something waited for it; `reason` is the last known cause.

    `refused`: the broker ended it, and that is what it said. `unsent`: there was none, so that nothing
    of what was to be sent can have arrived.
    """

    def __init__(
        self, reason: str = "connection lost", *, refused: bool = False, unsent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.unsent = unsent


class ReceiptTimeout(WireError):
    """The broker did not confirm within `seconds`."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"the broker did not confirm {what} within {seconds:g} s")
        self.what = what
        self.seconds = seconds


class BodyError(WireError):
    """A body that is none of MCollective's, or a value that its wire cannot hold."""


class MarshalError(BodyError):
    """Bytes that are not Marshal 4.8 of plain data; `offset` is where, None for a value to dump."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} at byte {offset}")
        self.offset = offset


class YAMLError(BodyError):
    """Text that is not YAML of plain data; `line` and `column` from 1, None for a value to dump."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        where = "" if line is None else f" at line {line}, column {column}"
        super().__init__(f"{message}{where}")
        self.line = line
        self.column = column


class Reason(StrEnum):
    """Why a message was refused: the code in audit lines, counters and tests (§6).

    Attributes:
        TOO_LARGE: it has more bytes than are read.
        NOT_JSON: it is no JSON in UTF-8.
        TOO_DEEP: its JSON is nested more deeply than is read.
        MALFORMED: it is JSON, and not of the form that its kind has.
        UNSIGNED: it has no signature, or no certificate beside it.
        BAD_CERTIFICATE: the certificate does not parse, or is of a form that is not taken.
        FOREIGN_CA: the certificate is of a CA that is not trusted here: compare `pki.ca`.
        CERT_EXPIRED: the certificate, or the CA's, is out of its dates.
        REVOKED: the certificate has been taken back.
        STALE_CRL: the revocation list here is missing, too old, or dated ahead: fetch a newer one.
        BAD_SIGNATURE: the key of the certificate did not sign these bytes.
        WRONG_VERSION: it speaks another version of the wire.
        WRONG_KIND: a document of another kind, or signed by one who signs none such (a node, a login).
        CALLER_MISMATCH: the caller that it names is not who signed it.
        FOREIGN_ID: its id is not one that its signer could make.
        WRONG_COLLECTIVE: it is for another collective than it came over.
        MISROUTED: it is for another node, way or pool than it came to.
        EXPIRED: its time is over.
        FROM_FUTURE: it was made ahead of the clock here, by more than `node.max_skew`.
        REPLAYED: its id was claimed here before.
        TOO_OFTEN: the same caller has just brought another one.
        UNKNOWN_REQUEST: it answers nothing that was asked from here.
        UNBOUND: it is a genuine answer to other bytes than were signed here.
        WRONG_SENDER: the sender that it names is not who signed it.
    """

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    BAD_CERTIFICATE = "bad_certificate"
    FOREIGN_CA = "foreign_ca"
    CERT_EXPIRED = "cert_expired"
    REVOKED = "revoked"
    STALE_CRL = "stale_crl"
    BAD_SIGNATURE = "bad_signature"
    WRONG_VERSION = "wrong_version"
    WRONG_KIND = "wrong_kind"
    CALLER_MISMATCH = "caller_mismatch"
    FOREIGN_ID = "foreign_id"
    WRONG_COLLECTIVE = "wrong_collective"
    MISROUTED = "misrouted"
    EXPIRED = "expired"
    FROM_FUTURE = "from_future"
    REPLAYED = "replayed"
    TOO_OFTEN = "too_often"
    UNKNOWN_REQUEST = "unknown_request"
    UNBOUND = "unbound"
    WRONG_SENDER = "wrong_sender"


class Rejected(MCShellError):
    """A message that fails verification; `reason` is the code, `detail` the particulars."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class NoTargets(MCShellError):
    """A request that would reach nobody; nothing was sent."""

    exit_code = ExitCode.NO_TARGETS


class SessionError(MCShellError):
    """A session that is not there, busy or another caller's; `name` is the session's."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class TaskError(MCShellError):
    """A task of an executor that did not come out well.

    `state` is where it stands (failed, denied, interrupted, expired, silent; pending where nobody
    waits for it any more), `requestid` the request, `reply` what the worker said
    (`message.Reply`, with its `data`), None where nobody did.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, state: str, requestid: str, reply: Any = None) -> None:
        super().__init__(message)
        self.state = state
        self.requestid = requestid
        self.reply = reply


class ConversationError(MCShellError):
    """A conversation that is over, or was never begun.

    `state` is what became of it: closed, denied (by policy), failed (its handler), interrupted
    (one side is gone and has forgotten it), or open, for a wait that was too short.
    """

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


class TurnTimeout(ConversationError):
    """Nothing came, or nothing could be sent, in time; the conversation goes on."""


class AgentError(MCShellError):
    """What an agent raises to answer `failed`; `data` still travels in the reply.

    `statuscode` is 1 (the work failed) unless an agent knows better (MCollective's codes).
    """

    def __init__(
        self, message: str, *, statuscode: int = 1, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.statuscode = statuscode
        self.data = dict(data or {})

    @classmethod
    def at(cls, path: str, why: OSError | str) -> Self:
        """What is wrong with a path on the node, in one line whatever the path's name."""
        said = why if isinstance(why, str) else (why.strerror or str(why)).lower()
        return cls(f"{on_one_line(path)}: {said}")


class Unavailable(AgentError):
    """An agent that this platform cannot serve; the message says what is missing."""


def not_kept(log: Logger, count: int, what: str, error: Exception) -> None:
    """Log that what came is not kept, with where it arose; what the machine lacks is a line."""
    trace = None if isinstance(error, MachineError) else error
    log.error("could not keep %d %s: %s", count, what, error, exc_info=trace)


def printable(text: str) -> str:
    """Text as one line in which nothing acts on a terminal, or begins another line of a log."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )


def on_one_line(path: str) -> str:
    """A path or a line as a failure or a log has it, which is one line: as it is, or with escapes."""
    return path if path.isprintable() else repr(path)


_MOST_WORDS = 10_000


def did_you_mean(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return " (did you mean …?)" with the known words nearest to `word`, or nothing.

    Nor among too many: of 100,000 names the nearest is found in seconds.
    """
    import difflib  # noqa: PLC0415 - a node that is not misused has no need of it

    words = list(dict.fromkeys(known))
    few = len(words) <= _MOST_WORDS
    near = difflib.get_close_matches(word, words, n=limit, cutoff=0.6) if few else ()
    return f" (did you mean {' or '.join(near)}?)" if near else ""
