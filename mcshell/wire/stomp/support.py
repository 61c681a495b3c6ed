"""Which series of the brokers are supported by their makers, and with which mcshell was tried.

What is not in the table is no error: a newer series most likely speaks as the one before it. As of
November 2026, by the projects' own pages and endoflife.date.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["caution"]


@dataclass(frozen=True, slots=True)
class _Series:
    """`ended` is when the makers' support ended (None: it has not), `tried` whether tests ran on it."""

    ended: date | None = None
    tried: bool = False


_SERIES: Final[Mapping[str, Mapping[tuple[int, int], _Series]]] = {
    "RabbitMQ": {
        (3, 10): _Series(date(2023, 7, 31), tried=True),
        (3, 11): _Series(date(2023, 12, 31)),
        (3, 12): _Series(date(2024, 6, 30)),
        (3, 13): _Series(date(2024, 9, 17)),
        (4, 0): _Series(date(2025, 4, 15), tried=True),
        (4, 1): _Series(date(2026, 1, 30)),
        (4, 2): _Series(date(2026, 7, 31)),
        (4, 3): _Series(tried=True),
    },
    "ActiveMQ": {
        (5, 17): _Series(date(2024, 4, 12), tried=True),
        (5, 18): _Series(date(2025, 3, 11)),
        (5, 19): _Series(),
        (6, 0): _Series(date(2024, 3, 17)),
        (6, 1): _Series(),
        (6, 2): _Series(),
        (6, 3): _Series(),
    },
}
_SERVER: Final = re.compile(r"(?P<name>[^/\s]+)/(?P<version>(?P<major>\d+)\.(?P<minor>\d+)\S*)")
_UNTRIED: Final = "mcshell was not tried with"


def caution(server: str, today: date) -> str:
    """What is to be said of a broker by the `server` header of its CONNECTED, in one line.

    Nothing of one that is supported and was tried, nor of mcshell's own.
    """
    name = server.partition("/")[0]
    known = _SERIES.get(name)
    if known is None:
        return ""
    match = _SERVER.match(server)
    if match is None:
        return f"{name} does not say its version: {_UNTRIED} it"
    what, number = f"{name} {match['version']}", (int(match["major"]), int(match["minor"]))
    series = known.get(number)
    if series is None:
        return f"{what} is too old" if number < min(known) else f"{_UNTRIED} {what}"
    said = []
    if series.ended is not None and series.ended < today:
        said.append(f"{what} is out of support since {series.ended}")
    if not series.tried:
        said.append(f"{_UNTRIED} {name} {number[0]}.{number[1]}")
    return "; ".join(said)
