"""Jobs from the operator's side: `client.jobs` hands them in, and asks the nodes about them.

A job is handed in through the work queues, so it reaches nodes that are down when they are back.
Its id is that of the request: `submit` gives the replies to come, `received` once a node has the
job. Each run of a job that recurs is a request of its own in the session's history, made when its
first reply comes (`runs`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell import interrupts, schedule, table
from mcshell.client.arguments import checks_methods, seconds_of
from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions, takes_inputs
from mcshell.client.jobs.documents import Confirm, JobDetails, JobEdit, JobRevisions, in_force
from mcshell.client.jobs.finder import ID_LENGTH, JobFinder, targeting_in
from mcshell.client.jobs.log import read_log
from mcshell.client.jobs.replies import (
    FORECAST,
    JOBS,
    JobReplies,
    JobsTold,
    forecast_columns,
    job_columns,
    left_out,
    listed,
    unfit,
)
from mcshell.client.jobs.times import (
    JobTerms,
    first_start,
    moment_of,
    read_when,
    refuse_past,
    revised,
    terms_in,
)
from mcshell.client.messaging.hub import Submission
from mcshell.client.origin import noted
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.records import JobDocument, RequestRecord
from mcshell.errors import UsageError
from mcshell.message import Filter, Job, State, Via, new_request_id
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import is_old
from mcshell.wire.documents.job import condition, refuse_circle
from mcshell.wire.documents.rule import signed_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from mcshell.client.arguments import Duration
    from mcshell.client.discovery.methods import Finder
    from mcshell.client.discovery.targeting import Targeting
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.rpc.requester import Preview, Requester
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["JobManager", "JobReplies"]

Rows: TypeAlias = "list[dict[str, Any]]"

_POLL: Final = 0.05
_QUIET: Final = 1.5
_FEWER_JOBS: Final = (
    "it has more jobs than it lists: ask for one, or for those of one state or name"
)
_FEWER_STARTS: Final = "it has more starts than it lists: ask from later on, or for a shorter time"


@checks_methods
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
        self._finder = JobFinder(settings, hub, discovery, requester)

    @interrupts.call()
    @takes_inputs(*JobTerms.__dataclass_fields__)
    def submit(
        self,
        agent: str,
        action: str,
        /,
        *,
        ttl: Duration | None = None,
        timeout: Duration | None = None,
        inputs: Mapping[str, Any] | None = None,
        confirm: Callable[[Preview], bool] | None = None,
        **others: Any,
    ) -> JobReplies:
        """Hand a job in to the nodes that match, those that are down included; does not wait.

        Args:
            agent: the agent of each run.
            action: its action.
            ttl: how long the job may wait for a node that is down (7 d).
            timeout: how long to wait for the broker's confirmation.
            inputs: the action's inputs, for those whose names are taken by arguments.
            confirm: shown who is hit by an action that changes nodes, before anything is sent.
            others: what the job says of itself (`JobTerms`), the targeting of `Client.rpc`, and the
                action's inputs.

        Raises:
            UsageError: an unknown agent, action or input; no such time, or one that is past; a bad
                filter.
            NoTargets: no node matches.
        """
        terms, targeting = terms_in(others), targeting_in(others)
        ask = RequestOptions(
            agent=agent,
            action=action,
            data={**(inputs or {}), **others},
            targeting=targeting,
            via=Via.QUEUE,
            ttl=self._requester.ttl_of(seconds_of(ttl)),
            timeout=seconds_of(timeout),
        )
        return self._hand_in(self._draft(ask, terms), ask, confirm)

    def _draft(self, ask: RequestOptions, terms: JobTerms) -> Job:
        """What is asked as a job of its own, with its inputs and terms read."""
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
            when=read_when(terms.times, now, ask.ttl or 0.0),
            name=terms.name,
            after=self._conditions(terms.after),
            retries=terms.retries,
            backoff=seconds_of(terms.backoff) or 0.0,
            max_runtime=seconds_of(terms.max_runtime),
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
        refuse_past(job.when, job.created, self._finder.zones(found.names, job.collective))
        if (
            confirm is not None
            and schema.changes
            and not self._requester.confirmed(confirm, ask, found)
        ):
            raise UsageError("not confirmed: nothing was sent")
        record = RequestRecord(
            id=job.id,
            nonce=nonce,
            agent=job.agent,
            action=job.action,
            via=Via.QUEUE,
            collective=job.collective,
            created=job.created,
            expires=job.created + (ask.ttl or 0.0),
            filter=ask.targeting.filter,
            data=schema.redact(job.data),
            options=noted({}),
        )
        document = JobDocument(sealed.body, secret=record.data != job.data)
        each = dict.fromkeys(found.names, as_fields(sealed))
        replies = self._send(record, "submit", each, [document], schema, found.unheard)
        if job.name:
            self._finder.tell_namesakes(job.name, job.id)
        wait = self._settings.client.timeout if ask.timeout is None else ask.timeout
        replies.wait_confirmed(wait)
        return replies

    def _send(
        self,
        record: RequestRecord,
        action: str,
        each: Mapping[str, Mapping[str, Any]],
        documents: Sequence[JobDocument],
        schema: Action,
        unheard: Sequence[str] = (),
    ) -> JobReplies:
        """Commit what goes out to each node, with the documents in it, then have it sent."""
        hub, ttl = self._hub, record.expires - record.created
        request = replace(hub.request_sender.request(record, {}, ttl), agent="job", action=action)
        one = Submission(
            record=record,
            request=request,
            names=list(each),
            inputs=each,
            jobs=documents,
            unheard=unheard,
        )
        (tracker,) = hub.submit([one])
        return JobReplies(tracker, schema, outbox=hub.outbox, client=self._requester.client)

    def first_starts(self, replies: JobReplies) -> tuple[dict[str, float | None], str]:
        """When a job of this session starts first on each of its nodes (epoch), or else in words.

        None where it waits for another job, or where a node's zone counts and is not known.
        """
        kept = self._hub.session.store.jobs.get(replies.job)
        names = [one.sender for one in replies.entries() if not one.left_out]
        if kept is None or not kept.body:
            return dict.fromkeys(names), ""
        job = kept.job
        if job.after:
            return dict.fromkeys(names), f"it starts after {', '.join(job.after)}"
        found = {name: self._finder.first_start(job, name) for name in names}
        starts = {name: None if one is None else one.due for name, one in found.items()}
        start = first_start(job, "", schedule.local_zone())
        if start is None or None not in starts.values():
            return starts, ""
        return starts, f"first start {start.name}, by the clock of each node"

    def _conditions(self, after: str | JobReplies | Iterable[str | JobReplies]) -> tuple[str, ...]:
        if isinstance(after, str | JobReplies) or not isinstance(after, Iterable):
            after = [after]
        found = []
        for one in after:
            if not isinstance(one, str | JobReplies):
                raise UsageError(f"after {one!r}: the name, id or replies of a job are meant")
            word, _, need = (one.job if isinstance(one, JobReplies) else one).partition(":")
            text = f"{self.find(word)}:{need or 'ok'}"
            condition(text)
            found.append(text)
        return tuple(found)

    def pause(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to start a job no more until it is resumed; a row a node.

        A run under way goes on.
        """
        return self._change("pause", job, targeting)

    def resume(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes to let a paused job start again; a row a node.

        A job that recurs goes on with its next start: what has passed is not made up for. One that
        starts once starts now if its time has passed by no more than `late`, else it is missed.
        """
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
        timeout: Duration | None = None,
        confirm: Confirm | None = None,
        **changes: Any,
    ) -> Replies:
        """Put a new revision in its place: any of `JobTerms`, or inputs; a row a node.

        It runs with the rights of whoever edits. What is not named stays as it is on each node, as
        the author signed it: what a node says of a job is never signed. The job of another is signed
        only where `confirm`, shown what would run, says so; the results of its runs come to this
        session from then on.

        Raises:
            UsageError: no node shows it under its author's signature; a time that is past; it was
                not confirmed.
        """
        where = {"timeout": timeout, "nodes": nodes, "targeting": targeting}
        given = {name: value for name, value in where.items() if value is not None}
        return self.put_edit(self.revisions(job, **given), confirm, **changes)

    @interrupts.call()
    def revisions(self, job: str | JobReplies, **targeting: Any) -> JobRevisions:
        """The job as it stands on each of the nodes that an edit would be for, for `put_edit`.

        Raises:
            UsageError: no node shows it under its author's signature.
        """
        wanted = self.find(job)
        where = self._finder.where(wanted, targeting)
        rows = self._finder.ask("show", {"job": wanted}, where).rows()
        kept = self._hub.session.store.jobs
        bases = in_force(rows, wanted, self._verifier, kept.get(wanted), kept.revisions(wanted))
        return JobRevisions(wanted, where["targeting"], seconds_of(where["timeout"]), bases)

    @interrupts.call()
    def put_edit(
        self, old: JobRevisions, confirm: Confirm | None = None, **changes: Any
    ) -> Replies:
        """Put new revisions in the place of `old`, and wait for those that are there; see `edit`."""
        if "after" in changes:
            changes["after"] = self._conditions(changes["after"])
            refuse_circle(old.id, changes["after"], self._awaited)
        edits = {body: self._revise(base, body, changes) for base, body in old.bases.values()}
        zones = self._finder.zones(list(old.bases), old.targeting.collective or "")
        for change in edits.values():
            if change.new.when != change.old.when:
                refuse_past(change.new.when, time.time(), zones)
            shown = replace(change, new=self._redacted(change.new))
            if (shown.asks and confirm is None) or (confirm is not None and not confirm(shown)):
                raise UsageError(f"not confirmed, nothing was sent: {shown}")
        sealed = {body: self._hub.request_sender.job(change.new) for body, change in edits.items()}
        documents = [
            JobDocument(sealed[body].body, secret=self._redacted(change.new) != change.new)
            for body, change in edits.items()
        ]
        each = {
            name: {"job": old.id, **as_fields(sealed[body])}
            for name, (_base, body) in old.bases.items()
        }
        replies = self._send_edit(old, each, documents)
        self.wait_quiet(replies, old.timeout)
        return replies

    def _redacted(self, job: Job) -> Job:
        return replace(job, data=self._ddls.get(job.agent).action(job.action).redact(job.data))

    def _awaited(self, job: str) -> list[str]:
        """The jobs that one waits for, as far as this session knows."""
        kept = self._hub.session.store.jobs.get(job)
        return [condition(one)[0] for one in kept.job.after] if kept and kept.body else []

    def _revise(self, old: Job, body: bytes, changes: Mapping[str, Any]) -> JobEdit:
        """The next revision of one that is in force somewhere."""
        schema = self._ddls.get(old.agent).action(old.action)
        fresh = revised(old, changes, schema, time.time())
        caller = self._hub.request_sender.caller
        foreign = old.author != caller
        if foreign:
            fresh = replace(fresh, author=caller, session=self._hub.session.address)
        return JobEdit(old, fresh, foreign, is_old(signed_part(body)))

    def _send_edit(
        self,
        old: JobRevisions,
        each: Mapping[str, Mapping[str, Any]],
        documents: Sequence[JobDocument],
    ) -> Replies:
        schema = self._ddls.get("job").action("edit")
        requestid, nonce = new_request_id(self._hub.request_sender.caller)
        now = time.time()
        record = RequestRecord(
            id=requestid,
            nonce=nonce,
            agent="job",
            action="edit",
            via=Via.QUEUE,
            collective=old.targeting.collective or self._settings.collective.main,
            created=now,
            expires=now + self._requester.ttl_of(None),
            filter=Filter(),
            data=schema.redact(next(iter(each.values()))),
            options=noted({}),
        )
        return self._send(record, "edit", each, documents, schema)

    @interrupts.call()
    def _change(self, action: str, job: str | JobReplies, targeting: Mapping[str, Any]) -> Replies:
        """Through the work queues, so that it comes after the job itself, also to who is down."""
        wanted = self.find(job)
        where = self._finder.where(wanted, targeting)
        ask = RequestOptions(
            agent="job",
            action=action,
            data={"job": wanted},
            targeting=where["targeting"],
            via=Via.QUEUE,
            wait=False,
            timeout=seconds_of(where["timeout"]),
        )
        replies = self._requester.ask(ask)
        self.wait_quiet(replies, ask.timeout)
        return replies

    @interrupts.call()
    def find(self, job: str | JobReplies) -> str:
        """The id of a job by its id, its first letters, its name, or what `submit` gave.

        One that this session has not handed in is asked for among the nodes, then looked for in the
        other sessions of this machine.

        Raises:
            UsageError: there is no such job, or there are several.
        """
        return self._finder.find(job)

    def list(
        self, job: str = "", *, name: str | None = None, state: str | None = None, **targeting: Any
    ) -> pd.DataFrame:
        """Ask the nodes where their jobs stand: one row a node and job."""
        return table.frame(job_columns(self.rows(job, name=name, state=state, **targeting)))

    def rows(
        self, job: str = "", *, name: str | None = None, state: str | None = None, **targeting: Any
    ) -> Rows:
        """What `list` shows, without pandas; see `stands`."""
        return self.stands(job, name=name, state=state, **targeting).rows

    @interrupts.call()
    def stands(
        self,
        job: str = "",
        *,
        name: str | None = None,
        state: str | None = None,
        replies: Replies | None = None,
        **targeting: Any,
    ) -> JobsTold:
        """What `list` shows, and the replies behind it; `job` is an id or its first letters.

        With `replies`, those of a wait that was stopped, nobody is asked. Who says nothing is a row too:
        its `state` says so, `progress` why, and the rest is what this session knows. So is it that a
        node has more than it lists.
        """
        handed = self._finder.handed_to(job) if len(job) == ID_LENGTH else []
        where = self._finder.where(job, targeting) if handed else targeting
        data = {"job": job or None, "name": name, "state": state}
        if replies is None:
            replies = self._finder.ask("list", data, where)
        silent = self._finder.silent(replies, targeting, job, name)
        rows = listed(replies, "jobs", JOBS) + self._finder.unheard(silent, job, name)
        found = [row for row in rows if state in (None, row.get("state"))]
        found += left_out(replies, JOBS, "progress", _FEWER_JOBS) + unfit(replies, "jobs", JOBS)
        return JobsTold(found, replies, silent)

    @interrupts.call()
    def show(self, job: str | JobReplies, **targeting: Any) -> Replies:
        """Ask the nodes for all about a job: its document, its history, its last result.

        Each row's `document` is what its author has signed, or None: then `unverified` says why.
        """
        wanted = self.find(job)
        where = self._finder.where(wanted, targeting)
        replies = self._finder.ask("show", {"job": wanted}, where)
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
        client = self._requester.client
        return JobReplies(self._hub.tracker(record), action, outbox=self._hub.outbox, client=client)

    def runs(self, job: str | JobReplies) -> Sequence[Replies]:
        """The runs of a job that recurs, as this session heard of them, the oldest first."""
        store = self._hub.session.store
        found = []
        for requestid, _run in store.jobs.runs(self.find(job)):
            record = store.find_request(requestid)
            assert record is not None, "it was kept with the run"
            action = self._ddls.get(record.agent).action(record.action)
            found.append(Replies(self._hub.tracker(record), action, client=self._requester.client))
        return found

    def forecast(
        self,
        from_: str | float | datetime | None = None,
        within: Duration = 86_400.0,
        **targeting: Any,
    ) -> pd.DataFrame:
        """Ask the nodes what will start when: one row a start, with `sure` and `conflict`."""
        return table.frame(forecast_columns(self.forecast_rows(from_, within, **targeting)))

    def forecast_rows(
        self,
        from_: str | float | datetime | None = None,
        within: Duration = 86_400.0,
        **targeting: Any,
    ) -> Rows:
        """What `forecast` shows, without pandas; see `starts`."""
        return self.starts(from_, within, **targeting).rows

    @interrupts.call()
    def starts(
        self,
        from_: str | float | datetime | None = None,
        within: Duration = 86_400.0,
        *,
        replies: Replies | None = None,
        **targeting: Any,
    ) -> JobsTold:
        """What `forecast` shows, in the order of the starts, and the `replies` behind it (`stands`).

        Who says nothing, or may not be asked, has the starts that this session knows of, none of them
        sure, or a row without one; `why` says so. Who has more than it lists has one such row more.
        """
        now, length = time.time(), seconds_of(within) or 0.0
        asked = moment_of("from", from_, now)
        if replies is None:
            replies = self._finder.ask("forecast", {"from": asked, "within": length}, targeting)
        begin = now if asked is None else asked
        silent = self._finder.silent(replies, targeting)
        rows = listed(replies, "starts", FORECAST) + unfit(replies, "starts", FORECAST)
        rows += left_out(replies, FORECAST, "why", _FEWER_STARTS)
        rows += self._finder.unheard_starts(silent, (begin, begin + length))
        return JobsTold(sorted(rows, key=_order_of_starts), replies, silent)

    def log(
        self, job: str | JobReplies, node: str, *, run: str | None = None, follow: bool = False
    ) -> Iterator[str]:
        """What a run wrote to its standard streams, piece by piece; `follow`: until it ends."""
        return (text for text, _why in self.log_parts(job, node, run, follow=follow) if text)

    def log_parts(
        self, job: str | JobReplies, node: str, run: str | None = None, *, follow: bool = False
    ) -> Iterator[tuple[str, str]]:
        """What `log` gives, each with nothing else; or no text, and in words why there is none (yet)."""
        return read_log(self._finder, self.find(job), node, run, follow=follow)

    def progress(self, job: JobReplies) -> pd.DataFrame:
        """Ask the running targets of a job how far they are; the ledger says it from then on."""
        nodes = [one.sender for one in job.entries() if one.state is State.RUNNING]
        rows = self.rows(job.job, nodes=nodes) if nodes else []
        job.note_progress({one["sender"]: one.get("progress") or "" for one in rows})
        return job.ledger()

    def wait_quiet(self, replies: Replies, most: float | None = None) -> None:
        """Wait until every target has said something, or those that are there have.

        At most for `most` seconds, by default the settings' timeout.

        Raises:
            Stopped: Ctrl-C; what was handed in stays so.
        """
        end = time.monotonic() + (self._settings.client.timeout if most is None else most)
        heard, since = 0, time.monotonic()
        with replies.stopping():
            while (now := time.monotonic()) < end:
                states = [entry.state for entry in replies.entries()]
                silent = states.count(State.PENDING)
                if not silent:
                    return
                if len(states) - silent != heard:
                    heard, since = len(states) - silent, now
                elif heard and now - since > _QUIET:
                    return
                interrupts.sleep(_POLL)

    def document(self, job: str | JobReplies, **targeting: Any) -> Job:
        """The newest revision of a job: this session's, or what a node shows, as it was signed.

        Raises:
            UsageError: no node that answers has it, or shows it under its author's signature.
        """
        wanted = self.find(job)
        kept = self._hub.session.store.jobs.get(wanted)
        if kept is not None and not kept.body:
            raise UsageError(f"job {wanted[:8]} has ended; its inputs are secret, and kept no more")
        return self.revisions(job, **targeting).newest if kept is None else kept.job


def _order_of_starts(start: Mapping[str, Any]) -> tuple[bool, float, str]:
    at = start.get("start")
    return at is None, at or 0.0, start["sender"]
