"""Facts and classes that cannot be sent cost themselves: the node stays a row in every answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.client.discovery.targeting import Targeting
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)

FILES: dict[str, bytes] = {
    "deep.json": b'{"deep": ' + b'{"l": ' * 40 + b"1" + b"}" * 40 + b', "beside": "there"}',
    "very-deep.json": b"[" * 100_000,
    "half.json": rb'{"half": "a\ud800z", "k\udc00": 1, "whole": "\ud83d\ude00"}',
    "numbers.json": b'{"serial": 123456789012345678901234567890, "digits": ' + b"9" * 5000 + b"}",
    "load.json": b'{"load": NaN, "top": -Infinity, "nul": "a\\u0000b"}',
    "twice.json": b'{"role": "first", "role": "web"}',
    "bom.yaml": b"\xef\xbb\xbfbom: read\r\ncrlf: [a, b]\r\n",
    "utf16.yaml": "wide: read\n".encode("utf-16"),
    "latin1.yaml": b"site: Z\xfcrich\n",
    "laughs.yaml": b"l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
    + b"".join(
        b"l%d: &l%d [%s]\n" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 9)
    ),
    "self.yaml": b"self: &a {again: *a, fine: 1}\n",
    "norway.yaml": b"country: NO\nday: 2026-11-26\nempty:\nbig: 0xffffffffffffffffff\n",
    "ruby.yaml": b"--- !ruby/sym role\n",
    "list.yaml": b"- a\n- b\n",
    "facter.txt": b"role=web\n",
    "large.json": json.dumps({"packages": {f"p{n}": "1.0-" * 9 for n in range(60_000)}}).encode(),
    "partly.yaml": b"partly: {small: 1, large: " + b"x" * 700_000 + b"}\n",
}
LEFT_OUT = {
    "deep.l.l": "nested deeper",
    "very-deep.json": "left out",
    "k\ufffd": "half of a character",
    "latin1.yaml": "left out",
    "l8": "more than 100,000 values",
    "ruby.yaml": "left out",
    "list.yaml": "a hash is wanted",
    "facter.txt": "neither .yaml nor .json",
    "packages": "too large",
    "partly.large": "too large",
}
THERE = {
    "beside": "there",
    "half": "a\ufffdz",
    "whole": "\U0001f600",
    "serial": "123456789012345678901234567890",
    "digits": "9" * 5000,
    "load": "nan",
    "top": "-inf",
    "nul": "a\0b",
    "bom": "read",
    "crlf": ["a", "b"],
    "wide": "read",
    "country": False,
    "day": "2026-11-26",
    "empty": None,
    "big": str(0xFFFFFFFFFFFFFFFFFF),
    "partly": {"small": 1},
}
CLASSES = b"role::web\nz\xfcrich\n" + b"x" * 300 + b"\nbase\n"


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node with every odd file, and one without."""
    folder = tmp_path_factory.mktemp("odd-facts")
    with Fleet(embedded, folder, {"web1": Node(), "web2": Node()}) as fleet:
        (folder / "facts.d").mkdir()
        for name, content in FILES.items():
            (folder / "facts.d" / name).write_bytes(content)
        (folder / "web1.classes").write_bytes(CLASSES)
        config = folder / "web1.toml"
        config.write_text(config.read_text().replace("web1.yaml", "facts.d/*"))
        fleet.start()
        yield fleet


def rows(fleet: Fleet, *words: str, state: str) -> list[dict[str, object]]:
    """What a command line gives, asked by one who knows nothing yet."""
    done = fleet.cli(*words, "--json", MCSHELL_STATE=str(fleet.folder / state))
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_the_node_is_a_row_everywhere(fleet: Fleet) -> None:
    """`ping`, `find`, a filter by a fact and by a class find it, from a state that knows nothing."""
    both = {"web1", "web2"}
    assert {row["sender"] for row in rows(fleet, "ping", state="one")} == both
    assert {row["sender"] for row in rows(fleet, "find", state="two")} == both
    where = ["-F", "beside=there", "-C", "base"]
    assert [row["sender"] for row in rows(fleet, "find", *where, state="three")] == ["web1"]


def test_what_can_be_sent_is_there_and_the_rest_is_named(fleet: Fleet) -> None:
    """Each fact on its own: text where that says the same, left out by name where nothing does."""
    with fleet.client(state="four") as client:
        node = client.find(Targeting()).answers["web1"].node
    facts = {name: node.facts.get(name) for name in THERE}
    assert facts == THERE
    assert node.facts["os"]
    assert "packages" not in node.facts
    assert node.classes == {"role::web", "base"}
    assert node.flaws is not None
    for name, why in LEFT_OUT.items():
        assert any(name in line and why in line for line in node.flaws), (name, node.flaws)
    assert sum(line.startswith("classes: ") for line in node.flaws) == 2
    for name in ("very-deep.json", "deep.l.l", "packages", "classes"):
        assert name in fleet.nodes["web1"].tail(200)


def test_explain_and_doctor_name_it(fleet: Fleet) -> None:
    """`explain` from afar, `doctor` on the machine; a node without flaws has none."""
    found = rows(fleet, "explain", "web1", state="five")
    told = [row["evidence"] for row in found if row["cause"] == "something of it cannot be used"]
    assert len(told) == 10
    assert any("deep.l.l" in str(line) for line in told)
    fine = rows(fleet, "explain", "web2", state="five")
    assert [row["cause"] for row in fine] == ["it answers now"]
    done = fleet.cli("doctor", MCSHELL_CONFIG=str(fleet.folder / "web1.toml"))
    assert "deep.l.l" in done.stdout
    assert "line 2 is left out: it is not UTF-8" in done.stdout
