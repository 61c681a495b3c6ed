"""From a targeting to names: who answers now, and who should have (mcshell/README.md §5).

Names given by hand are taken as they are. Else a discovery method (plugin kind `discovery`) is
asked: by default the network, with the known nodes that match by their last known facts, were seen
lately and did not answer named beside it.

A method is a callable: it takes a `DiscoveryQuery` and returns what it `Discovered`. `broadcast`
asks the network, `inventory` only what is known; `file`, `stdin` and `table` are names given by
hand. A site adds its own by an entry point `mcshell.discovery`; it has asked
nobody, unless it says so (`discovered`).
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from mcshell import plugins
from mcshell.client.discovery.groups import group_lookup, resolved
from mcshell.client.discovery.node_cache import CachedNode, description
from mcshell.client.discovery.targeting import (
    Targeting,
    asked_collective,
    choose,
    plain_names,
)
from mcshell.client.messaging.rejections import describe_rejections
from mcshell.client.store.ledger import UNHEARD, two_machines
from mcshell.errors import NoTargets, PluginError, Stopped, UsageError
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand, fold
from mcshell.message import Filter
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from mcshell.client.discovery.known_matches import NodeTimes
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.config import ClientSettings, Settings
    from mcshell.message import Reply

__all__ = [
    "UNHEARD",
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

_REMEMBERED = 180 * 86_400.0
"""Seconds after which a node that was not heard of is forgotten, when all are asked: as long as any request may wait."""
_SILENCE = 0.3
_FIRST_SILENCE = 1.0
_BY_NAME = 0.3
_LINGER = 0.02
_FRESH = 2.5
"""Intervals of registration in which a node that lives is heard of at least twice."""
_TOLD = 5
_PARTLY = "the pool inventory has not told all that it has heard: there may be nodes that nobody here knows of"
_MISDATED = "not asked: it registers by a clock that is far behind (explain says how far), and takes no question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One node's answer to discovery, at `seen` (epoch). `rtt` is seconds from our SEND to then.

    `refusal` is why it could say nothing of itself: it is there, and matches, all the same.
    `machines` are those that answer under its name, where there are several.
    What it has said of itself is in the cache (`look`), and read when it is looked at; its `reply` is
    there where Ctrl-C came, of which the replies are what is left.
    """

    identity: str
    seen: float
    rtt: float
    refusal: str
    look: Callable[[str], CachedNode | None]
    reply: Reply | None = None
    machines: tuple[str, ...] = ()

    @property
    def node(self) -> CachedNode:
        """The node as it has described itself."""
        found = None if self.refusal else self.look(self.identity)
        return found or CachedNode(identity=self.identity, seen=self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What a targeting has found. `names` are the targets; `answers` those who answered now;
    `absent` the known nodes among the targets that did not; `unheard` those that were named beside a
    filter, and nobody can tell whether they match: they are no targets, and not to be passed over in
    silence. `discovered`: the network was asked.
    `notes` are lines for the operator, such as how old the knowledge is. `stopped`: by Ctrl-C, before
    all could answer.
    """

    names: list[str]
    answers: dict[str, Answer] = field(default_factory=dict)
    absent: list[CachedNode] = field(default_factory=list)
    unheard: tuple[str, ...] = ()
    discovered: bool = False
    elapsed: float = 0.0
    notes: tuple[str, ...] = ()
    stopped: bool = False


def nobody(found: Discovered, agent: str) -> NoTargets:
    """What to raise when there is nobody to ask, with what is known of the reason."""
    text = f"no node matches, or none of those that do has the agent {agent}"
    return NoTargets("; ".join([text, *found.notes]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryQuery:
    """What a discovery method is asked, and what it may ask itself.

    `filter` is the targeting's with the agent that is to be asked; `retire` ends the question
    (by its id) when late answers to it are of no more use; `fill` makes known what others have
    heard of a collective, and says whether that was all of it; `tell` has a line for the operator.
    """

    targeting: Targeting
    filter: Filter
    collective: str
    known: NodeCache
    queries: NodeQueries
    settings: ClientSettings
    retire: Retire
    fill: Callable[[str], bool] = lambda _collective: True
    tell: Callable[[str], None] = lambda _line: None

    @property
    def since(self) -> float:
        """When a node must have been seen to be known (epoch)."""
        return time.time() - self.settings.known_for

    def known_names(self) -> dict[str, NodeTimes]:
        """The known nodes that match by their last known facts and were seen lately, by name."""
        return self.known.matching(self.collective, self.filter, self.since)

    def matching_known(self) -> list[CachedNode]:
        """The same, each with all that is known of it."""
        return list(self.known.some(self.collective, list(self.known_names())))

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
    return Discovered(names=choose(search.targeting.nodes, search.targeting))


def inventory(search: DiscoveryQuery) -> Discovered:
    """Only what is known, without a word to the nodes; says how old it is.

    Who has neither asked nor listened asks the pool `inventory`, where there is one.
    """
    surveyed = search.known.surveyed(search.collective, Filter(), search.since)
    if not (surveyed or search.fill(search.collective)):
        search.tell(_PARTLY)
    known = {node.identity: node for node in search.matching_known()}
    chosen = choose(sorted(known), search.targeting)
    nodes = [known[name] for name in chosen]
    return Discovered(names=chosen, absent=nodes, notes=_ages(nodes, time.time()))


def broadcast(search: DiscoveryQuery) -> Discovered:
    """Who answers now, and the known ones who should have."""
    began = time.time()
    targeting = search.targeting
    known = set(search.known_names()) if targeting.known else set()
    answers, stopped = _answers(search, known)
    if not stopped:
        absent = [name for name in known if name not in answers]
        late, gone = search.queries.recheck(search.collective, search.filter, absent)
        if late:
            search.learn(late.values())
            answers |= _answered(search, late, began)
        known -= gone
        answers |= _asked_again(search, sorted(known.difference(answers)))
        known.intersection_update({*search.known_names(), *answers})
    names = sorted(known.union(answers))
    chosen = choose(names, targeting, answers)
    kept = set(chosen)
    return Discovered(
        names=chosen,
        discovered=True,
        answers={name: answer for name, answer in answers.items() if name in kept},
        absent=list(
            search.known.some(search.collective, sorted((known & kept).difference(answers)))
        ),
        elapsed=time.time() - began,
        notes=tuple(
            filter(
                None,
                [
                    _refusals(answers, kept),
                    *_duplicates(answers, kept),
                    *([] if names else _unknown_terms(search)),
                    describe_rejections(search.queries.refused.since(began)),
                ],
            )
        ),
        stopped=stopped,
    )


def _asked_again(search: DiscoveryQuery, absent: Sequence[str]) -> dict[str, Answer]:
    """The answers of those absent that match after all, once they have said what they are.

    Who lives and matches no more gives no answer to the filter, as if it were down: it is asked by
    name, lest something be done to it that is meant for what it was.
    """
    if not absent or not (search.filter.fact or search.filter.cls or search.filter.compound):
        return {}
    found, still = _described(search, absent), search.known_names()
    return {name: one for name, one in found.items() if name in still}


def _described(search: DiscoveryQuery, names: Sequence[str]) -> dict[str, Answer]:
    """Have these nodes say what they are, and remember that; who is there does so at once."""
    question, asked = search.queries.ping_named(search.collective, names)
    search.retire(question)
    asked.gather(window=_BY_NAME, silence=_BY_NAME, linger=0.0, take=search.learn)
    return _answered(search, asked.conclude(search.learn), asked.began)


def _unknown_terms(search: DiscoveryQuery) -> list[str]:
    """What the filter asks that no known node has."""
    from mcshell.client.discovery.unknown_terms import unknown_in  # noqa: PLC0415 - where nobody matches

    return unknown_in(search.filter, search.known.nodes(search.collective, search.since))


def _renew(search: DiscoveryQuery, names: Sequence[str]) -> None:
    """Have each of these nodes say what it is, and remember that; who is there does so at once."""
    question, answers = search.queries.ping_each(search.collective, names)
    answers.gather(window=_SILENCE, silence=_SILENCE, linger=0.0, take=search.learn)
    answers.conclude(search.learn)
    search.retire(question)


def _answers(search: DiscoveryQuery, known: Iterable[str]) -> tuple[dict[str, Answer], bool]:
    """Who answers, and whether Ctrl-C came before the end: what has come by then is all the same."""
    window = search.targeting.discovery_timeout
    if window is None:
        window = search.settings.discovery_timeout
    # Those who are known are everyone only where everyone was asked before: a few that happened to
    # register, or that another filter found, must not close the window for the rest. And with
    # nobody known, a slow node would be missed and not even named: be patient then.
    since = search.since
    surveyed = search.known.surveyed(search.collective, search.filter, since)
    everyone = bool(known) and surveyed and not search.queries.unsure(search.collective, since)
    question, answers = search.queries.ping(
        search.collective, search.filter, known if everyone else ()
    )
    silence = min(_SILENCE if everyone else _FIRST_SILENCE, window)
    stopped = False
    try:
        answers.gather(window=window, silence=silence, linger=_LINGER, take=search.learn)
    except KeyboardInterrupt:
        stopped = True
    # Who answers after the window is a target next time: the question stays open for a while.
    replies = answers.conclude(search.learn)
    search.retire(question)
    # Who has cut the window short has not waited for all.
    patient = not stopped and window >= search.settings.discovery_timeout
    if replies and not everyone and patient:
        now = time.time()
        since = now - max(_REMEMBERED, search.settings.known_for)
        search.known.survey(search.collective, search.filter, now, since)
    found = _answered(search, replies, answers.began, whole=stopped)
    for name, machines in answers.machines().items():
        found[name] = replace(found[name], machines=tuple(machines))
    return found, stopped


def _answered(
    search: DiscoveryQuery,
    replies: dict[str, tuple[Reply, float]],
    began: float,
    *,
    whole: bool = False,
) -> dict[str, Answer]:
    """What nodes said, to a question that was asked then; `whole`: with their replies."""

    def look(name: str) -> CachedNode | None:
        return search.known.node(search.collective, name)

    found = {}
    for name, (reply, at) in replies.items():
        refusal = (reply.statusmsg or reply.state) if reply.statuscode else ""
        found[name] = Answer(
            identity=name,
            seen=at,
            rtt=at - began,
            refusal=refusal,
            look=look,
            reply=reply if whole else None,
        )
    return found


def _refusals(answers: Mapping[str, Answer], names: Container[str]) -> str:
    """A line about the nodes that answered that they cannot say who they are."""
    refused = {name: one.refusal for name, one in answers.items() if one.refusal and name in names}
    told = [f"{name}: {why}" for name, why in sorted(refused.items())[:_TOLD]]
    more = f"; and {len(refused) - _TOLD} more" if len(refused) > _TOLD else ""
    return f"could not say what it is: {'; '.join(told)}{more}" if told else ""


def _duplicates(answers: Mapping[str, Answer], names: Container[str]) -> list[str]:
    """A line about each name under which several machines answer; a few of them."""
    several = [one for one in sorted(answers) if one in names and answers[one].machines]
    return [f"{name}: {two_machines(answers[name].machines)}" for name in several[:_TOLD]]


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
        self, hub: SessionHub, known: NodeCache, settings: Settings, fill: Callable[[str], bool]
    ) -> None:
        self._fill = fill
        self._tell = hub.notices.append
        self._queries = hub.queries
        self._known = known
        self._settings = settings
        self._open: deque[str] = deque()
        """Questions to which late answers are still taken."""

    def meant(self, targeting: Targeting) -> Targeting:
        """The same with names alone: no file, no groups (`groups.resolved`).

        Raises:
            UsageError: it is of a collective in which no reply would be heard; as `groups.resolved`.
        """
        asked_collective(self._settings, targeting.collective)
        return resolved(targeting, group_lookup(lambda: self._settings))

    def find(self, targeting: Targeting, agent: str | None = None) -> Discovered:
        """Turn a targeting into names; with `agent`, of nodes that have that agent.

        Raises:
            FilterError: a filter does not parse.
            UsageError: the source is unknown, or wants names and has none.
            Stopped: Ctrl-C, with who had answered as `found`.
        """
        source = _source(targeting.source)
        targeting = self.meant(targeting)
        compile_filter(targeting.filter)
        if agent is not None and targeting.nodes is not None and not targeting.nodes:
            raise NoTargets("nodes: the list of nodes is empty: nobody is asked")
        while source is not named and self._open:  # answers to old questions hold up the new ones
            self._queries.forget(self._open.popleft())
        if targeting.nodes is not None and targeting.filter:
            asked = source if source is not named else _source("broadcast")
            found = self._among(set(targeting.nodes), asked, targeting, agent)
        else:
            if targeting.nodes is None and (names := plain_names(targeting.filter)) is not None:
                targeting = replace(targeting, nodes=tuple(expand(names)))
            asked = source if targeting.nodes is None else named
            found = asked(self._search(targeting, agent))
        if found.stopped:
            raise Stopped(found=found)
        if agent is not None and not found.discovered:  # it is acted upon: how old it is
            for note in found.notes:
                self._tell(note)
        if targeting.nodes is None:
            self._tell_misdated(self._search(targeting, agent), found)
        return self._with_unheard(found, targeting, agent)

    def _with_unheard(
        self, found: Discovered, targeting: Targeting, agent: str | None
    ) -> Discovered:
        """The same, with the names beside a filter of which nobody can tell whether they match.

        Who lives and does not match gives no answer to the filter, and says what it is when it is
        asked by name.
        """
        names = targeting.nodes or _by_name(targeting.filter)
        if not names or not targeting.filter or targeting.limit or targeting.one:
            return found
        search = self._search(targeting, agent)
        known = self._known.identities(search.collective, search.since)
        left = sorted(set(names).difference(found.names, known))
        late: dict[str, Answer] = {}
        if left and found.discovered:
            said = _described(search, left)
            left = [name for name in left if name not in said]
            late = {name: said[name] for name in said.keys() & search.known_names().keys()}
        if left:
            self._tell(f"{fold(left)}: {UNHEARD}")
        return replace(
            found,
            names=sorted([*found.names, *late]) if late else found.names,
            answers={**found.answers, **late},
            unheard=tuple(left),
        )

    def _tell_misdated(self, search: DiscoveryQuery, found: Discovered) -> None:
        """Name those that would be known if their clocks were right.

        They are no targets: a registration of days ago that somebody sends again looks the same.
        """
        names = self._known.misdated(search.collective, search.filter, search.since)
        if names := [name for name in names if name not in found.answers]:
            self._tell(f"{fold(names)}: {_MISDATED}")

    def remembered(
        self, targeting: Targeting, agent: str, fits: Callable[[int], bool]
    ) -> Discovered | None:
        """The targets of a broadcast that changes nothing, from what is known (§5).

        None where that is not as good as to ask all: it is wanted that they be asked, only they can
        tell whether they match, or too little of what is known is fresh; nor where so many do not
        fit, and nothing is told then of what is found anew. Of those that match, who is
        not fresh is asked, each by itself, and is a target all the same where there is no answer, as
        in discovery.
        """
        began = time.time()
        asked = targeting.fresh or not targeting.known or targeting.discovery_timeout is not None
        asked = asked or self._settings.client.fresh == 0
        if asked or targeting.source != "broadcast" or not self._queries.registering:
            return None
        if compile_filter(targeting.filter).uses_data:
            return None
        search = self._search(targeting, agent)
        if not search.known.surveyed(search.collective, search.filter, search.since):
            return None
        known = search.known_names()
        stale = [name for name, one in known.items() if not self._fresh(one, began)]
        if 2 * len(stale) > len(known):
            search.fill(search.collective)
            known = search.known_names()
            stale = [name for name, one in known.items() if not self._fresh(one, began)]
        if not known or 2 * len(stale) > len(known):
            return None
        if stale:
            _renew(search, stale)
            known = search.known_names()
        if not known or not fits(len(known)):
            return None
        found = Discovered(names=list(known), discovered=True, elapsed=time.time() - began)
        self._tell_misdated(search, found)
        return self._with_unheard(found, targeting, agent)

    def _fresh(self, node: NodeTimes, now: float) -> bool:
        """Whether a node was heard of so lately that it need not be asked what it is."""
        fresh = self._settings.client.fresh
        if fresh is None:
            fresh = _FRESH * (node.interval or self._settings.node.register_every)
        return now - node.seen < fresh

    def renew(self, collective: str, names: Sequence[str]) -> None:
        """Have nodes say what they are, of whom something else was known."""
        _renew(self._search(Targeting(collective=collective), None), names)

    def _among(
        self,
        wanted: Container[str],
        source: DiscoveryMethod,
        targeting: Targeting,
        agent: str | None,
    ) -> Discovered:
        """Filters beside names: those of the names that match, by answer or last known facts."""
        everyone = replace(targeting, nodes=None, limit=None, one=False)
        found = source(self._search(everyone, agent))
        there = found.answers if found.discovered else None
        chosen = choose([name for name in found.names if name in wanted], targeting, there)
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
            retire=self._open.append,
            fill=self._fill,
            tell=self._tell,
        )


def _by_name(filter_: Filter) -> list[str]:
    """The nodes that a filter names, among other things."""
    if not filter_.identity:
        return []
    from mcshell.filters.simple import parse_identity  # noqa: PLC0415 - most lines have no -I

    parsed = map(parse_identity, filter_.identity)
    return [name for one in parsed if isinstance(one, tuple) for name in one]


def _source(name: str) -> DiscoveryMethod:
    try:
        source: DiscoveryMethod = plugins.find("discovery", name)
    except PluginError as error:
        raise UsageError(f"--dm {name}: {error}") from error
    if name in plugins.BUILTIN["discovery"]:
        return source
    with suppress(ModuleNotFoundError):  # a light node is built without it
        from mcshell.client.discovery.plugged import guarded  # noqa: PLC0415 - few sites have one

        return guarded(name, source, Discovered)
    return source
