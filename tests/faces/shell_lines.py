"""What is typed in bash, zsh and fish before Tab, and the words that mcshell would get then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.client.session.folder import folder_of
from mcshell.client.store.jobs import KeptJob
from mcshell.client.store.records import RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.message import Filter, Via
from mcshell.pki import Authority
from mcshell.private import private_folder
from mcshell.wire.credentials import load_realm

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HOSTILE", "LISTS", "OPEN", "UNSPEAKABLE", "WORDS", "make_place"]

JOB, REQUEST = "f00d" * 8, "beef" * 8

HOSTILE = (
    "$(touch PWNED)",
    "`touch PWNED`",
    "${IFS}touch${IFS}PWNED",
    "x; touch PWNED",
    "x | touch PWNED",
    "x && touch PWNED",
    "x & touch PWNED",
    "> PWNED",
    "<(touch PWNED)",
    "(touch PWNED)",
    "'; touch PWNED; '",
    '"; touch PWNED; "',
    "'$(touch PWNED)'",
    '"$(touch PWNED)"',
    "it's",
    'say "hi"',
    "'",
    '"',
    "both ' and \"",
    "C:\\new\\table",
    "ends with \\",
    "\\'; touch PWNED #",
    '\\"; touch PWNED #',
    "!!",
    "!touch PWNED",
    "wow!",
    "$HOME",
    "~root",
    "*",
    "[a-z]?",
    "{1..9}",
    "a{b,c}d",
    "# no comment",
    "%s%n",
    "=ls",
    "-rf /",
    "--help",
    "two  spaces",
    " leading",
    "trailing ",
    "a:b:c",
    "k=v=w",
    "user@host",
    "^old^new",
    "$'\\n'",
    "ünïcödé 日本",
)
"""Values of facts, each of which has to arrive as it is, as one word."""
UNSPEAKABLE = (
    "two\nlines",
    "a\rb",
    "\x1b[2Jclear",
    "\x07bell",
    "\u202ereversed",
    "nul\x00",
    "a\tb",
)
"""Values that nobody could type: never offered."""

WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pin", ("ping",)),
    ("inv", ("inventory",)),
    ("session att", ("session", "attach")),
    ("session attach pa", ("session", "attach", "patch-friday")),
    ("broker con", ("broker", "config")),
    ("help tim", ("help", "times")),
    ("completion fi", ("completion", "fish")),
    ("--vers", ("--version",)),
    ("--config c.toml pin", ("--config", "c.toml", "ping")),
    ("--format vert", ("--format", "vertical")),
    ("rpc pack", ("rpc", "package")),
    ("rpc package sta", ("rpc", "package", "status")),
    ("rpc service restart na", ("rpc", "service", "restart", "name=")),
    ("rpc process signal signal=KI", ("rpc", "process", "signal", "signal=KILL")),
    ("rpc rpcutil get_fact fact=ro", ("rpc", "rpcutil", "get_fact", "fact=role")),
    ("rpc package status --via que", ("rpc", "package", "status", "--via", "queue")),
    ("rpc package status --via=que", ("rpc", "package", "status", "--via=queue")),
    ("rpc rpcutil ping --can", ("rpc", "rpcutil", "ping", "--canary")),
    ("find -I db", ("find", "-I", "db1")),
    ("find -I WEB1", ("find", "-I", "web1")),
    ("find --wi db", ("find", "--wi", "db1")),
    ("find -I @edg", ("find", "-I", "@edge")),
    ("find -C role::d", ("find", "-C", "role::db")),
    ("find -C 'role::d", ("find", "-C", "role::db")),
    ("find -F ro", ("find", "-F", "role=")),
    ("find -F role=d", ("find", "-F", "role=db")),
    ("find -F role!=d", ("find", "-F", "role!=db")),
    ("find -F os.name=Deb", ("find", "-F", "os.name=Debian")),
    ("find -F os.name=deb", ("find", "-F", "os.name=Debian")),
    ("find -F os.name=Roc", ("find", "-F", "os.name=Rocky Linux")),
    ("find -F os.name=Rocky\\ L", ("find", "-F", "os.name=Rocky Linux")),
    ("find -F 'os.name=Rocky L", ("find", "-F", "os.name=Rocky Linux")),
    ('find -F "os.name=Rocky L', ("find", "-F", "os.name=Rocky Linux")),
    ("find -F os.name='Rocky L", ("find", "-F", "os.name=Rocky Linux")),
    ('find -F os.name="Rocky L', ("find", "-F", "os.name=Rocky Linux")),
    ("find -F 'os'.name=Roc", ("find", "-F", "os.name=Rocky Linux")),
    ("find -F 'os.name='Roc", ("find", "-F", "os.name=Rocky Linux")),
    ("find -S role=web\\ and\\ os.na", ("find", "-S", "role=web and os.name=")),
    ("find -S not\\ role=d", ("find", "-S", "not role=db")),
    ("find -T e", ("find", "-T", "eu")),
    ("facts os.n", ("facts", "os.name")),
    ("replies be", ("replies", REQUEST[:10])),
    ("job show dr", ("job", "show", "drain")),
    ("job log drain db", ("job", "log", "drain", "db1")),
    ("upd na", ("upd", "name=")),
    ("find --nodes odd", ("find", "--nodes", "odd $(touch PWNED).txt")),
    ("find -I zz", ("find", "-I", "zz")),
    ("nothing x", ("nothing", "x")),
)
"""Typed behind `mcshell`, and what its words are behind Tab where there is one way to go on."""
OPEN: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("find -S 'role=web and os.na", ("find", "-S", "role=web and os.name="), "bash"),
    ('find -S "(role=d', ("find", "-S", "(role=db"), "bash fish"),
    ("find -F 'ro", ("find", "-F", "role="), "bash"),
    ("-e 'find -I d", ("-e", "find -I db1"), "bash fish"),
)
"""Typed with a quote that goes on behind what is offered, and the shells that close it all the same."""
LISTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("session ", ("list", "new", "save", "attach", "detach", "export", "import", "drop")),
    ("find -I we", ("web1", "web2")),
    ("session attach ", ("other", "patch-friday")),
    ("plan ", ("run", "preview", "resume", "list")),
    ("find -C evil", ("evil::$(touch PWNED)",)),
    ("find -I ", ("db1", "evil1; touch PWNED", "web1", "web2")),
    ("find -C ", ("evil::$(touch PWNED)", "role::db", "role::web")),
    ("find -F evil.u", tuple(f"evil.u{at:02}z=" for at in range(len(UNSPEAKABLE)))),
    ("find -F evil.u00z=", ()),
    ("find -F n", tuple(f"n{at:02}z{value}=" for at, value in enumerate(HOSTILE))),
)
"""Typed, and all that is offered: what nobody could type is not."""


def make_place(folder: Path) -> None:
    """A configuration and what its operator knows: nodes, sessions, a request, a job."""
    Authority.init(folder / "pki", "tests").issue("alice", "operator", out=folder)
    (folder / "c.toml").write_text(
        'state = "state"\n[pki]\nca = "pki/ca.pem"\ncert = "alice.pem"\nkey = "alice.key"\n'
        '[collective]\nmain = "mcs"\nmember = ["mcs", "eu"]\n'
        '[aliases]\nupd = "rpc package update"\n[groups]\nedge = "edge[1-4]"\n'
    )
    (folder / "c.toml").chmod(0o600)
    (folder / "odd $(touch PWNED).txt").write_text("web1\n")
    settings = config.load(folder / "c.toml")
    private_folder(folder_of(settings.state_dir))
    known = NodeCache(settings.state_dir / "nodes.sqlite", load_realm(settings.pki))
    known.learn("mcs", nodes())
    known.close()
    SessionStore(folder_of(settings.state_dir) / "other.sqlite").close()
    store = SessionStore(folder_of(settings.state_dir) / "patch-friday.sqlite")
    for id_, agent, action in ((REQUEST, "package", "status"), (JOB, "service", "restart")):
        store.add(
            RequestRecord(
                id=id_,
                agent=agent,
                action=action,
                via=Via.QUEUE,
                collective="mcs",
                created=time.time(),
                expires=time.time() + 900,
                filter=Filter(),
                data={},
            ),
            ["web1"],
        )
    store.jobs.add(KeptJob(JOB, "drain", b"{}", JOB))
    store.close()


def nodes() -> list[CachedNode]:
    """Three good nodes, and one that says the worst."""
    plain = [
        CachedNode(
            identity=name,
            seen=time.time(),
            facts={"os": {"name": system}, "role": role},
            classes=frozenset({f"role::{role}"}),
        )
        for name, system, role in (
            ("web1", "Debian", "web"),
            ("web2", "Rocky Linux", "web"),
            ("db1", "Debian", "db"),
        )
    ]
    evil: dict[str, object] = {f"v{at:02}z": value for at, value in enumerate(HOSTILE)}
    evil |= {f"u{at:02}z": value for at, value in enumerate(UNSPEAKABLE)}
    names = {f"n{at:02}z{value}": 1 for at, value in enumerate((*HOSTILE, *UNSPEAKABLE))}
    worst = CachedNode(
        identity="evil1; touch PWNED",
        seen=time.time(),
        facts={"evil": evil, **names},
        classes=frozenset({"evil::$(touch PWNED)", "-rf"}),
    )
    return [*plain, worst]
