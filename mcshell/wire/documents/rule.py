"""A rule as a signed document: which jobs a machine should have, signed by its author.

It speaks for itself: whoever carries it to a node's direct queue puts the author's signature and
certificate into the two headers, and needs no right. `envelope.kind_of` tells it from requests.

A node keeps each job of a rule as a *duty*: the rule as it was signed, which of its jobs it is,
and what the node has added, the ids and when it took the rule. The signature covers the rule.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import Reason, Rejected
from mcshell.message import Duty, Job, Rule
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.authored import of_fields, open_authored, seal_authored
from mcshell.wire.documents.envelope import RULE, verified
from mcshell.wire.documents.job import check_job, job_of, when_of
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "duty_body",
    "duty_ids",
    "job_of_duty",
    "open_kept_job",
    "open_rule",
    "read_job",
    "read_rule",
    "rule_digest",
    "seal_rule",
    "signed_part",
]

MAX_DUTIES: Final = 100
_DUTY: Final = b'"duty"'
_REVISIONS: Final = 1_000_000
_RETRIES: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_AFTER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,99}):(ok|failed|done)")


def rule_digest(body: bytes) -> str:
    """The name of a rule's very bytes: 32 hexadecimal digits."""
    return hashlib.sha256(body).hexdigest()[:32]


def duty_ids(body: bytes, rule: Rule, identity: str, machine: str) -> dict[str, str]:
    """The id of each job of a rule on one machine: the same whoever brings it, and how often."""
    head = f"{rule_digest(body)}/{rule.revision}/{identity}/{machine}"
    return {
        duty.name: hashlib.sha256(f"{head}/{duty.name}".encode()).hexdigest()[:32]
        for duty in rule.duties
    }


def seal_rule(rule: Rule, signer: Signer) -> SealedMessage:
    """Write and sign a rule.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: what no node would take.
    """
    document = {
        "name": rule.name,
        "revision": rule.revision,
        "author": rule.author,
        "collective": rule.collective,
        "created": rule.created,
        "expires": rule.expires,
        "filter": rule.filter.as_dict(),
        "duties": [{**asdict(duty), "after": list(duty.after)} for duty in rule.duties],
    }
    return seal_authored(RULE, document, _rule, signer, f"rule {rule.name[:60]}")


def open_rule(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    collective: str | None = None,
) -> Rule:
    """Check a rule and return it; `now` (epoch) is when it came in, over a collective.

    Raises:
        Rejected: as `open_authored`; WRONG_COLLECTIVE; EXPIRED, FROM_FUTURE.
    """
    rule = open_authored(RULE, _rule, body, headers, verifier, limits, now)
    if collective not in (None, rule.collective):
        detail = f"for {rule.collective}, came in over {collective}"
        raise Rejected(Reason.WRONG_COLLECTIVE, detail)
    if rule.created > now + limits.max_skew:
        ahead = rule.created - now
        raise Rejected(Reason.FROM_FUTURE, f"made {ahead:.0f} s ahead: compare the clocks")
    if now > rule.expires:
        raise Rejected(Reason.EXPIRED, f"{now - rule.expires:.0f} s ago")
    return rule


def read_rule(body: bytes) -> Rule:
    """Read a rule without believing it; Rejected when it is none."""
    document = strict_json.loads(body)
    if not isinstance(document, dict) or document.get("kind") != RULE:
        raise Rejected(Reason.MALFORMED, "no rule")
    return _rule(document)


def duty_body(body: bytes, duty: Duty, ids: Mapping[str, str], taken: float) -> bytes:
    """What a node keeps of one job of a rule that it took at `taken` (epoch)."""
    return strict_json.dumps(
        {
            "v": VERSION,
            "kind": "duty",
            "rule": body.decode(),
            "duty": duty.name,
            "ids": dict(ids),
            "taken": taken,
        }
    )


def signed_part(body: bytes) -> bytes:
    """What the author's signature covers in a kept body: all of it, or the rule in a duty."""
    if _DUTY not in body:
        return body
    document = strict_json.loads(body)
    if document.get("kind") != "duty":
        return body
    return fields.text(document, "rule").encode()


def job_of_duty(document: Mapping[str, Any]) -> Job:
    """The job that a duty is; it counts from when the node took the rule.

    Its replies go nowhere (`session` is empty): the nodes are asked about it.
    """
    rule = read_rule(fields.text(document, "rule").encode())
    name = fields.text(document, "duty")
    told = fields.mapping(document, "ids")
    ids = {one.name: fields.job_id(told, one.name) for one in rule.duties}
    duty = next((one for one in rule.duties if one.name == name), None)
    if duty is None:
        raise Rejected(Reason.MALFORMED, f"the rule has no job {name[:60]!r}")
    conditions = (one.rpartition(":") for one in duty.after)
    return Job(
        id=ids[name],
        revision=1,
        author=rule.author,
        collective=rule.collective,
        session="",
        agent=duty.agent,
        action=duty.action,
        created=fields.moment(document, "taken"),
        data=duty.data,
        name=f"{rule.name}.{duty.name}",
        when=duty.when,
        after=tuple(f"{ids[before]}:{need}" for before, _, need in conditions),
        retries=duty.retries,
        backoff=duty.backoff,
        max_runtime=duty.max_runtime,
    )


def _rule(document: Mapping[str, Any]) -> Rule:
    duties = document.get("duties")
    if not isinstance(duties, list) or len(duties) > MAX_DUTIES:
        raise Rejected(Reason.MALFORMED, f"duties: at most {MAX_DUTIES} are meant")
    rule = Rule(
        name=_name(document, "name"),
        revision=fields.whole(document, "revision", _REVISIONS),
        author=fields.name(document, "author"),
        collective=fields.word(document, "collective"),
        created=fields.moment(document, "created"),
        expires=fields.moment(document, "expires"),
        filter=fields.filter_of(document),
        duties=tuple(map(_duty, duties)),
    )
    if rule.revision < 1:
        raise Rejected(Reason.MALFORMED, "revision: the first is 1")
    _check_names(rule)
    return rule


def _check_names(rule: Rule) -> None:
    """Each duty has a name of its own, and waits only for such as stand before it."""
    before: set[str] = set()
    for duty in rule.duties:
        if duty.name in before:
            raise Rejected(Reason.MALFORMED, f"two duties are called {duty.name!r}")
        for one in duty.after:
            if one.rpartition(":")[0] not in before:
                raise Rejected(
                    Reason.MALFORMED,
                    f"{duty.name}: after {one[:60]!r}: nothing of that name stands before it",
                )
        before.add(duty.name)


def _duty(document: Any) -> Duty:
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "duties: one is no object")
    after = document.get("after")
    if not isinstance(after, list) or not all(
        isinstance(one, str) and _AFTER.fullmatch(one) for one in after
    ):
        raise Rejected(Reason.MALFORMED, f"after: no conditions: {str(after)[:60]}")
    duty = Duty(
        name=_name(document, "name"),
        agent=fields.word(document, "agent"),
        action=fields.action(document),
        data=fields.mapping(document, "data"),
        when=when_of(fields.mapping(document, "when")),
        after=tuple(after),
        retries=fields.whole(document, "retries", _RETRIES),
        backoff=fields.moment(document, "backoff"),
        max_runtime=fields.optional(document, "max_runtime", fields.moment),
    )
    check_job(duty)
    return duty


def _name(document: Mapping[str, Any], key: str) -> str:
    value = fields.text(document, key)
    if not _NAME.fullmatch(value):
        raise Rejected(Reason.MALFORMED, f"{key}: not of its form: {value[:60]!r}")
    return value


def read_job(body: bytes) -> Job:
    """Read a job that was verified when it was kept; checks form, not signature.

    A job that a rule brought is kept with the rule (`duty_body`).
    """
    document = strict_json.loads(body)
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "the document is no object")
    if document.get("kind") == "duty":
        return job_of_duty(document)
    if document.get("kind") != "job":
        raise Rejected(Reason.WRONG_KIND, f"no job: {str(document.get('kind'))[:20]!r}")
    return job_of(document)


def open_kept_job(told: Mapping[str, Any], job: str, verifier: Verifier) -> Job:
    """The job of this id that somebody has kept, or tells of, once its author's signature is checked.

    `told` has it as `authored.as_fields` writes it. Dates are judged as of when the job was made: it
    outlives its author's certificate.

    Raises:
        Rejected: it is not signed, not by whom it names, or another job.
    """
    if not all(
        isinstance(told.get(name), str) for name in ("document", "signature", "certificate")
    ):
        raise Rejected(Reason.UNSIGNED, "no signed document")
    kept = of_fields(told)
    found = read_job(kept.body)
    identity = verified(signed_part(kept.body), kept.headers, verifier, found.created, stored=True)
    if identity.kind != "operator":
        raise Rejected(Reason.WRONG_KIND, f"a job signed by the node {identity.name}")
    if found.author != identity.callerid:
        raise Rejected(Reason.CALLER_MISMATCH, f"{found.author!r} is signed by {identity.callerid}")
    if found.id != job:
        raise Rejected(Reason.FOREIGN_ID, f"the document is that of the job {found.id}")
    return found
