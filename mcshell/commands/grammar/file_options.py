"""What the line `cp` says."""

from __future__ import annotations

import argparse

from mcshell.commands.grammar.arguments import Words, flag, option, seconds, word
from mcshell.commands.grammar.options import OutputOptions, TargetsOptions, UnaskedOptions
from mcshell.commands.grammar.values import Choice
from mcshell.config.readers import read_rate


def rate(text: str) -> float:
    """Bytes a second, such as 500k or 10M; ArgumentTypeError for anything else."""
    try:
        return read_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
