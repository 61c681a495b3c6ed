"""What a node tells of its jobs: list, history, what a run wrote, and what starts when."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell.errors import AgentError, MCShellError
from mcshell.message import State
from mcshell.node.execution.run_directory import read_log
from mcshell.node.execution.shims import read_outcome
from mcshell.node.jobs.forecast import forecast
from mcshell.node.store.job_table import SCHEDULED, WAITING
from mcshell.node.store.records import QUEUED, RUNNING
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.message import Job
    from mcshell.node.execution.lifecycle import RunLifecycle
    from mcshell.node.execution.run_directory import RunDirectory
    from mcshell.node.store.job_table import JobRow
    from mcshell.node.store.records import WorkItem
    from mcshell.node.store.spool import Spool

__all__ = ["JobQueries"]

Stands: TypeAlias = "list[dict[str, Any]]"

_MOST: Final = 10_000
_IDS: Final = 400
_TAIL: Final = 4096
_MISSED: Final = "missed"


class JobQueries:
    """Reads the records of all nodes of a process.

    Args:
        places: where the files of a run may be, in the order in which they come there.
        slots: how many runs a node does at a time.
    """

    def __init__(
        self,
        spool: Spool,
        lifecycles: Mapping[str, RunLifecycle],
        *,
        places: Callable[[WorkItem], Sequence[RunDirectory]],
        slots: int,
    ) -> None:
        self._spool = spool
        self._lifecycles = lifecycles
        self._places = places
        self._slots = slots

    # --- where a job stands --------------------------------------------------------------------

    def stand(self, row: JobRow) -> dict[str, Any]:
        """Where a job stands, as the table of jobs has it."""
        run = self._current(row) if row.ended is None and row.state != SCHEDULED else None
        running = run is not None and run.state == RUNNING
        said = self._progress(run)[1] if running and run is not None else ""
        return {
            "job": row.id,
            "revision": row.revision,
            "owner": row.owner,
            "name": row.name,
            "agent": row.agent,
            "action": row.action,
            "state": RUNNING if running and row.state == QUEUED else row.state,
            "next": row.due if row.state == SCHEDULED else None,
            "last": run.started if running and run is not None else row.last,
            "attempt": row.attempt if run is None else run.attempt,
            "progress": self._spool.jobs.waits(row.key) if row.state == WAITING else said,
        }

    def list(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The jobs of a node that are asked for, the next to start first."""
        most = max(0, min(data.get("limit", 1000), _MOST))
        state = data.get("state")
        ids = (data.get("job") or "").split()[:_IDS]
        stands: Stands = []
        more = 0
        for row in self._spool.jobs.of(identity, ids, data.get("name")):
            if len(stands) >= most and state in (None, row.state):
                more += 1
            elif state in (None, row.state, RUNNING):
                stand = self.stand(row)
                stands += [stand] if state in (None, stand["state"]) else []
        return {"jobs": stands, "more": more}

    def show(self, identity: str, job: str) -> dict[str, Any]:
        """One job in full, with its newest runs."""
        row = self._get(identity, job)
        found = {**self.stand(row), "author": row.author, "runs": row.runs, "reason": row.statusmsg}
        if row.body is not None:
            document = read_job(row.body)
            when = document.when
            found["when"] = {
                name: getattr(when, name)
                for name in ("at", "cron", "every", "tz", "splay", "late")
                if getattr(when, name) is not None
            }
            found["until"] = when.until
            found["after"] = list(document.after)
            found["data"] = self._redacted(document.agent, document.action, document.data, row)
            found |= self._signed(document, row)
        runs = self._spool.runs_of(row.key)
        found["history"] = [
            {
                "run": run.run,
                "requestid": run.id,
                "state": _MISSED if run.state == State.EXPIRED else run.state,
                "attempt": run.attempt,
                "started": run.started,
                "ended": run.ended,
                "statuscode": run.statuscode,
                "statusmsg": run.statusmsg,
            }
            for run in runs
        ]
        found["result"] = self._result(runs[0]) if runs else {}
        return found

    def _get(self, identity: str, job: str) -> JobRow:
        row = self._spool.jobs.get((identity, job))
        if row is None or not row.revision:  # all that is known is that it is not to be taken
            raise AgentError(f"no job {job} here")
        return row

    def _signed(self, job: Job, row: JobRow) -> dict[str, Any]:
        """The job as its author signed it; not where there are inputs that are nobody's to see."""
        service = self._lifecycles[row.identity].host.service(job.agent)
        known = service.ddl.actions.get(job.action) if service is not None else None
        hidden = job.data.keys() if known is None else job.data.keys() & known.sensitive
        if hidden:
            return {"withheld": sorted(hidden)}
        text = (row.body or b"").decode()
        return {"document": text, "signature": row.signature, "certificate": row.certificate}

    def _redacted(
        self, agent: str, action: str, data: Mapping[str, Any], row: JobRow
    ) -> dict[str, Any]:
        service = self._lifecycles[row.identity].host.service(agent)
        known = service.ddl.actions.get(action) if service is not None else None
        return dict.fromkeys(data, "…") if known is None else known.redact(data)

    def _current(self, row: JobRow) -> WorkItem | None:
        for run in self._spool.runs_of(row.key, 1):
            if run.state in (QUEUED, RUNNING):
                return run
        return None

    # --- what runs leave -----------------------------------------------------------------------

    def log(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """A part of what a run wrote to its standard streams, and how far it is."""
        row = self._get(identity, data["job"])
        runs = self._spool.runs_of(row.key)
        wanted = data.get("run") or ""
        run = next((one for one in runs if wanted in ("", one.run, one.id)), None)
        if run is None:
            text = f"no run {wanted!r}" if wanted else "it has not started yet"
            return {"text": "", "offset": 0, "state": row.state, "run": "", "progress": text}
        percent, said = self._progress(run)
        text, offset = self._text(run, data.get("offset", 0), data.get("limit", 65536))
        return {
            "text": text,
            "offset": offset,
            "state": run.state,
            "run": run.run,
            "progress": said,
            "percent": percent,
        }

    def _text(self, run: WorkItem, offset: int, limit: int) -> tuple[str, int]:
        begin = max(0, offset)
        try:
            data, end = read_log(self._places(run), begin, max(0, min(limit, 1 << 18)))
        except OSError:
            return "", begin
        return data.decode("utf-8", "replace"), end

    def _progress(self, run: WorkItem) -> tuple[float | None, str]:
        """How far a run said it is: per cent, and in words."""
        lines: list[bytes] = []
        try:
            for place in self._places(run):
                with suppress(FileNotFoundError), place.progress.open("rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                    lines = file.read(_TAIL).split(b"\n")
                    break
            said = json.loads(lines[-2])
            percent, text = said["percent"], str(said["text"])
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None, ""
        if not isinstance(percent, int | float):
            return None, text
        return float(percent), f"{percent:.0f}% {text}".rstrip()

    def _result(self, run: WorkItem) -> dict[str, Any]:
        """What the newest run answered, as long as it is kept."""
        found = (read_outcome(place) for place in self._places(run))
        outcome = next((one for one in found if one is not None), None)
        return {} if outcome is None else dict(outcome.data)

    # --- what will be --------------------------------------------------------------------------

    def forecast(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Which jobs start when, from now or `from` on."""
        now = time.time()
        begin = data["from"] if data.get("from") is not None else now
        most = max(0, min(data.get("limit", 1000), _MOST))
        if not 0 <= begin <= 4e9 or not 0 <= data["within"] <= 4e9:  # noqa: PLR2004 - as in `schedule`
            raise AgentError("from and within: no time", statuscode=4)
        lifecycle = self._lifecycles[identity]
        try:
            found = forecast(
                self._spool, lifecycle, self._slots, (begin, begin + data["within"]), most
            )
        except MCShellError as error:
            raise AgentError(str(error)) from error
        return {"starts": [one.as_dict() for one in found[:most]], "more": len(found) > most}
