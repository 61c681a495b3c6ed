"""The connection over real daemons."""

from __future__ import annotations

import pytest

from tests.ansible.conftest import NAMES, Ansible, Machines

pytestmark = pytest.mark.timeout(400)


def test_first(ansible: Ansible, machines: Machines) -> None:
    """A play runs."""
    import time
    for _ in range(2):
        began = time.monotonic()
        run = ansible.play([{"ping": {}}, {"command": "id"}, {"copy": {"content": "x", "dest": "{{root}}.x"}}], machines.hosts())
        print(run.said, time.monotonic() - began)
    assert run.code == 0
    assert 0
