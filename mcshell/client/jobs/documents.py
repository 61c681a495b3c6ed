"""The jobs of others: what a node tells of one is read from the bytes that its author signed.

A node could write anything. So nothing of its telling is shown as the job's, edited or signed, but
where the author's signature vouches for it (mcshell/README.md §6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell.client.rpc.replies import Replies, Row
from mcshell.errors import Rejected, UsageError
from mcshell.message import State
from mcshell.values import dataclass
from mcshell.wire.documents.rule import open_kept_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.client.discovery.targeting import Targeting
    from mcshell.client.store.jobs import KeptJob, KeptRevision
    from mcshell.message import Job
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["Confirm", "JobDetails", "JobEdit", "JobRevisions", "in_force"]

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


#: A revision, and the bytes that say so.
_Base: TypeAlias = "tuple[Job, bytes]"


@dataclass(frozen=True, slots=True)
class JobRevisions:
    """A job that is to be edited: whom the edit is for, and which revision is in force on each.

    `targeting` names the nodes; each has its own revision and the bytes that say so in `bases`.
    """

    id: str
    targeting: Targeting
    timeout: float | None
    bases: Mapping[str, _Base]

    @property
    def newest(self) -> Job:
        """The newest of them."""
        return max((job for job, _body in self.bases.values()), key=lambda job: job.revision)


def in_force(
    rows: Sequence[Row],
    job: str,
    verifier: Verifier,
    kept: KeptJob | None,
    handed_in: Iterable[KeptRevision],
) -> dict[str, _Base]:
    """The revision of a job on each of the nodes of `rows`, which were asked to show it.

    What a node shows under its author's signature is in force there. Of the others it is what they
    have accepted from this session (`kept`, `handed_in`); in front of both goes what is still on its
    way there. Who has nothing of it gets what the newest of the others has.

    Raises:
        UsageError: nothing is known of any; inputs are secret, and this session has another revision.
    """
    accepted: dict[str, _Base] = {}
    coming: dict[str, _Base] = {}
    for one in handed_in:
        (accepted if one.accepted else coming)[one.sender] = one.job, one.body
    here = None if kept is None or not kept.body else (kept.job, kept.body)
    found: dict[str, _Base] = {}
    why: list[str] = []
    for row in rows:
        try:
            base = _base(row, job, verifier, accepted.get(row.sender), here)
        except Rejected as refusal:
            why.append(f"{row.sender}: {refusal}")
            base = None
        ahead = coming.get(row.sender)
        if ahead is not None and (base is None or ahead[0].revision > base[0].revision):
            base = ahead
        if base is not None:
            found[row.sender] = base
    if not found:
        raise UsageError("; ".join([f"no node that answers has the job {job}", *why]))
    newest = max(found.values(), key=lambda base: base[0].revision)
    return {row.sender: found.get(row.sender, newest) for row in rows}


def _base(
    row: Row, job: str, verifier: Verifier, accepted: _Base | None, here: _Base | None
) -> _Base | None:
    """The revision in force on a node; raises Rejected where what it shows is not its author's."""
    if row.state is State.OK:
        return _shown(row, job, verifier, accepted or here)
    return accepted or here


def _shown(row: Row, job: str, verifier: Verifier, kept: _Base | None) -> _Base:
    """What a node shows of a job: the document, or that its inputs are secret, so that we keep it."""
    names = _withheld(row.data)
    if not names:
        return open_kept_job(row.data, job, verifier), str(row.data["document"]).encode()
    if kept is None or kept[0].revision != row.data.get("revision"):
        raise UsageError(
            f"{row.sender}: its inputs are secret ({names}), and this session has not handed in its "
            f"revision {row.data.get('revision')}: hand in a new one"
        )
    return kept


class JobDetails(Replies):
    """What nodes tell of one job: its document as its author signed it, the rest by their word.

    Each row's `document` is the signed one, or None where there is none; then `unverified` says why.
    """

    def __init__(self, replies: Replies, job: str, verifier: Verifier) -> None:
        super().__init__(replies.tracker, replies.schema, client=replies.client)
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
            names = _withheld(told)
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


def _withheld(told: Mapping[str, Any]) -> str:
    """The inputs that a node keeps to itself, by its word."""
    names = told.get("withheld")
    return ", ".join(map(str, names)) if isinstance(names, list) else ""


def _said(when: Mapping[str, Any]) -> dict[str, Any]:
    """The times that a job names."""
    return {name: value for name, value in when.items() if value is not None and name != "until"}
