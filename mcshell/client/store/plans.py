"""The plans of a session, in its file: the signed document, and whom each wave is for.

Both are committed before anything is sent. Which waves have been sent is not written down here:
the requests in the file say it. Which failures were accepted is, with who did it and when.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import UsageError, did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.sqlite import Database

__all__ = ["OK", "OPEN", "STOPPED", "UNHEARD", "AcceptedFailure", "KeptPlan", "PlanStore"]

OPEN: Final = "open"
OK: Final = "ok"
STOPPED: Final = "stopped"

UNHEARD: Final = ""  # no step: who does not know of it passes it over
_COLUMNS: Final = "id, name, revision, created, body, signature, certificate, waves, state, reason"


@dataclass(frozen=True, slots=True)
class AcceptedFailure:
    """A failure that was accepted: of which step and node, what it said; by whom and when."""

    step: str
    sender: str
    said: str
    by: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """One run of a plan. `waves` are the nodes of each wave of each step, fixed at the start.

    Under `UNHEARD` they have those of a step's first wave that were named, and that nothing is sent to.
    `state` is open, ok, or stopped (`reason` says why); `created` is epoch seconds. `accepted` are
    the failures in spite of which it goes on.
    """

    id: str
    name: str
    revision: int
    created: float
    body: bytes
    signature: str
    certificate: str
    waves: dict[str, list[tuple[str, ...]]]
    state: str = OPEN
    reason: str = ""
    accepted: tuple[AcceptedFailure, ...] = ()

    @property
    def unheard(self) -> dict[str, tuple[str, ...]]:
        """By step those of its first wave that nothing is sent to."""
        return {step: tuple(names) for step, *names in self.waves.get(UNHEARD, ())}

    def accepts(self, step: str) -> frozenset[str]:
        """The nodes whose failures in a step are accepted."""
        return frozenset(one.sender for one in self.accepted if one.step == step)


class PlanStore:
    """The plans in one session file."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def add(self, plan: KeptPlan, *, secret: bool = False) -> None:
        """Keep a plan that begins, on disk when this returns; no export has a `secret` one."""
        waves = json.dumps(plan.waves)
        with self._store.transaction() as db:
            if secret:
                db.execute("INSERT OR IGNORE INTO secrets VALUES (?)", (plan.id,))
            db.execute(
                f"INSERT INTO plans ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - our own names
                (
                    plan.id,
                    plan.name,
                    plan.revision,
                    plan.created,
                    plan.body,
                    plan.signature,
                    plan.certificate,
                    waves,
                    plan.state,
                    plan.reason,
                ),
            )

    def secret(self, plan: str) -> bool:
        """Whether a plan has, or had, secret inputs."""
        return bool(self._store.read("SELECT 1 FROM secrets WHERE request=?", (plan,)))

    def replace_document(self, plan: str, body: bytes, signature: str, certificate: str) -> None:
        """Keep other signed bytes of a plan; of the former none are left in file or WAL."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE plans SET body=?, signature=?, certificate=? WHERE id=?",
                (body, signature, certificate, plan),
            )
        self._store.checkpoint()

    def set_state(self, plan: str, state: str, reason: str) -> None:
        """Write down how a plan stands: open, ok or stopped, and why."""
        with self._store.transaction() as db:
            db.execute("UPDATE plans SET state=?, reason=? WHERE id=?", (state, reason, plan))

    def accept(self, plan: str, failures: Iterable[AcceptedFailure]) -> None:
        """Write down which failures are accepted, on disk when this returns; they stay so."""
        rows = [(plan, one.step, one.sender, one.said, one.by, one.at) for one in failures]
        with self._store.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO accepted VALUES (?,?,?,?,?,?)", rows)

    def all(self) -> list[KeptPlan]:
        """The plans of the session, the oldest first."""
        accepted: dict[str, list[AcceptedFailure]] = {}
        query = "SELECT plan, step, sender, said, caller, at FROM accepted ORDER BY at, sender"
        for plan, *row in self._store.read(query):
            accepted.setdefault(plan, []).append(AcceptedFailure(*row))
        rows = self._store.read(f"SELECT {_COLUMNS} FROM plans ORDER BY created, number")  # noqa: S608 - our own names
        return [_kept(row, tuple(accepted.get(row[0], ()))) for row in rows]

    def find(self, word: str | None = None) -> KeptPlan:
        """A plan by its id, its first letters or its name (the newest of that name), or the newest.

        Raises:
            UsageError: there is none, or several ids begin so.
        """
        known = self.all()
        if not known:
            raise UsageError("no plan was run in this session")
        if word is None:
            return known[-1]
        named = [one for one in known if one.name == word]
        begun = [one for one in known if one.id.startswith(word)]
        found = named[-1:] or begun
        if len(found) > 1:
            ids = ", ".join(one.id[:12] for one in found)
            raise UsageError(f"plan {word!r} is ambiguous: {ids}")
        if not found:
            near = did_you_mean(word, {one.name for one in known})
            raise UsageError(f"no plan {word!r} was run in this session{near}")
        return found[0]


def _kept(row: tuple[Any, ...], accepted: tuple[AcceptedFailure, ...]) -> KeptPlan:
    plan, name, revision, created, body, signature, certificate, text, state, reason = row
    return KeptPlan(
        id=plan,
        name=name,
        revision=revision,
        created=created,
        body=bytes(body),
        signature=signature,
        certificate=certificate,
        waves=_waves(text),
        state=state,
        reason=reason,
        accepted=accepted,
    )


def _waves(text: str) -> dict[str, list[tuple[str, ...]]]:
    """Whom each wave is for; nobody where a file has no such thing, which is what nobody signs."""
    try:
        found = json.loads(text)
        return {step: [tuple(wave) for wave in waves] for step, waves in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
