"""The agent's protocol as bytes: what is written, what is read, and that nothing else is taken."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from mcshell.pki.keys import checking
from mcshell.pki.ssh_agent import key_blob, read_keys, read_signature, sign_request

ED = Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
BODIES = st.binary(max_size=80)


def string(raw: bytes) -> bytes:
    """Bytes behind their length."""
    return struct.pack(">I", len(raw)) + raw


def mpint(number: int) -> bytes:
    """A number as RFC 4251 has it."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def identities(keys: list[tuple[bytes, bytes]]) -> bytes:
    """The answer with these keys and comments."""
    rows = b"".join(string(blob) + string(comment) for blob, comment in keys)
    return b"\x0c" + struct.pack(">I", len(keys)) + rows


def signed(algorithm: bytes, signature: bytes) -> bytes:
    """The answer with this signature."""
    return b"\x0e" + string(string(algorithm) + string(signature))


@given(st.lists(st.tuples(BODIES, BODIES), max_size=5))
def test_the_keys_come_back_in_their_order(keys: list[tuple[bytes, bytes]]) -> None:
    """Whatever the keys and comments are, the keys are read, and nothing of the comments."""
    assert read_keys(identities(keys)) == [blob for blob, _ in keys]


@given(BODIES, st.data())
def test_a_signature_is_taken_out_whole_or_not_at_all(body: bytes, data: st.DataObject) -> None:
    """The raw signature verifies; an answer cut anywhere, or with more behind it, is refused."""
    answer = signed(b"ssh-ed25519", ED.sign(body))
    checking(ED.public_key())(read_signature(answer, ED.public_key()), body)
    cut = data.draw(st.integers(0, len(answer) - 1))
    for wrong in (answer[:cut], answer + b"x"):
        with pytest.raises(ValueError, match=r"\w"):
            read_signature(wrong, ED.public_key())


@given(st.binary(max_size=200))
def test_junk_is_a_value_error(answer: bytes) -> None:
    """Whatever an agent says is read, or is a ValueError."""
    for read in (read_keys, lambda raw: read_signature(raw, P256.public_key())):
        try:
            read(answer)
        except ValueError:
            continue
        assert answer[0] in (12, 14)


@given(BODIES)
def test_ecdsa_and_rsa_become_what_x509_has(body: bytes) -> None:
    """Two numbers become DER; an RSA signature without its leading zeros has its length again."""
    r, s = decode_dss_signature(P256.sign(body, ec.ECDSA(hashes.SHA256())))
    answer = signed(b"ecdsa-sha2-nistp256", mpint(r) + mpint(s))
    checking(P256.public_key())(read_signature(answer, P256.public_key()), body)
    short = signed(b"rsa-sha2-256", b"\x01" * 255)
    assert read_signature(short, RSA.public_key()) == b"\0" + b"\x01" * 255


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"\x05", "refused"),
        (signed(b"ssh-rsa", b"x" * 256), "signed with b'ssh-rsa' where rsa-sha2-256 was asked"),
    ],
)
def test_a_refusal_and_another_algorithm_are_named(answer: bytes, says: str) -> None:
    """An agent that says no, or that signs with SHA-1, gives no signature."""
    with pytest.raises(ValueError, match=says):
        read_signature(answer, RSA.public_key())


@given(BODIES)
def test_a_request_says_key_body_and_flags(body: bytes) -> None:
    """RSA is asked for with SHA-256 (flag 2), the others without a flag."""
    for key, flags in ((ED, 0), (P256, 0), (RSA, 2)):
        blob = key_blob(key.public_key())
        wanted = b"\x0d" + string(blob) + string(body) + struct.pack(">I", flags)
        assert sign_request(blob, body, key.public_key()) == wanted
