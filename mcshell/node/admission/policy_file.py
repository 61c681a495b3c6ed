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

A line that does not parse, or that could never match, is a flaw. That of an `allow` line costs the
line; any other the file, and so does one that may hide a `deny`: a character that ends a line for
some programs, or turns it round for the eye, in comments too, and an `allow` line with which a
`deny` has run together.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mcshell.errors import FilterError, did_you_mean
from mcshell.patterns import Pattern, compile_pattern
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.admission.policy_conditions import Condition

__all__ = [
    "Callers",
    "Policy",
    "PolicyCost",
    "PolicyError",
    "PolicyFlaw",
    "PolicyRule",
    "actions_in",
    "caller_flaw",
    "callers_in",
    "condition_of",
    "numbered_lines",
    "parse_groups",
    "parse_policy",
    "refuse_hiding",
    "refuse_unseen",
    "words_in",
]

_FIELDS: Final = (4, 5)
_FORM: Final = "allow|deny, callers, actions, facts, classes"
_LISTED_FACTS = re.compile(r",[\w.:-]+[!<>=]")
_GROUP = re.compile(r"[\w.-]+")
_ACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NATIVE = re.compile(r"cert=\w[\w.@+:=/~&-]*")
_OLD_WIRE = re.compile(r"mco-(?:psk|ssl|aes):[A-Za-z0-9_]{1,64}=[A-Za-z0-9_.-]{1,128}")
_OLD_PATTERN = re.compile(r"\^?(mco-[a-z]+:)")
_BEGIN_OF_PATTERN = re.compile(r"\^([a-z0-9=:@_-]*)([a-z0-9=:@_-])(?![*?+{|])")
# What stands for other letters, or for none: escapes, classes, what begins a group.
_NO_LITERALS = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?<=\()\?(?:P[<=]\w+>?|<?[=!]|[a-zA-Z-]*)"
)
_NO_CALLERS = re.compile(r"[^\w.@+:=/~&^$*?{}()|,-]")
# Ends of lines for some programs, control characters, and what turns text round for the eye.
_HIDING = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
# Printable to Python, and yet not to be seen.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0]")


class PolicyError(ValueError):
    """A line that cannot be used; `line` is its number (0: it is the file)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class PolicyCost(StrEnum):
    """What is lost with a line that cannot be used."""

    LINE = "this line"
    FILE = "the file, which denies everything"
    GROUPS = "every line that names a group"
    NEVER_READ = "the file, which is never read"


@dataclass(frozen=True, slots=True)
class PolicyFlaw:
    """What is wrong with a line (0: with the file) and what that costs."""

    line: int
    message: str
    cost: PolicyCost


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom a rule is about; `of_old_wire` are the patterns that name a prefix of MCollective's wire."""

    everyone: bool
    named: frozenset[str]
    patterns: tuple[Pattern, ...]
    of_old_wire: tuple[tuple[str, Pattern], ...]

    def include(self, caller: str, *, allow: bool) -> bool:
        """Whether a caller is meant; to be allowed, one of the old wire must be named by its prefix.

        Where a regex cannot tell, he is not meant to be allowed, and is meant to be denied.
        """
        if caller in self.named:
            return True
        meant = (True,) if allow else (True, None)
        if allow and caller.startswith("mco-"):
            found = self.of_old_wire
            return any(caller.startswith(old) and p.verdict(caller) in meant for old, p in found)
        return self.everyone or any(p.verdict(caller) in meant for p in self.patterns)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One line: `actions` None means all of them, `condition` None that nothing is asked."""

    line: int
    allow: bool
    callers: Callers
    actions: frozenset[str] | None
    condition: Condition | None

    def covers(self, action: str) -> bool:
        """Whether the rule is about an action."""
        return self.actions is None or action in self.actions

    @property
    def about_owner(self) -> bool:
        """Whether it is about what belongs to another caller."""
        return self.condition is not None and self.condition.about_owner


@dataclass(frozen=True, slots=True)
class Policy:
    """A file: its rules in order, what holds when none of them matches, what cannot be used of it."""

    rules: tuple[PolicyRule, ...]
    default_allow: bool
    default_line: int
    flaws: tuple[PolicyFlaw, ...]


def parse_groups(text: str) -> dict[str, frozenset[str]]:
    """Read the `groups` file: a name and its caller ids a line; PolicyError with the line."""
    groups: dict[str, frozenset[str]] = {}
    for number, line in numbered_lines(text):
        refuse_hiding(number, line)
        if not line or line.startswith("#"):
            continue
        refuse_unseen(number, line)
        name, *members = line.split()
        if not _GROUP.fullmatch(name) or not members:
            raise PolicyError(number, "a group is its name (letters, digits, . _ -) and caller ids")
        if name in groups:
            raise PolicyError(number, f"the group {name} is there already")
        for member in members:
            if flaw := caller_flaw(member):
                raise PolicyError(number, flaw)
        groups[name] = frozenset(members)
    return groups


def parse_policy(text: str, groups: Mapping[str, frozenset[str]], groups_error: str = "") -> Policy:
    """Read a policy file; `groups_error` is what is wrong with the groups, if a rule needs them."""
    rules: list[PolicyRule] = []
    flaws: list[PolicyFlaw] = []
    default: tuple[int, bool] | None = None
    for number, line in numbered_lines(text):
        cost = PolicyCost.FILE
        try:
            refuse_hiding(number, line)
            if not line or line.startswith("#"):
                continue
            verb = re.split(r"[ \t]", line, maxsplit=1)[0]
            if verb == "allow" and "deny" not in line:
                cost = PolicyCost.LINE
            refuse_unseen(number, line)
            if verb == "policy":
                default = _default(number, line, default)
            else:
                rules.append(_rule(number, line, groups, groups_error))
        except (PolicyError, FilterError) as error:
            flaws.append(PolicyFlaw(number, " ".join(str(error).split()), cost))
    line_of_default, allow = default or (0, False)
    return Policy(tuple(rules), allow, line_of_default, tuple(flaws))


def caller_flaw(word: str) -> str | None:
    """Why no caller has this id; None when one may."""
    if word.startswith("mco-"):
        if _OLD_WIRE.fullmatch(word):
            return None
        return f"{word[:80]!r} is no caller of the old wire, such as mco-psk:uid=0"
    seen, scripts = (word, 1) if word.isascii() else _as_seen(word)
    reasons = (
        (word.startswith("#"), "begins no comment: that has a line of its own"),
        (re.search("[*?]", word), "has wildcards; a pattern is a /regex/, such as /^cert=web/"),
        (re.search("[A-Z]", word), "can be no caller: they are in lower case"),
        (not _NATIVE.fullmatch(word), "is no caller id, such as cert=alice"),
        (scripts > 1, "can be no caller: its letters are of several scripts"),
        (seen != word, f"can be no caller: it only looks like {seen[:80]!r}"),
    )
    return next((f"{word[:80]!r} {why}" for wrong, why in reasons if wrong), None)


def _as_seen(word: str) -> tuple[str, int]:
    """What a caller id looks like, and of how many scripts its letters are."""
    import unicodedata  # noqa: PLC0415 - a megabyte, for letters that few have

    letters = filter(str.isalpha, word.removeprefix("cert="))
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    return unicodedata.normalize("NFKC", word), len(scripts)


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a text with their numbers, without the white space around them."""
    lines = enumerate(text.split("\n"), 1)
    return [(number, line.removesuffix("\r").strip(" \t")) for number, line in lines]


def refuse_hiding(number: int, line: str) -> None:
    """Refuse a line with a character that may hide one; raises PolicyError."""
    if found := _HIDING.search(line):
        raise PolicyError(number, f"{_character(found[0])} may hide a line")


def refuse_unseen(number: int, line: str) -> None:
    """Refuse a line with a character that nobody sees; raises PolicyError."""
    for letter in line:
        if letter != "\t" and (not letter.isprintable() or _BLANK.match(letter)):
            raise PolicyError(number, f"{_character(letter)} is not to be seen, and no space")


def _character(letter: str) -> str:
    import unicodedata  # noqa: PLC0415 - a megabyte, for letters that few have

    return f"U+{ord(letter):04X} ({unicodedata.name(letter, 'a control character').lower()})"


def _default(number: int, line: str, before: tuple[int, bool] | None) -> tuple[int, bool]:
    words = line.split()
    if before is not None:
        raise PolicyError(number, f"the default is in line {before[0]} already")
    if words[1:] not in (["default", "allow"], ["default", "deny"]):
        raise PolicyError(number, "policy default allow, or policy default deny")
    return number, words[2] == "allow"


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
    allow = parts[0] == "allow"
    return PolicyRule(
        number,
        allow,
        callers_in(number, words_in(number, parts[1]), groups, groups_error),
        actions_in(number, words_in(number, parts[2]), allow=allow),
        condition_of(parts[3], parts[4] if len(parts) == _FIELDS[1] else None),
    )


def words_in(number: int, field: str) -> list[str]:
    """The words of a field; raises PolicyError."""
    words = re.split(r"\s*,\s*|\s+", field)
    if not all(words):
        raise PolicyError(number, f"{field[:80]!r}: there is a comma too many")
    return words


def callers_in(
    number: int, words: list[str], groups: Mapping[str, frozenset[str]], groups_error: str
) -> Callers:
    """Whom a field means; raises PolicyError."""
    if words == ["*"]:
        return Callers(everyone=True, named=frozenset(), patterns=(), of_old_wire=())
    named: set[str] = set()
    patterns: list[Pattern] = []
    for word in words:
        if len(word) > 2 and word[0] == word[-1] == "/":  # noqa: PLR2004  two slashes and a character
            patterns.append(_pattern(number, word[1:-1]))
        elif word in groups:
            named |= groups[word]
        elif word != "*" and not _GROUP.fullmatch(word):
            if flaw := caller_flaw(word):
                raise PolicyError(number, flaw)
            named.add(word)
        elif groups_error:
            raise PolicyError(
                number, f"{word!r} is no caller id, and of the groups: {groups_error}"
            )
        else:
            hint = did_you_mean(word, groups)
            raise PolicyError(number, f"{word!r} is neither a caller id nor a group{hint}")
    old = [(m[1], p) for p in patterns if (m := _OLD_PATTERN.match(p.pattern))]
    return Callers(
        everyone=False,
        named=frozenset(named),
        patterns=tuple(patterns),
        of_old_wire=tuple((prefix, p) for prefix, p in old if not _has_ways(p.pattern)),
    )


def _has_ways(pattern: str) -> bool:
    """Whether a regex is several beside each other, of which one may not name what another does."""
    depth = 0
    for letter in _NO_LITERALS.sub("", pattern):
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 0:
            return True
    return False


def _pattern(number: int, text: str) -> Pattern:
    try:
        pattern = compile_pattern(text, from_file=True)
    except FilterError as error:
        why = str(error).removeprefix(f"regex /{text}/: ")
        raise PolicyError(number, f"/{text}/ is no regex: {why}") from error
    if "mco-" in text or pattern.ignores_case:
        return pattern
    literals = _NO_LITERALS.sub("", text)
    if re.search("[A-Z]", literals):
        raise PolicyError(number, f"/{text}/ can match no caller: they are in lower case")
    if odd := _NO_CALLERS.search(literals):
        raise PolicyError(number, f"/{text}/ can match no caller: none has {odd[0]!r}")
    if begin := _BEGIN_OF_PATTERN.match(text):
        word = begin[1] + begin[2]
        known = ("cert=", "mco-")
        if not _has_ways(text) and not any(
            word.startswith(one) or one.startswith(word) for one in known
        ):
            raise PolicyError(number, f"/{text}/ can match no caller: /^cert={word}/ may be meant")
    return pattern


def actions_in(number: int, words: list[str], *, allow: bool) -> frozenset[str] | None:
    """Which actions a field means, None: all; raises PolicyError."""
    if words == ["*"]:
        return None
    for word in words:
        if not _ACTION.fullmatch(word):
            raise PolicyError(number, f"{word!r} is no action's name; * stands alone")
    # Agents' actions are in lower case, protocols of conversations in any.
    return frozenset(words if allow else [*words, *map(str.lower, words)])


def condition_of(facts: str, classes: str | None) -> Condition | None:
    """What two fields ask of a node, None: nothing; raises PolicyError or FilterError."""
    if facts == "*" and classes in (None, "*"):
        return None
    # A node whose policies have no conditions does without the filter language.
    from mcshell.node.admission.policy_conditions import parse_condition  # noqa: PLC0415

    return parse_condition(facts, classes)
