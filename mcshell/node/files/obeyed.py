"""What a node obeys, and what it has noted: whoever may write files writes none of these.

Else who may `file.put` below a folder that these lie in could allow himself all the rest.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.config import Settings

__all__ = ["is_among", "is_obeyed", "obeyed_paths", "secret_paths"]


def obeyed_paths(settings: Settings) -> tuple[Path, ...]:
    """All files and folders that the configuration names, and itself; of patterns the folder."""
    sections = (settings.broker, settings.pki, settings.node, settings.mcollective)
    named = {path for section in sections for path in _named(section)}
    named |= {_folder(pattern) for pattern in settings.node.facts}
    return (*sorted(named), *(path for path in (settings.path,) if path is not None))


def secret_paths(settings: Settings) -> tuple[Path, ...]:
    """Keys and passcodes, which no agent reads either."""
    mcollective = settings.mcollective
    named = (
        *(settings.pki.key, settings.broker.key, settings.broker.passcode_file),
        *(mcollective.passcode_file, mcollective.tls_key, mcollective.psk_file),
        mcollective.private,
    )
    return tuple(path for path in named if isinstance(path, Path))


def is_among(path: str, places: Iterable[Path]) -> bool:
    """Whether a path leads to one of these (resolved), below it, or to a log of its that was rotated."""
    real = Path(path).resolve()
    above = {real, *real.parents}
    return any(place in above or _is_rotated(real, place) for place in places)


def is_obeyed(path: str, places: Iterable[Path]) -> bool:
    """As `is_among`, and whether a link in one of these leads to it, or Python loads the daemon from there."""
    places = tuple(places)
    return is_among(path, chain(places, _code(), _linked(places)))


@cache
def _code() -> tuple[Path, ...]:
    """Whence this process has its code: what is put there runs as the node, at its next start or sooner."""
    return tuple(Path(place).resolve() for place in (*sys.path, sys.executable) if place)


def _linked(places: Iterable[Path]) -> Iterator[Path]:
    """Whither the links lead that lie in these folders, or one below: a policy, an agent, a handler."""
    for place in places:
        for entry in _entries(place):
            inner = () if entry.is_file(follow_symlinks=False) else _entries(entry.path)
            for found in (entry, *inner):
                if found.is_symlink():
                    with suppress(OSError, RuntimeError):  # it leads nowhere, or in a circle
                        yield Path(found.path).resolve()


def _entries(folder: Path | str) -> tuple[os.DirEntry[str], ...]:
    """What a folder holds, for this is asked at each chunk of a file; of what is none, nothing."""
    try:
        with os.scandir(folder) as found:
            return tuple(found)
    except OSError:
        return ()


def _is_rotated(real: Path, place: Path) -> bool:
    """Whether a path is named after a file: beside a folder, others may have names like its own."""
    return str(real).startswith((f"{place}.", f"{place}-")) and not place.is_dir()


def _named(section: object) -> Iterator[Path]:
    assert dataclasses.is_dataclass(section)
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path):
                yield one


def _folder(pattern: str) -> Path:
    """A file, or the folder that a pattern's files lie in."""
    return next(
        path for path in (Path(pattern), *Path(pattern).parents) if not glob.has_magic(str(path))
    )
