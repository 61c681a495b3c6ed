"""The client: discovery, requests and their replies, for one operator and one session.

>>> import mcshell
>>> client = mcshell.connect()
>>> client.rpc("package", "status", name="openssl", where="os.name=Debian").frame()
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from mcshell import config, forking, interrupts, table
from mcshell.client import default
from mcshell.client.arguments import Duration, checks_arguments, checks_methods, seconds_of
from mcshell.client.discovery.inventory_pool import InventoryPool
from mcshell.client.discovery.methods import Discovered, Finder
from mcshell.client.discovery.node_cache import NodeCache
from mcshell.client.discovery.targeting import (
    TARGETING,
    RequestOptions,
    Targeting,
    asked_collective,
    names_of,
    takes_inputs,
    targeting_of,
    via_of,
)
from mcshell.client.dropped import closing
from mcshell.client.fleet import FleetMonitor
from mcshell.client.messaging.hub import SessionHub
from mcshell.client.opening import OpenParts, Reconnections, metrics_of, old_wire, operator_of
from mcshell.client.pki import pki_of
from mcshell.client.rpc.interactive_run import BackgroundRequests
from mcshell.client.rpc.requester import Requester
from mcshell.ddl.ddl_library import Library, builtin_dir, shipped_dir
from mcshell.errors import ClientClosed, Stopped, UsageError
from mcshell.filters.nodes import canonical
from mcshell.message import State, Via
from mcshell.wire.credentials import connector, load_credentials
from mcshell.wire.documents.certificate_cache import CertificateCache
from mcshell.wire.stomp.nowhere import NoConnection

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    from mcshell.client.approvals import ApprovalManager
    from mcshell.client.explain.causes import Cause
    from mcshell.client.files.manager import FileManager
    from mcshell.client.jobs.manager import JobManager
    from mcshell.client.messaging.conversations import Conversation
    from mcshell.client.plans.manager import PlanManager
    from mcshell.client.rpc.history import EarlierRequest, RequestHistory
    from mcshell.client.rpc.pool_tasks import PoolTasks
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Preview
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.wire.stomp.transport import Transport

__all__ = ["Client", "connect", "current"]


def _register_accessor() -> None:
    from mcshell.client import accessor  # noqa: F401, PLC0415 - pandas is there by then


table.at_first(_register_accessor)


@checks_arguments
def connect(
    url: str | None = None, *, session: str | None = None, config_file: Path | str | None = None
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
    file = Path(config_file) if config_file else None
    client = Client(config.load(file, overrides=overrides), session=session)
    default.use(weakref.ref(client))
    return client


def current() -> Client:
    """The client of the `%mco` lines, connected now if no line has yet; without them the last opened.

    Raises:
        UsageError: neither is `mcshell` loaded (`%load_ext mcshell`), nor is a client open.
    """
    return cast("Client", default.current())


@checks_methods
class Client:
    """One operator's connection, open until `close`, or until nobody refers to it or its replies.

    Its methods may be called from any thread. A child of fork(2) cannot use it (ForkedClient).
    """

    @interrupts.call()
    def __init__(self, settings: Settings, *, session: str | None = None) -> None:
        self.settings = settings
        self._process = forking.generation()
        with ExitStack() as unless_open:
            certificates = CertificateCache(settings.state_dir / "certificates.sqlite")
            unless_open.callback(certificates.close)
            self._credentials = credentials = load_credentials(pki_of(settings), certificates)
            self.caller = operator_of(settings, credentials)
            own, old = settings.node.agents, settings.mcollective.agent_dirs()
            self.ddls = Library([*own, shipped_dir(), builtin_dir()], old)
            self.known = NodeCache(settings.state_dir / "nodes.sqlite", credentials.realm)
            unless_open.callback(self.known.close)
            hubs: list[SessionHub] = []
            heard = Reconnections(lambda: hubs[0]).heard
            self._transport = (
                NoConnection()
                if settings.only_mcollective
                else connector(settings, heard, verifier=credentials.verifier)
            )
            self._old = old_wire(settings, self.known)
            self._hub = SessionHub(self._transport, credentials, settings, session, self._old)
            unless_open.pop_all()
        hubs.append(self._hub)
        if settings.only_mcollective and self._old is not None:
            self._hub.notices.append(self._old.caution)
        self.monitor = FleetMonitor(self._transport, credentials, self._hub, self.known, settings)
        self._registry = InventoryPool(
            settings, self._hub.queries, self.known, credentials.verifier
        )
        self._discovery = Finder(self._hub, self.known, settings, self._registry.fill)
        background = BackgroundRequests()
        self._requester = Requester(
            settings, self._hub, self._discovery, self.ddls, self.known, background, self
        )
        self._open = OpenParts(
            background=background,
            metrics=metrics_of(settings, self._hub, self._broker, credentials, self._junk()),
            hub=self._hub,
            monitor=self.monitor,
            old=self._old,
            transport=self._transport,
            known=self.known,
            certificates=certificates,
        )
        self._start()
        self._not_dropped = closing(self, self._open)

    def _start(self) -> None:
        """Connect; what is open is closed where that fails."""
        try:
            self._transport.start()
            self.monitor.start()
            self._hub.start()  # last: whoever holds the session may have us connect anew
            if self._old is not None:
                self._old.start(self._hub)
            if self._open.metrics is not None:
                self._open.metrics.start()
        except BaseException:
            self._open.close()
            raise

    # Without state: two threads may make one each. A command that needs none waits for no module.

    @cached_property
    def jobs(self) -> JobManager:
        """Work that lives on the nodes."""
        from mcshell.client.jobs.manager import JobManager  # noqa: PLC0415 - as above

        return JobManager(
            self.settings,
            self._hub,
            self._discovery,
            self.ddls,
            self._requester,
            self._credentials.verifier,
        )

    @cached_property
    def approvals(self) -> ApprovalManager:
        """What operators propose, and others say to it."""
        from mcshell.client.approvals import ApprovalManager  # noqa: PLC0415 - as above

        return ApprovalManager(
            self.settings, self._credentials, self._discovery, self.ddls, self._requester
        )

    @cached_property
    def files(self) -> FileManager:
        """Files of the nodes: put there, fetched, listed."""
        from mcshell.client.files.manager import FileManager  # noqa: PLC0415 - as above

        return FileManager(self.settings, self._hub.own_queries, self._discovery, self._requester)

    @cached_property
    def plans(self) -> PlanManager:
        """Work across nodes, step after step."""
        from mcshell.client.plans.manager import PlanManager  # noqa: PLC0415 - as above

        return PlanManager(
            self.settings,
            self._credentials,
            self._hub,
            self._discovery,
            self.ddls,
            self.known,
            self,
        )

    @cached_property
    def _history(self) -> RequestHistory:
        from mcshell.client.rpc.history import RequestHistory  # noqa: PLC0415 - as above

        return RequestHistory(self.settings, self._hub, self.ddls, self.caller, self)

    def __repr__(self) -> str:
        return f"<Client {self.caller}, session {self.session.name}>"

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
        """How many replies came that are in no table, by reason (`errors.Reason`)."""
        return self._junk()()

    def _junk(self) -> Callable[[], Counter[str]]:
        """What counts it, and knows no client."""
        hub, old = self._hub, self._old
        return lambda: hub.junk if old is None else hub.junk + old.junk

    @property
    def closed(self) -> bool:
        """Whether it can ask nothing any more."""
        return bool(self._open.closed)

    def close(self) -> None:
        """Disconnect and free the session; nothing is waited for any more.

        In a child of fork(2) nothing is done: it has nothing of it.
        """
        if self._process == forking.generation():
            self._not_dropped()
            with interrupts.call(asks=False):
                self._open.close()

    def _check_open(self) -> None:
        forking.check(self._process)
        if self._open.closed:
            raise ClientClosed

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def _broker(self) -> Transport:
        """The connection that counts: ours, or where there is none, that to MCollective's network."""
        alone = self._old is not None and self.settings.only_mcollective
        return self._old.transport if alone and self._old is not None else self._transport

    @property
    def broker(self) -> str:
        """The name of the broker's dialect: activemq, rabbitmq or mcshell."""
        return self._broker.dialect.name

    @property
    def connected(self) -> bool:
        """Whether the connection to a broker stands now; a lost one is made again by itself."""
        return self._broker.connected

    @interrupts.call()
    def find(self, targeting: Targeting, agent: str | None = None) -> Discovered:
        """Find the nodes of a targeting; with `agent`, those that have it.

        Raises:
            Stopped: Ctrl-C, with what had been answered.
        """
        self._check_open()
        try:
            return self._discovery.find(targeting, agent)
        except Stopped as stopped:
            if stopped.found is not None:
                from mcshell.client.rpc.discovered import answers_so_far  # noqa: PLC0415 - as above

                collective = targeting.collective or self.settings.collective.main
                stopped.replies = answers_so_far(stopped.found, collective, targeting.filter, self)
            raise

    def discover(self, **targeting: Any) -> pd.DataFrame:
        """Find nodes: a DataFrame with `sender`, `answered`, `rtt` (seconds) and `seen`.

        Takes the targeting arguments of `rpc`.
        """
        found = self.find(targeting_of(**targeting))
        absent = {node.identity: node for node in found.absent}
        answers = [found.answers.get(name) for name in found.names]
        seen = [
            answer.seen if answer else getattr(absent.get(name), "seen", None)
            for name, answer in zip(found.names, answers, strict=True)
        ]
        return table.frame(
            {
                "sender": ("string", found.names),
                "answered": ("boolean", [answer is not None for answer in answers]),
                "rtt": ("Float64", [answer.rtt if answer else None for answer in answers]),
                "seen": (table.TIME, seen),
            }
        )

    @takes_inputs()
    def rpc(
        self,
        agent: str,
        action: str,
        /,
        *,
        via: str | None = None,
        pool: str | None = None,
        ttl: Duration | None = None,
        timeout: Duration | None = None,
        batch: int | str | None = None,
        batch_sleep: Duration = 0.0,
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
                `known`, `fresh`, `limit`, `limit_seed`, `one`, `collective`, `source`,
                `discovery_timeout`), and the action's inputs.

        Raises:
            UsageError: an unknown agent, action or input (InputError), a bad filter (FilterError).
            NoTargets: no node matches.
            Stopped: Ctrl-C, with what has arrived; nothing more is sent.
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
        """Ask the nodes what `ask` says; see `rpc`.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.
        """
        self._check_open()
        return self._requester.ask(ask, confirm)

    @interrupts.call()
    def audit_heads(self, node: str) -> list[tuple[int, str]] | None:
        """Heads of a node's audit log (line, SHA-256) that the pool `inventory` keeps; None where it is silent."""
        self._check_open()
        return self._registry.heads(self.settings.collective.main, node)

    @interrupts.call()
    def rpc_each(
        self,
        agent: str,
        action: str,
        rows: Iterable[Mapping[str, Any]],
        /,
        *,
        pool: str | None = None,
        ttl: Duration | None = None,
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

    def pool_tasks(self, pool: str, *, ttl: Duration | None = None) -> PoolTasks:
        """What an `Executor` stands on: the tasks that this session has for a pool; raises UsageError."""
        self._check_open()
        return self._requester.tasks(pool, seconds_of(ttl))

    @interrupts.call()
    def open(
        self,
        node: str,
        protocol: str,
        data: Any = None,
        *,
        collective: str | None = None,
        timeout: Duration | None = None,
    ) -> Conversation:
        """Open a conversation with one node: an ordered two-way channel for many turns.

        Args:
            node: its identity.
            protocol: what is spoken: the name of a handler there, and of a right (`converse`).
            data: given along to the handler.
            collective: one of `[collective] member`, by default the main one.
            timeout: how long to wait for the node's reply (seconds, or text like "30s").

        Raises:
            UsageError: replies of that collective would not be heard.
            TurnTimeout: the node did not answer.
            ConversationError: it said no; `state` is denied or failed.
        """
        if self.settings.only_mcollective:
            raise UsageError(
                "MCollective's nodes hold no conversations, and only they are spoken to"
            )
        self._check_open()
        wait = seconds_of(timeout)
        return self._hub.conversations.open(
            canonical(node),
            protocol,
            collective=asked_collective(self.settings, collective),
            data=data,
            timeout=self.settings.client.timeout if wait is None else wait,
            client=self,
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

    @interrupts.call()
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
        self._check_open()
        return self._history.newest(fits, anywhere=anywhere)

    @interrupts.call()
    def find_lost(self) -> None:
        """Ask the nodes what became of requests whose time is over, and which have not ended.

        A node that has ended one is believed, where its reply was lost with a broker's disk.
        """
        self._check_open()
        self._history.find_lost()

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """The history of the session, oldest first, each with its counts by state."""
        self._check_open()
        return self._history.requests()

    @interrupts.call()
    def sql(self, text: str, /, *, session: str | None = None, **values: Any) -> pd.DataFrame:
        """Ask all sessions of this machine (or one) in SQL; `analysis.sql` says what there is.

        `values` are those of `:name` in it: `client.sql("… WHERE sender = :node", node="web1")`; of
        a list `IN (SELECT value FROM json_each(:nodes))` has the values.
        Raises UsageError with what SQLite says of it, SessionError where there is no such session.
        """
        forking.check(self._process)
        from mcshell.client.analysis import sql  # noqa: PLC0415 - few lines ask in SQL

        asked = sql.sources(self.settings, self.ddls, session=session, first=self.session.name)
        columns, rows, kinds = sql.answer(asked, text, values)
        return table.frame_of_rows(columns, rows, kinds=kinds)

    def causes(self, node: str, request: str | None = None) -> list[Cause]:
        """Why there is no reply of a node, the most likely cause first; as `causes_each`."""
        (found,) = self.causes_each([node], request)
        return found

    @interrupts.call()
    def causes_each(self, nodes: Any, request: str | None = None) -> list[list[Cause]]:
        """Why there is no reply of each of these nodes, the most likely cause first.

        Takes a request as `replies` does; without one it is for each the newest that was for it, or,
        where that came out well, whether it is there now. All nodes of a request are asked at once.

        Raises:
            SessionError: there is no such request, or several.
        """
        self._check_open()
        nodes = names_of(nodes)
        about: dict[str | None, list[str]] = {}
        for node in dict.fromkeys(nodes):
            about.setdefault(request or self._unanswered(node), []).append(node)
        found: dict[str, list[Cause]] = {}
        for one, names in about.items():
            tracker = None if one is None else self.replies(one).tracker
            found |= zip(names, self.monitor.explain(names, tracker), strict=True)
        return [found[node] for node in nodes]

    def _unanswered(self, node: str) -> str | None:
        """The newest request that was for a node, if it has not come out well there."""
        request = self.monitor.newest_for(node)
        if request is None:
            return None
        rows = (one for one in self.replies(request).rows() if one.sender == node)
        row = next(rows, None)
        return None if row is not None and row.state is State.OK else request

    def explain(self, node: Any, request: str | None = None) -> pd.DataFrame:
        """Say why there is no reply of a node: a DataFrame of `causes`, the most likely first.

        Of several nodes (as `nodes=` takes them) each row begins with its `sender`.
        """
        from mcshell.client.explain.causes import columns  # noqa: PLC0415 - only to explain

        if isinstance(node, str):
            return table.frame(columns(self.causes(node, request)))
        names = names_of(node)
        found = list(zip(names, self.causes_each(names, request), strict=True))
        senders = [name for name, causes in found for _cause in causes]
        every = columns([one for _name, causes in found for one in causes])
        return table.frame({"sender": ("string", senders), **every})
