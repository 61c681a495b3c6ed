"""How the values of options are read from their words (mcshell/README.md §3)."""

from __future__ import annotations

import argparse
import math

from mcshell import config, plugins
from mcshell.commands import light
from mcshell.errors import did_you_mean

__all__ = [
    "FORMATS",
    "SOURCES",
    "Choice",
    "Form",
    "days",
    "duration",
    "percentage",
    "share",
    "source",
    "whole",
]

FORMATS = ("table", "psql", "github", "vertical", "csv", "tsv", "json", "jsonl", "senders")
_TABULATED = ("psql", "github")
_DIGITS = 20
"""Of a number that is meant; Python makes none of thousands."""
SOURCES = ("broadcast", "inventory", "file", "stdin", "table", "external")


class Choice:
    """One word of several, with "did you mean", which argparse's own `choices` lacks."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __call__(self, text: str) -> str:
        """Read the word; ArgumentTypeError with what was meant when it is none of them."""
        if text in self.known:
            return text
        hint = did_you_mean(text, self.known)
        listed = ", ".join(self.known)
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {listed}{hint}")


class Form(Choice):
    """A format; UsageError where this is a light node, which cannot draw it."""

    def __init__(self) -> None:
        super().__init__(*FORMATS)

    def __call__(self, text: str) -> str:
        """Read the word, as every choice."""
        if super().__call__(text) in _TABULATED:
            light.require("tabulate", f"--format {text}")
        return text


def source(text: str) -> str:
    """A source of targets: one of ours, or a plugin's."""
    return text if text in SOURCES else Choice(*plugins.names("discovery"))(text)


def duration(text: str) -> float:
    """A length of time, in seconds."""
    try:
        return config.read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def days(text: str) -> float:
    """A number of days, such as 7 or 0.5, in seconds."""
    try:
        found = float(text) * 86_400.0
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, as 7 or 0.5")
    return found


def whole(text: str) -> int:
    """A whole number."""
    if text.isdecimal() and len(text) <= _DIGITS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is no whole number")


def listed(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def share(text: str) -> str:
    """A number or a percentage, as it is written."""
    number = text.removesuffix("%")
    if number.isdecimal() and len(number) <= _DIGITS and int(number) > 0:
        return text
    raise argparse.ArgumentTypeError(
        f"{text[:60]!r} is no number or percentage above 0, as 5 or 10%"
    )


def percentage(text: str) -> float:
    """A percentage, as a share of 1."""
    number = text.removesuffix("%")
    if number.isdecimal() and len(number) <= _DIGITS and 0 < int(number) <= 100:  # noqa: PLR2004 - per cent
        return int(number) / 100
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is no percentage from 1% to 100%")
