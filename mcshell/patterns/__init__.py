r"""Foreign patterns: regexes that an operator, a schema or a policy brings.

They are written as for Python's `re`, and run in RE2, whose time is linear in the text
(`patterns.translate` says what it is given; `patterns.ruby` respells Ruby's). What RE2 cannot say
is refused when it came over the wire; from a file that this process obeys anyway it runs in
`re`, in a child with 0.1 s of processor (`patterns.child`).

What one message may cost is metered: at most `MAX_PATTERNS` of them, and `MAX_COST` bytes of text times
patterns. A pattern counts once for each `_SIZE` instructions of its program, for RE2's worst time
is text times program.

A text is judged in one of three ways: found, not found, or it cannot be told (too much text;
`\b` beside letters outside ASCII, where RE2 knows no words; a child that did not come to an end).

RE2 takes 3 MB of a process: it is loaded when the first pattern is asked.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from mcshell.errors import FilterError
from mcshell.patterns.child import found_in_child
from mcshell.patterns.translate import Translation, Unsayable, parse, translate
from mcshell.values import dataclass

__all__ = [
    "MAX_COST",
    "MAX_PATTERN",
    "MAX_PATTERNS",
    "MAX_PATTERN_IN_FILE",
    "Account",
    "Pattern",
    "charge",
    "check_pattern",
    "compile_pattern",
    "one_message",
]

MAX_PATTERN: Final = 512
MAX_PATTERN_IN_FILE: Final = 4096
"""Characters of a pattern that came over the wire, and of one from a file."""

MAX_PATTERNS: Final = 64
MAX_COST: Final = 4 * 1024 * 1024
"""What one message may cost: different patterns, and bytes of text times patterns."""

_NONE: Final = (re.error, ValueError, OverflowError, RecursionError)
"""What `re` raises at a pattern that is none."""

_SIZE: Final = 32
_MEMORY: Final = 256 * 1024
_PROGRAMS: Final = 64
"""Bytes that RE2 may take for a pattern; how many compiled ones are kept."""

_CHILD: Final = MAX_COST // 8
"""What asking a child costs: with 0.1 s of processor each, a message has eight of them."""

_SPECIAL = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]?", re.DOTALL)
_DOUBLED = re.compile(r"(?s)(?:\\.|[^\\])*?(--|&&|~~|\|\|)")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Account:
    """What a message has cost until now."""

    __slots__ = ("patterns", "spent")

    def __init__(self) -> None:
        self.patterns: set[str] = set()
        self.spent = 0

    def use(self, pattern: str) -> None:
        """Count a pattern; FilterError when it is one too many."""
        self.patterns.add(pattern)
        if len(self.patterns) > MAX_PATTERNS:
            raise FilterError(f"more than {MAX_PATTERNS} regexes in one message", pattern)

    def spend(self, pattern: str, cost: int) -> None:
        """Count bytes that are searched; FilterError when they are too many."""
        self.spent += cost
        if self.spent > MAX_COST:
            raise FilterError(
                f"more than {MAX_COST >> 20} MiB of text times regexes in one message", pattern
            )


_account: ContextVar[Account | None] = ContextVar("account", default=None)


class one_message:  # noqa: N801 - a context manager, called like a function
    """Meter what is compiled and searched within: FilterError when it is more than a message may."""

    __slots__ = ("_token",)

    def __enter__(self) -> Account:
        account = Account()
        self._token = _account.set(account)
        return account

    def __exit__(self, *_: object) -> None:
        _account.reset(self._token)


def charge(elements: int, what: str) -> None:
    """Count elements that are looked at one by one, each as sixteen bytes; FilterError for too many."""
    account = _account.get()
    if account is not None:
        account.spend(what, 16 * elements)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regex that is ready; `compile_pattern` makes it. Any thread may ask it."""

    pattern: str
    flags: int
    from_file: bool
    _plain: Translation | None
    """What RE2 is given for texts in ASCII; None: it cannot say it."""

    @property
    def ignores_case(self) -> bool:
        """Whether all of it takes letters of either case."""
        return bool(parse(self.pattern, self.flags).state.flags & re.IGNORECASE)

    def found(self, text: str) -> bool:
        """Whether it is found in a text; not where that cannot be told."""
        return self.verdict(text) is True

    def verdict(self, text: str) -> bool | None:
        """Whether it is found in a text, None when that cannot be told.

        Raises:
            FilterError: the message that asks (`one_message`) has cost too much.
        """
        ready = self._ready(text)
        if ready is None:
            return self._elsewhere(text)
        program, size, coded = ready
        if not self._affords(len(coded) * size):
            return None
        return program.search(coded) is not None

    def replaced(self, text: str, new: str, count: int = 0) -> str | None:
        """The text with `new` for what is found, `count` times (0: each); None when it cannot be told."""
        ready = self._ready(text)
        if ready is None or not self._affords(len(ready[2]) * ready[1]):
            return None
        program, _size, coded = ready
        made: bytes = program.sub(lambda _found: new.encode(), coded, count)
        return made.decode()

    def _ready(self, text: str) -> tuple[Any, int, bytes] | None:
        """RE2's program for a text, as how many patterns it counts, and the text; None: it has none."""
        translation = self._plain
        if translation is not None and not text.isascii():
            wide = None if translation.ascii_only else _translated(self.pattern, self.flags)
            translation = wide
        if translation is None:
            return None
        try:
            coded = text.encode()
        except UnicodeEncodeError:
            coded = _SURROGATE.sub("\ufffd", text).encode()
        try:
            return *_program(translation.program), coded
        except _TooLarge:
            return None

    def _elsewhere(self, text: str) -> bool | None:
        """What a child says, of a pattern that came from a file."""
        if not self.from_file or not self._affords(max(len(text), _CHILD)):
            return None
        return found_in_child(self.pattern, self.flags, text)

    def _affords(self, cost: int) -> bool:
        account = _account.get()
        if account is None:
            return cost <= MAX_COST
        account.spend(self.pattern, cost)
        return True


def check_pattern(pattern: str) -> None:
    """Refuse what is no regex: FilterError says where and why. Whether it can run is not asked."""
    account = _account.get()
    if account is not None:
        account.use(pattern)
    _checked(pattern)


def compile_pattern(pattern: str, flags: int = 0, *, from_file: bool = False) -> Pattern:
    r"""Make a foreign pattern ready; `from_file`: it stands in a DDL or a policy that we obey.

    `\z` may stand for Python's `\Z`.

    Raises:
        FilterError: it is no regex, or cannot be run here; it says where and why, in one line.
    """
    account = _account.get()
    if account is not None:
        account.use(pattern)
    return _compiled(pattern, int(flags), from_file=from_file)


@lru_cache(maxsize=512)
def _compiled(pattern: str, flags: int, *, from_file: bool) -> Pattern:
    limit = MAX_PATTERN_IN_FILE if from_file else MAX_PATTERN
    respelled = _respelled(pattern, limit)
    try:
        plain = translate(respelled, flags, plain=True)
        if not from_file:
            _program(plain.program)
    except (Unsayable, _TooLarge) as why:
        if not from_file:
            raise FilterError(
                f"regex {_shown(pattern)}: {why} is not to be had here (it runs in RE2)", pattern, 1
            ) from None
        return _for_child(pattern, respelled, flags)
    except _NONE as error:
        raise _none(pattern, error) from error
    return Pattern(respelled, flags, from_file, plain)


@lru_cache(maxsize=512)
def _checked(pattern: str) -> None:
    try:
        parse(_respelled(pattern, MAX_PATTERN))
    except _NONE as error:
        raise _none(pattern, error) from error


def _respelled(pattern: str, limit: int) -> str:
    if len(pattern) > limit:
        raise FilterError(f"regex of {len(pattern)} characters: more than {limit}", pattern, limit)
    _check_sets(pattern)
    return re.sub(r"(?s)\\(.)", lambda pair: r"\Z" if pair[1] == "z" else pair[0], pattern)


def _for_child(pattern: str, respelled: str, flags: int) -> Pattern:
    try:
        re.compile(respelled, flags)
    except _NONE as error:
        raise _none(pattern, error) from error
    return Pattern(respelled, flags, True, None)


def _none(pattern: str, error: Exception) -> FilterError:
    column = (getattr(error, "pos", None) or 0) + 1
    reason = str(error).partition(" at position")[0]
    where = f"regex {_shown(pattern)}: {reason}, at its character {column}"
    return FilterError(where, pattern, column)


def _check_sets(pattern: str) -> None:
    """Refuse what is read otherwise elsewhere, and what Python warns of."""
    for found in _SPECIAL.finditer(pattern):
        if found[0][0] != "[":
            continue
        inside = found[0].removesuffix("]")[1:].removeprefix("^")
        column = found.start() + 1
        if "[" in inside.replace(r"\[", ""):
            why = "'[' inside [...] wants a backslash; [:alpha:] is not known here"
        elif doubled := _DOUBLED.match(inside):
            why = f"{doubled[1]!r} inside [...] means nothing here"
        else:
            continue
        raise FilterError(f"regex {_shown(pattern)}: {why}", pattern, column)


class _TooLarge(Exception):
    """RE2 would need more memory for a pattern than it may have."""


@lru_cache(maxsize=_PROGRAMS)
def _program(program: str) -> tuple[Any, int]:
    """The compiled form, and as how many patterns it counts."""
    import re2  # noqa: PLC0415 - 3 MB, when a pattern comes

    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = True
    re2.purge()  # its own cache would keep 128 more
    try:
        compiled = re2.compile(program, options)
    except re2.error:
        raise _TooLarge("what takes so much memory") from None
    return compiled, 1 + compiled.programsize // _SIZE


@lru_cache(maxsize=_PROGRAMS)
def _translated(pattern: str, flags: int) -> Translation:
    return translate(pattern, flags, plain=False)


def _shown(pattern: str) -> str:
    """A pattern in its slashes, on one line."""
    return f"/{''.join(char if char.isprintable() else repr(char)[1:-1] for char in pattern)}/"
