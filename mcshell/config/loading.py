"""Reads the settings: flag > environment > file > default, and what may stand where."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mcshell.config.mcollective import CIPHERS, SECURITIES, SERIALIZERS, MCollective
from mcshell.config.readers import (
    at_least,
    one_of,
    read_count,
    read_duration,
    read_flag,
    read_key,
    read_metrics_path,
    read_name,
    read_names,
    read_path,
    read_paths,
    read_share,
    read_some_words,
    read_table,
    read_text,
    read_urls,
    read_words,
    size,
)
from mcshell.config.sections import (
    BrokerSettings,
    ClientSettings,
    CollectiveSettings,
    Limit,
    MCPSettings,
    NodeSettings,
    PKISettings,
    Pool,
    Settings,
    SupervisorSettings,
)
from mcshell.errors import ConfigError, did_you_mean
from mcshell.private import read_obeyed
from mcshell.texts import decoded
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["READERS", "SECTIONS", "load", "named_file", "variables"]

_Section = TypeVar(
    "_Section",
    BrokerSettings,
    PKISettings,
    CollectiveSettings,
    ClientSettings,
    NodeSettings,
    SupervisorSettings,
    MCPSettings,
    MCollective,
    Limit,
    Pool,
)
SECTIONS = {
    "broker": BrokerSettings,
    "pki": PKISettings,
    "collective": CollectiveSettings,
    "client": ClientSettings,
    "node": NodeSettings,
    "supervisor": SupervisorSettings,
    "mcp": MCPSettings,
    "mcollective": MCollective,
}
_ONE = at_least(read_count, 1, "1: nothing would ever be done")
_KIBIBYTE = at_least(size, 1024, "1KiB: nothing could be said")
_MEASURED: dict[str, Callable[[Any], Any]] = {
    "metrics": read_metrics_path,
    "metrics_every": at_least(read_duration, 1.0, "a second"),
    "metrics_readers": one_of(("group", "all")),
}
READERS: dict[type[Any], dict[str, Callable[[Any], Any]]] = {
    BrokerSettings: {"urls": read_urls, "user": read_text}
    | dict.fromkeys(("passcode_file", "cert", "key"), read_path),
    PKISettings: dict.fromkeys(("ca", "cert", "crl"), read_path)
    | {
        "key": read_key,
        "crl_max_age": read_duration,
        "operators": read_words,
        "enrolment": read_words,
    }
    | {"refuse_expired_crl": read_flag},
    CollectiveSettings: {"main": read_name, "member": read_names},
    ClientSettings: dict.fromkeys(("timeout", "probe", "discovery_timeout"), read_duration)
    | dict.fromkeys(("known_for", "fresh"), read_duration)
    | {"confirm_share": read_share, "external_discovery": read_text, "groups": read_paths}
    | _MEASURED,
    Limit: {
        "slots": _ONE,
        "timeout": at_least(read_duration, 0.001, "1ms: nothing would be done in time"),
        "memory": at_least(size, 2**20, "1MiB: nothing would run"),
        "output": size,
    },
    NodeSettings: {
        "identity": read_text,
        "serve": read_names,
        "limits": read_table,
        "tell_files": one_of(("public", "all")),
        "max_reply": _KIBIBYTE,
        "max_ttl": at_least(read_duration, 60.0, "a minute: who is asked could not answer"),
        "unknown_validators": one_of(("refuse", "warn")),
        "audit_max": size,
    }
    | dict.fromkeys(("classes", "policies", "audit"), read_path)
    | dict.fromkeys(("facts", "agents"), read_paths)
    | dict.fromkeys(("slots", "spool_max"), _ONE)
    | dict.fromkeys(
        ("audit_keep", "caller_spool", "caller_threads", "caller_conversations"), read_count
    )
    | dict.fromkeys(("max_skew", "retention", "register_every", "audit_every"), read_duration)
    | _MEASURED,
    Pool: {"members": read_words},
    SupervisorSettings: {"rules": read_path} | _MEASURED,
    MCPSettings: {"agents": read_words},
    MCollective: {
        "urls": read_urls,
        "collectives": read_some_words,
        "libdir": read_paths,
        "priority": read_count,
    }
    | {"security": one_of(SECURITIES), "serializer": one_of(SERIALIZERS)}
    | {"cipher": one_of(CIPHERS)}
    | dict.fromkeys(("vhost", "user", "identity", "callerid"), read_text)
    | dict.fromkeys(
        ("psk_file", "passcode_file", "private", "public", "nodes", "callers"), read_path
    )
    | dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), read_path)
    | dict.fromkeys(("enabled", "send_pubkey", "reply_exchange", "base64"), read_flag)
    | dict.fromkeys(("agents_multiplex", "direct_addressing"), read_flag)
    | dict.fromkeys(("ttl", "register_every"), read_duration),
}
_TOP = (*SECTIONS, "pools", "agents", "groups", "aliases", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
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
            return self.overrides[dotted], "flag", _here()
        variable = f"MCSHELL_{section}_{key}".upper()
        if variable in self.environ:
            return self.environ[variable], variable, _here()
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
    path = named_file(path)
    document = _read(path) if path else {}
    base = path.parent if path else _here()
    sources = _Sources(
        document=document,
        origin=str(path),
        base=base,
        environ=environ,
        overrides=dict(overrides or {}),
        origins={},
    )
    _refuse_unknown(sources)
    broker = _section(BrokerSettings, "broker", sources)
    if "MCSHELL_PASSCODE" in environ:
        broker = replace(broker, secret=environ["MCSHELL_PASSCODE"])
        sources.origins["broker.passcode"] = "MCSHELL_PASSCODE"
    return Settings(
        broker=broker,
        pki=_section(PKISettings, "pki", sources),
        collective=_section(CollectiveSettings, "collective", sources),
        client=_section(ClientSettings, "client", sources),
        node=_section(NodeSettings, "node", sources),
        supervisor=_section(SupervisorSettings, "supervisor", sources),
        mcp=_section(MCPSettings, "mcp", sources),
        mcollective=_section(MCollective, "mcollective", sources),
        pools=_named(Pool, "pools", document.get("pools", {}), sources),
        agents={name: dict(table) for name, table in document.get("agents", {}).items()},
        groups=_groups(sources),
        aliases=_aliases(sources),
        state_dir=_state_dir(sources),
        path=path,
        origins=sources.origins,
    )


def named_file(path: Path | None = None) -> Path | None:
    """The file that is read: the one given, else that of `MCSHELL_CONFIG` or of the platform's place."""
    named = os.environ.get("MCSHELL_CONFIG")
    path = path or (Path(named) if named else None)
    return path.expanduser().absolute() if path else _default_file()


def variables() -> set[str]:
    """The names of the environment variables that `load` reads."""
    sections = {f"{name}_{key}" for name, cls in SECTIONS.items() for key in READERS[cls]}
    return {f"MCSHELL_{name.upper()}" for name in (*sections, "config", "state", "passcode")}


def _here() -> Path:
    """The current folder; where somebody has deleted it, what is relative stays so."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(decoded(read_obeyed(path, pipes=True)))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}", origin=str(path)) from error


def _default_file() -> Path | None:
    import platformdirs  # noqa: PLC0415 - only when nobody named a file

    for place in (platformdirs.user_config_path("mcshell"), Path("/etc/mcshell")):
        if (place / "config.toml").is_file():
            return place / "config.toml"
    return None


def _state_dir(sources: _Sources) -> Path:
    for raw, origin, base in (
        (sources.overrides.get("state"), "flag", _here()),
        (sources.environ.get("MCSHELL_STATE"), "MCSHELL_STATE", _here()),
        (sources.document.get("state"), sources.origin, sources.base),
    ):
        if raw is not None:
            sources.origins["state"] = origin
            return _value(read_path, raw, base, "state", origin)  # type: ignore[no-any-return]
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
        inner = READERS[SECTIONS[name]] if name in SECTIONS else {}
        for key, value in table.items():
            if name in SECTIONS:
                _known(key, inner, f"{name}.{key}", sources.origin)
            elif name not in ("groups", "aliases") and not isinstance(value, dict):
                message = f"{sources.origin}: {name}.{key}: it is a table"
                raise ConfigError(message, f"{name}.{key}", sources.origin)
    dotted = [f"{name}.{key}" for name, cls in SECTIONS.items() for key in READERS[cls]]
    for key in sources.overrides:
        _known(key, [*dotted, "state"], key, "flag")
    prefixes = tuple(f"MCSHELL_{name}_".upper() for name in SECTIONS)
    for name in sources.environ:
        if name.startswith(prefixes):
            _known(name, variables(), name, "environment")


def _known(word: str, known: Any, key: str, origin: str) -> None:
    if word not in known:
        hint = did_you_mean(word, known)
        raise ConfigError(f"{origin}: unknown key {key}{hint}", key, origin)


def _section(cls: type[_Section], name: str, sources: _Sources) -> _Section:
    values: dict[str, Any] = {}
    for entry, read in READERS[cls].items():
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
    for label, table in _value(read_table, tables, base, name, origin).items():
        values: dict[str, Any] = {}
        for key, raw in _value(read_table, table, base, f"{name}.{label}", origin).items():
            dotted = f"{name}.{label}.{key}"
            _known(key, READERS[cls], dotted, origin)
            values[key] = _value(READERS[cls][key], raw, base, dotted, origin)
            sources.origins[dotted] = origin
        found[label] = cls(**values)
    return found


def _groups(sources: _Sources) -> dict[str, tuple[str, ...]]:
    """`[groups]`: a set of nodes, or a list of them, by the group's name."""
    return {
        name: _value(
            lambda raw: read_some_words([raw] if isinstance(raw, str) else raw),
            sets,
            sources.base,
            f"groups.{name}",
            sources.origin,
        )
        for name, sets in sources.document.get("groups", {}).items()
    }


def _aliases(sources: _Sources) -> dict[str, str]:
    """`[aliases]`: the beginning of a line, by the word that stands for it."""
    found: dict[str, str] = {}
    for name, text in sources.document.get("aliases", {}).items():
        key = f"aliases.{name}"
        found[name] = _value(read_text, text, sources.base, key, sources.origin)
        sources.origins[key] = sources.origin
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
