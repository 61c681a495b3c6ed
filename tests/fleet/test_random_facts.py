"""A thousand random documents of facts on one daemon: each costs itself at most."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mcshell.client.discovery.targeting import Targeting
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until
from tests.unit.node.test_sendable import PLAIN, TEXT, YAMLS, alone, deep, same

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from mcshell.client.discovery.methods import Answer
    from tests.peers.brokers import Broker

MANY = 500  # of each kind


def documents(values: SearchStrategy[Any]) -> list[dict[Any, Any]]:
    """So many documents, some of them deeper than can be sent."""
    found: list[dict[Any, Any]] = []

    @settings(
        max_examples=MANY,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(document=st.dictionaries(TEXT, values, max_size=5), levels=st.integers(0, 40))
    def collect(document: dict[Any, Any], levels: int) -> None:
        found.append({**document, "deep": deep(1, levels)})

    collect()
    return found


@pytest.mark.timeout(300)
def test_the_node_answers_with_all_that_can_be_sent(embedded: Broker, tmp_path: Path) -> None:
    """Of each document what could be sent is there as it was; each other fact is named."""
    wanted = documents(PLAIN) + documents(YAMLS)
    assert len(wanted) == 2 * MANY
    with Fleet(embedded, tmp_path, {"web1": Node()}) as fleet:
        (tmp_path / "facts.d").mkdir()
        for number, document in enumerate(wanted):
            path = tmp_path / f"facts.d/{number:04}.{'json' if number < MANY else 'yaml'}"
            body = {f"doc{number}": document}
            dump = json.dumps if number < MANY else yaml.safe_dump
            path.write_text(dump(body), encoding="utf-8")
        config = tmp_path / "web1.toml"
        config.write_text(config.read_text().replace("web1.yaml", "facts.d/*"))
        fleet.start()
        with fleet.client() as client:
            found: dict[str, Answer] = {}

            def there() -> bool:
                found.update(client.find(Targeting()).answers)
                return "web1" in found

            assert wait_until(there, 60)
            node = found["web1"].node
        log = (tmp_path / "web1.log").read_text(encoding="utf-8")
    odd = 0
    for number, document in enumerate(wanted):
        sent = node.facts.get(f"doc{number}", {})
        for key, value in document.items():
            if alone(key, document) and key in sent:
                assert same(sent[key], value), (number, key)
            elif alone(key, document):
                odd += 1
                named = re.search(rf"fact doc{number}[.:]|/{number:04}[.]", log)
                assert named, (number, key, value)
    assert 0 < odd < 2 * MANY
