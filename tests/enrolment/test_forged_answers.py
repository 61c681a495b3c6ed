"""What a broker that a machine cannot verify yet may say to it: it can keep answers back, and no more."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

import pytest

from mcshell.broker.config.enrolment import PASSCODE_FILE
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROLMENT_SERVICE, ENROLMENT_VHOST
from mcshell.wire.documents.enrolment import EnrolmentAnswer, EnrolmentMessage, seal_answer
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles
from tests.enrolment.site import MCSHELL, Site
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.wire.documents.enrolment import EnrolmentState

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A listener at which no CA answers."""
    with Site("embedded", tmp_path_factory.mktemp("site")) as one:
        yield one


class Impostor:
    """Who keeps the broker: tells each machine that asks the same; a context manager."""

    def __init__(self, site: Site, state: EnrolmentState, reason: str) -> None:
        passcode = (site.folder / "conf" / PASSCODE_FILE).read_text().strip()
        self._link = Connector(
            [site.listener],
            user=ENROLMENT_SERVICE,
            passcode=passcode,
            tls=TLSFiles(None),
            vhost=ENROLMENT_VHOST,
        )
        self._said = state, reason
        self._heard: SimpleQueue[object] = SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self.answers = 0

    def __enter__(self) -> Self:
        self._link.start(30)
        self._link.subscribe(destinations.enrolment("mcs"), self._heard, ack="auto")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._link.close()

    def _answer(self) -> None:
        state, reason = self._said
        while not self._over.is_set():
            try:
                delivery = self._heard.get(timeout=0.1)
            except Empty:
                continue
            digest = EnrolmentMessage.load(delivery.body).digest  # type: ignore[attr-defined]
            answer = EnrolmentAnswer(request=digest, state=state, reason=reason)
            self._link.send(destinations.enrolled("mcs"), seal_answer(answer, None).dump())
            self.answers += 1


def asking(site: Site, name: str, folder: Path) -> Child:
    """A machine without a token, which asks for two minutes."""
    words = ["node", "enroll", name, "--broker", site.listener, "--wait", "120s"]
    words += ["--out", str(folder), "--ca", "0" * 64]
    child = site.children[name] = Child([*MCSHELL, *words], site.folder / f"{name}.log", None)
    return child


def test_a_refusal_that_nobody_has_sealed_ends_no_waiting(site: Site, tmp_path: Path) -> None:
    """A machine without a token asks on, as the CA itself never says one to it."""
    with Impostor(site, "refused", "go away") as impostor:
        machine = asking(site, "lone1", tmp_path)
        assert wait_until(lambda: impostor.answers > 1 or not machine.running, 60)
        assert machine.running, machine.tail()
    assert "a refusal, of which nobody can say whose it is" in machine.tail()


def test_a_reason_draws_nothing_on_the_terminal(site: Site, tmp_path: Path) -> None:
    """What is said to wait for is one line in which nothing is left that a terminal acts on."""
    reason = "\x1b]0;own\x07\x1b[2Jsigned\nlone2 has a certificate\u202e"
    with Impostor(site, "waiting", reason):
        machine = asking(site, "lone2", tmp_path)
        assert wait_until(lambda: "waits:" in machine.tail(), 60)
    said = (site.folder / "lone2.log").read_text()
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert r"lone2 waits: \x1b]0;own\x07\x1b[2Jsigned lone2 has a certificate\u202e" in said
