"""From a line and the place of the cursor to the ways to go on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import plugins
from mcshell.commands import grammar
from mcshell.commands.completion import values
from mcshell.commands.completion.scan import scan
from mcshell.commands.completion.values import Candidate, Word
from mcshell.commands.options import SOURCES, Choice
from mcshell.commands.parser import parser_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from mcshell.commands.completion.cache import Cache
    from mcshell.commands.completion.scan import Scan
    from mcshell.commands.parser import Face

__all__ = ["candidates"]

_BUILT_IN = {"help": "how a verb is used", "exit": "leave", "quit": "leave"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the cursor is: the verb, its words so far, and what is being typed."""

    cache: Cache
    verb: str
    given: Sequence[str]
    current: str
    quote: str
    variables: Iterable[str]


def candidates(
    line: str,
    cursor: int,
    cache: Cache,
    *,
    face: Face = "prompt",
    variables: Iterable[str] = (),
) -> list[Candidate]:
    """The ways to go on at the cursor, the likeliest first; nothing where nothing is known.

    `variables` are the Python names that `--nodes` may mean.
    """
    before = line[:cursor]
    if before.lstrip().startswith(("!", "#")):
        return []
    found = scan(before)
    if found.sink:
        return _placed(found, "file", _files(found.current)) if found.sink == ">" else []
    if not found.words:
        return _placed(found, "verb", _verbs(found.current, face))
    if found.words[0] == "help":
        return _placed(found, "verb", _help(found.words[1:], found.current, face))
    return _after_verb(found, cache, face, variables)


def _after_verb(found: Scan, cache: Cache, face: Face, variables: Iterable[str]) -> list[Candidate]:
    first, *rest = found.words
    second = _seconds(first, found.current, face) if not rest else []
    pair = f"{first} {rest[0]}" if rest else ""
    name = pair if pair in grammar.VERBS else first
    if name not in grammar.VERBS:
        return _placed(found, "verb", second)
    words = rest[1:] if name == pair else rest
    place = _Place(cache, name, words, found.current, found.quote, variables)
    return _placed(found, "verb", second) + _in_verb(found, place, face)


def _in_verb(found: Scan, place: _Place, face: Face) -> list[Candidate]:
    """Options, their values, and the verb's own words."""
    options, positionals = _grammar(place.verb, face)
    pending, given = _walk(place.given, options)
    if pending is not None:
        return _values(found, place, pending, given)
    name, equals, value = place.current.partition("=")
    if equals and name in options and name.startswith("--"):
        inner = _Place(place.cache, place.verb, given, value, place.quote, place.variables)
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
    actions = parser_of(grammar.VERBS[verb], face)._actions  # noqa: SLF001 - argparse has no other list
    options = {text: action for action in actions for text in action.option_strings}
    return options, tuple(action for action in actions if not action.option_strings)


def _walk(
    words: Sequence[str], options: dict[str, argparse.Action]
) -> tuple[argparse.Action | None, list[str]]:
    """The option whose value is to come, and the words that are no options."""
    pending: argparse.Action | None = None
    given: list[str] = []
    for word in words:
        if pending is not None:
            pending = None
        elif word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            action = options.get(name)
            pending = action if action is not None and not equals and action.nargs != 0 else None
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
            Candidate(word.text, end - width, word.display or word.text, "filter", word.meta)
            for word in words
        ]
    kind, words_ = _words_for(place, action, given)
    return _placed(found, kind, words_)


def _words_for(  # noqa: C901, PLR0911, PLR0912 - one case a kind of word
    place: _Place, action: argparse.Action, given: Sequence[str]
) -> tuple[str, Iterable[Word]]:
    cache, current = place.cache, place.current
    if isinstance(action.type, Choice):
        return "value", _plain(values.fitting(action.type.known, current))
    match action.dest, action.metavar:
        case "fact", _:
            return "fact", values.fact_values(cache, current)
        case "cls", _:
            return "class", _plain(values.fitting(cache.classes, current))
        case ("agent", "AGENT") | ("agent_filter", _):
            return "agent", values.agents(cache, current)
        case "agent", _:
            agent, dot, action_ = current.partition(".")
            if dot:
                return "action", values.actions(cache, agent, action_, f"{agent}.")
            return "agent", values.agents(cache, current)
        case "action", _:
            return "action", values.actions(cache, given[0], current)
        case "inputs", _:
            return "input", _inputs(place, given)
        case ("identity", _) | ("node", _):
            return "node", _plain(values.starting(cache.nodes, current.lower()))
        case "name", _ if place.verb == "facts":
            return "fact", _plain(values.fitting(cache.facts, current))
        case "name", _ if place.verb == "node forget":
            return "node", _plain(values.starting(cache.nodes, current.lower()))
        case ("session", _) if place.verb != "session import":
            return "session", _plain(values.fitting(cache.sessions, current))
        case ("request" | "before" | "after", _):
            return "request", values.requests(cache, current)
        case "collective", _:
            return "collective", _plain(values.fitting(cache.collectives, current))
        case "pool", _:
            return "pool", _plain(values.fitting(cache.pools, current))
        case "source", _:
            known = dict.fromkeys((*SOURCES, *plugins.names("discovery")))
            return "source", _plain(values.fitting(known, current))
        case "columns", _:
            return "column", _plain(values.fitting(_outputs(cache), current))
        case "nodes", _:
            names = _plain(values.fitting(sorted(place.variables), current))
            return "file", [*names, *_files(current)]
        case "file" | "dir", _:
            return "file", _files(current)
    return "value", ()


def _inputs(place: _Place, given: Sequence[str]) -> Iterable[Word]:
    ddl = place.cache.ddls.get(given[0])
    action = ddl.actions.get(given[1]) if ddl else None
    return () if action is None else values.inputs(place.cache, action, given[2:], place.current)


def _outputs(cache: Cache) -> list[str]:
    """The outputs of the newest request's action, which analysis is mostly about."""
    for request in cache.requests:
        agent, _, action = request.about.partition(" ")
        ddl = cache.ddls.get(agent)
        if ddl is not None and action in ddl.actions:
            return list(ddl.actions[action].outputs)
    return []


def _placed(found: Scan, kind: str, words: Iterable[Word]) -> list[Candidate]:
    return [
        Candidate(word.quoted(found.quote), found.start, word.display or word.text, kind, word.meta)
        for word in words
    ][: values.LIMIT]


def _behind(found: Scan, name: str, offered: list[Candidate]) -> list[Candidate]:
    """Values of an option that is written `--name=value`."""
    return [
        Candidate(f"{name}={one.text}", found.start, one.display, one.kind, one.meta)
        if one.start == found.start
        else one
        for one in offered
    ]


def _plain(names: Iterable[str]) -> list[Word]:
    return [Word(name) for name in names]


def _offered(face: Face) -> dict[str, str]:
    return {
        name: verb.summary
        for name, verb in grammar.VERBS.items()
        if face == "cli" or not verb.cli_only
    }


def _verbs(prefix: str, face: Face) -> list[Word]:
    """First words of verbs; of those with two, each first word once."""
    found: dict[str, str] = {}
    for name, summary in _offered(face).items():
        first, space, _ = name.partition(" ")
        found.setdefault(first, "…" if space else summary)
    found |= _BUILT_IN if face == "prompt" else {"help": _BUILT_IN["help"]}
    return [Word(name, meta) for name, meta in found.items() if name.startswith(prefix)]


def _seconds(first: str, prefix: str, face: Face) -> list[Word]:
    found = {
        name.partition(" ")[2]: summary
        for name, summary in _offered(face).items()
        if name.startswith(f"{first} {prefix}")
    }
    return [Word(name, meta) for name, meta in found.items()]


def _help(words: Sequence[str], prefix: str, face: Face) -> list[Word]:
    if not words:
        return [word for word in _verbs(prefix, face) if word.text not in _BUILT_IN]
    return _seconds(words[0], prefix, face) if len(words) == 1 else []


def _options(options: dict[str, argparse.Action], prefix: str) -> list[Word]:
    """Options that start so; without letters only the long spelling of each."""
    found: list[Word] = []
    for text, action in options.items():
        short = not text.startswith("--")
        if not text.startswith(prefix) or (
            short and prefix == "-" and len(action.option_strings) > 1
        ):
            continue
        meta = f"{action.metavar}: {action.help}" if action.metavar else str(action.help or "")
        found.append(Word(text, meta.replace("%%", "%")))
    return sorted(found, key=lambda word: word.text)


def _files(current: str) -> list[Word]:
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
        Word(f"{folder}{slash}{name}", display=name, open=name.endswith("/"))
        for name in names[: values.LIMIT]
    ]
