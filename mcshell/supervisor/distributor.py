"""What a node lacks, by its registration, and bringing it: rules, and a newer revocation list.

A rule speaks for itself, and a list for its carrier whoever he is (`wire.documents.rule`, `crl`), so a
supervisor needs no operator's rights. It
goes to the node's direct queue and is not kept there: whether it was taken, the node's next
registration says, and what was not is brought again, ever more seldom.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.node_cache import registered
from mcshell.errors import ConnectionLost, FilterError, PluginError
from mcshell.supervisor.metrics import MachineStates
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.documents.crl import seal_crl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.supervisor.inventory import HeardRegistration
    from mcshell.supervisor.rule_folder import CarriedRule, RuleFolder
    from mcshell.wire.documents.registration import Registration
    from mcshell.wire.documents.signatures import Signer, Verifier
    from mcshell.wire.stomp.transport import Transport

__all__ = ["RuleDistributor"]

log = logging.getLogger(__name__)

_WORTH: Final = 60.0
_SELDOM: Final = 86_400.0
_CRL: Final = "crl"
_WANTING: Final = ("lacking", "outdated")


@dataclass(frozen=True, slots=True)
class _Delivered:
    """What was brought to whom, how often, and when last (monotonic)."""

    what: tuple[Any, ...]
    times: int
    at: float


class _Subject:
    """A node as its registration describes it; `unsure` when only the node itself can tell."""

    def __init__(self, node: CachedNode) -> None:
        self.identity = node.identity
        self.facts = node.facts
        self.classes = node.classes
        self.agents = node.agents
        self.unsure = False
        self._node = node

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer a data plugin from what is known."""
        try:
            return self._node.query(plugin, params)
        except PluginError:
            self.unsure = True
            raise


class RuleDistributor:
    """Brings nodes what they lack, in one thread.

    `carried` counts what was brought; `machines` is how each stands that was looked at.
    """

    def __init__(
        self, transport: Transport, verifier: Verifier, signer: Signer, folder: RuleFolder
    ) -> None:
        self._transport = transport
        self._signer = signer
        self._verifier = verifier
        self._folder = folder
        self._brought: dict[tuple[str, str, str], _Delivered] = {}
        self.carried = 0
        self.machines = MachineStates()

    def look(self, heard: HeardRegistration, now: float, clock: float) -> None:
        """Bring a node what it lacks; `now` is epoch, `clock` monotonic seconds."""
        node = heard.registration
        jobs: Counter[str] = Counter()
        for key, kept in self._folder.rules.items():
            place = heard.collective, node.identity, key
            state = self._state(heard, kept, now)
            if state:
                jobs[state] += len(kept.rule.duties)
            if state in _WANTING:
                what = node.machine, node.started, kept.rule.revision
                self._bring(place, what, kept.sealed.body, kept.sealed.headers, node, now, clock)
            else:
                self._brought.pop(place, None)
        self.machines.enter(heard.collective, node, heard.heard, jobs)
        number = self._verifier.crl_number
        place = heard.collective, node.identity, _CRL
        if number is not None and (node.crl or 0) < number:
            sealed = seal_crl(self._verifier.crl_lists, self._signer, now)
            lists = node.started, number
            self._bring(place, lists, sealed.body, sealed.headers, node, now, clock)
        else:
            self._brought.pop(place, None)

    def _state(self, heard: HeardRegistration, kept: CarriedRule, now: float) -> str:
        """How a rule stands on a node, as far as one can tell from here: "" where it is not for it."""
        node, rule = heard.registration, kept.rule
        if rule.collective != heard.collective or now > rule.expires:
            return ""
        held = node.rules.get(kept.key, 0)
        if held:
            return "outdated" if held < rule.revision else "held"
        subject = _Subject(registered(node, heard.heard))
        try:
            return "lacking" if kept.matcher.matches(subject) or subject.unsure else ""
        except FilterError:
            return "lacking"  # its facts are more than the regexes may cost: it tells itself

    def _bring(
        self,
        place: tuple[str, str, str],
        what: tuple[Any, ...],
        body: bytes,
        headers: Mapping[str, str],
        node: Registration,
        now: float,
        clock: float,
    ) -> None:
        before = self._brought.get(place)
        times = 0
        if before is not None and before.what == what:
            times = before.times
            pause = min(node.interval / 2 * 2 ** min(times - 1, 20), _SELDOM)
            if clock < before.at + pause:
                return
        collective, identity, key = place
        destination = destinations.node(collective, identity)
        try:
            self._transport.send(destination, body, headers, expires=now + _WORTH)
        except ConnectionLost as error:
            log.warning("%s is not brought to %s: %s", key, identity, error)
            return
        self._brought[place] = _Delivered(what, times + 1, clock)
        self.carried += 1
        log.info("%s is brought to %s", key, identity)
