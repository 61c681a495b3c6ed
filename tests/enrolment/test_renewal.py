"""Certificates that last minutes are renewed by the daemon itself, and nobody who asks it notices."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from mcshell.pki import Authority
from tests.enrolment.site import Site
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0
NAME = "web1"


def serial(site: Site) -> int:
    """That of the certificate which the machine has now."""
    path = site.machine(NAME) / f"{NAME}.pem"
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


class Asker(threading.Thread):
    """An operator who asks the machine all the time, by turns at once and by its queue."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site = site
        self.over = threading.Event()
        self.asked = 0
        self.wrong: list[object] = []

    def run(self) -> None:
        """Ask until it is over; what is not answered well is `wrong`."""
        with self.site.client(session="asker") as alice:
            while not self.over.wait(0.5):
                self.asked += 1
                replies = alice.rpc("rpcutil", "ping", nodes=[NAME], via="queue", timeout=90)
                if replies.stats["ok"] != 1:
                    self.wrong.append(replies.ledger().to_dict())


@pytest.mark.parametrize(
    ("life", "renewals"),
    [
        pytest.param(30.0, 3, marks=pytest.mark.timeout(400)),
        pytest.param(60.0, 20, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_certificates_of_seconds_are_renewed_and_no_request_is_lost(
    tmp_path: Path, life: float, renewals: int
) -> None:
    """The broker, and later the CA's service, is restarted on the way; each request has its answer."""
    with Site("embedded", tmp_path) as site:
        site.serve("--days", f"{life / DAY:.9f}")
        site.enroll(NAME, token=site.token("web*"))
        node = site.node(NAME)
        asker = Asker(site)
        asker.start()
        key = (site.machine(NAME) / f"{NAME}.key").read_bytes()
        seen = {serial(site)}
        for number in range(renewals):
            assert wait_until(lambda: serial(site) not in seen, 3 * life), node.tail()
            seen.add(serial(site))
            if number == 0:
                site.broker.restart()
            elif number == 1:
                site.children["pki"].stop()
                site.serve("--days", f"{life / DAY:.9f}")
        time.sleep(1)
        asker.over.set()
        asker.join(120)
        print(f"{renewals} renewals, {asker.asked} requests")
        assert asker.asked > renewals
        assert asker.wrong == []
        assert (site.machine(NAME) / f"{NAME}.key").read_bytes() == key
        ends = [one for one in site.json("pki", "list", *site.pki, "--json") if one["name"] == NAME]
        assert len(ends) >= renewals + 1


def test_a_certificate_that_was_taken_back_is_not_renewed(tmp_path: Path) -> None:
    """The CA refuses, the daemon says so in its log, and its end stays what it was."""
    with Site("embedded", tmp_path) as site:
        site.serve("--days", f"{40 / DAY:.9f}")  # the daemon is up before it ends
        site.enroll(NAME, token=site.token("web*"))
        before = serial(site)
        site.run("pki", "revoke", NAME, *site.pki, "--yes")
        site.node(NAME)
        log = site.folder / f"{NAME}.log"
        assert wait_until(lambda: "is not renewed: revoked" in log.read_text(), 90)
        assert serial(site) == before


def test_a_reply_that_has_outlived_its_certificate_is_not_lost(tmp_path: Path) -> None:
    """A client that comes back later than that gets the answer all the same, under the new one."""
    with Site("embedded", tmp_path) as site:
        site.serve("--days", f"{30 / DAY:.9f}")
        site.enroll(NAME, token=site.token("web*"))
        node = site.node(NAME)
        node.signal(signal.SIGSTOP)
        with site.client(session="later") as alice:
            alice.rpc("rpcutil", "ping", nodes=[NAME], via="queue", wait=False)
        node.signal(signal.SIGCONT)
        first = serial(site)
        assert wait_until(lambda: serial(site) != first, 60)
        time.sleep(15)  # until the certificate has ended under which it was answered
        with site.client(session="later") as alice:
            replies = alice.replies().wait(60)
            assert replies.stats["ok"] == 1, (replies.ledger().to_dict(), alice.junk)


def test_what_will_end_is_listed_and_told(tmp_path: Path) -> None:
    """`pki list --ending` has each name's last certificate, and doctor says what is late."""
    with Site("embedded", tmp_path) as site:
        site.serve("--days", f"{600 / DAY:.9f}")
        token = site.token("*", "--count", "2")
        site.enroll("short", token=token)
        site.children["pki"].stop()
        site.serve("--days", "300")
        site.enroll("long", token=token)
        ending = site.json("pki", "list", "--ending", "1d", *site.pki, "--json")
        assert [one["name"] for one in ending] == ["short"]
        assert certificates(site)["state"] == "ok"
        now = time.time()
        Authority.open(site.folder / "ca").issue_pem(
            "late1", "node", not_before=now - 90, lifetime=100
        )
        told = certificates(site)
        assert told["state"] == "warn"
        assert "late1" in told["detail"]
        assert "short" not in told["detail"]


def certificates(site: Site) -> dict[str, str]:
    """What doctor says of what the CA has certified."""
    told = site.json("doctor", "--json", config="alice")
    (one,) = [one for one in told if one["check"] == "certificates"]
    return one
