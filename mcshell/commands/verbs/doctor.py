"""`doctor`: what is wrong on this machine, check by check, with the reason.

A check is a function that returns what it found or raises; what it raises is the finding.
"""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import plugins
from mcshell.client.discovery.groups import load_groups
from mcshell.client.pki import pki_of
from mcshell.client.session.folder import folder_of
from mcshell.client.session.session import stores
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.broker_config import check
from mcshell.config import KeyReference
from mcshell.config.mcollective import LEAVES_OPEN
from mcshell.errors import ConfigError, DDLError, FilterError, MCShellError, PluginError
from mcshell.private import check_obeyed, private_folder
from mcshell.storage import storage_flaws
from mcshell.wire import destinations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import DoctorOptions
    from mcshell.config import Settings

__all__ = ["doctor"]

_DAY = 86400.0
_SOON = 30 * _DAY
_LATE = 0.25
"""Of a certificate's life: what is renewed by itself should have been by then."""
_SHOWN = 5
_CONNECT = 5.0
_MINUTE = 60.0
_TOLD = 8
_OTHERS = 0o077

Finding = tuple[str, str, str]


def doctor(context: Context, options: DoctorOptions) -> Table:
    """One row a check: `ok`, `warn` or `fail`, and why; the exit code is 2 when one fails."""
    rows = list(_findings(context, options.broker))
    failed = any(state == "fail" for _, state, _ in rows)
    return Table(("check", "state", "detail"), list(rows), 2 if failed else 0)


def _findings(context: Context, written: str | None) -> Iterator[Finding]:
    try:
        settings = context.settings
    except ConfigError as error:
        yield "configuration", "fail", str(error)
        return
    yield "configuration", "ok", str(settings.path or "defaults and environment only")
    yield _check("state directory", lambda: _state(settings))
    yield _check("sessions", lambda: _sessions(settings))
    if settings.only_mcollective:
        caution = f"only MCollective's wire: {LEAVES_OPEN[settings.mcollective.security]}"
        yield "pki", "warn", caution
    else:
        yield from _signing(settings)
        yield _check("passcode", lambda: _passcode(settings))
        for url in settings.broker.urls:
            yield _check(f"broker {url}", lambda url=url: _broker(settings, url))  # type: ignore[misc] # as above
    if settings.mcollective.enabled:
        yield _check("mcollective keys", lambda: _old_keys(settings))
        yield _check("mcollective broker", lambda: _old_broker(settings))
    if written is not None:
        yield _check(f"broker config {written}", lambda: check(settings, Path(written)))
    if settings.groups or settings.client.groups:
        yield _check("groups", lambda: _groups(settings))
    yield from _plugins()
    if settings.client.external_discovery:
        yield _check("discovery program", lambda: _program(settings))
    yield from _agents(context)
    yield from _facts(settings)
    yield from _handlers(settings)
    yield from _policies(settings)


def _check(name: str, look: Callable[[], str]) -> Finding:
    try:
        found = look()
    except OSError as error:
        named = error.filename and error.strerror
        return name, "fail", f"{error.filename}: {error.strerror}" if named else str(error)
    except (MCShellError, ValueError) as error:
        return name, "fail", " ".join(str(error).split())
    warning = found.removeprefix("warn: ")
    return name, "ok" if warning == found else "warn", warning


def _state(settings: Settings) -> str:
    probe = private_folder(settings.state_dir) / ".doctor"
    probe.touch()
    probe.unlink()
    return next((f"warn: {flaw}" for flaw in storage_flaws(probe.parent)), str(probe.parent))


def _sessions(settings: Settings) -> str:
    """Whether each can be read, and none waits for what mcshell 0.1.0 has sent: no node takes that any more."""
    there = {*folder_of(settings.state_dir).glob("*.sqlite")}
    now, count, lost = time.time(), 0, []
    for store in stores(settings.state_dir):
        count += 1
        there.discard(store.path)
        for request, targets, expires in store.earlier.waiting(1, now):
            end = datetime.fromtimestamp(expires, UTC)
            lost.append(
                f"{request[:8]} of {store.path.stem} ({targets} nodes, until {end:%F %R} UTC)"
            )
    said = []
    if names := sorted(one.name for one in there if one.exists()):
        listed = ", ".join(names[:_SHOWN]) + (", …" if names[_SHOWN:] else "")
        said.append(f"beside {count} session files: no session is in {listed}")
    if lost:
        said.append(
            "sent by mcshell 0.1.0, so that nodes refuse it as wrong_version and it ends as expired: "
            f"{', '.join(lost)}; ask again with retry or rpc"
        )
    return f"warn: {'; '.join(said)}" if said else f"{count} session files"


def _signing(settings: Settings) -> Iterator[Finding]:
    """Key and certificates; where they are not configured, that is one finding."""
    missing = [name for name in ("ca", "cert", "key") if getattr(settings.pki, name) is None]
    if missing:
        names = ", ".join(f"pki.{name}" for name in missing)
        advice = "mcshell pki init and pki issue make them, mcshell demo needs none"
        yield "pki", "fail", f"not set: {names}; nothing goes unsigned ({advice})"
        return
    yield _check("key", lambda: _key(settings))
    dated = {"ca": settings.pki.ca, "cert": settings.pki.cert, "login": settings.broker.cert}
    for name, path in dated.items():
        if path is not None:
            renews = name == "cert" and bool(settings.pki.enrolment)
            yield _check(name, lambda path=path, renews=renews: _dates(path, renews=renews))  # type: ignore[misc] # mypy cannot type a lambda's default
    if settings.pki.ca is not None and (settings.pki.ca.parent / "issued.jsonl").exists():
        yield _check("certificates", lambda: _ending(settings))
    yield _check("identity", lambda: _identity(settings))
    yield _check("chain", lambda: _chain(settings))


def _key(settings: Settings) -> str:
    from mcshell.pki import load_private, read_private  # noqa: PLC0415 - cryptography is slow to load

    _, _, key = settings.pki.complete()
    if isinstance(key, KeyReference):
        return f"{key}: the signer {key.scheme} has it"
    load_private(read_private(key), str(key))
    return f"{key}: only its owner can read it"


def _ending(settings: Settings) -> str:
    """What the CA that lies here has certified, and ends soon."""
    from mcshell.pki import Authority  # noqa: PLC0415 - cryptography is slow to load

    assert settings.pki.ca is not None
    now, authority = time.time(), Authority.open(settings.pki.ca.parent, mend=False)
    if authority.list_due:
        return "warn: crl.pem is missing, or lacks a revocation: mcshell pki list signs it anew"
    found = [
        one
        for one in authority.ending(_SOON)
        if one["expires"] - now < _LATE * (one["expires"] - one["issued"])
    ]
    if not found:
        return f"none of the CA's ends within {_SOON / _DAY:g} d without time to be renewed"
    first = ", ".join(
        f"{one['name']} ({datetime.fromtimestamp(one['expires'], UTC):%F})"
        for one in found[:_SHOWN]
    )
    more = ", ..." if len(found) > _SHOWN else ""
    return (
        f"warn: {len(found)} end within {_SOON / _DAY:g} d: {first}{more} (pki list --ending 30d)"
    )


def _dates(path: Path, *, renews: bool = False) -> str:
    from mcshell.pki.chain import certificates_in  # noqa: PLC0415 - as above

    mine, *_ = certificates_in(path.read_bytes(), str(path))
    now = datetime.now(UTC)
    if now < mine.not_valid_before_utc:
        raise ConfigError(f"{path} is not valid before {mine.not_valid_before_utc:%F}")
    end = mine.not_valid_after_utc
    if end < now:
        raise ConfigError(f"{path} has expired on {end:%F}")
    left, whole = end.timestamp() - time.time(), end - mine.not_valid_before_utc
    if renews:
        late = left < _LATE * whole.total_seconds()
        return (
            f"warn: {path} ends on {end:%F %T}Z, and was not renewed: is pki serve there?"
            if late
            else f"{path} is valid until {end:%F}, and renewed before"
        )
    soon = left < min(_SOON, whole.total_seconds() / 3)  # some live for a day
    return f"{'warn: ' if soon else ''}{path} is valid until {end:%F}"


def _identity(settings: Settings) -> str:
    """Sign and verify with the configured files: key, certificate, CA and CRL fit together."""
    from mcshell.wire.credentials import load_credentials  # noqa: PLC0415 - as above

    credentials = load_credentials(settings.pki)
    signer = credentials.signer
    body = b"doctor"
    identity = credentials.verifier.verify(
        body, signer.sign(body), signer.certificate, now=time.time()
    )
    crl = credentials.verifier.crl_number
    known = "no CRL" if crl is None else f"CRL {crl}"
    return f"{identity.kind} {identity.name} ({identity.callerid}), {known}"


def _chain(settings: Settings) -> str:
    """Whether the certificate's CAs and their revocation lists are all there."""
    from mcshell.commands.verbs.doctor_chain import chain_of  # noqa: PLC0415 - as above

    ca, cert, _ = settings.pki.complete()
    return chain_of(ca, cert, settings.pki.crl, time.time())


def _passcode(settings: Settings) -> str:
    if settings.broker.secret is not None:
        return "from MCSHELL_PASSCODE"
    path = settings.broker.passcode_file
    if path is None:
        return "none is configured"
    settings.broker.passcode()
    if path.stat().st_mode & _OTHERS:
        return f"warn: {path} can be read by others (chmod 600)"
    return f"{path}: only its owner can read it"


def _broker(settings: Settings, url: str) -> str:
    """Connect as the client does; the dialect proves that we know it."""
    from mcshell.client.broker_clock import early_end  # noqa: PLC0415 - as above
    from mcshell.wire.credentials import connector  # noqa: PLC0415 - stomp.py is slow to load
    from mcshell.wire.stomp.support import caution  # noqa: PLC0415 - as above

    began = time.monotonic()
    connection = connector(replace(settings, broker=replace(settings.broker, urls=(url,))))
    try:
        connection.start(_CONNECT)
        took = (time.monotonic() - began) * 1000
        if where := _writable(settings):
            connection.check_sending(where, _CONNECT)
        may_read = ".session." in where
        if may_read and (dropped := early_end(connection, where, _MINUTE, _CONNECT)):
            raise ConfigError(f"its clock is ahead of ours: {dropped}")
        said = f"speaks {connection.dialect.name}, connected in {took:.0f} ms"
        doubt = caution(connection.server, datetime.now(UTC).date())
        return f"warn: {doubt}; it {said}" if doubt else said
    finally:
        connection.close()


def _writable(settings: Settings) -> str:
    """A topic to which this certificate's holder may write; "" without one, of which other rows tell."""
    from mcshell.wire.credentials import load_credentials  # noqa: PLC0415 - as above

    try:
        who = load_credentials(settings.pki).signer.identity
    except (MCShellError, OSError, ValueError):
        return ""
    main = settings.collective.main
    is_node = who.kind == "node"
    return destinations.registration(main) if is_node else destinations.session(main, who.callerid)


def _old_keys(settings: Settings) -> str:
    """Read what the old wire's security needs, as a client or, with a node's certificate, a node."""
    from mcshell.wire.credentials import load_credentials  # noqa: PLC0415 - cryptography is slow to load
    from mcshell.wire.mcollective.setup import open_wire  # noqa: PLC0415 - as above

    kind = load_credentials(pki_of(settings)).signer.identity.kind
    wire = open_wire(settings.mcollective, "node" if kind == "node" else "client")
    security = wire.security
    return f"{security.name} as {security.callerid}, {wire.sender} in {settings.mcollective.main}"


def _old_broker(settings: Settings) -> str:
    """Connect as the old wire does, to a broker whose layout it knows."""
    from mcshell.wire.mcollective.setup import connector, layout_for  # noqa: PLC0415 - as above

    with connector(settings) as connection:
        connection.start(_CONNECT)
        layout = layout_for(settings.mcollective, connection.dialect)
        return (
            f"{connection.url} speaks {connection.dialect.name}: {type(layout).__name__}'s layout"
        )


def _groups(settings: Settings) -> str:
    """Who each group is: a file that cannot be read, a group that is in itself."""
    book = load_groups(settings)
    told: list[str] = []
    for source, groups in book.sources.items():
        for name in groups:
            try:
                told.append(f"@{name} {len(book(f'{source}:{name}'))}")
            except FilterError as error:
                return f"warn: {error}"
    return ", ".join(told[:_TOLD]) + (f", … {len(told)} in all" if len(told) > _TOLD else "")


def _plugins() -> Iterator[Finding]:
    """What distributions have plugged in here; each is loaded, as a node or a client would."""
    try:
        found = plugins.installed()
    except PluginError as error:
        yield "plugins", "fail", str(error)
        return
    for plugin in found:
        name = f"plugin {plugin.kind} {plugin.name}"
        yield _check(name, lambda plugin=plugin: _plugin(plugin))  # type: ignore[misc] # as above


def _plugin(plugin: plugins.InstalledPlugin) -> str:
    plugins.find(plugin.kind, plugin.name)
    where = f"{plugin.where} of {plugin.distribution}"
    if plugin.name in plugins.BUILTIN.get(plugin.kind, {}):
        return f"warn: {where} is not used: there is a built-in one"
    return where


def _agents(context: Context) -> Iterator[Finding]:
    """Which agents a node on this machine would have, and why not the others; schemas without one."""
    from mcshell.ddl.ddl_library import shipped_dir  # noqa: PLC0415 - agents are the last check
    from mcshell.node.agents.registry import load_agents  # noqa: PLC0415 - as above
    from mcshell.node.facts.source import FactSource  # noqa: PLC0415 - as above
    from mcshell.node.host import Host  # noqa: PLC0415 - as above

    settings, library = context.settings, context.ddls
    lenient = settings.node.unknown_validators == "warn"
    served = load_agents([*settings.node.agents, shipped_dir()], lenient=lenient)
    base = settings.path.parent if settings.path else settings.state_dir
    source = FactSource(settings.node.facts, base)
    name = settings.node.identity or "doctor"
    tables = served.configure(settings.agents)
    yield from (("settings", "warn", line) for line in served.misspelt)
    served.activate(Host(name, facts=source.facts, served=served, settings=tables))
    for entry in served.inventory:
        name = entry["name"]
        service = served.get(name)
        flaws = service.ddl.flaws if service else ()
        yield f"agent {name}", "warn" if flaws else "ok", "; ".join(flaws) or entry["description"]
    for agent, reason in sorted(served.inactive.items()):
        yield f"agent {agent}", "warn", f"not active here: {reason}"
    for name in set(library.agents()).difference(served.names, served.inactive):
        try:
            flaws = library.get(name).flaws
        except DDLError as error:
            flaws = (str(error),)
        if flaws:
            yield f"schema {name}", "warn", "; ".join(flaws)


def _facts(settings: Settings) -> Iterator[Finding]:
    """What a node on this machine would leave out of its facts and classes."""
    from mcshell.node.facts.classes import read_classes  # noqa: PLC0415 - as above
    from mcshell.node.facts.source import FactSource  # noqa: PLC0415 - as above

    node = settings.node
    source = FactSource(node.facts, settings.state_dir / "node", room=node.fact_room)
    classes, flaws = read_classes(node.classes, node.class_room)
    flaws += source.flaws()
    if not flaws:
        yield "facts", "ok", f"{len(source.facts())} facts, {len(classes)} classes"
    for line in flaws:
        yield "facts", "warn", line


def _handlers(settings: Settings) -> Iterator[Finding]:
    """Whether the handlers of conversations would be loaded; none is run."""
    from mcshell.node.handler import FOLDER  # noqa: PLC0415 - as above

    for folder in settings.node.agents:
        for path in sorted((folder / FOLDER).glob("*.py")):
            yield _check(f"handler {path.stem}", lambda path=path: _obeyed(path))  # type: ignore[misc] # as above


def _program(settings: Settings) -> str:
    (name, *_) = shlex.split(settings.client.external_discovery)
    return _obeyed(Path(shutil.which(name) or name))


def _obeyed(path: Path) -> str:
    check_obeyed(path)
    return str(path)


def _policies(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the policies of a node on this machine, line by line."""
    from mcshell.node.admission.policy import Policies  # noqa: PLC0415 - as above

    folder = settings.node.policies or settings.state_dir / "node" / "policies"
    if settings.node.policies is None and not folder.is_dir():
        return  # no node lives here
    try:
        found = Policies(folder).flaws()
    except OSError as error:
        yield "policies", "fail", f"{folder}: {error.strerror}: everything is denied"
        return
    if not found:
        yield "policies", "ok", str(folder)
    for name, flaw in found:
        where = f"{name}:{flaw.line}" if flaw.line else name
        yield f"policy {where}", "warn", f"{flaw.message}; it costs {flaw.cost}"
