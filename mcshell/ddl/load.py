"""From a DDL document to a `DDL`: light, without jsonschema, as a node reads it at start.

What is read here is enough to run an action safely; `schema.check` finds the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mcshell.ddl import types, validators
from mcshell.ddl.aggregates import Spec
from mcshell.ddl.model import DDL, Action, Input, Output
from mcshell.errors import DDLError, did_you_mean

__all__ = ["NAME", "load"]

NAME: Final = r"[a-z0-9_]+"
"""What agents and actions may be called; `schema.check` wants it of inputs and outputs too."""

_OURS: Final = ("rerun_safe", "changes", "sensitive", "timeout", "limits")


def load(document: Mapping[str, Any], path: str = "", *, lenient: bool = False) -> DDL:
    """Read a DDL document; DDLError names the file and the place that is wrong.

    A validator that is not here refuses the input; with `lenient` it is passed over, with a warning.
    """
    try:
        return _ddl(document, path, lenient=lenient)
    except DDLError as error:
        raise (DDLError(str(error), path) if path else error) from None


def _ddl(document: Mapping[str, Any], path: str, *, lenient: bool) -> DDL:
    metadata = _mapping(document, "metadata", "the document")
    name = _name(metadata, "name", "metadata")
    timeout = _seconds(metadata.get("timeout"), "metadata.timeout")
    actions: dict[str, Action] = {}
    for entry in _list(document, "actions", "the document"):
        action = _action(name, timeout, entry, lenient=lenient)
        if action.name in actions:
            raise DDLError(f"action {action.name} is declared twice")
        actions[action.name] = action
    return DDL(name, metadata, actions, path)


def _action(agent: str, timeout: float, entry: Any, *, lenient: bool) -> Action:
    name = _name(entry, "action", "an action")
    where = f"action {name}"
    ours = _mapping(entry, "mcshell", where, missing_ok=True)
    for key in ours:
        if key not in _OURS:
            raise DDLError(f"{where}: mcshell has no key {key!r}{did_you_mean(str(key), _OURS)}")
    inputs = _mapping(entry, "input", where, missing_ok=True)
    outputs = _mapping(entry, "output", where, missing_ok=True)
    sensitive = _sensitive(ours, inputs, where)
    return Action(
        agent=agent,
        name=name,
        description=str(entry.get("description", "")),
        display=str(entry.get("display", "failed")),
        inputs={
            key: _input(key, one, where, sensitive, lenient=lenient) for key, one in inputs.items()
        },
        outputs={key: _output(key, one, where) for key, one in outputs.items()},
        aggregates=tuple(_aggregate(one, where) for one in entry.get("aggregate") or ()),
        timeout=_seconds(ours["timeout"], f"{where}: timeout") if "timeout" in ours else timeout,
        rerun_safe=_flag(ours, "rerun_safe", where, default=False),
        changes=_flag(ours, "changes", where, default=True),
        sensitive=sensitive,
        limits=_mapping(ours, "limits", where, missing_ok=True),
    )


def _input(
    name: str, document: Any, where: str, sensitive: frozenset[str], *, lenient: bool
) -> Input:
    where = f"{where}, input {name}"
    if not isinstance(document, Mapping):
        raise DDLError(f"{where} must be an object")
    kind = _type(document, where)
    validation = document.get("validation")
    if isinstance(validation, list):
        validation = tuple(validation)
    if validation is not None and not isinstance(validation, (str, tuple)):
        raise DDLError(f"{where}: validation must be a name, a regex or a list")
    length = document.get("maxlength") or 0
    if not isinstance(length, (int, float)) or isinstance(length, bool) or length < 0:
        raise DDLError(f"{where}: maxlength must be a number")
    listed = document.get("list", document.get("enum", ()))
    if not isinstance(listed, (list, tuple)) or (kind == "list" and not listed):
        raise DDLError(f"{where}: list must give the values allowed")
    return Input(
        name=name,
        type=kind,
        description=str(document.get("description", "")),
        prompt=str(document.get("prompt", "")),
        optional=_flag(document, "optional", where, default=False),
        default=document.get("default"),
        validation=validation,
        maxlength=int(length),
        choices=tuple(listed),
        sensitive=name in sensitive,
        rules=_rules(kind, validation, int(length), tuple(listed), where, lenient=lenient),
    )


def _rules(
    kind: str,
    validation: str | tuple[Any, ...] | None,
    length: int,
    listed: tuple[Any, ...],
    where: str,
    *,
    lenient: bool,
) -> tuple[Any, ...]:
    """Choria has every string carry a validation and a maxlength; other types have none."""
    rules: list[Any] = []
    if kind == "string" and length:
        rules.append(validators.maxlength(length))
    if listed:
        rules.append(validators.choices(listed))
    if validation:
        try:
            rules.append(validators.validator(validation, lenient=lenient))
        except DDLError as error:
            raise DDLError(f"{where}: {error}") from error
    return tuple(rules)


def _output(name: str, document: Any, where: str) -> Output:
    if not isinstance(document, Mapping):
        raise DDLError(f"{where}, output {name} must be an object")
    return Output(
        name=name,
        type=_type(document, f"{where}, output {name}"),
        description=str(document.get("description", "")),
        display_as=str(document.get("display_as", "")),
        default=document.get("default"),
    )


def _aggregate(document: Any, where: str) -> Spec:
    """Read `{function, args, format}`; args are [output] or [output, {options}]."""
    function = _text(document, "function", f"{where}, an aggregate")
    args = document.get("args")
    if not isinstance(args, (list, tuple)) or not args or not isinstance(args[0], str):
        raise DDLError(f"{where}, aggregate {function}: args must begin with an output")
    options = dict(args[1]) if len(args) > 1 and isinstance(args[1], Mapping) else {}
    form = options.pop("format", document.get("format"))
    if form is not None and not isinstance(form, str):
        raise DDLError(f"{where}, aggregate {function}: format must be text")
    return Spec(function, args[0], options, form)


def _sensitive(ours: Mapping[str, Any], inputs: Mapping[str, Any], where: str) -> frozenset[str]:
    names = ours.get("sensitive", ())
    if not isinstance(names, (list, tuple)):
        raise DDLError(f"{where}: sensitive must be a list of inputs")
    for name in names:
        if name not in inputs:
            near = did_you_mean(str(name), inputs)
            raise DDLError(f"{where}: sensitive names no input {name!r}{near}")
    return frozenset(names)


def _type(document: Mapping[str, Any], where: str) -> str:
    kind = str(document.get("type") or "any").lower()
    if kind not in types.TYPES:
        raise DDLError(f"{where}: no type {kind!r}{did_you_mean(kind, types.TYPES)}")
    return kind


def _mapping(document: Any, key: str, where: str, *, missing_ok: bool = False) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise DDLError(f"{where} must be an object")
    value = document.get(key)
    if value is None and missing_ok:
        return {}
    if not isinstance(value, Mapping):
        raise DDLError(f"{where}: {key} must be an object")
    return value


def _list(document: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise DDLError(f"{where}: {key} must be a list")
    return value


def _text(document: Any, key: str, where: str) -> str:
    if not isinstance(document, Mapping) or not isinstance(document.get(key), str):
        raise DDLError(f"{where}: {key} must be text")
    if not document[key]:
        raise DDLError(f"{where}: {key} must not be empty")
    return str(document[key])


def _name(document: Any, key: str, where: str) -> str:
    name = _text(document, key, where)
    if not re.fullmatch(NAME, name):
        raise DDLError(f"{where}: {key} {name!r} must be of small letters, digits and _ only")
    return name


def _flag(document: Mapping[str, Any], key: str, where: str, *, default: bool) -> bool:
    value = document.get(key, default)
    if not isinstance(value, bool):
        raise DDLError(f"{where}: {key} must be true or false")
    return value


def _seconds(value: Any, where: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value < float("inf")
    ):
        raise DDLError(f"{where} must be a number of seconds")
    return float(value)
