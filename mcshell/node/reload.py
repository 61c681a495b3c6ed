"""A node's configuration, read: at the start, for a look at it (`node --check`), and again on SIGHUP.

A reload takes what can be changed while work is under way: policies, agents, facts, classes, limits,
the revocation list. Each takes the place of the one before it at once; what has begun goes on with what
it began with. All is read, and may be refused, before anything is changed.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.ddl.ddl_library import shipped_dir
from mcshell.errors import ConfigError, MCShellError
from mcshell.node.agents.registry import load_agents
from mcshell.node.builtin import builtin_agents
from mcshell.node.facts.classes import read_classes
from mcshell.node.facts.source import FactSource
from mcshell.node.process.changes import NODE, changed, taken_over
from mcshell.values import dataclass
from mcshell.wire.credentials import load_cas, load_credentials, load_verifier, tls_files
from mcshell.wire.stomp.endpoint import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.admission.approvals import Approvals
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.builtin.job import JobRecords
    from mcshell.node.context import SecurityContext
    from mcshell.node.host import Host
    from mcshell.node.process.notify import ServiceManager
    from mcshell.node.server import NodeServer
    from mcshell.wire.credentials import Credentials

__all__ = ["Reloader", "SelfKnowledge", "identity_of", "policies_of", "read_agents", "unusable"]

log = logging.getLogger(__name__)

_GOODBYE = 2.0


def identity_of(settings: Settings, credentials: Credentials) -> str:
    """Who the node is: its certificate says so.

    Raises:
        ConfigError: it is no node's, or not that of the identity that is configured.
    """
    identity = credentials.signer.identity
    if identity.kind != "node":
        raise ConfigError(
            f"{settings.pki.cert} is the certificate of an {identity.kind}: a node needs one of "
            "its own (mcshell pki issue NAME --kind node)",
            "pki.cert",
        )
    wanted = settings.node.identity
    if wanted is not None and wanted.lower() != identity.name:
        raise ConfigError(
            f"node.identity is {wanted!r}, but the certificate is that of {identity.name!r}",
            "node.identity",
        )
    return identity.name


def policies_of(settings: Settings) -> Path:
    """The folder of the node's policies."""
    return settings.node.policies or settings.state_dir / "node" / "policies"


def read_agents(
    settings: Settings, jobs: Callable[[], JobRecords], approvals: Callable[[], Approvals]
) -> AgentRegistry:
    """Load the node's agents; none is active yet."""
    return load_agents(
        [*settings.node.agents, shipped_dir()],
        builtin_agents(jobs, approvals),
        lenient=settings.node.unknown_validators == "warn",
    )


@dataclass(frozen=True, slots=True)
class SelfKnowledge:
    """What a node knows of itself: its facts, which are read again when they change, and classes."""

    facts: FactSource
    classes: tuple[str, ...]
    unread: tuple[str, ...]

    @classmethod
    def read(cls, settings: Settings) -> SelfKnowledge:
        """Read the files that the settings name, before anybody waits for them."""
        node = settings.node
        facts = FactSource(node.facts, settings.state_dir / "node", room=node.fact_room)
        facts.facts()
        classes, unread = read_classes(node.classes, node.class_room)
        return cls(facts, tuple(classes), tuple(unread))

    def flaws(self) -> tuple[str, ...]:
        """What of it cannot be used, a line each."""
        return (*self.unread, *self.facts.flaws())


def unusable(settings: Settings) -> list[str]:
    """Why a node could not work with these settings, a line each: keys, broker, folders.

    What costs but itself, such as an agent that does not load, is not among them.
    """
    found: list[str] = []

    def look(what: Callable[[], object], name: str = "") -> None:
        try:
            what()
        except (MCShellError, OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            found.append(" ".join(f"{name}{why}".split()))

    look(lambda: identity_of(settings, load_credentials(settings.pki)))
    look(settings.broker.passcode)
    for url in settings.broker.urls:
        look(lambda url=url: parse_url(url), "broker.urls: ")  # type: ignore[misc] # mypy cannot type a lambda's default
    if any(url.startswith("stomp+ssl://") for url in settings.broker.urls):
        look(lambda: tls_files(settings))
    policies = policies_of(settings)
    if settings.node.policies is not None or policies.exists():
        look(lambda: list(policies.iterdir()), f"node.policies: {policies}: ")
    for folder in settings.node.agents:
        look(lambda folder=folder: list(folder.iterdir()), f"node.agents: {folder}: ")  # type: ignore[misc] # as above
    return found


class Reloader:
    """Reads a running node's configuration again, in a thread that the first reload starts.

    Args:
        settings: those in force.
        credentials: the node's.
        reread: reads them from their places once more.
        served: the registry that requests are looked up in.
        host: the node as its agents see it.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        reread: Callable[[], Settings],
        *,
        manager: ServiceManager,
        security: SecurityContext,
        served: AgentRegistry,
        host: Host,
        server: NodeServer,
    ) -> None:
        self.settings = settings
        """Those in force: the first, with what was taken over since."""
        self._credentials = credentials
        self._reread = reread
        self._manager = manager
        self._security = security
        self._served = served
        self._host = host
        self._server = server
        self._asked: SimpleQueue[bool] = SimpleQueue()
        """True for each reload; False to end."""
        self._coming: AgentRegistry | None = None
        """Agents that are asked just now whether they serve this machine."""
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Reload, after the one that is under way; nobody waits for it."""
        self._asked.put(True)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mcshell-reload", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Reload no more."""
        self._asked.put(False)
        if (coming := self._coming) is not None:
            coming.stop()
        if self._thread is not None:
            self._thread.join(_GOODBYE)

    def _run(self) -> None:
        while self._asked.get():
            self._manager.reloading()
            try:
                self._reload()
            except (MCShellError, OSError) as error:
                why = " ".join(str(error).split())
                log.error("not reloaded, all stays as it was: %s", why)  # noqa: TRY400 - said in full
            except Exception:
                log.exception("not reloaded")
            finally:
                self._manager.ready()

    def _reload(self) -> None:
        new = self._reread()
        if flaws := unusable(new):
            raise ConfigError(flaws[0])
        verifier = load_verifier(new.pki)  # a list that is none is refused before anything changes
        known = SelfKnowledge.read(new)
        agents = read_agents(new, lambda: self._server.jobs, lambda: self._security.approvals)
        if wrong := agents.wrong_settings(new.agents):
            raise ConfigError(next(iter(wrong.values())))
        at_once, later = changed(self.settings, new, NODE)
        if load_credentials(new.pki).signer.certificate != self._credentials.signer.certificate:
            later.append("the certificate")
        if "pki.ca" not in later:
            self._credentials.verifier.use_cas(load_cas(new.pki))
            if verifier.crl_pem and self._host.revocation is not None:
                self._host.revocation.update(verifier.crl_pem, self._host.identity, "pki.crl")
        self.settings = settings = taken_over(self.settings, new, at_once)
        self._host.renew(
            facts=known.facts.facts,
            classes=known.classes,
            settings=agents.configure(settings.agents),
            tells_all_files=settings.node.tell_files == "all",
            flaws=lambda: (
                *self._security.approvals.flaws(self._host.identity),
                *self._security.authorisation.flaws(),
                *known.flaws(),
            ),
        )
        self._security.authorisation.reread(policies_of(settings))
        self._server.use(settings)
        before = self._served.names
        self._take_agents(agents)
        self._server.announce(self._host.identity)
        self._say(at_once, later, before)

    def _take_agents(self, agents: AgentRegistry) -> None:
        """Have them take the place of the old, which serve until each has said whether it does."""
        self._coming = agents
        agents.activate(self._host)
        self._coming = None
        self._served.succeed(agents)

    def _say(self, at_once: list[str], later: list[str], before: frozenset[str]) -> None:
        now = self._served.names
        told = [*at_once, *(f"+{name}" for name in sorted(now - before))]
        told += [f"-{name}" for name in sorted(before - now)]
        log.info(
            "reloaded: policies, facts, %d agents; %s", len(now), ", ".join(told) or "as before"
        )
        if self.settings.mcollective.enabled and now != before:
            later.append("the agents that MCollective's wire knows")
        if later:
            log.warning("only after a restart: %s", ", ".join(later))
