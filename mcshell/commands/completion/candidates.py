"""From a line and the place of the cursor to the ways to go on."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mcshell import plugins
from mcshell.commands.completion import values
from mcshell.commands.completion.scan import scan
from mcshell.commands.completion.values import Candidate, Completion
from mcshell.commands.grammar import topics
from mcshell.commands.grammar import verbs as grammar
from mcshell.commands.grammar.parser import LineParser
from mcshell.commands.grammar.values import SOURCES, Choice
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from mcshell.commands.completion.scan import Scan
    from mcshell.commands.completion.values import Knowledge
    from mcshell.commands.grammar.verbs import Face

__all__ = ["candidates"]

_Words: TypeAlias = "Callable[[_Place, Sequence[str]], Iterable[Completion]]"
_HELP = {"help": "how a verb is used"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the cursor is: the verb, its words so far, and what is being typed."""

    cache: Knowledge
    verb: str
    given: Sequence[str]
    current: str
    quote: str
    variables: Iterable[str]


def candidates(
    line: str,
    cursor: int,
    cache: Knowledge,
    *,
    face: Face = "prompt",
    variables: Iterable[str] = (),
) -> list[Candidate]:
    """The ways to go on at the cursor, the likeliest first; nothing where nothing is known.

    `variables` are the Python names that `--nodes` may mean.
    """
    before = line[:cursor]
    found = scan(before, cache.alias)
    ways = _ways(found, cache, face, variables)
    return [
        one
        for one in ways
        if one.text.isprintable() and _stays_a_word(before[: one.start] + one.text, found, cache)
    ]


def _stays_a_word(line: str, found: Scan, cache: Knowledge) -> bool:
    """Whether the line is what it was, with one more word, or one that is longer.

    Names come from nodes: what would end the line, begin another, send its result elsewhere or hide
    what is in it is not offered, so that Tab and Enter do what the operator sees.
    """
    then = scan(line, cache.alias)
    return (
        not (then.quote == '"' and line.endswith("\\"))
        and then.sink == found.sink
        and then.words == found.words
        and then.start == found.start
    )


def _ways(
    found: Scan, cache: Knowledge, face: Face, variables: Iterable[str]
) -> Iterable[Candidate]:
    if found.sink:
        named = found.sink in (">", ">>") and not found.words
        return _placed(found, "file", _files(found.current)) if named else []
    if not found.words:
        return _placed(found, "verb", _verbs(cache, found.current, face))
    if found.words[0] == "help":
        return _placed(found, "verb", _help(cache, found.words[1:], found.current, face))
    return _after_verb(found, cache, face, variables)


def _after_verb(
    found: Scan, cache: Knowledge, face: Face, variables: Iterable[str]
) -> list[Candidate]:
    first, *rest = found.words
    second = _seconds(first, found.current, face) if not rest else []
    pair = f"{first} {rest[0]}" if rest else ""
    name = pair if pair in grammar.VERBS else first
    if name not in grammar.VERBS:
        return _placed(found, "verb", second)
    words = rest[1:] if name == pair else rest
    place = _Place(
        cache=cache,
        verb=name,
        given=words,
        current=found.current,
        quote=found.quote,
        variables=variables,
    )
    return _placed(found, "verb", second) + _in_verb(found, place, face)


def _in_verb(found: Scan, place: _Place, face: Face) -> list[Candidate]:
    """Options, their values, and the verb's own words."""
    options, positionals = _grammar(place.verb, face)
    if "--" in place.given and grammar.VERBS[place.verb].free == "--":
        return []  # the words of a command that only the nodes know
    pending, given = _walk(place.given, options)
    if pending is not None:
        return _values(found, place, pending, given)
    name, equals, value = place.current.partition("=")
    if equals and name in options and name.startswith("--"):
        inner = _Place(
            cache=place.cache,
            verb=place.verb,
            given=given,
            current=value,
            quote=place.quote,
            variables=place.variables,
        )
        return _behind(found, name, _values(found, inner, options[name], given))
    if place.current.startswith("-"):
        return _placed(found, "option", _options(options, place.current))
    at = min(len(given), len(positionals) - 1)
    if positionals and (len(given) < len(positionals) or positionals[at].nargs in ("*", "+")):
        offered = _values(found, place, positionals[at], given)
        if offered or place.current or positionals[at].nargs is None:
            return offered
    return [] if place.current else _placed(found, "option", _options(options, "-"))


@lru_cache(maxsize=256)
def _grammar(
    verb: str, face: Face
) -> tuple[dict[str, argparse.Action], tuple[argparse.Action, ...]]:
    """A verb's options by their spellings, and its words in order."""
    actions = LineParser(grammar.VERBS[verb], face)._actions  # noqa: SLF001 - argparse has no other list
    options = {text: action for action in actions for text in action.option_strings}
    return options, tuple(action for action in actions if not action.option_strings)


def _walk(
    words: Sequence[str], options: dict[str, argparse.Action]
) -> tuple[argparse.Action | None, list[str]]:
    """The option whose value is to come, and the words that are no options.

    Of an option with several values the last is meant: those before it are numbers.
    """
    pending: argparse.Action | None = None
    given: list[str] = []
    more = 0
    for word in words:
        if pending is not None and more > 1:
            more -= 1
        elif pending is not None:
            pending = None
        elif word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            action = options.get(name)
            pending = action if action is not None and not equals and action.nargs != 0 else None
            more = action.nargs if action is not None and isinstance(action.nargs, int) else 1
        else:
            given.append(word)
    return pending, given


def _values(
    found: Scan, place: _Place, action: argparse.Action, given: Sequence[str]
) -> list[Candidate]:
    """What may stand where this option or word is."""
    if action.dest == "compound":
        width, words = values.compound(place.cache, place.current, quoted=bool(place.quote))
        end = found.start + len(place.quote) + len(place.current)
        return [
            Candidate(
                text=word.text,
                start=end - width,
                display=word.display or word.text,
                kind="filter",
                meta=word.meta,
                open=word.open,
            )
            for word in words
        ]
    kind, words_ = _words_for(place, action, given)
    return _placed(found, kind, words_)


def _words_for(
    place: _Place, action: argparse.Action, given: Sequence[str]
) -> tuple[str, Iterable[Completion]]:
    """What kind of word it is, and those that fit."""
    if isinstance(action.type, Choice):
        return "value", _plain(values.fitting(action.type.known, place.current))
    name = _NAMES.get((place.verb, action.dest), action.dest)
    kind, words = _WORDS.get(name, ("value", lambda _place, _given: ()))
    return kind, words(place, given)


def _few(known: Callable[[Knowledge], Iterable[str]]) -> _Words:
    """Make a kind of word of which there are few names: they fit whatever their case."""
    return lambda place, _given: _plain(values.fitting(known(place.cache), place.current))


def _nodes(place: _Place, _given: Sequence[str]) -> Iterable[Completion]:
    if place.current.startswith("@"):
        return _plain(f"@{name}" for name in values.fitting(place.cache.groups, place.current[1:]))
    return _plain(values.starting(place.cache.nodes, place.current.lower()))


def _agents(place: _Place, _given: Sequence[str]) -> Iterable[Completion]:
    agent, dot, action = place.current.partition(".")
    if dot and place.verb == "doc":
        return values.actions(place.cache, agent, action, f"{agent}.")
    return values.agents(place.cache, place.current)


def _requests(place: _Place, _given: Sequence[str]) -> Iterable[Completion]:
    return values.requests(place.cache, place.current)


def _variables(place: _Place, _given: Sequence[str]) -> Iterable[Completion]:
    if place.current.startswith("@"):
        return _nodes(place, _given)
    names = _plain(values.fitting(sorted(place.variables), place.current))
    return [*names, *_files(place.current)]


def _inputs(place: _Place, given: Sequence[str]) -> Iterable[Completion]:
    ddl = place.cache.ddls.get(given[0])
    action = ddl.actions.get(given[1]) if ddl else None
    return () if action is None else values.inputs(place.cache, action, given[2:], place.current)


def _outputs(place: _Place, given: Sequence[str]) -> Iterable[Completion]:
    """The outputs of the action that is asked, else of the newest request's: analysis is of that."""
    asked = [(given[0], given[1])] if place.verb == "rpc" and len(given) > 1 else []
    for request in place.cache.requests:
        agent, _, action = request.about.partition(" ")
        asked.append((agent, action))
    for agent, action in asked:
        ddl = place.cache.ddls.get(agent)
        if ddl is not None and action in ddl.actions:
            return _plain(values.fitting(ddl.actions[action].outputs, place.current))
    return []


def _conditions(place: _Place, given: Sequence[str]) -> Iterable[Completion]:
    """The first column of an expression, open for what it is compared with."""
    states = [f"state={one.value}" for one in State]
    if place.current.startswith("state="):
        return _plain(values.fitting(states, place.current))
    outputs = [Completion(f"{one.text}=", open=True) for one in _outputs(place, given)]
    named = values.fitting(["state="], place.current)
    return [*(Completion(one, open=True) for one in named), *outputs]


#: What the words of some verbs are, where their names do not say it.
_NAMES = {
    ("facts", "name"): "fact name",
    ("job edit", "after"): "job",
    ("job list", "name"): "job",
    ("job submit", "after"): "job",
    ("node forget", "name"): "node",
    ("retry", "earlier"): "request",
    ("session import", "session"): "new name",
}
#: The kinds of words by the names that the grammar gives them.
_WORDS: dict[str, tuple[str, _Words]] = {
    "action": (
        "action",
        lambda place, given: values.actions(place.cache, given[0], place.current),
    ),
    "after": ("request", _requests),
    "agent": ("agent", _agents),
    "agent_filter": ("agent", _agents),
    "before": ("request", _requests),
    "cls": ("class", _few(lambda cache: cache.classes)),
    "collective": ("collective", _few(lambda cache: cache.collectives)),
    "config": ("file", lambda place, _given: _files(place.current)),
    "columns": ("column", _outputs),
    "diff": ("request", _requests),
    "dir": ("file", lambda place, _given: _files(place.current)),
    "fact": ("fact", lambda place, _given: values.fact_values(place.cache, place.current)),
    "fact name": ("fact", _few(lambda cache: cache.facts)),
    "file": ("file", lambda place, _given: _files(place.current)),
    "fold": ("column", _outputs),
    "identity": ("node", _nodes),
    "inputs": ("input", _inputs),
    "job": ("job", lambda place, _given: values.named(place.cache.jobs, place.current)),
    "node": ("node", _nodes),
    "nodes": ("file", _variables),
    "odd": ("column", _outputs),
    "only": ("column", _conditions),
    "plan": ("plan", lambda place, _given: values.named(place.cache.plans, place.current)),
    "pool": ("pool", _few(lambda cache: cache.pools)),
    "request": ("request", _requests),
    "session": ("session", _few(lambda cache: cache.sessions)),
    "source": (
        "source",
        _few(lambda _cache: dict.fromkeys((*SOURCES, *plugins.names("discovery")))),
    ),
    "top": ("column", _outputs),
}


def _placed(found: Scan, kind: str, words: Iterable[Completion]) -> list[Candidate]:
    return [
        Candidate(
            text=word.quoted(found.quote),
            start=found.start,
            display=word.display or word.text,
            kind=kind,
            meta=word.meta,
            open=word.open,
        )
        for word in values.limited(list(words), lambda word: word.text)
    ]


def _behind(found: Scan, name: str, offered: list[Candidate]) -> list[Candidate]:
    """Values of an option that is written `--name=value`."""
    return [
        replace(one, text=f"{name}={one.text}") if one.start == found.start else one
        for one in offered
    ]


def _plain(names: Iterable[str]) -> list[Completion]:
    return [Completion(name) for name in names]


def _verbs(cache: Knowledge, prefix: str, face: Face) -> list[Completion]:
    """First words of verbs; of those with two, each first word once. Aliases stand behind them."""
    found: dict[str, str] = {}
    for name, summary in grammar.offered(face).items():
        first, space, _ = name.partition(" ")
        found.setdefault(first, "…" if space else summary)
    found = {
        **found,
        **_HELP,
        **{name: text for name, text in cache.aliases.items() if name not in found},
    }
    return [Completion(name, meta) for name, meta in found.items() if name.startswith(prefix)]


def _seconds(first: str, prefix: str, face: Face) -> list[Completion]:
    found = {
        name.partition(" ")[2]: summary
        for name, summary in grammar.offered(face).items()
        if name.startswith(f"{first} {prefix}")
    }
    return [Completion(name, meta) for name, meta in found.items()]


def _help(cache: Knowledge, words: Sequence[str], prefix: str, face: Face) -> list[Completion]:
    if not words:
        pages = [
            Completion(name, f"a page: {part}")
            for part, names in topics.parts().items()
            for name in names
            if name.startswith(prefix)
        ]
        verbs = [word for word in _verbs(cache, prefix, face) if word.text not in _HELP]
        return [*verbs, *pages]
    return _seconds(words[0], prefix, face) if len(words) == 1 else []


def _options(options: dict[str, argparse.Action], prefix: str) -> list[Completion]:
    """Options that start so; without letters only the long spelling of each."""
    found: list[Completion] = []
    for text, action in options.items():
        short = not text.startswith("--")
        if not text.startswith(prefix) or (
            short and prefix == "-" and len(action.option_strings) > 1
        ):
            continue
        name = action.metavar
        name = " ".join(name) if isinstance(name, tuple) else name
        meta = f"{name}: {action.help}" if name else str(action.help or "")
        found.append(Completion(text, meta.replace("%%", "%")))
    return sorted(found, key=lambda word: word.text)


def _files(current: str) -> list[Completion]:
    """Names of files, of folders with a slash; only where a place is written or none yet."""
    folder, slash, start = current.rpartition("/")
    where = Path(f"{folder}{slash}" or ".").expanduser()
    try:
        names = sorted(
            path.name + ("/" if path.is_dir() else "")
            for path in where.iterdir()
            if path.name.startswith(start) and (start or not path.name.startswith("."))
        )
    except OSError:
        return []
    return [
        Completion(f"{folder}{slash}{name}", display=name, open=name.endswith("/"))
        for name in values.limited(names)
    ]
