"""`session …`: durable sessions, listed, named, taken up again, copied and dropped."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING

from mcshell.client.pki import pki_of
from mcshell.client.session.folder import folder_of
from mcshell.client.session.session import Session, SessionInfo, listing, remove
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.submitting import unfinished, wait_quiet
from mcshell.errors import SessionError, UsageError, did_you_mean
from mcshell.texts import expanded
from mcshell.wire.credentials import load_credentials, load_verifier

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import Options
    from mcshell.commands.grammar.session_options import (
        AttachOptions,
        DropOptions,
        ExportOptions,
        ImportOptions,
        NewOptions,
        SaveOptions,
    )

__all__ = ["attach", "detach", "drop", "export", "import_", "list_", "new", "save"]

_LISTED = tuple(field.name for field in fields(SessionInfo))
_MINOR = ("address", "caller", "collective")
_QUIET = 0.6


def list_(context: Context, _options: Options) -> Table:
    """Every session of the state directory; `open` counts targets that may still answer."""
    rows = [astuple(info) for info in listing(context.settings.state_dir)]
    return Table(_LISTED, rows, times=("newest",), quiet=("holder", "strays"), minor=_MINOR)


def new(context: Context, options: NewOptions) -> Table:
    """Make a session; at a prompt it is the current one from then on."""
    settings = context.settings
    if (folder_of(settings.state_dir) / f"{options.name}.sqlite").exists():
        raise SessionError(f"there is a session {options.name!r} already", options.name)
    caller = load_credentials(pki_of(settings)).signer.identity.callerid
    Session.open(settings.state_dir, caller, settings.collective.main, options.name).close()
    if context.face != "cli":
        context.attach(options.name)
    return Table(("name", "caller"), [(options.name, caller)])


def save(context: Context, options: SaveOptions) -> Table:
    """Name the current session: from then on it is kept, and found under that name."""
    client = context.client(options.session)
    former = client.session.name
    client.session.save(options.name)
    if not options.session:
        context.attach(options.name)
    return Table(("name", "was"), [(client.session.name, former)])


def attach(context: Context, options: AttachOptions) -> Table:
    """Take a session up again: what it had not sent goes out, what waited for it comes in."""
    known = {info.name: info for info in listing(context.settings.state_dir)}
    before = known.get(options.session)
    context.attach(options.session)
    client = context.client(options.session)
    most = options.timeout
    wait_quiet(client, context.settings.client.timeout if most is None else most, _QUIET)
    notes = () if before else (_unheard_of(options.session, known),)
    client.find_lost()
    had = 0 if before is None else before.replies
    return Table(
        ("name", "holds", "requests", "replies", "new", "open"), [_row(client, had)], 0, notes
    )


def _row(client: Client, had: int) -> tuple[object, ...]:
    store, session = client.session.store, client.session
    replies = store.reply_count()
    asked = len(store.requests())
    return (session.name, session.holds, asked, replies, replies - had, unfinished(client))


def _unheard_of(name: str, known: dict[str, SessionInfo]) -> str:
    hint = did_you_mean(name, known)
    made = "it was made now; its queue is taken, its history is not here"
    return f"there was no session {name!r} here{hint}: {made}"


def detach(context: Context, _options: Options) -> Table:
    """Leave the current session; its replies wait in its queue from now on."""
    if context.face == "cli":
        raise UsageError("session detach: a command line leaves its session when it ends")
    client = context.current()
    if client is None and context.session is None:
        raise UsageError("session detach: no session is attached")
    name = context.session if client is None else client.session.name
    context.detach()
    return Table(("name",), [(name,)])


def export(context: Context, options: ExportOptions) -> Table:
    """Copy a session into a file, for another machine; needs no broker.

    Without a name it is the one that lines use. If that has none yet, it is saved under the file's.
    """
    from mcshell.client.session.transfer import export_session  # noqa: PLC0415 - no light node has it

    state = context.settings.state_dir
    target = expanded(options.file)
    name = _current(context, target) if options.session is None else options.session
    if not (folder_of(state) / f"{name}.sqlite").exists():
        raise _nameless(context, name)
    written = export_session(state, name, target)
    return Table(("name", "file", "bytes"), [(name, str(written), written.stat().st_size)])


def _current(context: Context, target: Path) -> str:
    """The name of the session that lines use; it is given one, so that it can be attached."""
    client = context.current()
    if client is None:
        if context.session is None:
            raise UsageError("session export: no session is in use here: SESSION FILE is meant")
        return context.session
    if not client.session.named:
        if target.exists():
            raise SessionError(f"{target} is there already", client.session.name)
        client.session.save(target.stem)
        context.attach(target.stem)
    return client.session.name


def import_(context: Context, options: ImportOptions) -> Table:
    """Take in a copied session, or merge it into ours; every signature is verified again."""
    from mcshell.client.session.transfer import import_session  # noqa: PLC0415 - as above

    settings = context.settings
    report = import_session(
        settings.state_dir,
        load_verifier(pki_of(settings)),
        expanded(options.file),
        settings.serves,
        options.session,
    )
    refused = report.refused.total()
    notes = [f"refused: {number} by {reason}" for reason, number in report.refused.most_common()]
    if report.unverified:
        notes.append(
            f"{report.unverified} requests are (unverified): nothing signed proves what was asked"
        )
    if report.strays:
        notes.append(f"{report.strays} replies are kept here that another session asked for")
    if report.held:
        notes.append(
            f"replies of {report.held} nodes have outlived their certificates: they are kept until newer "
            "ones of the same keys are seen (session attach)"
        )
    if report.plans_left:
        notes.append(
            f"plans of an earlier version left out: {report.plans_left} (nothing signed says for whom "
            "their waves are; resume them where they were begun)"
        )
    if report.missing:
        notes.append(f"{report.missing} replies are still only with the former holder")
    columns = ("name", "caller", "requests", "replies", "refused", "missing")
    row = (report.name, report.caller, report.requests, report.replies, refused, report.missing)
    return Table(columns, [row], 2 if refused else 0, tuple(notes))


def drop(context: Context, options: DropOptions) -> Table:
    """Delete a session's file; what its targets still answer is lost."""
    name = options.session
    infos = {info.name: info for info in listing(context.settings.state_dir)}
    if name not in infos:
        raise _nameless(context, name)
    if context.is_open(name):
        raise SessionError(f"session {name!r} is in use here: session detach first", name)
    if (waiting := infos[name].open) and not options.yes:
        text = f"session {name!r} still waits for {waiting} targets"
        if context.ask is None:
            raise UsageError(f"{text}: say --yes to drop it all the same")
        if not context.ask(f"{text}; drop it?"):
            raise UsageError("not confirmed: nothing was dropped")
    remove(context.settings.state_dir, name)
    return Table(
        ("name", "requests", "replies"), [(name, infos[name].requests, infos[name].replies)]
    )


def _nameless(context: Context, name: str) -> SessionError:
    names = [path.stem for path in folder_of(context.settings.state_dir).glob("*.sqlite")]
    return SessionError(f"no session {name!r}{did_you_mean(name, names)}", name)
