"""Programs that say something: words, who and where the machine is."""

from __future__ import annotations

import re
from typing import Final

from mcshell.node.emulator.programs.program import PROGRAMS, ProgramCall, Said, program


@program("true", ":")
def _true(_run: ProgramCall) -> Said:
    return Said()


@program("false")
def _false(_run: ProgramCall) -> Said:
    return Said(code=1)


@program("echo")
def _echo(run: ProgramCall) -> Said:
    words = run.words[1:]
    end = "\n"
    if words[:1] == ["-n"]:
        words, end = words[1:], ""
    return Said(" ".join(words) + end)


_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", "r": "\r", "0": "\0"}


@program("printf")
def _printf(run: ProgramCall) -> Said:
    """The format again and again until the words are used up, as printf(1) does."""
    if len(run.words) == 1:
        return run.fails("missing operand")
    form = re.sub(r"\\([nt\\r0])", lambda found: _ESCAPES[found[1]], run.words[1])
    words, said = run.words[2:], []
    while True:
        before = len(words)

        def take(found: re.Match[str]) -> str:
            if found[0] == "%%":
                return "%"
            word = words.pop(0) if words else ""
            if found[1][-1:] in "di":
                return found[0].replace("i", "d") % int(word or 0)
            return found[0] % word

        said.append(re.sub(r"%%|%(-?\d*(?:\.\d+)?[sdi])", take, form))
        if not words or len(words) == before:
            return Said("".join(said))


@program("help")
def _help(_run: ProgramCall) -> Said:
    return Said(f"an emulated machine pretends to have: {' '.join(sorted(PROGRAMS))}, and sh -c\n")


@program("sleep")
def _sleep(run: ProgramCall) -> Said:
    try:
        seconds = float(run.words[1].rstrip("s"))
    except (IndexError, ValueError):
        return run.fails("a number of seconds is meant")
    return Said(code=143) if run.wait(seconds) else Said()


@program("env", "printenv")
def _env(run: ProgramCall) -> Said:
    found = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **run.env}
    if run.words[1:2] and run.name == "printenv":
        return Said(f"{found[run.words[1]]}\n") if run.words[1] in found else Said(code=1)
    return Said("".join(f"{key}={value}\n" for key, value in found.items()))
