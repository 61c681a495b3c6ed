"""`puppet apply` of a catalog that comes through a conversation; the report goes back through it.

The caller opens it with `{"run": ID, "size": N, "sha256": HEX}`. The node answers `{"have": N}`, and
takes `{"part": BYTES}` from there; when the catalog is whole and has that digest, puppet applies it,
in a session of its own that outlives the daemon. What it prints is `{"said": TEXT}`, its summary and
report are `{"file": NAME, "size", "sha256"}`, which the caller answers with `{"have": N}`, and parts.
`{"got": ID}` of the caller's ends it: then the catalog, which may hold secrets, is taken away.

A run is found again by its id, its caller and whether it was noop: a report that is there is sent, a
puppet that runs is listened to, and one that was cut is said to have been (`{"cut": N}`), and begins
again. `{"facts": true}` asks for puppet's facts, and for nothing else.

Settings: `[agents.puppet] folder` (without it the node serves none of this), `program` ("puppet"),
`options` (of every call).
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mcshell.errors import InputError
from mcshell.node.handler import AgentError, Handler, HandlerConversation
from mcshell.private import is_locked, lock_file, private_file, private_folder, replace_file
from mcshell.wire.conversation.whole_file import FileOffer, IncomingFile, offer, parts

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("mcshell.puppet")

MOST: Final = 64 * 1024 * 1024
"""Bytes of a catalog."""
LINES: Final = 32 * 1024
"""Bytes of puppet's output in one turn."""
LOOK: Final = 0.1
"""Seconds between two looks at a puppet that runs."""
_RUN: Final = re.compile(r"[0-9a-f]{32}")


def without_noop(catalog: bytes) -> bytes:
    """A catalog none of whose resources says for itself whether it is noop; InputError if it is none.

    A resource's own `noop => false` would win over the command line's.
    """
    try:
        document = json.loads(catalog)
        for resource in document["resources"]:
            resource.get("parameters", {}).pop("noop", None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"not a catalog: {type(error).__name__}: {error}") from None
    return json.dumps(document).encode()


class CatalogRun(
    NamedTuple
):  # a data class wants a module of its own name, and this file is loaded by path
    """One application of a catalog, as it lies on the disk; `cut` is how often it was cut."""

    run: str
    caller: str
    noop: bool
    sha256: str
    cut: int = 0

    def is_again(self, other: CatalogRun) -> bool:
        """Whether another one is this one, asked for again."""
        mine, others = ((one.run, one.caller, one.noop) for one in (self, other))
        return mine == others


class PuppetFolder:
    """Where one node keeps the newest run: its order, catalog, output, summary and report."""

    def __init__(self, settings: dict[str, Any], which: Any) -> None:
        folder, program = settings.get("folder"), settings.get("program", "puppet")
        if not isinstance(folder, str) or not Path(folder).is_absolute():
            raise AgentError("not served here: [agents.puppet] folder names no folder for it")
        found = which(program)
        if found is None:
            raise AgentError(f"{program} is not installed here")
        self.command = [found]
        self.options = settings.get("options", [])
        if not isinstance(self.options, list) or not all(isinstance(x, str) for x in self.options):
            raise AgentError("not served here: [agents.puppet] options is no list of strings")
        self.folder = private_folder(Path(folder))
        self.output = self.folder / "output.log"
        self.summary = self.folder / "summary.yaml"
        self.report = self.folder / "report.yaml"
        self._order = self.folder / "run.json"
        self._lock = self.folder / "lock"

    def catalog(self, run: CatalogRun) -> Path:
        """Where a run's catalog is: by its digest, so that no other run's can take its place."""
        return self.folder / f"{run.sha256}{'.noop' if run.noop else ''}.catalog"

    def newest(self) -> CatalogRun | None:
        """The run that was begun last."""
        try:
            return CatalogRun(**json.loads(self._order.read_bytes()))
        except FileNotFoundError:
            return None

    @property
    def running(self) -> bool:
        """Whether a puppet holds the lock that it was started with: no pid tells that as surely."""
        return is_locked(self._lock)

    def begin(self, run: CatalogRun) -> subprocess.Popen[bytes]:
        """Start puppet on the catalog that is there; AgentError while another one runs."""
        lock = lock_file(self._lock)
        if lock is None:
            raise AgentError(self.under_way())
        with lock:
            others = set(self.folder.glob("*.catalog")) - {self.catalog(run)}
            for path in (self.output, self.summary, self.report, *others):
                path.unlink(missing_ok=True)
            replace_file(self._order, json.dumps(run._asdict()).encode(), 0o600)
            log.info("run %s of %s: the catalog %s", run.run, run.caller, run.sha256)
            return self._start(run, lock.fileno())

    def under_way(self) -> str:
        """Why no other run can begin."""
        return f"a run of {getattr(self.newest(), 'caller', 'somebody')} is under way"

    def _start(self, run: CatalogRun, lock: int) -> subprocess.Popen[bytes]:
        argv = [*self.command, "apply", *self.options, f"--catalog={self.catalog(run)}"]
        argv += [f"--lastrunreport={self.report}", f"--lastrunfile={self.summary}"]
        argv += ["--color=false", *(["--noop"] if run.noop else [])]
        with private_file(self.output).open("ab") as output:
            return self._popen(
                argv, stdout=output, stderr=output, pass_fds=(lock,), start_new_session=True
            )

    def _popen(self, argv: list[str], **more: Any) -> subprocess.Popen[bytes]:
        """As the daemon's user, with its environment less what is mcshell's own."""
        own = {name: word for name, word in os.environ.items() if not name.startswith("MCSHELL_")}
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={**own, "LC_ALL": "C.UTF-8"},
                **more,
            )
        except OSError as error:
            raise AgentError(f"{argv[0]} cannot be started: {error.strerror}") from None

    def facts(self) -> Path:
        """A file with what puppet knows of this machine, as JSON."""
        argv = [*self.command, "facts", "show", *self.options, "--render-as=json"]
        with self._popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            found, errors = process.communicate()
        if process.returncode:
            raise AgentError(f"puppet facts ended with {process.returncode}: {_end(errors)}")
        path = self.folder / "facts.json"
        replace_file(path, found, 0o600)
        return path

    def said(self, behind: int) -> Iterator[bytes]:
        """What puppet has printed, behind so many bytes."""
        with self.output.open("rb") as output:
            output.seek(behind)
            while text := output.read(LINES):
                yield text

    def forget_parts(self, but: Path) -> None:
        """Keep no more than one catalog that has not come whole."""
        for path in self.folder.glob("*.part"):
            if path != but:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _blamed() -> Iterator[None]:
    """What the caller is to blame for ends the conversation with its own words."""
    try:
        yield
    except InputError as error:
        raise AgentError(str(error)) from None


class Puppet(Handler):
    """One caller's run: its catalog comes, puppet runs, its report goes."""

    protocol = "puppet"
    noop = False

    def __init__(self) -> None:
        self._coming: IncomingFile | None = None
        self._going: list[Path] = []
        self._reported: CatalogRun | None = None

    @_blamed()
    def opened(self, line: HandlerConversation) -> None:
        """See what is asked for, and how much of it is here."""
        system = line.node.system
        self._place = PuppetFolder(dict(line.node.settings("puppet")), system.which)
        order = line.data if isinstance(line.data, dict) else {}
        if order.get("facts") is True:
            self._send_files(line, [self._place.facts()])
            return
        run = order.get("run")
        if not isinstance(run, str) or not _RUN.fullmatch(run):
            raise AgentError(f"run is 32 hexadecimal digits, not {str(run)[:60]!r}")
        offered = FileOffer.read(order, MOST)
        self._run = CatalogRun(run=run, caller=line.caller, noop=self.noop, sha256=offered.sha256)
        newest = self._place.newest()
        if newest is not None and newest.is_again(self._run):
            self._take_up(line, newest)
            return
        self._coming = IncomingFile(self._place.folder, offered)
        self._place.forget_parts(but=self._coming.path)
        line.send({"have": self._coming.have})
        if self._coming.complete:
            self._begin(line, self._coming)

    @_blamed()
    def turn(self, line: HandlerConversation, data: Any) -> None:
        """Take a part of the catalog; or send a file from where the caller wants it."""
        said = data if isinstance(data, dict) else {}
        if self._coming is not None and "part" in said:
            self._coming.add(said["part"])
            if self._coming.complete:
                self._begin(line, self._coming)
        elif self._going and type(said.get("have")) is int and said["have"] >= 0:
            for part in parts(self._going.pop(0), said["have"]):
                line.send({"part": part})
            self._send_files(line, self._going)
        elif "got" in said:
            if self._reported is not None and said["got"] == self._reported.run:
                self._place.catalog(self._reported).unlink(missing_ok=True)
            line.close()
        else:
            raise AgentError(f"no turn that means anything here: {sorted(map(str, said))[:5]}")

    def _begin(self, line: HandlerConversation, coming: IncomingFile) -> None:
        self._coming = None
        place = self._place
        if place.running:
            raise AgentError(place.under_way())
        catalog = place.catalog(self._run)
        coming.finish(catalog)
        if self.noop:
            replace_file(catalog, without_noop(catalog.read_bytes()), 0o600)
        self._listen(line, place.begin(self._run))

    def _take_up(self, line: HandlerConversation, newest: CatalogRun) -> None:
        """Go on with a run that this node knows."""
        place = self._place
        self._run = newest
        if place.running or place.report.exists():  # in this order: a report comes before the end
            self._listen(line, None)
            return
        if not place.catalog(newest).exists():
            raise AgentError("the run was cut, and its catalog is gone: begin another one")
        self._run = newest._replace(cut=newest.cut + 1)
        line.send({"cut": self._run.cut})
        self._listen(line, place.begin(self._run))

    def _listen(self, line: HandlerConversation, puppet: subprocess.Popen[bytes] | None) -> None:
        """Say what puppet prints until it ends, then what it has reported."""
        place, decoder = self._place, codecs.getincrementaldecoder("utf-8")("replace")
        ended, said = False, 0
        while not ended:
            if puppet is None:
                ended = place.report.exists() or not place.running
            else:
                ended = puppet.poll() is not None
            for text in place.said(said):
                line.send({"said": decoder.decode(text)})
                said += len(text)
            time.sleep(0 if ended else LOOK)
        if not place.report.exists():
            raise AgentError(f"puppet has left no report: {_end(place.output.read_bytes())}")
        self._reported = self._run
        self._send_files(line, [place.summary, place.report])

    def _send_files(self, line: HandlerConversation, files: list[Path]) -> None:
        """Offer the first of what is still to go."""
        self._going = files
        if files:
            line.send({"file": files[0].name, **offer(files[0]).told()})


def _end(output: bytes) -> str:
    """The last line of an output, for a message."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
