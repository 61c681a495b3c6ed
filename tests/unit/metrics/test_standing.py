"""What the figures are taken from: whether the audit log can be written, how machines stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.audit.log import AuditLog
from mcshell.supervisor.metrics import MachineStates
from mcshell.wire.documents.registration import Registration
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path


def test_an_audit_log_on_a_full_disk_is_not_writable(tmp_path: Path) -> None:
    """Before anything is lost, and while something is only in the reserve; with room it is again."""
    with small_disk(tmp_path / "disk") as disk, AuditLog(disk.path / "audit.jsonl") as audit:
        audit.write({"event": "accepted"})
        before = audit.standing
        assert (before.writable, before.lost) == (True, 0)
        disk.fill()
        assert not audit.standing.writable
        long = "x" * 8192
        assert audit.write({"event": "accepted", "reason": long})
        assert audit.write({"event": "started", "reason": long}, vital=True) is None
        assert (audit.standing.writable, audit.standing.lost) == (False, 1)
        disk.empty()
        assert not audit.standing.writable, "the reserve is not in the file yet"
        audit.write({"event": "finished"})
        after = audit.standing
        assert (after.writable, after.lost) == (True, 1)
        assert after.lines > before.lines + 1


def registration(identity: str) -> Registration:
    """One that is said again every 10 s."""
    return Registration(
        identity=identity,
        created=0.0,
        interval=10.0,
        facts={},
        classes=(),
        agents=(),
        collectives=("mcs",),
        pools=(),
        version="0",
        started=0.0,
        crl=None,
    )


def test_a_machine_is_silent_after_two_and_a_half_intervals() -> None:
    """Each counts once in its collective, with the jobs of its last registration."""
    states = MachineStates()
    states.enter("mcs", registration("web1"), 100.0, {"held": 2})
    states.enter("mcs", registration("web1"), 110.0, {"held": 3})
    states.enter("mcs", registration("web2"), 120.0, {"held": 1, "lacking": 2})
    assert states.counts(135.0) == ({"heard": 2}, {"held": 4, "lacking": 2})
    assert states.counts(136.0)[0] == {"heard": 1, "silent": 1}
    states.clear()
    assert states.counts(136.0) == ({}, {})
