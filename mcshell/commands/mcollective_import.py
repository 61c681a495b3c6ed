"""From MCollective's client.cfg or server.cfg to a configuration of ours: pure text to text.

The form is MCollective's own (`config.rb`): `key = value` lines, `#` comments, `plugin.NAME.…`,
and files of `plugin.d/NAME.cfg` that leave the prefix out. What its reader passes over in silence,
stray lines and keys without a value, is passed over here with a note. Secrets go into files of their
own. What has no counterpart here is named, never dropped in silence.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from mcshell.config.mcollective import LEAVES_OPEN
from mcshell.config.writing import dump
from mcshell.errors import ConfigError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Imported", "convert", "parse"]

_LINE = re.compile(r"(.+?)\s*=\s*(.+)")
_TRUE: Final = re.compile(r"(?:1|t|true|y|yes)", re.IGNORECASE)
_FALSE: Final = re.compile(r"(?:0|f|false|n|no)", re.IGNORECASE)
_LEADING: Final = re.compile(r"\s*([0-9]+)(.*)")
_PORTS: Final = range(1, 65536)
_DIGITS: Final = 20
_LARGEST: Final = 10**9
_IPV6: Final = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_CONNECTORS: Final = ("activemq", "rabbitmq")
_SECURITIES: Final = {"psk": "psk", "ssl": "ssl", "aes_security": "aes"}
# Settings of MCollective's process that mean nothing here, whatever they say.
_MOOT: Final = re.compile(
    r"logger_type|logfile|loglevel|keeplogs|max_log_size|logfacility|daemonize|color|threaded"
    r"|fact_cache_time|rpchelptemplate|helptemplatedir|topicprefix|topicsep|queueprefix"
    r"|soft_shutdown.*|publish_timeout|connection_timeout|direct_addressing_threshold"
    r"|default_discovery_options|registration_splay|activate_agents"
    r"|plugin\.[a-z]+\.(?:pool\.size|use_exponential_back_off|initial_reconnect_delay"
    r"|back_off_multiplier|max_reconnect_\w+|randomize|backup|timeout|connect_timeout"
    r"|max_hb\w+|heartbeat_interval|stomp_1_0_fallback)"
)


@dataclass
class Imported:
    """What an import came to: sections of TOML, secrets by file name, notes for the operator."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, section: str, key: str, value: Any) -> None:
        """Set a key, unless there is no value for it."""
        if value is not None:
            self.sections.setdefault(section, {})[key] = value

    def toml(self, source: str) -> str:
        """The configuration file."""
        head = f"# from {source}; until there is a [pki], only MCollective's wire is spoken"
        return f"{head}\n\n{dump(self.sections)}"


def parse(text: str, origin: str = "", prefix: str = "") -> tuple[dict[str, str], list[str]]:
    """Read one file as MCollective does: its settings, and a note for each line passed over.

    `prefix` is put before each key (`plugin.NAME.` in plugin.d).
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is not None:
            found[prefix + match[1].strip()] = match[2]
            continue
        what = "no value" if line.endswith("=") else "no key = value"
        shown = "(hidden)" if "pass" in line or "psk" in line else repr(line[:60])
        notes.append(f"{origin}:{number}: {shown}: {what}: passed over, as MCollective does")
    return found, notes


def convert(
    settings: Mapping[str, str], role: str, name: str, folder: str = "/etc/mcollective"
) -> Imported:
    """Turn the settings of a `client` or a `server` into ours; `name` begins its secrets' files.

    `folder` is the one that the file lies in: MCollective has its policies there.

    Raises:
        ConfigError: a security provider or connector that is not spoken here, a value that is none.
    """
    made = Imported()
    known = _SettingsReader(settings, made.notes)
    made.put("mcollective", "enabled", True)
    _network(known, made, name)
    security = _security(known, made, role, name)
    if role == "server":
        _node(known, made, folder)
    made.notes += [
        f"{key} = {'(hidden)' if 'pass' in key or 'psk' in key else value}: nothing here stands for it"
        for key, value in settings.items()
        if key not in known.used and not _MOOT.fullmatch(key)
    ]
    if role == "client":
        made.notes.append(LEAVES_OPEN[security])
    return made


class _SettingsReader:
    """Settings, with an account of which were read."""

    def __init__(self, settings: Mapping[str, str], notes: list[str]) -> None:
        self._settings = settings
        self._notes = notes
        self.used: set[str] = set()

    def get(self, key: str) -> str | None:
        self.used.add(key)
        return self._settings.get(key)

    def flag(self, key: str) -> bool | None:
        value = self.get(key)
        if value is None or _TRUE.fullmatch(value):
            return None if value is None else True
        if _FALSE.fullmatch(value):
            return False
        raise ConfigError(f"{key} = {value}: neither yes nor no", key)

    def port(self, key: str) -> int:
        """A port: as there, the digits that the value begins with, 61613 without one."""
        value = self.get(key)
        if value is None:
            return 61613
        match = _LEADING.fullmatch(value)
        if match is None or len(match[1]) > _DIGITS or int(match[1]) not in _PORTS:
            raise ConfigError(f"{key} = {value[:60]}: no port", key)
        if match[2]:
            self._notes.append(f"{key} = {value}: read as {match[1]}, as MCollective does")
        return int(match[1])

    def number(self, key: str) -> int | None:
        value = self.get(key)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError as error:
            raise ConfigError(f"{key} = {value[:60]}: no whole number", key) from error
        if number > _LARGEST:  # our own key, by which it would be refused, is in no file of theirs
            raise ConfigError(f"{key} = {value[:60]}: at most {_LARGEST} is meant", key)
        return number


def _network(known: _SettingsReader, made: Imported, name: str) -> None:
    kind = known.get("connector") or "activemq"
    if kind.lower() not in _CONNECTORS:
        raise ConfigError(f"connector = {kind}: only activemq and rabbitmq are spoken", "connector")
    plugin = f"plugin.{kind.lower()}"
    main = known.get("main_collective")
    names = _listed(known.get("collectives") or "", ",")
    main = main or (names or ["mcollective"])[0]
    ordered = [main, *(one for one in names if one != main)]
    made.put("mcollective", "collectives", ordered)
    made.put("mcollective", "identity", known.get("identity"))
    _pool(known, made, plugin, name)
    made.put("mcollective", "vhost", known.get(f"{plugin}.vhost"))
    for ours, theirs in (
        ("agents_multiplex", f"{plugin}.agents_multiplex"),
        ("base64", f"{plugin}.base64"),
        ("reply_exchange", f"{plugin}.use_reply_exchange"),
        ("direct_addressing", "direct_addressing"),
    ):
        made.put("mcollective", ours, known.flag(theirs))
    made.put("mcollective", "priority", known.number(f"{plugin}.priority"))
    ttl = known.number("ttl")
    made.put("mcollective", "ttl", None if ttl is None else f"{ttl}s")
    libdir = known.get("libdir")
    made.put("mcollective", "libdir", None if libdir is None else _listed(libdir, os.pathsep))


def _bracketed(host: str) -> str:
    """A host as it stands in a URL: MCollective has IPv6 addresses bare."""
    return f"[{host}]" if _IPV6.fullmatch(host) else host


def _listed(value: str, separator: str) -> list[str]:
    """The parts of a value; one that is empty is none: a path would be the folder one is in."""
    return [part for one in value.split(separator) if (part := one.strip())]


def _pool(known: _SettingsReader, made: Imported, plugin: str, name: str) -> None:
    """The brokers; all have the login and the TLS files of the first that has some."""
    urls: list[str] = []
    login: dict[str, str | None] = {}
    for number in range(1, 1 + (known.number(f"{plugin}.pool.size") or 0)):
        place = f"{plugin}.pool.{number}"
        scheme = "stomp+ssl" if known.flag(f"{place}.ssl") else "stomp"
        port = known.port(f"{place}.port")
        host = known.get(f"{place}.host")
        if host is None:
            raise ConfigError(f"{place}.host is not set", f"{place}.host")
        urls.append(f"{scheme}://{_bracketed(host)}:{port}")
        for key in ("user", "password", "ssl.ca", "ssl.cert", "ssl.key"):
            value = known.get(f"{place}.{key}")
            if value is not None and login.setdefault(key, value) != value:
                made.notes.append(
                    f"{place}.{key} differs from the first broker's: one login is kept"
                )
        known.get(f"{place}.ssl.fallback")
    if not urls:
        raise ConfigError(
            f"no broker is named: {plugin}.pool.size and {plugin}.pool.1.host are meant",
            f"{plugin}.pool.size",
        )
    if "ssl.ca" not in login and any(url.startswith("stomp+ssl:") for url in urls):
        made.notes.append(
            "no CA is named for TLS, so that MCollective takes any broker for its own: it is not"
            " spoken to until mcollective.tls_ca names one"
        )
    made.put("mcollective", "urls", urls)
    made.put("mcollective", "user", login.get("user"))
    for ours, theirs in (("tls_ca", "ssl.ca"), ("tls_cert", "ssl.cert"), ("tls_key", "ssl.key")):
        made.put("mcollective", ours, login.get(theirs))
    if (password := login.get("password")) is not None:
        made.secrets[f"{name}.pass"] = password
        made.put("mcollective", "passcode_file", f"{name}.pass")


def _security(known: _SettingsReader, made: Imported, role: str, name: str) -> str:
    """The security plugin and its keys; gives its name here."""
    provider = known.get("securityprovider") or "psk"
    if provider.lower() not in _SECURITIES:
        raise ConfigError(
            f"securityprovider = {provider}: psk, ssl and aes_security are spoken",
            "securityprovider",
        )
    security = _SECURITIES[provider.lower()]
    made.put("mcollective", "security", security)
    secret = known.get("plugin.psk")
    callertype = known.get("plugin.psk.callertype")
    if security == "psk":
        if secret is not None:
            made.secrets[f"{name}.psk"] = secret
            made.put("mcollective", "psk_file", f"{name}.psk")
        else:
            made.notes.append("there is no plugin.psk: name a file with it in mcollective.psk_file")
        made.put("mcollective", "callerid", _callerid(callertype, known.get("identity")))
    for kind, prefix in (("ssl", "plugin.ssl_"), ("aes", "plugin.aes.")):
        keys = {
            "serializer": f"{prefix}serializer",
            "private": f"{prefix}{role}_private",
            "public": f"{prefix}{role}_public",
            "callers": f"{prefix}client_cert_dir",
        }
        nodes = known.get(f"{prefix}server_public")
        values = {ours: known.get(theirs) for ours, theirs in keys.items()}
        for other in ("client_private", "client_public", "server_private"):
            known.get(f"{prefix}{other}")
        if kind == security:
            for ours, value in values.items():
                made.put("mcollective", ours, value)
            made.put("mcollective", "nodes", nodes)
    made.put("mcollective", "cipher", known.get("ssl_cipher"))
    made.put("mcollective", "send_pubkey", known.flag("plugin.aes.send_pubkey") or None)
    return security


def _callerid(callertype: str | None, identity: str | None) -> str | None:
    """Who we are under psk, as `psk.callertype` makes it of this process."""
    if callertype is None:
        return None
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    ids: dict[str, str | None] = {
        "uid": f"uid={os.getuid()}",
        "gid": f"gid={os.getgid()}",
        "user": f"user={user}",
        "identity": None if identity is None else f"identity={identity}",
    }
    return ids.get(callertype)


def _node(known: _SettingsReader, made: Imported, folder: str) -> None:
    every = known.number("registerinterval")
    made.put("mcollective", "register_every", f"{every}s" if every else None)
    facts = known.get("plugin.yaml")
    source = known.get("factsource") or "yaml"
    if source.lower() != "yaml":
        made.notes.append(f"factsource = {source}: facts are our own and those of node.facts")
    elif facts is not None:
        made.put("node", "facts", _listed(facts, os.pathsep))
    made.put("node", "classes", known.get("classesfile"))
    if known.flag("rpcauthorization"):
        provider = known.get("rpcauthprovider") or ""
        if provider.lower() in {"action_policy", "actionpolicy"}:
            made.put("node", "policies", f"{folder}/policies")
            made.notes.append(
                f"policies are read from {folder}/policies; callers there are written mco-psk:uid=0 here"
            )
        else:
            made.notes.append(f"rpcauthprovider = {provider}: policies must be written anew")
    if known.flag("rpcaudit"):
        known.get("rpcauditprovider")
        log = known.get("plugin.rpcaudit.logfile")
        made.notes.append(f"{log or 'the audit log'}: ours is node.audit, as JSON lines")
