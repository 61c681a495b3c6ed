"""A fleet of each foreign CA on each broker: TLS, rights, queued work, renewal, revocation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.wire import destinations
from tests.peers.bare import Closed
from tests.peers.processes import wait_until
from tests.rights.test_rights import read

if TYPE_CHECKING:
    from tests.foreign.fleet import Site

pytestmark = pytest.mark.timeout(300)
PING = ("rpc", "rpcutil", "ping", "-I", "web1", "--json")
WHY = "TLS: the broker's certificate is revoked"


def test_a_fleet_of_another_ca(site: Site) -> None:
    """Requests, queued work and rights hold; a renewed certificate comes in, a revoked one does not."""
    site.fleet.start("web1")
    asked(site)
    rights_are_for_names(site)
    a_new_certificate_needs_nothing(site)
    who_was_revoked_is_believed_by_nobody(site)
    a_revoked_broker_is_replaced(site)


def asked(site: Site) -> None:
    """A direct request and a queued one are answered."""
    with site.fleet.client() as alice:
        for via in ("direct", "queue"):
            replies = alice.rpc("rpcutil", "ping", nodes=["web1"], via=via, timeout=60)
            assert replies.stats["ok"] == 1, replies.ledger()
        assert not alice.junk


def rights_are_for_names(site: Site) -> None:
    """A node reads its own queue, not another's; who was not shown is not let in."""
    work = {name: destinations.work(site.fleet.collective, name) for name in ("web1", "db1")}
    assert may_read(site, "db1", work["db1"])
    assert not may_read(site, "db1", work["web1"])
    assert not may_read(site, "web1", work["db1"])
    ghost = f"ghost-{site.kind}"
    site.ca.issue(ghost, site.folder)
    assert not may_read(site, ghost, destinations.work(site.fleet.collective, ghost))


def a_new_certificate_needs_nothing(site: Site) -> None:
    """The same name, with a new key: no configuration is written again."""
    site.fleet.kill9("web1")
    before = (site.folder / "web1.pem").read_bytes()
    site.ca.issue("web1", site.folder)
    assert (site.folder / "web1.pem").read_bytes() != before
    site.fleet.start("web1")
    asked(site)


def who_was_revoked_is_believed_by_nobody(site: Site) -> None:
    """The CA's new list goes to the node by `pki publish`, and it refuses what the key signs."""
    site.ca.revoke("mallory")
    site.fleet.refresh()
    published = site.fleet.cli("pki", "publish", "-I", "web1", "--json")
    assert published.returncode == 0, published.stderr + published.stdout
    site.fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", MCSHELL_CONFIG="mallory.toml")
    assert "revoked" in [e.get("reason") for e in site.fleet.audit("web1")]


def a_revoked_broker_is_replaced(site: Site) -> None:
    """It is not spoken to; the same command puts the new certificate in, and takes mallory out."""
    site.ca.revoke("mq")
    site.fleet.refresh()
    refused = site.fleet.cli(*PING)
    assert refused.returncode != 0
    assert WHY in refused.stderr
    site.renew_broker()
    site.configure()
    record = json.loads((site.folder / "conf" / "mcshell.json").read_text())
    assert {"node:web1", "operator:alice"} <= set(record["identities"])
    assert "operator:mallory" not in record["identities"]
    site.take_over()
    assert wait_until(lambda: states(site) == ["ok"], 60)
    queue = destinations.reply(site.fleet.collective, "cert=mallory", "s")
    assert wait_until(lambda: not may_read(site, "mallory", queue), 30)


def states(site: Site) -> list[str]:
    """What becomes of a ping."""
    done = site.fleet.cli(*PING)
    return [row["state"] for row in json.loads(done.stdout)["replies"]] if done.stdout else []


def may_read(site: Site, who: str, queue: str) -> bool:
    """Whether this certificate may log in and read a queue."""
    try:
        with site.enter(who) as bare:
            read(bare, queue)
    except (Closed, OSError):
        return False
    return True
