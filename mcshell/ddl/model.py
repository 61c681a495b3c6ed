"""A DDL as values: `DDL` → `Action` → `Input` and `Output`. `load` makes them.

The same `Action.check` runs on the client before anything is sent and on the node before anything
is done; checking twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.ddl import types
from mcshell.ddl.aggregates import Aggregate, Spec, compute
from mcshell.errors import (
    DDLError,
    FilterError,
    InputError,
    PluginError,
    UsageError,
    did_you_mean,
)
from mcshell.message import StatusCode
from mcshell.patterns import one_message
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.ddl.validators import Validator

__all__ = ["DDL", "REDACTED", "Action", "Input", "Output", "joint"]

log = logging.getLogger(__name__)

REDACTED: Final = "[redacted]"
"""What stands for a sensitive input in audit, history and display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of an action. `default` None means none; `maxlength` 0 means any length."""

    name: str
    type: str
    description: str = ""
    prompt: str = ""
    optional: bool = False
    default: Any = None
    validation: str | tuple[Any, ...] | None = None
    maxlength: int = 0
    choices: tuple[Any, ...] = ()
    sensitive: bool = False
    rules: tuple[Validator, ...] = field(default=(), repr=False, compare=False)

    def check(self, value: Any) -> Any:
        """Return the value as the declared type; InputError (4) when it is refused."""
        try:
            typed = types.coerce(self.type, value)
        except types.NotOfType as error:
            raise self.refusal(str(error), value) from error
        for rule in self.rules:
            if complaint := rule(typed):
                raise self.refusal(complaint, value)
        return typed

    def from_text(self, text: str) -> Any:
        """Read the value from a command line; InputError (4) when the text is none.

        For a `list` the choice that is written so; for an `any` JSON, else the text.
        """
        for choice in self.choices:
            if types.to_text("list", choice) == text:
                return choice
        try:
            return types.from_text(self.type, text)
        except types.NotOfType as error:
            raise self.refusal(str(error), text) from error

    def to_text(self, value: Any) -> str:
        """Write a value as a command line has it; `from_text` reads it back."""
        return types.to_text(self.type, value)

    def refusal(self, complaint: str, value: Any) -> InputError:
        """Make the error for a value; a sensitive one is not shown."""
        shown = "" if self.sensitive else f": {_short(value)}"
        return InputError(
            f"input {self.name} {complaint}{shown}", self.name, StatusCode.INVALID_DATA
        )


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an action; outputs are described, never coerced."""

    name: str
    type: str = "any"
    description: str = ""
    display_as: str = ""
    default: Any = None

    @property
    def dtype(self) -> str:
        """The pandas dtype of its column (a name: nothing here knows pandas)."""
        return types.DTYPES.get(self.type, "object")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of an agent. `timeout` in seconds; `limits` as under `mcshell` in the DDL.

    `rerun_safe`: running it twice is as good as once. `changes`: it alters the node (assumed of
    an action that does not say). `times`: the outputs that are seconds since the epoch, which a
    reader is shown as times, or paths into their hashes (`processes.started`).
    """

    agent: str
    name: str
    description: str = ""
    display: str = "failed"
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    aggregates: tuple[Spec, ...] = ()
    timeout: float = 10.0
    rerun_safe: bool = False
    changes: bool = True
    sensitive: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The SHA-256, in hexadecimal, of what it takes, does and gives: who approves it means this."""
        described = {
            "action": [self.agent, self.name, self.description],
            "inputs": {
                name: [
                    *(one.type, one.description, one.optional, one.default),
                    *(one.validation, one.maxlength, one.choices, one.sensitive),
                ]
                for name, one in self.inputs.items()
            },
            "outputs": {name: [one.type, one.description] for name, one in self.outputs.items()},
            "mcshell": [self.timeout, self.rerun_safe, self.changes, sorted(self.sensitive)],
        }
        text = json.dumps(described, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def lists(self) -> list[str]:
        """The inputs that are lists: of one alone the words may stand behind `--`."""
        return [name for name, one in self.inputs.items() if one.type == "array"]

    def check(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs typed, validated and with defaults, in DDL order.

        An input that is None counts as not given. A default is filled in whether or not the
        input is optional. Checking what was checked changes nothing.

        Raises:
            InputError: 3 when an input is missing or not declared, 4 when a value is refused.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"inputs of {self._title} must be a hash", "", StatusCode.INVALID_DATA)
        self._declared(data)
        if not self.inputs:
            return {}
        checked: dict[str, Any] = {}
        try:
            with one_message():
                for name, one in self.inputs.items():
                    value = data.get(name)
                    value = one.default if value is None else value
                    if value is not None:
                        checked[name] = one.check(value)
                    elif not one.optional:
                        raise self._missing(one)
        except FilterError as error:
            raise InputError(f"{self._title}: {error}", "", StatusCode.INVALID_DATA) from error
        return checked

    def _missing(self, one: Input) -> InputError:
        hint = f" ({one.description})" if one.description else ""
        text = f"{self._title} needs the input {one.name}{hint}"
        return InputError(text, one.name, StatusCode.MISSING_DATA)

    def convert(self, pairs: Mapping[str, Any]) -> dict[str, Any]:
        """Turn text of a line or document into typed values, without asking whether all are there.

        What is no text is a value already.

        Raises InputError: 3 for an input that is not declared, 4 for text that is no value.
        """
        self._declared(pairs)
        return {
            name: self.inputs[name].from_text(text) if isinstance(text, str) else text
            for name, text in pairs.items()
        }

    def from_text(self, pairs: Mapping[str, Any]) -> dict[str, Any]:
        """Turn text of a line or document into checked inputs: `convert`, then `check`."""
        return self.check(self.convert(pairs))

    def redact(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs with sensitive ones hidden, for audit, history and display.

        Where something is sensitive, so is what is not declared: it may be a slip of the name.
        """
        if not self.sensitive:
            return dict(data)
        return {
            name: REDACTED if name in self.sensitive or name not in self.inputs else value
            for name, value in data.items()
        }

    def aggregate(self, rows: Iterable[Mapping[str, Any]]) -> list[Aggregate]:
        """Compute the DDL's summaries over the data of the replies that are ok."""
        if not self.aggregates:
            return []
        gathered = list(rows)
        computed = []
        for spec in self.aggregates:
            output = self.outputs.get(spec.output)
            title = (output.display_as if output else "") or spec.output
            try:
                computed.append(compute(spec, title, gathered))
            except (DDLError, PluginError) as error:
                log.warning("no summary of %s: %s", title, error)
        return [one for one in computed if one is not None]

    @property
    def _title(self) -> str:
        return f"{self.agent}.{self.name}"

    def _declared(self, names: Iterable[Any]) -> None:
        for name in names:
            if name not in self.inputs:
                near = did_you_mean(str(name), self.inputs)
                known = near or f": it takes {', '.join(self.inputs) or 'none'}"
                raise InputError(
                    f"{self._title} has no input {_short(name)}{known}",
                    str(name),
                    StatusCode.MISSING_DATA,
                )


@dataclass(frozen=True, slots=True)
class DDL:
    """An agent's schema; `path` is the file it came from, or nothing.

    `flaws` are the parts that cannot be used, a line each.
    """

    name: str
    metadata: Mapping[str, Any]
    actions: Mapping[str, Action]
    path: str = ""
    flaws: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Its version, or nothing."""
        return str(self.metadata.get("version", ""))

    @property
    def timeout(self) -> float:
        """Seconds that an action may take, unless it says otherwise."""
        return float(self.metadata["timeout"])

    def action(self, name: str) -> Action:
        """Return an action; UsageError with what was meant when there is none."""
        if name not in self.actions:
            near = did_you_mean(name, self.actions) or f": it has {', '.join(self.actions)}"
            raise UsageError(f"agent {self.name} has no action {_short(name)}{near}")
        return self.actions[name]


def joint(actions: Sequence[Action]) -> Action:
    """One action that stands for the same of several schemas: all inputs and outputs, the first's first.

    It is as secret as the most secret, and as able to change a node as the most able.
    """
    first, *others = actions
    if not others:
        return first
    inputs = {name: one for action in reversed(actions) for name, one in action.inputs.items()}
    outputs: dict[str, Output] = {}
    for action in actions:
        for name, one in action.outputs.items():
            known = outputs.setdefault(name, one)
            if known.type != one.type:
                outputs[name] = replace(known, type="any")
    return replace(
        first,
        inputs={name: inputs[name] for action in actions for name in action.inputs},
        outputs=outputs,
        aggregates=tuple({repr(one): one for of in actions for one in of.aggregates}.values()),
        timeout=max(action.timeout for action in actions),
        rerun_safe=all(action.rerun_safe for action in actions),
        changes=any(action.changes for action in actions),
        sensitive=frozenset().union(*(action.sensitive for action in actions)),
        times=frozenset().union(*(action.times for action in actions)),
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - half a line
