"""A CA, and what signs with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.enrolment.service import EnrolmentService
from mcshell.enrolment.store import EnrolmentStore
from mcshell.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA."""
    return Authority.init(tmp_path / "ca")


@pytest.fixture
def service(authority: Authority) -> Iterator[EnrolmentService]:
    """What signs with its key."""
    with EnrolmentStore(authority.directory) as store:
        yield EnrolmentService(authority, store)
