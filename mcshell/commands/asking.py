"""How an agent is asked, said to whoever has asked it as other tools have it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["as_asked", "as_meant"]


def as_asked(library: Library, words: Sequence[str]) -> str:
    """The line that asks the agent with which `words` begin, `AGENT ...` or `AGENT.ACTION ...`.

    It is empty where they begin with none.
    """
    agent, dot, action = words[0].partition(".")
    rest = [*([action] if dot else []), *words[1:]]
    if agent not in library.agents() or (dot and action not in library.merged(agent).actions):
        return ""
    if not rest:
        return f"rpc {agent} ACTION"
    return as_meant(library, agent, rest) or shlex.join(["rpc", agent, *rest])


def as_meant(library: Library, agent: str, words: Sequence[str]) -> str:
    """The line that was meant where the action stands behind its input, or an input has no name.

    So it is with the applications of mco: `service nginx restart`. The words of a command stand
    behind `--`. It is empty where nothing of the kind is seen.
    """
    try:
        actions = library.merged(agent).actions
    except MCShellError:
        return ""
    end = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    plain = [word for word in words[:end] if "=" not in word]
    named = [word for word in plain if word in actions]
    bare = [word for word in plain if word not in actions]
    if len(named) != 1 or not bare:
        return ""
    action, name = actions[named[0]], _first_input(actions[named[0]])
    asked = ["rpc", agent, action.name]
    if action.lists:
        return shlex.join([*asked, "--", *bare]) if plain == [*words] else ""
    if name is None or len(bare) != 1:
        return ""
    others = [word for word in words if word not in plain]
    return shlex.join([*asked, f"{name}={bare[0]}", *others])


def _first_input(action: Action) -> str | None:
    wanted = [one.name for one in action.inputs.values() if not one.optional]
    return next(iter(wanted or action.inputs), None)
