"""Tells the service manager how a service is: systemd's `sd_notify`, which is one datagram a message.

The manager names a socket in NOTIFY_SOCKET, and in WATCHDOG_USEC how long it waits for a sign of life.
Where it names none, nothing is said: what a service does is the same with systemd and without.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = ["ServiceManager", "message", "socket_address", "status_of", "watchdog_period"]

log = logging.getLogger(__name__)

_PATIENCE: Final = 1.0
"""Seconds for a datagram: a manager that is busy must not hold up whoever speaks to it."""
_MOST: Final = 1000
"""Characters of a value."""


def socket_address(text: str) -> str | None:
    """What NOTIFY_SOCKET says, for `sendto`: a path, or a name of the abstract kind, `@NAME`.

    None for what is neither: no socket, or of a family that we do not speak (vsock).
    """
    if text.startswith("@") and len(text) > 1:
        return f"\0{text[1:]}"
    return text if text.startswith("/") else None


def watchdog_period(environ: MutableMapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager wants a sign of life of this process; None: it wants none."""
    text = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "")
    if not text.isascii() or not text.isdigit() or meant not in ("", str(pid)):
        return None
    return int(text) / 1e6 or None


def status_of(state: ConnectionState) -> str:
    """How a connection is, in a line."""
    if state.connected:
        return f"connected to {state.url}"
    return f"waiting for {state.url}: {state.reason}"


def message(**values: str) -> bytes:
    """A datagram: `NAME=VALUE` a line; a value is one line."""
    return "\n".join(
        f"{name}={' '.join(value.split())[:_MOST]}" for name, value in values.items()
    ).encode()


class ServiceManager:
    """Whoever has started us and wants to know how we are; may be told from any thread.

    `period` is in seconds: so often at least it wants `alive` (None: never).
    """

    def __init__(self, address: str | None = None, period: float | None = None) -> None:
        self.period = None if address is None else period
        self._address = address
        self._socket: socket.socket | None = None
        self._status = ""
        self._failed = False

    @classmethod
    def take(cls, environ: MutableMapping[str, str] | None = None) -> ServiceManager:
        """The one that the environment names.

        It is taken out of there: what agents run must not speak in our name.
        """
        environ = os.environ if environ is None else environ
        period = watchdog_period(environ, os.getpid())
        text = environ.pop("NOTIFY_SOCKET", "")
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environ.pop(name, None)
        address = socket_address(text)
        if text and address is None:
            log.warning("NOTIFY_SOCKET is %r: not a kind of socket that is spoken to", text)
        return cls(address, period)

    def ready(self) -> None:
        """The service serves: after its start, and after a reload."""
        self._tell(READY="1")

    def status(self, text: str) -> None:
        """Say in a line what it is about, when that has changed."""
        if text != self._status:
            self._status = text
            self._tell(STATUS=text)

    def alive(self) -> None:
        """Give a sign of life, where one is wanted."""
        if self.period is not None:
            self._tell(WATCHDOG="1")

    def reloading(self) -> None:
        """It reads its configuration again; `ready` says that it has."""
        self._tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """It begins to end."""
        self._tell(STOPPING="1")

    def _tell(self, **values: str) -> None:
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(_PATIENCE)
            self._socket.sendto(message(**values), self._address)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("the service manager cannot be told: %s", error)
            self._failed = True
