"""CAs that mcshell does not keep: Puppet's own from Debian, openssl's, and certificates as step-ca makes.

Each leaves `ca.pem` (all of its chain), `crl.pem` (the lists of all of them) and `signed/NAME.pem` in
its folder, and hands out `NAME.pem` and `NAME.key`. Puppet's and openssl's are made by their own
programs. Puppet has no command that revokes without its server, so that is done with its classes in
Ruby, which number and sign the list; step-ca is not in Debian, so its form is made here.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.peers.processes import said

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["KINDS", "ForeignAuthority", "OpenSSL", "OpenSSLChain", "Puppet", "Step"]

HOSTS = ("localhost", "127.0.0.1")
"""How a broker of the tests is reached."""


def run(argv: Sequence[str | Path], folder: Path, text: str = "") -> str:
    """Run a program to its end in a folder; returns what it printed."""
    return said(*argv, cwd=folder, text=text, timeout=120)


class ForeignAuthority:
    """A CA in a folder; `init` makes it."""

    kind: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.crl, self.signed = folder / "ca.pem", folder / "crl.pem", folder / "signed"
        self._current: dict[str, tuple[bytes, bytes]] = {}
        folder.mkdir(parents=True)
        self.signed.mkdir()
        self.init()

    def init(self) -> None:
        """Make the CA and its first list."""
        raise NotImplementedError

    def make(self, name: str, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """A new certificate and its key, PEM."""
        raise NotImplementedError

    def take_back(self, name: str) -> None:
        """Put the certificate that the name has now into a new list."""
        raise NotImplementedError

    def revoke(self, name: str) -> None:
        """As `take_back`; the certificate stays in `signed`."""
        self.take_back(name)
        self._current.pop(name, None)

    def issue(self, name: str, out: Path, hosts: Sequence[str] = ()) -> None:
        """A new certificate, whether the name has one or not."""
        self._current.pop(name, None)
        self.hand_out(name, out, hosts)

    def hand_out(self, name: str, out: Path, hosts: Sequence[str] = ()) -> None:
        """Write `NAME.pem` and `NAME.key`, which are made where the name has none."""
        if name not in self._current:
            self._current[name] = self.make(name, hosts)
        cert, key = self._current[name]
        (self.signed / f"{name}.pem").write_bytes(cert)
        (out / f"{name}.pem").write_bytes(cert)
        secret = out / f"{name}.key"
        secret.touch(mode=0o600)
        secret.write_bytes(key)


PUPPET_REVOKES = """\
require 'puppetserver/ca/action/prune'
require 'puppetserver/ca/config/puppet'
require 'puppetserver/ca/logger'
require 'puppetserver/ca/x509_loader'
logger = Puppetserver::Ca::Logger.new
ssl = Puppetserver::Ca::Config::Puppet.parse(ARGV[0], logger).settings
loader = Puppetserver::Ca::X509Loader.new(ssl[:cacert], ssl[:cakey], ssl[:cacrl])
serial = OpenSSL::X509::Certificate.new(File.read(File.join(ssl[:signeddir], ARGV[1] + '.pem'))).serial
revoked = OpenSSL::X509::Revoked.new
revoked.serial, revoked.time = serial, Time.now
loader.crl.add_revoked(revoked)
loader.crl.last_update = Time.now
Puppetserver::Ca::Action::Prune.new(logger).update_pruned_CRL(loader.crl, loader.key)
File.write(ssl[:cacrl], loader.crls.map(&:to_pem).join)
"""
PUPPET_CONF = """\
[main]
confdir = {folder}
ssldir = {folder}/ssl
cadir = {folder}
cacert = {folder}/ca.pem
cacrl = {folder}/crl.pem
keylength = {bits}
ca_server = localhost
ca_port = 1
[server]
certname = puppet.example.com
"""


class Puppet(ForeignAuthority):
    """Puppet's CA of Debian's ruby-puppetserver-ca-cli: RSA 4096, an intermediate, names as CN."""

    kind = "puppet"

    def init(self) -> None:
        """`puppetserver ca setup`."""
        for name, bits in (("puppet.conf", 4096), ("leaves.conf", 2048)):
            text = PUPPET_CONF.format(folder=self.folder, bits=bits)
            (self.folder / name).write_text(text)
        self._ruby("setup", "--config", self.folder / "puppet.conf")

    def _ruby(self, *words: str | Path) -> None:
        program = "require 'puppetserver/ca/cli'; exit Puppetserver::Ca::Cli.run(ARGV)"
        run(["ruby", "-e", program, "--", *words], self.folder)

    def make(self, name: str, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """`puppetserver ca generate`, without the server."""
        places = [
            self.folder / "ssl" / f"{kind}s" for kind in ("cert", "private_key", "public_key")
        ]
        for place in (self.signed, *places):
            (place / f"{name}.pem").unlink(missing_ok=True)
        words: list[str | Path] = ["generate", "--ca-client", "--certname", name]
        if hosts:
            kinds = {True: "IP", False: "DNS"}
            names = [f"{kinds[host[0].isdigit()]}:{host}" for host in hosts]
            words += ["--subject-alt-names", ",".join(names)]
        self._ruby(*words, "--config", self.folder / "leaves.conf")
        cert, key, _ = (place / f"{name}.pem" for place in places)
        return cert.read_bytes(), key.read_bytes()

    def take_back(self, name: str) -> None:
        """As the server would: a list of the next number."""
        run(["ruby", "-e", PUPPET_REVOKES, self.folder / "puppet.conf", name], self.folder)


OPENSSL_CONF = """\
[ca]
default_ca = own
[own]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}/newcerts
certificate = {issuer}.pem
private_key = {issuer}.key
default_md = sha256
default_days = 90
default_crl_days = 7
crl_extensions = crl
policy = any
unique_subject = no
copy_extensions = copy
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth,serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = none
[none]
"""


class OpenSSL(ForeignAuthority):
    """`openssl ca`: RSA, one root that issues the leaves, subjects with more than a name."""

    kind = "openssl"
    algorithm: ClassVar[tuple[str, ...]] = ("rsa:2048",)
    subject: ClassVar[str] = "/C=DE/O=Example, Inc./CN={name}"
    issuer: ClassVar[str] = "root"

    def init(self) -> None:
        """A self-signed root, and an empty list."""
        (self.folder / "newcerts").mkdir()
        (self.folder / "index.txt").touch()
        for name in ("serial", "crlnumber"):
            (self.folder / name).write_text("1000\n")
        for issuer in ("root", "intermediate"):
            text = OPENSSL_CONF.format(folder=self.folder, issuer=self.folder / issuer)
            (self.folder / f"{issuer}.conf").write_text(text)
        self._request("root", "/O=Example, Inc./CN=Root", "-x509", "-days", "3650", "-extensions")
        self.ca.write_bytes((self.folder / "root.pem").read_bytes())
        self._list()

    def _request(self, name: str, subject: str, *more: str) -> None:
        """A key and a request, or with -x509 a certificate that it signs itself."""
        words = ["openssl", "req", "-config", "root.conf", "-newkey", *self.algorithm, "-nodes"]
        words += ["-keyout", f"{name}.key", "-subj", subject]
        end = [*more, "authority", "-out", f"{name}.pem"] if more else ["-out", f"{name}.csr"]
        run([*words, *end], self.folder)

    def _list(self) -> None:
        """`openssl ca -gencrl`."""
        config = f"{self.issuer}.conf"
        run(["openssl", "ca", "-config", config, "-gencrl", "-out", "crl.pem"], self.folder)

    def make(self, name: str, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """A request, signed by `openssl ca`."""
        self._request(name, self.subject.format(name=name))
        text = "extensions = leaf\n" + (self.folder / f"{self.issuer}.conf").read_text()
        if hosts:
            kinds = {True: "IP", False: "DNS"}
            names = ",".join(f"{kinds[host[0].isdigit()]}:{host}" for host in (name, *hosts))
            text = text.replace("[leaf]\n", f"[leaf]\nsubjectAltName = {names}\n")
        (self.folder / "leaf.conf").write_text(text)
        self._sign("leaf.conf", name, "leaf")
        return (self.folder / f"{name}.pem").read_bytes(), (
            self.folder / f"{name}.key"
        ).read_bytes()

    def _sign(self, config: str, name: str, extensions: str) -> None:
        words = ["openssl", "ca", "-batch", "-notext", "-config", config, "-in", f"{name}.csr"]
        run([*words, "-extensions", extensions, "-out", f"{name}.pem"], self.folder)

    def take_back(self, name: str) -> None:
        """`openssl ca -revoke`, and a new list."""
        config = f"{self.issuer}.conf"
        words = ["openssl", "ca", "-config", config, "-revoke", f"signed/{name}.pem"]
        run(words, self.folder)
        self._list()


class OpenSSLChain(OpenSSL):
    """`openssl ca` with an intermediate: EC P-256, and a subject whose last part has two in it."""

    kind = "openssl-chain"
    algorithm = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    subject = "/O=Example, Inc./OU=fleet+CN={name}"
    issuer = "intermediate"

    def init(self) -> None:
        """Below the root an intermediate, which issues from now on; the root has a list, too."""
        self.issuer, leaves = "root", self.issuer  # type: ignore[misc] # the class's is what issues leaves
        super().init()
        roots = self.crl.read_bytes()
        self._request("intermediate", "/O=Example, Inc./CN=Intermediate")
        self._sign("root.conf", "intermediate", "authority")
        self.issuer = leaves  # type: ignore[misc] # as above
        root, intermediate = (self.folder / f"{n}.pem" for n in ("root", "intermediate"))
        self.ca.write_bytes(intermediate.read_bytes() + root.read_bytes())
        self.roots = roots
        self._list()

    def _list(self) -> None:
        """Both lists in one file."""
        super()._list()
        self.crl.write_bytes(self.crl.read_bytes() + getattr(self, "roots", b""))


PROVISIONER = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")
# SEQUENCE { INTEGER 1 (JWK), OCTET STRING "admin", OCTET STRING "kid" }
PROVISIONED = bytes.fromhex("300f0201010405") + b"admin" + b"\x04\x03kid"
DAY = dt.timedelta(days=1)
BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Step(ForeignAuthority):
    """The form of step-ca's: EC P-256, an intermediate, DNS names, leaves that live for a day.

    Its list is for one place alone (an issuing distribution point, critical), as step-ca writes it
    where `crl` is enabled.
    """

    kind = "step"
    place = "http://ca.example.com/1.0/crl"

    def init(self) -> None:
        """Root and intermediate."""
        self.revoked: list[int] = []
        self.number = 0
        self.root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._authority("Example Root CA", self.root_key, 1)
        self.intermediate = self._authority("Example Intermediate CA", self.key, 0)
        both = (self.intermediate, self.root)
        self.ca.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in both))
        self._list()

    def _authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, length: int
    ) -> x509.Certificate:
        root = getattr(self, "root", None)
        subject = _name(name)
        builder = _builder(subject, root.subject if root else subject, key, 3650 * DAY)
        usage = _usage(key_cert_sign=True, crl_sign=True)
        builder = builder.add_extension(x509.BasicConstraints(True, length), True)
        builder = builder.add_extension(usage, True)
        return _with_issuer(builder, self.root_key).sign(self.root_key, hashes.SHA256())

    def make(self, name: str, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """A leaf with its provisioner."""
        return self.leaf(_name(name), [_general(one) for one in (name, *hosts)])

    def leaf(
        self,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        life: dt.timedelta = DAY,
        ends: Sequence[x509.ObjectIdentifier] = BOTH_ENDS,
    ) -> tuple[bytes, bytes]:
        """A leaf of any names, and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self.intermediate.subject, key, life)
        builder = builder.add_extension(_usage(digital_signature=True), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(ends), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.UnrecognizedExtension(PROVISIONER, PROVISIONED), False)
        leaf = _with_issuer(builder, self.key).sign(self.key, hashes.SHA256())
        pem = (leaf, self.intermediate)  # `step ca certificate` writes both
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return b"".join(one.public_bytes(Encoding.PEM) for one in pem), secret

    def take_back(self, name: str) -> None:
        """A list of the next number."""
        leaf = x509.load_pem_x509_certificate((self.signed / f"{name}.pem").read_bytes())
        self.revoked.append(leaf.serial_number)
        self._list()

    def _list(self) -> None:
        now = dt.datetime.now(dt.UTC)
        self.number += 1
        place = x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(self.place)],
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.intermediate.subject)
            .last_update(now)
            .next_update(now + DAY)
            .add_extension(identifier, False)
            .add_extension(x509.CRLNumber(self.number), False)
            .add_extension(place, True)
        )
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder(serial, now).build()
            builder = builder.add_revoked_certificate(entry)
        self.crl.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(host: str) -> x509.GeneralName:
    if host[0].isdigit():
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(life, 0 * DAY) - dt.timedelta(minutes=1))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _with_issuer(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(identifier, False)


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    names += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


KINDS: dict[str, type[ForeignAuthority]] = {
    one.kind: one for one in (Puppet, OpenSSL, OpenSSLChain, Step)
}
