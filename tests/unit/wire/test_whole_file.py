"""A whole file over a conversation: parts in order, from any place, and nothing but what was offered."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import InputError
from mcshell.wire.conversation.whole_file import PART, FileOffer, IncomingFile, offer, parts

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(content=st.binary(max_size=60), cuts=st.lists(st.integers(1, 20), max_size=8))
def test_what_is_left_off_is_taken_up(content: bytes, cuts: list[int]) -> None:
    """However a file is cut into parts and conversations, it comes out as it was."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "from").write_bytes(content)
        offered = offer(folder / "from")
        for cut in cuts:
            coming = IncomingFile(folder, offered)
            if piece := content[coming.have : coming.have + cut]:
                coming.add(piece)
        coming = IncomingFile(folder, offered)
        for part in parts(folder / "from", coming.have):
            coming.add(part)
        assert coming.complete
        coming.finish(folder / "to")
        assert (folder / "to").read_bytes() == content
        assert sorted(path.name for path in folder.iterdir()) == ["from", "to"]


@given(said=ANYTHING)
def test_what_is_no_offer_is_refused(said: Any) -> None:
    """Whatever another end says, it is an offer within the limit or one clear line."""
    with pytest.raises(InputError, match="a file"):
        FileOffer.read(said, 10)
    with pytest.raises(InputError, match="a file"):
        FileOffer.read({"size": said, "sha256": said}, 10)


def test_an_offer_is_read_as_it_was_told(tmp_path: Path) -> None:
    """Size and digest are those of all bytes, and one byte more than is taken is refused."""
    (tmp_path / "a").write_bytes(b"abc")
    offered = offer(tmp_path / "a")
    assert offered == FileOffer(size=3, sha256=hashlib.sha256(b"abc").hexdigest())
    assert FileOffer.read(offered.told(), 3) == offered
    with pytest.raises(InputError, match="of 3 bytes; 2 are taken"):
        FileOffer.read(offered.told(), 2)


def test_two_that_write_the_same_do_no_harm(tmp_path: Path) -> None:
    """An earlier conversation that still writes leaves the same bytes at the same places."""
    content = bytes(range(256)) * 2048
    (tmp_path / "from").write_bytes(content)
    offered = offer(tmp_path / "from")
    first = IncomingFile(tmp_path, offered)
    pieces = list(parts(tmp_path / "from", 0))
    assert [len(one) for one in pieces] == [PART] * 4
    first.add(pieces[0])
    second = IncomingFile(tmp_path, offered)
    first.add(pieces[1])
    for piece in pieces[1:]:
        second.add(piece)
    first.add(pieces[2])
    second.finish(tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == content


@pytest.mark.parametrize("part", [b"", "text", None, b"abcd"])
def test_a_part_that_is_none_is_refused(tmp_path: Path, part: Any) -> None:
    """No bytes, or more than were offered, are not written."""
    (tmp_path / "a").write_bytes(b"abc")
    coming = IncomingFile(tmp_path, offer(tmp_path / "a"))
    with pytest.raises(InputError):
        coming.add(part)
    assert coming.path.read_bytes() == b""


def test_other_bytes_are_thrown_away(tmp_path: Path) -> None:
    """Bytes of another digest are refused, and are not in the way of the right ones."""
    (tmp_path / "a").write_bytes(b"abc")
    coming = IncomingFile(tmp_path, offer(tmp_path / "a"))
    coming.add(b"abd")
    with pytest.raises(InputError, match="nothing of it is kept"):
        coming.finish(tmp_path / "to")
    assert IncomingFile(tmp_path, coming.offered).have == 0
    assert not (tmp_path / "to").exists()


def test_a_part_of_what_was_taken_away_is_refused(tmp_path: Path) -> None:
    """Who gives up what had come for another file says so to whoever sends the first."""
    (tmp_path / "a").write_bytes(b"abc")
    coming = IncomingFile(tmp_path, offer(tmp_path / "a"))
    coming.path.unlink()
    with pytest.raises(InputError, match="another file came meanwhile"):
        coming.add(b"a")


def test_more_than_there_is_cannot_be_left_out(tmp_path: Path) -> None:
    """Who claims to have more than all of a file is refused; who has all of it gets no more."""
    (tmp_path / "a").write_bytes(b"abc")
    assert list(parts(tmp_path / "a", 3)) == []
    for have in (4, 2**62, 2**80):
        with pytest.raises(InputError, match="a has fewer than"):
            list(parts(tmp_path / "a", have))
