"""From a DDL document to a `.ddl` file that the real `mco` reads.

What MCollective has no form for, it overlooks: our key `mcshell`, the types of outputs, and inputs
of types that it does not know stand as further properties, which `read` takes up again. Such an
input is then unknown to `mco`, passes its checks and is checked by our node.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mcshell.ddl.ruby.document import METADATA, TYPES
from mcshell.errors import DDLError
from mcshell.patterns import ruby as patterns

__all__ = ["write"]

_PLAIN_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_WORD = re.compile(r"[a-z][a-z0-9_]*")
_INPUT: Final = ("prompt", "description", "type", "validation", "optional", "maxlength", "list")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def write(document: Mapping[str, Any]) -> str:
    """Write a document; DDLError for one that has no form there.

    The document must be one that `mcshell.ddl.load` takes or `read` gave.
    """
    try:
        parts = [_metadata(document["metadata"])]
        if document.get("requires"):
            parts.append(f"requires {_pairs(document['requires'], 0)}")
        if document.get("usage"):
            parts.append(f"usage {_string(document['usage'])}")
        if "data" in document:
            parts.append(_data(document["data"]))
        if "discovery" in document:
            parts.append(_discovery(document["discovery"]))
        parts += [_action(action) for action in document.get("actions", ())]
    except (KeyError, TypeError, AttributeError) as error:
        raise DDLError(f"no DDL document: {error!r}") from error
    return "\n\n".join(parts) + "\n"


def _metadata(metadata: Mapping[str, Any]) -> str:
    keys = [*METADATA, *(key for key in metadata if key not in METADATA)]
    pairs = {key: metadata.get(key, "") for key in keys}
    return f"metadata {_pairs(pairs, 9)}"


def _action(action: Mapping[str, Any]) -> str:
    properties = {"description": action.get("description", "")}
    inputs: Mapping[str, Any] = action.get("input") or {}
    other = {name: one for name, one in inputs.items() if not _expressible(one)}
    ours = {"mcshell": action.get("mcshell"), "input": other}
    properties |= {key: value for key, value in ours.items() if value}
    lines = [
        (
            f"action {_string(action['action'])}, {_pairs(properties, 7)} do\n"
            f"    display :{action.get('display', 'failed')}"
        )
    ]
    lines += [_input(name, one) for name, one in inputs.items() if name not in other]
    lines += [_output(name, one) for name, one in (action.get("output") or {}).items()]
    aggregates = action.get("aggregate") or ()
    if aggregates:
        inside = "\n".join(f"        aggregate {_aggregate(one)}" for one in aggregates)
        lines.append(f"    summarize do\n{inside}\n    end")
    return "\n\n".join(lines) + "\nend"


def _expressible(one: Mapping[str, Any]) -> bool:
    """Whether MCollective can hold an input: its type, and nothing that it would lose."""
    kind = str(one.get("type", "any"))
    needed = {"string": {"validation", "maxlength"}, "list": {"list"}}.get(kind, set())
    extra = (
        set(one) - {*_INPUT, "default"} or (set(one) & {"validation", "maxlength", "list"}) - needed
    )
    return kind in TYPES and not extra and needed <= set(one) and one.get("optional") is not None


def _input(name: str, one: Mapping[str, Any]) -> str:
    pairs = {key: _Raw(_value(key, one[key])) for key in _INPUT if key in one}
    if one.get("default") is not None:
        pairs["default"] = _Raw(_ruby(one["default"]))
    return f"    input {_symbol(name)},\n          {_pairs(pairs, 10)}"


def _value(key: str, value: Any) -> str:
    if key == "type":
        return f":{value}"
    if key == "validation" and isinstance(value, str):
        return _symbol(value) if _PLAIN_WORD.fullmatch(value) else _string(patterns.to_ruby(value))
    return _ruby(value)


def _output(name: str, one: Mapping[str, Any]) -> str:
    return f"    output {_symbol(name)},\n           {_pairs(one, 11)}"


def _aggregate(one: Mapping[str, Any]) -> str:
    output, *more = one["args"]
    options: dict[str, Any] = {}
    for part in more:
        options |= part
    if one.get("format") is not None:
        options["format"] = one["format"]
    arguments = ", ".join([_symbol(output), *([_pairs(options, None)] if options else [])])
    return f"{one['function']}({arguments})"


def _data(data: Mapping[str, Any]) -> str:
    lines = [f"dataquery {_pairs({'description': data['description']}, 10)} do"]
    lines += [_input(name, one) for name, one in data["input"].items()]
    lines += [_output(name, one) for name, one in data["output"].items()]
    return "\n\n".join(lines) + "\nend"


def _discovery(discovery: Mapping[str, Any]) -> str:
    listed = ", ".join(f":{one}" for one in discovery["capabilities"])
    return f"discovery do\n    capabilities [{listed}]\nend"


class _Raw(str):
    """Ruby that is written as it is."""

    __slots__ = ()


def _pairs(pairs: Mapping[str, Any], indent: int | None) -> str:
    """Write `:key => value` pairs, one a line under each other (on one line for None)."""
    width = 0 if indent is None else max(len(_symbol(key)) for key in pairs)
    written: Iterable[str] = (
        f"{_symbol(key):{width}} => {value if isinstance(value, _Raw) else _ruby(value)}"
        for key, value in pairs.items()
    )
    return (", " if indent is None else ",\n" + " " * indent).join(written)


def _ruby(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        mantissa, mark, exponent = repr(value).partition("e")
        return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_ruby, value))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_string(str(key))} => {_ruby(one)}" for key, one in value.items())
        return f"{{{inside}}}"
    raise DDLError(f"{value!r} has no form in a .ddl file")


def _string(text: str) -> str:
    """A string: in single quotes, where only the quote and the backslash mean anything."""
    if not _CONTROL.search(text):
        return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
    return json.dumps(text, ensure_ascii=False).replace("#", "\\#").replace("\x7f", "\\x7f")


def _symbol(name: str) -> str:
    return f":{name}" if _PLAIN_SYMBOL.fullmatch(name) else f":{_string(name)}"
