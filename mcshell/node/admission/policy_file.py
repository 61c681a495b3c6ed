"""The text of a policy file, and of the `groups` file beside it, made into rules.

::

    # comments, and blank lines
    policy default deny
    allow   cert=alice sysadmins    status restart    os=Debian role=web      webserver
    deny    *                       *                 environment=production  *
    allow   /cert=.+_admin/         *                 (a=1 or b=2) and !role::db

The five fields are separated by tabs, the words within one by spaces (or commas, in callers,
actions and classes); the last field may be missing. A line without any tab is split at its
spaces instead: then each field is one word, or words with commas between.
Facts and classes: `*`, a list all of which must hold, or a compound filter. Callers: `*`, caller
ids, /regexes/ (searched, as in ActionPolicy: anchor them), names of groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcshell.errors import FilterError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.filters import Matcher

__all__ = ["Callers", "Policy", "PolicyError", "PolicyRule", "parse_groups", "parse_policy"]

_FIELDS: Final = (4, 5)
_FORM: Final = "allow|deny, callers, actions, facts, classes"
_COMPOUND = re.compile(r"(?:^|\s)(?:!|\(|(?:and|or|not)(?:\s|$))|\(.*\)")
_OPERATOR = re.compile(r"[<>=]")
_LISTED_FACTS = re.compile(r",[\w.:-]+[!<>=]")
_OLD_WIRE = re.compile(r"mco-[a-z]+:")
_GROUP = re.compile(r"[\w.-]+")


class PolicyError(ValueError):
    """A line that does not parse; `line` is its number."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom a rule is about."""

    everyone: bool
    named: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def include(self, caller: str) -> bool:
        """Whether a caller is meant; one of the old wire must be named by its prefix."""
        if caller in self.named:
            return True
        if (old := _OLD_WIRE.match(caller)) is not None:
            return any(old[0] in p.pattern and p.search(caller) for p in self.patterns)
        return self.everyone or any(pattern.search(caller) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One line: `actions` None means all of them."""

    line: int
    allow: bool
    callers: Callers
    actions: frozenset[str] | None
    conditions: tuple[Matcher, ...]

    def covers(self, action: str) -> bool:
        """Whether the rule is about an action."""
        return self.actions is None or action in self.actions

    def asks(self, fact: str) -> bool:
        """Whether one of its conditions is about this fact."""
        word = re.compile(rf"(?<![\w.-]){re.escape(fact)}(?![\w.-])")
        filters = (condition.filter for condition in self.conditions)
        return any(word.search(text) for one in filters for text in (*one.fact, *one.compound))


@dataclass(frozen=True, slots=True)
class Policy:
    """A file: its rules in order, and what holds when none of them matches."""

    rules: tuple[PolicyRule, ...]
    default_allow: bool
    default_line: int


def parse_groups(text: str) -> dict[str, frozenset[str]]:
    """Read the `groups` file: a name and its caller ids a line; PolicyError with the line."""
    groups: dict[str, frozenset[str]] = {}
    for number, line in _lines(text):
        name, *members = line.split()
        if not _GROUP.fullmatch(name) or not members:
            raise PolicyError(number, "a group is its name (letters, digits, . _ -) and caller ids")
        if name in groups:
            raise PolicyError(number, f"the group {name} is there already")
        for member in members:
            if "=" not in member:
                raise PolicyError(number, f"{member!r} is no caller id, such as cert=alice")
        groups[name] = frozenset(members)
    return groups


def parse_policy(text: str, groups: Mapping[str, frozenset[str]], groups_error: str = "") -> Policy:
    """Read a policy file; `groups_error` is what is wrong with the groups, if a rule needs them.

    Raises:
        PolicyError: with the number of the first line that does not parse.
    """
    rules: list[PolicyRule] = []
    default: tuple[int, bool] | None = None
    for number, line in _lines(text):
        words = line.split()
        if words[0] == "policy":
            if default is not None:
                raise PolicyError(number, f"the default is in line {default[0]} already")
            if words[1:] not in (["default", "allow"], ["default", "deny"]):
                raise PolicyError(number, "policy default allow, or policy default deny")
            default = number, words[2] == "allow"
        else:
            try:
                rules.append(_rule(number, line, groups, groups_error))
            except FilterError as error:
                raise PolicyError(number, str(error)) from error
    line_of_default, allow = default or (0, False)
    return Policy(tuple(rules), allow, line_of_default)


def _lines(text: str) -> list[tuple[int, str]]:
    numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def _rule(
    number: int, line: str, groups: Mapping[str, frozenset[str]], groups_error: str
) -> PolicyRule:
    tabbed = "\t" in line
    parts = [part.strip() for part in re.split(r"\t+", line)] if tabbed else line.split()
    if parts[0] not in {"allow", "deny"}:
        hint = did_you_mean(parts[0].split()[0], ("allow", "deny", "policy"))
        raise PolicyError(number, f"{parts[0][:40]!r} begins no rule{hint}; a rule is {_FORM}")
    if len(parts) not in _FIELDS or not all(parts):
        how = "between tabs" if tabbed else "between spaces; put tabs between fields of many words"
        raise PolicyError(number, f"{len(parts)} fields {how}; a rule is {_FORM}")
    if not tabbed and _LISTED_FACTS.search(parts[3]):
        raise PolicyError(number, "several facts want tabs between the fields")
    classes = parts[4] if len(parts) == _FIELDS[1] else None
    return PolicyRule(
        number,
        parts[0] == "allow",
        _callers(number, _words(parts[1]), groups, groups_error),
        _actions(number, _words(parts[2])),
        _conditions(number, parts[3], classes),
    )


def _words(field: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", field) if word]


def _callers(
    number: int, words: list[str], groups: Mapping[str, frozenset[str]], groups_error: str
) -> Callers:
    if words == ["*"]:
        return Callers(everyone=True, named=frozenset(), patterns=())
    named: set[str] = set()
    patterns: list[re.Pattern[str]] = []
    for word in words:
        if len(word) > 2 and word[0] == word[-1] == "/":  # noqa: PLR2004  two slashes and a character
            patterns.append(_pattern(number, word[1:-1]))
        elif "=" in word:
            named.add(word)
        elif word in groups:
            named |= groups[word]
        elif groups_error:
            raise PolicyError(
                number, f"{word!r} is no caller id, and of the groups: {groups_error}"
            )
        else:
            hint = did_you_mean(word, groups)
            raise PolicyError(number, f"{word!r} is neither a caller id nor a group{hint}")
    return Callers(everyone=False, named=frozenset(named), patterns=tuple(patterns))


def _pattern(number: int, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise PolicyError(number, f"/{text}/ is no regex: {error}") from error


def _actions(number: int, words: list[str]) -> frozenset[str] | None:
    if words == ["*"]:
        return None
    for word in words:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", word):
            raise PolicyError(number, f"{word!r} is no action's name; * stands alone")
    return frozenset(words)


def _conditions(number: int, facts: str, classes: str | None) -> tuple[Matcher, ...]:
    conditions = []
    if facts != "*":
        words = facts.split()
        if classes is None and not _COMPOUND.search(facts):
            # Without a field for classes, this one may name them too, as a compound filter does.
            conditions.append(_compile("compound", (" and ".join(words),)))
        elif _COMPOUND.search(facts):
            conditions.append(_compile("compound", (facts,)))
        else:
            for word in words:
                if not _OPERATOR.search(word):
                    raise PolicyError(number, f"{word!r} is no fact, such as os=Debian")
            conditions.append(_compile("fact", tuple(words)))
    if classes is not None and classes != "*":
        if _COMPOUND.search(classes):
            conditions.append(_compile("compound", (classes,)))
        else:
            for word in _words(classes):
                if _OPERATOR.search(word):
                    raise PolicyError(number, f"{word!r} is no class; facts are the field before")
            conditions.append(_compile("cls", tuple(_words(classes))))
    return tuple(conditions)


def _compile(part: str, terms: tuple[str, ...]) -> Matcher:
    # A node whose policies have no conditions does without the filter language.
    from mcshell.filters import compile_filter  # noqa: PLC0415
    from mcshell.message import Filter  # noqa: PLC0415

    return compile_filter(Filter(**{part: terms}))
