"""The jobs of others: what a node tells of one is read from the bytes that its author signed.

A node could write anything. So nothing of its telling is shown as the job's, edited or signed, but
where the author's signature vouches for it (mcshell/README.md §6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.rpc.replies import Replies, Row
from mcshell.errors import Rejected, UsageError
from mcshell.wire.documents.rule import open_kept_job

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.message import Job
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["JobDetails", "JobEdit", "job_of_rows"]

_SIGNED: Final = ("document", "signature", "certificate")
_HIDDEN: Final = "…"


@dataclass(frozen=True, slots=True)
class JobEdit:
    """A new revision of a job, and the one in force, as its author signed it.

    `foreign`: another's, so that who edits it would sign what he has not written. `former`: signed
    under version 1 of the wire, whose replies do not say which revision they answer.
    """

    old: Job
    new: Job
    foreign: bool
    former: bool = False

    @property
    def asks(self) -> bool:
        """Whether it takes somebody's word before it is signed."""
        return self.foreign or self.former

    def __str__(self) -> str:
        """One line for the eye: what is to run, and as whose."""
        job = self.new
        inputs = " ".join(
            f"{name}={json.dumps(value, default=str)}" for name, value in job.data.items()
        )
        line = (
            f"job {job.id[:8]}, revision {job.revision}: {job.agent}.{job.action} {inputs}".rstrip()
        )
        if self.foreign:
            line += f"; it is {self.old.author}'s, and would run as {job.author}"
        if self.former:
            line += "; it was handed in by mcshell 0.1.0"
        return line


Confirm = Callable[[JobEdit], bool]


def job_of_rows(rows: Iterable[Row], job: str, verifier: Verifier) -> tuple[Job, bytes]:
    """The newest revision of a job among what nodes have told of it, and the bytes that say so.

    Raises:
        UsageError: none of them has it, or none shows it under its author's signature; two authors
            have signed one each.
    """
    found: dict[tuple[int, str], tuple[Job, bytes, str]] = {}
    why: list[str] = []
    for row in rows:
        if not row.data:
            continue
        if row.data.get("withheld"):
            names = ", ".join(map(str, row.data["withheld"]))
            why.append(f"{row.sender}: its inputs are secret ({names}): hand in a new one")
            continue
        try:
            one = open_kept_job(row.data, job, verifier)
        except Rejected as refusal:
            why.append(f"{row.sender}: {refusal}")
        else:
            body = str(row.data["document"]).encode()
            found[one.revision, one.author] = one, body, row.sender
    if not found:
        raise UsageError("; ".join([f"no node that answers has the job {job}", *why]))
    newest = [one for (revision, _), one in found.items() if revision == max(found)[0]]
    if len(newest) > 1:
        told = ", ".join(f"{sender} that of {one.author}" for one, _body, sender in newest)
        raise UsageError(f"job {job[:8]}: the nodes have different ones: {told}; name one with -I")
    return newest[0][:2]


class JobDetails(Replies):
    """What nodes tell of one job: its document as its author signed it, the rest by their word.

    Each row's `document` is the signed one, or None where there is none; then `unverified` says why.
    """

    def __init__(self, replies: Replies, job: str, verifier: Verifier) -> None:
        super().__init__(replies.tracker, replies.schema)
        self._job = job
        self._verifier = verifier

    def _every(self) -> list[Row]:
        return [replace(row, data=self._read(row.data)) for row in super()._every()]

    def _read(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        if not told:
            return told
        rest = {name: value for name, value in told.items() if name not in _SIGNED}
        try:
            job = open_kept_job(told, self._job, self._verifier)
        except Rejected as refusal:
            names = ", ".join(map(str, told.get("withheld") or ()))
            why = f"its inputs are secret: {names}" if names else str(refusal)
            return {**rest, "document": None, "unverified": why}
        shown = rest.get("data")
        data = {
            name: value if isinstance(shown, dict) and shown.get(name) == value else _HIDDEN
            for name, value in job.data.items()
        }
        signed = {**asdict(job), "after": list(job.after), "data": data}
        same = {name: signed[name] for name in rest.keys() & signed.keys()}
        return {**rest, **same, "when": _said(signed["when"]), "document": signed, "unverified": ""}


def _said(when: Mapping[str, Any]) -> dict[str, Any]:
    """The times that a job names."""
    return {name: value for name, value in when.items() if value is not None and name != "until"}
