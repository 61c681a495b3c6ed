"""The `--json` document (mcshell/README.md §3), made of plain values; no pandas here."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    from mcshell.client.rpc.replies import Replies, Row

__all__ = ["document", "dumps", "plain", "row_document"]

# What a terminal may act on or what a UTF-8 stream cannot carry: DEL and C1 controls, the bidi
# controls, line separators, lone surrogates. JSON escapes C0 by itself.
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(value: Any) -> Any:
    """Turn a value into what JSON can carry: bytes to {"$base64"}, sets to lists, NaN to null."""
    match value:
        case None | str() | bool() | int():
            found: Any = value
        case float():
            found = value if math.isfinite(value) else None
        case bytes() | bytearray():
            found = _bytes(bytes(value))
        case Mapping():
            found = {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            found = [plain(inner) for inner in value]
        case set() | frozenset():
            found = sorted((plain(inner) for inner in value), key=str)
        case _:
            found = str(value)
    return found


def _bytes(value: bytes) -> Any:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"$base64": base64.b64encode(value).decode("ascii")}


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write JSON that is harmless on a terminal too."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def row_document(row: Row) -> dict[str, Any]:
    """One target of a request, as in the document's `replies`."""
    return {
        "sender": row.sender,
        "state": str(row.state),
        "statuscode": row.statuscode,
        "statusmsg": row.statusmsg,
        "lag": row.lag,
        "late": row.late,
        "trust": row.trust,
        "data": plain(row.data),
    }


def document(result: Replies | Table) -> Any:
    """The document of a request, or the list of objects of any other verb."""
    if isinstance(result, Table):
        return plain(result.records())
    return {
        "request": {
            "id": result.requestid,
            "agent": result.agent,
            "action": result.action,
            "via": str(result.via),
            "created": result.created,
            "expires": result.expires,
        },
        "stats": plain(result.stats),
        "replies": [row_document(row) for row in result.rows()],
    }
