"""JSON with one meaning only, in both directions.

Reading refuses what two readers could take differently (a key twice, NaN, lone surrogates) and
what costs more than its bytes (deep nesting, long numbers). Writing makes nothing that reading
refuses, so what a node signs can be read by all.

Bytes travel as `{"$base64": "…"}`. A dict of the user's whose only key begins with `$` gets one
more `$`, so that every value comes back as it was. (A whole number as a key, which YAML facts
have, becomes its text.)
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import orjson

from mcshell.errors import Reason, Rejected

__all__ = ["MAX_DEPTH", "Unwritable", "canonical", "dumps", "loads"]

MAX_DEPTH: Final = 32
# What a signed or an unsigned 64-bit column holds.
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
_DIGITS: Final = 20
_CONTAINERS: Final = frozenset({dict, list})

# A string, its end optional: an unterminated one is consumed at once, so the scan stays linear.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
# Only where one of these stands, once every digit is a 0, can a number be longer or larger than we
# take; elsewhere C reads the numbers. (As a regex this costs more than the parsing.)
_ZEROS: Final = bytes.maketrans(b"123456789E", b"000000000e")
_SUSPECT_NUMBERS: Final = (b"0" * 20, b"-" + b"0" * 19, b"0e000", b"0e+000")
_SUSPECT_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class Unwritable(ValueError):
    """A value that JSON cannot carry, with where it stands in the document."""


def loads(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read a document.

    Raises:
        Rejected: NOT_JSON, TOO_DEEP, or MALFORMED for JSON that has more than one reading.
    """
    document = _read_plain(body, max_depth)
    return _read_carefully(body, max_depth) if document is None else document


def _read_plain(body: bytes, max_depth: int) -> Any:
    """An object of which nobody can take anything differently; None where that wants a look.

    Written again it is the same bytes: so no key came twice and no number was rounded.
    """
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    if type(document) is not dict or (b"$" in body and b'{"$' in body):
        return None
    if _opens_more(body, max_depth) and not _is_within(document, max_depth):
        return None
    return document if orjson.dumps(document) == body else None


def _opens_more(body: bytes, most: int) -> bool:
    """Whether there are more opening brackets than so many; no further than they are looked for."""
    count = 0
    for bracket in (b"{", b"["):
        at = body.find(bracket)
        while at >= 0:
            count += 1
            if count > most:
                return True
            at = body.find(bracket, at + 1)
    return False


def _is_within(document: dict[str, Any], depth: int) -> bool:
    """Whether no more levels are open anywhere than so many."""
    level: list[Any] = [document]
    for _ in range(depth):
        deeper: list[Any] = []
        for one in level:
            parts = one.values() if type(one) is dict else one
            if not _CONTAINERS.isdisjoint(map(type, parts)):
                deeper += [part for part in parts if type(part) in _CONTAINERS]
        if not deeper:
            return True
        level = deeper
    return False


def _read_carefully(body: bytes, max_depth: int) -> Any:
    if _too_deep(body, max_depth):
        raise Rejected(Reason.TOO_DEEP, f"nested more than {max_depth} levels")
    zeros = body.translate(_ZEROS)
    decoder = _CAREFUL if any(suspect in zeros for suspect in _SUSPECT_NUMBERS) else _DECODER
    try:
        document = decoder.decode(body.decode("utf-8"))
        if _SUSPECT_ESCAPE.search(body):
            _refuse_surrogates(document)
    except UnicodeDecodeError as error:
        raise Rejected(Reason.NOT_JSON, f"not UTF-8: {error.reason}") from None
    except UnicodeEncodeError:
        raise Rejected(Reason.MALFORMED, "half of a surrogate pair") from None
    except RecursionError:
        raise Rejected(Reason.TOO_DEEP, "nested too deeply") from None
    except ValueError as error:
        raise Rejected(Reason.NOT_JSON, str(error)[:120]) from None
    return document


def dumps(document: Any, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Write a document; raises Unwritable with the place of what does not fit."""
    plain = document if _is_plain(document, max_depth) else _plain(document, max_depth, "")
    try:
        return orjson.dumps(plain)
    except TypeError:
        # Names from the file system may hold bytes that are no text: these travel as bytes.
        return orjson.dumps(_plain(_rescued(document), max_depth, ""))


def canonical(document: Any) -> str:
    """The one text, in ASCII, of all values that travel as this one does; raises Unwritable."""
    return json.dumps(json.loads(dumps(document)), sort_keys=True)


def _too_deep(body: bytes, limit: int) -> bool:
    if not _opens_more(body, limit):
        return False
    brackets = _STRING.sub(b"", body).translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    # What never closes is no JSON, and for the parser to say, if it opens no more than it may.
    return brackets.count(b"[") > limit or b"[]" in brackets


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add's None goes on to the next
        raise Rejected(Reason.MALFORMED, f"the key {twice[:80]!r} twice")
    if len(pairs) == 1 and pairs[0][0].startswith("$"):
        return _unescaped(*pairs[0])
    return document


def _unescaped(key: str, value: Any) -> Any:
    if key == "$base64":
        try:
            return binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
        except (ValueError, AttributeError):
            raise Rejected(Reason.MALFORMED, "$base64 without base64") from None
    return {key[1:]: value} if key.startswith("$$") else {key: value}


def _constant(name: str) -> NoReturn:
    raise Rejected(Reason.NOT_JSON, f"{name} is no JSON")


def _integer(text: str) -> int:
    if len(text) <= _DIGITS + 1:
        number = int(text)
        if _LEAST <= number <= _MOST:
            return number
    raise Rejected(Reason.MALFORMED, f"the number {text[:24]}… needs more than 64 bits")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Rejected(Reason.MALFORMED, f"the number {text[:24]} is infinite")
    return number


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
_CAREFUL: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, part in value.items():
            key.encode("utf-8")
            _refuse_surrogates(part)
    elif isinstance(value, list):
        for part in value:
            _refuse_surrogates(part)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether json writes a value as it is; what `_plain` has to say about others costs more."""
    kind = type(value)
    if kind is dict and depth > 0:
        for key, part in value.items():
            if type(key) is not str or not (type(part) is str or _is_plain(part, depth - 1)):
                return False
        return len(value) != 1 or not next(iter(value)).startswith("$")
    if kind is list and depth > 0:
        return all(_is_plain(part, depth - 1) for part in value)
    if kind is int:
        return bool(_LEAST <= value <= _MOST)
    if kind is float:
        return math.isfinite(value)
    return kind is str or kind is bool or value is None


def _plain(value: Any, depth: int, where: str) -> Any:
    """Turn a value into what json writes as it is, or say where it cannot."""
    if value is None or value is True or value is False or isinstance(value, str):
        return value
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise Unwritable(f"{where or 'it'}: an integer of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unwritable(f"{where or 'it'}: {value} is no number that JSON has")
        return float(value)
    if depth <= 0:
        raise Unwritable(f"{where[:80] or 'it'}: nested too deeply, or in itself")
    if isinstance(value, (dict, Mapping)):  # a dict is told from its type, the others are asked
        return _plain_mapping(value, depth, where)
    if isinstance(value, list | tuple):
        return [_plain(part, depth - 1, f"{where}[]") for part in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$base64": binascii.b2a_base64(value, newline=False).decode("ascii")}
    raise Unwritable(f"{where or 'it'}: a {type(value).__name__} does not travel")


def _plain_mapping(value: Mapping[Any, Any], depth: int, where: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, part in value.items():
        name = str(key) if isinstance(key, int) and not isinstance(key, bool) else key
        if not isinstance(name, str):
            raise Unwritable(f"{where or 'it'}: the key {key!r} is no string")
        if name in plain:
            raise Unwritable(f"{where or 'it'}: the key {name!r} twice, as text and as a number")
        plain[name] = _plain(part, depth - 1, f"{where}.{name}" if where else name)
    if len(plain) == 1:
        (key,) = plain
        if key.startswith("$"):
            return {f"${key}": plain[key]}
    return plain


def _rescued(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return _raw(value)
        return value
    if isinstance(value, Mapping):
        return {_rescued_key(key): _rescued(part) for key, part in value.items()}
    return [_rescued(part) for part in value] if isinstance(value, list | tuple) else value


def _raw(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _rescued_key(key: Any) -> Any:
    try:
        str(key).encode("utf-8")
    except UnicodeEncodeError:
        raise Unwritable(f"the key {key!r} is no text") from None
    return key
