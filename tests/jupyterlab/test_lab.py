"""JupyterLab in a real browser: the tour, live progress, interrupts, a kernel that is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.jupyterlab.conftest import BrowserSession, Demo

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(400)]

MANY, FEW = 40, 12
QUEUE = "rpc rpcutil ping --via queue --ttl 1h"


def test_the_tour(browser_session: BrowserSession) -> None:
    """`Run All` takes the first notebook to its end: every cell has run, none has failed."""
    book = browser_session.open("01_explore")
    book.shot("opened")
    book.run_all()
    prompts = book.cells.locator(".jp-InputPrompt").all_text_contents()
    assert prompts == [f"[{number}]:" for number in range(1, len(prompts) + 1)]
    assert len(prompts) > 20
    assert book.errors() == []
    assert book.pictures() == 2
    book.leaf("page")


def test_tab_completes(browser_session: BrowserSession) -> None:
    """Tab offers what the fleet's schemas know, in the lab's own menu."""
    book = browser_session.open("complete")
    book.run("%load_ext mcshell")
    book.type("df = %mco rpc rpcutil get_")
    book.offers("get_fact")
    book.shot("offers")
    assert book.errors() == []


def test_progress_moves_and_ends(browser_session: BrowserSession, demo: Demo) -> None:
    """A call's count and bar move while it is waited for, and those of a handle behind its cell."""
    book = browser_session.open("live")
    book.run("%load_ext mcshell")
    called = book.begin(f"df = %mco {QUEUE} -I slow[0001-{MANY:04}] -t 120")
    book.shows(called, f"0 of {MANY} targets")
    with demo.more("slow", MANY, 3):
        book.passes(called, rf"[1-9]\d* of {MANY} targets")
        book.shot("moving")
        book.finished(called)
    book.shows(book.run("len(df), set(df.state)"), rf"\({MANY}, {{'ok'}}\)")

    handle = book.run(f"r = %mco {QUEUE} -I slow[0001-{MANY:04}] -b\nr")
    book.shows(handle, f"0 of {MANY} targets")
    book.shows(book.run("6 * 7"), "42")
    book.shot("behind")
    with demo.more("slow", MANY, 3):
        book.shows(handle, f"{MANY} ok")
    book.shot("ended")
    for cell in (called, handle):
        moved = book.seen(cell)
        assert moved == sorted(moved)
        assert len({count for count, _bar in moved}) >= 2
        assert all(bar == count for count, bar in moved)
        book.shows(cell, rf"\b{MANY} targets, .*\n*{MANY} ok")
        assert book.bars(cell) == 0
    assert book.errors() == []


def test_an_interrupt_keeps_the_rows(browser_session: BrowserSession) -> None:
    """Interrupting the kernel ends the cell; what had come is shown, and `_` for the next cell."""
    book = browser_session.open("interrupt")
    book.run("%load_ext mcshell")
    call = book.begin(
        "df = %mco rpc rpcutil ping -I web[01-10] -I worker[01-06] --batch 1 --batch-sleep 2\n"
        "print('goes on')"
    )
    book.shows(call, r"\b([2-9]|1\d) of 16 targets")
    book.shot("waiting")
    book.menu("Kernel", "Interrupt Kernel")
    book.finished(call)
    book.shows(call, r"\b16 targets, .*\d+ silent.*not sent to web\[\d\d-10\],worker\[01-06\]")
    book.shows(call, "web01.*web02.*web03")
    book.shows(call, r"Stopped: stopped: <Replies rpcutil ping \w+: \d+ \w+ \d+ \w+>")
    assert book.bars(call) == 0
    book.shot("interrupted")
    found = book.run("df = _\nok = df.mco.ok\nlen(df), 2 <= len(ok) < 16, list(ok.sender[:2])")
    book.shows(found, r"\(16, True, \['web01', 'web02'\]\)")
    again = book.run(
        "again = ok.mco.rpc('rpcutil', 'ping')\nlen(again) == len(ok), set(again.state)"
    )
    book.shows(again, r"\(True, {'ok'}\)")

    queued = book.begin(f"df = %mco {QUEUE} -I web01 -I nobody -t 120\ndf")
    book.shows(queued, r"\b1 of 2 targets")
    book.press("Escape", "i", "i")
    book.finished(queued)
    book.shows(queued, r"\b1 of 2 targets, .*interrupted; to see what still comes: replies")
    book.shows(book.run("dict(zip(_.sender, _.state))"), "'web01': 'ok', 'nobody': 'pending'")
    assert book.bars(queued) == 0
    assert [one.partition(":")[0] for one in book.errors()] == ["Stopped", "Stopped"]


def test_a_restarted_kernel_sees_the_rest(browser_session: BrowserSession, demo: Demo) -> None:
    """A new kernel attaches the session; what nodes answer only now comes into the table, live."""
    book = browser_session.open("restart", "JupyterLab Dark")
    book.run("%load_ext mcshell")
    names = f"-I web01 -I web02 -I late[0001-{FEW:04}]"
    asked = book.run(f"r = %mco {QUEUE} {names} -b\nr")
    book.shows(asked, rf"{FEW} pending, 2 ok")
    book.shows(book.run("%mco session save patch-friday"), "patch-friday")
    book.shot("asked")
    book.restart()
    book.shows(book.run("'r' in dir()"), "False")
    book.run("%load_ext mcshell")
    attached = book.run("%mco session attach patch-friday")
    book.shows(attached, "patch-friday")
    book.shot("attached")
    rest = book.begin("df = %mco replies -t 120\ndf")
    book.shows(rest, f"2 of {FEW + 2} targets")
    book.shot("waiting")
    with demo.more("late", FEW, 3):
        book.passes(rest, rf"([3-9]|1\d) of {FEW + 2} targets")
        book.shot("coming")
        book.finished(rest)
    assert len({count for count, _bar in book.seen(rest)}) >= 2
    book.shows(rest, f"web01.*late0001.*late{FEW:04}")
    book.shows(book.run("len(df), set(df.state)"), rf"\({FEW + 2}, {{'ok'}}\)")
    assert book.errors() == []
