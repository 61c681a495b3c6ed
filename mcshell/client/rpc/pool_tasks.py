"""Many tasks of one pool, each a future: handed in by the batch, resolved as their replies come.

Two threads, however many futures there are. One signs and commits what was submitted, as much at once
as has come together while the last commit was made. The other resolves: it is told of every entry that
the session's file takes, and callbacks of futures run in it.

What is committed goes out, and its reply comes back, whatever becomes of this process.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from concurrent.futures import Future
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from mcshell import forking, interrupts
from mcshell.client.messaging.tracker import CLOCK_LOOK
from mcshell.errors import ExecutorClosed, MCShellError, TaskError, UsageError
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mcshell.client.messaging.hub import SessionHub, Submission
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord

__all__ = ["PoolFuture", "PoolTasks"]

log = logging.getLogger(__name__)

_BATCH: Final = 500
"""Tasks that are signed and committed together."""
_GATHER: Final = 0.5
"""Seconds for which what is submitted in one go may wait for the rest of it."""
_PAUSE: Final = 0.005
"""Seconds without another task after which that is all of it."""
_LOOK: Final = 0.2
"""Seconds between two looks whether what is waited for can still come."""
_AT_EXIT: Final = 5.0
"""Seconds that the end of a process waits for the broker to have what was submitted."""


class PoolFuture(Future[dict[str, Any]]):
    """One task: its result is the outputs of its action, its exception a `TaskError`.

    `requestid`, `agent`, `action` and `inputs` (as they are kept: redacted where the DDL says so) are
    those of its request, by which it is found again in any process that has the session.
    """

    def __init__(self, tasks: PoolTasks, record: RequestRecord) -> None:
        super().__init__()
        self.record = record
        self.submission: Submission | None = None
        """What is to be committed; None once it is, or is not to be."""
        self._tasks = tasks
        self._process = forking.generation()

    @property
    def requestid(self) -> str:
        """The request's id, 32 hexadecimal digits."""
        return self.record.id

    @property
    def agent(self) -> str:
        """The agent asked."""
        return self.record.agent

    @property
    def action(self) -> str:
        """The action asked for."""
        return self.record.action

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs, as the session keeps them."""
        return dict(self.record.data)

    def cancel(self) -> bool:
        """Have it never run; whether that is so: True while nothing of it has gone out.

        What the broker has cannot be taken back: False, and its result comes.
        """
        if self.cancelled():
            return True
        if not self.done():
            self._tasks.withdraw([self])
        return self.cancelled()

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait (seconds) for the outputs.

        Raises:
            TaskError: it did not come out well; its `reply` is what the worker said.
            TimeoutError: nothing has come in that time.
            CancelledError: it was cancelled, and has not run.
        """
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait (seconds) for what `result` would raise, or None; raises as `result` does."""
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if self._state not in ("FINISHED", "CANCELLED", "CANCELLED_AND_NOTIFIED"):
            forking.check(self._process)  # nobody resolves it in a child

    def withdrawn(self) -> None:
        """It does not go out, and never will."""
        super().cancel()
        if self.cancelled():
            self.set_running_or_notify_cancel()

    def enter(self, entry: LedgerEntry, pool: str) -> None:
        """Take where its request stands, and so perhaps its end."""
        if entry.state in (State.RECEIVED, State.RUNNING):
            if not self.running():
                self.set_running_or_notify_cancel()
        elif entry.state is State.OK and entry.reply is not None:
            self.set_result(dict(entry.reply.data))
        else:
            said = entry.reply.statusmsg if entry.reply is not None else entry.reason
            where = entry.worker or f"pool {pool}"
            state = entry.state.value
            why = said if said.startswith(state) else f"{state}: {said}"
            text = f"{self.agent}.{self.action} on {where}: {why}"
            self.set_exception(TaskError(text, state, self.requestid, entry.reply))

    def abandon(self, session: str) -> None:
        """Nobody here waits for it any more; the work goes on."""
        text = (
            f"{self.agent}.{self.action}: the client was closed; what comes of request"
            f" {self.requestid[:8]} is kept in session {session}"
        )
        self.set_exception(TaskError(text, State.PENDING.value, self.requestid))


class PoolTasks:
    """The tasks that one session has for a pool.

    `task` makes one of "agent.action" and inputs, or raises what is wrong with them. `client` is whose
    they are: it stays open until the last is resolved.
    """

    def __init__(
        self,
        pool: str,
        hub: SessionHub,
        task: Callable[[str, Mapping[str, Any]], Submission],
        client: object,
    ) -> None:
        self.pool = pool
        self._client = client
        self._hub = hub
        self._task = task
        self._process = forking.generation()
        self._open: dict[str, PoolFuture] = {}
        """What is committed, or being so, and not resolved; whoever takes one out resolves it."""
        self._inbox: SimpleQueue[PoolFuture | threading.Event | None] = SimpleQueue()
        self._news: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._submitting = threading.Lock()
        """Guards whether it is closed, and that nothing is submitted behind the end."""
        self._committing = threading.RLock()
        """Held while a batch is committed: what is withdrawn is in it or not."""
        self._closed = False
        self._dropping = False
        self._ending = False
        self._lapses = math.inf
        """When the first of those that nobody has begun expires (epoch), or before."""
        self._threads: list[threading.Thread] = []

    def submit(self, what: str, rows: Iterable[Mapping[str, Any]]) -> list[PoolFuture]:
        """Hand in a task for each row of inputs; all of them, or none where one is wrong.

        Raises:
            UsageError: an unknown agent, action or input (InputError).
            ExecutorClosed: it takes no more.
        """
        forking.check(self._process)
        with interrupts.call():
            made = [self._future(self._task(what, row)) for row in rows]
            interrupts.check()  # what is handed in from here on goes out
            with self._submitting:
                self._begin()
                for future in made:
                    self._inbox.put(future)
            return made

    def _future(self, submission: Submission) -> PoolFuture:
        future = PoolFuture(self, submission.record)
        future.submission = submission
        return future

    def _begin(self) -> None:
        """Refuse what comes behind the end; start the threads with the first task."""
        if self._closed:
            raise ExecutorClosed("this executor was shut down: it takes no more tasks")
        parts = (("tasks", self._commit_all), ("results", self._resolve_all))
        if len(self._threads) == len(parts):
            return
        _all.add(self)
        self._hub.tell(self)
        for name, work in parts[len(self._threads) :]:
            thread = threading.Thread(target=work, name=f"mcshell-{name}", daemon=True)
            thread.start()  # there may be none for it now, and one with the next task
            self._threads.append(thread)

    # -- out

    def _commit_all(self) -> None:
        ended = False
        while not ended:
            some = [self._inbox.get()]
            self._gather()
            some += islice(self._waiting(), _BATCH - 1)
            ended = None in some
            if ended:
                some += self._waiting()
            self._commit([one for one in some if isinstance(one, PoolFuture)])
            for one in some:
                if isinstance(one, threading.Event):
                    one.set()
        self._ending = True
        self._wake()

    def _gather(self) -> None:
        """Leave the interpreter to whoever submits, while one comes upon the other."""
        waiting, end = 0, time.monotonic() + _GATHER
        while waiting < (waiting := self._inbox.qsize()) and time.monotonic() < end:
            time.sleep(_PAUSE)

    def _waiting(self) -> Iterator[PoolFuture | threading.Event | None]:
        """What is in the inbox now."""
        try:
            while True:
                yield self._inbox.get_nowait()
        except Empty:
            return

    def _commit(self, batch: list[PoolFuture]) -> None:
        with self._committing:
            if self._dropping:
                self._news.put(partial(self._withdrawn, batch))
                return
            tasks = [(one, one.submission) for one in batch if one.submission is not None]
            if not tasks:
                return
            self._watch(one for one, _submission in tasks)
            self._hand_in(tasks)
            for one, _submission in tasks:
                one.submission = None

    def _hand_in(self, tasks: list[tuple[PoolFuture, Submission]]) -> None:
        try:
            self._hub.submit([one for _future, one in tasks])
        except Exception as error:  # nothing of it is there: it is each future's
            if isinstance(error, UsageError) and len(tasks) > 1:
                for one in tasks:  # what is wrong with one of them is no fault of the others
                    self._hand_in([one])
                return
            if not isinstance(error, MCShellError):
                log.exception("%d tasks could not be handed in", len(tasks))
            self._news.put(partial(self._failed, [one for one, _ in tasks], error))

    def _watch(self, futures: Iterable[PoolFuture]) -> None:
        lapses = self._lapses
        for one in futures:
            self._open[one.requestid] = one
            lapses = min(lapses, one.record.expires)
        if lapses < self._lapses:
            self._lapses = lapses
            self._wake()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait (seconds) until the broker has all that was submitted: it needs nobody here any more.

        Raises:
            Stopped: Ctrl-C; it goes out all the same.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        with interrupts.call():
            if not self._committed(timeout):
                return False
            for one in list(self._open):
                while one in self._open and not self._hub.outbox.wait(one, _LOOK):
                    if time.monotonic() > end:
                        return False
            return True

    def _committed(self, timeout: float | None = None) -> bool:
        """Wait (seconds) until all that was submitted is committed."""
        done = threading.Event()
        with self._submitting:
            if not self._threads or self._ending:
                return True
            self._inbox.put(done)
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not done.is_set() and self._threads[0].is_alive():
            if time.monotonic() > end:
                return False
            interrupts.wait(done, _LOOK)
        return True

    # -- in

    def entered(self, entered: Iterable[tuple[str, LedgerEntry]]) -> None:
        """Take what was entered, with the requests' ids, and return at once."""
        some = [one for one in entered if one[0] in self._open]
        if some:
            self._news.put(partial(self._enter, some))

    def _resolve_all(self) -> None:
        while self._open or not self._ending:
            try:
                left = self._lapses - time.time()
                work = self._news.get(timeout=max(0.0, min(left, CLOCK_LOOK)))
            except Empty:
                work = self._lapse
            self._resolve(work)
        for work in iter(self._next_news, None):
            self._resolve(work)

    def _next_news(self) -> Callable[[], None] | None:
        return None if self._news.empty() else self._news.get()

    def _resolve(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException:  # a callback's, or a fault of ours: the others are resolved
            log.exception("a future could not be resolved")

    def _enter(self, entered: Iterable[tuple[str, LedgerEntry]]) -> None:
        target = f"pool:{self.pool}"
        for requestid, entry in entered:
            if entry.sender != target or (future := self._open.get(requestid)) is None:
                continue
            if entry.state.closed:
                del self._open[requestid]
            self._resolve(partial(future.enter, entry, self.pool))

    def _lapse(self) -> None:
        """Resolve those whose time is over, and which nobody has begun."""
        with self._committing:
            idle = [one for one in list(self._open.values()) if not one.running()]
            now = time.time()
            self._lapses = min(
                (one.record.expires for one in idle if one.record.expires >= now), default=math.inf
            )
        for one in idle:
            if one.record.expires < now and self._open.pop(one.requestid, None) is not None:
                text = "no reply before it expired"
                lapsed = TaskError(
                    f"{one.agent}.{one.action} in pool {self.pool}: expired: {text}",
                    State.EXPIRED.value,
                    one.requestid,
                )
                self._resolve(partial(one.set_exception, lapsed))

    def _failed(self, futures: Iterable[PoolFuture], error: Exception) -> None:
        for one in futures:
            if self._open.pop(one.requestid, None) is not None:
                self._resolve(partial(one.set_exception, error))

    def _withdrawn(self, futures: Iterable[PoolFuture]) -> None:
        for one in futures:
            self._resolve(one.withdrawn)

    def _wake(self) -> None:
        self._news.put(lambda: None)

    # -- taken back, looked back at

    def withdraw(self, futures: Iterable[PoolFuture]) -> None:
        """Cancel those of which nothing has gone out, for good; the others go on."""
        forking.check(self._process)
        gone: list[PoolFuture] = []
        with self._committing:
            kept: dict[str, PoolFuture] = {}
            for one in futures:
                if one.submission is not None:
                    one.submission = None
                    gone.append(one)
                elif one.requestid in self._open and not one.running():
                    kept[one.requestid] = one
            for requestid in self._hub.withdraw(kept) if kept else ():
                gone += filter(None, [self._open.pop(requestid, None)])
        for one in gone:
            one.withdrawn()
        self._wake()

    def futures(self) -> list[PoolFuture]:
        """All that this session has asked of the pool, in that order: resolved, or to be.

        One that is still open here is the very one that `submit` gave.
        """
        forking.check(self._process)
        with self._submitting:
            self._begin()
        self._committed()
        store = self._hub.session.store
        store.lapse(time.time())
        found: list[PoolFuture] = []
        with self._committing, self._hub.keeping:  # what comes now is entered behind this
            for record, entry in store.pool_tasks.kept(self.pool):
                known = self._open.get(record.id)
                future = PoolFuture(self, record) if known is None else known
                found.append(future)
                if known is not None:
                    continue
                if entry.unsent:
                    future.withdrawn()
                    continue
                if not entry.state.closed:
                    self._watch([future])
                if entry.state is not State.PENDING:
                    future.enter(entry, self.pool)
        return found

    # -- the end

    def shutdown(self, *, wait: bool, drop: bool) -> None:
        """Take no more. `drop`: cancel what can be. `wait`: until all of it is resolved."""
        if self._process != forking.generation():
            return
        self._dropping = self._dropping or drop
        with self._submitting:
            self.leave()
        if not self._threads:
            return
        self._join(0)
        if drop:
            self.withdraw(list(self._open.values()))
        if wait:
            self._join(1)

    def _join(self, number: int) -> None:
        """Wait for the end of a thread; in a callback it is the very thread that would wait."""
        for thread in self._threads[number : number + 1]:
            if thread is not threading.current_thread():
                thread.join()

    def leave(self) -> None:
        """Take no more, and end when the last is resolved. May be called anywhere, and twice."""
        if self._process == forking.generation():
            self._closed = True
            self._inbox.put(None)

    def abandon(self) -> None:
        """Commit what is there, and wait for nothing more: the client is closed."""
        with self._submitting:
            self.leave()
        if self._threads:
            self._join(0)
            self._news.put(self._abandon)
            self._join(1)

    def at_exit(self) -> None:
        """Have the broker have it, if that takes no time; what it has not goes out from the session."""
        if self._process == forking.generation() and self._open:
            self.flush(_AT_EXIT)

    def _abandon(self) -> None:
        session = self._hub.session.name
        while self._open:
            _requestid, future = self._open.popitem()
            self._resolve(partial(future.abandon, session))


_all: weakref.WeakSet[PoolTasks] = weakref.WeakSet()


def _at_exit() -> None:
    """What was submitted is not lost with a process that ends as if it had been done."""
    for tasks in list(_all):
        tasks.at_exit()


atexit.register(_at_exit)
