"""From a `.ddl` file to the document that `mcshell.ddl.load` takes.

An agent's file becomes Choria's form: `metadata` and `actions`. A data plugin's has `data` in
place of `actions`, a discovery plugin's `discovery`; all others (validators, aggregates,
connectors) have metadata alone. `requires` and `usage` are kept beside them.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from mcshell.ddl.ruby.evaluate import EvaluationContext, Function, Handler, plain, run
from mcshell.ddl.ruby.parser import parse
from mcshell.ddl.ruby.syntax import FunctionCall, RegexpLiteral, SymbolLiteral
from mcshell.errors import DDLError, did_you_mean
from mcshell.patterns import ruby as patterns

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPABILITIES", "METADATA", "TYPES", "read"]

METADATA: Final = ("name", "description", "author", "license", "version", "url", "timeout")
"""What `metadata` must say."""

CAPABILITIES: Final = ("classes", "facts", "identity", "agents", "compound")
"""What a discovery plugin may be able to do."""

TYPES: Final = ("string", "integer", "float", "number", "boolean", "list")
"""The types of inputs that MCollective knows; any other symbol names a validator."""

_CHORIA: Final = ("array", "hash", "any")
"""The types that Choria has beside them."""

_NAME = re.compile(r"[a-z0-9_]+")
_DISPLAYS: Final = ("ok", "failed", "flatten", "always")


def read(
    text: str, path: str = "", name: str | None = None, flaws: list[str] | None = None
) -> dict[str, Any]:
    """Read a `.ddl` file.

    `name` is the plugin's, which MCollective takes from the file's name: the metadata may call it
    anything. Without it, it is the metadata's if that can be one, else the one of `path`. With
    `flaws` a statement that cannot be used is left out, and named there.

    Raises:
        DDLError: with line and column.
    """
    statements, scanner = parse(text, path, flaws)
    document: dict[str, Any] = {}
    try:
        run(statements, EvaluationContext("a DDL", _TOP, document), scanner, _KNOWN)
    except RecursionError:
        raise DDLError("nested too deeply", path) from None
    if "metadata" not in document:
        why = f": {flaws[0]}" if flaws else ""
        raise DDLError(f"no metadata in it{why}", path)
    metadata = document["metadata"]
    if "actions" in document:
        document["actions"] = list(document["actions"].values())
        if name is None and not _NAME.fullmatch(metadata["name"]):
            stem = PurePath(path).stem
            name = stem if _NAME.fullmatch(stem) else None
    if name is not None:
        metadata["name"] = name
    return document


def _hash(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any], position: int
) -> dict[str, Any]:
    """The properties of a call, at a position; the arguments before it are names."""
    if len(arguments) != position + 1 or not isinstance(arguments[position], dict):
        names = "a name and " if position else ""
        context.fail(f"{call.name} takes {names}properties such as :description => ...", call.at)
    properties: dict[str, Any] = arguments[position]
    return properties


def _said(value: Any) -> str:
    """A value as the text that is meant; nil is an empty one."""
    return "" if value is None else str(value)


def _named(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any]
) -> tuple[str, dict[str, Any]]:
    properties = _hash(context, call, arguments, 1)
    if not isinstance(arguments[0], str) or not arguments[0]:
        context.fail(f"{call.name} takes a symbol or a string as its name", call.at)
    return str(arguments[0]), properties


def _wanted(
    context: EvaluationContext,
    call: FunctionCall,
    properties: Mapping[str, Any],
    keys: tuple[str, ...],
) -> None:
    for key in keys:
        if key not in properties:
            near = did_you_mean(key, map(str, properties))
            context.fail(f"{call.name} needs :{key}{near}", call.at)


def _metadata(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    properties = _hash(context, call, arguments, 0)
    _wanted(context, call, properties, METADATA)
    document = plain(properties)
    document.update({key: _said(document[key]) for key in METADATA if key != "timeout"})
    context.data["metadata"] = document


def _requires(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    properties = _hash(context, call, arguments, 0)
    for key in properties:
        if key != "mcollective":
            context.fail(f"only :mcollective can be required, not {key!r}", call.at)
    context.data["requires"] = {key: _said(one) for key, one in properties.items()}


def _usage(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    if len(arguments) != 1 or not isinstance(arguments[0], str):
        context.fail("usage takes a text", call.at)
    context.data["usage"] = str(arguments[0])


def _action(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any]
) -> EvaluationContext:
    name, properties = _named(context, call, arguments)
    _wanted(context, call, properties, ("description",))
    actions = context.data.setdefault("actions", {})
    action = actions.setdefault(
        name,
        {
            "action": name,
            "description": _said(properties["description"]),
            "display": "failed",
            "input": {},
            "output": {},
        },
    )
    if isinstance(ours := properties.get("mcshell"), dict):
        action["mcshell"] = plain(ours)
    if isinstance(ours := properties.get("input"), dict):
        action["input"].update(plain(ours))
    return EvaluationContext(f"action {name}", _ACTION, action)


def _dataquery(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any]
) -> EvaluationContext:
    properties = _hash(context, call, arguments, 0)
    _wanted(context, call, properties, ("description",))
    if "data" in context.data:
        context.fail("a second dataquery", call.at)
    data = {"description": _said(properties["description"]), "input": {}, "output": {}}
    context.data["data"] = data
    return EvaluationContext("dataquery", _DATA, data)


def _discovery(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any]
) -> EvaluationContext:
    if arguments or "discovery" in context.data:
        context.fail("discovery stands once, with a block alone", call.at)
    context.data["discovery"] = {"capabilities": []}
    return EvaluationContext(
        "discovery", {"capabilities": _capabilities}, context.data["discovery"]
    )


def _capabilities(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    given = [one for part in arguments for one in (part if isinstance(part, list) else [part])]
    for one in given:
        if one not in CAPABILITIES:
            near = did_you_mean(str(one), CAPABILITIES)
            context.fail(f"no capability {one!r}{near}", call.at)
    if not given:
        context.fail("capabilities names none", call.at)
    context.data["capabilities"] += [str(one) for one in given]


def _display(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    if len(arguments) != 1 or arguments[0] not in _DISPLAYS:
        near = did_you_mean(str(arguments[0]), _DISPLAYS) if arguments else ""
        context.fail(f"display is :ok, :failed or :always{near}", call.at)
    context.data["display"] = "always" if arguments[0] == "flatten" else str(arguments[0])


def _input(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    name, properties = _named(context, call, arguments)
    _wanted(context, call, properties, ("prompt", "description", "type"))
    kind = properties["type"]
    if kind == "string":
        _wanted(context, call, properties, ("validation", "maxlength"))
    if kind == "list":
        _wanted(context, call, properties, ("list",))
    if not isinstance(kind, str):
        context.fail(f"input {name}: its :type must be a symbol", call.at)
    made: dict[str, Any] = {
        "prompt": _said(properties["prompt"]),
        "description": _said(properties["description"]),
        "type": str(kind),
        "optional": bool(properties.get("optional")),
    }
    if kind.lower() in _CHORIA:
        made["type"] = kind.lower()
    elif kind not in TYPES:
        made |= {"type": "string", "validation": str(kind), "maxlength": 0}
    if kind == "string":
        made["validation"] = _validation(context, call, properties["validation"])
        made["maxlength"] = _length(context, call, properties["maxlength"])
    if kind == "list":
        made["list"] = plain(properties["list"])
    if properties.get("default") is not None:
        made["default"] = plain(properties["default"])
    context.data["input"][name] = made


def _validation(context: EvaluationContext, call: FunctionCall, given: Any) -> Any:
    if isinstance(given, SymbolLiteral):
        return str(given)
    if isinstance(given, RegexpLiteral):
        return patterns.from_ruby(given.source, given.flags)
    if isinstance(given, str):
        return patterns.from_ruby(given)
    if not isinstance(given, list):
        context.fail("a :validation is a string, a regex, a symbol or an array", call.at)
    return plain(given)


def _length(context: EvaluationContext, call: FunctionCall, given: Any) -> int:
    try:
        return max(0, int(given))
    except (TypeError, ValueError, OverflowError):
        context.fail("a :maxlength is a number", call.at)


def _output(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    name, properties = _named(context, call, arguments)
    _wanted(context, call, properties, ("description", "display_as"))
    made = {key: _said(properties[key]) for key in ("description", "display_as")}
    if isinstance(kind := properties.get("type"), str):
        made["type"] = str(kind)
    if properties.get("default") is not None:
        made["default"] = plain(properties["default"])
    context.data["output"][name] = made


def _summarize(
    context: EvaluationContext, call: FunctionCall, arguments: list[Any]
) -> EvaluationContext:
    if arguments:
        context.fail("summarize takes a block alone", call.at)
    return EvaluationContext("summarize", {"aggregate": _aggregate}, context.data, functions=True)


def _aggregate(context: EvaluationContext, call: FunctionCall, arguments: list[Any]) -> None:
    function = arguments[0] if arguments else None
    if not isinstance(function, Function) or not function.arguments:
        context.fail("aggregate takes a function of an output, as in summary(:value)", call.at)
    output, *more = function.arguments
    if not isinstance(output, str):
        context.fail(f"{function.name} takes an output's name first", call.at)
    options: dict[str, Any] = {}
    for part in (*more, *arguments[1:]):
        if not isinstance(part, dict):
            context.fail(f"{function.name}: more than an output must be options", call.at)
        options |= plain(part)
    made: dict[str, Any] = {"function": function.name, "args": [str(output)]}
    if (form := options.pop("format", None)) is not None:
        made["format"] = str(form)
    if options:
        made["args"].append(options)
    context.data.setdefault("aggregate", []).append(made)


_TOP: Final[Mapping[str, Handler]] = {
    "metadata": _metadata,
    "requires": _requires,
    "usage": _usage,
    "action": _action,
    "dataquery": _dataquery,
    "discovery": _discovery,
}
_DATA: Final[Mapping[str, Handler]] = {"input": _input, "output": _output}
_ACTION: Final[Mapping[str, Handler]] = {
    **_DATA,
    "display": _display,
    "summarize": _summarize,
}
_KNOWN: Final = frozenset((*_TOP, *_ACTION, "aggregate", "capabilities"))
"""What MCollective's DDLs have as methods."""
