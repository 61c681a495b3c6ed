"""The embedded broker as a service: `mcshell broker`."""

from __future__ import annotations

import asyncio
import resource
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from mcshell.broker.enrolment import EnrolmentConnection
from mcshell.broker.server import Broker, BrokerConnection
from mcshell.errors import ConfigError
from mcshell.wire.log_lines import say
from mcshell.wire.stomp.endpoint import server_context
from mcshell.wire.stomp.server import address_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["run"]

_Listener = tuple[
    str, "ssl.SSLContext | None", "Callable[[Broker, ssl.SSLContext | None], BrokerConnection]"
]
"""An address, TLS, and what serves who comes there."""


async def _serve(broker: Broker, listeners: list[_Listener]) -> int:
    ended = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, ended.set)
    served = [await broker.start(*address_of(at), tls, serves) for at, tls, serves in listeners]
    broker.failed.add_done_callback(lambda _: ended.set())
    say(f"ready {' '.join(f'{host}:{port}' for host, port in served)}")
    await ended.wait()
    if broker.failed.done():
        say(f"mcshell broker: {broker.failed.result()}")
        return 70
    await broker.stop()
    # The loop, as it closes, would let them kill us.
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(signal_)
        signal.signal(signal_, signal.SIG_IGN)
    return 0


def run(
    listen: str,
    data: Path,
    *,
    user: str = "",
    passcode: str = "",
    tls_listen: str = "",
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    tls_ca: Path | None = None,
    enrol_listen: str = "",
    enrol_passcode: str = "",
) -> int:
    """Serve until SIGTERM or SIGINT, or raise ConfigError; returns the exit code.

    Says `ready HOST:PORT` on standard error. With a certificate and its key `listen` speaks TLS,
    or, where there is a `tls_listen`, that does and `listen` is plain. With a `tls_ca` clients
    must show a certificate of it. At `enrol_listen` machines without one ask for theirs, and the
    CA's service answers, which has the passcode.
    """
    # the soft limit is often 1024 clients, for the sake of programs that use select()
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a limit that has become smaller than it: it is as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if bool(user) != bool(passcode):
        why = "--user and a --passcode-file that has one go together: one alone keeps nobody out"
        raise ConfigError(why, key="--user")
    tls = server_context(tls_cert, tls_key, tls_ca)
    for name, wanted in (("--tls-listen", tls_listen), ("--enrol-listen", enrol_listen)):
        if wanted and not tls:
            raise ConfigError(f"{name} needs --tls-cert and --tls-key", key=name)
    where: list[_Listener] = [(listen, None if tls_listen else tls, BrokerConnection)]
    where += [(tls_listen, tls, BrokerConnection)] * bool(tls_listen)
    if enrol_listen and not enrol_passcode:
        why = "--enrol-listen needs --enrol-passcode-file: without it nobody could answer there"
        raise ConfigError(why, key="--enrol-passcode-file")
    if enrol_listen:
        serves = partial(EnrolmentConnection, passcode=enrol_passcode)
        where.append((enrol_listen, server_context(tls_cert, tls_key, None), serves))
    return asyncio.run(_serve(Broker(data, user=user, passcode=passcode), where))
