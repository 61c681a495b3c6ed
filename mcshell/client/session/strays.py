"""Strays find home: replies that one session file keeps go to the session that asked for them."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.session.proof import open_kept
from mcshell.client.session.session import stores
from mcshell.errors import Reason, Rejected
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply, verified

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import Members, ReplyRecord
    from mcshell.client.store.store import SessionStore
    from mcshell.client.store.strays import Stray
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["enter_held", "gather_strays", "give_strays", "hold_expired", "pass_strays"]

log = logging.getLogger(__name__)


def give_strays(
    source: SessionStore, target: SessionStore, verifier: Verifier, members: Members
) -> int:
    """Give those of one file to the session of another that asked for them; how many were news.

    Each is verified again, as what was asked there; what is not stays where it is.
    """
    asked = {about for about in source.strays.about() if _asked(target, *about)}
    if not asked:
        return 0
    found: list[ReplyRecord] = []
    given: list[Stray] = []
    for stray in source.strays.all():
        if (stray.request, stray.job) in asked:
            try:
                found.append(open_kept(stray, target, verifier, members))
            except Rejected:
                continue
            given.append(stray)
    news = target.enter(found, durable=True)
    source.strays.drop(given)
    return len(news)


def enter_held(
    store: SessionStore, shown: Mapping[str, str], verifier: Verifier, members: Members
) -> list[tuple[str, LedgerEntry]]:
    """Enter what is held of the nodes that have `shown` these certificates; the news of it.

    Each is verified under the one that was shown, and so kept with it: whoever imports the file
    later has no other way to know. What another key has signed stays where it is; what is of a
    certificate that was revoked meanwhile goes.
    """
    found: list[ReplyRecord] = []
    done: list[Stray] = []
    now = time.time()
    for held in store.strays.held_of(shown):
        headers = {SIGNATURE: held.signature, CERTIFICATE: held.certificate}
        good = replace(held, certificate=shown[held.sender], kept=now)
        try:
            verified(held.body, headers, verifier, now, stored=True, ended=True)
            found.append(open_kept(good, store, verifier, members))
        except Rejected as refusal:
            log.info("what is held of %s is not entered: %s", held.sender, refusal)
            if refusal.reason is not Reason.REVOKED:
                continue
        done.append(held)
    news = store.enter(found, durable=True)
    store.strays.drop(done)
    return news


def gather_strays(
    state_dir: Path, target: SessionStore, verifier: Verifier, members: Members
) -> int:
    """Give a session what all session files of its caller on this machine keep for it; how many."""
    about = [target.meta(key) for key in ("caller", "collective")]
    return sum(
        give_strays(store, target, verifier, members)
        for store in stores(state_dir)
        if [store.meta(key) for key in ("caller", "collective")] == about
    )


def pass_strays(source: SessionStore, target: SessionStore, verifier: Verifier) -> None:
    """Have another file keep them too, as far as nodes of the fleet have signed them."""
    target.strays.keep([one for one in source.strays.all() if _of_a_node(one, verifier)])


def hold_expired(kept: Stray, target: SessionStore, verifier: Verifier) -> bool:
    """Hold a reply of another file whose certificate had ended as it came in; whether it may be."""
    reply = read_reply(kept.body)
    whole = replace(kept, job=reply.job, sender=reply.sender, sequence=reply.sequence)
    good = _of_a_node(whole, verifier)
    if good:
        target.strays.keep([whole])
    return good


def _asked(store: SessionStore, request: str, job: str | None) -> bool:
    return store.find_request(request) is not None or (
        job is not None and store.jobs.get(job) is not None
    )


def _of_a_node(stray: Stray, verifier: Verifier) -> bool:
    headers = {SIGNATURE: stray.signature, CERTIFICATE: stray.certificate}
    try:
        signer = verified(stray.body, headers, verifier, stray.kept, stored=True, ended=True)
    except Rejected:
        return False
    return (signer.kind, signer.name) == ("node", stray.sender)
