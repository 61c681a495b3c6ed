"""The whole table under every security plugin, serializer and connector, on twenty real nodes.

Run: python -m pytest -m soak tests/mcollective/interop/test_soak.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.mcollective.interop.calls import CALLS
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair
from tests.mcollective.interop.test_client import asked, rows_of
from tests.mcollective.interop.test_pairs import PAIRS, on_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mcollective.interop.network import Network

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
COUNT = 20
MATRIX = [(kind, pair) for kind in ("activemq", "rabbitmq") for pair in (Pair(), *PAIRS)]


@on_each(MATRIX)
def test_whole_table(
    kind: str,
    pair: Pair,
    networks: Callable[..., Network],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each call of the table gives our client what it gives the real one, from twenty nodes."""
    network = networks(kind, pair, COUNT)
    folder = tmp_path_factory.mktemp("operator")
    different: dict[str, Any] = {}
    with fleet_beside(network.broker, folder, network, 0) as fleet:
        lines = [(*call.words("node"), "-j") for call in CALLS]
        theirs = network.many(lines, at_once=4)
        with fleet.client() as client:
            for call, answer in zip(CALLS, theirs, strict=True):
                ours, real = asked(client, call, pair.security), rows_of(answer)
                if ours != real:
                    different[str(call)] = {
                        name: (ours.get(name), real.get(name))
                        for name in ours.keys() | real.keys()
                        if ours.get(name) != real.get(name)
                    }
    network.stop()
    assert not different
