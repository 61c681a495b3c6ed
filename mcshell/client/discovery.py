"""From a targeting to names: who answers now, and who should have (DESIGN §5).

Names given by hand are taken as they are. Else the network is asked, and the known nodes that
match by their last known facts, were seen lately and did not answer are named beside it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mcshell.client.known import KnownNode, description
from mcshell.client.targeting import Targeting, choose, plain_names
from mcshell.errors import UsageError, did_you_mean
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.client.known import Known
    from mcshell.client.probe import Prober
    from mcshell.config import Settings
    from mcshell.message import Filter, Reply

__all__ = ["Answer", "Discovery", "Found"]

_SILENCE = 0.3
_FIRST_SILENCE = 1.0
_SETTLE = 0.02
_OPEN = 8
_SOURCES = ("broadcast",)


@dataclass(frozen=True, slots=True)
class Answer:
    """One node's answer to discovery. `rtt` is seconds from our SEND to its arrival."""

    node: KnownNode
    rtt: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a targeting came to. `names` are the targets; `answers` those who answered now;
    `absent` the known nodes among the targets that did not. `discovered`: the network was asked.
    """

    names: list[str]
    answers: dict[str, Answer] = field(default_factory=dict)
    absent: list[KnownNode] = field(default_factory=list)
    discovered: bool = True
    elapsed: float = 0.0


class Discovery:
    """Finds the targets of one client's requests."""

    def __init__(self, prober: Prober, known: Known, settings: Settings) -> None:
        self._prober = prober
        self._known = known
        self._settings = settings
        self._open: deque[str] = deque()

    def find(self, targeting: Targeting, agent: str | None = None) -> Found:
        """Turn a targeting into names; with `agent`, of nodes that have that agent.

        Raises:
            FilterError: a filter does not parse.
            UsageError: the source is unknown, or names and filters are mixed.
        """
        if targeting.source not in _SOURCES:
            raise UsageError(
                f"unknown discovery source {targeting.source!r}"
                + did_you_mean(targeting.source, _SOURCES)
            )
        compile_filter(targeting.filter)
        names = targeting.nodes
        if names is None:
            names = plain_names(targeting.filter)
        elif targeting.filter:
            return self._among(names, targeting, agent)
        if names is not None:
            unique = list(dict.fromkeys(expand(names)))
            return Found(choose(unique, targeting), discovered=False)
        return self._ask_network(targeting, agent)

    def _among(self, names: Iterable[str], targeting: Targeting, agent: str | None) -> Found:
        """Filters beside names: those of the names that match, by answer or last known facts."""
        wanted = set(expand(names))
        everyone = replace(targeting, nodes=None, limit=None, one=False)
        found = self._ask_network(everyone, agent)
        chosen = choose([name for name in found.names if name in wanted], targeting)
        kept = set(chosen)
        return Found(
            chosen,
            {name: answer for name, answer in found.answers.items() if name in kept},
            [node for node in found.absent if node.identity in kept],
            elapsed=found.elapsed,
        )

    def _ask_network(self, targeting: Targeting, agent: str | None) -> Found:
        collective = targeting.collective or self._settings.collective.main
        filter_ = targeting.filter
        if agent is not None and agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, agent))
        began = time.time()
        known = self._matching_known(collective, filter_, began) if targeting.known else {}
        answers = self._answers(collective, filter_, targeting, known)
        absent = [node for name, node in known.items() if name not in answers]
        names = sorted({*answers, *known}) if targeting.known else sorted(answers)
        chosen = choose(names, targeting)
        if len(chosen) < len(names):
            kept = set(chosen)
            answers = {name: answer for name, answer in answers.items() if name in kept}
            absent = [node for node in absent if node.identity in kept]
        return Found(chosen, answers, absent, elapsed=time.time() - began)

    def _matching_known(self, collective: str, filter_: Filter, now: float) -> dict[str, KnownNode]:
        matcher = compile_filter(filter_)
        since = now - self._settings.client.known_for
        nodes = self._known.nodes(collective, since)
        return {node.identity: node for node in nodes if matcher.matches(node)}

    def _answers(
        self,
        collective: str,
        filter_: Filter,
        targeting: Targeting,
        known: dict[str, KnownNode],
    ) -> dict[str, Answer]:
        window = targeting.discovery_timeout
        if window is None:
            window = self._settings.client.discovery_timeout
        question, answers = self._prober.ping(collective, filter_, known)
        # With nobody known, a slow node would be missed and not even named: be patient then.
        silence = min(_SILENCE if known else _FIRST_SILENCE, window)
        answers.gather(window=window, silence=silence, settle=_SETTLE)
        # Who answers after the window is a target next time: the question stays open for a while.
        replies = answers.conclude(lambda late: self._learn(collective, late))
        self._open.append(question)
        while len(self._open) > _OPEN:
            self._prober.forget(self._open.popleft())
        self._learn(collective, replies.values())
        return {
            name: Answer(description(reply.data, name, at), at - answers.began)
            for name, (reply, at) in replies.items()
            if reply.statuscode == 0
        }

    def _learn(self, collective: str, replies: Iterable[tuple[Reply, float]]) -> None:
        self._known.learn(
            collective,
            [
                description(reply.data, reply.sender, at)
                for reply, at in replies
                if reply.final and reply.statuscode == 0
            ],
        )
