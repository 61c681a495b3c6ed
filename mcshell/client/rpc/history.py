"""What was asked before: the own session's requests, then those of every session file here.

`inputs_again` gives what one of them asked as arguments for the next.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.targeting import put_of
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.interactive_run import NO_LONGER
from mcshell.client.rpc.lost import find_lost
from mcshell.client.rpc.replies import Replies
from mcshell.client.rpc.requester import INTERACTIVE_TTL
from mcshell.client.session import references
from mcshell.client.session.references import parse_reference
from mcshell.client.session.session import nothing_asked, stores
from mcshell.client.store.ledger import UNHEARD
from mcshell.client.store.unverified import UNVERIFIED
from mcshell.ddl import REDACTED
from mcshell.errors import (
    DDLError,
    InputError,
    SessionError,
    StorageError,
    UsageError,
    did_you_mean,
)
from mcshell.filters.nodes import fold
from mcshell.message import NATIVE, State
from mcshell.private import is_locked
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import RequestRecord
    from mcshell.client.store.store import SessionStore
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["EarlierRequest", "KeptRequests", "RequestHistory", "inputs_again"]

#: The states of targets that are worth asking again.
_NOT_WELL = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT, State.EXPIRED)
_MOST: Final = 50
"""Of so many requests, the newest, the nodes are asked at once what became of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRequest:
    """A request and those of its targets, by `names`, that are worth asking again.

    `still_open` are those of which something may still come, `unmeant` those that do not match its
    filter, as far as anybody can tell: by name it would be done to them all the same. `options` is how it was put, as
    `RequestOptions` has it. `bound`: its replies say what they answer. Under version 1 of the wire they did not, so who asks
    such a request again is to be asked himself.
    """

    replies: Replies
    names: list[str]
    still_open: list[str]
    unmeant: list[str]
    options: Mapping[str, Any]
    bound: bool

    @property
    def left_alone(self) -> str:
        """One line about what is not asked again though it did not come out well, or nothing."""
        record = self.replies.tracker.record
        lines = {
            f"still open in request {record.id[:8]}": self.still_open,
            "not known to match its filter": self.unmeant,
        }
        told = [f"{why}, and left alone: {fold(names)}" for why, names in lines.items() if names]
        return "; ".join(told)

    def __str__(self) -> str:
        """What is to be asked where the replies are not bound."""
        record = self.replies.tracker.record
        return (
            f"request {record.id[:8]} ({record.agent}.{record.action}) was made by mcshell 0.1.0, "
            "whose replies do not prove what they answer"
        )


class KeptRequests:
    """The earlier requests of one caller, as the session files of this machine have them."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        tracker: Callable[[RequestRecord], RequestTracker],
        ddls: Library,
        caller: str,
        client: object,
        notices: list[str],
    ) -> None:
        self._client = client
        self._settings = settings
        self._session = session
        self._tracker = tracker
        self._ddls = ddls
        self._caller = caller
        self._notices = notices

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """Those of the session, oldest first, each with its counts by state."""
        self._judged(self._session.store.lapse)
        return self._session.store.requests()

    def _judged(self, judge: Callable[[float], None]) -> None:
        """Judge what is over; a disk that takes nothing is no reason not to show what is there."""
        try:
            judge(time.time())
        except StorageError as error:
            if (text := f"{error}: what is over may be shown as open") not in self._notices:
                self._notices.append(text)

    def replies(self, request: str | None = None) -> Replies:
        """The replies to one, by default the newest; see `Client.replies`.

        Raises:
            SessionError: there is no such request, or several.
        """
        return self._find(request).replies

    def _find(self, request: str | None) -> _Earlier:
        session = self._session
        self._judged(self._session.store.lapse)
        reference = None if request is None else parse_reference(request)
        if reference is not None:
            meant = self.newest(reference.fits, anywhere=reference.moment is not None)
            request = request if meant is None else meant.id
        record = session.store.find_request(session.store.jobs.meant(request))
        if record is not None:
            replies = self._replies(self._tracker(record))
            return _earlier(session.store, replies, live=True)
        if request is None:
            said = nothing_asked(session, self._settings.state_dir)
            raise SessionError(said, session.name)
        for store in self._others():
            if (record := store.find_request(store.jobs.meant(request))) is not None:
                if not is_locked(store.path.with_suffix(".lock")):
                    self._judged(store.abandon)
                tracker = RequestTracker(record, entries=store.entries(record.id, whole=True))
                tracker.finish()
                return _earlier(store, self._replies(tracker), live=False)
        near = did_you_mean(request, sorted(self._asked()))
        raise SessionError(f"no request {request!r} in any session{near}", session.name)

    def _asked(self) -> set[str]:
        """What was asked in all sessions, as a line names it: `package.status`."""
        each = chain([self._session.store], self._others())
        records = (record for store in each for record, _counts in store.requests())
        return {f"{record.agent}.{record.action}" for record in records}

    def newest(
        self, fits: Callable[[RequestRecord], bool], *, anywhere: bool = True
    ) -> RequestRecord | None:
        """The newest that fits, in whatever session; see `Client.newest`."""
        found = references.newest(self._session.store.requests(), fits)
        if found is not None and not anywhere:
            return found
        for store in self._others():
            if store.meta("caller") == self._caller:
                other = references.newest(store.requests(), fits)
                if other is not None and (found is None or found.created < other.created):
                    found = other
        return found

    def _others(self) -> Iterator[SessionStore]:
        stored = stores(self._settings.state_dir)
        return (store for store in stored if store.path != self._session.path)

    def _replies(self, tracker: RequestTracker) -> Replies:
        """An earlier request with the schema that it was asked by, as far as this machine has it."""
        record = tracker.record
        trusts = {entry.reply.trust for entry in tracker.entries() if entry.reply is not None}
        action: Action | None = None
        try:
            if trusts <= {NATIVE}:
                action = self._ddls.get(record.agent).actions.get(record.action)
            action = action or self._ddls.joint(record.agent, record.action)
        except (UsageError, DDLError):
            pass  # asked with a DDL that this machine does not have
        return Replies(tracker, action, client=self._client)


class RequestHistory(KeptRequests):
    """The same of a client, which can ask the nodes about them."""

    def __init__(
        self, settings: Settings, hub: SessionHub, ddls: Library, caller: str, client: object
    ) -> None:
        super().__init__(settings, hub.session, hub.tracker, ddls, caller, client, hub.notices)
        self._hub = hub

    def find_lost(self) -> None:
        """Ask the nodes what became of requests whose time is over, and which have not ended."""
        now = time.time()
        over = [
            self._hub.tracker(record)
            for record, counts in self.requests()
            if record.expires < now and counts.get(State.RECEIVED, 0) + counts.get(State.RUNNING, 0)
        ]
        find_lost(self._hub, over[-_MOST:], self._settings.client.probe)

    def again(self, request: str | None = None) -> EarlierRequest:
        """An earlier request as it may be asked again.

        Raises:
            SessionError: there is no such request, or several.
            UsageError: another has asked it; nothing signed proves what was asked, or that any of
                these was asked.
        """
        found = self._find(request)
        replies, record = found.replies, found.replies.tracker.record
        if found.owner != self._caller:
            raise UsageError(
                f"retry: request {record.id[:8]} is one of {found.owner}, not of {self._caller}"
            )
        if record.agent == UNVERIFIED:
            raise UsageError(
                f"retry: nothing in the imported session proves what was asked in {record.id[:8]}"
            )
        if found.live:
            find_lost(self._hub, [replies.tracker], self._settings.client.probe)
        entries = [entry for entry in replies.entries() if not entry.unexpected]
        unmeant = [one.sender for one in entries if one.reason in (NO_LONGER, UNHEARD)]
        names = [
            one.worker or one.sender
            for one in entries
            if (one.state in _NOT_WELL or one.unsent) and one.sender not in unmeant
        ]
        still_open = [one.sender for one in entries if not (one.state.closed or one.unsent)]
        proven = [name for name in names if name not in found.unverified]
        if names and not proven:
            raise UsageError(
                f"retry: nothing in the imported session proves that {record.id[:8]} went to "
                f"{fold(names)}: ask them by name"
            )
        return EarlierRequest(
            replies=replies,
            names=proven,
            still_open=still_open,
            unmeant=unmeant,
            options=_options(record),
            bound=found.bound,
        )


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An earlier request, who has asked it, and which of its targets nothing signed proves.

    `live`: it is one of the client's own session.
    """

    replies: Replies
    owner: str
    unverified: set[str]
    bound: bool
    live: bool


def _options(record: RequestRecord) -> dict[str, Any]:
    """How a request was put: its ttl is in its times, where it is not the usual one."""
    ttl = round(record.expires - record.created, 3)
    return put_of(record.options) | ({} if ttl == INTERACTIVE_TTL else {"ttl": ttl})


def _earlier(store: SessionStore, replies: Replies, *, live: bool) -> _Earlier:
    request = replies.requestid
    return _Earlier(
        replies,
        store.meta("caller") or "",
        store.unverified.targets(request),
        bound=not store.signed(request, "*", ""),
        live=live,
    )


def inputs_again(record: RequestRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a request, with those that are `given` in their place.

    Raises:
        InputError: an input was not kept because it is secret, and is not given.
    """
    inputs = {**record.data, **given}
    for name, value in inputs.items():
        if value == REDACTED:
            raise InputError(
                f"retry: input {name} is secret and was not kept: give it again", name, 3
            )
    return inputs
