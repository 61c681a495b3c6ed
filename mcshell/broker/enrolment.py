"""The embedded broker's listener for machines that have no certificate yet.

Whoever reaches it may ask, and read the answers, which are no secrets; the CA's service, which has a
passcode, may read what is asked, and answer. There is no way from here to anything else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mcshell.broker.server import BrokerConnection
from mcshell.errors import WireError
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_SERVICE
from mcshell.wire.stomp.server import is_login

if TYPE_CHECKING:
    import ssl

    from mcshell.broker.server import Broker
    from mcshell.wire.stomp.frame import Frame

__all__ = ["EnrolmentConnection"]

_TOPIC: Final = re.compile(r"/topic/mcs\.[a-z0-9_-]+\.(enrol|enrolled)")
_MACHINE: Final = {("SEND", "enrol"), ("SUBSCRIBE", "enrolled")}
_SERVICE: Final = {("SEND", "enrolled"), ("SUBSCRIBE", "enrol")}
_PLAIN: Final = ("UNSUBSCRIBE", "DISCONNECT")
_REQUEST: Final = 32 << 10
"""Bytes of the largest message that a machine may send."""
_MACHINES: Final = 500
"""So many may be connected at once; they come back by themselves."""


class EnrolmentConnection(BrokerConnection):
    """A machine that asks, or the CA's service that answers.

    `passcode` is the service's; without one nobody is it.
    """

    largest = 2 << 20
    most = 16

    def __init__(self, broker: Broker, tls: ssl.SSLContext | None, passcode: str) -> None:
        super().__init__(broker, tls, broker.strangers)
        self.asks = True
        self._passcode = passcode

    def log_in(self, user: str, passcode: str) -> None:
        """Take a machine, or the CA's service; nobody else has anything to do here."""
        if is_login((user, passcode), (ENROL_LOGIN, ENROL_LOGIN)):
            if (
                sum(isinstance(one, EnrolmentConnection) for one in self.broker.connections)
                > _MACHINES
            ):
                raise WireError("too many machines ask at once: try again")
        elif self._passcode and is_login((user, passcode), (ENROLMENT_SERVICE, self._passcode)):
            self.asks = False
        else:
            raise WireError("login refused: user or passcode is wrong")

    def execute(self, frame: Frame) -> None:
        """Do what this one may, and nothing else."""
        found = _TOPIC.fullmatch(frame.headers.get("destination", ""))
        does = frame.command, found[1] if found else ""
        if frame.command not in _PLAIN and does not in (_MACHINE if self.asks else _SERVICE):
            raise WireError(f"{frame.command} is not allowed here: this is for enrolment alone")
        if "transaction" in frame.headers:
            raise WireError("there are no transactions here")
        if self.asks and len(frame.body) > _REQUEST:
            raise WireError(f"a request has {_REQUEST} bytes at most")
        super().execute(frame)
