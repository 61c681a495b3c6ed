"""`broker`, `node`, `emulate`, `supervisor`, `pki serve`: they run until SIGTERM; each is loaded when run."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.config import BrokerSettings, load

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import (
        BrokerOptions,
        EmulateOptions,
        NodeOptions,
        PKIServeOptions,
    )
    from mcshell.commands.grammar.options import PartOptions, ServiceOptions

__all__ = ["JSONFormatter", "begin_log", "broker", "emulate", "node", "pki_serve", "supervisor"]


def broker(_context: Context, options: BrokerOptions) -> Table:
    """Run the embedded broker in the foreground."""
    from mcshell.broker.service import run  # noqa: PLC0415 - a node needs no broker

    _begin(options)
    return _ended(
        run(
            options.listen,
            Path(options.data),
            user=options.user or "",
            passcode=_passcode(options.passcode_file),
            tls_cert=_path(options.tls_cert),
            tls_key=_path(options.tls_key),
            tls_ca=_path(options.tls_ca),
            enrol_listen=options.enrol_listen or "",
            enrol_passcode=_passcode(options.enrol_passcode_file),
        )
    )


def node(context: Context, options: NodeOptions) -> Table:
    """Run a node daemon in the foreground, or look whether one could be."""
    if options.check:
        from mcshell.commands.verbs.node_check import check  # noqa: PLC0415 - a daemon checks nothing

        return check(context.path)
    from mcshell.node.daemon import run  # noqa: PLC0415 - a broker needs no node

    _begin(options)
    run(context.settings, partial(load, context.path))
    return _ended(0)


def emulate(context: Context, options: EmulateOptions) -> Table:
    """Run emulated nodes in the foreground."""
    from mcshell.node.emulator.emulator import run  # noqa: PLC0415 - a broker needs no node

    _begin(options)
    run(
        context.settings,
        options.count,
        Path(options.pki),
        seed=options.seed,
        prefix=options.prefix,
        roles=options.roles,
    )
    return _ended(0)


def supervisor(context: Context, options: PartOptions) -> Table:
    """Run a supervisor in the foreground."""
    from mcshell.supervisor.service import run  # noqa: PLC0415 - a broker needs no supervisor

    _begin(options)
    run(context.settings, partial(load, context.path))
    return _ended(0)


def pki_serve(context: Context, options: PKIServeOptions) -> Table:
    """Answer machines that ask for certificates, in the foreground, with the CA's key."""
    from mcshell.commands.verbs.pki_serve import serve  # noqa: PLC0415 - a broker needs no CA

    _begin(options)
    serve(context, options)
    return _ended(0)


def _ended(code: int | None) -> Table:
    """Nothing to show, and the service's exit code."""
    return Table((), [], code or 0)


def _passcode(file: str | None) -> str:
    return BrokerSettings(passcode_file=_path(file)).passcode()


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _begin(options: PartOptions) -> None:
    begin_log(options)
    faulthandler.enable()  # what each thread was at, when a watchdog ends us by SIGABRT
    if options.until_eof:
        threading.Thread(target=_watch, name="mcshell-eof", daemon=True).start()


def _watch() -> None:
    """End as SIGTERM does once standard input has: whoever started us is gone, perhaps killed."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def begin_log(options: ServiceOptions) -> None:
    """Log to standard error, one line a record; with `--log-json` as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    if options.log_json:
        from mcshell.commands.verbs.services import JSONFormatter  # noqa: PLC0415 - only with --log-json

        handler.setFormatter(JSONFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler], force=True)


class JSONFormatter(logging.Formatter):
    """One JSON object a record: time (epoch), level, logger, message, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line of JSON."""
        found = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)
