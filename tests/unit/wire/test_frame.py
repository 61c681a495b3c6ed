"""The STOMP codec: any cut, any noise, three versions."""

from __future__ import annotations

import contextlib
import itertools
import time

import pytest
import stomp.utils
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import FrameError
from mcshell.wire.stomp.frame import HEARTBEAT, Frame, Parser, dump, negotiate

COMMANDS = ["SEND", "SUBSCRIBE", "ACK", "MESSAGE", "RECEIPT", "ERROR", "DISCONNECT"]
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
headers = st.dictionaries(
    text.filter(lambda name: name and name != "content-length"), text, max_size=6
)
bodies = st.one_of(st.binary(max_size=300), st.just(b"\0\n\n\0\n"))
frames = st.builds(Frame, st.sampled_from(COMMANDS), headers, bodies)
versions = st.sampled_from(["1.1", "1.2"])


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    """Cut a stream at these points (modulo its length)."""
    marks = sorted({point % (len(stream) + 1) for point in points} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


def plain(frame: Frame) -> tuple[str, dict[str, str], bytes]:
    """A frame without the length that writing adds."""
    return (
        frame.command,
        {name: value for name, value in frame.headers.items() if name != "content-length"},
        frame.body,
    )


@given(
    st.lists(st.tuples(frames, st.sampled_from([b"", HEARTBEAT, b"\r\n\n"])), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=20),
    versions,
)
def test_any_cut_gives_the_same_frames(sent, points, version):
    """Frames and heart-beats come back whole and in order however the stream was cut."""
    stream = b"".join(dump(frame, version) + pause for frame, pause in sent)
    parser = Parser(version=version)
    got = [frame for piece in cut(stream, points) for frame in parser.feed(piece)]
    assert [plain(frame) for frame in got] == [plain(frame) for frame, _ in sent]


@given(frames, versions)
def test_byte_by_byte_gives_the_same_frame(frame, version):
    """A frame that arrives one byte at a time is complete with its last byte, not before."""
    stream = dump(frame, version)
    parser = Parser(version=version)
    assert all(parser.feed(stream[i : i + 1]) == [] for i in range(len(stream) - 1))
    assert [plain(got) for got in parser.feed(stream[-1:])] == [plain(frame)]


@given(st.lists(st.binary(max_size=200), max_size=8), st.sampled_from(["1.0", "1.1", "1.2"]))
def test_noise_is_a_frame_error_at_worst(pieces, version):
    """Whatever bytes come in, nothing but FrameError comes out of the parser."""
    parser = Parser(version=version, max_body=100, max_header=150)
    with contextlib.suppress(FrameError):
        for piece in pieces:
            parser.feed(piece)


@given(frames, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_a_damaged_frame_is_a_frame_error_at_worst(frame, changes):
    """A frame with changed bytes parses to something or raises FrameError, nothing else."""
    stream = bytearray(dump(frame))
    for place, value in changes:
        stream[place % len(stream)] = value
    with contextlib.suppress(FrameError):
        Parser(max_body=1000).feed(bytes(stream))


@given(
    st.sampled_from(COMMANDS),
    st.dictionaries(
        # stomp.py's header pattern does not see line breaks other than \n the way STOMP does
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=9),
        st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=20),
        max_size=6,
    ),
    st.binary(max_size=60),
)
def test_stomp_py_reads_what_we_write(command, fields, body):
    """stomp.py's parser finds in our bytes the command, headers and body that we put there."""
    fields.pop("content-length", None)
    frame = Frame(command, fields, body)
    oracle = stomp.utils.parse_frame(dump(frame)[:-1])
    assert plain(Frame(oracle.cmd, oracle.headers, oracle.body)) == plain(frame)
    [ours] = Parser().feed(dump(frame))
    assert (ours.command, ours.headers) == (oracle.cmd, oracle.headers)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0\n:", exclude_categories=["Cs"]), min_size=1),
        st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])),
    ),
    st.binary(),
)
def test_stomp_1_0_carries_values_as_they_are(fields, body):
    """Without escapes every value without a line break round-trips under 1.0."""
    fields.pop("content-length", None)
    [got] = Parser(version="1.0").feed(dump(Frame("SEND", fields, body), "1.0"))
    assert plain(got) == ("SEND", fields, body)


@pytest.mark.parametrize(
    ("version", "wire"),
    [
        ("1.0", b"SEND\na:x:y\\z\n\n\0"),
        ("1.1", b"SEND\na:x\\cy\\\\z\n\n\0"),
        ("1.2", b"SEND\na:x\\cy\\\\z\n\n\0"),
    ],
)
def test_each_version_escapes_its_own_way(version, wire):
    """A colon and a backslash are escaped from 1.1 on, and never in 1.0."""
    frame = Frame("SEND", {"a": "x:y\\z"})
    assert dump(frame, version) == wire
    assert Parser(version=version).feed(wire) == [frame]


def test_carriage_returns_are_escaped_only_in_1_2():
    r"""1.2 knows the escape \r, 1.1 sends the character and refuses the escape."""
    frame = Frame("SEND", {"a": "x\ry"})
    assert dump(frame, "1.2") == b"SEND\na:x\\ry\n\n\0"
    assert dump(frame, "1.1") == b"SEND\na:x\ry\n\n\0"
    assert Parser(version="1.1").feed(b"SEND\na:x\ry\n\n\0") == [frame]
    with pytest.raises(FrameError, match="undefined escape"):
        Parser(version="1.1").feed(b"SEND\na:x\\ry\n\n\0")


def test_an_unescaped_colon_in_a_value_is_read():
    """Only the first colon divides a header, as brokers and old clients send values raw."""
    [frame] = Parser().feed(b"SEND\na:b:c\n\n\0")
    assert frame.headers == {"a": "b:c"}


def test_connect_is_never_escaped():
    """A passcode with a backslash or a colon goes out in CONNECT as it is, in every version."""
    frame = Frame("CONNECT", {"accept-version": "1.2", "passcode": "a:b\\n"})
    assert dump(frame, "1.2") == b"CONNECT\naccept-version:1.2\npasscode:a:b\\n\n\n\0"
    assert Parser().feed(dump(frame)) == [frame]


def test_lines_may_end_with_crlf_in_1_2_only():
    """1.2 takes CRLF line ends; in 1.1 the carriage return is part of the value."""
    [frame] = Parser().feed(b"\r\nSEND\r\na:b\r\n\r\nx\0")
    assert frame == Frame("SEND", {"a": "b"}, b"x")
    assert Parser(version="1.1").feed(b"SEND\na:b\r\n\nx\0")[0].headers == {"a": "b\r"}


def test_the_first_of_repeated_headers_counts():
    """A header added by a broker on the way does not hide the first one."""
    [frame] = Parser().feed(b"SEND\na:1\nb:2\na:3\n\n\0")
    assert frame.headers == {"a": "1", "b": "2"}


def test_the_length_lets_a_body_hold_nuls():
    """With a content-length NULs belong to the body; without one the first NUL ends it."""
    assert Parser().feed(b"SEND\ncontent-length:3\n\n\0\0\0\0")[0].body == b"\0\0\0"
    assert Parser().feed(b"SEND\n\nab\0\n")[0].body == b"ab"


@pytest.mark.parametrize("wrong", ["-1", "+1", "1_0", "x", "", " 1", "\u0661", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(wrong):
    """Nothing but ASCII digits is a content-length."""
    with pytest.raises(FrameError, match="content-length"):
        Parser().feed(f"SEND\ncontent-length:{wrong}\n\nx\0".encode())


def test_a_body_longer_than_its_length_is_refused():
    """The byte after the announced body must be NUL."""
    with pytest.raises(FrameError, match="longer than its content-length"):
        Parser().feed(b"SEND\ncontent-length:1\n\nxy\0")


@pytest.mark.parametrize(
    "stream",
    [
        b"SEND\ncontent-length:1001\n\n",
        b"SEND\n\n" + b"x" * 1001 + b"\0",
        b"SEND\n\n" + b"x" * 3000,
        b"SEND\na:" + b"x" * 1000,
        b"SEND\na:" + b"x" * 1000 + b"\n\n\0",
    ],
)
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_size_limits_hold_before_the_bytes_are_there(stream, size):
    """A body or headers over the limit are refused, however they arrive."""
    parser = Parser(max_body=1000, max_header=500)
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    with pytest.raises(FrameError):
        [parser.feed(piece) for piece in pieces]


def test_large_headers_cost_no_more_in_small_pieces():
    """Four megabytes of short headers that come by a network's packets are read once, not with each of them."""
    stream = dump(Frame("MESSAGE", {f"x-{number}": "y" * 20 for number in range(150_000)}))
    pieces = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    parser = Parser(max_header=1 << 23)
    began = time.process_time()
    [got] = [frame for piece in pieces for frame in parser.feed(piece)]
    assert len(got.headers) == 150_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "stream", [b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"GET / "]
)
def test_another_protocol_is_known_by_its_first_bytes(stream):
    """Who answers in another protocol is refused at once, without waiting for a blank line."""
    with pytest.raises(FrameError, match="not STOMP"):
        Parser().feed(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"SEND\nnocolon\n\n\0",
        b"SEND\n:value\n\n\0",
        b"SEND\na:\xff\n\n\0",
        b"SEND\na:\0\n\n\0",
        b"SEND\na:\\t\n\n\0",
        b"SEND\na:b\\\n\n\0",
        b"send\n\n\0",
    ],
)
def test_malformed_headers_are_refused(stream):
    """Headers without colon, name or meaning are a FrameError, not a guess."""
    with pytest.raises(FrameError):
        Parser().feed(stream)


@pytest.mark.parametrize(
    ("frame", "version"),
    [
        (Frame("SEND", {"a": "x\ny"}), "1.0"),
        (Frame("SEND", {"a:b": "x"}), "1.0"),
        (Frame("SEND", {"": "x"}), "1.2"),
        (Frame("SEND", {"a": "\0"}), "1.2"),
        (Frame("SEND", {"a": "\ud800"}), "1.2"),
        (Frame("CONNECT", {"passcode": "a\nb"}), "1.2"),
    ],
)
def test_what_a_version_cannot_carry_is_not_written(frame, version):
    """A header that would break the stream raises instead of being sent."""
    with pytest.raises(FrameError):
        dump(frame, version)


def test_the_parser_follows_the_negotiation():
    """What comes after CONNECT or CONNECTED is read in the version that was agreed on."""
    for opening in (b"CONNECT\n\n\0", b"CONNECTED\n\n\0", b"CONNECTED\nversion:1.0\n\n\0"):
        assert Parser().feed(opening + b"SEND\na:\\c\n\n\0")[1].headers == {"a": "\\c"}
    assert Parser().feed(b"STOMP\naccept-version:1.1,1.0\n\n\0SEND\na:b\r\n\n\0")[1].headers == {
        "a": "b\r"
    }


def test_the_newest_common_version_is_chosen():
    """A list without a known version has no answer; no list at all means 1.0."""
    assert negotiate("1.0,1.1, 1.2") == "1.2"
    assert negotiate("1.1,9.9") == "1.1"
    assert negotiate(None) == "1.0"
    assert negotiate("2.0") is None


def test_a_big_body_is_not_scanned_or_copied_again():
    """The bytes of a large body are taken up in linear time: 100,000 pieces in a moment."""
    parser = Parser()
    body = b"\0" * 20_000_000
    stream = dump(Frame("SEND", {}, body))
    got = [f for i in range(0, len(stream), 200) for f in parser.feed(stream[i : i + 200])]
    assert [frame.body == body for frame in got] == [True]
