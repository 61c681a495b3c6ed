"""Each foreign CA, made once a run, and a site of it on each broker of production."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.foreign.cas import KINDS, ForeignAuthority
from tests.foreign.fleet import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CAS = [
    pytest.param("puppet", marks=pytest.mark.puppet),
    *(kind for kind in KINDS if kind != "puppet"),
]
BROKERS = [
    pytest.param("activemq", marks=pytest.mark.activemq),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ForeignAuthority]:
    """A CA by its kind, made when it is asked for first."""

    @cache
    def made(kind: str) -> ForeignAuthority:
        return KINDS[kind](tmp_path_factory.mktemp("foreign") / kind)

    return made


@pytest.fixture(scope="session", params=CAS)
def ca(
    request: pytest.FixtureRequest, authority: Callable[[str], ForeignAuthority]
) -> ForeignAuthority:
    """Each of the CAs."""
    return authority(request.param)


@pytest.fixture(params=BROKERS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ca: ForeignAuthority
) -> Iterator[Site]:
    """Each broker of production, set up for a fleet of each CA."""
    made = Site(request.param, tmp_path_factory.mktemp(f"{ca.kind}-{request.param}"), ca)
    try:
        yield made
    finally:
        made.stop()
