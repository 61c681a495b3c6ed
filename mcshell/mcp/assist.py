"""`mcp`: hands standard input and output over to an assistant; the Python package of the protocol may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.errors import UsageError
from mcshell.wire.log_lines import begin_log

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import MCPOptions

__all__ = ["assist"]


def assist(context: Context, options: MCPOptions) -> int:
    """Serve until standard input ends.

    Raises:
        UsageError: the package is not installed.
        ConfigError: a setting or key that cannot be used.
    """
    try:
        from mcshell.mcp.server import serve  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mcshell"):
            raise
        raise UsageError(
            f"mcp: Python's {error.name} is not here: pip install 'mcshell[mcp]'"
        ) from error
    begin_log(options.log_level, as_json=options.log_json)
    return serve(context, options.session)
