"""One run: what a script says happens, then all is mended, and the history of it is checked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcshell.client.store.store import SessionStore
from mcshell.errors import MCShellError
from mcshell.message import Via
from mcshell.node.audit.files import log_files
from mcshell.node.audit.verify import verify
from tests.history.checker import check
from tests.history.events import Asked, Confirmed, Ended, Event, Ran, Row
from tests.nemesis.script import ASKERS, NODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord
    from tests.nemesis.place import Place
    from tests.nemesis.script import Ask, Fault, Script

__all__ = ["Outcome", "run"]

OPEN: Final = ("pending", "received", "running")
LEAVING: Final = 60.0
"""Seconds for the askers to leave once all is mended; what they have not sent by then others send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. `worst` is the longest (seconds) that kept work waited for its last reply.

    `faults` are those of the history, then what else is wrong: counts, audit chains, mishaps.
    """

    faults: list[str]
    asked: int
    effects: int
    worst: float
    seconds: float
    states: Counter[str]
    history: list[Event] = field(repr=False)


def run(place: Place, script: Script) -> Outcome:
    """Let it all happen, mend it, wait for the end, and judge."""
    place.meet(script.seed)
    began = time.time()
    asked, mishaps = _live(place, script, began)
    place.leave(LEAVING)
    told = _Told(place, asked)
    try:
        _settle(place)
    except MCShellError as error:
        mishaps.append(f"unreachable: {error}")
    for asker in ASKERS:
        told.read(place.session_file(asker))
    history = told.history()
    wrong = [str(one) for one in check(history)]
    wrong += told.wrong
    wrong += mishaps
    wrong += (text for node in NODES for text in _audit(place, node))
    return Outcome(
        faults=wrong,
        asked=len(asked),
        effects=sum(isinstance(event, Ran) for event in history),
        worst=told.worst,
        seconds=time.time() - began,
        states=told.states,
        history=history,
    )


def _settle(place: Place) -> None:
    """Wait for the end, and have the nodes asked about what is open still once its time is over.

    Raises:
        MCShellError: no broker lets us into a session.
    """
    late = _waited(place)
    for asker in ASKERS:
        if late:
            # who asked has died, or its node
            time.sleep(max(0.0, late + 3.0 - time.time()))
        with place.reader(asker) as client:
            client.find_lost()


def _waited(place: Place) -> float:
    """Wait until everything that is kept has ended; the time at which what was not kept is over, or 0."""
    with ExitStack() as sessions:
        clients = [sessions.enter_context(place.reader(asker)) for asker in ASKERS]
        end = time.monotonic() + place.patience
        while any(map(_open, clients)) and time.monotonic() < end:
            time.sleep(0.2)
        requests = [one for client in clients for one in client.requests()]
        return max(
            (record.expires for record, counts in requests if _cut_off(record, counts)), default=0.0
        )


def _open(client: Client) -> bool:
    """Whether something that is kept has not ended; of runs of jobs: none of which a node has begun."""
    runs = client.session.store.jobs.run_ids()
    return any(
        counts.get(state)
        for record, counts in client.requests()
        if record.agent == "effect" and record.via in (Via.QUEUE, Via.POOL)
        for state in (OPEN[1:] if record.id in runs else OPEN)
    )


def _live(
    place: Place, script: Script, began: float
) -> tuple[dict[str, tuple[Ask, float]], list[str]]:
    """The calls that were made, by tag, and what went wrong in breaking things."""
    mishaps: list[str] = []
    # what is mended late must not be broken meanwhile
    locks = {one.part: threading.Lock() for one in script.faults}
    threads = [
        threading.Thread(target=_break, args=(place, one, locks[one.part], began, mishaps))
        for one in script.faults
    ]
    for thread in threads:
        thread.start()
    asked = {}
    for ask in script.work:
        time.sleep(max(0.0, began + ask.at - time.time()))
        now = time.time()
        if place.put(ask):
            asked[ask.tag] = (ask, now)
    for thread in threads:
        thread.join()
    return asked, mishaps


def _break(
    place: Place, fault: Fault, lock: threading.Lock, began: float, mishaps: list[str]
) -> None:
    time.sleep(max(0.0, began + fault.at - time.time()))
    try:
        with lock, place.broken(fault):
            time.sleep(fault.lasts)
    except Exception as error:  # noqa: BLE001 - it is told with the verdict
        mishaps.append(f"mishap: {fault}: {error!r}")


class _Told:
    """What askers, effects and sessions say, as events by tag; a job's runs are requests of their own.

    A run's row stays pending for a week where its node slept through the start: others have run it,
    this one tells of the newest start only. It counts as a row where the node has an effect.
    """

    def __init__(self, place: Place, asked: dict[str, tuple[Ask, float]]) -> None:
        self._place = place
        self._asked = asked
        self._rows: list[Row] = []
        self._runs: dict[str, tuple[str, set[str]]] = {}
        """Of each run of a job that was seen: the tag of the job, and its targets."""
        self._ran: list[Ran] = []
        self._did: set[tuple[str, str]] = set()
        self.states: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.worst = 0.0

    def read(self, path: Path) -> None:
        """Take down each row of a session file."""
        self._ran = list(self._effects())
        self._did = {(one.request, one.node) for one in self._ran}
        with closing(SessionStore(path)) as store:
            runs = store.jobs.run_ids()
            for record, counts in store.requests():
                if record.agent != "effect":
                    continue
                if store.jobs.get(record.id) is None:
                    entries = store.entries(record.id)
                    self._read_request(record, entries, counts, is_run=record.id in runs)
                elif left := [state for state in OPEN if counts.get(state)]:
                    # of a job that recurs there are its runs
                    self.wrong.append(f"unfinished: the job {record.data['tag']} is {left}")

    def _read_request(
        self,
        record: RequestRecord,
        entries: Sequence[LedgerEntry],
        counts: Mapping[str, int],
        *,
        is_run: bool,
    ) -> None:
        rows = [(one.worker or one.sender, str(one.state)) for one in entries]
        sums = Counter(str(one.state) for one in entries if not one.unexpected)
        said = {str(state): n for state, n in counts.items() if n and state != "unexpected"}
        if dict(sums) != said:
            self.wrong.append(f"sum: {record.id} has {dict(sums)}, its counts are {said}")
        tag = str(record.data["tag"])
        if is_run:
            name = _run_name(tag, record.id)
            rows = [one for one in rows if one[1] != "pending" or (name, one[0]) in self._did]
            tag = self._run(record.id, tag, [sender for sender, _state in rows])
        now = time.time()
        self._rows += [Row(request=tag, node=sender, state=state, at=now) for sender, state in rows]
        self.states.update(f"{record.via} {state}" for _sender, state in rows)
        if record.via in (Via.QUEUE, Via.POOL) and not is_run:
            ends = [one.done for one in entries if one.done is not None]
            self.worst = max([self.worst, *(end - record.created for end in ends)])

    def _run(self, requestid: str, tag: str, senders: Iterable[str]) -> str:
        """The name that a run of a job has in the history."""
        name = _run_name(tag, requestid)
        self._runs.setdefault(name, (tag, set()))[1].update(senders)
        return name

    def _effects(self) -> Iterator[Ran]:
        for path in sorted((self._place.fleet.folder / "effects").iterdir()):
            for line in path.read_text().splitlines():
                effect = json.loads(line)
                tag = effect["tag"]
                if not tag.startswith(f"{self._place.seed}-"):
                    continue  # of an earlier run in this place
                if tag in self._asked and self._asked[tag][0].via == "job":
                    tag = self._run(effect["id"], tag, [path.name])
                yield Ran(request=tag, node=path.name, attempt=1, at=effect["at"])

    def history(self) -> list[Event]:
        """All events, in the order of time."""
        events: list[Event] = [*self._ran]
        for tag, (ask, at) in self._asked.items():
            if ask.via != "job":
                events.append(_asked(tag, ask, ask.targets, at))
        for name, (tag, targets) in self._runs.items():
            ask, at = self._asked[tag]
            events.append(_asked(name, ask, tuple(sorted(targets)), at))
        notes = [note for asker in ASKERS for note in self._place.notes(asker)]
        events += [
            Confirmed(request=note["tag"], at=note["at"])
            for note in notes
            if note["event"] == "confirmed" and self._asked[note["tag"]][0].via != "job"
        ]
        events += self._rows
        events.sort(key=lambda event: event.at)
        return [*events, Ended(at=time.time())]


def _cut_off(record: RequestRecord, counts: Mapping[str, int]) -> bool:
    """Whether an interactive request has a target that is open still."""
    return record.agent == "effect" and not record.via.durable and any(map(counts.get, OPEN))


def _run_name(tag: str, requestid: str) -> str:
    return f"{tag}/{requestid[:8]}"


def _asked(name: str, ask: Ask, targets: tuple[str, ...], at: float) -> Asked:
    return Asked(
        request=name,
        targets=targets,
        via=ask.via,
        rerun_safe=ask.action == "again",
        at=at,
        may_expire=ask.via == "job",  # a start that a node slept through is missed
    )


def _audit(place: Place, node: str) -> Iterator[str]:
    """What is wrong with a node's audit log."""
    path = place.fleet.folder / f"state-{node}" / "node" / "audit.jsonl"
    found = verify(log_files(path), {})
    if found.broken is not None:
        yield f"audit: {node}: {found.broken}"
