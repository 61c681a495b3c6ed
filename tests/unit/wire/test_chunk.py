"""Raw chunks: what is sealed opens for its target alone, and nothing that was changed does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.wire.chunk import (
    KeyShare,
    TransferKey,
    is_chunk,
    manifest_entry,
    parse_chunk,
)

NUMBERS = st.integers(0, 2**32 - 1)


@given(content=st.binary(max_size=2000), number=NUMBERS)
def test_what_is_sealed_opens(content: bytes, number: int) -> None:
    """It comes back whole, says its number, and is the same whenever it is sealed."""
    key = TransferKey.new()
    body = key.seal(number, content)
    assert is_chunk(body)
    assert parse_chunk(body) == (key.id, number)
    assert key.open(body) == content
    assert key.seal(number, content) == body


@given(
    content=st.binary(min_size=1, max_size=200), place=st.integers(0, 10_000), bit=st.integers(0, 7)
)
def test_a_changed_bit_is_found(content: bytes, place: int, bit: int) -> None:
    """Wherever it is: in the head, the number, the content, the tag; and the manifest tells it too."""
    key = TransferKey.new()
    body = key.seal(3, content)
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit
    assert manifest_entry(bytes(changed)) != manifest_entry(body)
    with pytest.raises(ValueError, match="transfer"):
        key.open(bytes(changed))


@given(body=st.binary(max_size=200))
def test_whatever_comes_is_parsed_or_none(body: bytes) -> None:
    """No bytes break the parser, and none of them open."""
    parse_chunk(body)
    with pytest.raises(ValueError, match="transfer"):
        TransferKey.new().open(body)


def test_no_document_is_a_chunk() -> None:
    """JSON begins otherwise, and so does what MCollective sends."""
    assert not any(is_chunk(body) for body in (b"", b"{}", b"[1]", b" {}", b"\x04\x08{"))


def test_a_key_is_sealed_for_one_node() -> None:
    """The node whose share it was has it; another, and another name of the same share, has not."""
    operator, node, other = KeyShare(), KeyShare(), KeyShare()
    key = TransferKey.new()
    sealed = operator.seal(key, node.public, "web1")
    assert node.open(sealed, operator.public, key.id, "web1") == key
    for share, name, transfer in (
        (other, "web1", key.id),
        (node, "web2", key.id),
        (node, "web1", TransferKey.new().id),
    ):
        with pytest.raises(ValueError, match="sealed for another"):
            share.open(sealed, operator.public, transfer, name)
    assert key.key not in sealed


@pytest.mark.parametrize("share", [b"", b"short", bytes(32)])
def test_what_is_no_share_is_refused(share: bytes) -> None:
    """Of another length, or a point with which any secret is the same."""
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own words
        KeyShare().seal(TransferKey.new(), share, "web1")
