"""`pki serve`: the CA's service, put together from a broker's configuration and the line."""

from __future__ import annotations

import shlex
import signal
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.config import BrokerSettings, load
from mcshell.enrolment.decision import Decider
from mcshell.enrolment.service import EnrolmentService
from mcshell.enrolment.serving import EnrolmentServer
from mcshell.enrolment.store import EnrolmentStore
from mcshell.errors import ConfigError, UsageError
from mcshell.node.process.notify import ServiceManager
from mcshell.node.process.service import say_ready
from mcshell.pki import Authority
from mcshell.wire.destinations import ENROLMENT_SERVICE, ENROLMENT_VHOST
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.broker.config.rights_in_force import RightsInForce
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import PKIServeOptions

__all__ = ["serve"]


def serve(context: Context, options: PKIServeOptions) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it listens.

    Raises:
        UsageError: it is not said where machines ask.
        ConfigError: a CA, a file or a program that cannot be used.
    """
    folder = context.ca_dir(options.pki)
    authority = Authority.open(folder)
    broker = None if options.broker is None else Path(options.broker)
    transport = _transport(folder, broker, options)
    manager = ServiceManager.take()
    with EnrolmentStore(folder) as store:
        service = EnrolmentService(
            authority,
            store,
            lifetime=options.days,
            decide=None if options.decide is None else Decider(Path(options.decide)),
            settings=_node_settings(context, options.node_config),
        )
        server = EnrolmentServer(
            service,
            transport,
            context.settings.collective.member,
            _rights(context, authority, broker, options.reload),
            manager.alive,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())

        def ready() -> None:
            say_ready()
            manager.ready()

        server.serve(ready)
        manager.stopping()


def _transport(folder: Path, broker: Path | None, options: PKIServeOptions) -> Connector:
    """The CA's connection to where machines ask."""
    urls, file = options.url, options.passcode_file
    if broker is not None:
        from mcshell.broker.config.enrolment import PASSCODE_FILE  # noqa: PLC0415 - for --broker

        urls = urls or _listeners(broker)
        file = file or str(broker / PASSCODE_FILE)
    if not urls or file is None:
        raise UsageError(
            "where do machines ask? --broker DIR, as broker config wrote it with --enrol-port; or "
            "--url and --passcode-file"
        )
    passcode = BrokerSettings(passcode_file=Path(file)).passcode()
    return Connector(
        urls,
        user=ENROLMENT_SERVICE,
        passcode=passcode,
        tls=TLSFiles(folder / "ca.pem"),
        vhost=ENROLMENT_VHOST,
    )


def _listeners(broker: Path) -> list[str]:
    """The listeners for machines without a certificate, of a configuration that was written here."""
    from mcshell.broker.config.writing import read_record  # noqa: PLC0415 - for --broker

    said = read_record(broker).get("options") or {}
    port, hosts = said.get("enrol_port"), said.get("cluster") or said.get("host")
    if not port or not hosts:
        raise ConfigError(
            f"{broker} has no listener for enrolment: broker config --enrol-port PORT"
        )
    return [f"stomp+ssl://{host}:{port}" for host in hosts]


def _rights(
    context: Context, authority: Authority, broker: Path | None, reload: str | None
) -> RightsInForce | None:
    if broker is None:
        if reload is not None:
            raise UsageError("--reload goes with --broker DIR: what is to be taken over?")
        return None
    from mcshell.broker.config.rights_in_force import RightsInForce  # noqa: PLC0415 - for --broker
    from mcshell.broker.config.writing import read_record  # noqa: PLC0415 - as above

    if read_record(broker).get("broker") == "embedded":
        return None

    command = [str(broker.absolute() / "reload")] if reload is None else _command(reload)
    return RightsInForce(broker, authority, context.settings, command)


def _command(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--reload {text}: {error}") from None
    if not words:
        raise UsageError("--reload names no command")
    return words


def _node_settings(context: Context, file: str | None) -> Mapping[str, Any]:
    """What a node's configuration is to begin with: a file's sections, or where the brokers are."""
    if file is not None:
        load(Path(file))  # says what is wrong with it
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    settings = context.settings
    found: dict[str, dict[str, Any]] = {"broker": {"urls": list(settings.broker.urls)}}
    collective = settings.collective
    if (collective.main, collective.member) != ("mcs", ("mcs",)):
        found["collective"] = {"main": collective.main, "member": list(collective.member)}
    return found
