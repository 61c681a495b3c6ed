"""file: real files below a root of the test's own, and what must not be read."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from mcshell.errors import AgentError, InputError


@pytest.fixture
def root(tester, tmp_path):
    """A root of the file agent, the only one."""
    folder = tmp_path / "root"
    folder.mkdir()
    tester.configure("file", roots=[str(folder)])
    tester.node.tells_all_files = True  # pytest's own folders are private
    return folder


@pytest.fixture
def public(tester):
    """A root that every user may enter, of a node that tells what all may know."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        folder.chmod(0o755)
        tester.configure("file", roots=[str(folder)])
        yield folder


def test_stat_of_a_file(tester, root):
    """Size, mode, owner and times are the file's own."""
    path = root / "motd"
    path.write_bytes(b"hello\n")
    path.chmod(0o640)
    found = tester.call("file", "stat", path=str(path))
    real = path.stat()
    assert (found["exists"], found["type"], found["size"], found["mode"]) == (
        True,
        "file",
        6,
        "0640",
    )
    assert (found["uid"], found["inode"], found["mtime"]) == (
        real.st_uid,
        real.st_ino,
        real.st_mtime,
    )
    assert found["owner"] == path.owner()
    assert found["group"] == path.group()
    assert found["link"] is None


def test_stat_of_what_is_not_there(tester, root):
    """A missing file is a state, not a failure; also behind a link that leads nowhere."""
    assert tester.call("file", "stat", path=str(root / "nosuch"))["exists"] is False
    (root / "dangling").symlink_to(root / "nowhere")
    assert tester.call("file", "stat", path=str(root / "dangling"))["exists"] is False
    (root / "plain").touch()
    assert tester.call("file", "stat", path=str(root / "plain/below"))["exists"] is False


def test_stat_tells_the_type(tester, root):
    """Directories, FIFOs and sockets are told apart, and looking at them never blocks."""
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
        kinds = {
            name: tester.call("file", "stat", path=str(root / name))["type"]
            for name in ("fifo", "sock")
        }
    assert kinds == {"fifo": "fifo", "sock": "socket"}
    assert tester.call("file", "stat", path=str(root))["type"] == "directory"


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_checksum(tester, root, algorithm):
    """A checksum is that of the whole content."""
    content = os.urandom(3_000_000)
    (root / "blob").write_bytes(content)
    found = tester.call("file", "checksum", path=str(root / "blob"), algorithm=algorithm)
    assert found["checksum"] == hashlib.new(algorithm, content).hexdigest()
    assert found["size"] == len(content)


def test_checksum_is_sha256_and_nothing_weaker_unasked(tester, root):
    """Without a word sha256 is taken; an unknown algorithm is refused."""
    (root / "empty").touch()
    found = tester.call("file", "checksum", path=str(root / "empty"))
    assert found["checksum"] == hashlib.sha256().hexdigest()
    with pytest.raises(InputError):
        tester.call("file", "checksum", path=str(root / "empty"), algorithm="crc32")


def test_checksum_stops_when_cancelled(tester, root):
    """A cancelled request does not read on."""
    (root / "blob").write_bytes(b"x" * 3_000_000)
    cancelled = threading.Event()
    cancelled.set()
    error = tester.fails("file", "checksum", path=str(root / "blob"), cancelled=cancelled)
    assert "stopped before the end" in str(error)


def test_read_walks_a_file_in_pieces(tester, root):
    """Offset plus length is the next offset, until the end; no character is cut in two."""
    text = "zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich\n" * 50
    (root / "text").write_text(text)
    pieces, offset = [], 0
    while True:
        found = tester.call("file", "read", path=str(root / "text"), offset=offset, length=97)
        assert isinstance(found["content"], str)
        pieces.append(found["content"])
        offset = found["offset"] + found["length"]
        if found["eof"]:
            break
    assert "".join(pieces) == text
    assert found["size"] == len(text.encode())


def test_read_of_bytes_that_are_no_text(tester, root):
    """Content that is not UTF-8 comes as the bytes it is."""
    (root / "bin").write_bytes(bytes(range(256)))
    found = tester.call("file", "read", path=str(root / "bin"), offset=100, length=100)
    assert found["content"] == bytes(range(100, 200))
    assert (found["length"], found["eof"]) == (100, False)


def test_read_beyond_the_end_is_empty(tester, root):
    """An offset behind the end gives nothing, and the end."""
    (root / "f").write_text("abc")
    found = tester.call("file", "read", path=str(root / "f"), offset=10)
    assert (found["content"], found["length"], found["eof"]) == ("", 0, True)


@pytest.mark.parametrize("inputs", [{"offset": -1}, {"length": -1}, {"length": 10**9}])
def test_read_refuses_what_makes_no_sense(tester, root, inputs):
    """Negative numbers and pieces over the limit are the caller's error."""
    (root / "f").write_text("abc")
    assert tester.fails("file", "read", path=str(root / "f"), **inputs).statuscode == 4


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"a\nb\nc\n", 2, "b\nc\n"),
        (b"a\nb\nc", 2, "b\nc"),
        (b"a\nb\nc\n", 10, "a\nb\nc\n"),
        (b"a\r\nb\r\n", 1, "b\r\n"),
        (b"\n\n\n", 2, "\n\n"),
        (b"", 5, ""),
        (b"a\nb\n", 0, ""),
        (b"x\n\xff\xfe\n", 1, b"\xff\xfe\n"),
    ],
)
def test_tail(tester, root, content, lines, expected):
    """The last lines are tail(1)'s, with or without a newline at the end."""
    (root / "log").write_bytes(content)
    found = tester.call("file", "tail", path=str(root / "log"), lines=lines)
    assert found["content"] == expected
    assert found["truncated"] is False


def test_tail_of_a_large_file_reads_only_its_end(tester, root):
    """A sparse file of a terabyte is answered at once; over the limit the first lines are cut."""
    with (root / "log").open("wb") as file:
        file.truncate(2**40)
        file.seek(0, os.SEEK_END)
        file.write(b"".join(b"\nline %06d" % number for number in range(100_000)))
    found = tester.call("file", "tail", path=str(root / "log"), lines=20_000)
    assert (found["lines"], found["truncated"]) == (20_000, False)
    assert found["content"].splitlines()[0] == "line 080000"
    tester.node.configured["file"]["max_read"] = 1000
    cut = tester.call("file", "tail", path=str(root / "log"), lines=20_000)
    assert cut["truncated"] is True
    assert len(cut["content"]) == 1000


@pytest.mark.parametrize("path", ["relative", "", "/a\0b", "~/x"])
def test_only_absolute_paths(tester, path):
    """A path that is not absolute never reaches the agent."""
    with pytest.raises(InputError):
        tester.call("file", "read", path=path)


@pytest.mark.parametrize("action", ["stat", "checksum", "read", "tail"])
def test_nothing_outside_the_roots(tester, root, tmp_path, action):
    """Neither by name, nor by "..", nor through a link of a file or of a directory."""
    secret = tmp_path / "rootsecret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (root / "link").symlink_to(secret / "key")
    (root / "dir").symlink_to(secret)
    paths = [secret / "key", root / "../rootsecret/key", root / "link", root / "dir/key"]
    for path in (*paths, secret / "nosuch", root / "dir/nosuch"):
        assert "not below the roots" in str(tester.fails("file", action, path=str(path)))


@pytest.mark.parametrize("action", ["stat", "checksum", "read", "tail"])
def test_the_nodes_own_keys_are_never_shown(tester, node, root, action):
    """What the node protects is refused wherever it lies, also through a link."""
    (root / "state").mkdir()
    (root / "state/node.key").write_text("secret")
    (root / "link").symlink_to(root / "state/node.key")
    node.keys = (root / "state",)
    for path in (root / "state/node.key", root / "link"):
        assert "own keys" in str(tester.fails("file", action, path=str(path)))


@pytest.mark.parametrize("action", ["checksum", "read", "tail"])
def test_content_of_secrets_is_not_shown(tester, action):
    """By default password hashes and private keys can be looked up, not read."""
    assert "not shown" in str(tester.fails("file", action, path="/etc/shadow"))
    assert tester.call("file", "stat", path="/etc/shadow")["exists"] is True


def test_what_is_denied_can_be_set(tester, root):
    """The list of what is not shown is the node's to choose; case does not matter."""
    (root / "Secret.TXT").write_text("x")
    tester.node.configured["file"]["deny"] = ["*.txt"]
    assert "deny: *.txt" in str(tester.fails("file", "read", path=str(root / "Secret.TXT")))
    tester.node.configured["file"]["deny"] = []
    assert tester.call("file", "read", path=str(root / "Secret.TXT"))["content"] == "x"


@pytest.mark.parametrize("action", ["checksum", "read", "tail"])
def test_only_plain_files_are_read(tester, root, action):
    """FIFOs, devices and directories are refused at once, and without opening them."""
    os.mkfifo(root / "fifo")
    assert "a fifo is not read" in str(tester.fails("file", action, path=str(root / "fifo")))
    assert "a directory is not read" in str(tester.fails("file", action, path=str(root)))
    tester.configure("file", roots=["/dev"])
    assert "a char is not read" in str(tester.fails("file", action, path="/dev/zero"))


def test_a_missing_file_is_named(tester, root):
    """Reading what is not there says so."""
    error = tester.fails("file", "read", path=str(root / "nosuch"))
    assert str(error) == f"{root}/nosuch: no such file"


def test_a_loop_of_links_is_no_trap(tester, root):
    """Links that lead to themselves end in an answer."""
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    assert tester.fails("file", "read", path=str(root / "a"))


def test_a_link_swapped_while_it_is_read_never_leads_out(tester, root, tmp_path):
    """However fast a directory is swapped for a link to elsewhere, nothing from there is read."""
    outside = tmp_path / "outside"
    inside = root / "dir"
    for folder, content in ((outside, "secret"), (inside, "public")):
        folder.mkdir()
        (folder / "file").write_text(content)
    link = tmp_path / "link"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            inside.rename(tmp_path / "aside")
            link.symlink_to(outside)
            link.rename(inside)
            inside.unlink()
            (tmp_path / "aside").rename(inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = set()
        for _ in range(1500):
            try:
                seen.add(tester.call("file", "read", path=str(inside / "file"))["content"])
            except Exception as error:  # noqa: BLE001 - each refusal is looked at below
                seen.add(type(error).__name__)
    finally:
        done.set()
        swapper.join()
    assert "secret" not in seen
    assert seen <= {"public", "AgentError"}


def test_the_default_roots_are_there(tester):
    """Without settings /etc, /var/log and /usr/share are open, and nothing else."""
    assert tester.call("file", "read", path="/etc/hostname")["size"] > 0
    for root in ("/var/log", "/usr/share"):
        assert tester.call("file", "stat", path=root)["type"] == "directory"
    for path in ("/root", "/proc/self/environ", "/var/lib/dpkg/status", "/etc/../root"):
        assert "not below the roots" in str(tester.fails("file", "stat", path=path))


def test_what_all_may_read_is_told(tester, public):
    """Below folders that all may search: stat for whatever is there, content for what all may read."""
    (public / "motd").write_text("hello")
    (public / "motd").chmod(0o644)
    (public / "link").symlink_to("motd")
    for name in ("motd", "link"):
        assert tester.call("file", "read", path=str(public / name))["content"] == "hello"
    (public / "motd").chmod(0o640)
    assert tester.call("file", "stat", path=str(public / "link"))["mode"] == "0640"
    for action in ("read", "checksum", "tail"):
        with pytest.raises(AgentError, match="not readable by all: not told"):
            tester.call("file", action, path=str(public / "link"))


def test_what_is_hidden_is_not_told_from_what_is_not_there(tester, public):
    """Behind a folder that others may not search, no name, link or way out of the roots shows."""
    hidden = public / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "acme.db").write_text("x")
    (hidden / "out").symlink_to("/etc/passwd")
    (public / "in").symlink_to(hidden / "acme.db")
    said = set()
    for path in ("hidden/acme.db", "hidden/nothing", "hidden/out", "hidden/acme.db/x"):
        with pytest.raises(AgentError) as refused:
            tester.call("file", "stat", path=str(public / path))
        said.add(str(refused.value).replace(path, ""))
    assert len(said) == 1
    assert "not readable by all: not told" in said.pop()
    with pytest.raises(AgentError, match="not told"):
        tester.call("file", "stat", path=str(public / "in"))
    tester.node.tells_all_files = True
    assert tester.call("file", "stat", path=str(public / "in"))["exists"] is True


def test_outside_the_roots_nothing_is_told(tester, public):
    """Whether there is something outside is said neither by name nor by a link."""
    for path in ("/root/x", f"{public}/../nothing", "/etc/passwd"):
        with pytest.raises(AgentError, match="not below the roots"):
            tester.call("file", "stat", path=path)
    (public / "out").symlink_to("/etc/passwd")
    with pytest.raises(AgentError, match="not below the roots"):
        tester.call("file", "read", path=str(public / "out"))
