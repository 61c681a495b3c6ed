"""One trial of closing the lid: the client dies, the broker dies, another machine has it all."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.client.client import Client
from mcshell.client.session.transfer import export_session, import_session
from mcshell.wire.credentials import load_verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.fleet import Fleet

__all__ = ["COUNT", "PHASES", "Outcome", "trial"]

COUNT = 200
PHASES = ("before-send", "sending", "waiting", "draining", "kept")
NODES = f"emu[0001-{COUNT:04d}]"


@dataclass(frozen=True)
class Outcome:
    """What a trial came to: the phase in which the client died, and the final counts."""

    phase: str
    requestid: str
    stats: dict[str, int | float]
    rows: list[str]
    ran: dict[str, int]

    def wrong(self) -> str:
        """What was lost, or came twice; nothing when all is well."""
        odd = {name: self.stats[name] for name in ("unexpected", "duplicate") if self.stats[name]}
        found = {
            "ok": self.stats["ok"] != COUNT and self.stats,
            "rows": (len(self.rows), len(set(self.rows))) != (COUNT, COUNT) and len(self.rows),
            "odd": odd,
            "ran": set(self.ran.values()) != {1} and (self.ran or "by nobody"),
        }
        return ", ".join(f"{name}: {value}" for name, value in found.items() if value)


def trial(fleet: Fleet, seed: int, crash: Callable[[], None]) -> Outcome:
    """Run one trial; the phase goes round with the seed, the moments within it are random.

    `crash` kills the broker, or a member of it, and starts it again.
    """
    rng = random.Random(seed)
    phase = PHASES[seed % len(PHASES)]
    number = {"sending": rng.randrange(1, COUNT), "draining": rng.randrange(1, COUNT // 2)}
    session = f"lid-{seed}"
    here, there = f"{session}-here", f"{session}-there"
    argv = [
        *(sys.executable, str(Path(__file__).with_name("doomed_client.py"))),
        *(str(fleet.config), str(fleet.folder / here), session, phase),
        *(str(number.get(phase, rng.randrange(1, COUNT))), NODES),
    ]
    doomed = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=fleet.environ)
    assert doomed.stdout is not None
    assert doomed.stdout.readline().strip() == "committed"
    killer = threading.Timer(rng.uniform(0.0, 3.0), crash)
    killer.start()
    said = doomed.communicate(timeout=150)[0]
    assert doomed.returncode == -9, f"phase {phase} was not hit: {said}"
    copy = export_session(fleet.folder / here, session, fleet.folder / f"{session}.mcs")
    verifier = load_verifier(config.load(fleet.config).pki)
    import_session(fleet.folder / there, verifier, copy, lambda *_: False)
    killer.join()
    return _attach(fleet, there, session, phase)


def _attach(fleet: Fleet, state: str, session: str, phase: str) -> Outcome:
    settings = config.load(fleet.config, overrides={"state": str(fleet.folder / state)})
    with Client(settings, session=session) as client:
        replies = client.replies().wait(120)
        ran: dict[str, int] = {}
        for event in fleet.audit("emulator"):
            if event.get("requestid") == replies.requestid and event["event"] == "accepted":
                ran[event["identity"]] = ran.get(event["identity"], 0) + 1
        return Outcome(
            phase,
            replies.requestid,
            replies.stats,
            [row.sender for row in replies.rows()],
            ran,
        )
