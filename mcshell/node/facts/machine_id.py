"""What tells a machine from the next one of the same name: rules are taken once by each.

The system's own id (machine-id(5)) and a token in the node's state, hashed together, since the id
is nobody else's business. A machine that is built again has another: from an image that has its id
baked in by the token, from a copy of the disk by the id.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

from mcshell.errors import ConfigError
from mcshell.storage import is_storage_fault

__all__ = ["hashed", "machine_id"]

_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_ID: Final = re.compile(r"[0-9a-f]{32}")


def machine_id(state: Path) -> str:
    """The id of this machine, 32 hexadecimal digits; `state` is the node's folder.

    Without a token, and on a disk that takes none, it is another one at the next start.

    Raises:
        ConfigError: the token can neither be read nor written.
    """
    return hashed(f"{_system()}/{_token(state / 'machine')}")


def hashed(text: str) -> str:
    """An id made of any text."""
    return hashlib.sha256(f"mcshell machine {text}".encode()).hexdigest()[:32]


def _system() -> str:
    for path in _FILES:
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if _ID.fullmatch(found):
            return found
    return ""


def _token(path: Path) -> str:
    token = secrets.token_hex(16)
    try:
        if path.exists():
            return path.read_text(encoding="ascii").strip()
        draft = path.with_suffix(".new")
        draft.write_text(f"{token}\n", encoding="ascii")
        draft.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        if is_storage_fault(error):
            return token
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
    return token
