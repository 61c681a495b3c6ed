"""`broker`, `node`, `emulate`, `supervisor`, `pki serve`: they run until SIGTERM; each is loaded when run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.config import BrokerSettings, load
from mcshell.node.process.service import begin, end

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import (
        BrokerOptions,
        EmulateOptions,
        NodeOptions,
        PKIServeOptions,
    )
    from mcshell.commands.grammar.options import PartOptions

__all__ = ["broker", "emulate", "node", "pki_serve", "supervisor"]


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
    end()
    return Table((), [], code or 0)


def _passcode(file: str | None) -> str:
    return BrokerSettings(passcode_file=_path(file)).passcode()


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _begin(options: PartOptions) -> None:
    begin(options.log_level, as_json=options.log_json, until_eof=options.until_eof)
