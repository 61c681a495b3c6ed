"""The sections of the settings as values."""

from __future__ import annotations

from dataclasses import field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mcshell.errors import ConfigError
from mcshell.private import read_obeyed
from mcshell.texts import decoded
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcshell.config.mcollective import MCollective

__all__ = [
    "BrokerSettings",
    "ClientSettings",
    "CollectiveSettings",
    "KeyReference",
    "Limit",
    "MCPSettings",
    "Measured",
    "NodeSettings",
    "PKISettings",
    "Pool",
    "Settings",
    "SupervisorSettings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """`[broker]`: where the STOMP brokers are, and how to log in.

    Attributes:
        urls: `stomp://HOST:PORT`, or `stomp+ssl://HOST:PORT` for TLS; of several the first is
            preferred, the others are for fail-over.
        user: the login's name, where the broker wants one.
        passcode_file: holds its passcode, on the first line; `MCSHELL_PASSCODE` comes before it.
        cert: what TLS shows in place of `pki.cert`, such as a certificate of kind `login`.
        key: its key, in place of `pki.key`.
    """

    urls: tuple[str, ...] = ("stomp://127.0.0.1:61613",)
    user: str = ""
    passcode_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    secret: str | None = field(default=None, repr=False, compare=False)

    def passcode(self) -> str:
        """The passcode: `MCSHELL_PASSCODE`, else the file's first line, else empty."""
        if self.secret is not None:
            return self.secret
        if self.passcode_file is None:
            return ""
        try:
            content = read_obeyed(self.passcode_file, pipes=True)
            return decoded(content).partition("\n")[0].strip("\r")
        except OSError as error:
            message = f"broker.passcode_file: {self.passcode_file}: {error.strerror}"
            raise ConfigError(message, "broker.passcode_file") from error
        except ValueError as error:
            message = f"broker.passcode_file: {self.passcode_file}: {error}"
            raise ConfigError(message, "broker.passcode_file") from error


@dataclass(frozen=True, slots=True)
class KeyReference:
    """A key that is in no file: what `rest` says to the `signer` plugin of the name `scheme`."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PKISettings:
    """`[pki]`: who we are and whom we trust.

    Attributes:
        ca: the certificates of the fleet's CA; of two while it changes.
        cert: our own certificate.
        key: its key: a file, `ssh-agent:` or `pkcs11:…`.
        crl: the list of certificates that were taken back.
        crl_max_age: under a list older than that work is refused; without it any age will do.
        refuse_expired_crl: nothing is believed under a list past its next update; else a warning.
        operators: patterns of names that are operators, for a CA whose certificates do not say so.
        enrolment: brokers' listeners at which a node or a supervisor renews its certificate in time.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | KeyReference | None = None
    crl: Path | None = None
    crl_max_age: float | None = None
    refuse_expired_crl: bool = False
    operators: tuple[str, ...] = ()
    enrolment: tuple[str, ...] = ()

    def complete(self) -> tuple[Path, Path, Path | KeyReference]:
        """CA, certificate and key; raises ConfigError naming the first that is not set."""
        if self.ca is None or self.cert is None or self.key is None:
            places = {"ca": self.ca, "cert": self.cert, "key": self.key}
            name = next(name for name, place in places.items() if place is None)
            raise ConfigError(
                f"pki.{name} is not set, and nothing goes unsigned "
                "(mcshell doctor says what else is missing; mcshell demo needs nothing)",
                f"pki.{name}",
            )
        return self.ca, self.cert, self.key

    def files(self) -> tuple[Path, Path, Path]:
        """CA, certificate and key as TLS wants them; ConfigError when the key is in no file."""
        ca, cert, key = self.complete()
        if isinstance(key, KeyReference):
            raise ConfigError(
                f"pki.key is {key}: TLS to the broker needs a key file; broker.cert and broker.key"
                " name them (mcshell pki issue NAME --kind login)",
                "broker.key",
            )
        return ca, cert, key


@dataclass(frozen=True, slots=True)
class CollectiveSettings:
    """`[collective]`: which sets of nodes there are.

    Attributes:
        main: where requests go that name no other.
        member: all that a node listens to, and in which an operator's sessions ask and hear the
            replies; `main` is always one of them.
    """

    main: str = "mcs"
    member: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        main = () if self.main in self.member else (self.main,)
        object.__setattr__(self, "member", tuple(dict.fromkeys((*main, *self.member))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A part that writes its metrics into a file.

    Attributes:
        metrics: the file for Prometheus' textfile collector, `….prom`; by default there is none.
        metrics_every: how often it is written.
        metrics_readers: who may read it beside its owner, `group` or `all`.
    """

    metrics: Path | None = None
    metrics_every: float = 15.0
    metrics_readers: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(Measured):
    """`[client]`: how long an operator waits, and when mcshell asks back.

    Attributes:
        timeout: how long replies are waited for; it grows by 2 ms a target. `-t` is taken as it is.
        probe: who answers no probe for so long is silent.
        discovery_timeout: how long it is asked who is there.
        known_for: a node that was seen so lately is a target when it does not answer now.
        fresh: so long after a node was heard of it need not be asked whether it matches; by default
            2.5 times as long as it takes to register again; 0: it is always asked.
        confirm_share: a change of more than this, a share of the known fleet or a number of nodes,
            asks first.
        external_discovery: the program of `--dm external`.
        groups: the files that say who an `@GROUP` is, patterns too; by default those of clush.
    """

    timeout: float = 10.0
    probe: float = 1.5
    discovery_timeout: float = 2.0
    known_for: float = 86400.0
    fresh: float | None = None
    confirm_share: str = "50%"
    external_discovery: str = ""
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # As the node's facts: paths that start from the file, and patterns.
        object.__setattr__(self, "groups", tuple(map(str, self.groups)))


@dataclass(frozen=True, slots=True)
class Limit:
    """`limits.AGENT`: what one agent's actions may use; without one there is no limit.

    Attributes:
        slots: how many of them run at a time.
        timeout: how long one may take, whatever its DDL says.
        memory: how much of it one may have.
        output: how much one may write to its standard streams.
    """

    slots: int | None = None
    timeout: float | None = None
    memory: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings(Measured):
    """`[node]`: one node daemon. Times are seconds, sizes bytes, paths absolute.

    Attributes:
        identity: the node's name; by default that of its certificate.
        facts: files of facts, patterns too, over the built-in ones.
        classes: the file of its configuration classes, one a line.
        agents: folders of agents, beside those that ship.
        policies: the folder of its policies; by default `policies` in the state.
        audit: the audit log; by default one in the state.
        audit_max: a log that is larger is rotated; by default never.
        audit_keep: how many rotated ones stay.
        audit_every: how often what is counted is written; 0: each is a line.
        slots: how much of the queued work runs at a time.
        spool_max: how many requests may wait here.
        caller_spool: how many of one caller's; 0: any number.
        caller_threads: how many of one caller's interactive actions run at a time, of 16; 0: any
            number.
        caller_conversations: how many conversations one caller may hold, of 128; 0: any number.
        max_reply: a reply that is larger fails.
        max_skew: how far the clocks of others may be ahead.
        max_ttl: the longest time that a request may wait.
        retention: how long what was done is remembered.
        register_every: how often it says of itself what it is; 0: never.
        tell_files: filters and the agent `file` tell what every user of the machine could look at
            (`public`), or whatever the daemon can (`all`).
        serve: the pools that it serves.
        unknown_validators: what becomes of an input whose validator is not here.
        limits: what an agent's actions may use, a table each.
    """

    identity: str | None = None
    facts: tuple[str, ...] = ()
    classes: Path | None = None
    agents: tuple[Path, ...] = ()
    policies: Path | None = None
    audit: Path | None = None
    audit_max: int | None = None
    audit_keep: int = 5
    audit_every: float = 60.0
    slots: int = 2
    spool_max: int = 10_000
    caller_spool: int = 5_000
    caller_threads: int = 12
    caller_conversations: int = 32
    max_reply: int = 2**20
    max_skew: float = 60.0
    max_ttl: float = 180 * 86400.0
    retention: float = 30 * 86400.0
    register_every: float = 300.0
    tell_files: str = "public"
    serve: tuple[str, ...] = ()
    unknown_validators: str = "refuse"
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Read as paths, so that they start from the file; they are patterns all the same.
        object.__setattr__(self, "facts", tuple(map(str, self.facts)))

    @property
    def fact_room(self) -> int:
        """How much of a reply facts may take, bytes: a node has more to say than these."""
        return self.max_reply // 2

    @property
    def class_room(self) -> int:
        """How much of it classes may take, bytes."""
        return self.max_reply // 4

    def time_for(self, agent: str, declared: float, wanted: float | None = None) -> float:
        """How long an action of an agent may take: its limit's time, else what its DDL declares.

        `wanted` is what a job says: it counts in the DDL's place, and within the limit.
        """
        limit = self.limits.get(agent)
        most = None if limit is None else limit.timeout
        if most is None:
            return declared if wanted is None else wanted
        return most if wanted is None else min(most, wanted)


@dataclass(frozen=True, slots=True)
class Pool:
    """`[pools.NAME]`: a pool of nodes that share one queue.

    Attributes:
        members: which nodes may answer for it, as patterns of identities.
    """

    members: tuple[str, ...] = ()

    def __contains__(self, identity: object) -> bool:
        """Whether a node may answer for the pool."""
        return any(fnmatchcase(str(identity), pattern) for pattern in self.members)


@dataclass(frozen=True, slots=True)
class SupervisorSettings(Measured):
    """`[supervisor]`: what carries rules to the machines.

    Attributes:
        rules: the folder of the signed rules; by default one in the state.
    """

    rules: Path | None = None


@dataclass(frozen=True, slots=True)
class MCPSettings:
    """`[mcp]`: what assistants may ask for through `mcshell mcp`, which the nodes decide on all the same.

    Attributes:
        agents: patterns of the agents that may be called or proposed.
    """

    agents: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. `origins` maps "section.key" to where its value came from.

    `groups` are sets of nodes by the name of their group, `aliases` the beginnings of lines by the
    word that is typed for them.
    """

    broker: BrokerSettings
    pki: PKISettings
    collective: CollectiveSettings
    client: ClientSettings
    node: NodeSettings
    supervisor: SupervisorSettings
    mcp: MCPSettings
    mcollective: MCollective
    pools: Mapping[str, Pool]
    agents: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    state_dir: Path
    path: Path | None
    origins: Mapping[str, str]

    @property
    def only_mcollective(self) -> bool:
        """Whether MCollective's wire is all that is spoken: it is on, and there is no key of ours."""
        pki = self.pki
        return self.mcollective.enabled and pki.ca is None and pki.cert is None and pki.key is None

    def serves(self, pool: str, identity: str) -> bool:
        """Whether a node may answer for a pool of this name."""
        return identity in self.pools.get(pool, ())
