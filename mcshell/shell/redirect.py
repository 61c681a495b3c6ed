"""`| command`, `> file` and `>> file` at the end of a line: where its result goes, not the screen."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import subprocess
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from mcshell.commands import light
from mcshell.commands.output.result import Feed, Prose, Result
from mcshell.errors import MachineError, MCShellError, UsageError
from mcshell.shell.output import Screen, show
from mcshell.storage import is_storage_fault
from mcshell.texts import expanded
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    import pandas as pd

    from mcshell.commands.grammar.options import Options
    from mcshell.commands.grammar.reading import Line

__all__ = ["Shower", "shower_of"]

#: What shows a result: (result, the line's options, the screen, the format without one).
Shower: TypeAlias = "Callable[[Result, Options, Screen, str | None], None]"

_FORMS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "github",
}
_FRAMES: Final = {".parquet": "pyarrow", ".xlsx": "xlsxwriter"}
"""What pandas writes, and the package that it needs for it."""
_WHOLE: Final = (".json", *_FRAMES)
"""One document a file: nothing can be added at its end."""
_FOREIGN: Final = re.compile(
    r"\.(7z|arrow|avro|bz2|db|dbf|docx?|dta|feather|gif|gz|h5|hdf5?|html?|ipynb|jpe?g|mdb|np[yz]|od[st]|orc"
    r"|pdf|pickle|pkl|png|pptx?|rar|rds|sas7bdat|sqlite3?|svg|tar|tgz|toml|webp|xls[bm]?|xml|xz|ya?ml"
    r"|zip|zst)"
)
"""What would not be what its name says."""
_NUMBER: Final = re.compile(r"[-+]?\d*\.?\d+%?")


def shower_of(line: Line) -> Shower:
    """What shows a line's result, there where the line says.

    Raises:
        UsageError: nothing stands before its sign, nothing or too much behind, or the file could not be
            written.
    """
    if not line.sign:
        return show
    if not line.words:
        raise UsageError(f"{line.sign}: a line is missing before it")
    return (_to_command if line.sign == "|" else _to_file)(line)


def _to_command(line: Line) -> Shower:
    command = line.rest[0].text
    if not command or command.startswith("#"):
        raise UsageError("|: a command is missing")
    if command[0] in "|&;)":
        raise UsageError(f"|{command[0]}: that is your shell's; a line of ours ends with ; or |")
    return partial(_pipe, command)


def _to_file(line: Line) -> Shower:
    sign = line.sign
    if not line.rest:
        raise UsageError(f"{sign}: a file is missing")
    name, *more = (word.text for word in line.rest)
    if not name:
        raise UsageError(f"{sign}: a file without a name")
    if name[0] in "&|<>()":
        raise UsageError(f"{sign}{name}: a file is meant (./{name} is one)")
    if more:
        hint = "a file or a command, not both" if more[0][:1] in "|>" else "a space is quoted"
        raise UsageError(f"{sign} {name}: {more[0]!r} is one word too many ({hint})")
    if _NUMBER.fullmatch(name):
        raise UsageError(
            f"{sign} {name}: a comparison is quoted, as in 'lag > {name}' (./{name} is the file)"
        )
    target = _File(sign, expanded(name))
    target.check()
    return target.write


def _pipe(command: str, result: Result, options: Options, screen: Screen, form: str | None) -> None:
    screen.out.flush()
    process = subprocess.Popen(  # noqa: S602 - the operator's own words
        command, shell=True, stdin=subprocess.PIPE, text=True, errors="backslashreplace"
    )
    assert process.stdin is not None
    try:
        # A command such as head has read enough before we have written all.
        with contextlib.suppress(BrokenPipeError), process.stdin as out:
            screen = replace(screen, out=cast("TextIO", out), width=None, paged=False)
            show(result, options, screen, form)
    finally:
        process.wait()


@dataclass(frozen=True, slots=True)
class _File:
    """Where a result goes, and whether it is added to what is there."""

    sign: str
    path: Path

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def check(self) -> None:
        """Refuse what could not be written, before anybody is asked."""
        if _FOREIGN.fullmatch(self.suffix):
            known = " ".join((*_FORMS, *_FRAMES))
            raise self._wrong(
                f"{self.suffix} is not written ({known}; a table where it says nothing)"
            )
        if self.sign == ">>" and self.suffix in _WHOLE:
            raise self._wrong(f"a {self.suffix} is one document: .jsonl or .csv can be added to")
        needed = _FRAMES.get(self.suffix)
        if needed:
            light.require("pandas", f"{self.sign} {self.path}")
        if needed and find_spec(needed) is None:
            raise self._wrong(f"needs the package {needed}: pip install {needed}")
        if self.path.is_dir():
            raise self._wrong("that is a folder")
        if not self.path.parent.is_dir():
            raise self._wrong("there is no such folder")
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise self._wrong("it cannot be written")

    def write(self, result: Result, options: Options, screen: Screen, form: str | None) -> None:
        """Write a result as the name says.

        Raises:
            MachineError: the disk takes nothing.
            UsageError: all else that keeps it from being written there.
        """
        try:
            if self.suffix in _FRAMES:
                self._put(self._frame(result, options))
            elif isinstance(result, Feed):  # it may go on for days
                mode = "a" if self.sign == ">>" else "w"
                with self.path.open(mode, encoding="utf-8", newline="") as file:
                    self._show(cast("TextIO", file), result, options, screen, form)
            else:
                out = io.StringIO(newline="")
                self._show(out, result, options, screen, form)
                self._put(self._added(out.getvalue()).encode())
        except OSError as error:
            kind = MachineError if is_storage_fault(error) else UsageError
            raise self._wrong(error.strerror or str(error), kind) from error

    def _show(
        self, out: TextIO, result: Result, options: Options, screen: Screen, form: str | None
    ) -> None:
        screen = replace(screen, out=out, width=None, paged=False)
        show(result, options, screen, _FORMS.get(self.suffix, form))

    def _added(self, text: str) -> str:
        """What is to be written: a table with a head keeps the one that is there."""
        if self.sign == ">" or self.suffix not in (".csv", ".tsv") or not self.path.exists():
            return text
        with self.path.open(encoding="utf-8", newline="") as file:
            there = file.readline().rstrip("\r\n")
        head, _, rows = text.partition("\n")
        if there and head != there:
            raise self._wrong(f"it has other columns ({there}); nothing is lost: > another file")
        return rows if there else text

    def _put(self, content: bytes) -> None:
        """Write all of it, in place; where there is no room what was in the file stays."""
        adds = self.sign == ">>"
        new = not self.path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if adds else 0)
        with open(os.open(self.path, flags, 0o666), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                _write_all(file, content)
                return
            try:
                if content and not adds:
                    _reserve(file, len(content))
                _write_all(file, content)
                if not adds:
                    file.truncate()
            except OSError:
                file.truncate(status.st_size)
                if new:
                    self.path.unlink()
                raise

    def _frame(self, result: Result, options: Options) -> bytes:
        """Columns keep their types; what is nested is kept as JSON text."""
        from mcshell.commands.output.dataframes import frame_of  # noqa: PLC0415 - slow to load

        if result is None or isinstance(result, Prose | Feed):
            raise self._wrong("a table is meant, and this line gives none")
        frame = _flat(frame_of(result, arrived=options.arrived))
        out = io.BytesIO()
        if self.suffix == ".parquet":
            frame.to_parquet(out)
        else:
            from mcshell.client.analysis.sheet import write_sheet  # noqa: PLC0415 - slow to load

            try:
                write_sheet(frame, out)
            except UsageError as error:
                raise self._wrong(str(error)) from None
        return out.getvalue()

    def _wrong(self, why: str, kind: type[MCShellError] = UsageError) -> MCShellError:
        return kind(f"{self.sign} {self.path}: {why}")


def _write_all(file: io.FileIO, content: bytes) -> None:
    """Write as often as it takes: a pipe, and a disk that becomes full, take a part."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _reserve(file: io.FileIO, size: int) -> None:
    """Have room for so much, before anything of what is there is lost; some systems cannot say."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The same without nesting: JSON text in its place."""
    from mcshell.commands.output.json_document import dumps  # noqa: PLC0415 - pandas comes with it

    for name in frame.select_dtypes(include="object").columns:
        frame[name] = [
            value if isinstance(value, str) or _missing(value) else dumps(value)
            for value in frame[name]
        ]
    return frame


def _missing(value: object) -> bool:
    import pandas as pd  # noqa: PLC0415 - loaded already

    return value is None or value is pd.NA
