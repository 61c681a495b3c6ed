"""Jobs from the operator's side: `client.jobs` hands them in, and asks the nodes about them.

A job is handed in through the work queues, so it reaches nodes that are down when they are back.
Its id is that of the request: `submit` gives the replies to come, `received` once a node has the
job. Each run of a job that recurs is a request of its own in the session's history, made when its
first reply comes (`runs`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from mcshell import schedule, table
from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import TARGETING, RequestOptions, seconds_of, targeting_of
from mcshell.client.jobs.documents import JobDetails, JobEdit, job_of_rows
from mcshell.client.jobs.replies import JobReplies, forecast_columns, job_columns
from mcshell.client.jobs.times import read_when, revised
from mcshell.client.messaging.hub import Submission
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.records import JobDocument, RequestRecord
from mcshell.errors import NoTargets, UsageError, did_you_mean
from mcshell.message import Job, State, Via, new_request_id
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import is_old
from mcshell.wire.documents.job import condition
from mcshell.wire.documents.rule import signed_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from mcshell.client.discovery.methods import Finder
    from mcshell.client.discovery.targeting import Targeting
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.rpc.requester import Preview, Requester
    from mcshell.config import Settings
    from mcshell.ddl.library import Library
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["JobManager", "JobReplies"]

Names: TypeAlias = "list[str]"
Rows: TypeAlias = "list[dict[str, Any]]"

_TTL: Final = 7 * 86_400.0
_POLL: Final = 0.05
_FOLLOW: Final = 0.5
_QUIET: Final = 1.5
_ID: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
_GOING_ON: Final = ("running", "queued", "scheduled", "waiting")


class JobManager:
    """The jobs of one client; see `submit`."""

    def __init__(
        self,
        settings: Settings,
        hub: SessionHub,
        discovery: Finder,
        ddls: Library,
        requester: Requester,
        verifier: Verifier,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._discovery = discovery
        self._ddls = ddls
        self._requester = requester
        self._verifier = verifier

    # --- handing in ----------------------------------------------------------------------------

    def submit(
        self,
        agent: str,
        action: str,
        /,
        *,
        at: str | None = None,
        cron: str | None = None,
        every: float | str | None = None,
        tz: str = schedule.NODE,
        splay: float | str = 0.0,
        late: float | str | None = None,
        until: str | float | None = None,
        after: str | JobReplies | Iterable[str | JobReplies] = (),
        name: str = "",
        ttl: float | str | None = None,
        retries: int = 0,
        backoff: float | str = 60.0,
        max_runtime: float | str | None = None,
        timeout: float | str | None = None,
        inputs: Mapping[str, Any] | None = None,
        confirm: Callable[[Preview], bool] | None = None,
        **others: Any,
    ) -> JobReplies:
        """Hand a job in to the nodes that match, those that are down included; does not wait.

        Args:
            agent: the agent of each run.
            action: its action.
            at: wall time ("tomorrow 04:00", "2026-11-25 04:00") or "+2h"; default: at once.
            cron: five fields, such as "0 4 * * 1".
            every: a length, counted from `at` or from now on.
            tz: "node" for the zone of each node, or an IANA name.
            splay: spread the starts of the nodes over so long.
            late: how long after its time a start is still worth it (1 h; without a time: `ttl`).
            until: no start after that; what recurs ends after 90 days by default.
            after: jobs that have to end before: a job, "JOB:ok" (the same), ":failed", ":done".
            name: a name for people.
            ttl: how long the job may wait for a node that is down (7 d).
            retries: how often a failed run is tried again.
            backoff: the wait before the first retry; it doubles.
            max_runtime: in place of the DDL's timeout.
            timeout: how long to wait for the broker's confirmation.
            inputs: the action's inputs, for those whose names are taken by arguments.
            confirm: shown who is hit by an action that changes nodes, before anything is sent.
            others: the targeting of `Client.rpc`, and the action's inputs.

        Raises:
            UsageError: an unknown agent, action or input; no such time; a bad filter.
            NoTargets: no node matches.
        """
        targeting = targeting_in(others)
        lifetime = _TTL if ttl is None else seconds_of(ttl) or 0.0
        asked = {**(inputs or {}), **others}
        wait = seconds_of(timeout)
        ask = RequestOptions(
            agent=agent,
            action=action,
            data=asked,
            targeting=targeting,
            via=Via.QUEUE,
            ttl=lifetime,
            timeout=wait,
        )
        times = {"at": at, "cron": cron, "every": every, "tz": tz, "splay": splay, "late": late}
        job = replace(
            self._draft(ask, {**times, "until": until}),
            name=name,
            after=self._conditions(after),
            retries=retries,
            backoff=seconds_of(backoff) or 0.0,
            max_runtime=seconds_of(max_runtime),
        )
        return self._hand_in(job, ask, confirm)

    def _draft(self, ask: RequestOptions, times: Mapping[str, Any]) -> Job:
        """What is asked as a job of its own, with its inputs and times read."""
        data = self._ddls.get(ask.agent).action(ask.action).check(ask.data)
        now = time.time()
        return Job(
            id="",
            revision=1,
            author=self._hub.request_sender.caller,
            collective=ask.targeting.collective or self._settings.collective.main,
            session=self._hub.session.address,
            agent=ask.agent,
            action=ask.action,
            created=now,
            data=data,
            when=read_when(times, now, ask.ttl or 0.0),
        )

    def _hand_in(
        self, job: Job, ask: RequestOptions, confirm: Callable[[Preview], bool] | None
    ) -> JobReplies:
        """Send a job to the nodes that match, if that is confirmed."""
        requestid, nonce = new_request_id(job.author)
        job = replace(job, id=requestid)
        sealed = self._hub.request_sender.job(job)
        schema = self._ddls.get(job.agent).action(job.action)
        found = self._discovery.find(ask.targeting, job.agent)
        if not found.names:
            raise nobody(found, job.agent)
        if (
            confirm is not None
            and schema.changes
            and not confirm(self._requester.preview(ask, found))
        ):
            raise UsageError("not confirmed: nothing was sent")
        tracker = self._send(job, nonce, sealed, ask, found.names)
        replies = JobReplies(tracker, schema, outbox=self._hub.outbox)
        wait = self._settings.client.timeout if ask.timeout is None else ask.timeout
        replies.wait_confirmed(wait)
        return replies

    def _send(
        self,
        job: Job,
        nonce: str,
        sealed: SealedMessage,
        ask: RequestOptions,
        names: Sequence[str],
    ) -> RequestTracker:
        """Commit the job with what goes out, then have it sent."""
        hub, lifetime = self._hub, ask.ttl or 0.0
        record = RequestRecord(
            id=job.id,
            nonce=nonce,
            agent=job.agent,
            action=job.action,
            via=Via.QUEUE,
            collective=job.collective,
            created=job.created,
            expires=job.created + lifetime,
            filter=ask.targeting.filter,
            data=self._ddls.get(job.agent).action(job.action).redact(job.data),
        )
        request = replace(
            hub.request_sender.request(record, as_fields(sealed), lifetime),
            agent="job",
            action="submit",
        )
        document = JobDocument(sealed.body, secret=record.data != job.data)
        (tracker,) = hub.submit(
            [Submission(record=record, request=request, names=names, job=document)]
        )
        return tracker

    def _conditions(self, after: str | JobReplies | Iterable[str | JobReplies]) -> tuple[str, ...]:
        if isinstance(after, str | JobReplies):
            after = [after]
        found = []
        for one in after:
            word, _, need = (one.job if isinstance(one, JobReplies) else one).partition(":")
            text = f"{self.find(word)}:{need or 'ok'}"
            condition(text)
            found.append(text)
        return tuple(found)

    # --- changing ------------------------------------------------------------------------------

    def pause(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to start a job no more until it is resumed; a row a node."""
        return self._change("pause", job, targeting)

    def resume(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to let a paused job start again; a row a node."""
        return self._change("resume", job, targeting)

    def skip(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to leave out the next start of a job; a row a node."""
        return self._change("skip", job, targeting)

    def cancel(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to end a job, and what runs of it; a row a node."""
        return self._change("cancel", job, targeting)

    def edit(
        self,
        job: str | JobReplies,
        *,
        nodes: Any = None,
        targeting: Targeting | None = None,
        timeout: float | str | None = None,
        confirm: Callable[[JobEdit], bool] | None = None,
        **changes: Any,
    ) -> Replies:
        """Put a new revision in its place: any argument of `submit` about time, or inputs.

        It runs with the rights of whoever edits. What is not named stays as it was, as the author
        signed it: what a node says of a job is never signed. The job of another is signed only
        where `confirm`, shown what would run, says so; the results of its runs come to this
        session from then on.

        Raises:
            UsageError: no node shows it under its author's signature; it was not confirmed.
        """
        where = {"timeout": timeout, "nodes": nodes, "targeting": targeting}
        given = {name: value for name, value in where.items() if value is not None}
        old, body = self._document(job, **given)
        if "after" in changes:
            changes["after"] = self._conditions(changes["after"])
        schema = self._ddls.get(old.agent).action(old.action)
        fresh = revised(old, changes, schema, time.time())
        caller = self._hub.request_sender.caller
        foreign = old.author != caller
        if foreign:
            fresh = replace(fresh, author=caller, session=self._hub.session.address)
        shown = replace(fresh, data=schema.redact(fresh.data))
        change = JobEdit(old, shown, foreign, is_old(signed_part(body)))
        if (change.asks and confirm is None) or (confirm is not None and not confirm(change)):
            raise UsageError(f"not confirmed, nothing was sent: {change}")
        sealed = self._hub.request_sender.job(fresh)
        ask = self._question("edit", job, as_fields(sealed), given)
        document = JobDocument(sealed.body, secret=change.new.data != fresh.data)
        replies = self._requester.ask(ask, job=document)
        self.wait_quiet(replies, ask.timeout)
        return replies

    def _change(self, action: str, job: str | JobReplies, targeting: Mapping[str, Any]) -> Replies:
        ask = self._question(action, job, {}, targeting)
        replies = self._requester.ask(ask)
        self.wait_quiet(replies, ask.timeout)
        return replies

    def _question(
        self,
        action: str,
        job: str | JobReplies,
        data: Mapping[str, Any],
        targeting: Mapping[str, Any],
    ) -> RequestOptions:
        """Through the work queues, so that it comes after the job itself, also to who is down."""
        where = self._where(job, targeting)
        timeout = seconds_of(where.pop("timeout", None))
        return RequestOptions(
            agent="job",
            action=action,
            data={"job": self.find(job), **data},
            targeting=targeting_in(where),
            via=Via.QUEUE,
            wait=False,
            timeout=timeout,
        )

    # --- asking the nodes -----------------------------------------------------------------------

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
        """Ask the nodes for all about a job: its document, its history, its last result.

        Each row's `document` is what its author has signed, or None: then `unverified` says why.
        """
        wanted = self.find(job)
        replies = self._ask("show", {"job": wanted}, self._where(job, targeting))
        return JobDetails(replies, wanted, self._verifier)

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
            RequestOptions(
                agent="job",
                action=action,
                data=given,
                targeting=targeting_in(others),
                timeout=timeout,
            )
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

    def wait_quiet(self, replies: Replies, most: float | None = None) -> None:
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
        """The newest revision of a job: this session's, or what a node shows, as it was signed.

        Raises:
            UsageError: no node that answers has it, or shows it under its author's signature.
        """
        return self._document(job, **targeting)[0]

    def _document(self, job: str | JobReplies, **targeting: Any) -> tuple[Job, bytes]:
        wanted = self.find(job)
        kept = self._hub.session.store.jobs.get(wanted)
        if kept is not None and not kept.body:
            raise UsageError(f"job {wanted[:8]} has ended; its inputs are secret, and kept no more")
        if kept is not None:
            return kept.job, kept.body
        told = self._ask("show", {"job": wanted}, targeting)
        return job_of_rows(told.rows(), wanted, self._verifier)


def targeting_in(others: dict[str, Any]) -> Targeting:
    """Take the arguments about targets out of `others`; `targeting` is all of them at once."""
    if (whole := others.pop("targeting", None)) is not None:
        return cast("Targeting", whole)
    return targeting_of(**{key: others.pop(key) for key in TARGETING if key in others})
