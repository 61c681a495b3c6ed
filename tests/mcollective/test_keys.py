"""RSA keys and the old ways of using them: what is refused, and what Ruby's OpenSSL makes of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.wire.mcollective import keys
from mcshell.wire.mcollective.aes import AES, CIPHERS
from mcshell.wire.mcollective.envelope import MCollectiveLimits
from tests.mcollective.plugins import Plugin
from tests.mcollective.test_security import BODY, NOW, request

if TYPE_CHECKING:
    from tests.mcollective.plugins import Keys
    from tests.mcollective.ruby import Ruby

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)


@given(st.binary(min_size=1, max_size=245))
@settings(max_examples=40, deadline=None)
def test_what_the_private_key_seals_the_public_key_opens(data: bytes) -> None:
    """Any bytes that fit come back, and only with the key's own other half."""
    sealed = keys.private_transform(KEY, data)
    assert keys.public_transform(KEY.public_key(), sealed) == data
    with pytest.raises(Rejected):
        keys.public_transform(OTHER.public_key(), sealed)


def test_ruby_opens_what_the_private_key_sealed(ruby: Ruby) -> None:
    """Ruby's public_decrypt gives the bytes back, and private_encrypt makes the same ones."""
    pem = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    sealed = keys.private_transform(KEY, b"one-time key")
    code = f"OpenSSL::PKey::RSA.new({pem!r}.gsub('\\\\n', 10.chr))"
    opened = ruby.run(f"require 'openssl'; {code}.public_decrypt(['{sealed.hex()}'].pack('H*')).b")
    assert opened == ["bytes", b"one-time key".hex()]
    made = ruby.run(f"{code}.private_encrypt('one-time key').b")
    assert made == ["bytes", sealed.hex()]


@pytest.mark.parametrize("sealed", [b"", b"\xff" * 256, b"\x00" * 256, b"\x01" * 10])
def test_what_no_private_key_sealed_is_refused(sealed: bytes) -> None:
    """Wrong sizes and wrong paddings are a bad signature."""
    with pytest.raises(Rejected) as caught:
        keys.public_transform(KEY.public_key(), sealed)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_too_much_for_a_key_is_a_configuration_error() -> None:
    """A key that is too short for a one-time key says so."""
    with pytest.raises(ConfigError, match="too short"):
        keys.private_transform(KEY, b"x" * 246)


def test_public_keys_come_in_certificates_too(rsa_keys: Keys) -> None:
    """As in MCollective, a certificate may stand where a public key is wanted."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    found = keys.public_key(certificate.public_bytes(serialization.Encoding.PEM))
    assert found.public_numbers() == KEY.public_key().public_numbers()
    assert keys.public_key(rsa_keys.public("alice")).key_size == 2048


def test_only_rsa_is_known() -> None:
    """Other keys are refused by name, private and public ones."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(ConfigError, match="not RSA"):
        keys.private_key(private)
    with pytest.raises(ConfigError, match="not RSA"):
        keys.public_key(public)


def test_base64_is_rubys() -> None:
    """Lines of 60 with their ends; anything else in it is refused."""
    assert keys.encode64(b"x" * 50).splitlines()[0] == "eHh4" * 15
    assert keys.decode64(keys.encode64(bytes(range(256)))) == bytes(range(256))
    for text in ("", "a*b", "abc", "a=b="):
        with pytest.raises(Rejected):
            keys.decode64(text)


@pytest.mark.mcollective
@pytest.mark.parametrize("cipher", CIPHERS)
def test_each_cipher_is_that_of_the_real_plugin(rsa_keys: Keys, cipher: str) -> None:
    """`ssl_cipher` may be any of ours, both ways."""
    directory = keys.KeyDirectory(rsa_keys.folder / "clients")
    ours = AES(rsa_keys.private("alice"), "cert=alice", callers=directory, cipher=cipher)
    more = f"ssl_cipher = {cipher}"
    node = Plugin(rsa_keys, "aes", "node", "marshal", more)
    client = Plugin(rsa_keys, "aes", "client", "marshal", more)
    try:
        seen = node.open(ours.seal_request(request()))
        assert seen[":body"][":action"] == "get_fact"
        sealed = client.request("ping", id="e" * 32, filter={}, agent="discovery", ttl=60)
        read = ours.open_request(sealed, MCollectiveLimits(max_ttl=1e9, max_skew=1e12), NOW)
        assert read.request.body == "ping"
    finally:
        node.close()
        client.close()


def test_a_public_key_may_be_sent_along_and_is_never_learnt(rsa_keys: Keys) -> None:
    """`aes.send_pubkey` is honoured for nodes that learn; ours take keys from files alone."""
    public = rsa_keys.public("alice").decode()
    ours = AES(rsa_keys.private("alice"), "cert=alice", send_pubkey=public)
    sealed = ours.seal_request(request())
    assert public.encode() in sealed
    directory = keys.KeyDirectory(rsa_keys.folder / "clients")
    node = AES(rsa_keys.private("server"), "cert=server", callers=directory)
    assert node.open_request(sealed, MCollectiveLimits(), NOW).request.body == BODY
    empty = AES(rsa_keys.private("server"), "cert=server", callers=lambda _: None)
    with pytest.raises(Rejected, match="no public key"):
        empty.open_request(sealed, MCollectiveLimits(), NOW)
