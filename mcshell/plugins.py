"""One registry for everything that can be plugged in, over entry points `mcshell.KIND`.

A plugin has a kind and a name. The built-in ones stand here as "module:attribute" and are
imported when they are first asked for; a distribution adds its own by an entry point::

    [project.entry-points."mcshell.validator"]
    hostname = "example.checks:hostname"

and a program, or a test, by `register`. First comes what was registered, then what is built in,
then entry points: a distribution cannot quietly replace a built-in validator.

=============  ==================================================================================
authoriser     `Authoriser`: asked by a node after its policy has said yes; can only say no.
               In force as soon as it is installed.
audit          `AuditSink`: is given each line of a node's audit log, which stays.
               In force as soon as it is installed.
signer         `KeySource`: signs where the key is in no file. Built in: `ssh-agent`, `pkcs11`.
               In force where `[pki] key = "NAME:…"` names it.
discovery      `mcshell.client.discovery.methods.DiscoveryMethod`: finds targets; `--dm NAME`.
validator      `mcshell.ddl.validators.Validator`: checks an input; a DDL's `validation` names it.
aggregate      a function as in `mcshell.ddl.aggregates`; a DDL's `aggregate` names it.
=============  ==================================================================================

`mcshell doctor` and `config show` name each plugin that a distribution brings. One that does not
load is a `PluginError`, and where it is an authoriser or an audit sink the node does not start.
Agents and facts are no plugins but files (`[node] agents`, `facts`): what gives a node more to
do is named in its configuration, never switched on by an installation.
"""

from __future__ import annotations

import importlib
import sys
import threading
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell import forking
from mcshell.errors import PluginError, did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "BUILTIN",
    "KINDS",
    "AuditSink",
    "AuthorisationQuestion",
    "Authoriser",
    "InstalledPlugin",
    "KeySource",
    "find",
    "find_all",
    "installed",
    "names",
    "register",
    "unregister",
]

KINDS: Final = ("authoriser", "audit", "signer", "discovery", "validator", "aggregate")
"""What can be plugged in; the entry-point group is `mcshell.KIND`."""

BUILTIN: Final[Mapping[str, Mapping[str, str]]] = {
    "discovery": {
        "broadcast": "mcshell.client.discovery.methods:broadcast",
        "external": "mcshell.client.discovery.external:external",
        "file": "mcshell.client.discovery.methods:named",
        "inventory": "mcshell.client.discovery.methods:inventory",
        "stdin": "mcshell.client.discovery.methods:named",
        "table": "mcshell.client.discovery.methods:named",
    },
    "signer": {
        "pkcs11": "mcshell.pki.pkcs11_token:pkcs11_token",
        "ssh-agent": "mcshell.pki.ssh_agent:ssh_agent",
    },
    "validator": {
        "ipaddress": "mcshell.ddl.validators:ipaddress",
        "ipv4address": "mcshell.ddl.validators:ipv4address",
        "ipv6address": "mcshell.ddl.validators:ipv6address",
        "shellsafe": "mcshell.ddl.validators:shellsafe",
    },
    "aggregate": {
        "average": "mcshell.ddl.aggregates:average",
        "boolean_summary": "mcshell.ddl.aggregates:boolean_summary",
        "sum": "mcshell.ddl.aggregates:total",
        "summary": "mcshell.ddl.aggregates:summary",
    },
}
"""Kind → name → where it is."""

_lock = threading.Lock()


def _in_child() -> None:
    """Whoever held the lock is not there in a child of fork(2)."""
    global _lock  # noqa: PLW0603 - one for the whole process
    _lock = threading.Lock()


forking.in_child(_in_child)

_registered: dict[tuple[str, str], Any] = {}
_loaded: dict[tuple[str, str], Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisationQuestion:
    """What an authoriser is asked: may `caller` have `agent.action` done on this node?

    `data` are the inputs as they were signed, before the DDL has checked them. `owner` is the
    caller whose job is to be touched, None for what belongs to nobody else. Opening a
    conversation is the agent `converse`, and its protocol the action.
    """

    identity: str
    facts: Mapping[str, Any]
    classes: frozenset[str]
    caller: str
    agent: str
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None


class Authoriser(Protocol):
    """Refuses what the policy of a node allows; what the policy refuses it is not asked about.

    It is asked at each request, and once more when a queued one or a job starts, in the threads
    that decide: it must answer at once, and may be asked by several. Whatever it raises is a no.
    """

    def __call__(self, question: AuthorisationQuestion, /) -> str | None:
        """Why not, in one line for the caller; None when it has nothing against it."""


class AuditSink(Protocol):
    """Takes the lines of a node's audit log elsewhere.

    It has a thread of its own, so it may block: the lines wait, and when too many do, or it
    raises, lines are lost for it, counted and logged; what waits when the node is killed is lost
    for it too. The file has them all.
    """

    def __call__(self, line: str, /) -> None:
        """Take one line, a JSON object as the file has it, without its end of line."""


class KeySource(Protocol):
    """Opens the key that `[pki] key = "NAME:REFERENCE"` names."""

    def __call__(self, reference: str, public: bytes, /) -> Callable[[bytes], bytes]:
        """Return the function that signs a message; it is called from any thread.

        `public` is the certificate's key (DER, SubjectPublicKeyInfo); it says what a signature
        is: Ed25519 over the message, ECDSA (DER) with SHA-256 for P-256 and SHA-384 for P-384,
        RSA with PKCS#1 v1.5 and SHA-256. Each signature is verified before it is used.
        """


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plugin that a distribution brings; `where` is its "module:attribute".

    `kind` is what the distribution says, and may be none of `KINDS`.
    """

    kind: str
    name: str
    where: str
    distribution: str


def find(kind: str, name: str) -> Any:
    """Return a plugin, imported if need be.

    Raises:
        PluginError: no such kind or name (with what was meant), it does not load, or two
            distributions bring one of that name.
    """
    _check_kind(kind)
    with _lock:
        for known in (_registered, _loaded):
            if (kind, name) in known:
                return known[kind, name]
    where = BUILTIN.get(kind, {}).get(name) or _installed_as(kind, name)
    plugin = _load(kind, name, where)
    with _lock:
        return _loaded.setdefault((kind, name), plugin)


def find_all(kind: str) -> dict[str, Any]:
    """Return all plugins of a kind by name; PluginError names the first that does not load."""
    return {name: find(kind, name) for name in names(kind)}


def names(kind: str) -> list[str]:
    """Return the names of a kind's plugins, sorted; PluginError when there is no such kind."""
    _check_kind(kind)
    with _lock:
        registered = {name for other, name in _registered if other == kind}
    brought = {plugin.name for plugin in installed() if plugin.kind == kind}
    return sorted({*registered, *BUILTIN.get(kind, {}), *brought})


def register(kind: str, name: str, plugin: Any) -> None:
    """Add a plugin for this process; it comes before a built-in one of the same name."""
    _check_kind(kind)
    with _lock:
        _registered[kind, name] = plugin


def unregister(kind: str, name: str) -> None:
    """Take back `register`; nothing happens when it is not there."""
    with _lock:
        _registered.pop((kind, name), None)


@cache
def installed() -> tuple[InstalledPlugin, ...]:
    """What the distributions on sys.path bring, by kind and name; nothing is imported.

    Their files are read here: `importlib.metadata` costs each node 1.2 MB and 60 ms.

    Raises:
        PluginError: a distribution's file cannot be read.
    """
    files: dict[str, Path] = {}
    for folder in dict.fromkeys(sys.path):
        for file in Path(folder).glob("*.*-info/entry_points.txt"):
            distribution = file.parent.stem
            # The first on the path is the one that is imported.
            files.setdefault(distribution.partition("-")[0].lower(), file)
    found = [plugin for file in files.values() for plugin in _read(file)]
    return tuple(sorted(found, key=lambda plugin: (plugin.kind, plugin.name, plugin.where)))


def _read(file: Path) -> Iterator[InstalledPlugin]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PluginError(f"{file} cannot be read: {error}") from error
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif group.startswith("mcshell.") and "=" in line and not line.startswith(("#", ";")):
            name, _, where = map(str.strip, line.partition("="))
            yield InstalledPlugin(group.removeprefix("mcshell."), name, where, file.parent.stem)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"no plugin kind {kind!r}{did_you_mean(kind, KINDS)}", kind)


def _installed_as(kind: str, name: str) -> str:
    found = [plugin for plugin in installed() if (plugin.kind, plugin.name) == (kind, name)]
    if not found:
        raise PluginError(f"no {kind} {name!r}{did_you_mean(name, names(kind))}", kind, name)
    if len(found) > 1:
        several = " and ".join(plugin.distribution for plugin in found)
        raise PluginError(f"{kind} {name!r} is brought by {several}: only one can be", kind, name)
    return found[0].where


def _load(kind: str, name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    try:
        loaded: Any = importlib.import_module(module.strip())
        for part in filter(None, attribute.partition("[")[0].strip().split(".")):
            loaded = getattr(loaded, part)
    except Exception as error:  # a foreign module's import may raise anything
        raise PluginError(
            f"{kind} {name!r} ({where}) does not load: {type(error).__name__}: {error}", kind, name
        ) from error
    if not callable(loaded):
        raise PluginError(f"{kind} {name!r} ({where}) is no function", kind, name)
    return loaded
