"""Which job is meant, who has it, and what is known of it where nobody answers."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

from mcshell import schedule
from mcshell.client.arguments import seconds_of
from mcshell.client.discovery.targeting import (
    TARGETING,
    RequestOptions,
    Targeting,
    narrowed,
    plain_names,
    targeting_of,
)
from mcshell.client.jobs.replies import FORECAST, JOBS, JobReplies, listed, unheard
from mcshell.client.jobs.times import first_start
from mcshell.client.rpc.replies import Row
from mcshell.client.session.session import stores
from mcshell.errors import NoTargets, UsageError, did_you_mean
from mcshell.filters.nodes import fold
from mcshell.message import Filter, State, Via
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from mcshell.client.discovery.methods import Finder
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Requester
    from mcshell.client.store.jobs import KeptJob
    from mcshell.client.store.store import SessionStore
    from mcshell.config import Settings
    from mcshell.message import Job
    from mcshell.schedule import Start

__all__ = ["ID_LENGTH", "JobFinder", "targeting_in"]

ID_LENGTH: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
_MOST: Final = 1000
_MORE: Final = f"more than {_MOST:,} starts of one job: those from here on are not shown"
_UNASKED: Final = "not asked: it was not seen lately"
_SHORT: Final = 8  # letters of an id that say which is meant


def targeting_in(others: dict[str, Any]) -> Targeting:
    """Take the arguments about targets out of `others`; `targeting` is all of them at once."""
    if (whole := others.pop("targeting", None)) is not None:
        return cast("Targeting", whole)
    return targeting_of(**{key: others.pop(key) for key in TARGETING if key in others})


def _targeting_only(others: dict[str, Any]) -> Targeting:
    """As `targeting_in`, where there is nothing else to give: raises UsageError for what is no such argument."""
    found = targeting_in(others)
    return targeting_of(**others) if others else found


@dataclass(frozen=True, slots=True)
class JobFinder:
    """Asks the nodes about their jobs, for one client."""

    settings: Settings
    hub: SessionHub
    discovery: Finder
    requester: Requester

    def ask(self, action: str, data: Mapping[str, Any], where: Mapping[str, Any]) -> Replies:
        """Ask an action of the agent `job` that changes nothing."""
        others = dict(where)
        timeout = seconds_of(others.pop("timeout", None))
        return self.requester.ask(
            RequestOptions(
                agent="job",
                action=action,
                data={key: value for key, value in data.items() if value is not None},
                targeting=_targeting_only(others),
                timeout=timeout,
            )
        )

    # --- which job ------------------------------------------------------------------------------

    def find(self, job: str | JobReplies) -> str:
        """The id of a job by its id, its first letters, its name, or what `submit` gave.

        One that this session has not handed in is asked for among the nodes, then looked for in the
        other sessions of this machine.

        Raises:
            UsageError: there is no such job, or there are several.
        """
        if isinstance(job, JobReplies):
            return job.job
        known = self.hub.session.store.jobs.all()
        found = _meant(job, known)
        if not found and len(job) == ID_LENGTH and not set(job) - _HEX:
            return job
        found = found or self._elsewhere(job)
        if len(found) == 1:
            self.tell_namesakes(job, found[0])
            return found[0]
        if found:
            raise UsageError(f"job {job!r} is ambiguous: {', '.join(one[:12] for one in found)}")
        near = did_you_mean(job, [one.name for one in known if one.name])
        raise UsageError(f"no job {job!r} in this session, nor on a node that answers{near}")

    def tell_namesakes(self, name: str, job: str) -> None:
        """Tell the operator of jobs of that name that are not over, beside the one that it means."""
        store = self.hub.session.store
        others = [
            one.id[:_SHORT]
            for one in store.jobs.all()
            if one.name == name and one.id != job
            if any(entry.asked and not entry.state.final for entry in store.entries(one.request))
        ]
        if others:
            self.hub.notices.append(
                f"job {name!r} is {job[:_SHORT]}, the newest of that name; not over either:"
                f" {', '.join(others)}"
            )

    def _elsewhere(self, job: str) -> list[str]:
        """The ids of jobs on nodes, or else in other sessions, of this name, or else begun so."""
        try:
            found = self._told({"name": job})
            if not found and not set(job) - _HEX:
                found = self._told({"job": job})
        except NoTargets:
            found = set()
        if not found:
            for store in self._others():
                found.update(_meant(job, store.jobs.all()))
        return sorted(found)

    def _told(self, data: Mapping[str, str]) -> set[str]:
        replies = self.ask("list", data, {})
        word = next(iter(data.values()))
        return {
            str(one["job"])
            for one in listed(replies, "jobs", JOBS)
            if one.get("job") and (one.get("name") == word or one["job"].startswith(word))
        }

    def _others(self) -> Iterator[SessionStore]:
        """The other sessions of this caller on this machine."""
        session = self.hub.session
        for store in stores(self.settings.state_dir):
            mine = store.meta("caller") == self.hub.request_sender.caller
            if mine and store.path != session.path:
                yield store

    # --- who has it -----------------------------------------------------------------------------

    def handed_to(self, job: str) -> list[str]:
        """Whom a session of this machine has handed a job in to; nobody when none has.

        A queued request is a job too, on those who have not ended it.
        """
        return self._handed_in(job)[0]

    def _handed_in(self, job: str) -> tuple[list[str], str | None]:
        """The same, and in which collective that was."""
        for store in chain([self.hub.session.store], self._others()):
            if (kept := store.jobs.get(job)) is not None:
                entries = store.entries(kept.request)
                names = [one.sender for one in entries if one.asked]
                record = store.find_request(kept.request)
                return names, None if record is None else record.collective
            record = store.find_request(job)
            if record is not None and record.via is Via.QUEUE:
                entries = store.entries(record.id)
                names = [one.sender for one in entries if one.asked and not one.state.final]
                return names, record.collective
        return [], None

    def where(self, job: str, where: Mapping[str, Any]) -> dict[str, Any]:
        """Whom to ask about a job: who is named; else those, of all that are meant, that have it.

        Raises:
            NoTargets: no node has it.
        """
        others = dict(where)
        timeout = others.pop("timeout", None)
        wanted = _targeting_only(others)
        some = narrowed(wanted)
        handed, collective = self._handed_in(job)
        wanted = replace(wanted, collective=wanted.collective or collective)
        if wanted.nodes is not None or plain_names(wanted.filter):
            return {"targeting": wanted, "timeout": timeout}
        if handed and some:
            meant = set(self.discovery.find(wanted, "job").names)
            names = [name for name in handed if name in meant]
        else:
            names = handed or self._holders(job, {"targeting": wanted, "timeout": timeout})
        if not names:
            raise NoTargets(f"no node that is meant and answers has the job {job[:8]}")
        chosen = replace(
            wanted, nodes=tuple(names), filter=Filter(), source="broadcast", source_options=()
        )
        return {"targeting": chosen, "timeout": timeout}

    def _holders(self, job: str, where: Mapping[str, Any]) -> list[str]:
        """The nodes that say they have a job; of the silent the operator is told."""
        rows = self.ask("list", {"job": job}, where).rows()
        if silent := [row.sender for row in rows if row.state is State.SILENT]:
            self.hub.notices.append(
                f"no answer from {fold(silent)}: whether they have the job {job[:8]} is not known"
            )
        return [row.sender for row in rows if row.data.get("jobs")]

    # --- what is known where nobody answers -----------------------------------------------------

    def zone(self, sender: str, collective: str = "") -> tzinfo | None:
        """The zone of a node, by what it last said of itself."""
        main = collective or self.settings.collective.main
        node = self.requester.known.node(main, sender)
        name = str(node.facts.get("timezone") or "") if node is not None else ""
        try:
            return schedule.zone_of(name) if name else None
        except UsageError:
            return None

    def zones(self, senders: Sequence[str], collective: str = "") -> set[tzinfo]:
        """The zones of these nodes; of those that nobody knows it is taken to be ours."""
        local = schedule.local_zone()
        return {self.zone(sender, collective) or local for sender in senders}

    def first_start(self, job: Job, sender: str, after: float | None = None) -> Start | None:
        """The first start of a job, or that after `after` (epoch), on a node whose zone is known."""
        zone = self.zone(sender, job.collective)
        if zone is None and job.when.tz == schedule.NODE and (job.when.at or job.when.cron):
            return None
        return first_start(job, sender, zone or schedule.local_zone(), after)

    def silent(
        self, replies: Replies, where: Mapping[str, Any], job: str = "", name: str | None = None
    ) -> list[Row]:
        """Those who told nothing, and those who were not asked, as nobody knows them, and have a job.

        Who was handed a job before he was first seen, or too long ago, is meant where all are meant.
        """
        rows = unheard(replies)
        wanted = targeting_in(dict(where))
        if narrowed(wanted) or not wanted.known or wanted.source != Targeting().source:
            return rows
        main, asked = self.settings.collective.main, {row.sender for row in replies.rows()}
        for sender, jobs in self._known(None, job).items():
            meant = [one for one in jobs if one.collective == main and name in (None, one.name)]
            if meant and sender not in asked:
                silent = State.SILENT
                rows.append(Row(sender=sender, state=silent, statuscode=None, statusmsg=_UNASKED))
        return rows

    def _known(self, senders: Collection[str] | None, only: str) -> dict[str, list[Job]]:
        """The jobs that the sessions here have handed in to nodes and that have not ended there."""
        found: dict[str, list[Job]] = {name: [] for name in senders or ()}
        for store in chain([self.hub.session.store], self._others()):
            for kept in store.jobs.all():
                if not kept.body or only not in ("", kept.id):
                    continue
                newest = {one.sender: one.job for one in store.jobs.revisions(kept.id)}
                for entry in store.entries(kept.request):
                    mine = senders is None or entry.sender in found
                    if mine and entry.asked and not entry.state.final:
                        jobs = found.setdefault(entry.sender, [])
                        jobs.append(newest.get(entry.sender, kept.job))
        return found

    def unheard(
        self, rows: Sequence[Row], job: str = "", name: str | None = None
    ) -> list[dict[str, Any]]:
        """The rows of nodes that told nothing, in the table of jobs: what we know."""
        known = self._known({row.sender for row in rows}, job) if rows else {}
        found: list[dict[str, Any]] = []
        for row in rows:
            common = {"sender": row.sender, "state": row.state.value, "progress": row.statusmsg}
            nothing = {**dict.fromkeys((*JOBS, "name")), "job": job or None}
            jobs = [one for one in known[row.sender] if name in (None, one.name)]
            stands = [self._stand(one, row.sender) for one in jobs]
            found += [{**nothing, **one, **common} for one in stands or [{}]]
        return found

    def _stand(self, job: Job, sender: str) -> dict[str, Any]:
        start = self.first_start(job, sender, time.time())
        about = {"job": job.id, "name": job.name, "revision": job.revision, "owner": job.author}
        about |= {"agent": job.agent, "action": job.action}
        return {**about, "next": None if start is None else start.due}

    def unheard_starts(
        self, rows: Sequence[Row], window: tuple[float, float]
    ) -> list[dict[str, Any]]:
        """The same in a forecast: starts by our own arithmetic, none of them sure."""
        known = self._known({row.sender for row in rows}, "") if rows else {}
        found: list[dict[str, Any]] = []
        for row in rows:
            why = f"{row.state.value}: {row.statusmsg}"
            common = {"sender": row.sender, "sure": False, "conflict": False, "why": why}
            starts = [one for job in known[row.sender] for one in self._starts(job, row, window)]
            for one in starts or [{}]:
                more = {"why": f"{why}; {one['why']}"} if "why" in one else {}
                found.append({**dict.fromkeys(FORECAST), **one, **common, **more})
        return found

    def _starts(self, job: Job, row: Row, window: tuple[float, float]) -> Iterator[dict[str, Any]]:
        about = {"job": job.id, "name": job.name, "agent": job.agent, "action": job.action}
        begin, end = window
        after = begin - schedule.delay(job.when, f"{job.id}/{row.sender}") - 1
        start = self.first_start(job, row.sender, after)
        until = math.inf if job.when.until is None else job.when.until
        for _number in range(_MOST):
            if start is None or start.due >= end or start.due > until:
                return
            if start.due >= begin:
                yield {**about, "start": start.due}
            start = self.first_start(job, row.sender, start.planned) if job.when.recurs else None
        if start is not None and start.due < end and start.due <= until:
            yield {**about, "start": start.due, "why": _MORE}


def _meant(job: str, known: Sequence[KeptJob]) -> list[str]:
    """The ids of those that are meant: the newest of this name, else all that begin so."""
    found = [one.id for one in known if one.id == job or (one.name and one.name == job)]
    return found[-1:] or [one.id for one in known if one.id.startswith(job)]
