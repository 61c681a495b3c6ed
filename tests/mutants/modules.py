"""Which modules keep the promises, and which unit tests are to notice when one does not.

By name first, then those that came out as tests of it when lines were traced. None needs a peer.
"""

from __future__ import annotations

from typing import Final

__all__ = ["TESTS"]

CLIENT: Final = "tests/unit/client/"
NODE: Final = "tests/unit/node/"
WIRE: Final = "tests/unit/wire/"

_STORE = (CLIENT + "test_store.py", CLIENT + "test_session_store.py", CLIENT + "test_reissue.py")
_POLICY = (
    NODE + "test_policy.py",
    NODE + "test_policy_deny.py",
    NODE + "test_policy_owner.py",
    NODE + "test_policy_model.py",
    "tests/unit/patterns/test_ways_in.py",
)
_TRUST = (
    WIRE + "test_signers.py",
    WIRE + "test_versions.py",
    WIRE + "test_signatures.py",
    WIRE + "test_revocation_lists.py",
    WIRE + "test_rotation.py",
    WIRE + "test_crl.py",
    WIRE + "test_login.py",
    WIRE + "test_verdicts.py",
)
_ADMISSION = (NODE + "test_admission.py",)
_JOBS = (NODE + "test_job_life.py", NODE + "test_scheduler.py")

TESTS: Final = {
    "mcshell/client/store/ledger.py": (CLIENT + "test_ledger.py", *_STORE),
    "mcshell/client/store/store.py": _STORE,
    "mcshell/client/store/incoming.py": _STORE,
    "mcshell/client/messaging/outbox.py": (CLIENT + "test_outbox.py",),
    "mcshell/wire/stomp/confirmed.py": (WIRE + "test_confirmed.py", CLIENT + "test_outbox.py"),
    "mcshell/wire/documents/envelope.py": (
        WIRE + "test_versions.py",
        WIRE + "test_envelope.py",
        WIRE + "test_hostile.py",
        WIRE + "test_crl.py",
        WIRE + "test_verdicts.py",
    ),
    "mcshell/wire/documents/signatures.py": _TRUST,
    "mcshell/wire/documents/trust.py": _TRUST,
    "mcshell/node/admission/controller.py": _ADMISSION,
    "mcshell/node/admission/intake.py": _ADMISSION,
    "mcshell/node/admission/policy.py": (NODE + "test_authorisation.py", *_POLICY),
    "mcshell/node/admission/policy_conditions.py": (
        NODE + "test_policy_conditions.py",
        *_POLICY,
    ),
    "mcshell/node/admission/policy_file.py": (NODE + "test_policy_lines.py", *_POLICY),
    "mcshell/node/admission/replay.py": (NODE + "test_replay.py",),
    "mcshell/node/store/spool.py": (NODE + "test_spool.py", NODE + "test_spool_rows.py"),
    "mcshell/node/queue/outbox.py": (NODE + "test_outbox.py",),
    "mcshell/node/jobs/scheduler.py": _JOBS,
}
