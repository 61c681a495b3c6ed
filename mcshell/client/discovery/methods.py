"""From a targeting to names: who answers now, and who should have (mcshell/README.md §5).

Names given by hand are taken as they are. Else a discovery method (plugin kind `discovery`) is
asked: by default the network, with the known nodes that match by their last known facts, were seen
lately and did not answer named beside it.

A method is a callable: it takes a `DiscoveryQuery` and returns what it `Discovered`. `broadcast`
asks the network, `inventory` only what is known; `file`, `stdin` and `table` are names given by
hand. A site adds its own by an entry point `mcshell.discovery`.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from mcshell import plugins
from mcshell.client.discovery.node_cache import CachedNode, description
from mcshell.client.discovery.targeting import Targeting, choose, plain_names
from mcshell.client.messaging.rejections import describe_rejections
from mcshell.errors import NoTargets, PluginError, UsageError
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand
from mcshell.message import Filter
from mcshell.wire.destinations import check_word

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.config import ClientSettings, Settings
    from mcshell.message import Reply

__all__ = [
    "Answer",
    "Discovered",
    "DiscoveryMethod",
    "DiscoveryQuery",
    "Finder",
    "broadcast",
    "inventory",
    "named",
    "nobody",
]

_SILENCE = 0.3
_FIRST_SILENCE = 1.0
_LINGER = 0.02
_OPEN = 8
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """One node's answer to discovery. `rtt` is seconds from our SEND to its arrival.

    `refusal` is why it could say nothing of itself: it is there, and matches, all the same.
    """

    node: CachedNode
    rtt: float
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What a targeting has found. `names` are the targets; `answers` those who answered now;
    `absent` the known nodes among the targets that did not. `discovered`: the network was asked.
    `notes` are lines for the operator, such as how old the knowledge is.
    """

    names: list[str]
    answers: dict[str, Answer] = field(default_factory=dict)
    absent: list[CachedNode] = field(default_factory=list)
    discovered: bool = True
    elapsed: float = 0.0
    notes: tuple[str, ...] = ()


def nobody(found: Discovered, agent: str) -> NoTargets:
    """What to raise when there is nobody to ask, with what is known of the reason."""
    text = f"no node matches, or none of those that do has the agent {agent}"
    return NoTargets("; ".join([text, *found.notes]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryQuery:
    """What a discovery method is asked, and what it may ask itself.

    `filter` is the targeting's with the agent that is to be asked; `retire` ends the question
    (by its id) when late answers to it are of no more use; `fill` makes known what others have
    heard of a collective.
    """

    targeting: Targeting
    filter: Filter
    collective: str
    known: NodeCache
    queries: NodeQueries
    settings: ClientSettings
    retire: Retire
    fill: Callable[[str], None] = lambda _collective: None

    def matching_known(self) -> list[CachedNode]:
        """The known nodes that match by their last known facts and were seen lately, by name."""
        matcher = compile_filter(self.filter)
        nodes = self.known.nodes(self.collective, time.time() - self.settings.known_for)
        return [node for node in nodes if matcher.matches_known(node)]

    def learn(self, replies: Iterable[tuple[Reply, float]]) -> None:
        """Remember the nodes that answered."""
        self.known.learn(
            self.collective,
            [
                description(reply.data, reply.sender, at)
                for reply, at in replies
                if reply.final and reply.statuscode == 0
            ],
        )


class Retire(Protocol):
    """Keeps a question open for late answers until newer ones take its place."""

    def __call__(self, question: str, /) -> None: ...


class DiscoveryMethod(Protocol):
    """A way to find targets: what `--dm` names, and a plugin of the kind `discovery` is."""

    def __call__(self, search: DiscoveryQuery, /) -> Discovered:
        """Find the targets, `--limit` and `--one` already applied.

        Raises:
            MCShellError: the source cannot be asked.
        """


def named(search: DiscoveryQuery) -> Discovered:
    """The names that came with the line, in a file, on standard input or in a table."""
    if search.targeting.nodes is None:
        raise UsageError(f"the source {search.targeting.source} wants names (nodes)")
    unique = list(dict.fromkeys(expand(search.targeting.nodes)))
    return Discovered(names=choose(unique, search.targeting), discovered=False)


def inventory(search: DiscoveryQuery) -> Discovered:
    """Only what is known, without a word to the nodes; says how old it is.

    Who has neither asked nor listened asks the pool `inventory`, where there is one.
    """
    since = time.time() - search.settings.known_for
    if not search.known.surveyed(search.collective, Filter(), since):
        search.fill(search.collective)
    known = {node.identity: node for node in search.matching_known()}
    chosen = choose(sorted(known), search.targeting)
    nodes = [known[name] for name in chosen]
    return Discovered(names=chosen, absent=nodes, discovered=False, notes=_ages(nodes, time.time()))


def broadcast(search: DiscoveryQuery) -> Discovered:
    """Who answers now, and the known ones who should have."""
    began = time.time()
    targeting = search.targeting
    known = {node.identity: node for node in search.matching_known()} if targeting.known else {}
    answers = _answers(search, known)
    absent = [name for name in known if name not in answers]
    late, gone = search.queries.recheck(search.collective, search.filter, absent)
    answers |= _described(late, began)
    for name in gone:
        del known[name]
    names = sorted({*answers, *known})
    chosen = choose(names, targeting)
    kept = set(chosen)
    return Discovered(
        names=chosen,
        answers={name: answer for name, answer in answers.items() if name in kept},
        absent=[node for name, node in known.items() if name in kept and name not in answers],
        elapsed=time.time() - began,
        notes=tuple(
            filter(
                None,
                [
                    _refusals(answers, kept),
                    describe_rejections(search.queries.refused.since(began)),
                ],
            )
        ),
    )


def _answers(search: DiscoveryQuery, known: dict[str, CachedNode]) -> dict[str, Answer]:
    window = search.targeting.discovery_timeout
    if window is None:
        window = search.settings.discovery_timeout
    # Those who are known are everyone only where everyone was asked before: a few that happened to
    # register, or that another filter found, must not close the window for the rest. And with
    # nobody known, a slow node would be missed and not even named: be patient then.
    since = time.time() - search.settings.known_for
    surveyed = search.known.surveyed(search.collective, search.filter, since)
    everyone = bool(known) and surveyed and not search.queries.unsure(search.collective, since)
    question, answers = search.queries.ping(
        search.collective, search.filter, known if everyone else ()
    )
    silence = min(_SILENCE if everyone else _FIRST_SILENCE, window)
    answers.gather(window=window, silence=silence, linger=_LINGER)
    # Who answers after the window is a target next time: the question stays open for a while.
    replies = answers.conclude(search.learn)
    search.retire(question)
    search.learn(replies.values())
    if replies and not everyone:
        search.known.survey(search.collective, search.filter, time.time())
    return _described(replies, answers.began)


def _described(replies: dict[str, tuple[Reply, float]], began: float) -> dict[str, Answer]:
    """What nodes said of themselves, to a question that was asked then."""
    found = {}
    for name, (reply, at) in replies.items():
        fine = reply.statuscode == 0
        node = description(reply.data if fine else {}, name, at)
        found[name] = Answer(node, at - began, "" if fine else reply.statusmsg or reply.state)
    return found


def _refusals(answers: Mapping[str, Answer], names: Container[str]) -> str:
    """A line about the nodes that answered that they cannot say who they are."""
    refused = {name: one.refusal for name, one in answers.items() if one.refusal and name in names}
    told = [f"{name}: {why}" for name, why in sorted(refused.items())[:_TOLD]]
    more = f"; and {len(refused) - _TOLD} more" if len(refused) > _TOLD else ""
    return f"could not say what it is: {'; '.join(told)}{more}" if told else ""


def _ages(nodes: list[CachedNode], now: float) -> tuple[str, ...]:
    if not nodes:
        return ()
    ages = sorted(max(0.0, now - node.seen) for node in nodes)
    newest, oldest = age(ages[0]), age(ages[-1])
    span = newest if newest == oldest else f"{newest} to {oldest}"
    return (f"from the inventory, nobody was asked: last seen {span} ago",)


def age(seconds: float) -> str:
    """A length of time for the eye, in its largest unit: 12 s, 3 min, 5 h, 2 d."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Finder:
    """Finds the targets of one client's requests; `fill` as of a `DiscoveryQuery`."""

    def __init__(
        self,
        queries: NodeQueries,
        known: NodeCache,
        settings: Settings,
        fill: Callable[[str], None] = lambda _collective: None,
    ) -> None:
        self._fill = fill
        self._queries = queries
        self._known = known
        self._settings = settings
        self._open: deque[str] = deque()

    def find(self, targeting: Targeting, agent: str | None = None) -> Discovered:
        """Turn a targeting into names; with `agent`, of nodes that have that agent.

        Raises:
            FilterError: a filter does not parse.
            UsageError: the source is unknown, or wants names and has none.
        """
        source = _source(targeting.source)
        if targeting.collective is not None:
            check_word("collective", targeting.collective)
        compile_filter(targeting.filter)
        if targeting.nodes is not None and targeting.filter:
            asked = source if source is not named else _source("broadcast")
            return self._among(targeting.nodes, asked, targeting, agent)
        if targeting.nodes is None:
            targeting = replace(targeting, nodes=plain_names(targeting.filter))
        if targeting.nodes is not None:
            source = named
        return source(self._search(targeting, agent))

    def _among(
        self, names: Iterable[str], source: DiscoveryMethod, targeting: Targeting, agent: str | None
    ) -> Discovered:
        """Filters beside names: those of the names that match, by answer or last known facts."""
        wanted = set(expand(names))
        everyone = replace(targeting, nodes=None, limit=None, one=False)
        found = source(self._search(everyone, agent))
        chosen = choose([name for name in found.names if name in wanted], targeting)
        kept = set(chosen)
        return replace(
            found,
            names=chosen,
            answers={name: answer for name, answer in found.answers.items() if name in kept},
            absent=[node for node in found.absent if node.identity in kept],
        )

    def _search(self, targeting: Targeting, agent: str | None) -> DiscoveryQuery:
        filter_ = targeting.filter
        if agent is not None and agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, agent))
        return DiscoveryQuery(
            targeting=targeting,
            filter=filter_,
            collective=targeting.collective or self._settings.collective.main,
            known=self._known,
            queries=self._queries,
            settings=self._settings.client,
            retire=self._retire,
            fill=self._fill,
        )

    def _retire(self, question: str) -> None:
        self._open.append(question)
        while len(self._open) > _OPEN:
            self._queries.forget(self._open.popleft())


def _source(name: str) -> DiscoveryMethod:
    try:
        source: DiscoveryMethod = plugins.find("discovery", name)
    except PluginError as error:
        raise UsageError(f"--dm {name}: {error}") from error
    return source
