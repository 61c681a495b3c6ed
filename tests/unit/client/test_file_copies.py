"""Chunks by number, places by their words, paths below a root: pure, whatever comes."""

from __future__ import annotations

import argparse
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.files.sending import chunks_of
from mcshell.commands.grammar.file_options import rate
from mcshell.commands.verbs.cp import remote
from mcshell.node.files.parts import Shape, ranges
from mcshell.node.files.place import steps_below

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)
STEPS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c d", "\n"]), max_size=6)


@given(numbers=st.sets(st.integers(0, 500)), most=st.integers(1, 40))
def test_missing_chunks_are_told_and_read(numbers: set[int], most: int) -> None:
    """Pairs stand for their numbers; where there are more than fit, for the first of them."""
    pairs = ranges(sorted(numbers), most)
    read = chunks_of(pairs, 501)
    assert len(pairs) <= most
    assert read <= numbers
    assert read == numbers or (len(pairs) == most and max(read) < min(numbers - read))


@given(said=JSON, most=st.integers(0, 100))
def test_a_node_may_say_whatever_it_likes(said: object, most: int) -> None:
    """Only numbers that the file has come of it."""
    assert chunks_of(said, most) <= set(range(most))


@given(size=st.integers(0, 10**7), chunk=st.integers(1, 10**6))
def test_the_chunks_of_a_file_are_all_of_it(size: int, chunk: int) -> None:
    """Their lengths are its size, and none is empty."""
    shape = Shape(size=size, chunk=max(chunk, size // 1000 + 1))
    lengths = [shape.length(number) for number in range(shape.chunks)]
    assert sum(lengths) == size
    assert all(0 < length <= shape.chunk for length in lengths)


@given(root=STEPS, path=STEPS)
def test_no_path_leads_out_of_its_root(root: list[str], path: list[str]) -> None:
    """What is below a root by our steps is below it by everybody's."""
    base, whole = "/" + "/".join(root), "/" + "/".join(path)
    steps = steps_below(base, whole)
    if steps is not None and ".." not in root:
        assert ".." not in steps
        assert steps
        assert plain(whole) == posixpath.join(plain(base), *steps)


def plain(path: str) -> str:
    """A path in its shortest form; POSIX leaves two slashes at its beginning alone."""
    return "/" + posixpath.normpath(path).lstrip("/")


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("web1:/etc/motd", ("web1", "/etc/motd")),
        ("web[01-40]:/a:/b", ("web[01-40]", "/a:/b")),
        (":/etc/motd", ("", "/etc/motd")),
        ("@web:/etc/", ("@web", "/etc/")),
        ("motd", None),
        ("web1:motd", None),
        ("./web1:/etc/motd", None),
        ("/web1:/etc/motd", None),
    ],
)
def test_which_place_is_on_nodes(place: str, found: tuple[str, str] | None) -> None:
    """What stands before a colon and a slash, and has no slash itself."""
    assert remote(place) == found


def test_a_rate_is_bytes_a_second() -> None:
    """With a unit or without; nothing else is one."""
    assert [rate(one) for one in ("500", "10k", "3M", "1G")] == [500, 1e4, 3e6, 1e9]
    for text in ("", "0", "-1", "1.5M", "10 M", "M", "1T"):
        with pytest.raises(argparse.ArgumentTypeError):
            rate(text)
