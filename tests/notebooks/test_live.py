"""Live displays in a real kernel: they move, end, stay in their cell, and can be broken off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jupyter_client.blocking import BlockingKernelClient

    from tests.notebooks.conftest import Demo

pytestmark = pytest.mark.timeout(240)

SLOW = "--batch 2 --batch-sleep 0.3"


def shown(outputs: list[Any]) -> list[dict[str, str]]:
    """The displays among a cell's outputs."""
    return [one["data"] for one in outputs if one["output_type"] == "display_data"]


def test_a_display_ends_in_its_cell_after_the_cell(demo: Demo) -> None:
    """Replies shown while they come in are complete at the end, in that cell, without scripts."""
    cells = [
        "%load_ext mcshell\n%reload_ext mcshell",
        f"r = %mco rpc rpcutil ping -b {SLOW}\nr",
        "r.wait(60)\nlen(r.ok)",
    ]
    book = demo.run(cells)
    (final,) = shown(book.cells[1].outputs)
    assert "26 targets" in final["text/plain"]
    assert "26 ok" in final["text/plain"]
    assert "26 ok" in final["text/html"]
    assert "<progress" not in final["text/html"]
    assert "<script" not in final["text/html"]
    assert book.cells[2].outputs[0]["data"]["text/plain"] == "26"
    assert len(book.cells[2].outputs) == 1


def test_a_foreground_call_shows_progress_only_when_it_takes_long(demo: Demo) -> None:
    """A quick call leaves its table alone; a slow one has one display besides, complete."""
    cells = [
        "%load_ext mcshell",
        "%mco find --dt 0.2;",
        "df = %mco rpc rpcutil ping",
        f"df = %mco rpc rpcutil ping {SLOW}",
        "type(df).__module__.split('.')[0], len(df)",
    ]
    book = demo.run(cells)
    (final,) = shown(book.cells[3].outputs)
    assert "26 ok" in final["text/plain"]
    assert book.cells[4].outputs[0]["data"]["text/plain"] == "('pandas', 26)"
    assert book.cells[1].outputs == []  # its last character said so
    quick = shown(book.cells[2].outputs)
    assert all("26 ok" in one["text/plain"] for one in quick)  # a busy machine may be slow


def test_each_of_several_threads_shows_its_own(demo: Demo) -> None:
    """Lines that wait at the same time are shown each as it stands, and no request twice."""
    cells = [
        "%load_ext mcshell\nimport asyncio",
        f"def ask():\n    df = %mco rpc rpcutil ping {SLOW}\n    return df",
        "dfs = await asyncio.gather(*[asyncio.to_thread(ask) for _ in range(3)])",
        "print(*[df.requestid[0][:8] for df in dfs])",
    ]
    book = demo.run(cells)
    pictures = [one["text/plain"] for one in shown(book.cells[2].outputs)]
    asked = book.cells[3].outputs[0]["text"].split()
    assert len(set(asked)) == 3
    for requestid in asked:
        assert sum(f"({requestid})" in one for one in pictures) == 1


def test_connect_alone_shows_replies_live(demo: Demo) -> None:
    """Without the magics, `mcshell.connect()` is enough for Replies to be drawn."""
    book = demo.run(
        [
            "import mcshell\nclient = mcshell.connect()",
            "r = client.rpc('rpcutil', 'ping')\nr",
        ]
    )
    (final,) = shown(book.cells[1].outputs)
    assert "26 ok" in final["text/html"]


def listen(client: BlockingKernelClient, wanted: str, seconds: float = 60.0) -> dict[str, Any]:
    """The next message of a kind on the kernel's public channel."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message: dict[str, Any] = client.get_iopub_msg(timeout=seconds)
        if message["msg_type"] == wanted:
            return message
    raise AssertionError(f"no {wanted} within {seconds:g} s")


def test_an_interrupt_keeps_the_rows(demo: Demo) -> None:
    """Interrupting the kernel ends the cell: `_` has what came, and a row for the rest."""
    with demo.kernel() as (manager, client):
        client.execute_interactive("%load_ext mcshell", timeout=60)
        client.execute("df = %mco rpc rpcutil ping --batch 1 --batch-sleep 1")
        first = listen(client, "display_data")
        assert "of 26 targets" in first["content"]["data"]["text/plain"]
        listen(client, "update_display_data")
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        while reply["msg_type"] != "execute_reply" or reply["content"]["status"] != "error":
            reply = client.get_shell_msg(timeout=60)
        assert reply["content"]["ename"] == "Stopped"
        wanted = {"n": "len(_)", "ok": "int((_['state'] == 'ok').sum())", "df": "'df' in globals()"}
        answer = client.execute_interactive("", user_expressions=wanted)
        while answer["content"]["status"] == "aborted":  # as what stood behind the cell
            answer = client.execute_interactive("", user_expressions=wanted)
        found = {
            name: value["data"]["text/plain"]
            for name, value in answer["content"]["user_expressions"].items()
        }
        assert found["n"] == "26"
        assert found["df"] == "False"
        assert 0 < int(found["ok"]) < 26


def test_updates_are_few(demo: Demo) -> None:
    """A request that goes on for seconds is drawn at most four times a second."""
    with demo.kernel() as (_manager, client):
        client.execute_interactive("%load_ext mcshell", timeout=60)
        times: list[float] = []

        def hook(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("display_data", "update_display_data"):
                times.append(time.monotonic())

        began = time.monotonic()
        line = "df = %mco rpc rpcutil ping --batch 1 --batch-sleep 0.1"
        client.execute_interactive(line, timeout=120, output_hook=hook)
        took = time.monotonic() - began
    assert 2 < len(times) <= took * 4 + 2
