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
    "Measured",
    "NodeSettings",
    "PKISettings",
    "Pool",
    "Settings",
    "SupervisorSettings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """`[broker]`: where the STOMP brokers are (several: fail-over) and how to log in.

    `cert` and `key` are what TLS shows in place of `[pki]`'s, such as a certificate of kind `login`.
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
    """`[pki]`: who we are and whom we trust. `crl_max_age` is seconds, None: any age.

    `refuse_expired_crl`: nothing is believed under a list past its next update (else: a warning).
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | KeyReference | None = None
    crl: Path | None = None
    crl_max_age: float | None = None
    refuse_expired_crl: bool = False
    operators: tuple[str, ...] = ()

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
    """`[collective]`: `main` is where requests go; a node listens to every `member`."""

    main: str = "mcs"
    member: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.main not in self.member:
            object.__setattr__(self, "member", (self.main, *self.member))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A part that writes its metrics into a file (`metrics`; None: it does not), every so many seconds.

    `metrics_readers`: who may read the file beside its owner, its "group" or "all".
    """

    metrics: Path | None = None
    metrics_every: float = 15.0
    metrics_readers: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(Measured):
    """`[client]`: how long an operator waits (seconds), and when mcshell asks back.

    `groups` are patterns of the files that say who an `@GROUP` is; without them those of clush.
    `fresh`: so long after a node was heard of it need not be asked whether it matches; None: 2.5
    times as long as it takes to register again, 0: it is always asked.
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
    """`limits.AGENT`: what one agent's actions may use; seconds and bytes, None: no limit."""

    slots: int | None = None
    timeout: float | None = None
    memory: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings(Measured):
    """`[node]`: one node daemon. Times are seconds, sizes bytes, paths absolute.

    `caller_…`: how many of one caller's requests may wait in the spool, how many of his actions run
    in the 16 threads for interactive ones, how many conversations he may hold, of 128; 0: any.
    `unknown_validators`: what becomes of an input whose validator is not here, "refuse" or "warn".
    `tell_files`: filters and the agent `file` tell what every user of the machine could look at
    ("public"), or whatever the daemon can ("all").
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
    """`[pools.NAME]`: which nodes may answer for a pool, as patterns of identities."""

    members: tuple[str, ...] = ()

    def __contains__(self, identity: object) -> bool:
        """Whether a node may answer for the pool."""
        return any(fnmatchcase(str(identity), pattern) for pattern in self.members)


@dataclass(frozen=True, slots=True)
class SupervisorSettings(Measured):
    """`[supervisor]`: `rules` is the folder of the signed rules (by default one in the state)."""

    rules: Path | None = None


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
