"""What an operator asks the nodes about their jobs: where they stand, what they wrote, what will be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from mcshell import schedule, table
from mcshell.client.discovery.arguments import TARGETING, seconds_of, targeting_of
from mcshell.client.discovery.targeting import RequestOptions
from mcshell.client.jobs.replies import JobReplies
from mcshell.client.jobs.tables import forecast_columns, job_columns
from mcshell.client.rpc.replies import Replies
from mcshell.errors import NoTargets, UsageError, did_you_mean
from mcshell.message import State
from mcshell.wire.documents.job import job_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from mcshell.client.discovery.finder import Finder
    from mcshell.client.discovery.targeting import Targeting
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.rpc.requester import Requester
    from mcshell.config import Settings
    from mcshell.ddl.library import Library
    from mcshell.message import Job

__all__ = ["JobQueries", "targeting_in"]

Names: TypeAlias = "list[str]"
Rows: TypeAlias = "list[dict[str, Any]]"

_POLL: Final = 0.05
_FOLLOW: Final = 0.5
_QUIET: Final = 1.5
_ID: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
_GOING_ON: Final = ("running", "queued", "scheduled", "waiting")


class JobQueries:
    """Asks the nodes about jobs, for one client; nothing here changes a job."""

    def __init__(
        self,
        settings: Settings,
        hub: SessionHub,
        discovery: Finder,
        ddls: Library,
        requester: Requester,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._discovery = discovery
        self._ddls = ddls
        self._requester = requester

    def find(self, job: str | JobReplies) -> str:
        """The id of a job by its id, its first letters, its name, or what `submit` gave.

        One that this session has not handed in is asked for among the nodes.

        Raises:
            UsageError: there is no such job, or there are several.
        """
        if isinstance(job, JobReplies):
            return job.job
        known = self._hub.session.store.jobs.all()
        found = [one.id for one in known if one.id == job or (one.name and one.name == job)]
        found = found[-1:] or [one.id for one in known if one.id.startswith(job)]
        if len(found) == 1:
            return found[0]
        if len(job) == _ID and not set(job) - _HEX:
            return job
        found = found or self._elsewhere(job)
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"job {job!r} is ambiguous: {', '.join(one[:12] for one in found)}")
        near = did_you_mean(job, [one.name for one in known if one.name])
        raise UsageError(f"no job {job!r} in this session, nor on a node that answers{near}")

    def _elsewhere(self, job: str) -> Names:
        """The ids of jobs on nodes that have this name, or else begin so."""
        try:
            found = {one["job"] for one in self.rows(name=job)}
            if not found and not set(job) - _HEX:
                found = {one["job"] for one in self.rows(job)}
        except NoTargets:
            return []
        return sorted(found)

    def list(
        self, job: str = "", *, name: str | None = None, state: str | None = None, **targeting: Any
    ) -> pd.DataFrame:
        """Ask the nodes where their jobs stand: one row a node and job."""
        return table.frame(job_columns(self.rows(job, name=name, state=state, **targeting)))

    def rows(
        self, job: str = "", *, name: str | None = None, state: str | None = None, **targeting: Any
    ) -> Rows:
        """What `list` shows, without pandas; `job` is an id or its first letters."""
        data = {"job": job or None, "name": name, "state": state}
        replies = self._ask("list", data, targeting)
        return [
            {"sender": row.sender, **one}
            for row in replies.rows()
            for one in row.data.get("jobs", ())
        ]

    def show(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes for all about a job: its document, its history, its last result."""
        return self._ask("show", {"job": self.find(job)}, self._where(job, targeting))

    def replies(self, job: str | JobReplies) -> JobReplies:
        """What has come, and is to come, of a job that this session has handed in.

        Raises:
            UsageError: it has not.
        """
        record = self._hub.session.store.find_request(self.find(job))
        if record is None:
            raise UsageError(f"job {job} was not handed in from this session")
        action = self._ddls.get(record.agent).action(record.action)
        return JobReplies(self._hub.tracker(record), action, outbox=self._hub.outbox)

    def runs(self, job: str | JobReplies) -> Sequence[Replies]:
        """The runs of a job that recurs, as this session heard of them, the oldest first."""
        store = self._hub.session.store
        found = []
        for requestid, _run in store.jobs.runs(self.find(job)):
            record = store.find_request(requestid)
            assert record is not None, "it was kept with the run"
            action = self._ddls.get(record.agent).action(record.action)
            found.append(Replies(self._hub.tracker(record), action))
        return found

    def forecast(
        self, from_: str | float | None = None, within: float | str = 86_400.0, **targeting: Any
    ) -> pd.DataFrame:
        """Ask the nodes what will start when: one row a start, with `sure` and `conflict`."""
        return table.frame(forecast_columns(self.forecast_rows(from_, within, **targeting)))

    def forecast_rows(
        self, from_: str | float | None = None, within: float | str = 86_400.0, **targeting: Any
    ) -> Rows:
        """What `forecast` shows, without pandas, in the order of the starts."""
        if isinstance(from_, str):
            here = schedule.local_zone()
            wall, own = schedule.parse_at(from_, time.time(), here)
            from_ = schedule.instant(wall, schedule.zone_of(own or schedule.NODE, here))
        replies = self._ask("forecast", {"from": from_, "within": seconds_of(within)}, targeting)
        found = [
            {"sender": row.sender, **one}
            for row in replies.rows()
            for one in row.data.get("starts", ())
        ]
        return sorted(found, key=lambda one: (one["start"], one["sender"]))

    def log(
        self, job: str | JobReplies, node: str, *, run: str | None = None, follow: bool = False
    ) -> Iterator[str]:
        """What a run wrote to its standard streams, piece by piece; `follow`: until it ends."""
        offset = 0
        data = {"job": self.find(job), "run": run}
        while True:
            replies = self._ask("log", {**data, "offset": offset}, {"nodes": [node]})
            row = replies.rows()[0]
            if row.state is not State.OK:
                if follow and offset and row.state is State.SILENT:
                    continue
                raise UsageError(f"{node}: {row.statusmsg or row.state.value}")
            text, offset = row.data["text"], row.data["offset"]
            if text:
                yield text
            elif not follow or row.data["state"] not in _GOING_ON:
                return
            else:
                time.sleep(_FOLLOW)

    def progress(self, job: JobReplies) -> pd.DataFrame:
        """Ask the running targets of a job how far they are; the ledger says it from then on."""
        nodes = [one.sender for one in job.entries() if one.state is State.RUNNING]
        rows = self.rows(job.job, nodes=nodes) if nodes else []
        job.note_progress({one["sender"]: one["progress"] for one in rows})
        return job.ledger()

    def _ask(self, action: str, data: Mapping[str, Any], targeting: Mapping[str, Any]) -> Replies:
        others = dict(targeting)
        timeout = seconds_of(others.pop("timeout", None))
        given = {key: value for key, value in data.items() if value is not None}
        return self._requester.ask(
            RequestOptions("job", action, given, targeting_in(others), timeout=timeout)
        )

    def _where(self, job: str | JobReplies, targeting: Mapping[str, Any]) -> dict[str, Any]:
        """Whom to ask about a job: whoever is named, else those that it was handed in to."""
        if targeting.keys() - {"timeout"}:
            return dict(targeting)
        kept = self._hub.session.store.jobs.get(self.find(job))
        if kept is None:
            return {**targeting}
        entries = self._hub.session.store.entries(kept.request)
        return {**targeting, "nodes": [one.sender for one in entries if not one.unexpected]}

    def settle(self, replies: Replies, most: float | None = None) -> None:
        """Wait until every target has said something, or those that are there have.

        At most for `most` seconds, by default the settings' timeout.
        """
        end = time.monotonic() + (self._settings.client.timeout if most is None else most)
        heard, since = 0, time.monotonic()
        while (now := time.monotonic()) < end:
            states = [entry.state for entry in replies.entries()]
            silent = states.count(State.PENDING)
            if not silent:
                return
            if len(states) - silent != heard:
                heard, since = len(states) - silent, now
            elif heard and now - since > _QUIET:
                return
            time.sleep(_POLL)

    def document(self, job: str | JobReplies, **targeting: Any) -> Job:
        """The newest revision of a job: this session's, or what a node tells of it.

        Raises:
            UsageError: no node that answers has it.
        """
        wanted = self.find(job)
        kept = self._hub.session.store.jobs.get(wanted)
        if kept is not None:
            return kept.job
        for row in self.show(wanted, **targeting).rows():
            if row.data.get("document"):
                return job_of(row.data["document"])
        raise UsageError(f"no node that answers has the job {wanted}")


def targeting_in(others: dict[str, Any]) -> Targeting:
    """Take the arguments about targets out of `others`; `targeting` is all of them at once."""
    if (whole := others.pop("targeting", None)) is not None:
        return cast("Targeting", whole)
    return targeting_of(**{key: others.pop(key) for key in TARGETING if key in others})
