"""What a session's file remembers, where no client can be: the broker is away, or the disk takes nothing."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.opening import operator_of
from mcshell.client.pki import pki_of
from mcshell.client.rpc.history import KeptRequests
from mcshell.client.session.session import Session, stores
from mcshell.errors import SessionError
from mcshell.private import is_locked
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library

__all__ = ["Lookback"]


class Lookback(KeptRequests):
    """The requests of a session as they stand in its file: nothing is sent, and nothing comes in.

    Open for as long as somebody has it, or replies of it. Without a name it is the first free scratch
    session, as a client's is; with `any_` else any of the caller's. `notices` takes what is to be told.
    """

    def __init__(
        self,
        settings: Settings,
        ddls: Library,
        name: str | None,
        why: str,
        notices: list[str],
        *,
        any_: bool,
    ) -> None:
        caller = operator_of(settings, load_credentials(pki_of(settings)))
        self.session = _session(settings, caller, name, any_=any_)
        text = f"{why}: this is what the file of session {self.session.name} has, more may come"
        notices.append(text)
        super().__init__(settings, self.session, self._kept, ddls, caller, self, notices)
        weakref.finalize(self, self.session.close)

    def _kept(self, record: RequestRecord) -> RequestTracker:
        entries = self.session.store.entries(record.id, whole=True)
        tracker = RequestTracker(record, entries=entries)
        tracker.finish()
        return tracker


def _session(settings: Settings, caller: str, name: str | None, *, any_: bool) -> Session:
    """Open what is there without its queue, on a disk that takes nothing too; raises SessionError."""
    main = settings.collective.main
    found = [
        store.path
        for store in stores(settings.state_dir)
        if (store.meta("caller"), store.meta("collective")) == (caller, main)
        and name in (None, store.path.stem)
    ]
    scratch = [
        path
        for path in sorted(found, key=lambda one: (len(one.stem), one.stem))
        if path.stem.startswith("scratch-") and not is_locked(path.with_suffix(".lock"))
    ]
    meant = found if name is not None else [*scratch, *(found if any_ else ())]
    if not meant:
        which = "a session without a name" if name is None else f"session {name!r}"
        raise SessionError(f"{caller} has asked nothing yet here in {which}", name or "")
    return Session(meant[0], None, caller, main, patient=True)
