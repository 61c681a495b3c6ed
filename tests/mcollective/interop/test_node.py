"""The real `mco` as client: our nodes answer as the real ones beside them do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.mcollective.interop.calls import CALLS, Call, normal
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import PLUGINS, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mcollective.interop.network import Answer, Network
    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.timeout(400)]
COUNT = 5
REAL = [f"node{number:04d}" for number in range(1, COUNT + 1)]
OURS = [f"ours{number:04d}" for number in range(1, COUNT + 1)]


@pytest.fixture(scope="module")
def network(networks: Callable[..., Network]) -> Network:
    """Five real nodes on ActiveMQ under psk."""
    return networks("activemq", Pair(), COUNT)


@pytest.fixture(scope="module")
def fleet(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Five of ours beside them."""
    folder = tmp_path_factory.mktemp("ours")
    with fleet_beside(network.broker, folder, network, COUNT) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def answers(network: Network, fleet: Fleet) -> dict[tuple[str, str], Answer]:
    """What `mco -j` gets for every call, from real nodes alone and from ours alone."""
    keys = [(str(call), prefix) for call in CALLS for prefix in ("node", "ours")]
    lines = [
        (*call.words(prefix), *among(call, prefix), "-j", "--dt", "1")
        for call in CALLS
        for prefix in ("node", "ours")
    ]
    return dict(zip(keys, network.many(lines), strict=True))


def among(call: Call, prefix: str) -> tuple[str, ...]:
    """A filter that leaves the other kind of nodes out."""
    return () if call.identities or call.nodes else ("-I", f"/^{prefix}/")


def seen(answer: Answer, prefix: str) -> dict[str, Any]:
    """Number of the node → code, message and data; names in them are made the same."""
    if not answer.out.strip():
        return {}
    text = answer.out.replace(prefix, "name")
    found = re.search(r"^\[", text, re.MULTILINE)
    rows = answer.__class__(0, text[found.start() :] if found else text, "").json()
    return {
        row["sender"]: (row["statuscode"], row["statusmsg"], normal(row["data"])) for row in rows
    }


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_same_as_mcollectived(call: Call, answers: dict[tuple[str, str], Answer]) -> None:
    """The real client gets from our nodes what it gets from real ones, and the same exit code."""
    real, ours = answers[str(call), "node"], answers[str(call), "ours"]
    assert seen(ours, "ours") == seen(real, "node")
    assert ours.code == real.code


def test_ping(network: Network, fleet: Fleet) -> None:
    """`mco ping` hears both kinds."""
    answer = network.mco("ping", "-t", "2")
    assert sorted(line.split()[0] for line in answer.out.splitlines() if "time=" in line) == [
        *REAL,
        *OURS,
    ]
    assert answer.code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("-F", "os=debian"),
        ("-C", "/^ssh/"),
        ("-A", "rig"),
        ("-I", "/000[12]$/"),
        ("-S", "(dc=ams or dc=lon) and not odd"),
        ("-S", "fact('dc').value=ams and agent('rig').version=1.0"),
    ],
    ids=" ".join,
)
def test_find(words: tuple[str, ...], network: Network, fleet: Fleet) -> None:
    """`mco find` finds of ours those whose twins it finds."""
    found = network.mco("find", *words, "--dt", "1").out.split()
    real = {name[4:] for name in found if name.startswith("node")}
    assert real
    assert {name[4:] for name in found if name.startswith("ours")} == real


def test_facts(network: Network, fleet: Fleet) -> None:
    """`mco facts` counts both kinds."""
    out = network.mco("facts", "dc", "--dt", "1").out
    assert dict(re.findall(r"^\s+(\w+)\s+found (\d) times", out, re.MULTILINE)) == {
        "ams": "4",
        "lon": "4",
        "nyc": "2",
    }


def test_inventory(network: Network, fleet: Fleet) -> None:
    """`mco inventory` of one of ours shows its facts, classes, agents, collective and counters."""
    answer = network.mco("inventory", "ours0001")
    assert answer.code == 0
    for pattern in (
        r"Inventory for ours0001:",
        r"Main Collective: mcollective$",
        r"Config File: \S+ours0001\.toml$",
        r"Total Processor Time: [\d.]+ seconds",
        r"Replies Sent: \d+",
        r"Expired Messages: 0$",
        r"\brpcutil\b",
        r"fstat",
        r"^    base +ntp",
        r"dc => ams",
    ):
        assert re.search(pattern, answer.out, re.MULTILINE), (pattern, answer.out)


def test_collectives(network: Network, fleet: Fleet) -> None:
    """`mco inventory --list-collectives` counts ours in the old wire's collective."""
    out = network.mco("inventory", "--list-collectives").out
    assert re.search(rf"mcollective\s+{2 * COUNT}$", out, re.MULTILINE), out


def test_names_from_a_file(network: Network, fleet: Fleet, tmp_path: Path) -> None:
    """`mco rpc --nodes FILE` reaches those in the file, of both kinds."""
    names = tmp_path / "names"
    names.write_text("node0002\nours0003\n")
    answer = network.mco("rpc", "rpcutil", "ping", "-j", "--nodes", str(names))
    assert {row["sender"] for row in answer.json()} == {"node0002", "ours0003"}
    assert answer.code == 0


def test_limit(network: Network, fleet: Fleet) -> None:
    """`mco rpc --limit` gets so many answers, though all would answer."""
    rows = network.mco("rpc", "rpcutil", "ping", "-j", "--limit", "7").json()
    assert len(rows) == 7
    assert {row["sender"] for row in rows} <= {*REAL, *OURS}


def test_batches_over_both(network: Network, fleet: Fleet) -> None:
    """`mco rpc --batch` goes through both kinds of nodes in groups."""
    words = ("rpc", "rig", "echo", "msg=b", "-j", "--batch", "4", "--batch-sleep", "0.1")
    rows = network.mco(*words).json()
    assert {row["sender"] for row in rows} == {*REAL, *OURS}


def test_a_denied_caller(network: Network, fleet: Fleet) -> None:
    """What no rule allows to a prefixed caller is refused in ActionPolicy's words, and audited."""
    answer = network.mco("rpc", "rpcutil", "ping", "-j", "-I", "ours0005")
    assert answer.code == 0
    policy = fleet.folder / "policies" / "rpcutil.policy"
    policy.write_text("policy default deny\nallow\t*\tinventory\t*\t*\n")
    try:
        rows = wait_denied(network)
        assert rows[0]["statuscode"] == 1
        assert rows[0]["statusmsg"] == "You are not authorized to call this agent or action."
        denied = [event for event in fleet.audit("ours0005") if event["event"] == "denied"]
        assert denied[-1]["caller"] == "mco-psk:uid=0"
    finally:
        policy.unlink()


def wait_denied(network: Network) -> Any:
    """The answer under the new policy, which is looked at once a second."""
    for _ in range(20):
        rows = network.mco("rpc", "rpcutil", "ping", "-j", "-I", "ours0005").json()
        if rows[0]["statuscode"]:
            return rows
    raise AssertionError("the policy was never read")


def test_mco_knows_our_agents(network: Network, fleet: Fleet, tmp_path: Path) -> None:
    """With the DDLs that `ddl export` writes, `mco plugin doc` and `mco rpc` know our agents."""
    target = tmp_path / "plugins"
    assert fleet.cli("ddl", "export", str(target)).returncode == 0
    config = (network.folder / "client.cfg").read_text().replace(str(PLUGINS), str(target))
    other = network.folder / "export.cfg"
    other.write_text(config)
    doc = network.mco("plugin", "doc", "agent/package", config=other)
    assert doc.code == 0, doc.err
    assert "status" in doc.out
    assert re.search(r"^\s+status action", doc.out, re.MULTILINE | re.IGNORECASE), doc.out
    rows = network.mco(
        *("rpc", "service", "status", "name=nothing-such", "-j", "-I", "ours0001"), config=other
    ).json()
    assert [row["sender"] for row in rows] == ["ours0001"]
