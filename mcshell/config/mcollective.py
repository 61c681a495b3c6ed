"""`[mcollective]`: how this machine takes part in an MCollective 2.12 network, as client or node.

Off by default, and nobody imports `wire.mcollective` while it is off. Which connector's layout it
is (ActiveMQ's or RabbitMQ's) is read from the broker, not configured. `config import` writes this
section from MCollective's own files.
"""

from __future__ import annotations

import os
from dataclasses import field
from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CIPHERS", "LEAVES_OPEN", "SECURITIES", "SERIALIZERS", "MCollective"]

SECURITIES: Final = ("psk", "ssl", "aes")
SERIALIZERS: Final = ("marshal", "yaml")
LEAVES_OPEN: Final = {
    "psk": (
        "psk proves that somebody who has the secret made a message, not who, nor for whom or when:"
        " whoever may write to the broker can change the rest, and nothing is encrypted"
    ),
    "ssl": (
        "ssl signs inputs and time, not the agent, the filter or the ids; a reply proves that some"
        " node made it, not which, and nothing is encrypted"
    ),
    "aes": (
        "aes hides bodies from who has no key and signs nothing: whoever has a caller's public key"
        " can read what it asks and answer it"
    ),
}
"""What each security plugin does not protect, as a line for the operator."""

CIPHERS: Final = ("aes-256-cbc", "aes-192-cbc", "aes-128-cbc")


def _own_callerid() -> str:
    return f"uid={os.getuid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MCollective:
    """`[mcollective]`: the old wire; what is left out is as in `[broker]`, `[pki]` and `[node]`.

    Attributes:
        enabled: whether the old wire is spoken at all.
        urls: brokers; by default those of `[broker]`.
        user: the login there; by default that of `[broker]`.
        passcode_file: holds its passcode; by default that of `[broker]`.
        vhost: RabbitMQ's virtual host.
        tls_ca: the CA of the broker's certificate; by default `[pki]`'s.
        tls_cert: what TLS shows; by default `[pki]`'s.
        tls_key: its key; by default `[pki]`'s.
        collectives: which there are, the main one first.
        identity: our name there; by default the host's name (client) or the node's.
        security: its plugin; aes is aes_security.
        psk_file: holds the secret that all share.
        callerid: who we are under psk, as `psk.callertype` makes it.
        serializer: how bodies are written under ssl and aes.
        private: our RSA key: a client's own, or the one that all nodes share.
        public: our public key; its file's name is the name in `cert=NAME`.
        nodes: the nodes' public key, for a client under ssl.
        callers: the folder of the callers' public keys, for a node.
        cipher: what aes encrypts with.
        send_pubkey: whether requests under aes carry our public key.
        reply_exchange: RabbitMQ's `use_reply_exchange`.
        agents_multiplex: one destination for all agents, not one for each.
        direct_addressing: whether nodes listen to requests for them alone.
        base64: whether bodies are wrapped in base64.
        priority: ActiveMQ's header of that name; 0 leaves it out.
        ttl: how long a request is good for.
        libdir: folders of MCollective plugins, in which DDLs are looked for.
        register_every: how often a node registers there; 0 is never.
    """

    enabled: bool = False
    urls: tuple[str, ...] = ()
    vhost: str = "/"
    user: str = ""
    passcode_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    collectives: tuple[str, ...] = ("mcollective",)
    identity: str | None = None
    security: str = "psk"
    psk_file: Path | None = None
    callerid: str = field(default_factory=_own_callerid)
    serializer: str = "marshal"
    private: Path | None = None
    public: Path | None = None
    nodes: Path | None = None
    callers: Path | None = None
    cipher: str = "aes-256-cbc"
    send_pubkey: bool = False
    reply_exchange: bool = False
    agents_multiplex: bool = False
    direct_addressing: bool = True
    base64: bool = False
    priority: int = 0
    ttl: float = 60.0
    libdir: tuple[Path, ...] = ()
    register_every: float = 0.0

    @property
    def main(self) -> str:
        """The collective that requests go to."""
        return self.collectives[0]

    def agent_dirs(self) -> list[Path]:
        """Where the DDLs of MCollective's agents lie; nowhere while it is off."""
        if not self.enabled:
            return []
        return [folder / "mcollective" / "agent" for folder in self.libdir]
