"""file: chunks by broadcast are kept where they were admitted and the manifest proves them, and nowhere else."""

from __future__ import annotations

import hashlib
import os

import pytest

from mcshell.wire.chunk import KeyShare, TransferKey, manifest_entry

CHUNK = 4096
CONTENT = os.urandom(3 * CHUNK + 100)


class Sender:
    """An operator who sends one file to one node by hand."""

    def __init__(self, tester, path, content=CONTENT):
        self.tester = tester
        self.key, self.share = TransferKey.new(), KeyShare()
        self.inputs = {
            "path": str(path),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "chunk": CHUNK,
        }
        pieces = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
        self.bodies = [self.key.seal(number, piece) for number, piece in enumerate(pieces)]
        self.manifest = b"".join(map(manifest_entry, self.bodies))

    def put(self, **others):
        """A call of `file.put` about the file."""
        return self.tester.call("file", "put", **{**self.inputs, **others})

    def admit(self, **others):
        """Give the node key and manifest."""
        share = self.put(share=self.share.public)["share"]
        sealed = self.share.seal(self.key, share, self.tester.node.identity)
        given = {"transfer": self.key.id, "sealed": sealed, "manifest": self.manifest}
        return self.put(share=self.share.public, **{**given, **others})

    def take(self, body):
        """What the node makes of a body on the topic."""
        return self.tester.node.system.transfers.take(body)


@pytest.fixture
def root(tester, tmp_path):
    """A folder that is written, on a node with state of its own."""
    folder = tmp_path / "root"
    folder.mkdir()
    tester.node.state = tmp_path / "state"
    tester.configure("file", write=[str(folder)])
    return folder


@pytest.fixture
def sender(tester, root):
    """A file that was announced, and of which the node has nothing."""
    return Sender(tester, root / "app")


def test_chunks_on_the_topic_make_the_file(sender, root):
    """In any order and twice; who asks what is missing has it put in its place."""
    sender.admit()
    taken = [sender.take(sender.bodies[number]) for number in (3, 0, 0, 2)]
    assert taken == [True, True, False, True]
    assert sender.put()["missing"] == [[1, 1]]
    assert sender.take(sender.bodies[1])
    assert not (root / "app").exists()
    assert sender.put()["result"] == "written"
    assert (root / "app").read_bytes() == CONTENT
    assert not sender.take(sender.bodies[1])


def test_what_was_not_admitted_is_dropped(sender, tester, root):
    """Nothing of it is kept: not before the key is there, not of a transfer that nobody announced."""
    sender.put()
    assert not sender.take(sender.bodies[0])
    sender.admit()
    assert not Sender(tester, root / "other").take(sender.bodies[0][:40])
    other = TransferKey.new()
    assert not sender.take(other.seal(0, CONTENT[:CHUNK]))
    assert sender.put()["missing"] == [[0, 3]]


def test_what_the_manifest_does_not_prove_is_dropped(sender):
    """A changed chunk, one under another's number, one beyond the end; with the right key, too."""
    sender.admit()
    key = sender.key
    for body in (
        bytes([*sender.bodies[0][:-1], sender.bodies[0][-1] ^ 1]),
        key.seal(1, CONTENT[:CHUNK]),
        key.seal(0, b"x" * CHUNK),
        key.seal(4, b"x" * 100),
        key.seal(2**32 - 1, b"x"),
        b"\0",
        b"",
    ):
        assert not sender.take(body)
    assert sender.put()["missing"] == [[0, 3]]


def test_a_chunk_of_the_wrong_length_is_dropped(tester, root):
    """Also where the manifest names it."""
    sender = Sender(tester, root / "app")
    sender.bodies[0] = sender.key.seal(0, b"x" * (CHUNK + 1))
    sender.manifest = b"".join(map(manifest_entry, sender.bodies))
    sender.admit()
    assert not sender.take(sender.bodies[0])


def test_a_key_that_was_sealed_for_another_node(sender, tester):
    """It is refused in a line, and nothing is admitted."""
    share = sender.put(share=sender.share.public)["share"]
    sealed = sender.share.seal(sender.key, share, "another")
    given = {"transfer": sender.key.id, "sealed": sealed, "manifest": sender.manifest}
    error = tester.fails("file", "put", **sender.inputs, share=sender.share.public, **given)
    assert "sealed for another" in str(error)
    assert not sender.take(sender.bodies[0])


@pytest.mark.parametrize("manifest", [b"", b"x" * 31, b"x" * 32 * 5, "text"])
def test_a_manifest_that_is_none(sender, tester, manifest):
    """One SHA-256 a chunk, no fewer and no more."""
    share = sender.put(share=sender.share.public)["share"]
    sealed = sender.share.seal(sender.key, share, tester.node.identity)
    given = {"transfer": sender.key.id, "sealed": sealed, "manifest": manifest}
    error = tester.fails("file", "put", **sender.inputs, share=sender.share.public, **given)
    assert error.statuscode == 4


def test_so_many_transfers_at_a_time(tester, root):
    """The oldest makes room: its sender is told what is missing, and sends it directly."""
    senders = [Sender(tester, root / f"{number}") for number in range(65)]
    for one in senders:
        one.admit()
    assert not senders[0].take(senders[0].bodies[0])
    assert senders[64].take(senders[64].bodies[0])


def test_after_a_restart_the_key_is_gone_and_the_chunks_are_not(sender, tester, root):
    """What has come stays; the rest comes directly."""
    sender.admit()
    sender.take(sender.bodies[0])
    tester.node.system = type(tester.node.system)()
    assert not sender.take(sender.bodies[1])
    assert sender.put()["missing"] == [[1, 3]]
    for number in (1, 2, 3):
        piece = CONTENT[number * CHUNK : (number + 1) * CHUNK]
        told = sender.put(offset=number * CHUNK, content=piece)
    assert told["result"] == "written"
    assert (root / "app").read_bytes() == CONTENT
