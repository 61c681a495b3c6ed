"""Settings, each with its origin: flag > environment > file > default (DESIGN §12).

`load()` reads the TOML file that a flag, `MCSHELL_CONFIG` or the platform's place names. Any
scalar or list key of a section also comes from `MCSHELL_<SECTION>_<KEY>` (lists with commas).
The node daemon loads this module: it stays light.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mcshell.errors import ConfigError, did_you_mean
from mcshell.mcollective import CIPHERS, SECURITIES, SERIALIZERS, MCollective

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "PKI",
    "Broker",
    "Client",
    "Collective",
    "Limit",
    "MCollective",
    "Node",
    "Pool",
    "Settings",
    "Supervisor",
    "load",
    "seconds",
    "size",
    "variables",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_SHARE = re.compile(r"\d+%?")
_NAME = re.compile(r"[a-z0-9_-]+")
_URL = re.compile(r"stomp(\+ssl)?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(\d{1,5})/?")


def seconds(raw: Any) -> float:
    """Read a duration: a number is seconds, text such as "10s", "1.5s", "1h30m", "180d".

    Raises:
        ValueError: it is neither.
    """
    if isinstance(raw, int | float) and not isinstance(raw, bool) and raw >= 0:
        return float(raw)
    if isinstance(raw, str):
        text = raw.replace(" ", "")
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
    raise ValueError(f"{raw!r} is no duration (such as 10s, 1.5s, 24h or 180d)")


def size(raw: Any) -> int:
    """Read a size: a number is bytes, text such as "1MiB" or "500kB".

    Raises:
        ValueError: it is neither.
    """
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    found = _SIZE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found and found[2] in _SIZES:
        return int(float(found[1]) * _SIZES[found[2]])
    raise ValueError(f"{raw!r} is no size (such as 1MiB, 500kB or a number of bytes)")


# Readers take the raw value (text, when it came from the environment) and raise ValueError.


def _text(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError(f"{raw!r} is not text")


def _count(raw: Any) -> int:
    number = int(raw) if isinstance(raw, str) and raw.strip().isdecimal() else raw
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    raise ValueError(f"{raw!r} is no whole number")


def _flag(raw: Any) -> bool:
    found = {"true": True, "false": False}.get(raw) if isinstance(raw, str) else raw
    if isinstance(found, bool):
        return found
    raise ValueError(f"{raw!r} is neither true nor false")


def _one_of(known: Sequence[str]) -> Callable[[Any], str]:
    def read(raw: Any) -> str:
        if raw in known:
            return str(raw)
        listed = ", ".join(known)
        raise ValueError(f"{raw!r} is not one of {listed}{did_you_mean(str(raw), known)}")

    return read


def _some_words(raw: Any) -> tuple[str, ...]:
    if words := _words(raw):
        return words
    raise ValueError("none is named")


def _share(raw: Any) -> str:
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if isinstance(text, str) and _SHARE.fullmatch(text):
        return text
    raise ValueError(f"{raw!r} is neither a number nor a percentage")


def _words(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        return tuple(word for part in raw.split(",") if (word := part.strip()))
    if isinstance(raw, list | tuple) and all(isinstance(word, str) for word in raw):
        return tuple(raw)
    raise ValueError(f"{raw!r} is no list of strings")


def _name(raw: Any) -> str:
    if _NAME.fullmatch(_text(raw)):
        return str(raw)
    raise ValueError(f"{raw!r} is no name (lower-case letters, digits, _ and -)")


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(_name(word) for word in _words(raw))


def _urls(raw: Any) -> tuple[str, ...]:
    urls = _words(raw)
    if not urls:
        raise ValueError("no broker is named")
    for url in urls:
        if not _URL.fullmatch(url):
            raise ValueError(f"{url!r} is no stomp://HOST:PORT or stomp+ssl://HOST:PORT")
    return urls


def _path(raw: Any) -> Path:
    return Path(_text(raw)).expanduser()


def _paths(raw: Any) -> tuple[Path, ...]:
    return tuple(_path(word) for word in _words(raw))


def _table(raw: Any) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    raise ValueError(f"{raw!r} is no table")


@dataclass(frozen=True, slots=True)
class Broker:
    """`[broker]`: where the STOMP brokers are (several: fail-over) and how to log in."""

    urls: tuple[str, ...] = ("stomp://127.0.0.1:61613",)
    user: str = ""
    passcode_file: Path | None = None
    secret: str | None = field(default=None, repr=False, compare=False)

    def passcode(self) -> str:
        """The passcode: `MCSHELL_PASSCODE`, else the file's first line, else empty."""
        if self.secret is not None:
            return self.secret
        if self.passcode_file is None:
            return ""
        try:
            return self.passcode_file.read_text(encoding="utf-8").partition("\n")[0].strip("\r")
        except OSError as error:
            message = f"broker.passcode_file: {self.passcode_file}: {error.strerror}"
            raise ConfigError(message, "broker.passcode_file") from error


@dataclass(frozen=True, slots=True)
class PKI:
    """`[pki]`: who we are and whom we trust. `crl_max_age` is seconds, None: any age."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    crl: Path | None = None
    crl_max_age: float | None = None
    operators: tuple[str, ...] = ()

    def files(self) -> tuple[Path, Path, Path]:
        """CA, certificate and key; raises ConfigError naming the first that is not set."""
        found: list[Path] = []
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if path is None:
                raise ConfigError(
                    f"pki.{name} is not set, and nothing goes unsigned "
                    "(mcshell doctor says what else is missing; mcshell demo needs nothing)",
                    f"pki.{name}",
                )
            found.append(path)
        return found[0], found[1], found[2]


@dataclass(frozen=True, slots=True)
class Collective:
    """`[collective]`: `main` is where requests go; a node listens to every `member`."""

    main: str = "mcs"
    member: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.main not in self.member:
            object.__setattr__(self, "member", (self.main, *self.member))


@dataclass(frozen=True, slots=True)
class Client:
    """`[client]`: how long an operator waits (seconds), and when mcshell asks back."""

    timeout: float = 10.0
    probe: float = 1.5
    discovery_timeout: float = 2.0
    known_for: float = 86400.0
    confirm_share: str = "50%"
    external_discovery: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """`limits.AGENT`: what one agent's actions may use; seconds and bytes, None: no limit."""

    slots: int | None = None
    timeout: float | None = None
    memory: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """`[node]`: one node daemon. Times are seconds, sizes bytes, paths absolute."""

    identity: str | None = None
    facts: tuple[str, ...] = ()
    classes: Path | None = None
    agents: tuple[Path, ...] = ()
    policies: Path | None = None
    audit: Path | None = None
    slots: int = 2
    spool_max: int = 1000
    max_reply: int = 2**20
    max_skew: float = 60.0
    max_ttl: float = 180 * 86400.0
    retention: float = 30 * 86400.0
    register_every: float = 300.0
    serve: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Read as paths, so that they start from the file; they are patterns all the same.
        object.__setattr__(self, "facts", tuple(map(str, self.facts)))


@dataclass(frozen=True, slots=True)
class Pool:
    """`[pools.NAME]`: which nodes may answer for a pool, as patterns of identities."""

    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Supervisor:
    """`[supervisor]`: `rules` is the folder of the signed rules (by default one in the state)."""

    rules: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `origins` maps "section.key" to where its value came from."""

    broker: Broker
    pki: PKI
    collective: Collective
    client: Client
    node: Node
    supervisor: Supervisor
    mcollective: MCollective
    pools: Mapping[str, Pool]
    agents: Mapping[str, Mapping[str, Any]]
    state_dir: Path
    path: Path | None
    origins: Mapping[str, str]


_Section = TypeVar(
    "_Section", Broker, PKI, Collective, Client, Node, Supervisor, MCollective, Limit, Pool
)
_SECTIONS = {
    "broker": Broker,
    "pki": PKI,
    "collective": Collective,
    "client": Client,
    "node": Node,
    "supervisor": Supervisor,
    "mcollective": MCollective,
}
_READERS: dict[type[Any], dict[str, Callable[[Any], Any]]] = {
    Broker: {"urls": _urls, "user": _text, "passcode_file": _path},
    PKI: dict.fromkeys(("ca", "cert", "key", "crl"), _path)
    | {"crl_max_age": seconds, "operators": _words},
    Collective: {"main": _name, "member": _names},
    Client: dict.fromkeys(("timeout", "probe", "discovery_timeout", "known_for"), seconds)
    | {"confirm_share": _share, "external_discovery": _text},
    Limit: {"slots": _count, "timeout": seconds, "memory": size, "output": size},
    Node: {"identity": _text, "serve": _names, "limits": _table, "max_reply": size}
    | dict.fromkeys(("classes", "policies", "audit"), _path)
    | dict.fromkeys(("facts", "agents"), _paths)
    | dict.fromkeys(("slots", "spool_max"), _count)
    | dict.fromkeys(("max_skew", "max_ttl", "retention", "register_every"), seconds),
    Pool: {"members": _words},
    Supervisor: {"rules": _path},
    MCollective: {"urls": _urls, "collectives": _some_words, "libdir": _paths, "priority": _count}
    | {"security": _one_of(SECURITIES), "serializer": _one_of(SERIALIZERS)}
    | {"cipher": _one_of(CIPHERS)}
    | dict.fromkeys(("vhost", "user", "identity", "callerid"), _text)
    | dict.fromkeys(("psk_file", "passcode_file", "private", "public", "nodes", "callers"), _path)
    | dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), _path)
    | dict.fromkeys(("enabled", "send_pubkey", "reply_exchange", "base64"), _flag)
    | dict.fromkeys(("agents_multiplex", "direct_addressing"), _flag)
    | dict.fromkeys(("ttl", "register_every"), seconds),
}
_TOP = (*_SECTIONS, "pools", "agents", "state")


@dataclass(frozen=True, slots=True)
class _Sources:
    """The four places a value may come from, and the note of which it was."""

    document: Mapping[str, Any]
    origin: str
    base: Path
    environ: Mapping[str, str]
    overrides: Mapping[str, Any]
    origins: dict[str, str]

    def pick(self, section: str, key: str) -> tuple[Any, str, Path]:
        """The raw value that wins, its origin, and what its relative paths start from."""
        dotted = f"{section}.{key}"
        if self.overrides.get(dotted) is not None:
            return self.overrides[dotted], "flag", Path.cwd()
        variable = f"MCSHELL_{section}_{key}".upper()
        if variable in self.environ:
            return self.environ[variable], variable, Path.cwd()
        table = self.document.get(section, {})
        if key in table:
            return table[key], self.origin, self.base
        return None, "default", self.base


def load(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings; `overrides` maps "section.key" to a flag's value (None: not given).

    Raises:
        ConfigError: the file is missing or no TOML, a key unknown, a value of the wrong kind.
    """
    environ = dict(os.environ)
    path = path or (Path(environ["MCSHELL_CONFIG"]) if environ.get("MCSHELL_CONFIG") else None)
    path = path.expanduser().absolute() if path else _default_file()
    document = _read(path) if path else {}
    base = path.parent if path else Path.cwd()
    sources = _Sources(document, str(path), base, environ, dict(overrides or {}), {})
    _refuse_unknown(sources)
    broker = _section(Broker, "broker", sources)
    if "MCSHELL_PASSCODE" in environ:
        broker = Broker(broker.urls, broker.user, broker.passcode_file, environ["MCSHELL_PASSCODE"])
        sources.origins["broker.passcode"] = "MCSHELL_PASSCODE"
    return Settings(
        broker=broker,
        pki=_section(PKI, "pki", sources),
        collective=_section(Collective, "collective", sources),
        client=_section(Client, "client", sources),
        node=_section(Node, "node", sources),
        supervisor=_section(Supervisor, "supervisor", sources),
        mcollective=_section(MCollective, "mcollective", sources),
        pools=_named(Pool, "pools", document.get("pools", {}), sources),
        agents={name: dict(table) for name, table in document.get("agents", {}).items()},
        state_dir=_state_dir(sources),
        path=path,
        origins=sources.origins,
    )


def variables() -> set[str]:
    """The names of the environment variables that `load` reads."""
    sections = {f"{name}_{key}" for name, cls in _SECTIONS.items() for key in _READERS[cls]}
    return {f"MCSHELL_{name.upper()}" for name in (*sections, "config", "state", "passcode")}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", origin=str(path)) from error


def _default_file() -> Path | None:
    import platformdirs  # noqa: PLC0415 - only when nobody named a file

    for place in (platformdirs.user_config_path("mcshell"), Path("/etc/mcshell")):
        if (place / "config.toml").is_file():
            return place / "config.toml"
    return None


def _state_dir(sources: _Sources) -> Path:
    for raw, origin, base in (
        (sources.overrides.get("state"), "flag", Path.cwd()),
        (sources.environ.get("MCSHELL_STATE"), "MCSHELL_STATE", Path.cwd()),
        (sources.document.get("state"), sources.origin, sources.base),
    ):
        if raw is not None:
            sources.origins["state"] = origin
            return _value(_path, raw, base, "state", origin)  # type: ignore[no-any-return]
    import platformdirs  # noqa: PLC0415 - only when nobody named a directory

    sources.origins["state"] = "default"
    return platformdirs.user_state_path("mcshell")


def _refuse_unknown(sources: _Sources) -> None:
    """Refuse keys that mean nothing, in the file, the environment and the overrides."""
    for name, table in sources.document.items():
        _known(name, _TOP, name, sources.origin)
        if name == "state":
            continue
        if not isinstance(table, dict):
            raise ConfigError(f"{sources.origin}: {name}: it is a table", name, sources.origin)
        inner = _READERS[_SECTIONS[name]] if name in _SECTIONS else {}
        for key, value in table.items():
            if name in _SECTIONS:
                _known(key, inner, f"{name}.{key}", sources.origin)
            elif not isinstance(value, dict):
                message = f"{sources.origin}: {name}.{key}: it is a table"
                raise ConfigError(message, f"{name}.{key}", sources.origin)
    dotted = [f"{name}.{key}" for name, cls in _SECTIONS.items() for key in _READERS[cls]]
    for key in sources.overrides:
        _known(key, [*dotted, "state"], key, "flag")
    prefixes = tuple(f"MCSHELL_{name}_".upper() for name in _SECTIONS)
    for name in sources.environ:
        if name.startswith(prefixes):
            _known(name, variables(), name, "environment")


def _known(word: str, known: Any, key: str, origin: str) -> None:
    if word not in known:
        hint = did_you_mean(word, known)
        raise ConfigError(f"{origin}: unknown key {key}{hint}", key, origin)


def _section(cls: type[_Section], name: str, sources: _Sources) -> _Section:
    values: dict[str, Any] = {}
    for entry, read in _READERS[cls].items():
        key = f"{name}.{entry}"
        raw, origin, base = sources.pick(name, entry)
        sources.origins[key] = origin
        if origin == "default":
            continue
        values[entry] = _value(read, raw, base, key, origin)
        if entry == "limits":
            values[entry] = _named(Limit, key, raw, sources)
    return cls(**values)


def _named(cls: type[_Section], name: str, tables: Any, sources: _Sources) -> dict[str, _Section]:
    """Read `[name.X]` tables of one kind, which only a file can hold."""
    found: dict[str, _Section] = {}
    origin, base = sources.origin, sources.base
    for label, table in _value(_table, tables, base, name, origin).items():
        values: dict[str, Any] = {}
        for key, raw in _value(_table, table, base, f"{name}.{label}", origin).items():
            dotted = f"{name}.{label}.{key}"
            _known(key, _READERS[cls], dotted, origin)
            values[key] = _value(_READERS[cls][key], raw, base, dotted, origin)
            sources.origins[dotted] = origin
        found[label] = cls(**values)
    return found


def _value(read: Callable[[Any], Any], raw: Any, base: Path, key: str, origin: str) -> Any:
    """Read one value; relative paths start from `base`."""
    try:
        value = read(raw)
    except ValueError as error:
        raise ConfigError(f"{origin}: {key}: {error}", key, origin) from error
    if isinstance(value, tuple):
        return tuple(base / one if isinstance(one, Path) else one for one in value)
    return base / value if isinstance(value, Path) else value
