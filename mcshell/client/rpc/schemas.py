"""Which schema a request has at each of its targets: that of the node it is sent to.

An agent may have several here: ours and MCollective's, or several versions. Which one holds is
decided by the wire over which the node is asked and by the version that the node says it has. The
inputs of a request are read by each schema for itself; where they fit only some, the other nodes are
not asked, and say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.ddl.model import joint
from mcshell.errors import InputError, UsageError
from mcshell.message import NATIVE
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.discovery.targeting import RequestOptions
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.ddl import DDL, Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["DividedRequest", "Part", "RequestSchemas", "fitted", "fitting", "typed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The targets that are asked by one schema, and the inputs as it has them.

    `old`: they are asked over MCollective's wire.
    """

    names: tuple[str, ...]
    action: Action
    data: Mapping[str, Any]
    old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedRequest:
    """A request by its parts, and why it does not go to the others, by name.

    `direct`: it can only be sent to each by name, as nodes of ours have several schemas.
    """

    parts: tuple[Part, ...]
    unfit: Mapping[str, str]
    direct: bool
    given: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Who is asked."""
        return [name for part in self.parts for name in part.names]

    @property
    def changed(self) -> list[str]:
        """Whom it changes, as their schemas say."""
        return [name for part in self.parts if part.action.changes for name in part.names]

    @property
    def action(self) -> Action:
        """The schema of all replies."""
        return joint([part.action for part in self.parts])

    @property
    def data(self) -> dict[str, Any]:
        """The inputs of all parts; with several without their defaults, which are each part's own."""
        if len(self.parts) == 1:
            return dict(self.parts[0].data)
        return {
            name: value
            for part in reversed(self.parts)
            for name, value in part.data.items()
            if name in self.given
        }


class RequestSchemas:
    """Finds the schemas of requests; what is not known of a node, `queries` ask."""

    def __init__(self, ddls: Library, known: NodeCache, queries: NodeQueries) -> None:
        self._ddls = ddls
        self._known = known
        self._queries = queries

    def divide(self, ask: RequestOptions, collective: str, names: Sequence[str]) -> DividedRequest:
        """Divide a request by the schemas of its targets.

        Raises:
            UsageError: it fits none of them.
        """
        groups = self._groups(ask.agent, collective, names)
        every = [group.ddl for group in groups]
        parts: list[Part] = []
        unfit: dict[str, str] = {}
        refusals: list[UsageError] = []
        for group in groups:
            try:
                action, data = fitted(group.ddl, every, ask)
            except UsageError as error:
                refusals.append(error)
                why = f"not sent: {error} (its {ask.agent} is {group.ddl.version})"
                unfit.update(dict.fromkeys(group.names, why))
            else:
                parts.append(
                    Part(names=tuple(group.names), action=action, data=data, old=group.old)
                )
        if not parts:
            raise _best(refusals)
        return DividedRequest(
            parts=tuple(parts),
            unfit=unfit,
            direct=sum(not group.old for group in groups) > 1,
            given=frozenset((*ask.texts, *ask.data)),
        )

    def _groups(self, agent: str, collective: str, names: Sequence[str]) -> list[_Group]:
        every = self._ddls.every(agent)
        if len(every) == 1:
            return [_Group(every[0], False, list(names))]
        old_ones = sum(map(self._ddls.is_old, every))
        said = self._known.schemas(collective, agent)
        unknown = [name for name in names if name not in said]
        if unknown and 0 < old_ones < len(every):
            self._queries.locate(collective, unknown)
            said = self._known.schemas(collective, agent)
        unsaid = [
            one for one in names if one in said and said[one][0] != NATIVE and not said[one][1]
        ]
        if unsaid and old_ones > 1:
            self._queries.describe(collective, unsaid)
            said = self._known.schemas(collective, agent)
        groups: dict[tuple[str, bool], _Group] = {}
        for name in names:
            trust, version = said.get(name, (NATIVE, ""))
            old = trust != NATIVE
            ddl = self._ddls.of_node(agent, old=old, version=version)
            groups.setdefault((ddl.path, old), _Group(ddl, old, [])).names.append(name)
        return list(groups.values())


def fitting(ddls: Library, ask: RequestOptions) -> tuple[Action, dict[str, Any]]:
    """The first schema that the inputs of a request fit, and the inputs as it has them.

    Raises:
        UsageError: no agent or action of that name, or inputs that fit none (InputError).
        DDLError: the agent's schema cannot be read.
    """
    every = ddls.every(ask.agent)
    refusals: list[UsageError] = []
    for ddl in every:
        try:
            return fitted(ddl, every, ask)
        except UsageError as error:
            refusals.append(error)
    raise _best(refusals)


@dataclass(frozen=True, slots=True)
class _Group:
    """Nodes with one schema, on one wire."""

    ddl: DDL
    old: bool
    names: list[str]


def _best(refusals: Sequence[UsageError]) -> UsageError:
    """The refusal that says most: of an input, before that of an action that is not there."""
    return next((one for one in refusals if isinstance(one, InputError)), refusals[0])


def fitted(ddl: DDL, every: Iterable[DDL], ask: RequestOptions) -> tuple[Action, dict[str, Any]]:
    """An action, and the inputs of a request as it takes them.

    An input that it does not have may be another's name for one that it has. It is left out where
    one of its own is given in its place, and one of the two schemas cannot do without its own; any
    other would be missed.

    Raises:
        UsageError: the schema has no such action, or takes no such inputs (InputError).
    """
    action = ddl.action(ask.action)
    others = [one.actions[ask.action].inputs for one in every if ask.action in one.actions]
    given = [*ask.texts, *ask.data]
    foreign = [name for name in given if name not in action.inputs]
    own = [
        name
        for name in given
        if name in action.inputs and any(name not in inputs for inputs in others)
    ]
    loose = [
        name
        for name in foreign
        if all(name not in inputs or inputs[name].optional for inputs in others)
    ]
    firm = [name for name in own if not action.inputs[name].optional]
    named_twice = len(foreign) <= len(own) and len(loose) <= len(firm)
    left_out = foreign if named_twice else ()
    return action, action.check(typed(action, ask, left_out))


def typed(action: Action, ask: RequestOptions, left_out: Iterable[str] = ()) -> dict[str, Any]:
    """The inputs of a request as an action has them, not yet checked.

    Raises:
        UsageError: the action takes no words behind `--`.
        InputError: an input is given twice, is none of the action's, or its text is no value.
    """
    texts = {name: text for name, text in ask.texts.items() if name not in left_out}
    found = action.convert(texts)
    if ask.behind is not None:
        name = _list_of(action)
        if name in found:
            raise InputError(f"input {name} is given twice, once behind --", name)
        found[name] = list(ask.behind)
    return found | {name: value for name, value in ask.data.items() if name not in left_out}


def _list_of(action: Action) -> str:
    """The one input of an action that takes a list: the words behind `--`."""
    lists = action.lists
    if len(lists) == 1:
        return lists[0]
    raise UsageError(
        f"--: {action.agent} {action.name} takes "
        + (f"several lists ({', '.join(lists)})" if lists else "no list")
        + ": input=value is meant"
    )
