"""Whom a request is for, as values: from an operator's plain arguments, and the sums of a share."""

from __future__ import annotations

import math
import random
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mcshell.client.arguments import Duration, is_flag, seconds_of
from mcshell.errors import InputError, UsageError, did_you_mean, on_one_line
from mcshell.message import Filter, StatusCode, Via
from mcshell.values import dataclass
from mcshell.wire.destinations import check_word

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from mcshell.config import Settings

__all__ = [
    "TARGETING",
    "RequestOptions",
    "Targeting",
    "asked_collective",
    "batches",
    "choose",
    "names_of",
    "narrowed",
    "put_of",
    "route",
    "share",
    "takes_inputs",
    "targeting_of",
    "via_of",
]

P = ParamSpec("P")
T = TypeVar("T")

_SHARE = re.compile(r"(\d+)(%?)")
_DIRECT_UP_TO = 10
_REGEX_OR_RANGE = re.compile(r"^/.*/$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Targeting:
    """Which nodes, and how they are found.

    `nodes` are names given by hand, `listed` is a file of them (`groups.resolved` reads it): they
    are not discovered, and the absent among them are named.
    `source` names a discovery method; `discovery_timeout` is its window in seconds. `known` adds
    the nodes that match by their last known facts and did not answer now. `fresh`: they are asked
    anew, though it be known who matches (§5).
    """

    filter: Filter = field(default_factory=Filter)
    nodes: tuple[str, ...] | None = None
    listed: Path | None = None
    source: str = "broadcast"
    source_options: tuple[str, ...] = ()
    discovery_timeout: float | None = None
    known: bool = True
    fresh: bool = False
    limit: str | None = None
    limit_seed: int | None = None
    one: bool = False
    collective: str | None = None


def _untold(_replies: Any) -> None:
    """Show nobody how a request stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """One request as the operator put it. Times in seconds; None takes the settings' value.

    Its inputs are values (`data`), or what a line or document has, which each schema reads for itself
    (`texts`, as `Action.convert` takes them), and the words behind `--`, which are those of its one list. `emergency` is
    why it is to be done without the approvals that it wants. `announce` is given the replies once they can
    come, for who shows how they stand while others wait.
    """

    agent: str
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Any] = field(default_factory=dict)
    behind: Sequence[str] | None = None
    targeting: Targeting = field(default_factory=Targeting)
    via: Via | None = None
    ttl: float | None = None
    timeout: float | None = None
    batch: str | None = None
    batch_sleep: float = 0.0
    max_failures: str | None = None
    wait: bool = True
    pool: str | None = None
    canary: str | None = None
    emergency: str = ""
    announce: Callable[[Any], None] = _untold

    @property
    def put(self) -> dict[str, Any]:
        """How it was put, beside what its record says of it; `named`: its targets were, by hand."""
        put = {name: value for name in _PUT if (value := getattr(self, name))}
        return put if self.targeting.nodes is None else {**put, "named": True}


_PUT = {
    "timeout": int | float,
    "batch": str,
    "batch_sleep": int | float,
    "max_failures": str,
    "canary": str,
    "emergency": str,
}


def put_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `retry` repeats of how a kept request was put.

    Anybody may have written it: what is no such thing is left out.
    """
    return {
        name: options[name]
        for name, kind in _PUT.items()
        if isinstance(options.get(name), kind) and not isinstance(options[name], bool)
    }


def share(text: str, total: int, option: str) -> int:
    """Read "12" or "10%" of `total`; at least 1 where there is anything to share.

    Raises:
        UsageError: it is neither a count nor a percentage.
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r}: a number or a percentage is meant, like 5 or 10%")
    number = int(match[1])
    if match[2]:
        number = math.ceil(total * number / 100)
    if number < 1:
        raise UsageError(f"{option} {text!r}: at least 1 is meant")
    return number


def choose(
    names: Sequence[str], targeting: Targeting, there: Container[str] | None = None
) -> list[str]:
    """Apply `--one`, `--limit` and `--limit-seed`; the same seed picks the same nodes.

    Of those who are `there`, where that was asked, and of the others only what these are too few for.
    """
    limit = "1" if targeting.one else targeting.limit
    if limit is None or not names:
        return list(names)
    count = share(limit, len(names), "--limit")
    if count >= len(names):
        return list(names)
    rng = random.Random(targeting.limit_seed)  # noqa: S311 - a sample, not a secret
    first = [name for name in sorted(names) if there is None or name in there]
    picked = set(rng.sample(first, min(count, len(first))))
    rest = sorted(set(names).difference(first))
    picked.update(rng.sample(rest, count - len(picked)))
    return [name for name in names if name in picked]


def batches(names: Sequence[str], ask: RequestOptions) -> Iterator[list[str]]:
    """Cut the targets into the canary, if there is one, and the batches that `--batch` asks for."""
    first = 0 if ask.canary is None else share(ask.canary, len(names), "--canary")
    size = len(names) if ask.batch is None else share(ask.batch, len(names), "--batch")
    if first:
        yield list(names[:first])
    for start in range(first, len(names), max(1, size)):
        yield list(names[start : start + size])


def route(ask: RequestOptions, count: int) -> Via:
    """Choose the way where the operator did not: direct to few or named nodes (§5)."""
    targeting = ask.targeting
    if ask.pool is not None and ask.via is not Via.POOL:
        raise UsageError("--pool goes with --via pool")
    if ask.via is Via.POOL and narrowed(replace(targeting, collective=None)):
        raise UsageError(
            "--via pool is for whichever node of the pool takes it: no filter, --nodes, --limit or --one "
            "can choose that (leave --via out to ask these nodes)"
        )
    in_parts = bool(ask.batch or ask.canary)
    few = in_parts or bool(targeting.limit) or targeting.one or targeting.nodes is not None
    if ask.via is not None:
        if ask.via is Via.BROADCAST and few:
            raise UsageError(
                "--via broadcast reaches every node that matches: it cannot be combined with "
                "--nodes, --limit, --one, --batch or --canary (leave --via out for direct requests)"
            )
        if ask.via.durable and in_parts:
            raise UsageError(
                f"--via {ask.via} hands everything over at once: it cannot be combined with "
                "--batch or --canary (leave --via out for direct requests)"
            )
        return ask.via
    if few or plain_names(targeting.filter) or count <= _DIRECT_UP_TO:
        return Via.DIRECT
    return Via.BROADCAST


def narrowed(targeting: Targeting) -> bool:
    """Whether it is about anything less than all that are there."""
    return targeting != Targeting(
        source=targeting.source, known=targeting.known, fresh=targeting.fresh
    )


def plain_names(filter_: Filter) -> tuple[str, ...] | None:
    """The names of a filter that is nothing but `-I name`, which need no discovery."""
    others = filter_.fact or filter_.cls or filter_.agent or filter_.compound
    if others or not filter_.identity or any(map(_REGEX_OR_RANGE.match, filter_.identity)):
        return None
    return filter_.identity


def targeting_of(
    *,
    where: str | None = None,
    facts: str | Iterable[str] = (),
    classes: str | Iterable[str] = (),
    agents: str | Iterable[str] = (),
    identities: str | Iterable[str] | None = None,
    nodes: Any = None,
    known: bool = True,
    fresh: bool = False,
    limit: int | str | None = None,
    limit_seed: int | None = None,
    one: bool = False,
    collective: str | None = None,
    source: str = "broadcast",
    discovery_timeout: Duration | None = None,
    **others: Any,
) -> Targeting:
    """Build a targeting from plain Python values.

    `where` is a compound filter such as "os.name=Debian and role=web"; `nodes` names, a range
    such as "web[01-40]", a group such as "@web", a `Path` to a list of them (as `--nodes FILE`),
    a Series or DataFrame with a `sender` column, or `Replies`. Of several `identities` any may be a
    node's, so a list without one is nobody's, as a list of no `nodes` is; the other filters all hold.

    Raises:
        UsageError: `others` are no arguments: a filter that is misspelt would be none.
    """
    for name in others:
        near = did_you_mean(name, TARGETING) or f": {', '.join(TARGETING)} are meant"
        raise UsageError(f"there is no argument {name!r}{near}")
    for name, word in (("source", source), ("collective", collective or "")):
        if not isinstance(word, str):
            raise UsageError(f"{name} {on_one_line(reprlib.repr(word))}: text is meant")
    for name, flag in (("known", known), ("fresh", fresh), ("one", one)):
        if not is_flag(flag):
            raise UsageError(f"{name} {on_one_line(reprlib.repr(flag))}: True or False is meant")
    names = _words("identities", identities, "web1")
    if identities is not None and not names:
        nodes = ()
    return Targeting(
        filter=Filter(
            _words("facts", facts, "os=Debian"),
            _words("classes", classes, "webserver"),
            _words("agents", agents, "package"),
            names,
            _words("where", where, "os.name=Debian and role=web"),
        ),
        nodes=None if nodes is None or isinstance(nodes, Path) else names_of(nodes),
        listed=nodes if isinstance(nodes, Path) else None,
        source=source,
        discovery_timeout=seconds_of(discovery_timeout),
        known=known,
        fresh=fresh,
        limit=None if limit is None else str(limit),
        limit_seed=limit_seed,
        one=one,
        collective=collective,
    )


def takes_inputs(*more: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a method whose other arguments are inputs say which argument one is like that is no input.

    One that `inputs` has too is refused: whichever counted, the other was meant by somebody.

    `more` are names that it takes beside its own and the targeting.
    """

    def decorated(call: Callable[P, T]) -> Callable[P, T]:
        own = (*(getattr(call, "__kwdefaults__", None) or ()), *more, *TARGETING)

        @wraps(call)
        def guessing(*args: P.args, **named: P.kwargs) -> T:
            inputs: Any = named.get("inputs") or ()
            for name in set(inputs).intersection(named).difference(own):
                raise InputError(f"input {name} is given twice, once in inputs", name)
            try:
                return call(*args, **named)
            except InputError as error:
                unknown = error.statuscode == StatusCode.MISSING_DATA and error.name in named
                near = did_you_mean(error.name, own) if unknown else ""
                if not near:
                    raise
                raise InputError(f"{error}{near}", error.name, error.statuscode) from None

        return guessing

    return decorated


TARGETING = tuple(targeting_of.__kwdefaults__ or ())
"""The names of its arguments."""


def asked_collective(settings: Settings, name: str | None) -> str:
    """The collective that is asked, by default the main one.

    Raises:
        UsageError: the sessions of these settings hear no replies in it.
    """
    own = settings.collective
    if name is None:
        return own.main
    check_word("collective", name)
    # Nodes answer in the collective in which they were asked.
    old = settings.mcollective.collectives if settings.mcollective.enabled else ()
    if name not in own.member and name not in old:
        raise UsageError(
            f"collective {name!r}: nothing was sent, as its replies would not be heard: "
            f"[collective] member names {', '.join(own.member)}"
        )
    return name


def names_of(nodes: Any) -> tuple[str, ...]:
    """The names in a string, in an iterable of strings, or in the `sender` of a table or Series.

    `sender` is a column, a level of the index or the Series itself; rows without one name nobody. The
    rows of `Replies`, all or some, are names as well.
    """
    if isinstance(nodes, str):
        return (nodes,)
    levels = getattr(getattr(nodes, "index", None), "names", ())
    table = hasattr(nodes, "columns")
    if table and "sender" in nodes.columns:
        nodes = nodes["sender"]
        if hasattr(nodes, "columns"):
            raise UsageError("nodes: a DataFrame needs one `sender` column, not several")
        nodes = (nodes.dropna if hasattr(nodes, "dropna") else nodes.drop_nulls)()  # Polars' word
    elif "sender" in levels and (table or getattr(nodes, "name", "") != "sender"):
        nodes = nodes.index.get_level_values("sender").dropna()
    elif table:
        raise UsageError("nodes: a DataFrame needs a `sender`, as a column or in its index")
    if not isinstance(nodes, Iterable):
        raise UsageError(f"nodes: {nodes!r}: names, a Series or a DataFrame are meant")
    names: list[Any] = [getattr(one, "sender", one) for one in nodes]
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"nodes: {on_one_line(reprlib.repr(name))} is no name of a node")
    return tuple(names)


def via_of(word: str) -> Via:
    """Read the name of a way ("broadcast", "queue", …); UsageError when it is none."""
    try:
        return Via(word)
    except ValueError:
        raise UsageError(f"via {word!r}: {', '.join(Via)} is meant") from None


def _words(name: str, value: Any, meant: str) -> tuple[str, ...]:
    """The words of an argument: one, several or none; UsageError where it is none of these."""
    if value is None:
        return ()
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    several = several and not hasattr(value, "columns")  # a DataFrame's elements are their names
    words = tuple(value) if several else (value,)
    for word in words:
        if not isinstance(word, str):
            shown = on_one_line(reprlib.repr(word))
            raise UsageError(f"{name} {shown}: text is meant, such as {meant!r}")
    return words
