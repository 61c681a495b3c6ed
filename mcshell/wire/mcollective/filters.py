r"""Filters: from ours to MCollective's structure, and back.

MCollective's way of testing is poorer, so what cannot be said in it is refused before it is sent,
rather than sent as something else. What we say differently, so that it means the same there:

- ``!=`` and ``!=~`` in a compound filter become ``(fact=/./ and not fact=VALUE)``: there is no
  such statement there, and a missing fact must match neither;
- names and regexes for identities together become one regex: there exactly one entry must match;
- a slash in a regex becomes ``\x2f``, for every slash is dropped there.

Facts are looked up by their whole name there (no dotted paths) and are compared as text by ``=``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mcshell.errors import FilterError, Reason, Rejected
from mcshell.filters.nodes import expand
from mcshell.filters.simple import parse_fact, parse_identity, parse_name
from mcshell.filters.tree import (
    And,
    ClassTest,
    DataTest,
    Expression,
    FactTest,
    Not,
    Or,
    show,
)
from mcshell.filters.values import OPERATORS, Regex, SpelledText, Value, pair, read_value
from mcshell.message import Filter
from mcshell.patterns import compile_pattern, one_message
from mcshell.patterns.ruby import filter_from_ruby
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol

__all__ = ["EMPTY", "from_ruby", "to_ruby"]

EMPTY: Final = ("fact", "cf_class", "agent", "identity", "compound")
"""The keys of a filter; each holds an Array."""

_MAX_ENTRIES: Final = 1000
_OPERATOR_CHARS = re.compile(r"[=<>]")
_STATEMENT = re.compile(r"(.*?)(>=|<=|=|<|>)(.*)", re.DOTALL)
_SPECIAL_GROUP = re.compile(r"\(\?[^:)imx-]")
_PAIR = re.compile(r"\\.|[/=<>]", re.DOTALL)
_MARKS: Final = {"and": "and", "or": "or", "not": "not", "(": "(", ")": ")", "!": "not"}


def to_ruby(filters: Filter, agent: str | None = None) -> dict[str, list[Any]]:
    """MCollective's form of a filter, with the agent that a call is for; FilterError when none."""
    agents = dict.fromkeys(
        [*([agent] if agent else []), *(_name(a, "agent") for a in filters.agent)]
    )
    return {
        "fact": [_fact(text) for text in filters.fact],
        "cf_class": [_name(text, "class") for text in filters.cls],
        "agent": list(agents),
        "identity": _identities(filters.identity),
        "compound": [_compound(text) for text in filters.compound],
    }


def from_ruby(structure: dict[Any, Any]) -> Filter:
    """Our form of MCollective's filter; Rejected MALFORMED for what is none.

    Keys other than the five are ignored, as they are there.
    """
    lists = {key: _list(structure, key) for key in EMPTY}
    with one_message():
        return Filter(
            fact=tuple(_their_fact(entry) for entry in lists["fact"]),
            cls=tuple(_their_name(entry, "class") for entry in lists["cf_class"]),
            agent=tuple(_their_name(entry, "agent") for entry in lists["agent"]),
            identity=tuple(_their_name(entry, "identity") for entry in lists["identity"]),
            compound=tuple(_their_compound(entry) for entry in lists["compound"]),
        )


def _fact(text: str) -> dict[RubySymbol, str]:
    test = parse_fact(text)
    if test.operator == "!=~":
        raise FilterError(f"MCollective has no !=~ for facts: write -S 'not {text}'", text)
    value = _slashed(test.value) if isinstance(test.value, Regex) else _text(test, text)
    return {
        RubySymbol("fact"): test.fact,
        RubySymbol("value"): value,
        RubySymbol("operator"): test.operator,
    }


def _text(test: FactTest, text: str) -> str:
    assert isinstance(test.value, SpelledText)
    if test.value.literal and test.operator != "==":
        raise FilterError(f"MCollective cannot take {test.value.text!r} as text: {text}", text)
    return test.value.text


def _name(text: str, kind: str) -> str:
    value = parse_name(text, kind)
    return _slashed(value) if isinstance(value, Regex) else value.text


def _slashed(value: Regex) -> str:
    return f"/{_without(value.pattern, '/')}/"


def _without(pattern: str, chars: str) -> str:
    r"""A pattern in which some characters stand as \xNN, so that no scanner there sees them."""
    if set(chars) - {"/"} and _OPERATOR_CHARS.search(pattern) and _SPECIAL_GROUP.search(pattern):
        raise FilterError(f"MCollective cannot take the regex /{pattern}/ in a compound filter")

    def coded(found: re.Match[str]) -> str:
        char = found[0][-1]
        return f"\\x{ord(char):02x}" if char in chars else found[0]

    return _PAIR.sub(coded, pattern)


def _identities(texts: tuple[str, ...]) -> list[str]:
    names: dict[str, None] = {}
    patterns: list[str] = []
    for text in texts:
        parse_identity(text)
        value = parse_name(text, "identity")
        if isinstance(value, Regex):
            patterns.append(f"(?i:{_without(value.pattern, '/')})")
        else:
            names.update(
                dict.fromkeys(expand([value.text]) if set("[,") & set(value.text) else [value.text])
            )
    if not patterns:
        return list(names)
    if names:
        patterns.append(f"^(?:{'|'.join(map(re.escape, names))})$")
    return [f"/{'|'.join(patterns)}/"]


def _compound(text: str) -> list[dict[str, Any]]:
    from mcshell.filters.compound import parse  # noqa: PLC0415 - seldom needed

    return _tokens(parse(text))


def _mark(word: str) -> dict[str, Any]:
    return {word: word}


def _tokens(expression: Expression) -> list[dict[str, Any]]:
    match expression:
        case Not(operand):
            return [_mark("not"), *_inside(operand, And, Or)]
        case And(operands):
            return _joined("and", [_inside(operand, Or) for operand in operands])
        case Or(operands):
            return _joined("or", [_tokens(operand) for operand in operands])
        case ClassTest(name):
            return [{"statement": _class_statement(name)}]
        case DataTest():
            return [{"fstatement": _call(expression)}]
        case FactTest(fact, operator, value):
            return _fact_tokens(fact, operator, value)


def _inside(expression: Expression, *looser: type) -> list[dict[str, Any]]:
    tokens = _tokens(expression)
    return [_mark("("), *tokens, _mark(")")] if isinstance(expression, looser) else tokens


def _joined(word: str, parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    tokens = parts[0]
    for part in parts[1:]:
        tokens = [*tokens, _mark(word), *part]
    return tokens


def _class_statement(name: Value) -> str:
    if isinstance(name, Regex):
        return _slashed(name)
    if _OPERATOR_CHARS.search(name.text):
        raise FilterError(f"MCollective would read the class {name.text!r} as a fact")
    return name.text


def _fact_tokens(fact: str, operator: str, value: Value) -> list[dict[str, Any]]:
    if _OPERATOR_CHARS.search(fact):
        raise FilterError(f"MCollective cannot take the fact {fact!r} in a compound filter")
    if operator in ("!=", "!=~"):
        there = {"statement": f"{fact}=/./"}
        positive = _fact_tokens(fact, "==" if operator == "!=" else "=~", value)
        return [_mark("("), there, _mark("and"), _mark("not"), *positive, _mark(")")]
    if isinstance(value, Regex):
        return [{"statement": f"{fact}=/{_without(value.pattern, '/=<>')}/"}]
    if _OPERATOR_CHARS.search(value.text) or value.text.startswith("/") or not value.text:
        raise FilterError(f"MCollective cannot take the value {value.text!r} in a compound filter")
    if value.literal and operator != "==":
        raise FilterError(f"MCollective cannot take {value.text!r} as text")
    return [{"statement": f"{fact}{'=' if operator == '==' else operator}{value.text}"}]


def _call(test: DataTest) -> dict[str, Any]:
    compare = RubyRegexp(test.value.pattern) if isinstance(test.value, Regex) else test.value.text
    return {
        "r_compare": compare,
        "operator": test.operator,
        "value": test.output,
        "name": test.plugin,
        "params": test.params,
    }


def _list(structure: dict[Any, Any], key: str) -> list[Any]:
    value = structure.get(key, [])
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
        raise _malformed(f"filter {key} is no Array of at most {_MAX_ENTRIES}")
    return value


def _malformed(what: str) -> Rejected:
    return Rejected(Reason.MALFORMED, what)


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _malformed(f"{what} is no String")
    return value


def _their_fact(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise _malformed("a fact filter is no Hash")
    parts = [entry.get(RubySymbol(key)) for key in ("fact", "operator", "value")]
    name, operator, value = (_string(part, "a part of a fact filter") for part in parts)
    return show(_their_test(name, operator, value))


def _their_test(name: str, operator: str, written: str) -> FactTest:
    if operator not in OPERATORS:
        raise _malformed(f"unknown operator {operator[:20]!r}")
    try:
        matching = operator == "=~"
        value = _regex(_unslashed(written)) if matching else SpelledText.of(written)
        return FactTest(name, *pair(OPERATORS[operator], value))
    except FilterError as error:
        raise _malformed(str(error)[:200]) from error


def _unslashed(written: str) -> str:
    slashed = len(written) > 2 and written[0] == written[-1] == "/"  # noqa: PLR2004 - two slashes
    return written[1:-1] if slashed else written


def _their_name(entry: Any, kind: str) -> str:
    """A name or /regex/; there every slash of a regex is dropped."""
    if isinstance(entry, RubyRegexp):
        flags = "".join(flag for bit, flag in ((1, "i"), (2, "x"), (4, "m")) if entry.options & bit)
        return str(_regex(entry.source, flags))
    text = _string(entry, f"a {kind} filter")
    if text.startswith("/"):
        return str(_regex(text.replace("/", "")))
    if kind == "identity" and re.search(r"[*?\[\]]", text):
        return str(Regex(f"^{re.escape(text)}$"))
    return text


def _their_compound(tokens: Any) -> str:
    if not isinstance(tokens, list) or not 0 < len(tokens) <= _MAX_ENTRIES:
        raise _malformed("a compound filter is no Array of statements")
    return " ".join(_their_token(token) for token in tokens)


def _their_token(token: Any) -> str:
    if not isinstance(token, dict) or len(token) != 1:
        raise _malformed("a part of a compound filter is no Hash of one statement")
    kind, content = next(iter(token.items()))
    if kind == "statement":
        return show(_their_statement(_string(content, "a statement")))
    if kind == "fstatement":
        return show(_their_call(content))
    if not isinstance(kind, str) or kind not in _MARKS:
        raise _malformed(f"unknown part {str(kind)[:20]!r} of a compound filter")
    return _MARKS[kind]


def _their_statement(text: str) -> Expression:
    if text.startswith("/"):
        return ClassTest(_regex(text.replace("/", "")))
    found = _STATEMENT.fullmatch(text)
    if found is None:
        return ClassTest(SpelledText(text))
    name, operator, value = found[1], found[2], found[3]
    return _their_test(name, "=~" if value.startswith("/") else operator, value)


def _regex(pattern: str, flags: str = "") -> Regex:
    try:
        value = Regex.of(filter_from_ruby(pattern, flags) or "(?:)")
        compile_pattern(value.pattern)
    except FilterError as error:
        raise _malformed(str(error)[:200]) from error
    return value


def _their_call(call: Any) -> DataTest:
    if not isinstance(call, dict):
        raise _malformed("a data plugin's statement is no Hash")
    name, operator, output = (
        _string(call.get(key), f"{key} of a data plugin") for key in ("name", "operator", "value")
    )
    params, compare = call.get("params"), call.get("r_compare")
    if params is not None and not isinstance(params, str):
        raise _malformed("params of a data plugin is no String")
    if operator.strip() not in OPERATORS:
        raise _malformed(f"unknown operator {operator[:20]!r}")
    if isinstance(compare, RubyRegexp):
        value: Value = read_value(_their_name(compare, "data"))
    elif isinstance(compare, (int, float)) and not isinstance(compare, bool):
        value = SpelledText.of(str(compare))
    else:
        value = read_value(_string(compare, "r_compare of a data plugin"))
        value = _regex(value.pattern) if isinstance(value, Regex) else value
    try:
        return DataTest(name, params, output, *pair(OPERATORS[operator.strip()], value))
    except FilterError as error:
        raise _malformed(str(error)[:200]) from error
