"""Reads one setting's value: what a file or the environment gives becomes its type.

Each reader takes the raw value (text, when it came from the environment) and raises ValueError.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.config.sections import KeyReference
from mcshell.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "at_least",
    "one_of",
    "read_count",
    "read_duration",
    "read_flag",
    "read_key",
    "read_metrics_path",
    "read_name",
    "read_names",
    "read_path",
    "read_paths",
    "read_share",
    "read_some_words",
    "read_table",
    "read_text",
    "read_urls",
    "read_words",
    "seconds",
    "size",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_RATES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_RATE = re.compile(r"([0-9]{1,12})([kMG]?)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_SHARE = re.compile(r"\d+%?")
_REFERENCE = re.compile(r"([a-z][a-z0-9+-]+):(.*)", re.DOTALL)
_NAME = re.compile(r"[a-z0-9_-]+")
_LONGEST = 73_050 * 86_400.0
"""Seconds: with 292 years a thread can no longer be told how long to wait."""
_MOST = 2**63 - 1
"""What SQLite and the messages have room for."""
_URL = re.compile(r"stomp(\+ssl)?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(\d{1,5})/?")


def seconds(raw: Any) -> float:
    """Read a duration: a number is seconds, text such as "10s", "1.5s", "1h30m", "180d".

    Raises:
        ValueError: it is neither, or without an end.
    """
    found = _duration(raw)
    if found is None:
        raise ValueError(f"{raw!r} is no duration (such as 10s, 1.5s, 24h or 180d)")
    if found == math.inf:
        raise ValueError("a duration has an end, and no hundreds of digits")
    return found


def read_duration(raw: Any) -> float:
    """Read a duration that a clock and a timer can wait for."""
    if (found := seconds(raw)) <= _LONGEST:
        return found
    raise ValueError(f"{raw!r} is longer than 200 years")


def _duration(raw: Any) -> float | None:
    if isinstance(raw, int | float) and not isinstance(raw, bool) and raw >= 0:
        return math.inf if raw > sys.float_info.max else float(raw)
    if not isinstance(raw, str):
        return None
    text = raw.replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return None


def size(raw: Any) -> int:
    """Read a size: a number is bytes, text such as "1MiB" or "500kB".

    Raises:
        ValueError: it is neither.
    """
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return _held(raw)
    found = _SIZE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found and found[2] in _SIZES:
        return _held(float(found[1]) * _SIZES[found[2]])
    raise ValueError(f"{raw!r} is no size (such as 1MiB, 500kB or a number of bytes)")


def read_rate(text: str) -> float:
    """Bytes a second, such as "500k" or "10M"; ValueError for anything else."""
    found = _RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise ValueError(f"{text!r} is no number of bytes a second, as 500k or 10M")
    return float(int(found[1]) * _RATES[found[2]])


def read_text(raw: Any) -> str:
    """Take text as it is."""
    if isinstance(raw, str):
        return raw
    raise ValueError(f"{raw!r} is not text")


def read_count(raw: Any) -> int:
    """Read a whole number of at least 0."""
    number = int(raw) if isinstance(raw, str) and raw.strip().isdecimal() else raw
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return _held(number)
    raise ValueError(f"{raw!r} is no whole number")


def _held(number: float) -> int:
    """The number, if a machine's 64 bits hold it."""
    if number > _MOST:
        raise ValueError("a number has 64 bits at most")
    return int(number)


def at_least(read: Callable[[Any], float], least: float, meant: str) -> Callable[[Any], float]:
    """Make the reader of a number that must not be less; its `read` is that of any."""
    return _AtLeast(read, least, meant)


class _AtLeast:
    def __init__(self, read: Callable[[Any], float], least: float, meant: str) -> None:
        self.read = read
        self.least = least
        self.meant = meant

    def __call__(self, raw: Any) -> float:
        """Read the number, and refuse one that is less."""
        if (found := self.read(raw)) >= self.least:
            return found
        raise ValueError(f"{raw!r} is less than {self.meant}")


def read_flag(raw: Any) -> bool:
    """Read true or false."""
    found = {"true": True, "false": False}.get(raw) if isinstance(raw, str) else raw
    if isinstance(found, bool):
        return found
    raise ValueError(f"{raw!r} is neither true nor false")


def one_of(words: Sequence[str]) -> Callable[[Any], str]:
    """Make the reader of a word out of a few; its `words` are these."""
    return _WordReader(words)


class _WordReader:
    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def __call__(self, raw: Any) -> str:
        """Take one of the words."""
        if raw in self.words:
            return str(raw)
        listed = ", ".join(self.words)
        raise ValueError(f"{raw!r} is not one of {listed}{did_you_mean(str(raw), self.words)}")


def read_some_words(raw: Any) -> tuple[str, ...]:
    """Read a list of words, at least one."""
    if words := read_words(raw):
        return words
    raise ValueError("none is named")


def read_share(raw: Any) -> str:
    """Read a number or a percentage, as text."""
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if isinstance(text, str) and _SHARE.fullmatch(text):
        return text
    raise ValueError(f"{raw!r} is neither a number nor a percentage")


def read_words(raw: Any) -> tuple[str, ...]:
    """Read a list of words; as text, with commas between them."""
    if isinstance(raw, str):
        return tuple(word for part in raw.split(",") if (word := part.strip()))
    if isinstance(raw, list | tuple) and all(isinstance(word, str) for word in raw):
        return tuple(raw)
    raise ValueError(f"{raw!r} is no list of strings")


def read_name(raw: Any) -> str:
    """Read a name of ours (of a collective, a pool)."""
    if _NAME.fullmatch(read_text(raw)):
        return str(raw)
    raise ValueError(f"{raw!r} is no name (lower-case letters, digits, _ and -)")


def read_names(raw: Any) -> tuple[str, ...]:
    """Read a list of such names."""
    return tuple(read_name(word) for word in read_words(raw))


def read_urls(raw: Any) -> tuple[str, ...]:
    """Read the brokers' addresses, at least one."""
    urls = read_words(raw)
    if not urls:
        raise ValueError("no broker is named")
    for url in urls:
        if not _URL.fullmatch(url):
            raise ValueError(f"{url!r} is no stomp://HOST:PORT or stomp+ssl://HOST:PORT")
    return urls


def read_path(raw: Any) -> Path:
    """Read a path; `~` is the home."""
    try:
        return Path(read_text(raw)).expanduser()
    except RuntimeError:
        raise ValueError(f"{raw!r}: there is no such home") from None


def read_metrics_path(raw: Any) -> Path:
    """Read where a file for Prometheus' textfile collector is to be: it reads no others."""
    path = read_path(raw)
    if path.suffix == ".prom":
        return path
    raise ValueError(f"{raw!r} does not end in .prom: no textfile collector would read it")


def read_key(raw: Any) -> Path | KeyReference:
    """Read where a key is: a path (also as file:PATH), or SCHEME:REST for a `signer` plugin."""
    found = _REFERENCE.fullmatch(read_text(raw))
    if found is None:
        return read_path(raw)
    return read_path(found[2]) if found[1] == "file" else KeyReference(found[1], found[2])


def read_paths(raw: Any) -> tuple[Path, ...]:
    """Read a list of paths."""
    return tuple(read_path(word) for word in read_words(raw))


def read_table(raw: Any) -> dict[str, Any]:
    """Take a table as it is."""
    if isinstance(raw, dict):
        return raw
    raise ValueError(f"{raw!r} is no table")
