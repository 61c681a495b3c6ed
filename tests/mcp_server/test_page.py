"""The blocks of the how-to page, as they stand: a client starts the server that it names."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest
from mcp import Client, StdioServerParameters

from mcshell.config import load
from mcshell.docs import markdown, pages
from mcshell.mcp.tools import TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mcp_server.conftest import Desk

pytestmark = pytest.mark.timeout(300)
BLOCKS = [text for _, text in markdown.code(pages.page("give-an-assistant-the-fleet").text)]


def test_a_client_starts_what_the_page_says(desk: Desk, tmp_path: Path) -> None:
    """Command, arguments and environment are those of the page; the home and `mcshell` are the test's."""
    (bin_ := tmp_path / "bin").mkdir()
    (bin_ / "mcshell").write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
    (bin_ / "mcshell").chmod(0o755)
    told = json.loads(BLOCKS[0])["mcpServers"]["fleet"]
    environ = {**desk.fleet.environ, **told["env"], "HOME": str(tmp_path)}
    environ["PATH"] = f"{bin_}:{environ['PATH']}"
    how = StdioServerParameters(command=told["command"], args=told["args"], env=environ)

    async def story() -> None:
        async with Client(how) as client:
            assert {one.name for one in (await client.list_tools()).tools} == set(TOOLS)
            found = await client.call_tool("discover", {"where": "role=web"})
            assert found.structured_content["total"] == 3

    asyncio.run(story())
    (session,) = (tmp_path / ".local/state/mcshell-assistant/sessions").glob("mcp-*.sqlite")
    assert session.exists()


def test_the_configuration_of_the_page_is_read(tmp_path: Path) -> None:
    """Its agents are those that the settings have; the page's table names every tool."""
    (tmp_path / "c.toml").write_text(BLOCKS[1])
    (tmp_path / "c.toml").chmod(0o600)
    assert load(tmp_path / "c.toml").mcp.agents == ("rpcutil", "package", "service")
    assert len(BLOCKS) == 2
    text = pages.page("give-an-assistant-the-fleet").text
    assert [name for name in TOOLS if f"`{name}`" not in text] == []
