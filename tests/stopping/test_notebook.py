"""Interrupt Kernel in a real kernel: a loop of lines and Run All stop; what came is shown and kept."""

from __future__ import annotations

import time
from contextlib import contextmanager
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import start_new_kernel

from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)


class Notebook:
    """A kernel with the extension loaded; `run` is Run All."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client

    def run(self, *cells: str, when: Callable[[], bool] | None = None) -> list[str]:
        """Execute all cells at once, interrupted `when` it holds; what each has shown."""
        ids = [self._client.execute(cell, allow_stdin=False) for cell in cells]
        shown: dict[str, list[str]] = {one: [] for one in ids}
        if when is not None:
            assert wait_until(when, 60, 0.02)
            self._manager.interrupt_kernel()
        idle: set[str] = set()
        end = time.monotonic() + 90
        while len(idle) < len(ids):
            assert time.monotonic() < end, shown
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            of, content = message["parent_header"].get("msg_id"), message["content"]
            if of not in shown:
                continue
            if message["msg_type"] == "stream":
                shown[of].append(content["text"])
            elif message["msg_type"] == "error":
                shown[of].append(f"{content['ename']}: {content['evalue']}")
            elif message["msg_type"] == "execute_result":
                shown[of].append(content["data"]["text/plain"])
            elif content.get("execution_state") == "idle":
                idle.add(of)
        return ["\n".join(shown[one]) for one in ids]


@pytest.fixture(scope="module")
def book(fleet: Fleet) -> Iterator[Notebook]:
    """One kernel for all of them."""
    with kernel(fleet) as found:
        yield found


@contextmanager
def kernel(fleet: Fleet) -> Iterator[Notebook]:
    """A kernel of the fleet's operator."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(fleet.folder / "state-kernel")}
    manager, client = start_new_kernel(kernel_name="python3", env=environ)
    try:
        found = Notebook(manager, client)
        found.run("%load_ext mcshell\nimport mcshell", "%mco find -I web1")
        yield found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def naps(fleet: Fleet, node: str) -> Callable[[], bool]:
    """Whether a node has one more request to sleep than now."""

    def seen() -> set[str]:
        return {one["requestid"] for one in fleet.audit(node) if one.get("action") == "nap"}

    before = seen()
    return lambda: seen() > before


def test_a_loop_and_run_all_stop(fleet: Fleet, book: Notebook) -> None:
    """The loop does not go on to its next turn, nor the notebook to its next cell."""
    loop = (
        "for turn in range(3):\n"
        "    df = %mco rpc mark nap sleep=4 -I web1 -I ghost1 -t 60 -y\n"
        "    print('turn', turn)"
    )
    first, second = book.run(loop, "print('next cell')", when=naps(fleet, "web1"))
    assert "Stopped: stopped: <Replies mark nap" in first
    assert "turn" not in first
    assert second == ""
    assert "ghost1" in first  # the rows were shown
    names, kept = book.run("'df' in globals()", "len(mcshell.current().requests())")
    assert (names, kept) == ("False", "1")


def test_the_rows_are_kept(fleet: Fleet, book: Notebook) -> None:
    """`-o` and `_` have the rows before Stopped is raised; an assignment has not happened."""
    cell = "%%mco rpc mark nap -I web2 -I ghost2 -t 60 -y -o kept\nsleep: 4"
    (shown,) = book.run(cell, when=naps(fleet, "web2"))
    assert "Stopped" in shown
    under, stored = book.run("_[['sender']].values.ravel().tolist()", "kept.state.tolist()")
    assert under == "['web2', 'ghost2']"
    assert "'silent'" in stored


def test_what_was_stopped_is_retried(fleet: Fleet, book: Notebook) -> None:
    """`retry` asks the silent and those not sent; in a cell after the interrupt all works again."""
    line = "x = %mco rpc mark nap sleep=3 -I web3 -I web1 --batch 1 --batch-sleep 20 -t 60 -y"
    (shown,) = book.run(line, when=naps(fleet, "web3"))
    assert "not sent: stopped" in shown
    (again,) = book.run("again = %mco retry -t 60 -y\nagain.set_index('sender').state.web1")
    assert again.endswith("'ok'")  # web3 may have said that it is at it, and is left alone then


def test_threads_of_a_cell_stop(fleet: Fleet, book: Notebook) -> None:
    """A pool of threads with lines in it ends with its cell; the next cell's pool works."""
    cell = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "shell = get_ipython()\n"
        "def ask(number):\n"
        "    return shell.run_line_magic('mco', f'rpc mark nap sleep=3 -I web2 -t 60')\n"
        "before = len(mcshell.current().requests())\n"
        "pool = ThreadPoolExecutor(2)\n"
        "futures = []\n"
        "for number in range(6):\n"
        "    futures.append(pool.submit(ask, number))\n"
        "[one.result() for one in futures]"
    )
    (shown,) = book.run(cell, when=naps(fleet, "web2"))
    assert "KeyboardInterrupt" in shown or "Stopped" in shown
    asked, errors, later = book.run(
        "pool.shutdown()\nlen(mcshell.current().requests()) - before <= 2",
        "sorted({type(one.exception()).__name__ for one in futures})",
        "ThreadPoolExecutor(1).submit(shell.run_line_magic, 'mco', 'rpc rpcutil ping -I web1')"
        ".result().state.tolist()",
    )
    assert asked == "True"
    assert errors == "['Stopped']"
    assert later == "['ok']"


def test_discovery_and_attach_stop(book: Notebook) -> None:
    """A line that still looks for its nodes, or for a session's holder, has nothing to show."""
    begun = time.monotonic()
    (shown,) = book.run(
        "%mco rpc rpcutil ping -F role=none --dt 60", when=lambda: time.monotonic() > begun + 3
    )
    assert shown.startswith("Stopped: stopped")


def test_a_closed_client_is_nobodys(book: Notebook) -> None:
    """After `with connect()` df.mco asks through the extension's client, which `current()` gives."""
    states, same = book.run(
        "df = %mco ping -I web1\nwith mcshell.connect() as c:\n    inside = df.mco.rpc('rpcutil', 'ping')\n"
        "    mine = c.replies().requestid == inside.requestid[0]\n"
        "(mine, df.mco.rpc('rpcutil', 'ping').state.tolist())",
        "(mcshell.current().replies().agent, mcshell.current() is c)",
    )
    assert states == "(True, ['ok'])"
    assert same == "('rpcutil', False)"


def test_replies_are_awaited(book: Notebook) -> None:
    """`await` and `async for` wait without holding up the kernel's loop; several at once."""
    waited, rows, timed = book.run(
        "import asyncio, time\nclient = mcshell.current()\nbegan = time.monotonic()\n"
        "two = [client.rpc('mark', 'nap', sleep=1.0, nodes=[one], wait=False) for one in ('web1', 'web2')]\n"
        "done = await asyncio.gather(*two)\n"
        "[one.frame().state.tolist() for one in done]",
        "r = client.rpc('rpcutil', 'ping', nodes=['web1', 'web2', 'web3'], wait=False)\n"
        "sorted([row.sender async for row in r.arrivals()])",
        "r = client.rpc('mark', 'once', file='/dev/null', via='queue', nodes=['ghost9'], wait=False)\n"
        "[row.sender async for row in r.arrivals(timeout=0.5)]",
    )
    assert waited == "[['ok'], ['ok']]"
    assert rows == "['web1', 'web2', 'web3']"
    assert timed == "[]"


def test_a_call_in_an_async_cell_is_interrupted(fleet: Fleet, book: Notebook) -> None:
    """What holds up the kernel's own loop is stopped as in any other cell."""
    cell = "await asyncio.sleep(0)\nclient.rpc('mark', 'nap', sleep=4.0, nodes=['web2'])\nprint('done')"
    (shown,) = book.run(cell, when=naps(fleet, "web2"))
    assert "Stopped: stopped: <Replies mark nap" in shown
    assert "done" not in shown


def test_an_await_is_interrupted(fleet: Fleet, book: Notebook) -> None:
    """Interrupt Kernel ends an `await`, and the request: the rest is not sent."""
    cell = (
        "r = client.rpc('mark', 'nap', sleep=3.0, nodes=['web3', 'web1'], batch=1, batch_sleep=30,"
        " timeout=60, wait=False)\nawait r\nprint('done')"
    )
    (shown,) = book.run(cell, when=naps(fleet, "web3"))
    assert "done" not in shown
    (rows,) = book.run("r.wait(30)\nr.frame().set_index('sender').statusmsg.web1")
    assert rows == "'not sent: stopped'"
