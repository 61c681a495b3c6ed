"""`mcshell node` as a service manager writes it, read without the grammar, which is 1 MiB of a daemon's 22.

What is read here means what it means there. Any other line is left to it, and so is what goes wrong.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.config import load
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["NodeLine", "read_node_line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """The options of `node`, as `NodeOptions` has them."""

    config: str | None = None
    log_json: bool = False
    until_eof: bool = False

    @property
    def path(self) -> Path | None:
        """The configuration file that is named."""
        return None if self.config is None else Path(self.config)

    def load(self) -> Callable[[], int]:
        """Load a node daemon, and return what runs it until SIGTERM and gives the exit code."""
        from mcshell.node.daemon import run  # noqa: PLC0415 - most lines are none of a daemon's
        from mcshell.node.process.service import begin, end  # noqa: PLC0415 - as above

        def serve() -> int:
            begin("info", as_json=self.log_json, until_eof=self.until_eof)
            run(load(self.path), partial(load, self.path))
            end()
            return 0

        return serve


def read_node_line(words: Sequence[str]) -> NodeLine | None:
    """The options that stand behind `mcshell node`; None if there are others than these, or one twice."""
    said: dict[str, str | bool] = {}
    rest = list(words)
    while rest:
        option = rest.pop(0)
        name = {"--config": "config", "--log-json": "log_json", "--until-eof": "until_eof"}.get(
            option
        )
        if name is None or name in said:
            return None
        if name == "config" and (not rest or rest[0].startswith("-") or not rest[0].isprintable()):
            return None
        said[name] = rest.pop(0) if name == "config" else True
    return NodeLine(**said)  # type: ignore[arg-type] # by name
