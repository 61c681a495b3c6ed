"""The embedded broker's listener for machines that have no certificate yet.

Whoever reaches it may ask, and read the answers, which are no secrets; the CA's service, which has a
passcode, may read what is asked, and answer. There is no way from here to anything else.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.broker.server import BrokerConnection
from mcshell.errors import WireError
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_SERVICE
from mcshell.wire.stomp.server import is_login

if TYPE_CHECKING:
    import ssl

    from mcshell.broker.server import Broker
    from mcshell.wire.stomp.frame import Frame

__all__ = ["EnrolmentConnection", "subnet"]

_TOPIC: Final = re.compile(r"/topic/mcs\.[a-z0-9_-]+\.(enrol|enrolled)")
_MACHINE: Final = {("SEND", "enrol"), ("SUBSCRIBE", "enrolled")}
_SERVICE: Final = {("SEND", "enrolled"), ("SUBSCRIBE", "enrol")}
_PLAIN: Final = ("UNSUBSCRIBE", "DISCONNECT")
_REQUEST: Final = 32 << 10
"""Bytes of the largest message that a machine may send."""
_MACHINES: Final = 500
"""So many may be connected at once. One more costs the host that has the most its oldest."""


def subnet(address: str) -> str:
    """What counts as one host at first: an address, or of IPv6 its subnet."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))


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
        self.host, self.since = "", 0.0

    def log_in(self, user: str, passcode: str) -> None:
        """Take a machine, or the CA's service; nobody else has anything to do here."""
        if is_login((user, passcode), (ENROL_LOGIN, ENROL_LOGIN)):
            self._make_room()
        elif self._passcode and is_login((user, passcode), (ENROLMENT_SERVICE, self._passcode)):
            self.asks = False
        else:
            raise WireError("login refused: user or passcode is wrong")

    def _make_room(self) -> None:
        """Have room for this one, whoever keeps as many as he can."""
        self.host = (self.transport.get_extra_info("peername") or ("",))[0]
        self.since = self._clock()
        machines = [
            one
            for one in self.broker.connections
            if isinstance(one, EnrolmentConnection) and one.asks and one.version and not one.closing
        ]
        if len(machines) >= _MACHINES:
            nets = Counter(subnet(one.host) for one in machines)
            hosts = Counter(one.host for one in machines)
            oldest = min(
                machines, key=lambda one: (-nets[subnet(one.host)], -hosts[one.host], one.since)
            )
            oldest.drop("too many machines ask at once, most of them from its host")

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
