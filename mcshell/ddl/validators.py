"""Checks of one input: each takes a value and returns what is wrong with it, or None.

A DDL's `validation` names one of the kind `validator` (`mcshell.plugins`) when it is a plain word,
is a list of the values allowed, or is a regex. A regex is searched, as in Choria: `$` is the end
of the text, never the place before a last newline.
"""

from __future__ import annotations

import ipaddress as addresses
import logging
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from mcshell import plugins
from mcshell.errors import DDLError, FilterError, PluginError, did_you_mean
from mcshell.patterns import compile_pattern
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

__all__ = [
    "Unchecked",
    "Validator",
    "choices",
    "ipaddress",
    "ipv4address",
    "ipv6address",
    "maxlength",
    "regex",
    "shellsafe",
    "validator",
]

Validator = Callable[[Any], str | None]
"""Takes a value, returns what is wrong with it, such as "must be text", or None."""

_UNSAFE = re.compile(r"[`$;|&><\n\r\0]")
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_DOLLAR = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Stands for a check that is not to be had: refuses every value, or with `lenient` warns once.

    `why` is why not, such as "validator unit_name is not here".
    """

    why: str
    lenient: bool = False

    def __call__(self, value: Any) -> str | None:
        """Say that the value cannot be checked."""
        del value
        if self.lenient:
            _warn(self.why)
            return None
        return f"cannot be checked: {self.why}"


@cache
def _warn(why: str) -> None:
    log.warning("%s: inputs are not checked by it", why)


def validator(validation: str | Sequence[Any]) -> Validator:
    """Compile a DDL's `validation`; DDLError for one that is not here, or a regex that is none."""
    if not isinstance(validation, str):
        return choices(validation)
    if not _WORD.fullmatch(validation):
        return regex(validation)
    try:
        found: Validator = plugins.find("validator", validation)
    except PluginError as error:
        near = did_you_mean(validation, plugins.names("validator"))
        raise DDLError(f"validator {validation} is not here{near}") from error
    return _guarded(validation, found)


def _guarded(name: str, found: Validator) -> Validator:
    """A validator that refuses what it cannot check: a foreign one may raise, or return, anything."""

    def test(value: Any) -> str | None:
        try:
            said: Any = found(value)
        except Exception as error:  # noqa: BLE001 - told to whoever gave the value, which its text may hold
            return f"cannot be checked: validator {name} raised {type(error).__name__}"
        if said is None or isinstance(said, str):
            return said
        return f"cannot be checked: validator {name} returned {said!r}, not None or what is wrong"

    return test


def shellsafe(value: Any) -> str | None:
    """Refuse what a shell would act on: one of `` ` $ ; | & > < `` or an end of line."""
    if not isinstance(value, str):
        return "must be text"
    if found := _UNSAFE.search(value):
        return f"must be safe in a shell, without {found[0]!r}"
    return None


def ipv4address(value: Any) -> str | None:
    """Take a dotted IPv4 address, without a prefix length."""
    try:
        addresses.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        return "must be an IPv4 address"
    return None


def ipv6address(value: Any) -> str | None:
    """Take an IPv6 address, without a prefix length or a zone (`%eth0` may hold any text)."""
    try:
        address = addresses.IPv6Address(value if isinstance(value, str) else "")
    except ValueError:
        return "must be an IPv6 address"
    return "must be an IPv6 address without a zone" if address.scope_id is not None else None


def ipaddress(value: Any) -> str | None:
    """Take an address of either family."""
    if ipv4address(value) is None or ipv6address(value) is None:
        return None
    return "must be an IP address"


def maxlength(limit: int) -> Validator:
    """Make a check of a text's length in characters; 0 is no limit."""

    def test(value: Any) -> str | None:
        if limit and len(value) > limit:
            return f"must be at most {limit} characters long, not {len(value)}"
        return None

    return test


def choices(allowed: Sequence[Any]) -> Validator:
    """Make a check that takes only the values listed (true is not 1)."""
    listed = tuple(allowed)

    def test(value: Any) -> str | None:
        if any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in listed):
            return None
        return f"must be one of {', '.join(map(str, listed))}"

    return test


def regex(pattern: str) -> Validator:
    r"""Make a check by a regex, searched; DDLError when it is none.

    `\d \w \s` are ASCII's, as in Ruby and in Go, for which DDLs are written.
    """
    translated = pattern
    if "(?m" not in pattern:
        translated = _DOLLAR.sub(lambda found: r"\Z" if found[0] == "$" else found[0], pattern)
    try:
        verdict = compile_pattern(translated, re.ASCII, from_file=True).verdict
    except FilterError as error:
        raise DDLError(
            f"validation {pattern!r} is neither a validator nor a regex: {error}"
        ) from error

    def test(value: Any) -> str | None:
        matched = isinstance(value, str) and verdict(value)
        if matched is None:
            return f"is more than {pattern} can be tried on here"
        return None if matched else f"must match {pattern}"

    return test
