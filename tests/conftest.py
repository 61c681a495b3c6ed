"""Fixtures that all tests share: real brokers, TLS material, and the account of both at the end.

Brokers start when the first test asks for one. A peer whose Debian package is not there skips its
tests by name; with CI=true such a skip makes the run fail. A process that outlives the run does so
always.
"""

from __future__ import annotations

import os
import signal
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.peers import brokers, certificates
from tests.peers.processes import MARK, leftovers, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

PEERS = (
    *("activemq", "rabbitmq", "mcollective", "tmux", "chromium", "softhsm", "nodejs", "gcc"),
    *("zsh", "fish", "prometheus", "puppet", "sudo"),
)
EACH_BROKER = [
    "embedded",
    pytest.param("activemq", marks=pytest.mark.activemq),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]
SKIPPED = pytest.StashKey[dict[str, str]]()
LEFT = pytest.StashKey[list[str]]()


# A busy machine takes its time over an example.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
# Whoever ends a run ends its brokers and nodes with it, as Ctrl-C does.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Mark whatever process this run starts, and hear Ctrl-C: a run in the background may not."""
    os.environ[MARK] = uuid.uuid4().hex
    # Compiling all modules anew is nearly half of what a process costs that lives for one command.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.pop("PYTHONUNBUFFERED", None)  # who has it set sees no output that fails at the end
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[SKIPPED] = {}
    config.stash[LEFT] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a peer by the fixtures they ask for, before -m chooses."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for peer in fixtures.intersection(PEERS):
            item.add_marker(getattr(pytest.mark, peer))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, by name, the tests whose peer is not installed."""
    for peer in PEERS:
        if item.get_closest_marker(peer) and (package := brokers.missing(peer)):
            item.config.stash[SKIPPED][item.nodeid] = package
            pytest.skip(f"needs Debian's {package}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for processes left behind, and in CI for peers that were skipped."""
    mark = os.environ[MARK]
    wait_until(lambda: not leftovers(mark), 60.0)
    left = session.config.stash[LEFT]
    left += [f"{process.pid} {' '.join(process.cmdline())}" for process in leftovers(mark)]
    skipped = session.config.stash[SKIPPED]
    in_ci = os.environ.get("CI", "").lower() == "true"
    if (left or (skipped and in_ci)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests were skipped for want of a peer, and what still runs."""
    if skipped := config.stash[SKIPPED]:
        packages = ", ".join(sorted(set(skipped.values())))
        terminalreporter.section("peers")
        for name, package in skipped.items():
            terminalreporter.line(f"{name}: needs Debian's {package}")
        terminalreporter.line(f"skipped peers: {len(skipped)} ({packages})")
    for process in config.stash[LEFT]:
        terminalreporter.line(f"ERROR left running: {process}", red=True)


@pytest.fixture(scope="session")
def pki_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TLS material (see tests/peers/certificates.py); all certificates are Ed25519."""
    return certificates.write(tmp_path_factory.mktemp("pki"))


def _session_broker(
    kind: str, tmp_path_factory: pytest.TempPathFactory, pki: Path
) -> Iterator[Broker]:
    running = brokers.start(kind, tmp_path_factory.mktemp(kind), pki)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, pki_dir: Path) -> Iterator[Broker]:
    """Our own broker, one for the whole run: don't kill it, use names of your own."""
    yield from _session_broker("embedded", tmp_path_factory, pki_dir)


@pytest.fixture(scope="session")
def activemq(tmp_path_factory: pytest.TempPathFactory, pki_dir: Path) -> Iterator[Broker]:
    """ActiveMQ, one for the whole run: don't kill it, use names of your own."""
    yield from _session_broker("activemq", tmp_path_factory, pki_dir)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory, pki_dir: Path) -> Iterator[Broker]:
    """RabbitMQ, one for the whole run: don't kill it, use names of your own."""
    yield from _session_broker("rabbitmq", tmp_path_factory, pki_dir)


@pytest.fixture(scope="session", params=EACH_BROKER)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the three brokers in turn."""
    running: Broker = request.getfixturevalue(request.param)
    return running


@pytest.fixture(params=EACH_BROKER)
def broker_kind(request: pytest.FixtureRequest) -> str:
    """The name of each of the three brokers in turn, for `fresh_broker(broker_kind)`."""
    kind: str = request.param
    return kind


@pytest.fixture
def fresh_broker(
    tmp_path_factory: pytest.TempPathFactory, pki_dir: Path
) -> Iterator[Callable[..., Broker]]:
    """A factory, `fresh_broker("embedded")`, of brokers that a test may kill; all end with it."""
    running: list[Broker] = []

    def factory(kind: str = "embedded") -> Broker:
        running.append(brokers.start(kind, tmp_path_factory.mktemp(f"fresh-{kind}"), pki_dir))
        return running[-1]

    try:
        yield factory
    finally:
        for one in running:
            one.stop()


@pytest.fixture(scope="session")
def _mortal_brokers(
    tmp_path_factory: pytest.TempPathFactory, pki_dir: Path
) -> Iterator[dict[str, Broker]]:
    running: dict[str, Broker] = {}
    try:
        yield running
    finally:
        for one in running.values():
            one.stop()


@pytest.fixture
def mortal_broker(
    broker_kind: str,
    _mortal_brokers: dict[str, Broker],
    tmp_path_factory: pytest.TempPathFactory,
    pki_dir: Path,
) -> Broker:
    """Each of the three kinds in turn, one for the whole run, which a test may kill: it serves again
    when the next one asks. Use names of your own.
    """
    found = _mortal_brokers.get(broker_kind)
    if found is None:
        folder = tmp_path_factory.mktemp(f"mortal-{broker_kind}")
        found = _mortal_brokers[broker_kind] = brokers.start(broker_kind, folder, pki_dir)
    elif found.child is None or not found.child.running:
        found.restart()
    return found
