"""`mcshell mcp`: the tools over standard input and output, until standard input ends.

Standard output is the protocol's alone: the SDK keeps a private copy of it, and whatever else is
printed goes to standard error. Tools run in threads; one that still waits at the end is left behind.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import mcp_types as types
from anyio import to_thread
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcshell.client.origin import origin
from mcshell.client.pki import pki_of
from mcshell.commands.output.json_document import dumps
from mcshell.errors import MCShellError, SessionError, Stopped
from mcshell.mcp import tasks
from mcshell.mcp.asking import FleetCall
from mcshell.mcp.results import one_line
from mcshell.mcp.tools import INSTRUCTIONS, TOOLS, FleetTool
from mcshell.version import VERSION
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from mcp.server import ServerRequestContext

    from mcshell.commands.context import Context

    T = TypeVar("T")

__all__ = ["serve", "session_name"]

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
_NAME: Final = 60
_MISSING_CAPABILITY: Final = -32021


def session_name() -> str:
    """The session of this machine's servers: another machine has another, and nodes know them apart."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower())
    return f"mcp-{host.strip('-') or 'host'}"[:_NAME]


def serve(context: Context, session: str | None) -> int:
    """Serve until standard input ends; the process ends with it, whatever a tool still waits for.

    Raises:
        ConfigError: a setting or key that cannot be used.
    """
    load_credentials(pki_of(context.settings))  # said now, and not by the first tool
    context.session = session or session_name()
    log.info("session %s", context.session)
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # ends it at once, as SIGTERM: nothing is lost by it
    try:
        anyio.run(_serve, context)
    except* BrokenPipeError:
        log.info("nobody reads any more")
    finally:
        context.close()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)  # threads of tools that still wait would hold up an ordinary end


async def _serve(context: Context) -> None:
    server = FleetServer(context).server
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


class FleetServer:
    """Answers what a client asks; `server` is the SDK's."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self.server: Server[Any] = Server(
            "mcshell",
            version=VERSION,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
        )
        self.server.extensions[tasks.EXTENSION] = {}
        add = self.server.add_request_handler
        add("tools/call", types.CallToolRequestParams, self._call)
        add("tasks/get", tasks.TaskParams, self._task)
        add("tasks/update", tasks.TaskParams, self._acknowledge)
        add("tasks/cancel", tasks.TaskParams, self._acknowledge)

    async def _list(self, _ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(one) for one in TOOLS.values()])

    async def _call(
        self, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | dict[str, Any]:
        tool, given = TOOLS.get(params.name), params.arguments or {}
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"no tool {one_line(params.name, 60)!r}")
        if complaint := tool.complaint(given):
            return _failed(complaint)
        try:
            found = await self._run(ctx, tool.run, self._context, tool.given(given))
            if isinstance(found, FleetCall):
                if not found.replies.done and _knows_tasks(ctx):
                    return await self._run(ctx, tasks.created, found.replies)
                found = await self._run(ctx, found.document)
        except (MCShellError, Stopped) as error:
            return _failed(one_line(str(error)))
        except Exception as error:
            log.exception("%s", tool.name)
            return _failed(f"internal error: {type(error).__name__} (the server's log has more)")
        return _succeeded(found)

    async def _task(
        self, ctx: ServerRequestContext[Any], params: tasks.TaskParams
    ) -> dict[str, Any]:
        replies = await self._task_of(ctx, params)
        found: dict[str, Any] = await self._run(ctx, tasks.described, replies)
        if found["status"] == "completed":
            document = await self._run(ctx, FleetCall(replies=replies, given={}).document)
            found["result"] = _succeeded(document).model_dump(
                by_alias=True, mode="json", exclude_none=True
            )
        return {"resultType": "complete", **found}

    async def _acknowledge(self, ctx: ServerRequestContext[Any], params: tasks.TaskParams) -> Any:
        """What nodes' queues have is not called back: it changes nothing, and ends by its ttl."""
        await self._task_of(ctx, params)
        return {"resultType": "complete"}

    async def _task_of(self, ctx: ServerRequestContext[Any], params: tasks.TaskParams) -> Any:
        if not _knows_tasks(ctx):
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {tasks.EXTENSION: {}}}}
            raise MCPError(_MISSING_CAPABILITY, "Missing required client capability", needed)
        try:
            return await self._run(ctx, tasks.task_of, self._context, params.task_id)
        except SessionError as error:
            raise MCPError(types.INVALID_PARAMS, one_line(str(error))) from None
        except MCShellError as error:
            raise MCPError(types.INTERNAL_ERROR, one_line(str(error))) from None

    async def _run(
        self, ctx: ServerRequestContext[Any], function: Callable[..., T], *arguments: Any
    ) -> T:
        """Run in a thread; what it asks of nodes is noted as asked by this client."""
        return await to_thread.run_sync(
            partial(_noted, _client_name(ctx), function, *arguments),
            abandon_on_cancel=True,
            limiter=self._limiter,
        )


def _noted(name: str, function: Callable[..., T], *arguments: Any) -> T:
    with origin(f"mcp: {name}"):
        return function(*arguments)


def _client_name(ctx: ServerRequestContext[Any]) -> str:
    """What the client calls itself, which may be anything, as a short word."""
    params = ctx.session.client_params
    if params is None:
        return "unnamed"
    return one_line(f"{params.client_info.name} {params.client_info.version}"[:_NAME])


def _knows_tasks(ctx: ServerRequestContext[Any]) -> bool:
    """Whether this request's client takes a task for an answer."""
    capabilities = ctx.session.client_capabilities
    extensions = (capabilities.extensions if capabilities else None) or {}
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and tasks.EXTENSION in extensions


def _tool(one: FleetTool) -> types.Tool:
    return types.Tool(
        name=one.name,
        description=one.description,
        input_schema=one.takes,
        output_schema=one.gives,
        annotations=types.ToolAnnotations(
            read_only_hint=one.reads,
            destructive_hint=False,
            idempotent_hint=one.reads,
            open_world_hint=one.foreign,
        ),
    )


def _succeeded(document: Mapping[str, Any]) -> types.CallToolResult:
    """A document as structured content, and as text for clients that know no other."""
    return types.CallToolResult(content=_block(dumps(document)), structured_content=dict(document))


def _failed(line: str) -> types.CallToolResult:
    return types.CallToolResult(content=_block(line), is_error=True)


def _block(text: str) -> list[types.ContentBlock]:
    return [types.TextContent(type="text", text=text)]
