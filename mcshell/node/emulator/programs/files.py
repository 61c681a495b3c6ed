"""Programs that read and write files."""

from __future__ import annotations

import hashlib
import re
import stat
import time
from typing import Final

from mcshell.node.emulator.programs.program import ProgramCall, Said, program

_GIB: Final = 1 << 30


def _read(run: ProgramCall) -> bytes:
    """What the operands hold, else what comes in; OSError."""
    run.machine.grow(run.now)
    paths = [run.path(one) for one in run.operands if one != "-"]
    return b"".join(run.machine.files.at(path).content for path in paths) if paths else run.stdin


@program("cat")
def _cat(run: ProgramCall) -> Said:
    return Said(_read(run))


@program("head", "tail")
def _ends(run: ProgramCall) -> Said:
    words, count, rest = iter(run.words[1:]), 10, []
    for word in words:
        if word == "-n":
            count = int(next(words, "10"))
        elif re.fullmatch(r"-n?\d+", word):
            count = int(word.lstrip("-n"))
        elif not word.startswith("-"):
            rest.append(word)
    lines = _read(run.instead(run.name, *rest)).splitlines(keepends=True)
    return Said(b"".join(lines[:count] if run.name == "head" else lines[-count:] if count else []))


@program("wc")
def _wc(run: ProgramCall) -> Said:
    data = _read(run)
    found = {"-l": data.count(b"\n"), "-w": len(data.split()), "-c": len(data)}
    return Said(" ".join(str(found[one]) for one in run.options or found if one in found) + "\n")


@program("sort", "uniq")
def _lines(run: ProgramCall) -> Said:
    lines = _read(run).decode(errors="replace").splitlines()
    if run.name == "sort":
        return Said("".join(f"{one}\n" for one in sorted(lines, reverse="-r" in run.options)))
    kept = [one for place, one in enumerate(lines) if place == 0 or lines[place - 1] != one]
    return Said("".join(f"{one}\n" for one in kept))


@program("grep")
def _grep(run: ProgramCall) -> Said:
    if not run.operands:
        return run.fails("a pattern is meant", 2)
    pattern, *files = run.operands
    letters = set("".join(run.options).replace("-", ""))
    lines = _read(run.instead("grep", *files)).decode(errors="replace").splitlines()
    wanted = pattern.lower() if "i" in letters else pattern
    # As plain text: a pattern of a message is run by nobody's `re` here.
    found = [
        one
        for one in lines
        if (wanted in (one.lower() if "i" in letters else one)) is not ("v" in letters)
    ]
    said = f"{len(found)}\n" if "c" in letters else "".join(f"{one}\n" for one in found)
    return Said("" if "q" in letters else said, code=0 if found else 1)


@program("ls")
def _ls(run: ProgramCall) -> Said:
    files, lines = run.machine.files, []
    for word in run.operands or ["."]:
        path = run.path(word)
        folder = stat.S_ISDIR(files.at(path).mode)
        for name in files.names(path) if folder else [path]:
            file = files.at(f"{path.rstrip('/')}/{name}" if folder else path, follow=False)
            if any("l" in one for one in run.options):
                when = time.strftime("%b %e %H:%M", time.gmtime(file.mtime))
                size = f"{stat.filemode(file.mode)} {file.uid:>5} {file.size:>12} {when}"
                lines.append(f"{size} {name}" + (f" -> {file.link}" if file.link else ""))
            else:
                lines.append(name)
    return Said("".join(f"{line}\n" for line in lines))


@program("stat", "sha256sum", "md5sum", "du")
def _about(run: ProgramCall) -> Said:
    lines, files = [], run.machine.files
    for word in run.operands:
        file = files.at(run.path(word))
        if run.name == "du":
            size = files.padding_below(run.path(word)) or file.size
            lines.append(f"{size // _GIB}G\t{word}" if size >= _GIB else f"{size // 1024}K\t{word}")
        elif run.name == "stat":
            kind = stat.filemode(file.mode)
            lines.append(f"  File: {word}\n  Size: {file.size}\tAccess: ({kind})\tUid: {file.uid}")
        else:
            made = hashlib.new(run.name[:-3], file.content, usedforsecurity=False)
            lines.append(f"{made.hexdigest()}  {word}")
    return Said("".join(f"{line}\n" for line in lines))


@program("rm", "touch", "mkdir", "truncate", "tee")
def _write(run: ProgramCall) -> Said:
    files, paths = run.machine.files, [run.path(one) for one in run.operands]
    if run.name == "truncate":
        paths = paths[-1:]
    for path in paths:
        if run.name == "rm":
            if files.exists(path) or "-f" not in run.options:
                files.remove(path)
        elif run.machine.full and path.startswith("/var/") and run.name != "truncate":
            return run.fails(f"{path}: No space left on device")
        elif run.name == "mkdir":
            files.add_folder(path, at=run.now)
        elif run.name == "touch":
            files.append(path, "", at=run.now)
        else:
            files.add(
                path, run.stdin.decode(errors="replace") if run.name == "tee" else "", at=run.now
            )
    return Said(run.stdin if run.name == "tee" else "")


@program("journalctl", "dmesg")
def _journalctl(run: ProgramCall) -> Said:
    text = run.machine.files.at(run.machine.syslog).content.decode()
    lines, words = text.splitlines(), run.words
    unit = next((words[place + 1] for place, one in enumerate(words[:-1]) if one == "-u"), "")
    count = next((words[place + 1] for place, one in enumerate(words[:-1]) if one == "-n"), "")
    lines = [one for one in lines if unit.removesuffix(".service") in one]
    return Said("".join(f"{one}\n" for one in lines[-int(count) if count.isdecimal() else 0 :]))
