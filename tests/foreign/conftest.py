"""Each foreign CA, made once a run, and a site of it on each broker of production."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.foreign.cas import KINDS, ForeignAuthority
from tests.foreign.fleet import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest.mark import ParameterSet


def _pair(ca: str, broker: str, *more: pytest.MarkDecorator) -> ParameterSet:
    peers = [getattr(pytest.mark, one) for one in (ca, broker) if one in ("puppet", *BROKERS)]
    return pytest.param((ca, broker), marks=[*peers, *more], id=f"{ca}-{broker}")


BROKERS = ("activemq", "rabbitmq")
IN_TURN = [_pair(ca, BROKERS[number % 2]) for number, ca in enumerate(KINDS)]
OTHERS = [_pair(ca, BROKERS[1 - number % 2], pytest.mark.soak) for number, ca in enumerate(KINDS)]
"""What differs by the CA does so on any broker: each pair of them is for a longer trial."""


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ForeignAuthority]:
    """A CA by its kind, made when it is asked for first."""

    @cache
    def made(kind: str) -> ForeignAuthority:
        return KINDS[kind](tmp_path_factory.mktemp("foreign") / kind)

    return made


@pytest.fixture(params=IN_TURN + OTHERS)
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Callable[[str], ForeignAuthority],
) -> Iterator[Site]:
    """A broker of production, set up for a fleet of a foreign CA: each of both."""
    ca, broker = request.param
    made = Site(broker, tmp_path_factory.mktemp(f"{ca}-{broker}"), authority(ca))
    try:
        yield made
    finally:
        made.stop()
