"""The reference, made from the code: settings, states, reasons, exit codes, operators, actions, forms.

What a word means stands where the word is declared: under `Attributes:` in its class's docstring, or
beside it as data. The verbs are not here: `help VERB` has each, and the build puts them together.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.config import Limit, Pool, readers
from mcshell.config.loading import READERS, SECTIONS
from mcshell.ddl.ddl_library import Library, builtin_dir, shipped_dir
from mcshell.errors import ExitCode, Reason
from mcshell.filters.values import MEANINGS, OPERATORS
from mcshell.message import JOB_STATES, State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.ddl.model import Action, Input

__all__ = ["PAGES", "Entry", "Group", "ReferencePage", "attributes", "entry"]

_WIDTH: Final = 96
_KINDS: Final[Mapping[Callable[[Any], Any], str]] = {
    readers.read_count: "a whole number",
    readers.read_duration: "a length of time",
    readers.read_flag: "true or false",
    readers.read_key: "a path, or SCHEME:REST",
    readers.read_metrics_path: "a path that ends in .prom",
    readers.read_name: "a name",
    readers.read_names: "names",
    readers.read_path: "a path",
    readers.read_paths: "paths",
    readers.read_share: "a share or a number",
    readers.read_some_words: "words",
    readers.read_table: "a table",
    readers.read_text: "text",
    readers.read_urls: "addresses",
    readers.read_words: "words",
    readers.size: "a size",
}
_FORMS: Final = {
    "policy": "mcshell.node.admission.policy_file",
    "plan": "mcshell.client.documents.plan_file",
    "rule": "mcshell.client.documents.rule_file",
    "list of nodes": "mcshell.client.discovery.node_lists",
}
"""The forms of files, each described at the head of the module that reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A word of the reference: `about` is its type and default, or whatever else stands beside it."""

    name: str
    text: str
    about: str = ""

    def markdown(self) -> str:
        """An item of a list of definitions."""
        text = re.sub(r"\s+", " ", self.text).strip()
        body = textwrap.fill(
            text, _WIDTH, initial_indent=": ", subsequent_indent="  ", break_on_hyphens=False
        )
        return f"`{self.name}`{f' ({self.about})' if self.about else ''}\n{body}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Words that belong together, below a heading."""

    title: str
    text: str = ""
    entries: tuple[Entry, ...] = ()

    def markdown(self) -> str:
        """A section."""
        parts = (f"## {self.title}\n", self.text, *(one.markdown() for one in self.entries))
        return "\n".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePage:
    """A page that is made."""

    title: str
    text: str
    groups: tuple[Group, ...]

    def markdown(self) -> str:
        """The page."""
        return "\n".join([f"# {self.title}\n", self.text, *(g.markdown() for g in self.groups)])


def attributes(cls: type) -> dict[str, str]:
    """What a class's docstring, or that of a class below it, says under `Attributes:`, by name."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        found |= _told(textwrap.dedent("    " + (one.__doc__ or "")))
    return found


def agent_settings() -> dict[str, dict[str, str]]:
    """What the agents that ship say of their settings, by agent and key; none of them is loaded."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(shipped_dir().glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = [one for one in tree.body if isinstance(one, ast.ClassDef)]
        texts = [ast.get_docstring(one) or "" for one in classes if one.name.lower() == path.stem]
        found[path.stem] = _told("".join(texts))
    return found


def _told(docstring: str) -> dict[str, str]:
    lines = textwrap.dedent(docstring.partition("Attributes:\n")[2])
    items = re.findall(r"^(\w+): (.*(?:\n {4,}.*)*)", lines, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in items}


def entry(name: str) -> str:
    """Each entry and group of a name, below its page's title, as Markdown; nothing of none."""
    found: list[str] = []
    for page in (make() for make in PAGES.values()):
        for group in page.groups:
            told = [one.markdown() for one in group.entries if one.name == name]
            if group.title == name:
                found.append(group.markdown())
            elif told:
                found += [f"## {page.title}: {group.title}\n", *told]
    return "\n".join(found)


def words() -> set[str]:
    """All names of which `entry` has something to say."""
    groups = [group for make in PAGES.values() for group in make().groups]
    return {one.name for group in groups for one in group.entries} | {one.title for one in groups}


def settings() -> ReferencePage:
    """Every key of the configuration."""
    groups = [_section(f"[{name}]", name, cls) for name, cls in SECTIONS.items()]
    groups.append(_section("[node.limits.AGENT]", "node.limits.AGENT", Limit))
    groups.append(_section("[pools.NAME]", "pools.NAME", Pool))
    groups += [_of_agent(name, told) for name, told in agent_settings().items() if told]
    return ReferencePage(
        title="Settings",
        text=_SETTINGS,
        groups=(*groups, Group(title="Without a section", entries=_OTHERS)),
    )


_SETTINGS: Final = """\
The file is TOML: that of `--config`, `MCSHELL_CONFIG`, or `config.toml` in the user's configuration or
in `/etc/mcshell`. A flag comes before the environment, that before the file, that before the default;
`mcshell config show` says where each value came from. A key of a section is also the variable
`MCSHELL_SECTION_KEY` (`MCSHELL_CLIENT_TIMEOUT`), a list with commas. Paths are relative to the file.
Lengths of time are `10s`, `1h30m`, `180d` or seconds; sizes `1MiB`, `500kB` or bytes.
"""
_OTHERS: Final = (
    Entry(
        name="state",
        about="a path",
        text="The folder of sessions, spool and logs; `MCSHELL_STATE` comes before it.",
    ),
    Entry(
        name="groups.NAME",
        about="words",
        text="`@NAME`: a set of nodes, or a list of sets and groups.",
    ),
    Entry(
        name="aliases.WORD",
        about="text",
        text="The beginning of a line that WORD stands for; no verb can be one.",
    ),
    Entry(
        name="agents.NAME",
        about="a table",
        text="The settings of an agent of yours; what they are, the agent says.",
    ),
)


def _of_agent(agent: str, told: Mapping[str, str]) -> Group:
    name = f"agents.{agent}"
    entries = tuple(Entry(name=f"{name}.{k}", text=_sentence(text)) for k, text in told.items())
    return Group(title=f"[{name}]", text=f"Of the agent `{agent}` on a node.\n", entries=entries)


def _section(title: str, prefix: str, cls: type) -> Group:
    told = attributes(cls)
    defaults = {one.name: _default(one) for one in fields(cls)}
    entries = tuple(
        Entry(
            name=f"{prefix}.{key}",
            about=f"{_kind(read)}; default: {defaults[key]}",
            text=_sentence(told.get(key, "")),
        )
        for key, read in READERS[cls].items()
    )
    text = (cls.__doc__ or "").partition("\n")[0].partition(": ")[2]
    return Group(title=title, text=_sentence(text) + "\n", entries=entries)


def _kind(read: Callable[[Any], Any]) -> str:
    known = getattr(read, "words", ())
    return (
        " or ".join(f"`{word}`" for word in known) if known else _KINDS[getattr(read, "read", read)]
    )


def _default(one: Any) -> str:
    if one.default_factory is not MISSING or one.default in (None, "", (), MISSING):
        return "none"
    if isinstance(one.default, tuple):
        return ", ".join(f"`{word}`" for word in one.default)
    if isinstance(one.default, bool):
        return f"`{str(one.default).lower()}`"
    if isinstance(one.default, float):
        return f"`{_length(one.default)}`"
    return f"`{one.default}`"


def _length(seconds: float) -> str:
    """A length of time in the largest unit in which it is whole."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def states() -> ReferencePage:
    """Every state of a target and of a job."""
    told = attributes(State)
    targets = tuple(Entry(name=one.value, text=_sentence(told[one.name])) for one in State)
    jobs = tuple(Entry(name=name, text=_sentence(text)) for name, text in JOB_STATES.items())
    return ReferencePage(
        title="States",
        text="Each target of each request is at every instant in exactly one state.\n",
        groups=(
            Group(title="Of a target", entries=targets),
            Group(title="Of a job on a node", entries=jobs),
        ),
    )


def reasons() -> ReferencePage:
    """Every reason for which a message is refused."""
    told = attributes(Reason)
    entries = tuple(Entry(name=one.value, text=_sentence(told[one.name])) for one in Reason)
    text = "Why a message was refused: the word in audit lines, counters and `explain`.\n"
    return ReferencePage(
        title="Reasons",
        text=text,
        groups=(Group(title="Why a message was refused", entries=entries),),
    )


def exit_codes() -> ReferencePage:
    """Every exit code."""
    told = attributes(ExitCode)
    entries = tuple(Entry(name=str(int(one)), text=_sentence(told[one.name])) for one in ExitCode)
    return ReferencePage(
        title="Exit codes",
        text="What a command line ends with: the first that fits, in this order.\n",
        groups=(Group(title="Codes", entries=entries),),
    )


def operators() -> ReferencePage:
    """Every operator of filters."""
    spellings = {
        meaning: [word for word, meant in OPERATORS.items() if meant == meaning]
        for meaning in MEANINGS
    }
    entries = tuple(
        Entry(
            name=words[0],
            about=f"also `{'`, `'.join(words[1:])}`" if words[1:] else "",
            text=_sentence(MEANINGS[meaning]),
        )
        for meaning, words in spellings.items()
    )
    text = "Between a fact, a data plugin's output or a column, and a value (`help filters`).\n"
    return ReferencePage(
        title="Operators of filters",
        text=text,
        groups=(Group(title="Operators", entries=entries),),
    )


def actions() -> ReferencePage:
    """Every action of the agents that ship and of those that are part of a node, from their DDLs."""
    library = Library([shipped_dir(), builtin_dir()])
    ddls = [library.get(name) for name in library.agents()]
    groups = tuple(
        Group(
            title=ddl.name,
            text=_sentence(str(ddl.metadata.get("description", ""))) + "\n",
            entries=tuple(_action(ddl.name, one) for one in ddl.actions.values()),
        )
        for ddl in ddls
    )
    text = "What can be asked of a node; `doc AGENT` also shows agents of your own.\n"
    return ReferencePage(title="Actions", text=text, groups=groups)


def _action(agent: str, action: Action) -> Entry:
    takes = "; ".join(map(_input, action.inputs.values()))
    gives = ", ".join(f"`{name}`" for name in action.outputs)
    text = [_sentence(action.description)]
    text += [f"Takes {takes}."] if takes else []
    text += [f"Gives {gives}."] if gives else []
    about = "changes the node" if action.changes else "changes nothing"
    return Entry(name=f"{agent}.{action.name}", about=about, text=" ".join(text))


def _input(one: Input) -> str:
    about = [one.type] if not one.choices else [f"one of {', '.join(map(str, one.choices))}"]
    about += ["may be left out"] if one.optional else []
    about += [] if one.default is None else [f"default {one.default}"]
    return f"`{one.name}` ({', '.join(about)}): {one.description.rstrip('.')}"


def forms() -> ReferencePage:
    """The forms of files, as the modules that read them describe them."""
    groups = tuple(Group(title=name, text=_described(module)) for name, module in _FORMS.items())
    return ReferencePage(
        title="Forms of files", text="What people write for mcshell.\n", groups=groups
    )


def _described(module: str) -> str:
    """A module's docstring as Markdown; the module is not loaded, since it stands above this one."""
    spec = find_spec(module)
    origin = spec.origin if spec else None
    if origin is None:
        raise LookupError(f"{module} is not there: install mcshell again")
    tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    return "\n".join(_fenced(ast.get_docstring(tree) or "")) + "\n"


def _fenced(docstring: str) -> Iterator[str]:
    """A docstring's lines, each literal block (`::`) between fences."""
    parts = re.split(r"^::\n\n((?:(?: {4}.*)?\n)+)", docstring + "\n", flags=re.MULTILINE)
    for number, part in enumerate(parts):
        yield (
            f"```text\n{textwrap.dedent(part).strip()}\n```\n"
            if number % 2
            else part.strip() + "\n"
        )


def _sentence(text: str) -> str:
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


PAGES: Final[Mapping[str, Callable[[], ReferencePage]]] = {
    "settings": settings,
    "states": states,
    "reasons": reasons,
    "exit-codes": exit_codes,
    "operators": operators,
    "actions": actions,
    "forms": forms,
}
"""The pages that are made, by name."""
