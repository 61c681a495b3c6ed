"""A job as a signed document: written by its author, kept by the nodes, checked at every start.

It travels inside a request to the built-in agent `job` (inputs `document`, `signature` and
`certificate`), so that the author's signature outlives the request that carried it.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any, Final

from mcshell import schedule
from mcshell.errors import Reason, Rejected, UsageError
from mcshell.message import Job, When
from mcshell.wire.documents import fields
from mcshell.wire.documents.authored import open_authored, seal_authored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcshell.message import Duty
    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "MAX_AFTER",
    "check_job",
    "condition",
    "job_of",
    "open_job",
    "refuse_circle",
    "seal_job",
    "when_of",
]

MAX_AFTER: Final = 100
"""How many jobs a job may wait for."""
_REVISIONS: Final = 1_000_000
_RETRIES: Final = 1000
_NAME: Final = 200
_AFTER: Final = re.compile(r"([0-9a-f]{32}):(ok|failed|done)")
_WHEN: Final = frozenset(field.name for field in fields_of(When))


def condition(text: str) -> tuple[str, str]:
    """Read "JOB:ok": the job that is waited for, and how it has to end; UsageError if it is none."""
    found = _AFTER.fullmatch(text)
    if found is None:
        raise UsageError(f"after {text[:60]!r}: a job's id with :ok, :failed or :done is meant")
    return found[1], found[2]


def refuse_circle(job: str, after: Iterable[str], awaited: Callable[[str], Iterable[str]]) -> None:
    """Refuse a job that would wait for itself; raises UsageError.

    `after` are its conditions; `awaited` gives the ids of the jobs that a job waits for.
    """
    waits_for: dict[str, str] = {}
    """Of each that is looked at, by which way it was come to: a way of its own for each would be too much."""
    ahead = [("", condition(one)[0]) for one in after]
    while ahead:
        before, one = ahead.pop()
        if one == job:
            names = [one[:8]]
            while before:
                names.append(before[:8])
                before = waits_for[before]
            said = ", which waits for ".join(reversed(names))
            raise UsageError(f"job {job[:8]} would wait for itself: it waits for {said}")
        if one not in waits_for:
            waits_for[one] = before
            ahead += [(one, other) for other in awaited(one)]


def seal_job(job: Job, signer: Signer) -> SealedMessage:
    """Write and sign a job.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: what no node would take, such as another's name as author.
    """
    document = {**asdict(job), "after": list(job.after)}
    return seal_authored("job", document, job_of, signer, "the job cannot be sent")


def open_job(
    body: bytes, headers: Mapping[str, str], verifier: Verifier, limits: BodyLimits, now: float
) -> Job:
    """Check a job and return it; `now` (epoch) is when it came in; Rejected as `open_authored`."""
    return open_authored("job", job_of, body, headers, verifier, limits, now)


def job_of(document: Mapping[str, Any]) -> Job:
    """A job from the fields of its document; Rejected when they are no job."""
    job = Job(
        id=fields.request_id(document),
        revision=fields.whole(document, "revision", _REVISIONS),
        author=fields.name(document, "author"),
        collective=fields.word(document, "collective"),
        session=fields.word(document, "session"),
        agent=fields.word(document, "agent"),
        action=fields.action(document),
        created=fields.moment(document, "created"),
        data=fields.mapping(document, "data"),
        name=fields.text(document, "name"),
        when=when_of(fields.mapping(document, "when")),
        after=_after(document),
        retries=fields.whole(document, "retries", _RETRIES),
        backoff=fields.moment(document, "backoff"),
        max_runtime=fields.optional(document, "max_runtime", fields.moment),
    )
    if job.revision < 1:
        raise Rejected(Reason.MALFORMED, "revision: the first is 1")
    if len(job.name) > _NAME or not job.name.isprintable():
        raise Rejected(Reason.MALFORMED, f"name: at most {_NAME} printable characters are meant")
    check_job(job)
    return job


def check_job(job: Job | Duty) -> None:
    """Refuse what does not go together; raises Rejected."""
    if job.max_runtime is not None and job.max_runtime <= 0:
        raise Rejected(Reason.MALFORMED, "max_runtime: no length of time")
    if job.after and job.when.recurs:
        raise Rejected(Reason.MALFORMED, "after does not go with cron or every")
    if job.when.recurs and job.when.until is None:
        raise Rejected(Reason.MALFORMED, "until: what recurs has an end")


def when_of(document: Mapping[str, Any]) -> When:
    """Read the time of a job; raises Rejected."""
    if not document.keys() <= _WHEN:
        strange = min(document.keys() - _WHEN)
        raise Rejected(Reason.MALFORMED, f"when: {strange[:40]!r} is not known here")
    when = When(
        at=fields.optional(document, "at", fields.text),
        cron=fields.optional(document, "cron", fields.text),
        every=fields.optional(document, "every", fields.moment),
        tz=fields.text(document, "tz"),
        splay=fields.moment(document, "splay"),
        late=fields.moment(document, "late"),
        until=fields.optional(document, "until", fields.moment),
    )
    try:
        schedule.check(when)
    except UsageError as error:
        raise Rejected(Reason.MALFORMED, str(error)) from None
    return when


def _after(document: Mapping[str, Any]) -> tuple[str, ...]:
    value = document.get("after")
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Rejected(Reason.MALFORMED, "after: no list of conditions")
    if len(value) > MAX_AFTER:
        raise Rejected(Reason.MALFORMED, f"after: over {MAX_AFTER} conditions")
    for one in value:
        try:
            condition(one)
        except UsageError as error:
            raise Rejected(Reason.MALFORMED, str(error)) from None
    return tuple(value)
