"""A fleet of each foreign CA on each broker: TLS, rights, queued work, renewal, revocation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.wire import destinations
from tests.foreign.cas import HOSTS
from tests.foreign.test_page import block, shell
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
    assert may_read(site, "mallory", queue_of(site, "mallory"))
    assert not may_read(site, "mallory", queue_of(site, "alice"))
    assert not may_read(site, "web1", work["db1"])
    ghost = {"rabbitmq": "guest", "activemq": "system"}[site.kind]  # whom brokers know by default
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
    """The node refuses what the key signs once `pki publish` has brought it the CA's new list."""
    site.ca.revoke("mallory")
    site.fleet.refresh()
    published = site.fleet.cli("pki", "publish", "-I", "web1", "--json")
    assert published.returncode == 0, published.stderr + published.stdout
    words = ("rpc", "rpcutil", "ping", "-I", "web1", "--via", "queue", "-b")
    sent = site.fleet.cli(*words, MCSHELL_CONFIG="mallory.toml")
    assert sent.returncode == 0, sent.stderr
    reasons = lambda: [event.get("reason") for event in site.fleet.audit("web1")]  # noqa: E731
    assert wait_until(lambda: "revoked" in reasons(), 30)


def a_revoked_broker_is_replaced(site: Site) -> None:
    """It is not spoken to; cron's lines of the how-to page put its new certificate in, and take out
    mallory's login.
    """
    site.ca.revoke("mq")
    site.fleet.refresh()
    refused = site.fleet.cli(*PING)
    assert refused.returncode != 0
    assert WHY in refused.stderr
    site.ca.issue("mq", site.folder, HOSTS)
    cron(site)
    assert wait_until(lambda: states(site) == ["ok"], 60)
    record = json.loads((site.folder / "conf" / "mcshell.json").read_text())
    assert {"node:web1", "operator:alice"} <= set(record["identities"])
    assert "operator:mallory" not in record["identities"]
    assert may_read(site, "alice", queue_of(site, "alice"))
    assert not may_read(site, "mallory", queue_of(site, "mallory"))


def cron(site: Site) -> None:
    """The lines of the page; on ActiveMQ a login goes by itself, and the rest with its `reload`."""
    lines = block("#!/bin/sh").replace("/etc/mcshell", "pki").replace("rabbitmq", site.kind)
    lines, publish = lines.replace("/srv/mcshell/broker", "../conf").split("mcshell pki publish")
    environ = {**site.broker.environment, **site.fleet.environ, "CRL_URL": site.ca.crl.as_uri()}
    if site.kind == "rabbitmq":
        lines += f"mcshell pki publish{publish}"
    else:
        lines, reload = lines.split("../conf/reload")
    done = shell(lines, site.folder, **environ)
    assert done.returncode == 0, done.stderr + done.stdout
    if site.kind == "activemq":
        assert not may_read(site, "mallory", queue_of(site, "mallory"))
        assert shell(f"conf/reload{reload}", site.folder, **environ).returncode == 0


def queue_of(site: Site, who: str) -> str:
    """Where the replies to an operator are."""
    return destinations.reply(site.fleet.collective, f"cert={who}", "s")


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
