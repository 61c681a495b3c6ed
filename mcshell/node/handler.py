"""What the handler of a conversation is written against.

A handler is a Python file `PROTOCOL.py` in a folder `converse` beside the agents (`[node] agents`).
It holds one subclass of `Handler` whose `protocol` is PROTOCOL. There is one instance for each
conversation, and one thread: its methods are never called at the same time. It is loaded when it
is first asked for, by a caller whom the policy `converse` allows the action PROTOCOL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcshell.errors import AgentError
from mcshell.node.agents.loading import load_class

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mcshell.node.agent import NodeView

__all__ = ["FOLDER", "AgentError", "Handler", "HandlerConversation", "load_handler"]

FOLDER = "converse"


class HandlerConversation(Protocol):
    """The conversation as its handler has it; may be used by any thread."""

    @property
    def id(self) -> str:
        """The conversation's id."""

    @property
    def caller(self) -> str:
        """The verified callerid, such as `cert=alice`."""

    @property
    def node(self) -> NodeView:
        """The node we run on."""

    @property
    def data(self) -> Any:
        """What the caller gave along when the conversation was opened."""

    def send(self, data: Any, timeout: float | None = ...) -> None:
        """Send one turn; waits (seconds, 60 by default; None: for ever) while the caller lags.

        Raises ConversationError when the conversation is over (TurnTimeout: it is not, but the
        caller took nothing in time).
        """

    def close(self) -> None:
        """End it once what was sent has arrived."""


class Handler:
    """Base of all handlers. To end a conversation as failed, raise `AgentError`."""

    protocol: ClassVar[str] = ""

    def opened(self, line: HandlerConversation) -> None:
        """A caller has opened the conversation."""

    def turn(self, line: HandlerConversation, data: Any) -> None:
        """The caller has sent one turn."""

    def closed(self, line: HandlerConversation, why: str) -> None:
        """It is over: `why` is "closed", or what has ended it. Called once, whatever happened."""


def load_handler(folders: Iterable[Path], protocol: str) -> type[Handler] | None:
    """Import the handler of a protocol; None when no folder has one, PluginError if it is none."""
    for folder in folders:
        source = folder / FOLDER / f"{protocol}.py"
        if source.is_file():
            return load_class(source, Handler, "protocol")
    return None
