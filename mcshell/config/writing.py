"""A configuration as text: sections of TOML, made by `config import` and by enrolment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["dump"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dump(settings: Mapping[str, Any]) -> str:
    """Write what stands alone, such as `state`, then sections, and the sections in them.

    Raises:
        ConfigError: a value that TOML does not know.
    """
    alone = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in alone.items()]
    if lines:
        lines.append("")
    for name, one in settings.items():
        if isinstance(one, Mapping):
            lines += _table(_key(name), one)
    return "\n".join(lines)


def _table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner}
    if plain or not inner:
        yield f"[{name}]"
        yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
        yield ""
    for key, value in inner.items():
        yield from _table(f"{name}.{_key(key)}", value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if not isinstance(value, str | bool | int | float):
        raise ConfigError(f"{value!r} is no value of a configuration")
    # TOML's basic strings, booleans and numbers are JSON's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
