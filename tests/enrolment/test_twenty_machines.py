"""Twenty machines with networks and file systems of their own are taken in over the wire."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.enrolment.site import MCSHELL, Site
from tests.peers.cluster import Hosts
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

# $1 is the name, $2 the folder, $3 the broker, $4 the site's; the rest says who vouches
MACHINE = """\
set -eu
name=$1 at=$2 broker=$3 site=$4; shift 4
mount -t tmpfs -o mode=700 none "$at"
$MCSHELL node enroll "$name" --broker "$broker" --out "$at" --wait 120s "$@"
[ -e "$at/mcshell.toml" ] || sed "s/NAME/$name/g" "$site/hand.toml" > "$at/mcshell.toml"
sed -i "s#^state = .*#state = \\"$at/state\\"#" "$at/mcshell.toml"
exec $MCSHELL node --config "$at/mcshell.toml"
"""
HAND = """\
state = "x"
[broker]
urls = ["{url}"]
[pki]
ca = "ca.pem"
crl = "crl.pem"
cert = "NAME.pem"
key = "NAME.key"
[node]
policies = "{folder}/policies"
"""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Twenty hosts on a bridge."""
    if os.geteuid():
        pytest.skip("needs root: machines with networks of their own")
    with Hosts(20) as found:
        yield found


@pytest.mark.timeout(400)
def test_twenty_machines_by_token_by_pattern_and_by_hand(hosts: Hosts, tmp_path: Path) -> None:
    """Ten by one token, five by another's pattern, five by hand; each key is on its machine alone."""
    with Site("embedded", tmp_path, hosts.here) as site:
        site.serve()
        (tmp_path / "hand.toml").write_text(HAND.format(url=site.url, folder=tmp_path))
        web = site.token("web*", "--count", "10")
        db = site.token("db?.example.com", "--count", "50", "--ends", "1h")
        by_hand = ["--ca", web.read_text().rpartition("-")[2]]
        wanted = {f"web{n}": ["--token-file", str(web)] for n in range(10)}
        wanted |= {f"db{n}.example.com": ["--token-file", str(db)] for n in range(5)}
        wanted |= {f"app{n}": by_hand for n in range(5)}
        machines = {
            name: machine(site, hosts, address, name, vouching)
            for address, (name, vouching) in zip(hosts.names, wanted.items(), strict=True)
        }
        waiting = lambda: {one["name"] for one in site.json("pki", "requests", *site.pki, "--json")}  # noqa: E731
        assert wait_until(lambda: len(waiting()) == 5, 120, 0.5)
        assert waiting() == {f"app{n}" for n in range(5)}
        site.run("pki", "sign", "--matching", "app*", *site.pki, "--out", str(tmp_path))
        for name, child in machines.items():
            ready = wait_until(lambda: "\nready\n" in child.log.read_text(), 120)  # noqa: B023 - called at once
            assert ready, (name, child.tail())
        with site.client() as alice:
            assert set(alice.discover().sender) == set(wanted)
            replies = alice.rpc("rpcutil", "ping", via="direct", nodes=[*wanted])
            assert replies.stats["ok"] == len(wanted), replies.ledger()
        keys = [key_on(machines[name], site.machine(name) / f"{name}.key") for name in wanted]
        assert len({*keys}) == len(wanted)
        here = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
        assert not [key for key in keys if key in here]


def machine(site: Site, hosts: Hosts, address: str, name: str, vouching: list[str]) -> Child:
    """Begin a machine's life: its file system is its own, and goes with it."""
    site.machine(name).mkdir(parents=True)
    words = [name, str(site.machine(name)), site.listener, str(site.folder), *vouching]
    argv = ["unshare", "--mount", "sh", "-c", MACHINE, "sh", *words]
    log = site.folder / f"{name}.log"
    child = Child(hosts.inside(address, argv), log, {"MCSHELL": " ".join(MCSHELL)})
    site.children[name] = child
    return child


def key_on(machine: Child, path: Path) -> bytes:
    """The secret line of the key, read where the machine sees it."""
    for member in machine.family():
        seen = Path(f"/proc/{member.pid}/root{path}")
        if seen.exists():
            return seen.read_bytes().splitlines()[1]
    raise AssertionError(f"{path} is not there")
