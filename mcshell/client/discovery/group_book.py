"""Groups of nodes, with groups in them, and who they are."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Final

from mcshell.errors import FilterError, did_you_mean
from mcshell.filters.nodes import expand
from mcshell.values import dataclass

if TYPE_CHECKING:
    from mcshell.client.discovery.inventories import Groups
    from mcshell.filters.nodes import GroupLookup

__all__ = ["CONFIGURED", "GroupBook"]

CONFIGURED: Final = "groups"
"""The source that is the configuration itself."""

_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class GroupBook:
    """The groups of each source, by the source's name; `beyond` gives those that none has."""

    sources: dict[str, Groups] = field(default_factory=dict)
    beyond: GroupLookup | None = None

    def names(self) -> list[str]:
        """The names of all groups, sorted."""
        return sorted({name for groups in self.sources.values() for name in groups})

    def __call__(self, name: str) -> list[str]:
        """The nodes of a group, `GROUP` or `SOURCE:GROUP`; FilterError when there is none."""
        return self._nodes(name, {})

    def _nodes(
        self,
        name: str,
        done: dict[tuple[str, str], list[str]],
        within: str = "",
        path: tuple[str, ...] = (),
    ) -> list[str]:
        # Groups that stand in many others, and these again in many, would take for ever one by one.
        if (known := done.get((name, within))) is not None:
            return known
        if name in path or len(path) > _DEPTH:
            raise FilterError(f"@{path[0]}: the group is in itself ({' > '.join(path)} > {name})")
        has = self._having(name, within)
        if not has and self.beyond is not None:
            return done.setdefault((name, within), list(self.beyond(name)))
        if not has:
            raise FilterError(f"there is no group @{name}{self._near(name)}", f"@{name}")
        found = [
            expand(sets, partial(self._nodes, done=done, within=source, path=(*path, name)))
            for source, sets in has.items()
        ]
        if any(set(one) != set(found[0]) for one in found[1:]):
            word = next(iter(has))
            raise FilterError(
                f"@{name}: {' and '.join(has)} have it, with other nodes: say @{word}:{name}"
            )
        return done.setdefault((name, within), found[0])

    def _having(self, name: str, within: str) -> dict[str, list[str]]:
        """The sources that have the group, with its sets; the one it is named in comes first."""
        source, colon, group = name.rpartition(":")
        if colon:
            sets = self.sources.get(source, {}).get(group)
            return {} if sets is None else {source: sets}
        for first in (within, CONFIGURED):
            if name in self.sources.get(first, {}):
                return {first: self.sources[first][name]}
        return {where: groups[name] for where, groups in self.sources.items() if name in groups}

    def _near(self, name: str) -> str:
        if not self.sources:
            return ": there are no groups ([groups], or [client] groups = [FILES])"
        return did_you_mean(name.rpartition(":")[2], self.names())
