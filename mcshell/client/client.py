"""The client: discovery, requests and their replies, for one operator and one session.

>>> import mcshell
>>> client = mcshell.connect()
>>> client.rpc("package", "status", name="openssl", where="os.name=Debian").frame()
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from mcshell import config, table
from mcshell.client import default as current
from mcshell.client.discovery.inventory_pool import InventoryPool
from mcshell.client.discovery.methods import Discovered, Finder
from mcshell.client.discovery.node_cache import NodeCache
from mcshell.client.discovery.targeting import (
    TARGETING,
    RequestOptions,
    Targeting,
    seconds_of,
    targeting_of,
    via_of,
)
from mcshell.client.explain.causes import columns
from mcshell.client.fleet import FleetMonitor
from mcshell.client.jobs.manager import JobManager
from mcshell.client.messaging.hub import SessionHub
from mcshell.client.plans.manager import PlanManager
from mcshell.client.rpc.history import EarlierRequest, RequestHistory
from mcshell.client.rpc.requester import Requester
from mcshell.ddl.library import Library, builtin_dir, shipped_dir
from mcshell.errors import UsageError
from mcshell.message import Via
from mcshell.wire.credentials import connector, load_credentials

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    from mcshell.client.explain.causes import Cause
    from mcshell.client.mcollective import Mixed
    from mcshell.client.messaging.conversations import Conversation
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Preview
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = ["Client", "connect"]


def _register_accessor() -> None:
    from mcshell.client import accessor  # noqa: F401, PLC0415 - pandas is there by then


table.at_first(_register_accessor)


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
    client = Client(config.load(config_file, overrides=overrides), session=session)
    current.use(weakref.ref(client))
    return client


class Client:
    """One operator's connection, open until `close`. Its methods may be called from any thread."""

    def __init__(self, settings: Settings, *, session: str | None = None) -> None:
        self.settings = settings
        credentials = load_credentials(settings.pki)
        self.caller = _operator(settings, credentials)
        self._closed = False
        own, old = settings.node.agents, settings.mcollective.agent_dirs()
        self.ddls = Library([*own, shipped_dir(), builtin_dir(), *old])
        self.known = NodeCache(settings.state_dir / "nodes.sqlite", credentials.realm)
        self._epoch: int | None = None
        self._transport = connector(settings, self._on_state, verifier=credentials.verifier)
        with ExitStack() as unless_open:
            unless_open.callback(self.known.close)
            self._old = _old_wire(settings, self.known)
            self._hub = SessionHub(self._transport, credentials, settings, session, self._old)
            unless_open.pop_all()
        self._history = RequestHistory(settings, self._hub, self.ddls, self.caller)
        self.monitor = FleetMonitor(self._transport, credentials, self._hub, self.known, settings)
        self._registry = InventoryPool(
            settings, self._hub.queries, self.known, credentials.verifier
        )
        self._discovery = Finder(self._hub.queries, self.known, settings, self._registry.fill)
        self._requester = Requester(settings, self._hub, self._discovery, self.ddls, self.known)
        self.jobs = JobManager(
            settings,
            self._hub,
            self._discovery,
            self.ddls,
            self._requester,
            credentials.verifier,
        )
        self.plans = PlanManager(
            settings, credentials, self._hub, self._discovery, self.ddls, self.known
        )
        try:
            self._transport.start()
            self._hub.start()
            self.monitor.start()
            if self._old is not None:
                self._old.start(self._hub)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Client {self.caller}, session {self.session.name}>"

    def _on_state(self, state: ConnectionState) -> None:
        if state.connected and state.epoch != self._epoch:
            first, self._epoch = self._epoch is None, state.epoch
            if not first:
                self._hub.connected()

    @property
    def session(self) -> Session:
        """The session: its name, its file, and `save`."""
        return self._hub.session

    @property
    def notices(self) -> list[str]:
        """What the operator should know of the session, such as that it was taken over."""
        return self._hub.notices

    @property
    def junk(self) -> Counter[str]:
        """How many replies were refused and are in no table, by reason (`errors.Reason`)."""
        return self._hub.junk if self._old is None else self._hub.junk + self._old.junk

    def close(self) -> None:
        """Disconnect and free the session; nothing is waited for any more."""
        self._closed = True
        self._requester.stop()
        self._hub.stop()
        self.monitor.stop()
        if self._old is not None:
            self._old.close()
        self._transport.close()
        self._hub.close()
        self.known.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this client is closed; mcshell.connect() makes another")

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def broker(self) -> str:
        """The name of the broker's dialect: activemq, rabbitmq or mcshell."""
        return self._transport.dialect.name

    @property
    def connected(self) -> bool:
        """Whether the connection to a broker stands now; a lost one is made again by itself."""
        return self._transport.connected

    def find(self, targeting: Targeting, agent: str | None = None) -> Discovered:
        """Find the nodes of a targeting; with `agent`, those that have it."""
        self._check_open()
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
        pool: str | None = None,
        ttl: float | str | None = None,
        timeout: float | str | None = None,
        batch: int | str | None = None,
        batch_sleep: float | str = 0.0,
        max_failures: int | str | None = None,
        canary: int | str | None = None,
        wait: bool = True,
        inputs: dict[str, Any] | None = None,
        **others: Any,
    ) -> Replies:
        """Ask the nodes; returns their replies, complete or timed out (`wait=False`: to come).

        Args:
            agent: the agent asked.
            action: one of its actions.
            via: "broadcast" or "direct" (by default what fits the number of targets), "queue" for
                nodes that may be down, "pool" for one of the nodes that serve `pool`.
            pool: the pool, where it is not named as the agent is.
            ttl: how long the request may still run (seconds, or text like "7d").
            timeout: how long to wait for the last reply (seconds, or text like "30s").
            batch: how many nodes at a time, a number or a percentage.
            batch_sleep: the pause between batches.
            max_failures: stop after so many failures, a number or a percentage.
            canary: so many nodes first, a number or a percentage; the rest if all of them are ok.
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
        ask = RequestOptions(
            agent=agent,
            action=action,
            data={**(inputs or {}), **others},
            targeting=targeting_of(**targeting),
            via=None if via is None else via_of(via),
            ttl=seconds_of(ttl),
            timeout=seconds_of(timeout),
            batch=None if batch is None else str(batch),
            batch_sleep=seconds_of(batch_sleep) or 0.0,
            max_failures=None if max_failures is None else str(max_failures),
            wait=wait,
            pool=pool,
            canary=None if canary is None else str(canary),
        )
        return self.ask(ask)

    def ask(self, ask: RequestOptions, confirm: Callable[[Preview], bool] | None = None) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`. Ctrl-C returns what has arrived.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.
        """
        self._check_open()
        return self._requester.ask(ask, confirm)

    def audit_heads(self, node: str) -> list[tuple[int, str]] | None:
        """Heads of a node's audit log (line, SHA-256) that the pool `inventory` keeps, in order.

        None when nobody answers for the pool, or none is configured.
        """
        self._check_open()
        return self._registry.heads(self.settings.collective.main, node)

    def rpc_each(
        self,
        agent: str,
        action: str,
        rows: Iterable[Mapping[str, Any]],
        /,
        *,
        pool: str | None = None,
        ttl: float | str | None = None,
    ) -> list[Replies]:
        """Ask a pool once for each row of inputs, all kept in one commit; returns at once.

        Args:
            agent: the agent asked.
            action: one of its actions.
            rows: the inputs of each request.
            pool: the pool, where it is not named as the agent is.
            ttl: how long each may still run (seconds, or text like "7d").

        Raises:
            UsageError: an unknown agent, action or input (InputError), or pool; nothing was sent.
        """
        ask = RequestOptions(
            agent=agent, action=action, via=Via.POOL, ttl=seconds_of(ttl), pool=pool
        )
        self._check_open()
        return self._requester.each(ask, rows)

    def open(
        self,
        node: str,
        protocol: str,
        data: Any = None,
        *,
        collective: str | None = None,
        timeout: float | str | None = None,
    ) -> Conversation:
        """Open a conversation with one node: an ordered two-way channel for many turns.

        Args:
            node: its identity.
            protocol: what is spoken: the name of a handler there, and of a right (`converse`).
            data: given along to the handler.
            collective: the one to use, by default the main one.
            timeout: how long to wait for the node's reply (seconds, or text like "30s").

        Raises:
            TurnTimeout: the node did not answer.
            ConversationError: it said no; `state` is denied or failed.
        """
        wait = seconds_of(timeout)
        return self._hub.conversations.open(
            node,
            protocol,
            collective=collective or self.settings.collective.main,
            data=data,
            timeout=self.settings.client.timeout if wait is None else wait,
        )

    def replies(self, request: str | None = None) -> Replies:
        """The replies to an earlier request, by default the newest.

        `request` is an id, its first letters, "package.status" (the newest that asked this),
        "@yesterday", "@7d" (the newest as of then), or both: "package.status@yesterday".

        The own session is looked at first, then every session file of the state directory; those
        of the own session go on growing. A moment looks in all of them.

        Raises:
            SessionError: there is no such request, or several.
        """
        self._check_open()
        return self._history.replies(request)

    def again(self, request: str | None = None) -> EarlierRequest:
        """An earlier request, as `replies` takes it, as it may be asked again.

        Raises:
            SessionError: there is no such request, or several.
            UsageError: another has asked it, or nothing signed proves what was asked, or of whom.
        """
        self._check_open()
        return self._history.again(request)

    def newest(
        self, fits: Callable[[RequestRecord], bool], *, anywhere: bool = True
    ) -> RequestRecord | None:
        """The newest request of this caller that fits, in whatever session of this machine.

        Not `anywhere`: other sessions count only where this one has none that fits.
        """
        return self._history.newest(fits, anywhere=anywhere)

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """The history of the session, oldest first, each with its counts by state."""
        self._check_open()
        return self._history.requests()

    def causes(self, node: str, request: str | None = None) -> list[Cause]:
        """Why there is no reply of a node, the most likely cause first.

        Takes a request as `replies` does; without one it is the newest that was for this node.

        Raises:
            SessionError: there is no such request, or several.
        """
        request = request or self.monitor.newest_for(node)
        tracker = None if request is None else self.replies(request).tracker
        return self.monitor.explain(node, tracker)

    def explain(self, node: str, request: str | None = None) -> pd.DataFrame:
        """Say why there is no reply of a node: a DataFrame of `causes`, the most likely first."""
        return table.frame(columns(self.causes(node, request)))


def _operator(settings: Settings, credentials: Credentials) -> str:
    """The callerid of who asks; UsageError for a certificate that may not."""
    identity = credentials.signer.identity
    if identity.kind != "operator":
        raise UsageError(
            f"{settings.pki.cert} is the certificate of a {identity.kind}: "
            "requests need an operator's (mcshell pki issue NAME --kind operator)"
        )
    return identity.callerid


def _old_wire(settings: Settings, known: NodeCache) -> Mixed | None:
    """MCollective's nodes beside ours, where they are wanted."""
    if not settings.mcollective.enabled:
        return None
    from mcshell.client.mcollective import Mixed  # noqa: PLC0415 - nothing of it is loaded while it is off

    return Mixed(settings, known)
