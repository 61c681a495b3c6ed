"""What stands behind `pkcs11:`: RFC 7512, as far as it names a key that signs."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import ConfigError
from mcshell.pki.pkcs11_token import parse_uri, pkcs11_token

MODULE = "module-path=/usr/lib/driver.so"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(token=TEXTS, label=TEXTS, identifier=st.binary(max_size=12))
def test_names_come_out_as_they_were(token: str, label: str, identifier: bytes) -> None:
    """Whatever a token, a key or its id are called, percent signs bring it."""
    said = f"token={quote(token)};object={quote(label)};id={quote(identifier)}?{MODULE}"
    uri = parse_uri(said)
    assert (uri.token, uri.object, uri.id) == (token, label, identifier)
    assert uri.module == Path("/usr/lib/driver.so")


@given(TEXTS)
def test_junk_is_an_error_of_the_configuration(text: str) -> None:
    """Whatever stands there that names no driver is a ConfigError, and nothing else."""
    with pytest.raises(ConfigError, match=r"^pki\.key: pkcs11: ") as error:
        parse_uri(text)
    assert error.value.key == "pki.key"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"token=a?{MODULE}&pin-value=4711", "a PIN is in no configuration"),
        ("token=a", "it has no module-path"),
        ("token=a?module-path=driver.so", "no absolute path"),
        (f"tokn=a?{MODULE}", "'tokn' is none of"),
        (f"token=a;token=b?{MODULE}", "token stands twice"),
        (f"type=cert?{MODULE}", "only a private key signs"),
        (f"token=%ff?{MODULE}", "no UTF-8"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    """Each mistake has its words; a PIN is never repeated in them."""
    with pytest.raises(ConfigError, match=says) as error:
        parse_uri(text)
    assert "4711" not in str(error.value)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where python-pkcs11 is not installed the line is the command that installs it."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigError, match=r"pip install python-pkcs11"):
        pkcs11_token(f"token=a?{MODULE}", b"")
