"""The client: discovery, requests and their replies, for one operator and one session.

>>> import mcshell
>>> client = mcshell.connect()
>>> client.rpc("package", "status", name="openssl", where="os.name=Debian").frame()
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from mcshell import config, table
from mcshell.client.courier import Courier
from mcshell.client.discovery import Discovery, Found
from mcshell.client.flight import Flight
from mcshell.client.history import restore
from mcshell.client.known import Known
from mcshell.client.pilot import Course, Pilot
from mcshell.client.probe import Prober
from mcshell.client.receiver import Receiver
from mcshell.client.replies import Replies
from mcshell.client.session import Session
from mcshell.client.store import Record
from mcshell.client.targeting import Ask, Targeting, route
from mcshell.ddl.library import Library, shipped_dir
from mcshell.errors import NoTargets, SessionError, UsageError
from mcshell.message import Filter, Via, new_request_id
from mcshell.wire.credentials import connector, load_credentials
from mcshell.wire.envelope import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    import pandas as pd

    from mcshell.config import Settings
    from mcshell.ddl import Action

__all__ = ["Client", "connect"]

_INTERACTIVE_TTL = 60.0
# Seconds that each target adds to the default timeout: a large fleet takes longer to drain.
_PER_TARGET = 0.002


def connect(
    url: str | None = None, *, session: str | None = None, config_file: Path | None = None
) -> Client:
    """Connect to the fleet's broker with the configuration and the environment.

    Args:
        url: a broker in place of the configured ones, such as `stomp://host:61613`.
        session: the name of a session; by default the first free scratch one.
        config_file: a configuration file in place of `MCSHELL_CONFIG` or the platform's.

    Raises:
        ConfigError: a setting or key that cannot be used.
        ConnectError: no broker, with its reason, within 5 seconds.
        SessionError: the session is held by another process, or another caller's.
    """
    overrides = {} if url is None else {"broker.urls": [url]}
    return Client(config.load(config_file, overrides=overrides), session=session)


class Client:
    """One operator's connection, open until `close`. Its methods may be called from any thread."""

    def __init__(self, settings: Settings, *, session: str | None = None) -> None:
        self.settings = settings
        credentials = load_credentials(settings.pki)
        identity = credentials.signer.identity
        if identity.kind != "operator":
            raise UsageError(
                f"{settings.pki.cert} is the certificate of a {identity.kind}: "
                "requests need an operator's (mcshell pki issue NAME --kind operator)"
            )
        self.caller = identity.callerid
        self.ddls = Library([*settings.node.agents, shipped_dir()])
        self.session = Session.open(
            settings.state_dir, self.caller, settings.collective.main, session
        )
        self.known = Known(settings.state_dir / "known.sqlite", credentials.realm)
        self._background: list[tuple[Replies, threading.Thread]] = []
        self._transport = connector(settings)
        self._receiver = Receiver(
            self._transport, self.session.store, credentials.verifier, Limits()
        )
        try:
            self._transport.start()
            self._receiver.start(self.session.queue)
        except BaseException:
            self.close()
            raise
        self._courier = Courier(self._transport, credentials.signer, self.session)
        self._prober = Prober(self._courier, self._receiver)
        self._discovery = Discovery(self._prober, self.known, settings)

    def close(self) -> None:
        """Disconnect and free the session; nothing is waited for any more."""
        for replies, thread in self._background:
            replies.cancel()
            thread.join(timeout=5)
        self._transport.close()
        self._receiver.stop()
        self.session.close()
        self.known.close()

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @property
    def broker(self) -> str:
        """The name of the broker's dialect: activemq, rabbitmq or mcshell."""
        return self._transport.dialect.name

    def find(self, targeting: Targeting, agent: str | None = None) -> Found:
        """Find the nodes of a targeting; with `agent`, those that have it."""
        return self._discovery.find(targeting, agent)

    def discover(self, **targeting: Any) -> pd.DataFrame:
        """Find nodes: a DataFrame with `sender`, `answered`, `rtt` (seconds) and `seen` (epoch).

        Takes the targeting arguments of `rpc`.
        """
        found = self.find(targeting_of(**targeting))
        absent = {node.identity: node for node in found.absent}
        answers = [found.answers.get(name) for name in found.names]
        seen = [
            answer.node.seen if answer else getattr(absent.get(name), "seen", None)
            for name, answer in zip(found.names, answers, strict=True)
        ]
        return table.frame(
            {
                "sender": ("string", found.names),
                "answered": ("boolean", [answer is not None for answer in answers]),
                "rtt": ("Float64", [answer.rtt if answer else None for answer in answers]),
                "seen": ("Float64", seen),
            }
        )

    def rpc(
        self,
        agent: str,
        action: str,
        /,
        *,
        via: str | None = None,
        ttl: float | str | None = None,
        timeout: float | str | None = None,
        batch: int | str | None = None,
        batch_sleep: float | str = 0.0,
        max_failures: int | str | None = None,
        wait: bool = True,
        inputs: dict[str, Any] | None = None,
        **others: Any,
    ) -> Replies:
        """Ask the nodes; returns their replies, complete or timed out (`wait=False`: to come).

        Args:
            agent: the agent asked.
            action: one of its actions.
            via: "broadcast" or "direct"; by default what fits the number of targets.
            ttl: how long the request may still run (seconds, or text like "7d").
            timeout: how long to wait for the last reply (seconds, or text like "30s").
            batch: how many nodes at a time, a number or a percentage.
            batch_sleep: the pause between batches.
            max_failures: stop after so many failures, a number or a percentage.
            wait: whether to wait for the replies.
            inputs: the action's inputs, for those whose names are taken by arguments.
            others: the targeting (`where`, `facts`, `classes`, `agents`, `identities`, `nodes`,
                `known`, `limit`, `limit_seed`, `one`, `collective`, `source`,
                `discovery_timeout`), and the action's inputs.

        Raises:
            UsageError: an unknown agent, action or input (InputError), a bad filter (FilterError).
            NoTargets: no node matches.
        """
        targeting = {name: others.pop(name) for name in TARGETING if name in others}
        ask = Ask(
            agent,
            action,
            {**(inputs or {}), **others},
            targeting_of(**targeting),
            None if via is None else via_of(via),
            _seconds(ttl),
            _seconds(timeout),
            None if batch is None else str(batch),
            _seconds(batch_sleep) or 0.0,
            None if max_failures is None else str(max_failures),
            wait,
        )
        return self.ask(ask)

    def ask(self, ask: Ask) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`. Ctrl-C returns what has arrived."""
        action = self.ddls.get(ask.agent).action(ask.action)
        data = action.check(ask.data)
        found = self.find(ask.targeting, ask.agent)
        if not found.names:
            raise NoTargets(f"no node matches, or none of those that do has the agent {ask.agent}")
        record = self._record(ask, action, data, found)
        flight = Flight(record, found.names)
        flight.discovered = found.discovered
        pilot = Pilot(flight, self._courier, self._prober, self.session.store)
        course = self._course(ask, action, data, len(found.names))
        self.session.store.add_request(record, found.names)
        self._receiver.watch(record.id, flight)
        replies = Replies(flight, action, pilot)
        if not ask.wait:
            thread = threading.Thread(
                target=self._fly, args=(pilot, course, flight), name="mcshell-pilot", daemon=True
            )
            thread.start()
            self._background = [one for one in self._background if one[1].is_alive()]
            self._background.append((replies, thread))
            return replies
        try:
            self._fly(pilot, course, flight)
        except KeyboardInterrupt:
            replies.cancel()
        return replies

    def _fly(self, pilot: Pilot, course: Course, flight: Flight) -> None:
        pilot.fly(course)
        heard = [entry.sender for entry in flight.entries() if entry.done is not None]
        self.known.touch(flight.record.collective, heard, time.time())

    def _record(self, ask: Ask, action: Action, data: dict[str, Any], found: Found) -> Record:
        via = route(ask, len(found.names))
        if via.durable:
            raise UsageError(f"--via {via} is not built yet: broadcast or direct is meant")
        now = time.time()
        filter_ = ask.targeting.filter
        if ask.agent not in filter_.agent:
            filter_ = Filter(
                filter_.fact,
                filter_.cls,
                (*filter_.agent, ask.agent),
                filter_.identity,
                filter_.compound,
            )
        return Record(
            new_request_id(),
            ask.agent,
            ask.action,
            via,
            ask.targeting.collective or self.settings.collective.main,
            now,
            now + (ask.ttl or _INTERACTIVE_TTL),
            filter_,
            action.redact(data),
        )

    def _course(self, ask: Ask, action: Action, data: dict[str, Any], count: int) -> Course:
        settings = self.settings.client
        timeout = ask.timeout
        if timeout is None:
            timeout = max(settings.timeout, action.timeout) + count * _PER_TARGET
        ttl = ask.ttl if ask.ttl is not None else max(_INTERACTIVE_TTL, timeout)
        return Course(ask, data, ttl, timeout, settings.probe)

    def replies(self, request: str | None = None) -> Replies:
        """The replies to an earlier request of the session: by id, first letters, or the newest.

        Raises:
            SessionError: there is no such request, or several.
        """
        record = self.session.store.find_request(request)
        if record is None:
            raise SessionError(
                "nothing was asked yet in this session"
                if request is None
                else f"no request {request!r} in session {self.session.name!r}",
                self.session.name,
            )
        action = self._action(record)
        live = self._receiver.sink(record.id)
        flight = live if isinstance(live, Flight) else restore(self.session.store, record)
        return Replies(flight, action)

    def requests(self) -> list[Record]:
        """The history of the session, oldest first."""
        return self.session.store.requests()

    def _action(self, record: Record) -> Action | None:
        try:
            return self.ddls.get(record.agent).action(record.action)
        except UsageError:
            return None  # asked with a DDL that this machine does not have


TARGETING = (
    "where",
    "facts",
    "classes",
    "agents",
    "identities",
    "nodes",
    "known",
    "limit",
    "limit_seed",
    "one",
    "collective",
    "source",
    "discovery_timeout",
)


def targeting_of(
    *,
    where: str | None = None,
    facts: str | Iterable[str] = (),
    classes: str | Iterable[str] = (),
    agents: str | Iterable[str] = (),
    identities: str | Iterable[str] = (),
    nodes: Any = None,
    known: bool = True,
    limit: int | str | None = None,
    limit_seed: int | None = None,
    one: bool = False,
    collective: str | None = None,
    source: str = "broadcast",
    discovery_timeout: float | str | None = None,
) -> Targeting:
    """Build a targeting from plain Python values.

    `where` is a compound filter such as "os.name=Debian and role=web"; `nodes` names, a range
    such as "web[01-40]", or a Series or DataFrame with a `sender` column.
    """
    return Targeting(
        filter=Filter(
            _words(facts),
            _words(classes),
            _words(agents),
            _words(identities),
            () if where is None else (where,),
        ),
        nodes=None if nodes is None else names_of(nodes),
        source=source,
        discovery_timeout=_seconds(discovery_timeout),
        known=known,
        limit=None if limit is None else str(limit),
        limit_seed=limit_seed,
        one=one,
        collective=collective,
    )


def names_of(nodes: Any) -> tuple[str, ...]:
    """The names in a string, an iterable of strings, a Series, or a DataFrame's `sender` column."""
    if isinstance(nodes, str):
        return (nodes,)
    if hasattr(nodes, "columns"):
        if "sender" not in nodes.columns:
            raise UsageError("nodes: a DataFrame needs a `sender` column")
        nodes = nodes["sender"]
    names = list(nodes)
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise UsageError(f"nodes: {strange!r} is no name of a node")
    return tuple(names)


def via_of(word: str) -> Via:
    """Read the name of a way."""
    try:
        return Via(word)
    except ValueError:
        raise UsageError(f"via {word!r}: {', '.join(Via)} is meant") from None


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _seconds(value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        return config.seconds(value)
    except ValueError as error:
        raise UsageError(str(error)) from None
