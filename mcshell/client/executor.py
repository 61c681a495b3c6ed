"""`concurrent.futures` over a pool of nodes: what is submitted outlives whoever has submitted it.

>>> with mcshell.Executor("sms", session="campaign") as pool:
...     futures = [pool.submit("sms.send", to=number, text="hello") for number in numbers]
...     failed = [one for one in futures if one.exception()]
"""

from __future__ import annotations

import concurrent.futures
import reprlib
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from mcshell.client import default
from mcshell.client.arguments import patience_of
from mcshell.client.client import Client, connect
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from mcshell.client.arguments import Duration
    from mcshell.client.rpc.pool_tasks import PoolFuture

__all__ = ["Executor"]


class Executor(concurrent.futures.Executor):
    """Submits actions to a pool of nodes, each of which one node runs.

    A task is "agent.action" and its inputs, checked by the DDL when it is submitted; nothing of
    Python travels. Submitting returns at once, and what was submitted is committed to the session's
    file by the batch. From then on it runs, and what comes of it is kept, whether this process lives or not:
    `futures` has it again, in whichever process has the session.

    What a killed worker had begun is begun again by another if the DDL says that it is `rerun_safe`
    (at least once, three tries at most); else its future says `interrupted` (at most once). A
    future is resolved once. Callbacks run in one thread: one that waits for another future waits in vain.

    Its methods may be called from any thread. A child of fork(2) cannot use it (ForkedClient).
    """

    def __init__(
        self,
        pool: str,
        client: Client | None = None,
        *,
        session: str | None = None,
        ttl: Duration | None = None,
    ) -> None:
        """Open it.

        Args:
            pool: the pool, as the configuration has it ([pools.NAME]).
            client: whose session is used. Without one it is, where no `session` is named, that of
                the `%mco` lines or the last opened; else one is opened, and closed at the end.
            session: the name of a session to open, under which another process finds the tasks.
            ttl: how long each may still run from its submission on (seconds, or text like "7d").

        Raises:
            UsageError: no such pool or ttl; or both client and session.
            SessionError, ConfigError, ConnectError: as `connect`.
        """
        if client is not None and session is not None:
            raise UsageError("Executor: a client has its session: name one of the two")
        if client is None and session is None:
            with suppress(UsageError):  # nobody is connected yet
                client = cast("Client", default.current())
        self._owned = connect(session=session) if client is None else None
        self.client = cast("Client", client or self._owned)
        try:
            self._tasks = self.client.pool_tasks(pool, ttl=ttl)
        except BaseException:
            if self._owned is not None:
                self._owned.close()
            raise
        finish = weakref.finalize(self, self._tasks.leave)
        finish.atexit = False

    def __repr__(self) -> str:
        return f"<Executor {self._tasks.pool}, session {self.client.session.name}>"

    def submit(  # type: ignore[override]
        self, task: str, inputs: Mapping[str, Any] | None = None, /, **others: Any
    ) -> PoolFuture:
        """Hand in a task, "agent.action"; its inputs are a mapping, or keywords, or both.

        Raises:
            UsageError: an unknown agent, action or input (InputError), so that nothing was sent.
            ExecutorClosed: it was shut down.
        """
        _refuse_code(task, inputs)
        (future,) = self._tasks.submit(task, [{**(inputs or {}), **others}])
        return future

    def map(  # type: ignore[override]
        self,
        task: str,
        rows: Iterable[Mapping[str, Any]],
        /,
        *,
        timeout: Duration | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Hand in a task for each row of inputs, all or none; gives their results, in that order.

        Args:
            task: "agent.action".
            rows: the inputs of each, such as `df.to_dict("records")`.
            timeout: how many seconds after this call a result may be waited for.

        Raises:
            TaskError: at the first that did not come out well; what has not gone out is cancelled.
            TimeoutError: the same, when the time is over.
        """
        patience = patience_of(timeout)
        end = None if patience is None else time.monotonic() + patience
        futures = self._tasks.submit(task, rows)
        return self._results(futures, end)

    def _results(self, futures: list[PoolFuture], end: float | None) -> Iterator[dict[str, Any]]:
        left = futures[::-1]
        try:
            while left:
                yield left.pop().result(None if end is None else end - time.monotonic())
        finally:
            if left:
                self._tasks.withdraw(left)

    def futures(self) -> list[PoolFuture]:
        """All that the session has asked of the pool, in that order, whichever process has.

        Those that have ended are resolved; the others will be, here.
        """
        return self._tasks.futures()

    def flush(self, timeout: Duration | None = None) -> bool:
        """Wait (seconds) until the broker has all that was submitted; whether it has.

        Then the work goes on though this machine be switched off, and its results wait in the session's queue.

        Raises:
            Stopped: Ctrl-C; it goes out all the same.
        """
        return self._tasks.flush(patience_of(timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as its base has it
        """Take no more; what was submitted is committed when this returns.

        Args:
            wait: whether to wait until all futures are resolved. Else they go on, for as long as somebody
                has their client.
            cancel_futures: cancel those of which nothing has gone out.
        """
        self._tasks.shutdown(wait=wait, drop=cancel_futures)
        if wait and self._owned is not None:
            self._owned.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut it down; after Ctrl-C without waiting: what is submitted goes on."""
        self.shutdown(wait=kind is None or not issubclass(kind, KeyboardInterrupt))


def _refuse_code(task: object, inputs: object) -> None:
    """UsageError for what other executors take: a function, and its arguments by their places."""
    if not isinstance(task, str) or not isinstance(inputs, Mapping | None):
        what = f"{reprlib.repr(task)} and {reprlib.repr(inputs)}"
        raise UsageError(f'a task is "agent.action" and a mapping, or keywords; not {what}')
