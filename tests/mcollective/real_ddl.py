"""MCollective's own DDL reader in a Ruby child, and what it understood as our document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcshell.patterns import ruby as patterns
from tests.mcollective.ruby import RubyChild

HERE = Path(__file__)


class RealDDL(RubyChild):
    """MCollective's DDL classes in a Ruby child."""

    def __init__(self, folder: Path) -> None:
        config = folder / "ddl.cfg"
        config.write_text(
            "libdir = /usr/share/mcollective/plugins\nidentity = here\n"
            "logger_type = console\nloglevel = fatal\nsecurityprovider = psk\n"
        )
        super().__init__(HERE.with_name("ddl.rb"), config)

    def read(self, text: str, kind: str = "agent") -> dict[str, Any]:
        """What MCollective understands of a file."""
        return self._ask({"name": "x", "type": kind, "text": text})


def plain(value: Any) -> Any:
    """What the Ruby side shows, with symbols as text."""
    if isinstance(value, dict):
        if set(value) == {"symbol"}:
            return value["symbol"]
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def theirs(answer: dict[str, Any]) -> dict[str, Any]:
    """Our document, made of what MCollective understood; written without our reader."""
    meta = plain(answer["meta"])
    document: dict[str, Any] = {"metadata": meta}
    if answer["requirements"]:
        document["requires"] = answer["requirements"]
    if answer["usage"]:
        document["usage"] = answer["usage"]
    entities = answer["entities"]
    if "discovery" in entities:
        document["discovery"] = plain(entities["discovery"])
    elif "data" in entities:
        data = entities["data"]
        document["data"] = {"description": data["description"], **interface(data)}
    elif entities:
        document["actions"] = [action(one) for one in entities.values()]
    return document


def action(entity: dict[str, Any]) -> dict[str, Any]:
    """One action of theirs as ours."""
    made = {
        "action": plain(entity["action"]),
        "description": entity["description"],
        "display": plain(entity["display"]),
        **interface(entity),
    }
    for one in entity.get("aggregate", []):
        output, *more = plain(one["args"])
        options = more[0] if more else {}
        form = options.pop("format", one.get("format"))
        arguments = [output, options] if options else [output]
        aggregate = {"function": plain(one["function"]), "args": arguments}
        if form is not None:
            aggregate["format"] = form
        made.setdefault("aggregate", []).append(aggregate)
    return made


def interface(entity: dict[str, Any]) -> dict[str, Any]:
    """Inputs and outputs of theirs as ours."""
    inputs = {name: input_of(one) for name, one in entity["input"].items()}
    outputs = {
        name: {key: one for key, one in output.items() if one is not None}
        for name, output in plain(entity["output"]).items()
    }
    return {"input": inputs, "output": outputs}


def input_of(one: dict[str, Any]) -> dict[str, Any]:
    """One input of theirs as ours."""
    made = {key: plain(one[key]) for key in ("prompt", "description", "type", "list") if key in one}
    made["optional"] = bool(one["optional"])
    if made["type"].lower() in ("array", "hash", "any"):
        made["type"] = made["type"].lower()
    elif made["type"] == "string":
        made["maxlength"] = int(one["maxlength"])
        given = one["validation"]
        if isinstance(given, str):
            made["validation"] = patterns.from_ruby(given)
        elif isinstance(given, dict) and "regexp" in given:
            flags = "".join(
                flag for bit, flag in ((1, "i"), (2, "x"), (4, "m")) if given["options"] & bit
            )
            made["validation"] = patterns.from_ruby(given["regexp"], flags)
        else:
            made["validation"] = plain(given)
    elif made["type"] not in ("integer", "float", "number", "boolean", "list"):
        made |= {"validation": made["type"], "type": "string", "maxlength": 0}
    if one["default"] is not None:
        made["default"] = plain(one["default"])
    return made
