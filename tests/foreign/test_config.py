"""What `broker config` makes of another CA's files, without a broker: who is left out, what is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcshell.commands.context import Context
from mcshell.commands.run import run_words
from mcshell.errors import ConfigError, MCShellError, UsageError
from mcshell.pki import Authority
from tests.foreign.cas import HOSTS, OpenSSLChain, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.commands.output.result import Table

OPERATORS = '[pki]\noperators = ["alice", "*.ops"]\n[broker]\nurls = ["stomp://127.0.0.1:9"]\n'
DNS, URI = x509.DNSName, x509.UniformResourceIdentifier


class Desk:
    """A folder in which `broker config` is run: `mq.pem` and `mq.key` are the broker's."""

    def __init__(self, folder: Path, ca: Step) -> None:
        self.folder, self.ca = folder, ca
        ca.issue("mq", folder, HOSTS)
        (ca.signed / "mq.pem").unlink()
        (folder / "c.toml").write_text(OPERATORS)
        self.said: dict[str, Any] = {
            "ca": ca.ca,
            "cert": folder / "mq.pem",
            "key": folder / "mq.key",
            "crl": ca.crl,
            "identities": ca.signed,
            "host": "localhost",
        }

    def show(self, name: str, *names: x509.GeneralName, file: str = "", **more: Any) -> None:
        """Put a certificate of this common name into the folder of those that are shown."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem, _ = self.ca.leaf(subject, names, **more)
        leaf = x509.load_pem_x509_certificate(pem)
        path = self.ca.signed / f"{file or name.strip('*.')}.pem"
        path.write_bytes(leaf.public_bytes(Encoding.PEM))

    def config(self, kind: str = "rabbitmq", *more: str, **said: Any) -> Table:
        """Run it; what is said as None is left out."""
        words = {name: value for name, value in {**self.said, **said}.items() if value is not None}
        options = [word for name, value in words.items() for word in (f"--{name}", str(value))]
        where = ["--dir", str(self.conf), "--config", str(self.folder / "c.toml")]
        _, table = run_words(["broker", "config", kind, *options, *more, *where], Context())
        assert table is not None
        return table

    @property
    def conf(self) -> Path:
        """Where it writes."""
        return self.folder / "conf"

    @property
    def identities(self) -> set[str]:
        """Who has rights."""
        return set(json.loads((self.conf / "mcshell.json").read_text())["identities"])

    @property
    def users(self) -> list[str]:
        """Who may log in on RabbitMQ."""
        return (self.conf / "users").read_text().splitlines()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An operator and a node of step-ca's form."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    made = Desk(tmp_path, Step(tmp_path / "step"))
    for name in ("alice", "web1"):
        made.show(name, DNS(name))
    return made


def test_patterns_say_who_is_an_operator(desk: Desk) -> None:
    """All others are nodes; a login is a common name, a new certificate of it no second one."""
    desk.show("carol.ops", DNS("carol.ops"))
    desk.show("Web1", DNS("web1"), file="another")
    table = desk.config()
    assert desk.identities == {"operator:alice", "operator:carol.ops", "node:web1"}
    assert sorted(desk.users) == ["Web1", "alice", "carol.ops", "web1"]
    assert "operators: alice, carol.ops" in table.notes
    desk.config("activemq")
    users = (desk.conf / "users.properties").read_text().splitlines()
    assert sorted(users) == [
        *("node.web1#2=CN=web1", "node.web1=CN=Web1"),
        *("operator.alice=CN=alice", "operator.carol.ops=CN=carol.ops"),
    ]


def test_who_is_left_out_is_named_with_the_reason(desk: Desk) -> None:
    """Whatever a node would refuse, and whoever would log in under another's name."""
    desk.show("old", DNS("old"), life=-dt.timedelta(hours=1))
    desk.show("stolen", DNS("stolen"))
    desk.ca.revoke("stolen")
    desk.show("*.example.com", DNS("*.example.com"))
    desk.show("web2", DNS("puppet"), DNS("web2"))
    desk.show("with space")
    desk.show("login:alice", URI("mcshell:login:alice"), file="login")
    desk.show("web3", DNS("web3"), ends=[ExtendedKeyUsageOID.CODE_SIGNING])
    (desk.ca.signed / "ca.pem").write_bytes(desk.ca.ca.read_bytes())
    other = Step(desk.folder / "other")
    (desk.ca.signed / "foreign.pem").write_bytes(other.make("web4", ())[0])
    notes = [note for note in desk.config().notes if note.startswith("left out")]
    assert desk.identities == {"operator:alice", "node:web1"}
    told = dict(note.removeprefix("left out, ").split(": ", 1) for note in notes)
    assert told["cert_expired"] == "CN=old"
    assert told["revoked"] == "CN=stolen"
    assert "CN=web4" in told["foreign_ca"]
    assert all(name in told["bad_certificate"] for name in ("*.example", "space", "web3"))
    assert "Intermediate" not in told["bad_certificate"]  # what vouches is passed over
    assert told["brokers know it by its common name, which is another"] == "puppet (CN=web2)"
    assert "alice" in told["a login, which is for mcshell's own CA"]


def test_a_name_of_two_kinds_has_no_rights(desk: Desk) -> None:
    """An operator by its URI and a node by its common name would log in as one."""
    desk.show("dave", DNS("dave"))
    desk.show("dave", URI("mcshell:operator:dave"), file="dave2")
    notes = desk.config().notes
    assert "left out, both an operator and a node: dave" in notes
    assert desk.identities == {"operator:alice", "node:web1"}


def test_a_list_of_names_does_where_certificates_live_for_a_day(desk: Desk) -> None:
    """One a line, as their certificates write them; nobody else could have written the file."""
    names = desk.folder / "names"
    names.write_text("# nodes\nDB1\nweb1  # again\n\nalice\n")
    table = desk.config(identities=names, crl=None)
    assert desk.identities == {"operator:alice", "node:db1", "node:web1"}
    assert sorted(desk.users) == ["DB1", "alice", "web1"]
    assert "no --crl: nobody is left out as revoked" in table.notes
    names.chmod(0o666)
    with pytest.raises(ConfigError, match="names"):
        desk.config(identities=names)
    names.chmod(0o600)
    names.write_text("web*\n")
    with pytest.raises(ConfigError, match=r"--identities: 'web\*' is no node's name"):
        desk.config(identities=names)


def test_what_was_said_is_kept(desk: Desk) -> None:
    """A later run reads the files again; with --pki it is mcshell's own CA again, which is named."""
    desk.config()
    desk.show("db1", DNS("db1"))
    where = ["--dir", str(desk.conf), "--config", str(desk.folder / "c.toml")]
    run_words(["broker", "config", "rabbitmq", *where], Context())
    assert desk.identities == {"operator:alice", "node:db1", "node:web1"}
    assert "ssl_cert_login_from = common_name" in (desk.conf / "rabbitmq.conf").read_text()
    own = Authority.init(desk.folder / "own")
    own.issue("eve", "operator", out=desk.folder)
    run_words(
        ["broker", "config", "rabbitmq", "--pki", str(desk.folder / "own"), *where], Context()
    )
    assert desk.identities == {"operator:eve"}
    assert "ssl_cert_login_san_type = uri" in (desk.conf / "rabbitmq.conf").read_text()


def wrong(desk: Desk, tmp_path: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """What may not be: how it is said, and what is answered."""
    folder = tmp_path / "wrong"
    folder.mkdir()

    def leaf(name: str, **more: Any) -> dict[str, Path]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, key = desk.ca.leaf(subject, [DNS("localhost")], **more)
        (folder / f"{name}.pem").write_bytes(cert)
        (folder / f"{name}.key").touch(mode=0o600)
        (folder / f"{name}.key").write_bytes(key)
        return {"cert": folder / f"{name}.pem", "key": folder / f"{name}.key"}

    revoked = leaf("revoked")
    (desk.ca.signed / "revoked.pem").write_bytes(revoked["cert"].read_bytes())
    desk.ca.revoke("revoked")
    (desk.ca.signed / "revoked.pem").unlink()
    blocks = desk.ca.ca.read_bytes().split(b"-----END CERTIFICATE-----\n")
    intermediate, root = (block + b"-----END CERTIFICATE-----\n" for block in blocks[:2])
    (folder / "root").write_bytes(root)
    (folder / "intermediate").write_bytes(intermediate)
    other = OpenSSLChain(folder / "other")
    return {
        "another host": ({"host": "mq.example.com"}, "not for the host mq.example.com"),
        "another key": ({"key": leaf("a")["key"]}, "not the key of --cert"),
        "no intermediate": ({"ca": folder / "root", "crl": None}, "which is in --cert alone"),
        "no root": ({"ca": folder / "intermediate", "crl": None}, "which is missing: TLS wants"),
        "another CA": ({"ca": other.ca, "crl": None}, "which is"),
        "another CA's list": ({"crl": other.crl}, "the CRL"),
        "ended": (leaf("ended", life=-dt.timedelta(hours=1)), "good from"),
        "revoked": (revoked, "its CA has revoked it"),
        "no server": (leaf("c", ends=[ExtendedKeyUsageOID.CLIENT_AUTH]), "TLS server"),
        "no certificate": ({"cert": folder / "a.key"}, "no PEM certificate"),
        "no file": ({"cert": folder / "none"}, "No such file"),
        "an empty folder": ({"identities": desk.folder / "empty"}, "no .pem"),
        "half of it": ({"key": None, "identities": None}, "--key, --identities missing"),
        "enrolment": ({"enrol-port": 61615}, "is for a CA of mcshell's"),
        "two CAs": ({"pki": desk.folder}, "a CA of mcshell's, or another's"),
    }


def test_what_does_not_fit_is_one_clear_line_and_nothing_is_written(
    desk: Desk, tmp_path: Path
) -> None:
    """The broker's certificate, its key, the chain, the list: each says what is wrong with it."""
    (desk.folder / "empty").mkdir()
    for name, (said, text) in wrong(desk, tmp_path).items():
        with pytest.raises(MCShellError) as refused:
            desk.config(**said)
        assert isinstance(refused.value, ConfigError | UsageError), name
        assert text in str(refused.value), name
        assert len(str(refused.value).splitlines()) == 1, name
        assert not (desk.conf / "rabbitmq.conf").exists(), name


def test_a_wildcard_serves_a_broker(desk: Desk) -> None:
    """For TLS it is good, one word in the place of the star; it is nobody's login."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "*.example.com")])
    cert, key = desk.ca.leaf(subject, [DNS("*.example.com")])
    (desk.folder / "mq.pem").write_bytes(cert)
    (desk.folder / "mq.key").write_bytes(key)
    assert desk.config(host="mq.example.com").rows
    with pytest.raises(ConfigError, match="not for the host a"):
        desk.config(host="a.b.example.com")
