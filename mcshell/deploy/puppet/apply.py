"""Has the nodes of a fleet apply a Puppet catalog each, and brings their reports here.

    python -m mcshell.deploy.puppet.apply site.pp -I web[01-05] --out runs/monday -- --modulepath=/srv/modules

A manifest is compiled here for each node, with the facts that its own puppet tells; a file `*.json`
is one catalog for all. What is behind `--` is for the puppet that compiles. The folder `--out` is one
run, with a folder for each node: the same line again takes up what is not there yet (`converse/puppet.py`
says how), and begins nothing twice. Everything here is what any program could do: `mcshell.connect`,
`client.open`, and files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import uuid4

import yaml

import mcshell
from mcshell.commands.output.sanitize import sanitize
from mcshell.errors import (
    ConversationError,
    ExitCode,
    InputError,
    MCShellError,
    TurnTimeout,
    UsageError,
)
from mcshell.filters.nodes import canonical
from mcshell.private import private_folder, replace_file
from mcshell.values import dataclass
from mcshell.wire.conversation.channel import CLOSED
from mcshell.wire.conversation.whole_file import FileOffer, IncomingFile, offer, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from mcshell.client.client import Client
    from mcshell.client.messaging.conversations import Conversation

__all__ = ["COLUMNS", "PuppetRun", "facts_of", "main", "summed"]

COUNTS: Final = ("changed", "failed", "out_of_sync", "total")
COLUMNS: Final = ("sender", "state", "statusmsg", *COUNTS, "cut", "report")
MOST: Final = 256 * 1024 * 1024
"""Bytes of a report, which is kept as it is."""
MOST_READ: Final = 4 * 1024 * 1024
"""Bytes of what is read here: facts, a summary."""
_COUNT: Final = re.compile("[0-9]{1,15}")
_LARGEST: Final = 2**53
"""No number that a node says is larger: a table has 64 bits for it."""


def summed(summary: str | bytes) -> dict[str, int]:
    """The counts of resources in puppet's `last_run_summary.yaml`; InputError when it has none.

    All in it is read as text: a tag of YAML's may have its reader raise anything.
    """
    try:
        resources = yaml.load(summary, yaml.BaseLoader)["resources"]  # noqa: S506 - texts, lists and hashes
        found = {name: resources[name] for name in COUNTS}
    except (yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"no summary of puppet's: {type(error).__name__}: {error}") from None
    if not all(isinstance(one, str) and _COUNT.fullmatch(one) for one in found.values()):
        raise InputError(f"no summary of puppet's: {str(found)[:200]}")
    return {name: int(one) for name, one in found.items()}


def facts_of(node: str, told: bytes) -> bytes:
    """A node's facts as the compiling puppet reads them; InputError when it told none.

    They are the node's claims: texts in quotes, so that none of them is a tag of YAML's.
    """
    try:
        values = {**json.loads(told), "clientcert": node}
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{node} has told no facts: {type(error).__name__}: {error}") from None
    name, quoted = (json.dumps(one, ensure_ascii=False) for one in (node, values))
    text = f"--- !ruby/object:Puppet::Node::Facts\nname: {name}\nvalues: {quoted}\n"
    return text.encode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetRun:
    """One run of a fleet, in a folder of its own. `options` are the compiling puppet's.

    `told(node, text)` is called from threads, with what a node's puppet prints and what becomes of it.
    """

    client: Client
    folder: Path
    source: Path
    noop: bool = False
    options: Sequence[str] = ()
    timeout: str | None = None
    told: Callable[[str, str], None] = lambda _node, _text: None

    def apply(self, nodes: Sequence[str], at_once: int = 20) -> pd.DataFrame:
        """Have it applied by each node; a row for each, with `state` as replies have it.

        Raises:
            UsageError: the folder is of another run, or there is no such source.
            OSError: the folder cannot be written.
        """
        import pandas as pd  # noqa: PLC0415 - after all that may be wrong with the line

        run = self._id()
        names = [canonical(node) for node in nodes]
        if wrong := [name for name in names if not name or name.startswith(".") or "/" in name]:
            raise UsageError(f"{wrong[0]!r} is no name for a folder")
        with ThreadPoolExecutor(at_once) as pool:
            rows = list(pool.map(lambda node: _NodeRun(self, run, node).row(), names))
        types = dict.fromkeys((*COUNTS, "cut"), "Int64") | {"sender": "string", "state": "string"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)

    def _id(self) -> str:
        """That of the folder, made when it is new."""
        if not self.source.is_file():
            raise UsageError(f"{self.source} is no file")
        path = private_folder(self.folder) / "run.json"
        this = {"source": str(self.source.resolve()), "noop": self.noop}
        if not path.exists():
            replace_file(path, json.dumps({"run": uuid4().hex, **this}).encode(), 0o600)
        known: dict[str, Any] = json.loads(path.read_bytes())
        run = str(known.pop("run"))
        if known != this:
            raise UsageError(
                f"{self.folder} is a run of {known}: begin another one in another folder"
            )
        return run


class _NodeRun:
    """One node's part: its folder, and a conversation or two."""

    def __init__(self, whole: PuppetRun, run: str, node: str) -> None:
        self._whole, self._run, self._node = whole, run, node
        self.folder = private_folder(whole.folder / node)
        self.catalog = self.folder / "catalog.json"
        self.report = self.folder / "report.yaml"
        self.summary = self.folder / "summary.yaml"
        self._cut = 0

    def row(self) -> tuple[Any, ...]:
        """Do what is still to be done, and say what it came to."""
        try:
            if not self.report.exists():
                self._apply()
            counts = self._counts()
        except TurnTimeout as error:
            return self._without("silent", str(error))
        except ConversationError as error:
            if error.state == CLOSED:
                return self._without("interrupted", "it was ended before the report had come")
            return self._without(error.state, str(error))
        except MCShellError as error:
            return self._without("failed", str(error))
        failed = f"{counts['failed']} resources failed" if counts["failed"] else "OK"
        state = "failed" if counts["failed"] else "ok"
        return (self._node, state, failed, *counts.values(), self._cut, str(self.report))

    def _counts(self) -> dict[str, int]:
        try:
            return summed(self.summary.read_bytes())
        except FileNotFoundError:
            raise InputError(f"{self._node} has sent its report without a summary") from None

    def _without(self, state: str, why: str) -> tuple[Any, ...]:
        return (self._node, state, why, *[None] * len(COUNTS), self._cut, None)

    def _open(self, data: Any) -> Conversation:
        protocol = "puppet_noop" if self._whole.noop else "puppet"
        return self._whole.client.open(self._node, protocol, data, timeout=self._whole.timeout)

    def _apply(self) -> None:
        """Give the catalog, and take summary and report."""
        if not self.catalog.exists():
            replace_file(self.catalog, self._compiled(), 0o600)
        order = {"run": self._run, **offer(self.catalog).told()}
        with self._open(order) as talk:
            before: set[str] = set()
            for said in self._turns(talk):
                what = {"have", "cut"} & said.keys() | {str(said.get("file", ""))} - {""}
                if what & before:  # for ever: this thread would serve no other node
                    raise self._unasked(said)
                before |= what
                if "have" in said:
                    for part in parts(self.catalog, self._number(said["have"])):
                        talk.send({"part": part})
                elif "cut" in said:
                    self._cut = self._number(said["cut"])
                    self._whole.told(self._node, "the run was cut, and begins again\n")
                elif "said" in said:
                    self._whole.told(self._node, str(said["said"]))
                elif self._take(talk, said) == self.report:
                    talk.send({"got": self._run})
                    return
        raise ConversationError(f"{self._node} has ended it", CLOSED)

    def _take(self, talk: Conversation, said: dict[str, Any]) -> Path:
        """Have one file sent, from where it was left."""
        names = {path.name: path for path in (self.summary, self.report, self._facts)}
        target = names.get(str(said.get("file")))
        if target is None:
            raise self._unasked(said)
        most = MOST if target == self.report else MOST_READ
        coming = IncomingFile(self.folder, FileOffer.read(said, most))
        talk.send({"have": coming.have})
        turns = self._turns(talk)
        while not coming.complete:
            coming.add(next(turns, {}).get("part"))
        coming.finish(target)
        return target

    def _turns(self, talk: Conversation) -> Iterator[dict[str, Any]]:
        for said in talk:
            if not isinstance(said, dict):
                raise self._unasked(said)
            yield said

    def _number(self, said: Any) -> int:
        if type(said) is not int or not 0 <= said <= _LARGEST:
            raise self._unasked(said)
        return said

    def _unasked(self, said: Any) -> InputError:
        return InputError(f"{self._node} says what nobody asked for: {str(said)[:100]}")

    @property
    def _facts(self) -> Path:
        return self.folder / "facts.json"

    def _compiled(self) -> bytes:
        """Its catalog: the one for all, or what the manifest comes to with its facts."""
        if self._whole.source.suffix == ".json":
            return self._whole.source.read_bytes()
        if not self._facts.exists():
            with self._open({"facts": True}) as talk:
                self._take(talk, next(self._turns(talk), {}))
        facts = private_folder(self.folder / "yaml" / "facts") / f"{self._node}.yaml"
        replace_file(facts, facts_of(self._node, self._facts.read_bytes()), 0o600)
        return self._compile(facts.parents[1])

    def _compile(self, facts: Path) -> bytes:
        argv = ["puppet", "catalog", "compile", self._node, f"--manifest={self._whole.source}"]
        argv += ["--facts_terminus=yaml", f"--yamldir={facts}", f"--clientyamldir={facts}"]
        argv += ["--render-as=json", "--log_level=err", "--color=false", *self._whole.options]
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode or not done.stdout.lstrip().startswith(b"{"):
            lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise InputError(f"no catalog for {self._node}: {lines[-1] if lines else 'no word'}")
        return done.stdout


class _ApplyLine(argparse.ArgumentParser):
    """A line that means nothing is a UsageError, as everywhere in mcshell."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    at = words.index("--") if "--" in words else len(words)
    parser = _ApplyLine(prog="python -m mcshell.deploy.puppet.apply")
    parser.add_argument("source", type=Path, help="a manifest, or one catalog for all (*.json)")
    parser.add_argument("-I", dest="nodes", action="append", help="names, sets like web[01-05]")
    parser.add_argument("-S", dest="where", help="which nodes, as a filter")
    parser.add_argument("--out", type=Path, required=True, help="the folder of this run")
    parser.add_argument("--noop", action="store_true", help="change nothing: say what would be")
    parser.add_argument("-t", dest="timeout", help="how long to wait for a node's first answer")
    parser.epilog = "What is behind -- is for the puppet that compiles."
    asked = parser.parse_args(words[:at])
    asked.options = words[at + 1 :]
    if not asked.nodes and not asked.where:
        raise UsageError("-I or -S: say which nodes are to apply it")
    return asked


def _say(node: str, text: str) -> None:
    """What a node's puppet prints, a line at a time, on standard error."""
    sys.stderr.write("".join(f"{node}: {sanitize(line)}\n" for line in text.splitlines()))


def main(words: Sequence[str]) -> int:
    """Run one line; the exit code is 0 when every row is ok, 2 when one is not, 64 for usage, 74 for the disk."""
    try:
        asked = _arguments(words)
        with mcshell.connect() as client:
            found = client.discover(nodes=asked.nodes, where=asked.where)
            run = PuppetRun(
                client=client,
                folder=asked.out,
                source=asked.source,
                noop=asked.noop,
                options=asked.options,
                timeout=asked.timeout,
                told=_say,
            )
            rows = run.apply(list(found["sender"]))
    except MCShellError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return int(ExitCode.MACHINE)
    sys.stdout.write(f"{sanitize(rows.to_string(index=False))}\n")
    return 0 if (rows["state"] == "ok").all() else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
