"""What was asked before: the own session's requests, then those of every session file here.

`inputs_again` gives what one of them asked as arguments for the next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies
from mcshell.client.session import references
from mcshell.client.session.references import parse_reference
from mcshell.client.session.session import stores
from mcshell.client.store.unverified import UNVERIFIED
from mcshell.ddl import REDACTED
from mcshell.errors import InputError, SessionError, UsageError
from mcshell.filters.nodes import fold
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.store.records import RequestRecord
    from mcshell.client.store.store import SessionStore
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.library import Library

__all__ = ["EarlierRequest", "RequestHistory", "inputs_again"]

#: The states of targets that are worth asking again.
_NOT_WELL = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """A request and those of its targets, by `names`, that are worth asking again.

    `bound`: its replies say what they answer. Under version 1 of the wire they did not, so who asks
    such a request again is to be asked himself.
    """

    replies: Replies
    names: list[str]
    bound: bool

    def __str__(self) -> str:
        """What is to be asked where the replies are not bound."""
        record = self.replies.tracker.record
        return (
            f"request {record.id[:8]} ({record.agent}.{record.action}) was made by mcshell 0.1.0, "
            "whose replies do not prove what they answer"
        )


class RequestHistory:
    """The earlier requests of one client's caller."""

    def __init__(self, settings: Settings, hub: SessionHub, ddls: Library, caller: str) -> None:
        self._settings = settings
        self._hub = hub
        self._ddls = ddls
        self._caller = caller

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """Those of the session, oldest first, each with its counts by state."""
        store = self._hub.session.store
        store.lapse(time.time())
        return store.requests()

    def replies(self, request: str | None = None) -> Replies:
        """The replies to one, by default the newest; see `Client.replies`.

        Raises:
            SessionError: there is no such request, or several.
        """
        return self._find(request).replies

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
        names = [row.sender for row in replies.rows() if row.state in _NOT_WELL]
        proven = [name for name in names if name not in found.unverified]
        if names and not proven:
            raise UsageError(
                f"retry: nothing in the imported session proves that {record.id[:8]} went to "
                f"{fold(names)}: ask them by name"
            )
        return EarlierRequest(replies, proven, bound=found.bound)

    def _find(self, request: str | None) -> _Earlier:
        session = self._hub.session
        reference = None if request is None else parse_reference(request)
        if reference is not None:
            meant = self.newest(reference.fits, anywhere=reference.moment is not None)
            if meant is None:
                raise SessionError(f"no request {request!r} in any session", session.name)
            request = meant.id
        record = session.store.find_request(request)
        if record is not None:
            replies = Replies(self._hub.tracker(record), self._action(record))
            return _earlier(session.store, replies)
        if request is None:
            raise SessionError("nothing was asked yet in this session", session.name)
        for store in self._others():
            if (record := store.find_request(request)) is not None:
                tracker = RequestTracker(record, entries=store.entries(record.id, whole=True))
                tracker.finish()
                return _earlier(store, Replies(tracker, self._action(record)))
        raise SessionError(f"no request {request!r} in any session", session.name)

    def newest(
        self, fits: Callable[[RequestRecord], bool], *, anywhere: bool = True
    ) -> RequestRecord | None:
        """The newest that fits, in whatever session; see `Client.newest`."""
        found = references.newest(self._hub.session.store.requests(), fits)
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
        return (store for store in stored if store.path != self._hub.session.path)

    def _action(self, record: RequestRecord) -> Action | None:
        try:
            return self._ddls.get(record.agent).action(record.action)
        except UsageError:
            return None  # asked with a DDL that this machine does not have


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An earlier request, who has asked it, and which of its targets nothing signed proves."""

    replies: Replies
    owner: str
    unverified: set[str]
    bound: bool


def _earlier(store: SessionStore, replies: Replies) -> _Earlier:
    request = replies.requestid
    return _Earlier(
        replies,
        store.meta("caller") or "",
        store.unverified.targets(request),
        bound=not store.signed(request, "*", ""),
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
