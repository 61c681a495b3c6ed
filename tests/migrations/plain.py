"""Values as JSON has them, so that what two versions read can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any

# What 67a4456 did not say, and so nobody has said it in a file of its.
NEW = {
    ("Registration", "flaws"),
    ("Registration", "agent_versions"),
    ("Registration", "refused"),
    ("CachedNode", "agent_versions"),
    ("CachedNode", "refused"),
    ("Reply", "machine"),
    ("CachedNode", "flaws"),
    ("RequestRecord", "nonce"),
    ("RequestRecord", "options"),
    ("Request", "nonce"),
    ("Reply", "digest"),
    ("JobRow", "signed"),
}


def plain(value: Any) -> Any:
    """A value of ours without its types; bytes and long texts are their digests."""
    if is_dataclass(value):
        kind = type(value).__name__
        new = [one.name for one in fields(value) if (kind, one.name) in NEW]
        assert all(getattr(value, name) in ("", None, (), {}) for name in new if name != "signed")
        if kind == "JobRow":
            mine = value.author == value.owner and value.body is not None
            assert value.signed == (hashlib.sha256(value.body).hexdigest() if mine else "")
        known = [one.name for one in fields(value) if one.name not in new]
        return {name: plain(getattr(value, name)) for name in known}
    if hasattr(value, "_asdict"):  # a dataclass then, a named tuple since
        value = value._asdict()
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, str | bytes):
        return str(value) if len(value) < 200 and isinstance(value, str) else digest(value)
    return value


def digest(value: str | bytes) -> str:
    """What stands for something long."""
    found = hashlib.sha256(value if isinstance(value, bytes) else value.encode())
    return f"{len(value)} {found.hexdigest()}"
