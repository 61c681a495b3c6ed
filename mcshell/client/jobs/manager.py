"""Jobs from the operator's side: `client.jobs` hands them in, and asks the nodes about them.

A job is handed in through the work queues, so it reaches nodes that are down when they are back.
Its id is that of the request: `submit` gives the replies to come, `received` once a node has the
job. Each run of a job that recurs is a request of its own in the session's history, made when its
first reply comes (`runs`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell import schedule
from mcshell.client.discovery.arguments import seconds_of
from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions
from mcshell.client.jobs.queries import JobQueries, targeting_in
from mcshell.client.jobs.replies import JobReplies
from mcshell.client.jobs.times import read_when, revised
from mcshell.client.messaging.hub import Submission
from mcshell.client.store.records import RequestRecord
from mcshell.errors import UsageError
from mcshell.message import Job, Via, new_request_id
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.documents.job import condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.discovery.targeting import Targeting
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.rpc.preview import Preview
    from mcshell.client.rpc.replies import Replies
    from mcshell.wire.documents.envelope import SealedMessage

__all__ = ["JobManager", "JobReplies"]

_TTL: Final = 7 * 86_400.0


class JobManager(JobQueries):
    """The jobs of one client; see `submit`."""

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
        ask = RequestOptions(agent, action, asked, targeting, Via.QUEUE, lifetime, wait)
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
            id=new_request_id(),
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
        tracker = self._send(job, sealed, ask, found.names)
        replies = JobReplies(tracker, schema, outbox=self._hub.outbox)
        wait = self._settings.client.timeout if ask.timeout is None else ask.timeout
        replies.wait_confirmed(wait)
        return replies

    def _send(
        self, job: Job, sealed: SealedMessage, ask: RequestOptions, names: Sequence[str]
    ) -> RequestTracker:
        """Commit the job with what goes out, then have it sent."""
        hub, lifetime = self._hub, ask.ttl or 0.0
        record = RequestRecord(
            job.id,
            job.agent,
            job.action,
            Via.QUEUE,
            job.collective,
            job.created,
            job.created + lifetime,
            ask.targeting.filter,
            self._ddls.get(job.agent).action(job.action).redact(job.data),
        )
        request = replace(
            hub.request_sender.request(record, _inputs(sealed), lifetime),
            agent="job",
            action="submit",
        )
        (tracker,) = hub.submit([Submission(record, request, names, sealed.body)])
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
        **changes: Any,
    ) -> Replies:
        """Put a new revision in its place: any argument of `submit` about time, or inputs.

        It runs with the rights of whoever edits. What is not named stays as it was. The job of
        another is asked for first: its inputs that are sensitive are to be given anew, and the
        results of its runs come to this session from then on.
        """
        where = {"timeout": timeout, "nodes": nodes, "targeting": targeting}
        given = {name: value for name, value in where.items() if value is not None}
        old = self.document(job, **given)
        if old.author != self._hub.request_sender.caller:
            old = replace(
                old, author=self._hub.request_sender.caller, session=self._hub.session.address
            )
        if "after" in changes:
            changes["after"] = self._conditions(changes["after"])
        schema = self._ddls.get(old.agent).action(old.action)
        fresh = revised(old, changes, schema, time.time())
        sealed = self._hub.request_sender.job(fresh)
        ask = self._question("edit", job, _inputs(sealed), given)
        replies = self._requester.ask(ask, job=sealed.body)
        self.settle(replies, ask.timeout)
        return replies

    def _change(self, action: str, job: str | JobReplies, targeting: Mapping[str, Any]) -> Replies:
        ask = self._question(action, job, {}, targeting)
        replies = self._requester.ask(ask)
        self.settle(replies, ask.timeout)
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
            "job",
            action,
            {"job": self.find(job), **data},
            targeting_in(where),
            Via.QUEUE,
            wait=False,
            timeout=timeout,
        )


def _inputs(sealed: SealedMessage) -> dict[str, Any]:
    """The inputs of the agent `job` that carry a signed document."""
    return {
        "document": sealed.body.decode(),
        "signature": sealed.headers[SIGNATURE],
        "certificate": sealed.headers[CERTIFICATE],
    }
