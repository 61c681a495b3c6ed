"""A token of SoftHSM's, which is PKCS #11 in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import load_der_public_key

if TYPE_CHECKING:
    from mcshell.pki import PublicKey

__all__ = ["PIN", "Token"]

PIN = "471108150042"  # so long that no key or date has it by chance
# In a process of its own: the driver reads its configuration once.
_GENERATE = """
import sys
import pkcs11
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key
from asn1crypto.keys import PublicKeyInfo

module, label, kind, pin = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label="fleet").open(rw=True, user_pin=pin)
if kind == "rsa":
    pair = session.generate_keypair(pkcs11.KeyType.RSA, 2048, label=label, store=True)
    der = PublicKeyInfo.wrap(encode_rsa_public_key(pair[0]), "rsa").dump()
else:
    curve, key_type = "secp256r1", pkcs11.KeyType.EC
    if kind == "ed25519":
        curve, key_type = "1.3.101.112", pkcs11.KeyType.EC_EDWARDS
    named = encode_named_curve_parameters(curve)
    if kind == "ed25519":
        named = bytes.fromhex("130c656477617264733235353139")  # as SoftHSM 2.6 names it
    parameters = session.create_domain_parameters(
        key_type, {pkcs11.Attribute.EC_PARAMS: named}, local=True
    )
    pair = parameters.generate_keypair(label=label, store=True)
    if kind == "ed25519":
        raw = pair[0][pkcs11.Attribute.EC_POINT][2:]
        der = bytes.fromhex("302a300506032b6570032100") + raw
    else:
        der = encode_ec_public_key(pair[0])
sys.stdout.buffer.write(der)
"""


class Token:
    """One token, labelled `fleet`; SOFTHSM2_CONF of `environ` is where it is."""

    def __init__(self, folder: Path) -> None:
        places = Path("/usr/lib").glob("**/libsofthsm2.so")
        self.module = next(places)
        self.folder = folder / "hsm"
        (self.folder / "tokens").mkdir(parents=True)
        config = self.folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder}/tokens\nlog.level = ERROR\n")
        self.environ = {"SOFTHSM2_CONF": str(config)}
        self.pin = self.folder / "pin"
        self.pin.touch(mode=0o600)
        self.pin.write_text(f"{PIN}\n")
        words = ["--init-token", "--free", "--label", "fleet", "--pin", PIN, "--so-pin", "0815"]
        self._run(["softhsm2-util", *words])

    def generate(self, label: str, kind: str) -> PublicKey:
        """Make a key that never leaves it (ed25519, ecdsa or rsa); returns its public half."""
        der = self._run([sys.executable, "-c", _GENERATE, str(self.module), label, kind, PIN])
        return load_der_public_key(der)

    def uri(self, label: str, *, pin: bool = True) -> str:
        """What a configuration says."""
        more = f"&pin-source=file:{self.pin}" if pin else ""
        return f"pkcs11:token=fleet;object={label}?module-path={self.module}{more}"

    def _run(self, argv: list[str]) -> bytes:
        done = subprocess.run(
            argv, env={**os.environ, **self.environ}, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
