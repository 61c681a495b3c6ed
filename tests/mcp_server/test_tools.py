"""What an assistant can do, tool by tool, over a real server and real daemons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mcp_server.conftest import Assistant, Desk

pytestmark = pytest.mark.timeout(300)


def test_it_finds_reads_and_explains(desk: Desk) -> None:
    """Discovery, facts, inventory, documentation, explanation and replies are of the fleet as it is."""

    async def story(one: Assistant) -> None:
        found = await one.ask("discover", where="role=web")
        assert [node["sender"] for node in found["nodes"]] == ["web1", "web2", "web3"]
        print(found)
        found = await one.ask("facts", fact="number")
        print(found)
        print(await one.ask("inventory", nodes=["web1"]))
        print(await one.ask("doc"))
        print(await one.ask("doc", agent="rpcutil"))
        print(await one.ask("explain", node="web9"))
        print(await one.ask("call", agent="rpcutil", action="get_fact", inputs={"fact": "role"}))
        print(await one.ask("replies"))
        print(await one.ask("sql", query="select * from replies"))
        print(await one.ask("proposals"))

    desk.run(story)
