"""A site of three machines, and the light node's wheel that both tools install."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rollout.machines import NAMES, Site, light_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rollout.machines import Machine


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light node of this checkout."""
    return light_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The administrator's; its machines are as the tests before have left them."""
    with Site(tmp_path_factory.mktemp("rollout"), wheel) as one:
        yield one


@pytest.fixture
def machine(site: Site) -> Machine:
    """The one that is changed, whose daemon runs; what its service was told before is forgotten."""
    one = site.machines[NAMES[1]]
    if one.daemon is None:  # the tests before may have been left out
        one.start()
    one.calls()
    return one
