"""What a session's file remembers, where no client can be: the broker is away, or the disk takes nothing."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.opening import operator_of
from mcshell.client.pki import pki_of
from mcshell.client.rpc.history import KeptRequests
from mcshell.client.session.session import Session
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library

__all__ = ["Lookback"]


class Lookback(KeptRequests):
    """The requests of a session as they stand in its file: nothing is sent, and nothing comes in.

    Open for as long as somebody has it, or replies of it. `any_` as `Session.to_read` has it.
    """

    def __init__(
        self, settings: Settings, ddls: Library, name: str | None, why: str, *, any_: bool
    ) -> None:
        caller = operator_of(settings, load_credentials(pki_of(settings)))
        main = settings.collective.main
        self.session = Session.to_read(settings.state_dir, caller, main, name, any_=any_)
        self.notices = [
            f"{why}: this is what the file of session {self.session.name} has, more may come"
        ]
        super().__init__(settings, self.session, self._kept, ddls, caller, self, self.notices)
        weakref.finalize(self, self.session.close)

    def _kept(self, record: RequestRecord) -> RequestTracker:
        entries = self.session.store.entries(record.id, whole=True)
        tracker = RequestTracker(record, entries=entries)
        tracker.finish()
        return tracker
