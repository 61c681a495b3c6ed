"""How many of the DDLs in a folder are read, beside MCollective's own reader.

Run: python tests/mcollective/ddl_corpus.py FOLDER [--names]

Takes every `.ddl` and every JSON file that is a DDL below FOLDER, each text once. A `.ddl` counts
when MCollective 2.12 itself reads it: its reader runs the file, in a process of its own, so give it
files that you would install. `read` is what a client or node does with the file; `equal` that our
document says what MCollective understood. With --names the files stand under their reason.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcshell.ddl import load, ruby
from mcshell.errors import DDLError
from tests.mcollective.real_ddl import RealDDL, theirs
from tests.mcollective.ruby import RubyError

_KINDS: Final = {"dataquery": "data", "discovery": "discovery", "action": "agent"}
_WHERE: Final = re.compile(r" at line \d+, column \d+")
_NAME: Final = "corpus"


@dataclass
class Figures:
    """What became of the texts of one form."""

    form: str
    count: int = 0
    read: int = 0
    equal: int = 0
    refused: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    flaws: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    unlike: list[Path] = field(default_factory=list)

    def lines(self, *, names: bool) -> list[str]:
        """The figures, for a reader."""
        of = "that MCollective reads" if self.form == ".ddl" else "with metadata and actions"
        made = [f"{self.form}: {self.count} texts {of}, {self.read} read here"]
        if self.form == ".ddl":
            made.append(f"  equal to what MCollective understood: {self.equal}")
            made += [f"    not equal: {path}" for path in self.unlike if names]
        for word, found in (("refused", self.refused), ("read but for", self.flaws)):
            for reason, paths in sorted(found.items(), key=lambda item: -len(item[1])):
                made.append(f"  {len(paths):4} {word}: {reason}")
                made += [f"         {path}" for path in paths if names]
        return made

    def note(self, path: Path, flaws: tuple[str, ...]) -> None:
        """Note the parts of a text that cannot be used, by reason."""
        for flaw in {flaw.rpartition(": ")[2] for flaw in flaws}:
            self.flaws[flaw].append(path)


def measure(folder: Path) -> list[Figures]:
    """The figures of all files below a folder."""
    old, new = Figures(".ddl"), Figures(".json")
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory() as place:
        real = RealDDL(Path(place))
        try:
            for path in sorted(one for one in folder.rglob("*") if one.is_file()):
                content = path.read_bytes()
                if path.suffix not in (".ddl", ".json") or content in seen:
                    continue
                seen.add(content)
                if path.suffix == ".ddl":
                    _ruby(old, path, content, real)
                else:
                    _json(new, path, content)
        finally:
            real.close()
    return [old, new]


def _ruby(figures: Figures, path: Path, content: bytes, real: RealDDL) -> None:
    text = content.decode("utf-8", "replace")
    kind = next(
        (one for word, one in _KINDS.items() if re.search(rf"^\s*{word}\b", text, re.MULTILINE)),
        "other",
    )
    try:
        expected = theirs(real.read(text, kind))
    except RubyError:
        return
    figures.count += 1
    try:
        document = ruby.read(content.decode("utf-8-sig"), "", _NAME)
        flaws = load(document, lenient=True).flaws if "actions" in document else ()
    except (DDLError, UnicodeDecodeError) as error:
        figures.refused[_WHERE.sub("", str(error))].append(path)
        return
    figures.read += 1
    figures.note(path, flaws)
    if _compared(document) == _compared(expected):
        figures.equal += 1
    else:
        figures.unlike.append(path)


def _compared(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what only one side has: its name, given here, and the types of outputs."""
    made: dict[str, Any] = json.loads(json.dumps(document))
    made["metadata"].pop("name")
    for one in [*made.get("actions", ()), made.get("data", {})]:
        for output in one.get("output", {}).values():
            output.pop("type", None)
    return made


def _json(figures: Figures, path: Path, content: bytes) -> None:
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        return
    if not isinstance(document, dict) or not {"metadata", "actions"} <= document.keys():
        return
    figures.count += 1
    try:
        flaws = load(document, lenient=True).flaws
    except DDLError as error:
        figures.refused[str(error)].append(path)
        return
    figures.read += 1
    figures.note(path, flaws)


if __name__ == "__main__":
    options = [one for one in sys.argv[1:] if one != "--names"]
    if len(options) != 1 or not Path(options[0]).is_dir():
        sys.exit("usage: ddl_corpus.py FOLDER [--names]")
    for one in measure(Path(options[0])):
        print("\n".join(one.lines(names="--names" in sys.argv)))
