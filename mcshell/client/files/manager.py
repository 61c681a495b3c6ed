"""Files from the operator's side: `client.files` puts them on nodes, fetches and lists them.

The first question of each file is a request like any other: in the session, the ledger, `explain`. Its
chunks are not kept there. What is queued is kept whole, until the broker has it.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections import deque
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell import interrupts, table
from mcshell.client.arguments import Duration, checks_methods, seconds_of
from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions, Targeting, targeting_of, via_of
from mcshell.client.files.broadcasting import BroadcastFile, Lacking
from mcshell.client.files.copies import CHUNK, CopyTerms, FileCopy, columns, rate_of, refuse_rate
from mcshell.client.files.fetching import FetchedFile, fetch
from mcshell.client.files.sending import SourceFile, chunks_of, refuse_sources, send
from mcshell.client.store.ledger import UNHEARD
from mcshell.errors import UsageError
from mcshell.message import State, Via
from mcshell.values import dataclass
from mcshell.wire.chunk import KeyShare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from mcshell.client.discovery.methods import Finder
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Preview, Requester
    from mcshell.config import Settings

__all__ = ["PATIENCE", "FileManager", "PutOptions"]

#: `FileManager.list` hides the type's name within the class.
Entries: TypeAlias = "list[dict[str, Any]]"
Names: TypeAlias = "list[str]"
Copies: TypeAlias = "list[FileCopy]"

PATIENCE: Final = 60.0
"""Seconds in which a node may say nothing."""
_FEW, _PART = 3, 0.1
"""So many targets, and so much of the fleet, have a file sent to all: whoever listens has its bytes to read."""
_ENTRY: Final = {
    **dict.fromkeys(("sender", "state", "reason", "name", "type"), "string"),
    "size": "Int64",
    "mode": "string",
    "owner": "string",
    "group": "string",
    "mtime": table.TIME,
    "link": "string",
}
_QUEUED: Final = 256 << 20
"""Bytes, over all targets, that one line puts into queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOptions:
    """How files are put there.

    `rate` is in bytes a second, over all targets; `patience` in seconds in which a node says nothing;
    `ttl`, in seconds, is what is queued worth. `noop`: say what would be.
    """

    mode: str | None = None
    owner: str | None = None
    group: str | None = None
    noop: bool = False
    rate: float | None = None
    patience: float = PATIENCE
    via: Via | None = None
    ttl: float | None = None
    wait: bool = True
    progress: Callable[[int, int], None] = lambda _done, _total: None

    def reporting(self, progress: Callable[[int, int], None]) -> PutOptions:
        """The same, and somebody is told how far it is."""
        return replace(self, progress=progress)

    def inputs(self, source: SourceFile, path: str) -> dict[str, Any]:
        """The inputs of `file.put` that announce a file."""
        given = {"mode": self.mode, "owner": self.owner, "group": self.group}
        return {
            "path": path,
            "size": source.size,
            "sha256": source.sha256,
            "chunk": CHUNK,
            "noop": self.noop,
            **{name: one for name, one in given.items() if one is not None},
        }


@checks_methods
class FileManager:
    """The files of one client's nodes; see `put`, `get` and `list`."""

    def __init__(
        self, settings: Settings, queries: NodeQueries, discovery: Finder, requester: Requester
    ) -> None:
        self._settings = settings
        self._discovery = discovery
        self._queries = queries
        self._requester = requester

    def put(
        self,
        sources: str | Path | Iterable[str | Path],
        path: str | PurePath,
        /,
        *,
        mode: str | None = None,
        owner: str | None = None,
        group: str | None = None,
        noop: bool = False,
        rate: float | str | None = None,
        timeout: Duration | None = None,
        via: str | None = None,
        ttl: Duration | None = None,
        wait: bool = True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        **targeting: Any,
    ) -> pd.DataFrame:
        """Put files of this machine on nodes; a row a node and file.

        Args:
            sources: one path or several; of several `path` is the folder they go to.
            path: where it goes; with a `/` at its end a folder.
            mode: permissions in octal, such as "0644"; by default those of the file before.
            owner: name or number of the owner, by default that of the file before.
            group: the same of the group.
            noop: change nothing, say what would be.
            rate: bytes a second, over all targets (a number, or text like "10M").
            timeout: how long a node may say nothing (seconds, or text like "30s").
            via: "queue" for nodes that may be down; by default they are asked at once.
            ttl: how long what is queued is worth writing (seconds, or text like "7d").
            wait: with "queue", whether to wait for the replies, `timeout` at most.
            progress: told how many bytes of how many are there.
            targeting: as `Client.rpc` takes it.

        Raises:
            UsageError: a source is no file, or the line means nothing.
            NoTargets: no node matches.
            Stopped: Ctrl-C; the same again goes on where it was.
        """
        many = [sources] if isinstance(sources, str | Path) else [*sources]
        patience = seconds_of(timeout)
        options = PutOptions(
            mode=mode,
            owner=owner,
            group=group,
            noop=noop,
            rate=rate_of(rate),
            patience=PATIENCE if patience is None else patience,
            via=None if via is None else via_of(via),
            ttl=seconds_of(ttl),
            wait=wait,
            progress=progress,
        )
        copies = self.copy_to(map(Path, many), str(path), targeting_of(**targeting), options)
        return table.frame(columns(copies))

    @interrupts.call()
    def copy_to(
        self,
        sources: Iterable[Path],
        path: str,
        targeting: Targeting,
        options: PutOptions,
        confirm: Callable[[Preview], bool] | None = None,
    ) -> Copies:
        """As `put`; `confirm` is shown who is hit before anything is sent."""
        sources = [*sources]
        refuse_sources(sources)
        refuse_rate(options.rate)
        into = path.endswith("/") or len(sources) > 1
        done: Copies = []
        unheard: Copies = []
        for source in sources:
            place = posixpath.join(path, source.name) if into else path
            with SourceFile.open(source) as file:
                asked = None if options.noop else confirm
                if options.via is Via.QUEUE:
                    some = self._queue(file, place, targeting, options, asked)
                else:
                    some = self._send(file, place, targeting, options, asked)
            results = ("same", "noop") if options.noop else ("same", "written")
            done += (one.proved(file.sha256, results) for one in some)
            confirm = None  # and all go to the same nodes: a limit is not taken once more, of these
            done += (replace(one, source=str(source), path=place) for one in unheard)
            unheard = unheard or [one for one in some if one.reason == UNHEARD]
            left = {one.sender for one in unheard}  # by name they would get the next one
            names = tuple(one.sender for one in some if one.sender not in left)
            targeting = Targeting(nodes=names, collective=targeting.collective)
        return done

    def _send(
        self,
        file: SourceFile,
        path: str,
        targeting: Targeting,
        options: PutOptions,
        confirm: Callable[[Preview], bool] | None,
    ) -> Copies:
        """Ask who lacks what, and send it."""
        inputs = options.inputs(file, path)
        if options.via not in (None, Via.DIRECT, Via.BROADCAST):
            raise UsageError("files go at once, or via queue")
        share = KeyShare()
        ask = RequestOptions(
            agent="file",
            action="put",
            data={**inputs, "share": share.public},
            targeting=targeting,
            via=options.via,
        )
        began = time.monotonic()
        replies = self._requester.ask(ask, confirm)
        copies = self._first(replies, str(file.path), path, began)
        lacking = {
            row.sender: (copies[row.sender], chunks_of(row.data.get("missing"), file.chunks))
            for row in replies.rows()
            if copies[row.sender].result == "partial"
        }
        terms = self._terms(targeting, options.patience, options.rate, options.progress)
        if options.via is not Via.DIRECT and self._broadcasts(file, lacking, terms):
            shares = {
                row.sender: row.data["share"]
                for row in replies.rows()
                if row.sender in lacking and isinstance(row.data.get("share"), bytes)
            }
            many = BroadcastFile(self._queries, file, inputs, share, terms)
            lacking = many.run(lacking, shares)
            took = time.monotonic() - began
            copies |= {name: replace(one, seconds=took) for name, one in many.ended.items()}
        for copy in send(self._queries, file, inputs, lacking, terms):
            copies[copy.sender] = copy
        return [*copies.values()]

    def _broadcasts(self, file: SourceFile, lacking: Lacking, terms: CopyTerms) -> bool:
        """Whether a file goes to all at once: to some nodes, and to no small part of those there are."""
        since = time.time() - self._settings.client.known_for
        fleet = self._requester.known.identities(terms.collective, since)
        many = len(lacking) >= max(_FEW, len(fleet) * _PART)
        return many and BroadcastFile.fits(file)

    def _queue(
        self,
        file: SourceFile,
        path: str,
        targeting: Targeting,
        options: PutOptions,
        confirm: Callable[[Preview], bool] | None,
    ) -> Copies:
        """Put each chunk into the queues; whichever comes last puts the file in its place."""
        inputs = options.inputs(file, path)
        found = self._discovery.find(self._discovery.meant(targeting), "file")
        if not found.names:
            raise nobody(found, "file")
        if file.size * len(found.names) > _QUEUED:
            raise UsageError(
                f"{file.path}: {file.size} bytes for each of {len(found.names)} nodes; via queue "
                f"{_QUEUED} bytes go in all: ask fewer nodes, or at once"
            )
        targeting = Targeting(nodes=tuple(found.names), collective=targeting.collective)
        began, sent = time.monotonic(), []
        for number in range(0 if options.noop else file.chunks) or (-1,):
            chunk = {"offset": number * CHUNK, "content": file.chunk(number)} if number >= 0 else {}
            ask = RequestOptions(
                agent="file",
                action="put",
                data={**inputs, **chunk},
                targeting=targeting,
                via=Via.QUEUE,
                ttl=options.ttl,
                wait=False,
            )
            sent.append(self._requester.ask(ask, confirm))
            confirm = None
        if options.wait:
            end = time.monotonic() + options.patience
            for one in sent:
                one.wait(max(0.0, end - time.monotonic()))
        silent = [
            FileCopy(
                sender=name, source=str(file.path), path=path, state=State.SILENT, reason=UNHEARD
            )
            for name in found.unheard
        ]
        return _queued(sent, str(file.path), path, time.monotonic() - began) + silent

    def get(
        self,
        path: str | PurePath,
        folder: str | Path,
        /,
        *,
        by_node: bool = True,
        rate: float | str | None = None,
        timeout: Duration | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        **targeting: Any,
    ) -> pd.DataFrame:
        """Fetch a path from nodes into a folder here; a row a node.

        Args:
            path: the file there.
            folder: where it goes; a folder that is not there is made.
            by_node: whether each node's goes into a folder of the node's name below.
            rate: bytes a second, over all nodes (a number, or text like "10M").
            timeout: how long a node may say nothing (seconds, or text like "30s").
            progress: told how many bytes of how many are there.
            targeting: as `Client.rpc` takes it.

        Raises:
            UsageError: it is no folder, and cannot be made one.
            NoTargets: no node matches.
            MachineError: this machine does not take it.
            Stopped: Ctrl-C; the same again goes on where it was.
        """
        patience = seconds_of(timeout)
        options = PutOptions(
            rate=rate_of(rate),
            patience=PATIENCE if patience is None else patience,
            progress=progress,
        )
        targets = targeting_of(**targeting)
        copies = self.copy_from(str(path), Path(folder), targets, options, by_node=by_node)
        return table.frame(columns(copies))

    @interrupts.call()
    def copy_from(
        self, path: str, folder: Path, targeting: Targeting, options: PutOptions, *, by_node: bool
    ) -> Copies:
        """As `get`."""
        refuse_rate(options.rate)
        name = posixpath.basename(path)
        if name in ("", ".", ".."):
            raise UsageError(f"{path}: a file on nodes is meant")
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            raise UsageError(f"{folder} is a file: a folder here is meant") from None
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
        data = {"path": path, "digest": True}
        ask = RequestOptions(agent="file", action="get", data=data, targeting=targeting)
        began = time.monotonic()
        replies = self._requester.ask(ask)
        copies = self._first(replies, path, str(folder / name), began)
        if not by_node and len(copies) > 1:
            raise UsageError(f"{path}: {len(copies)} nodes would write the same file")
        files = {}
        for row in replies.rows():
            if row.state is State.OK:
                place = folder / row.sender / name if by_node else folder / name
                copy = copies[row.sender] = replace(copies[row.sender], path=str(place))
                if wrong := (by_node and _no_folder(row.sender)) or _no_place(place):
                    copies[row.sender] = copy.ended(State.FAILED, wrong)
                else:
                    files[row.sender] = FetchedFile(copy=copy, place=place)
        said = {row.sender: row.data for row in replies.rows()}
        terms = self._terms(targeting, options.patience, options.rate, options.progress)
        for copy in fetch(self._queries, path, files, said, terms):
            copies[copy.sender] = copy
        return [*copies.values()]

    def list(self, path: str | PurePath, /, **targeting: Any) -> pd.DataFrame:
        """What is in a folder of nodes: a row an entry (`name`, `type`, `size`, `mode`, …).

        A node that cannot say it has one row, with `state` and `reason`. Names are as the nodes have
        them: bytes, where they are no text.
        """
        rows = self.entries(str(path), targeting_of(**targeting))
        every = {name: (kind, [row.get(name) for row in rows]) for name, kind in _ENTRY.items()}
        return table.frame(every)

    @interrupts.call()
    def entries(self, path: str, targeting: Targeting) -> Entries:
        """The rows of `list`; nodes of large folders are asked again, from the last name on."""
        rows: Entries = []
        waiting: deque[tuple[Any, Targeting]] = deque([(None, targeting)])
        while waiting:
            after, some = waiting.popleft()
            data = {"path": path, **({} if after is None else {"after": after})}
            ask = RequestOptions(agent="file", action="list", data=data, targeting=some)
            more: dict[str | bytes, Names] = {}
            for row in self._requester.ask(ask).rows():
                found = row.data.get("entries")
                found = found if isinstance(found, list) else []
                listed = [one for one in found if isinstance(one, dict)]
                state = {"sender": row.sender, "state": str(row.state), "reason": None}
                if row.state is not State.OK:
                    rows.append({**state, "reason": row.statusmsg})
                rows += ({**one, **state} for one in listed)
                if row.data.get("truncated") is True and listed:
                    last = listed[-1].get("name")
                    if isinstance(last, str | bytes) and _behind(last, after):
                        more.setdefault(last, []).append(row.sender)
            waiting += (
                (name, Targeting(nodes=tuple(names), collective=targeting.collective))
                for name, names in more.items()
            )
        return rows

    def _first(self, replies: Replies, source: str, path: str, began: float) -> dict[str, FileCopy]:
        """How it stands with each node after the first question."""
        took = time.monotonic() - began
        return {
            row.sender: replace(FileCopy.of(row, source, path), seconds=took)
            for row in replies.rows()
        }

    def _terms(
        self,
        targeting: Targeting,
        patience: float,
        rate: float | None,
        progress: Callable[[int, int], None],
    ) -> CopyTerms:
        collective = targeting.collective or self._settings.collective.main
        return CopyTerms(collective=collective, patience=patience, rate=rate, progress=progress)


def _no_folder(node: str) -> str:
    """Why a node's name is none of a folder below another; a CA that is not ours may have given it."""
    return f"{node!r} is no name of a folder" if node in ("", ".", "..") or "/" in node else ""


def _no_place(place: Path) -> str:
    """Have a folder for a file that comes; what is in the way, if anything."""
    try:
        place.parent.mkdir(exist_ok=True)
    except OSError as error:
        return f"no folder {place.parent} can be made here: {error.strerror}"
    return f"{place} is a folder here" if place.is_dir() and not place.is_symlink() else ""


def _behind(name: str | bytes, after: str | bytes | None) -> bool:
    """Whether a folder's names go on: a node that comes back to those it has said is not asked again."""
    return after is None or os.fsencode(name) > os.fsencode(after)


def _queued(sent: Sequence[Replies], source: str, path: str, took: float) -> Copies:
    """What became of a file whose chunks were queued: at each node the last word that counts."""
    found: dict[str, FileCopy] = {}
    for replies in sent:
        for row in replies.rows():
            one = replace(FileCopy.of(row, source, path), seconds=took)
            before = found.get(row.sender)
            if before is None or _weight(one) > _weight(before):
                found[row.sender] = one
    return [*found.values()]


def _weight(copy: FileCopy) -> tuple[int, int]:
    """A file that is there counts most, then what went wrong, then what is awaited."""
    if copy.state is State.OK:
        return (3, copy.bytes) if copy.result in ("written", "same", "noop") else (0, copy.bytes)
    return (1, 0) if copy.state in (State.PENDING, State.RECEIVED, State.RUNNING) else (2, 0)
