"""What systemd is to a service: the socket that NOTIFY_SOCKET names, and what came in, in order."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Self

from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Manager"]

Told = dict[str, str]


class Manager:
    """A datagram socket in a folder, or an abstract one; a context manager that closes it."""

    def __init__(self, folder: Path | None) -> None:
        """None: an abstract one."""
        name = f"mcs-{uuid.uuid4().hex[:12]}"
        self.address = f"@{name}" if folder is None else str(folder / name)
        self.told: list[tuple[float, Told]] = []
        """When (monotonic), and what."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address.replace("@", "\0", 1))
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while data := self._socket.recv(65536):
            lines = (line.partition("=") for line in data.decode().splitlines())
            self.told.append((time.monotonic(), {name: value for name, _, value in lines}))

    def environ(self, watchdog: float | None = None) -> dict[str, str]:
        """What systemd puts into a service's environment; `watchdog` in seconds."""
        found = {"NOTIFY_SOCKET": self.address}
        if watchdog is not None:
            found["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        return found

    def all(self, *names: str) -> list[Told]:
        """What was told so far of these names, in its order."""
        return [told for _, told in list(self.told) if not names or told.keys() & {*names}]

    def came(self, seconds: float, **wanted: str) -> bool:
        """Wait until something was told in which each value begins as wanted."""
        return wait_until(
            lambda: any(
                all(
                    told.get(name, "").startswith(value) and name in told
                    for name, value in wanted.items()
                )
                for told in self.all()
            ),
            seconds,
        )

    def signs(self) -> list[float]:
        """When signs of life came (monotonic)."""
        return [at for at, told in list(self.told) if "WATCHDOG" in told]

    def forget(self) -> None:
        """Forget what was told until now."""
        self.told.clear()
