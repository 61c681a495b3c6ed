"""What the role turns its variables into: settings into TOML, a folder into the files that it holds."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FilterModule", "folder_files", "to_toml"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(document: Mapping[str, Any]) -> str:
    """Settings as TOML: whatever is in a value stays in that value; what is None is left out.

    Raises:
        AnsibleFilterError: a value that TOML has no form for.
    """
    entries = {key: value for key, value in document.items() if value is not None}
    tables = {key: value for key, value in entries.items() if isinstance(value, Mapping)}
    lines = [_entry(key, value) for key, value in entries.items() if key not in tables]
    for name, table in tables.items():
        lines.append(f"\n[{_key(name)}]" if lines else f"[{_key(name)}]")
        lines += [_entry(key, value) for key, value in table.items() if value is not None]
    return "".join(f"{line}\n" for line in lines)


def _entry(key: Any, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}"


def _key(key: Any) -> str:
    return str(key) if _BARE.fullmatch(str(key)) else _text(str(key))


def _value(value: Any) -> str:
    """A value on one line; a table in a table is an inline one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inside = ", ".join(_entry(k, v) for k, v in value.items() if v is not None)
        return f"{{{inside}}}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return f"[{', '.join(_value(one) for one in value)}]"
    raise AnsibleFilterError(f"TOML has no form for {value!r}")


def _text(text: str) -> str:
    """A basic string: JSON's, but that TOML wants DEL escaped and knows no halves of a pair."""
    if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise AnsibleFilterError(f"TOML has no form for {text!r}")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def folder_files(folder: str, prefix: str, base: str = "") -> dict[str, Any]:
    """Every file of a folder of the controller (none of ''): `files`, base64 by `PREFIX/PATH`; which are `executable`.

    A folder that does not begin with / is one in `base`. Compiled Python and hidden files stay here.

    Raises:
        AnsibleFilterError: it cannot be read.
    """
    if not folder:
        return {"files": {}, "executable": []}
    top = Path(base) / folder
    if not top.is_dir():
        raise AnsibleFilterError(f"{top} is no folder of the controller")
    paths = [path for path in sorted(top.rglob("*")) if path.is_file() and _shown(path, top)]
    try:
        texts = {_place(path, top, prefix): base64.b64encode(path.read_bytes()) for path in paths}
    except OSError as error:
        raise AnsibleFilterError(f"{error.filename}: {error.strerror}") from error
    executable = [_place(path, top, prefix) for path in paths if os.access(path, os.X_OK)]
    files = {place: text.decode("ascii") for place, text in texts.items()}
    return {"files": files, "executable": executable}


def _place(path: Path, top: Path, prefix: str) -> str:
    return f"{prefix}/{path.relative_to(top).as_posix()}"


def _shown(path: Path, top: Path) -> bool:
    return not any(
        one.startswith(".") or one == "__pycache__" for one in path.relative_to(top).parts
    )


class FilterModule:
    """Where Ansible looks for filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By the names that the role's files use."""
        return {"mcshell_toml": to_toml, "mcshell_files": folder_files}
