"""A fleet whose certificates one of the foreign CAs issues, and the broker that was configured for it."""

from __future__ import annotations

import json
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.foreign.cas import HOSTS, ForeignAuthority
from tests.peers.bare import Bare
from tests.peers.brokers import Configured
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import free_ports

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

__all__ = ["ForeignFleet", "Site"]

OPERATORS = ("alice", "mallory")
POLICY = "policy default deny\n" + "".join(f"allow\tcert={name}\t*\t*\t*\n" for name in OPERATORS)


class ForeignFleet(Fleet):
    """A fleet without a CA of mcshell's: who is an operator, patterns say."""

    def __init__(self, place: Any, folder: Path, ca: ForeignAuthority) -> None:
        self.ca = ca
        super().__init__(
            place,
            folder,
            dict.fromkeys(("web1", "db1"), Node()),
            policies={"default": POLICY},
            operators=OPERATORS,
        )
        self.refresh()
        (folder / "pki" / "ca.pem").write_bytes(ca.ca.read_bytes())
        for name in ("ca.key", "issued.jsonl"):
            (folder / "pki" / name).unlink(missing_ok=True)

    def refresh(self) -> None:
        """Fetch the list, as cron would."""
        (self.folder / "pki" / "crl.pem").write_bytes(self.ca.crl.read_bytes())

    def _enrol(self, name: str, kind: str, more: str = "") -> None:
        super()._enrol(name, kind, more)
        for end in ("pem", "key"):
            (self.folder / f"{name}.{end}").unlink()
        self.ca.hand_out(name, self.folder)
        path = self.folder / f"{name}.toml"
        text = path.read_text()
        path.write_text(text.replace("[pki]\n", f"[pki]\noperators = {json.dumps(OPERATORS)}\n"))


class Site:
    """The fleet, and a broker with a certificate of the same CA."""

    def __init__(self, kind: str, folder: Path, ca: ForeignAuthority) -> None:
        self.kind, self.folder, self.ca = kind, folder / "fleet", ca
        self.folder.mkdir()
        (self.port,) = free_ports(1)
        url = f"stomp+ssl://127.0.0.1:{self.port}"
        place = SimpleNamespace(url=url, user="", passcode="", kind=kind)
        self.fleet = ForeignFleet(place, self.folder, ca)
        (self.folder / "ca.pem").write_bytes(ca.ca.read_bytes())
        ca.hand_out("mq", self.folder, HOSTS)
        self.told = self.configure(
            *("--ca", "ca.pem", "--cert", "mq.pem", "--key", "mq.key", "--crl", "pki/crl.pem"),
            *("--identities", str(ca.signed), "--tls-port", str(self.port)),
            *("--listen", "127.0.0.1", "--host", "127.0.0.1", "--host", "localhost"),
        )
        self.broker = Configured(kind, self.row["start"], self.port, self.folder)

    @property
    def row(self) -> dict[str, Any]:
        """What `broker config` printed last."""
        (row,) = json.loads(self.told.stdout)
        return dict(row)

    def configure(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run `broker config`, again too: what was said before is kept."""
        self.told = self.fleet.cli("broker", "config", self.kind, "--dir", "conf", "--json", *more)
        assert self.told.returncode == 0, self.told.stderr
        return self.told

    def enter(self, who: str) -> Bare:
        """A bare connection with this name's certificate, and no login."""
        tls = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        tls.load_cert_chain(self.folder / f"{who}.pem", self.folder / f"{who}.key")
        bare = Bare(self.broker, tls=tls)
        del bare.hello["login"], bare.hello["passcode"]
        try:
            return bare.connect()
        except BaseException:
            bare.sock.close()
            raise

    def stop(self) -> None:
        """End all of it."""
        self.fleet.stop()
        self.broker.stop()
