"""What an operator means who says it as other tools have it, or knows an option's name alone.

It is asked where a line cannot be understood; a light node is built without it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mcshell.commands.grammar.verbs import VERBS
from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["as_asked", "as_meant", "option_text", "verb_here"]

VERBS_ELSEWHERE = {
    **dict.fromkeys(("discover", "hosts", "nodes"), "find"),
    **dict.fromkeys(("manage.up", "manage.status", "node_list"), "ping"),
    "manage.down": "ping --only state=silent",
    **dict.fromkeys(("grains", "grains.get", "fact"), "facts NAME"),
    **dict.fromkeys(("grains.items", "setup"), "inventory NODE"),
    **dict.fromkeys(("req", "request"), "rpc AGENT ACTION input=value"),
    **dict.fromkeys(("cmd.run", "run", "clush", "command"), "rpc exec run -- COMMAND"),
    **dict.fromkeys(("salt", "ansible", "choria"), "VERB ..., the nodes behind it with -I, -F, -C"),
    **dict.fromkeys(("playbook", "ansible-playbook", "orchestrate"), "plan run FILE"),
    **dict.fromkeys(("copy", "scp", "rsync", "cp.get_file", "cp.push", "fetch"), "cp"),
    **dict.fromkeys(("jobs.list_jobs", "jobs.lookup_jid"), "requests, replies ID"),
    **dict.fromkeys(("kill", "saltutil.kill_job"), "job cancel"),
    **dict.fromkeys(("key", "salt-key"), "pki requests, pki sign"),
}
"""The first words of lines by which mco, choria, salt, ansible and clush say what a verb here does."""


def verb_here(word: str) -> str:
    """What stands here for the first word of another tool's line, or of a verb of two words."""
    found = VERBS_ELSEWHERE.get(word) or ", ".join(
        name for name in VERBS if name.split()[1:] == [word]
    )
    return f" (here: {found})" if found else ""


def option_text(word: str, face: str) -> str:
    """What the verbs say of an option, `batch` or `--batch`; empty where none has it."""
    flag = word if word.startswith("-") else f"--{word}"
    found: dict[str, list[str]] = {}
    for verb in VERBS.values():
        shown = [one.shown(flag) for one in verb.kind.arguments().values()]
        if verb.offered(face) and any(shown):
            found.setdefault("".join(shown), []).append(verb.name)
    return "".join(f"{shown}\n    of {', '.join(verbs)}\n" for shown, verbs in found.items())


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
