"""What the line `cp` says."""

from __future__ import annotations

import argparse
import re

from mcshell.commands.grammar.arguments import Words, flag, option, seconds, word
from mcshell.commands.grammar.options import OutputOptions, TargetsOptions, UnaskedOptions
from mcshell.commands.grammar.values import Choice

_RATE = re.compile(r"([0-9]{1,12})([kMG]?)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def rate(text: str) -> float:
    """Bytes a second, such as 500k or 10M; ArgumentTypeError for anything else."""
    found = _RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes a second, as 500k or 10M")
    return float(int(found[1]) * _UNITS[found[2]])


class CopyOptions(TargetsOptions, UnaskedOptions, OutputOptions):
    places: Words = word(
        "PLACE",
        "SOURCE… NODE:PATH, or NODE:PATH DIR; NODE as -I has it, or nothing where -F and its like say "
        "which; a PATH with / at its end is a folder",
        nargs="+",
    )
    mode: str | None = option("--mode MODE", "permissions, such as 0644 (default: as before)")
    owner: str | None = option("--owner USER", "who has it (default: as before)")
    group: str | None = option("--group GROUP", "its group (default: as before)")
    rate: float | None = option("--rate BYTES", "so many a second over all nodes: 10M", type=rate)
    noop: bool = flag("--noop", "change nothing, say what would be")
    via: str | None = option(
        "--via WAY", "queue: for nodes that may be down", type=Choice("direct", "queue")
    )
    ttl: float | None = seconds("--ttl TIME", "how long what is queued is worth writing")
    background: bool = flag("-b --background", "with --via queue: leave once the broker has it")
