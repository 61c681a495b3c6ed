"""Subjects as brokers read them, beside Java's own hand and a reader of its properties."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcshell.broker.config.subject import _KEYWORDS, in_java, in_properties, subject_of

if TYPE_CHECKING:
    from pathlib import Path

KEY = ec.generate_private_key(ec.SECP256R1())
OIDS = [*(oid for oid in _KEYWORDS if oid != NameOID.COUNTRY_NAME), NameOID.PSEUDONYM]
# what Java quotes or escapes comes often; a line break would part the line that keytool prints
TEXTS = st.text(
    st.one_of(
        st.sampled_from(' ,+=<>#;\\"'),
        st.characters(exclude_categories=("C", "Z"), max_codepoint=0x2FFF),
    ),
    min_size=1,
    max_size=12,
)
PARTS = st.builds(
    lambda oid, text: x509.NameAttribute(oid, text, _type=_ASN1Type.UTF8String),
    st.sampled_from(OIDS),
    TEXTS,
)
RDNS = st.lists(PARTS, min_size=1, max_size=2, unique_by=lambda part: part.oid)
NAMES = st.lists(RDNS.map(x509.RelativeDistinguishedName), min_size=1, max_size=4).map(x509.Name)


def certificate(subject: x509.Name) -> x509.Certificate:
    """A certificate of this subject."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=9999))
    return builder.sign(KEY, hashes.SHA256())


@pytest.mark.activemq
@pytest.mark.skipif(shutil.which("keytool") is None, reason="needs Java's keytool")
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.lists(NAMES, min_size=60, max_size=60))
def test_a_subject_is_written_as_java_writes_it(names: list[x509.Name], tmp_path: Path) -> None:
    """Whatever is in it, several values in one part too."""
    path = tmp_path / "all.pem"
    path.write_bytes(b"".join(certificate(one).public_bytes(Encoding.PEM) for one in names))
    words = ["-J-Dfile.encoding=UTF-8", "-J-Dstdout.encoding=UTF-8", "-J-Duser.language=en"]
    done = subprocess.run(
        ["keytool", *words, "-printcert", "-file", str(path)],
        capture_output=True,
        check=True,
        timeout=300,
    )
    said = re.findall(r"^Owner: (.*)$", done.stdout.decode(), re.MULTILINE)
    parsed = [x509.load_der_x509_certificate(c) for c in map(_der, names)]
    assert said == [in_java(one.subject) for one in parsed]


def _der(name: x509.Name) -> bytes:
    return certificate(name).public_bytes(Encoding.DER)


def read_value(line: str) -> str:
    """A value as `java.util.Properties` reads it: Latin-1, escapes, no space before it."""
    text = line.encode("latin-1").decode("latin-1").lstrip(" \t\f")
    text = re.sub(
        r"\\(u[0-9a-f]{4}|.)",
        lambda found: chr(int(found[1][1:], 16)) if len(found[1]) > 1 else found[1],
        text,
    )
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_value_of_properties_is_read_as_it_was(text: str) -> None:
    """Every character, in one line."""
    line = in_properties(text)
    assert "\n" not in line
    assert "\r" not in line
    assert read_value(line) == text


@pytest.mark.parametrize(
    ("text", "common"),
    [
        ("CN=web1,O=Example", "web1"),
        ("OU=a+CN=Web1,O=Example", "Web1"),
        ("O=Example", None),
        ("CN=web1,CN=alice", None),
    ],
)
def test_who_logs_in_has_one_common_name(text: str, common: str | None) -> None:
    """Of two it would be both on RabbitMQ, and one on ActiveMQ."""
    subject = subject_of(x509.Name.from_rfc4514_string(text))
    assert (subject and subject.common_name) == common
