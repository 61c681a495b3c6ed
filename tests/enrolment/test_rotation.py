"""A fleet goes from one CA to the next while it works: nobody is silent, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from mcshell.docs import markdown, pages
from mcshell.pki.realm import realm_of
from tests.enrolment.site import KINDS, Site
from tests.enrolment.test_renewal import DAY, Asker, serial
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)
LIFE = 300.0
LONG = [pytest.mark.activemq, pytest.mark.soak]


def cas(site: Site, name: str) -> list[x509.Certificate]:
    """Whom a machine trusts."""
    return x509.load_pem_x509_certificates((site.machine(name) / "ca.pem").read_bytes())


def issuer(site: Site, name: str) -> x509.Name:
    """Who has issued a machine's certificate."""
    pem = (site.machine(name) / f"{name}.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).issuer


BLOCKS = [text for _, text in markdown.code(pages.page("rotate-a-ca").text)]


def typed(site: Site, begin: str) -> None:
    """Type the lines of the how-to page that begin so, with the site's folders."""
    (text,) = [one for one in BLOCKS if one.startswith(begin)]
    for there, here in (
        ("/srv/mcshell/ca", "ca"),
        ("/srv/mcshell/broker", "conf"),
        ("/home/alice", "."),
    ):
        text = text.replace(there, here)
    restarts = (
        site.kind != "rabbitmq" and "conf/reload\n" in text
    )  # ActiveMQ's reload does that, too
    if restarts:
        text = text.replace("conf/reload\n", "").replace("rabbitmq", site.kind)
    env = {**site.broker.environment, "MCSHELL_CONFIG": str(site.folder / "alice.toml")}
    done = subprocess.run(
        ["sh", "-euc", f"PATH={site.folder}:$PATH\n{text}"],
        cwd=site.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    if restarts:
        site.broker.restart()


def configure_broker(site: Site) -> None:
    """Have the broker take over the CAs as they are now."""
    words = ("broker", "config", site.kind, *site.pki, "--dir", str(site.folder / "conf"))
    site.run(*words, config="alice")
    if site.kind == "rabbitmq":
        site.broker.command("reload")
    else:
        site.broker.restart()


def renew(site: Site, name: str, kind: str) -> None:
    """Issue another certificate, of the CA that signs."""
    words = ("pki", "issue", name, "--kind", kind, "--renew", *site.pki)
    site.run(*words, "--out", str(site.folder))


def bring(site: Site, *names: str) -> None:
    """Bring the CA's files to machines, and have their daemons read them."""
    for name in names:
        for file in ("crl.pem", "ca.pem"):
            (site.machine(name) / file).write_bytes((site.folder / "ca" / file).read_bytes())
        if name in site.children:
            site.children[name].signal(signal.SIGHUP)


def answer(site: Site, *names: str) -> None:
    """Each of these answers, by its queue and at once."""
    with site.client() as alice:
        for via in ("queue", None):  # who has its own is there again
            replies = alice.rpc("rpcutil", "ping", nodes=list(names), via=via, timeout=60)
            assert replies.stats["ok"] == len(names), (via, replies.ledger().to_dict())


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2], pytest.param("activemq", marks=LONG)])
def test_a_fleet_changes_its_ca(kind: str, tmp_path: Path) -> None:
    """By the page's lines; what was sent before is done after, by a machine that comes after."""
    with Site(kind, tmp_path) as site:
        site.serve("--days", f"{LIFE / DAY:.9f}")
        token = site.token("web*", "--count", "9")
        for name in ("web1", "web2"):
            site.enroll(name, token=token)
            site.node(name)
        with site.client(session="waits") as alice:
            alice.rpc("rpcutil", "ping", nodes=["web3"], via="queue", wait=False)
        (old,) = cas(site, "web1")
        realm = realm_of((site.machine("web1") / "ca.pem").read_bytes())

        typed(site, "mcshell pki rotate begin")
        bring(site, "web1", "web2")
        answer(site, "web1", "web2")

        typed(site, "mcshell pki publish")
        site.run("pki", "rotate", "finish", *site.pki, code=64)
        typed(site, "mcshell pki rotate --pki")
        configure_broker(site)
        bring(site, "web1", "web2")
        for name in ("web1", "web2"):
            assert wait_until(lambda name=name: issuer(site, name) != old.subject, 120)
        site.enroll("web3", token=site.token("web3"))
        site.node("web3")
        assert len(cas(site, "web3")) == 2
        with site.client(session="waits") as alice:
            assert alice.replies().wait(60).stats["ok"] == 1
        answer(site, "web1", "web2", "web3")

        renew(site, "sup1", "node")
        typed(site, "mcshell pki rotate finish")
        bring(site, "web1", "web2", "web3")
        assert old not in cas(site, "web1")
        answer(site, "web1", "web2", "web3")
        log = site.folder / "web1.log"
        assert wait_until(lambda: log.read_text().count("trusted now: ") == 2, 60)
        assert realm_of((site.machine("web1") / "ca.pem").read_bytes()) == realm


def test_who_renews_hears_of_the_other_ca_and_of_the_end_of_the_old_one(tmp_path: Path) -> None:
    """No hand touches the machine, which is asked all the time."""
    life = 30.0
    with Site("embedded", tmp_path) as site:
        site.serve("--days", f"{life / DAY:.9f}")
        site.enroll("web1", token=site.token("web*"))
        node = site.node("web1")
        asker = Asker(site)
        asker.start()
        (old,) = cas(site, "web1")
        site.run("pki", "rotate", "begin", *site.pki)
        configure_broker(site)
        assert wait_until(lambda: len(cas(site, "web1")) == 2, 3 * life), node.tail()
        assert issuer(site, "web1") == old.subject
        site.run("pki", "rotate", "switch", *site.pki)
        assert wait_until(lambda: issuer(site, "web1") != old.subject, 3 * life), node.tail()
        asker.over.set()  # it has a certificate of the old CA
        asker.join(120)
        assert asker.asked > 10
        assert asker.wrong == []
        renew(site, "alice", "operator")
        configure_broker(site)
        before = serial(site)
        site.run("pki", "rotate", "finish", *site.pki, "--force")
        assert wait_until(lambda: old not in cas(site, "web1"), 3 * life), node.tail()
        # the CAs are written before the certificate that they have issued
        assert wait_until(lambda: serial(site) != before, 30), node.tail()
        node.stop()
        site.node("web1")  # with the files that came
        configure_broker(site)
        answer(site, "web1")
