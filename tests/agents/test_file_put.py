"""file: what comes is put below the write roots, whole or not at all; list and get."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time

import pytest

from mcshell.errors import AgentError, InputError
from mcshell.node.files import place as places
from mcshell.node.files.parts import DiskParts, PartLimits, Shape, owner_of

CHUNK = 4096
CONTENT = os.urandom(3 * CHUNK + 100)


def names(folder):
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


def sha256(content):
    """In hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def root(tester, tmp_path):
    """A folder that is read and written, on a node with state of its own."""
    folder = tmp_path / "root"
    folder.mkdir()
    tester.node.state = tmp_path / "state"
    tester.node.tells_all_files = True
    tester.configure("file", roots=[str(folder)], write=[str(folder)])
    return folder


def announced(path, content=CONTENT, **others):
    """The inputs that say what comes."""
    return {
        "path": str(path),
        "size": len(content),
        "sha256": sha256(content),
        "chunk": CHUNK,
        **others,
    }


def send(tester, path, content=CONTENT, numbers=None, **others):
    """Put chunks there, by default all in order; the last reply."""
    told = {}
    count = -(-len(content) // CHUNK)
    for number in range(count) if numbers is None else numbers:
        piece = content[number * CHUNK : (number + 1) * CHUNK]
        told = tester.call(
            "file",
            "put",
            **announced(path, content, **others),
            offset=number * CHUNK,
            content=piece,
        )
    return told


def left(tester):
    """What is kept of unfinished files."""
    return list((tester.node.state / "files").glob("*.part"))


def test_chunks_in_any_order_and_twice_make_the_file(tester, root):
    """The last missing chunk puts it in its place, whichever it is; nothing is left behind."""
    path = root / "app"
    told = send(tester, path, numbers=[2, 0, 0, 3])
    assert (told["result"], told["missing"], told["bytes"]) == (
        "partial",
        [[1, 1]],
        2 * CHUNK + 100,
    )
    assert not path.exists()
    told = send(tester, path, numbers=[1])
    assert (told["result"], told["changed"], told["missing"]) == ("written", True, [])
    assert path.read_bytes() == CONTENT
    assert names(root) == ["app"]
    assert left(tester) == []


def test_without_a_chunk_it_says_what_is_missing(tester, root):
    """So a sender that comes back goes on where it was, and what is there is not sent again."""
    path = root / "app"
    assert tester.call("file", "put", **announced(path))["missing"] == [[0, 3]]
    send(tester, path, numbers=[0, 1])
    assert tester.call("file", "put", **announced(path))["missing"] == [[2, 3]]
    send(tester, path, numbers=[2, 3])
    told = tester.call("file", "put", **announced(path))
    assert (told["result"], told["changed"], told["missing"]) == ("same", False, [])
    late = send(tester, path, numbers=[1])
    assert (late["result"], left(tester)) == ("same", [])


def test_an_empty_file(tester, root):
    """It has no chunks, and is there at once."""
    assert tester.call("file", "put", **announced(root / "empty", b""))["result"] == "written"
    assert (root / "empty").read_bytes() == b""


def test_mode_is_set_and_otherwise_kept(tester, root):
    """A new file has 0644; one that replaces another has its permissions, unless it is told."""
    path = root / "app"
    send(tester, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    send(tester, path, b"x" * 10)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = tester.call("file", "put", **announced(path, b"x" * 10, mode="0755"))
    assert (told["result"], told["changed"]) == ("same", True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_set(tester, root):
    """By name or number; a name of nobody is refused."""
    path = root / "app"
    send(tester, path, owner="daemon", group="1")
    assert (path.stat().st_uid, path.stat().st_gid) == (1, 1)
    error = tester.fails("file", "put", **announced(path, owner="nosuchuser"))
    assert "no such user: nosuchuser" in str(error)


@pytest.mark.parametrize("mode", ["4755", "rwx", "07777", "9"])
def test_no_mode_but_permissions(tester, root, mode):
    """Nothing that is put there runs as its owner."""
    with pytest.raises(InputError):
        tester.call("file", "put", **announced(root / "app", mode=mode))


def test_noop_changes_nothing(tester, root):
    """It says whether it would, and keeps nothing."""
    told = tester.call("file", "put", **announced(root / "app"), noop=True)
    assert (told["result"], told["changed"]) == ("noop", True)
    assert (list(root.iterdir()), (tester.node.state / "files").exists()) == ([], False)
    send(tester, root / "app")
    told = tester.call("file", "put", **announced(root / "app", mode="0600"), noop=True)
    assert (told["result"], told["changed"]) == ("noop", True)
    assert stat.S_IMODE((root / "app").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "path", ["{root}/../elsewhere", "{root}/a/../../elsewhere", "/etc/motd", "{root}", "{root}x/a"]
)
def test_nothing_is_written_outside_the_roots(tester, root, path):
    """Not by its name, not by steps back."""
    error = tester.fails("file", "put", **announced(path.format(root=root)))
    assert "not below the folders that are written to" in str(error)


def test_a_node_that_names_no_folder_writes_nowhere(tester, root):
    """What is read is not written."""
    tester.configure("file", roots=[str(root)])
    assert "nothing is written here" in str(tester.fails("file", "put", **announced(root / "a")))


def test_no_link_is_followed(tester, root, tmp_path):
    """Neither on the way nor at its end; what the link leads to stays as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app").write_bytes(b"old")
    (root / "way").symlink_to(outside)
    (root / "app").symlink_to(outside / "app")
    assert "not followed" in str(tester.fails("file", "put", **announced(root / "way/app")))
    assert "no plain file" in str(tester.fails("file", "put", **announced(root / "app")))
    assert (outside / "app").read_bytes() == b"old"


def test_special_files_are_never_opened(tester, root):
    """A FIFO in its place is refused at once, and so is a folder."""
    os.mkfifo(root / "fifo")
    (root / "folder").mkdir()
    for name in ("fifo", "folder"):
        assert "no plain file" in str(tester.fails("file", "put", **announced(root / name)))
    assert "a fifo is not read" in str(tester.fails("file", "get", path=str(root / "fifo")))


def test_a_folder_that_is_swapped_on_the_way(tester, root, tmp_path):
    """While a thread swaps the folder for a link that leads out, nothing is written outside."""
    outside, inside, aside = tmp_path / "outside", root / "d", root / "aside"
    outside.mkdir()
    inside.mkdir()
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            inside.rename(aside)
            inside.symlink_to(outside)
            inside.unlink()
            aside.rename(inside)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(200):
            content = b"%d" % number
            try:
                send(tester, inside / "app", content)
            except AgentError:
                continue
    finally:
        ended.set()
        thread.join()
    assert list(outside.iterdir()) == []
    assert send(tester, inside / "app")["result"] == "written"


def test_a_folder_that_is_moved_out_of_the_root_while_it_is_held(root, tmp_path):
    """What is held there is not written any more."""
    (root / "d").mkdir()
    with places.local_place(str(root), ["d", "app"]) as place:
        (root / "d").rename(tmp_path / "gone")
        with pytest.raises(OSError, match="moved out of the root"):
            place.replace([b"x"], sha256(b"x"), places.Attributes(), "k" * 64)
    assert list((tmp_path / "gone").iterdir()) == []


def test_the_nodes_own_state_is_not_written(tester, root):
    """Even where a root has it below."""
    tester.node.keys = (root / "keys",)
    (root / "keys").mkdir()
    assert "own keys" in str(tester.fails("file", "put", **announced(root / "keys/app")))


def test_a_changed_chunk_is_found(tester, root):
    """The whole has another SHA-256: nothing is put there, nothing kept, and all can be sent anew."""
    path = root / "app"
    send(tester, path, numbers=[0, 1, 2])
    bad = {**announced(path), "offset": 3 * CHUNK, "content": b"\0" * 100}
    assert "nothing of it is kept" in str(tester.fails("file", "put", **bad))
    assert (names(root), left(tester)) == ([], [])
    assert send(tester, path)["result"] == "written"


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (1, b"x" * CHUNK),
        (4 * CHUNK, b"x" * 100),
        (-CHUNK, b"x" * CHUNK),
        (0, b"x" * (CHUNK - 1)),
        (3 * CHUNK, b"x" * CHUNK),
        (0, b""),
    ],
)
def test_what_is_no_chunk_is_refused(tester, root, offset, content):
    """Between two chunks, beyond the size, too short, too long."""
    error = tester.fails("file", "put", **announced(root / "a"), offset=offset, content=content)
    assert "are no chunk of" in str(error)
    assert error.statuscode == 4


def test_a_chunk_of_another_transfer_does_not_count(tester, root):
    """Another content of the same path and another caller have parts of their own."""
    path, other = root / "app", os.urandom(len(CONTENT))
    send(tester, path, numbers=[0, 1, 2])
    assert send(tester, path, other, numbers=[3])["missing"] == [[0, 2]]
    assert send(tester, path, numbers=[3])["result"] == "written"
    assert path.read_bytes() == CONTENT


def test_two_that_put_the_same_path(tester, root):
    """Both end, and the file is one of the two, whole."""
    path, contents = root / "app", [os.urandom(40 * CHUNK) for _ in range(2)]
    threads = [threading.Thread(target=send, args=(tester, path, one)) for one in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert (names(root), left(tester)) == (["app"], [])


def test_a_file_of_ten_million_chunks(tester, root):
    """It is refused before anything is kept, as is one beyond `max_file`."""
    tester.configure("file", write=[str(root)], max_file=1 << 50)
    huge = {**announced(root / "a"), "size": 10_000_000 * CHUNK}
    assert "65536 at most" in str(tester.fails("file", "put", **huge))
    tester.configure("file", write=[str(root)])
    assert "max_file" in str(tester.fails("file", "put", **huge))
    assert not (tester.node.state / "files").exists()


def test_the_quota_of_unfinished_files(tester, root):
    """One more has to wait, until another ends or is given up."""
    tester.configure("file", write=[str(root)], parts_max=20_000, parts_keep=3600)
    send(tester, root / "a", numbers=[0])
    assert "parts_max" in str(tester.fails("file", "put", **announced(root / "b")))
    (part,) = left(tester)
    os.utime(part, (1, 1))
    assert send(tester, root / "b")["result"] == "written"
    assert left(tester) == []


def begin(parts, caller, name, ago=0):
    """Have a transfer of 1,000 bytes begun, so many seconds ago, of 5,000 that there are; its file."""
    limits = PartLimits(most=5000, keep=86400, free=0)
    key = owner_of(caller) + sha256(name.encode())[8:]
    with parts.open(key, Shape(size=1000, chunk=4096), limits):
        path = parts._path(key)
    os.utime(path, (1, time.time() - ago))
    return path


def test_nobody_takes_all_the_room_of_unfinished_files(tmp_path):
    """Who has some leaves a quarter to others, who are not to wait until he is given up."""
    parts = DiskParts(tmp_path / "files")
    for name in ("a", "b", "c"):
        begin(parts, "cert=alice", name)
    with pytest.raises(OSError, match="this caller's"):
        begin(parts, "cert=alice", "d")
    assert begin(parts, "cert=bob", "d").exists()


def test_what_was_broken_off_gives_way_to_its_callers_next(tmp_path):
    """The one that has lain longest; never one that was at work within the hour, nor another's."""
    parts = DiskParts(tmp_path / "files")
    others = begin(parts, "cert=bob", "a", ago=9000)
    kept = [
        begin(parts, "cert=alice", name, ago=ago)
        for name, ago in zip("abc", (4000, 5000, 10), strict=True)
    ]
    assert begin(parts, "cert=alice", "d").exists()
    assert [part.exists() for part in (others, *kept)] == [True, True, False, True]


def test_a_disk_that_has_become_full_meanwhile(tester, root):
    """The last chunk does not take what is to stay free; what has come is kept for the next try."""
    send(tester, root / "a", numbers=[0, 1, 2])
    tester.configure("file", write=[str(root)], keep_free=1 << 60)
    piece = CONTENT[3 * CHUNK :]
    last = {**announced(root / "a"), "offset": 3 * CHUNK, "content": piece}
    assert "no space left" in str(tester.fails("file", "put", **last))
    assert (names(root), len(left(tester))) == ([], 1)
    tester.configure("file", write=[str(root)])
    assert tester.call("file", "put", **announced(root / "a"))["result"] == "written"


@pytest.mark.parametrize("number", ["4294967295", "99999999999999999999", "-1", "٣"])
def test_a_number_that_nobody_has(tester, root, number):
    """It is no owner, least of all the one that says to the kernel that nothing is to change."""
    for name in ("owner", "group"):
        error = tester.fails("file", "put", **announced(root / "app", **{name: number}))
        assert "no such" in str(error)
    assert left(tester) == []


@pytest.mark.parametrize(
    ("action", "inputs", "why"),
    [
        ("put", {"size": 0, "sha256": "a" * 64}, "nothing of it is kept"),
        ("put", {"size": -1, "sha256": "a" * 64}, "max_file"),
        ("get", {"offset": 10**30, "length": 1}, "offset is from 0"),
        ("read", {"offset": 2**64}, "offset is from 0"),
        ("list", {"after": 5}, "name of an entry"),
        ("list", {"after": ["a"]}, "name of an entry"),
        ("list", {}, "no folder"),
        ("tail", {"lines": -1}, "lines is from 0"),
    ],
)
def test_inputs_that_mean_nothing(tester, root, action, inputs, why):
    """Each is refused in one line, also where the path has two; nothing crashes."""
    path = root / "a\nb"
    path.write_bytes(b"word")
    error = tester.fails("file", action, path=str(path), **inputs)
    assert why in str(error)
    assert path.read_bytes() == b"word"


def test_a_file_that_is_longer_than_it_says(tester):
    """What /proc has is not taken for an empty file; it is read piece by piece, and so told."""
    tester.configure("file", roots=["/proc"])
    for inputs in ({"action": "get", "digest": True}, {"action": "tail"}):
        error = tester.fails("file", inputs.pop("action"), path="/proc/version", **inputs)
        assert "not as long as it says" in str(error)
    assert b"Linux" in tester.call("file", "read", path="/proc/version")["content"].encode()


def test_a_disk_that_is_full(tester, root):
    """What would leave too little is refused in a line before it begins."""
    tester.configure("file", write=[str(root)], keep_free=1 << 60)
    assert "no space left" in str(tester.fails("file", "put", **announced(root / "a")))
    assert names(root) == []


def test_what_a_killed_process_left_is_taken_away(tester, root):
    """Its half file in the folder does not stay beside the whole one."""
    send(tester, root / "app", numbers=[0, 1, 2])
    (part,) = left(tester)
    (root / f".mcs-{part.stem[:32]}").write_bytes(b"half")
    assert send(tester, root / "app", numbers=[3])["result"] == "written"
    assert names(root) == ["app"]


def test_list_names_what_is_there(tester, root):
    """Names with line ends and escapes come as they are, and those that are no text as bytes."""
    for name in (b"a\nb", b"\x1b[31mred", b"plain", b"\xff\xfe"):
        (root / os.fsdecode(name)).touch()
    (root / "link").symlink_to("plain")
    found = tester.call("file", "list", path=str(root))
    told = {one["name"]: one for one in found["entries"]}
    assert set(told) == {"a\nb", "\x1b[31mred", "plain", b"\xff\xfe", "link"}
    assert (told["link"]["type"], told["link"]["link"]) == ("link", "plain")
    assert found["truncated"] is False


def test_list_goes_on_behind_a_name(tester, root):
    """A large folder comes in pieces."""
    for number in range(25):
        (root / f"{number:02}").touch()
    found_names, after = [], ""
    while True:
        found = tester.call("file", "list", path=str(root), after=after, limit=10)
        found_names += [one["name"] for one in found["entries"]]
        if not found["truncated"]:
            break
        after = found_names[-1]
    assert found_names == [f"{number:02}" for number in range(25)]


def test_list_of_what_is_no_folder(tester, root):
    """It fails in a line; so does what lies outside."""
    (root / "a").touch()
    assert "no folder" in str(tester.fails("file", "list", path=str(root / "a")))
    assert "not below the roots" in str(tester.fails("file", "list", path="/proc"))


def test_list_tells_what_all_may_know(tester, root):
    """A folder that others cannot list is not told, unless the node tells all."""
    root.parent.chmod(0o755)
    tester.node.tells_all_files = False
    assert "not told" in str(tester.fails("file", "list", path=str(root)))


def test_get_of_a_file(tester, root):
    """Bytes stay bytes, whatever is in them, and the digest is that of so many of them."""
    (root / "a").write_bytes(b"hello")
    found = tester.call("file", "get", path=str(root / "a"), length=3, offset=1, digest=True)
    assert (found["content"], found["size"], found["sha256"]) == (b"ell", 5, sha256(b"hello"))
    (root / "a").write_bytes(b"hello, world")
    found = tester.call("file", "get", path=str(root / "a"), size=5, digest=True)
    assert (found["content"], found["size"], found["sha256"]) == (b"", 12, sha256(b"hello"))
