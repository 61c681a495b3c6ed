"""Two verifiers of Ed25519 and odd keys and signatures: what either refuses is refused."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from mcshell.pki.keys import _sodium, checking, signing

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SECRET = 0x1234567890ABCDEF << 64
BODIES = [f"body {number}".encode() for number in range(8)]
POINT = tuple[int, int]


def add(one: POINT, other: POINT) -> POINT:
    """The sum of two points of the curve."""
    (a, b), (c, d) = one, other
    k = D * a * b * c * d
    return (
        (a * d + b * c) * pow(1 + k, -1, P) % P,
        (b * d + a * c) * pow(1 - k, -1, P) % P,
    )


def times(number: int, point: POINT) -> POINT:
    """A point so many times."""
    result = (0, 1)
    for bit in f"{number:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def x_of(y: int, sign: int = 0) -> int | None:
    """The x of a y, if the curve has one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return P - x if x & 1 != sign else x


def encode(point: POINT, *, beyond: int = 0) -> bytes:
    """A point as it travels; `beyond` adds to its y what no reader should take."""
    x, y = point
    return ((y + beyond) | (x & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, -1, P) % P
BASE: POINT = (x_of(BASE_Y) or 0, BASE_Y)
# What is left of a point of the curve times the order of the base: of order 1, 2, 4 or 8.
TORSION = next(
    point
    for y in range(3, 99)
    if (x := x_of(y)) is not None and times(4, point := times(L, (x, y))) != (0, 1)
)
SMALL = [times(number, TORSION) for number in range(8)]
HONEST = times(SECRET, BASE)
KEYS = [
    encode(HONEST),
    *(encode(add(HONEST, point)) for point in SMALL[1:]),
    *map(encode, SMALL),
    encode((0, 1), beyond=P),
    encode((x_of(0) or 0, 0), beyond=P),
    bytes([1, *bytes(30), 0x80]),
    bytes(32),
    b"\xff" * 32,
]


def signatures(key: bytes, body: bytes) -> list[bytes]:
    """Signatures that some verifier may take, by equations that hold."""
    found = []
    for nonce, point in itertools.product((0, 7), (*SMALL[:2], SMALL[4])):
        r = add(times(nonce, BASE), point)
        for encoded in (encode(r), encode(r, beyond=P) if r[1] < 19 else encode(r)):
            digest = hashlib.sha512(encoded + key + body).digest()
            h = int.from_bytes(digest, "little") % L
            for s in (nonce, (nonce + h * SECRET) % L):
                found += [encoded + (s + k * L).to_bytes(32, "little") for k in (0, 1, 8)]
    return [*found, bytes(64), b"\xff" * 64, encode(HONEST) + bytes(32)]


def openssl_takes(key: bytes, signature: bytes, body: bytes) -> bool:
    """What `cryptography` says."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, body)
    except InvalidSignature:
        return False
    return True


def sodium_takes(key: bytes, signature: bytes, body: bytes) -> bool:
    """What PyNaCl says."""
    try:
        crypto_sign_open(signature + body, key)
    except CryptoError:
        return False
    return True


def we_take(key: bytes, signature: bytes, body: bytes) -> bool:
    """What the check says that every message goes through."""
    try:
        checking(Ed25519PublicKey.from_public_bytes(key))(signature, body)
    except InvalidSignature:
        return False
    return True


def test_what_either_verifier_refuses_is_refused():
    """Odd keys and signatures pass only where both libraries take them: those of the honest key."""
    taken, disputed = set(), 0
    for key, body in itertools.product(KEYS, BODIES[:2]):
        for signature in signatures(key, body):
            both = openssl_takes(key, signature, body), sodium_takes(key, signature, body)
            assert we_take(key, signature, body) is all(both), (key.hex(), signature.hex())
            disputed += both[0] is not both[1]
            if all(both):
                taken.add(key)
    assert encode(HONEST) in taken
    assert disputed, "the corpus has nothing that they disagree about"
    assert not taken & set(KEYS[8:]), "a key of small order, or none"


def test_the_bytes_behind_a_short_signature_are_not_taken_for_its_end():
    """A signature of another length than 64 bytes is refused, whatever body stands behind it."""
    key = Ed25519PrivateKey.generate()
    check = checking(key.public_key())
    signature = key.sign(b"body")
    check(signature, b"body")
    for cut in (0, 1, 32, 63):
        with pytest.raises(InvalidSignature):
            check(signature[:cut], signature[cut:] + b"body")
    with pytest.raises(InvalidSignature):
        check(signature + b"b", b"ody")


@given(st.binary(max_size=300))
def test_whichever_library_signs_it_is_the_same_signature(body):
    """A node signs by OpenSSL until libsodium is there, which nobody can tell by what it signs."""
    key = Ed25519PrivateKey.generate()
    sign, check = signing(key), checking(key.public_key())
    _sodium.cache_clear()
    early = sign(body)
    check(early, body)
    assert _sodium.cache_info().currsize, "it was loaded by the check"
    assert sign(body) == early
    check(sign(body), body)
