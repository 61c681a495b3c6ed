"""Threads that help, also where there is none for a while."""

from __future__ import annotations

import threading

import pytest

from mcshell.client.messaging.helpers import Helpers
from tests.peers.processes import no_threads


def test_where_there_is_no_thread_the_work_is_done_all_the_same():
    """It is done by who wants it done, with what comes of it; the next has a thread again."""
    helpers = Helpers(1, "help")
    with no_threads():
        assert helpers.submit(threading.get_ident).result(0) == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            helpers.submit(lambda: 1 / 0).result(0)
    assert helpers.submit(threading.get_ident).result(60) != threading.get_ident()
    helpers.shutdown()


def test_helpers_without_a_thread_end():
    """There is nobody to wait for."""
    helpers = Helpers(2, "help")
    with no_threads():
        helpers.submit(threading.get_ident)
        helpers.shutdown()
