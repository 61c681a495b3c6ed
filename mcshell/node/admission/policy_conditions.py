"""What a rule of a policy asks of a node's facts and classes: yes, no, or a doubt.

It is the filter language, asked with three answers. A doubt is the reason why it cannot be told:

- a fact that is not there, is null, or is no one value (a list; a hash, unless its `name` stands for it);
- a regex, and a text of which it cannot tell (`mcshell.patterns`);
- an order between a number and a word, or of a boolean; a boolean beside a word that is none;
- two texts, or a class and one of the node's, that differ only in case, in spaces or in characters
  that nobody sees;
- a data plugin without an answer.

`not` leaves a doubt as it is; `and` is no where a part of it is, `or` is yes where a part of it is,
else a doubt in one of them is their own. What a doubt means is the rule's to say (`policy`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mcshell.errors import FilterError, PluginError
from mcshell.filters.expressions import parse_compound
from mcshell.filters.facts import reader
from mcshell.filters.simple import parse_fact, parse_name
from mcshell.filters.tree import (
    And,
    ClassTest,
    DataTest,
    Expression,
    FactTest,
    Not,
    Or,
    conjunction,
)
from mcshell.filters.values import Regex, SpelledText, Value, comparison, text_of
from mcshell.filters.versions import are_versions
from mcshell.patterns import compile_pattern
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Condition", "ConditionSubject", "Verdict", "parse_condition"]

OWNER: Final = "owner"
"""The fact that says to whom belongs what a request is about (`policy.Policies.decide`)."""

Verdict: TypeAlias = "bool | str"

_COMPOUND = re.compile(r"(?:^|\s)(?:!|\(|(?:and|or|not)(?:\s|$))|\(.*\)")
_LITERAL = re.compile(
    r"""=~\s*(?:/(?:\\.|[^\\/])+/(?=[\s)]|$)|[^\s'"]+)
        |(?<![^\s(=~!<>])(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|/(?:\\.|[^\\/])+/(?=[\s)]|$))""",
    re.VERBOSE,
)
_FIELD_WORD = re.compile(
    r"""(?:/(?:\\.|[^\\/\s])+/(?=\s|$)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'])+"""
)
_OPERATOR = re.compile(r"[<>=]")
_CLASS = re.compile(r"(?:::)?[\w.@+-]+(?:::[\w.@+-]+)*")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_WORDS_OF_THE_LANGUAGE = frozenset({"and", "or", "not"})
_BOOLEANS = frozenset({"true", "false", "1", "0"})
_EQUALITY = frozenset({"==", "!="})


class ConditionSubject(Protocol):
    """The node that a condition is asked about."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its facts, nested."""

    @property
    def classes(self) -> frozenset[str]:
        """Its configuration classes."""

    @property
    def query(self) -> Callable[[str, str | None], Mapping[str, Any]]:
        """Answers a data plugin's question; PluginError when it cannot."""


Test: TypeAlias = "Callable[[ConditionSubject], Verdict]"


@dataclass(frozen=True, slots=True)
class Condition:
    """Both fields of a rule; `about_owner`: it can only hold where it has looked at `owner`."""

    holds: Callable[[ConditionSubject], Verdict]
    about_owner: bool


def parse_condition(facts: str, classes: str | None) -> Condition | None:
    """Read the fields facts and classes; None when both are `*`.

    Without a field for classes the other may name them too, as a compound filter does.

    Raises:
        FilterError: it does not parse, or it could never match.
    """
    parts = []
    if facts != "*":
        parts.append(_facts(facts, with_classes=classes is None))
    if classes is not None and classes != "*":
        parts.append(_classes(classes))
    if not parts:
        return None
    whole = conjunction(*parts)
    _check(whole)
    return Condition(_compile(whole), _about_owner(whole))


# --- reading ----------------------------------------------------------------------------------


def _facts(field: str, *, with_classes: bool) -> Expression:
    _check_text(field)
    if _COMPOUND.search(field):
        return parse_compound(field)
    words = _FIELD_WORD.findall(field)
    tests: list[Expression] = []
    for word in words:
        if _OPERATOR.search(word):
            tests.append(_fact(word))
        elif with_classes:
            tests.append(ClassTest(parse_name(word, "class")))
        else:
            raise FilterError(f"{word!r} is no fact, such as os=Debian", word, 1)
    return conjunction(*tests)


def _fact(word: str) -> FactTest:
    if mark := re.search(r"[()]", _LITERAL.sub("", word)):
        raise FilterError(f"{word!r}: put a value with {mark[0]!r} in quotes", word)
    return parse_fact(word)


def _classes(field: str) -> Expression:
    if _COMPOUND.search(field):
        _check_text(field)
        return parse_compound(field)
    words = re.split(r"\s*,\s*|\s+", field)
    for word in words:
        if _OPERATOR.search(word) and not (len(word) > 1 and word[0] == word[-1] == "/"):
            raise FilterError(f"{word!r} is no class; facts are the field before", word)
    return conjunction(*(ClassTest(_class_name(word)) for word in words))


def _class_name(word: str) -> Value:
    if not word:
        raise FilterError("there is a comma too many between the classes", word)
    _check_text(word)
    return parse_name(word, "class")


def _check_text(field: str) -> None:
    """Refuse what means nothing outside quotes and regexes; it would be part of a value."""
    mark = re.search(r"""[*?;,#"']""", _LITERAL.sub(" ", field))
    if mark is None:
        return
    if mark[0] in "*?":
        why = "there are no wildcards: a pattern is a /regex/, such as /^web/"
    elif mark[0] == "#":
        why = "a comment has a line of its own"
    else:
        why = f"put a value with {mark[0]} in quotes"
    raise FilterError(f"{field[:80]!r}: {why}", field)


def _check(expression: Expression) -> None:
    """Refuse names that no fact or class can have."""
    match expression:
        case ClassTest(SpelledText(name)) if not _CLASS.fullmatch(name):
            raise FilterError(f"{name[:80]!r} is no class's name", name)
        case ClassTest(SpelledText(name)) if name.lower() in _WORDS_OF_THE_LANGUAGE:
            raise FilterError(f"{name!r} is no class's name; write {name.lower()!r}", name)
        case FactTest(path, _, _) if not all(path.split(".")):
            raise FilterError(f"{path[:80]!r} is no fact's name", path)
        case Not(operand):
            _check(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                _check(operand)
        case _:
            pass


def _about_owner(expression: Expression, *, negated: bool = False) -> bool:
    match expression:
        case FactTest(path, _, _):
            return path == OWNER
        case Not(operand):
            return _about_owner(operand, negated=not negated)
        case And(operands) | Or(operands):
            asked = [_about_owner(operand, negated=negated) for operand in operands]
            # Where one part is enough, each of them has to ask.
            return all(asked) if isinstance(expression, Or) is not negated else any(asked)
        case _:
            return False


# --- asking -----------------------------------------------------------------------------------


def _compile(expression: Expression) -> Test:
    match expression:
        case FactTest(path, operator, value):
            read, compare = reader(path), _comparison(f"the fact {path}", path, operator, value)
            return lambda subject: compare(read(subject.facts), subject.facts)
        case ClassTest(name):
            return _named(name.text) if isinstance(name, SpelledText) else _matching(name.pattern)
        case DataTest():
            return _data(expression)
        case Not(operand):
            return _negation(_compile(operand))
        case And(operands):
            return _junction(tuple(map(_compile, operands)), decided_by=False)
        case Or(operands):
            return _junction(tuple(map(_compile, operands)), decided_by=True)


def _negation(operand: Test) -> Test:
    def test(subject: ConditionSubject) -> Verdict:
        verdict = operand(subject)
        return verdict if isinstance(verdict, str) else not verdict

    return test


def _junction(operands: tuple[Test, ...], *, decided_by: bool) -> Test:
    """`and`, which a no decides, or `or`, which a yes does."""

    def test(subject: ConditionSubject) -> Verdict:
        result: Verdict = not decided_by
        for operand in operands:
            verdict = operand(subject)
            if verdict is decided_by:
                return verdict
            if isinstance(verdict, str) and not isinstance(result, str):
                result = verdict
        return result

    return test


def _comparison(
    what: str, name: str, operator: str, value: Value
) -> Callable[[Any, Mapping[str, Any]], Verdict]:
    """Compile `WHAT operator value` to a test of what stands there, beside the node's facts."""
    compare = (
        _searching(operator, value)
        if isinstance(value, Regex)
        else _comparing(operator, value, name)
    )

    def test(found: Any, facts: Mapping[str, Any]) -> Verdict:
        if isinstance(found, Mapping):
            found = found.get("name", found)
        if isinstance(found, str | int | float):
            verdict = compare(found, facts)
            return f"{what} {verdict}" if isinstance(verdict, str) else verdict
        if found is None or not isinstance(found, list | tuple | set | frozenset | Mapping):
            return f"{what} is not known here"
        return f"{what} is no one value here"

    return test


def _searching(operator: str, value: Regex) -> Callable[[Any, Mapping[str, Any]], Verdict]:
    verdict, wanted = compile_pattern(value.pattern, from_file=True).verdict, operator == "=~"

    def test(found: Any, _facts: Mapping[str, Any]) -> Verdict:
        matched = verdict(text_of(found))
        return f"is more than {value} can decide" if matched is None else matched is wanted

    return test


def _comparing(
    operator: str, value: SpelledText, name: str
) -> Callable[[Any, Mapping[str, Any]], Verdict]:
    compare, doubt = comparison(operator, value, name), _text_doubt(operator, value)
    return lambda found, facts: doubt(found) or compare(found, facts)


def _text_doubt(operator: str, value: SpelledText) -> Callable[[Any], str]:
    text, alike = value.text, _alike(value.text)
    number = not value.literal and _NUMBER.fullmatch(text) is not None
    truth = value.literal or text.lower() in _BOOLEANS

    def same(found: Any) -> str:
        if isinstance(found, bool):
            return "" if truth else f"is a boolean, and {text[:40]!r} is none"
        if isinstance(found, str) and found != text and _alike(found) == alike:
            return f"differs from {text[:40]!r} in case, spaces or what is not seen"
        return ""

    def ordered(found: Any) -> str:
        numeric = not isinstance(found, str) or _NUMBER.fullmatch(found) is not None
        versions = not value.literal and are_versions(text_of(found), text)
        if isinstance(found, bool) or (numeric is not number and not versions):
            return f"has no order beside {text[:40]!r}"
        return ""

    return same if operator in _EQUALITY else ordered


def _named(name: str) -> Test:
    alike = _alike(name)

    def test(subject: ConditionSubject) -> Verdict:
        if name in subject.classes:
            return True
        if alike in _alike_classes(subject.classes):
            return f"a class differs from {name!r} in case or what is not seen"
        return False

    return test


def _matching(written: str) -> Test:
    pattern = compile_pattern(written, from_file=True)

    def test(subject: ConditionSubject) -> Verdict:
        verdicts = set(map(pattern.verdict, subject.classes))
        if True in verdicts:
            return True
        return f"a class is more than /{written}/ can decide" if None in verdicts else False

    return test


def _data(asked: DataTest) -> Test:
    what = f"{asked.plugin}'s {asked.output}"
    compare = _comparison(what, asked.output, asked.operator, asked.value)

    def test(subject: ConditionSubject) -> Verdict:
        try:
            answer = subject.query(asked.plugin, asked.params)
        except PluginError:
            return f"the data plugin {asked.plugin} has no answer here"
        return compare(answer.get(asked.output), subject.facts)

    return test


def _alike(text: str) -> str:
    """What a text and all that look like it have in common."""
    if not text.isascii():
        import unicodedata  # noqa: PLC0415 - a megabyte, for letters that few have

        text = unicodedata.normalize("NFKC", text)
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return " ".join(text.casefold().split())


@lru_cache(maxsize=256)
def _alike_classes(classes: frozenset[str]) -> frozenset[str]:
    # A node's classes do not change while it runs.
    return frozenset(map(_alike, classes))
