"""Every hostile message of `tests/hostile/forge.py` against the envelope, without a broker."""

from __future__ import annotations

from collections import Counter

import pytest

from mcshell.errors import Reason
from tests.hostile.forge import CLASSES
from tests.hostile.receiver import arena


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A receiver and all cases, made once."""
    receiver, cases = arena(tmp_path_factory.mktemp("hostile"))
    yield receiver, cases
    receiver.replay_guard.close()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_of_hostile_messages_is_refused(scene, kind):
    """Each is refused with its own reason, and its untampered twin is accepted."""
    receiver, cases = scene
    chosen = [case for case in cases if case.kind == kind]
    assert len(chosen) >= 4
    for case in chosen:
        messages = [(case.hostile, case.reason), (case.twin, None)]
        if case.reason is Reason.REPLAYED:
            messages.reverse()
        for sealed, expected in messages:
            assert (case.name, receiver.refusal(sealed, case)) == (case.name, expected)


def test_the_forge_is_thorough(scene):
    """There are at least 60 hostile messages, each under a name of its own."""
    _, cases = scene
    assert len(cases) >= 60
    names = Counter((case.kind, case.name) for case in cases)
    assert [name for name, count in names.items() if count > 1] == []
    assert {case.kind for case in cases} == set(CLASSES)
