"""From a DDL document to a `DDL`: light, without jsonschema, as a node reads it at start.

An unknown part never costs the schema. What cannot be used is left out, or takes no value where it
was to protect something, and is named in `DDL.flaws`. An author finds all of it, and more, with
`schema.check`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mcshell.ddl import types, validators
from mcshell.ddl.aggregates import Spec
from mcshell.ddl.model import DDL, Action, Input, Output
from mcshell.errors import DDLError, did_you_mean

__all__ = ["ACTION", "NAME", "load"]

NAME: Final = r"[a-z0-9_]+"
"""What agents may be called; `schema.check` wants it of inputs and outputs too."""

ACTION: Final = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
"""What actions may be called."""

_OURS: Final = ("rerun_safe", "changes", "sensitive", "times", "timeout", "limits")
_DISPLAYS: Final = ("ok", "failed", "flatten", "always")
_TIMEOUT: Final = 10.0
_LONGEST: Final = 1e9
"""Seconds of a timeout: for much more no thread can wait."""
_MOST: Final = 50
"""Flaws of one document that are named; a limit for what is bad from end to end."""


def load(document: Mapping[str, Any], path: str = "", *, lenient: bool = False) -> DDL:
    """Read a DDL document; what of it cannot be used is in `DDL.flaws`.

    An input that cannot be checked as the document says (by a validator, a type or a regex that is
    not to be had here) takes no value; with `lenient` any, with a warning.

    Raises:
        DDLError: it is no DDL at all: no object, no metadata with a name, no list of actions.
    """
    return _Reader(path, lenient=lenient).ddl(document)


class _Reader:
    """Reads one document, and notes what of it cannot be used."""

    def __init__(self, path: str, *, lenient: bool) -> None:
        self.path = path
        self.lenient = lenient
        self.flaws: list[str] = []

    def flaw(self, where: str, what: str) -> None:
        """Note what cannot be used, and where it stands."""
        line = f"{where}: {what}"
        if len(self.flaws) < _MOST and line not in self.flaws:
            self.flaws.append(line)

    def ddl(self, document: Any) -> DDL:
        metadata = document.get("metadata") if isinstance(document, Mapping) else None
        if not isinstance(metadata, Mapping):
            raise DDLError("is no DDL: an object with metadata is meant", self.path)
        name, actions = metadata.get("name"), document.get("actions")
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise DDLError(
                f"metadata: name {name!r} must be of small letters, digits and _ only", self.path
            )
        if not isinstance(actions, list):
            raise DDLError("is no agent's DDL: it has no list of actions", self.path)
        version = metadata.get("version")
        metadata = {
            **metadata,
            "version": "" if version is None else str(version),
            "timeout": self.seconds(metadata, "timeout", "metadata", _TIMEOUT),
        }
        read: dict[str, Action] = {}
        for entry in actions:
            title = entry.get("action") if isinstance(entry, Mapping) else None
            if not isinstance(title, str) or not re.fullmatch(ACTION, title):
                self.flaw("an action is left out", f"{title!r} is no name for one")
            elif title in read:
                self.flaw(f"action {title}", "stands twice: the first holds")
            else:
                read[title] = self.action(name, metadata["timeout"], entry)
        return DDL(name, metadata, read, self.path, tuple(self.flaws))

    def action(self, agent: str, timeout: float, entry: Mapping[str, Any]) -> Action:
        name = str(entry["action"])
        where = f"action {name}"
        ours = self.mapping(entry, "mcshell", where)
        for key in ours:
            if key not in _OURS:
                near = did_you_mean(str(key), _OURS)
                self.flaw(where, f"mcshell has no key {key!r}{near}, it is left out")
        inputs = self.mapping(entry, "input", where)
        outputs = self.mapping(entry, "output", where)
        sensitive = self.sensitive(ours, inputs, where)
        display = str(entry.get("display") or "failed")
        if display not in _DISPLAYS:
            near = did_you_mean(display, _DISPLAYS)
            self.flaw(where, f"display is ok, failed or always, not {display!r}{near}")
            display = "failed"
        specs = (self.aggregate(one, where) for one in self.sequence(entry, "aggregate", where))
        return Action(
            agent=agent,
            name=name,
            description=str(entry.get("description") or ""),
            display=display,
            inputs={key: self.input(key, one, where, sensitive) for key, one in inputs.items()},
            outputs={key: self.output(key, one, where) for key, one in outputs.items()},
            aggregates=tuple(one for one in specs if one is not None),
            timeout=self.seconds(ours, "timeout", where, timeout),
            rerun_safe=self.flag(ours, "rerun_safe", where, default=False),
            changes=self.flag(ours, "changes", where, default=True),
            sensitive=sensitive,
            times=self.times(ours, outputs, where),
            limits=self.mapping(ours, "limits", where),
        )

    def input(self, name: str, document: Any, where: str, sensitive: frozenset[str]) -> Input:
        where = f"{where}, input {name}"
        unread: list[str] = []
        if not isinstance(document, Mapping):
            unread.append("it must be an object")
            document = {}
        kind, why = _type(document)
        unread += [why] if why else []
        listed = document.get("list", document.get("enum", ()))
        if not isinstance(listed, (list, tuple)) or (kind == "list" and not listed):
            unread.append("its list must give the values allowed")
            listed = ()
        length = _length(document.get("maxlength"))
        if length is None:
            unread.append(f"its maxlength must be a number, not {document['maxlength']!r}")
        validation = document.get("validation")
        validation = tuple(validation) if isinstance(validation, list) else validation
        if not isinstance(validation, (str, tuple, type(None))):
            unread.append("its validation must be a name, a regex or a list")
            validation = None
        # Choria has every string carry a validation and a maxlength; other types have none.
        rules: list[validators.Validator] = []
        if kind == "string" and length:
            rules.append(validators.maxlength(length))
        if listed:
            rules.append(validators.choices(tuple(listed)))
        if validation:
            try:
                rules.append(validators.validator(validation))
            except DDLError as error:
                unread.append(str(error))
        for why in unread:
            self.flaw(where, why)
            rules.append(validators.Unchecked(why, self.lenient))
        return Input(
            name=name,
            type=kind,
            description=str(document.get("description") or ""),
            prompt=str(document.get("prompt") or ""),
            optional=self.flag(document, "optional", where, default=False),
            default=document.get("default"),
            validation=validation,
            maxlength=length or 0,
            choices=tuple(listed),
            sensitive=name in sensitive,
            rules=tuple(rules),
        )

    def output(self, name: str, document: Any, where: str) -> Output:
        where = f"{where}, output {name}"
        if not isinstance(document, Mapping):
            self.flaw(where, "it must be an object")
            document = {}
        kind, why = _type(document)
        if why:
            self.flaw(where, why)
        return Output(
            name=name,
            type=kind,
            description=str(document.get("description") or ""),
            display_as=str(document.get("display_as") or ""),
            default=document.get("default"),
        )

    def aggregate(self, document: Any, where: str) -> Spec | None:
        """Read `{function, args, format}`; args are [output] or [output, {options}]."""
        made = document if isinstance(document, Mapping) else {}
        function, args = made.get("function"), made.get("args")
        if not isinstance(function, str) or not function:
            self.flaw(where, "an aggregate is left out: its function must be text")
            return None
        if not isinstance(args, (list, tuple)) or not args or not isinstance(args[0], str):
            self.flaw(where, f"aggregate {function} is left out: args must begin with an output")
            return None
        options = dict(args[1]) if len(args) > 1 and isinstance(args[1], Mapping) else {}
        form = options.pop("format", made.get("format"))
        if form is not None and not isinstance(form, str):
            self.flaw(where, f"aggregate {function}: its format must be text")
            form = None
        return Spec(function, args[0], options, form)

    def sensitive(
        self, ours: Mapping[str, Any], inputs: Mapping[str, Any], where: str
    ) -> frozenset[str]:
        """The inputs that are; all of them where it cannot be told which are meant."""
        names = ours.get("sensitive") or []
        if not isinstance(names, (list, tuple)):
            self.flaw(where, "sensitive must be a list of inputs: now all of them are")
            return frozenset(inputs)
        for name in names:
            if not isinstance(name, str) or name not in inputs:
                near = did_you_mean(str(name), inputs)
                self.flaw(where, f"sensitive names no input {name!r}{near}: now all of them are")
                return frozenset(inputs)
        return frozenset(names)

    def times(
        self, ours: Mapping[str, Any], outputs: Mapping[str, Any], where: str
    ) -> frozenset[str]:
        """The outputs that are moments, or paths into their hashes; of one that is not there none is."""
        names = self.sequence(ours, "times", where)
        for name in names:
            if not isinstance(name, str) or name.partition(".")[0] not in outputs:
                near = did_you_mean(str(name), outputs)
                self.flaw(where, f"times names no output {name!r}{near}, it is left out")
        return frozenset(one for one in map(str, names) if one.partition(".")[0] in outputs)

    def mapping(self, document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
        value = document.get(key) or {}
        if isinstance(value, Mapping):
            return value
        self.flaw(where, f"{key} must be an object, it is left out")
        return {}

    def sequence(self, document: Mapping[str, Any], key: str, where: str) -> list[Any]:
        value = document.get(key) or []
        if isinstance(value, list):
            return value
        self.flaw(where, f"{key} must be a list, it is left out")
        return []

    def flag(self, document: Mapping[str, Any], key: str, where: str, *, default: bool) -> bool:
        value = document.get(key)
        if isinstance(value, bool):
            return value
        if value is not None:
            self.flaw(where, f"{key} must be true or false, not {value!r}")
        return default

    def seconds(self, document: Mapping[str, Any], key: str, where: str, default: float) -> float:
        value = document.get(key, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and 0 < value <= _LONGEST:
            return float(value)
        shown = repr(value)[:60]
        self.flaw(where, f"{key} must be a number of seconds, not {shown}: now {default:g} s")
        return default


def _type(document: Mapping[str, Any]) -> tuple[str, str]:
    """A type, and what is wrong with the one that stands there."""
    kind = str(document.get("type") or "any").lower()
    if kind in types.TYPES:
        return kind, ""
    return "any", f"type {kind} is not here{did_you_mean(kind, types.TYPES)}"


def _length(given: Any) -> int | None:
    """A maxlength: a number, or text that is one; None when it is neither."""
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,12}", given):
        return int(given)
    if given is None:
        return 0
    usable = isinstance(given, (int, float)) and not isinstance(given, bool) and given >= 0
    return int(given) if usable and given < float("inf") else None
