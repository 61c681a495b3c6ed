"""What an agent is written against: the base class, the call it answers, the node it runs on.

An agent is a Python file beside a DDL of the same name: `package.py` holds one subclass of
`Agent`, `package.json` says which actions it has. Each action is a method of that name: it takes
the `Call` and returns a dict of outputs. To answer "failed" it raises `AgentError`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcshell.errors import AgentError, FilterError, Unavailable
from mcshell.node.command import GRACE, LIMIT, ProgramResult, text, which
from mcshell.private import hold_public
from mcshell.values import dataclass
from mcshell.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mcshell.filters.data import FileEntry as FileEntry  # noqa: PLC0414 - agents name it, too
    from mcshell.filters.data import HeldFile as HeldFile  # noqa: PLC0414 - as above
    from mcshell.message import Request
    from mcshell.node.system import System

__all__ = [
    "VERSION",
    "Agent",
    "AgentError",
    "Call",
    "NodeView",
    "ProgramResult",
    "Unavailable",
    "found_in",
    "hold_public",
    "lookup",
    "receive_file",
    "run",
    "text",
    "which",
]


def lookup(facts: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """A fact by its dotted path (`filters.facts.lookup`), or `default`."""
    # Loaded when it is used: an action's process should start in no time.
    from mcshell.filters import facts as module  # noqa: PLC0415 - as above

    return module.lookup(facts, path, default)


def found_in(pattern: str, texts: Iterable[str]) -> list[bool]:
    """In which of the texts a regex that an input brings is found (`mcshell.patterns`).

    Raises:
        AgentError: 4, it is no regex, cannot be run here, or costs more than a message may.
    """
    # Loaded when it is used: an action's process should start in no time.
    from mcshell.patterns import compile_pattern, one_message  # noqa: PLC0415 - as above

    try:
        with one_message():
            return list(map(compile_pattern(pattern).found, texts))
    except FilterError as error:
        raise AgentError(str(error), statuscode=4) from None


def run(
    call: Call,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    limit: int = LIMIT,
    grace: float = GRACE,
) -> ProgramResult:
    """Run a program of the node's machine and wait for it (`command.run`): no shell reads `argv`.

    On an emulated node it is one that its machine pretends to have, and no process is started.

    Raises:
        AgentError: it cannot be started at all; the message says why.
    """
    return call.node.system.run(
        call, argv, stdin=stdin, env=env, cwd=cwd, timeout=timeout, limit=limit, grace=grace
    )


def receive_file(call: Call) -> dict[str, Any]:
    """Take a chunk of a file, as `file.put` does (`node.files.receiving`).

    Raises:
        AgentError: it is not to be written there, there is no room, or it is not what was announced.
    """
    # Loaded when it is used: an action's process should start in no time.
    from mcshell.node.files.receiving import receive_file as receive  # noqa: PLC0415 - as above

    return receive(call)


class NodeView(Protocol):
    """What an agent may know of the node it runs on. Mappings are read-only views."""

    @property
    def system(self) -> System:
        """The machine below it: what an agent reaches this way it reaches on emulated nodes, too."""

    @property
    def identity(self) -> str:
        """The node's name, from its certificate."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """All facts, nested."""

    @property
    def classes(self) -> frozenset[str]:
        """The configuration classes the node has."""

    @property
    def agents(self) -> frozenset[str]:
        """The names of the active agents."""

    @property
    def collectives(self) -> tuple[str, ...]:
        """The collectives it listens to, the main one first."""

    def inventory(self) -> list[dict[str, Any]]:
        """The active agents' metadata: name, version, description, author, actions, timeout."""

    def stats(self) -> dict[str, Any]:
        """Counters of the daemon: started, received, replied, refused, running, …"""

    def seen(self, requestid: str) -> dict[str, Any]:
        """What this node knows of a request: state, reason, received, started, ended."""

    @property
    def state(self) -> Path | None:
        """The node's own folder on its disk; None where it has none."""

    @property
    def tells_all_files(self) -> bool:
        """Whether it may tell of files that not every user of the machine could look at."""

    def protects(self, path: str) -> bool:
        """Whether a path is the node's own key or state, which no agent may read."""

    def obeys(self, path: str) -> bool:
        """Whether a path is what the node obeys (its configuration) or has noted: no agent may write it."""

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The [agents.NAME] table of the node's configuration file."""


@dataclass(slots=True)
class Call:
    """One call of one action. `data` holds the inputs, coerced, with defaults filled in.

    `grace`: seconds after the deadline in which its answer still counts, as that of what was stopped.
    """

    request: Request
    data: Mapping[str, Any]
    node: NodeView
    deadline: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    report: Callable[[float | None, str], None] = lambda _percent, _text: None
    log: Callable[[bytes], None] = lambda _data: None
    grace: float = 0.0

    @property
    def caller(self) -> str:
        """The verified callerid, such as `cert=alice`."""
        return self.request.caller

    @property
    def remaining(self) -> float:
        """Seconds until the action's timeout; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def progress(self, percent: float | None, text: str = "") -> None:
        """Say how far it is (0 to 100, or None) and what it is doing."""
        self.report(percent, text)

    def write(self, data: bytes) -> None:
        """Add to the log of a queued run, as what it writes to its standard streams is."""
        self.log(data)

    def __getitem__(self, name: str) -> Any:
        """An input by name; KeyError when it was optional and not given."""
        return self.data[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An input by name, or `default`."""
        return self.data.get(name, default)


class Agent:
    """Base of all agents: one instance a node process, its methods called from many threads."""

    name: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, str] | None] = None
    """The keys of its [agents.NAME], and what each is: a word of `agents.settings.KINDS`.

    They are read, and others refused, before it is asked anything; None: it looks at them itself.
    """

    def activate(self, node: NodeView) -> None:
        """Raise `Unavailable` with what is missing when this platform cannot serve the agent."""
