"""The full check of a DDL, for whoever installs or writes one. It needs jsonschema; nodes do not.

`schema.json` says what the document looks like (Choria's form and our key `mcshell`); what a
schema cannot say is checked here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell import plugins
from mcshell.ddl.aggregates import compute
from mcshell.ddl.load import load
from mcshell.errors import DDLError, InputError, PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.ddl.model import DDL, Action

__all__ = ["check", "schema"]


def check(document: Mapping[str, Any], path: str = "") -> DDL:
    """Check a DDL document in full and return it loaded; DDLError says where it is wrong."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - heavy, and nodes do without
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - as above

    error = best_match(Draft202012Validator(schema()).iter_errors(document))
    if error is not None:
        place = error.json_path.removeprefix("$.") if error.json_path != "$" else "the document"
        message = error.message if len(error.message) <= 200 else f"{error.message[:197]}..."  # noqa: PLR2004 - two lines
        raise DDLError(f"{place}: {message}", path)
    ddl = load(document, path)
    if ddl.flaws:
        raise DDLError(ddl.flaws[0], path)
    for action in ddl.actions.values():
        _defaults(action, path)
        _aggregates(action, path)
    return ddl


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of a DDL."""
    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _defaults(action: Action, path: str) -> None:
    for one in action.inputs.values():
        if one.default is not None:
            try:
                one.check(one.default)
            except InputError as error:
                raise DDLError(f"action {action.name}: the default of {error}", path) from error


def _aggregates(action: Action, path: str) -> None:
    for spec in action.aggregates:
        where = f"action {action.name}, aggregate {spec.function}"
        if spec.output not in action.outputs:
            near = did_you_mean(spec.output, action.outputs)
            raise DDLError(f"{where}: no output {spec.output!r}{near}", path)
        try:
            plugins.find("aggregate", spec.function)
            # One reply with a number and one with a boolean: each function has something to print.
            compute(spec, spec.output, [{spec.output: 1}, {spec.output: True}])
        except (DDLError, PluginError) as error:
            raise DDLError(f"{where}: {error}", path) from error
