"""Files to real daemons and back: whole, proved, resumed; and the line `cp`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
import zlib
from pathlib import PurePosixPath
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import NoTargets, Stopped, UsageError
from mcshell.wire import destinations
from mcshell.wire.chunk import is_chunk
from mcshell.wire.stomp.connector import Connector
from tests.files.conftest import NAMES
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)
MIB = 1 << 20


def written(path: Path, size: int) -> str:
    """Make a file of random bytes; its SHA-256."""
    content = os.urandom(size)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_to_a_node_and_back(alice: Client, root: Path, tmp_path: Path) -> None:
    """What is fetched is what was put, each proved by its SHA-256; the second time nothing goes."""
    sha256 = written(tmp_path / "app", 3 * MIB + 7)
    told: list[tuple[int, int]] = []
    frame = alice.files.put(
        tmp_path / "app",
        str(root / "round"),
        identities="n1",
        mode="0640",
        progress=lambda done, total: told.append((done, total)),
    )
    row = frame.iloc[0]
    assert (row.sender, row.state, row.result, row.sha256) == ("n1", "ok", "written", sha256)
    assert told[-1] == (3 * MIB + 7, 3 * MIB + 7)
    assert (root / "round").stat().st_mode & 0o777 == 0o640
    again = alice.files.put(tmp_path / "app", str(root / "round"), identities="n1").iloc[0]
    assert (again.result, again.changed) == ("same", False)
    (tmp_path / "back").mkdir()
    frame = alice.files.get(str(root / "round"), tmp_path / "back", identities=list(NAMES))
    assert set(frame.sender) == set(NAMES)
    assert set(frame.sha256) == {sha256}
    for name in NAMES:
        got = (tmp_path / "back" / name / "round").read_bytes()
        assert hashlib.sha256(got).hexdigest() == sha256
        assert [path.name for path in (tmp_path / "back" / name).iterdir()] == ["round"]


def test_chunks_are_not_kept_in_the_session(alice: Client, root: Path, tmp_path: Path) -> None:
    """The session has the first question of it, without what was sent."""
    written(tmp_path / "app", 2 * MIB)
    before = len(alice.requests())
    alice.files.put(tmp_path / "app", str(root / "kept"), identities="n1")
    after = alice.requests()
    assert len(after) == before + 1
    assert "content" not in after[-1][0].data


def test_an_empty_file(alice: Client, root: Path, tmp_path: Path) -> None:
    """There and back."""
    written(tmp_path / "empty", 0)
    frame = alice.files.put(tmp_path / "empty", str(root / "empty"), identities="n1")
    assert list(frame.result) == ["written"]
    alice.files.get(str(root / "empty"), tmp_path, identities="n1", by_node=True)
    assert (tmp_path / "n1" / "empty").read_bytes() == b""


def test_the_operator_whom_policy_does_not_let_write(
    fleet: Fleet, root: Path, tmp_path: Path
) -> None:
    """Bob may fetch, and his put is denied on each node."""
    written(tmp_path / "app", 10)
    with fleet.client("bob") as bob:
        frame = bob.files.put(tmp_path / "app", str(root / "bobs"), identities=list(NAMES))
        assert set(frame.state) == {"denied"}
        assert not (root / "bobs").exists()


def test_a_node_that_is_down_is_a_row(alice: Client, root: Path, tmp_path: Path) -> None:
    """The others have the file; who is not there says so by its state."""
    written(tmp_path / "app", 10)
    (root / "way").mkdir()
    frame = alice.files.put(tmp_path / "app", f"{root}/way/", nodes=["n1", "db7"])
    assert dict(zip(frame.sender, frame.state, strict=True)) == {"n1": "ok", "db7": "silent"}
    assert (root / "way" / "app").is_file()


def test_nobody_matches(alice: Client, root: Path, tmp_path: Path) -> None:
    """It is an error, as of any line; so is a source that is no file."""
    written(tmp_path / "app", 10)
    with pytest.raises(NoTargets):
        alice.files.put(tmp_path / "app", str(root / "x"), where="role=nothing")
    with pytest.raises(UsageError, match="a folder"):
        alice.files.put(tmp_path, str(root / "x"), identities="n1")


def test_a_node_that_is_killed_in_the_middle(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """It goes on from the chunks that it had when it is back, and all of them make the file."""
    sha256 = written(tmp_path / "app", 12 * MIB)
    killed = threading.Event()

    def kill(done: int, total: int) -> None:
        if done > total // 3 and not killed.is_set():
            killed.set()
            fleet.kill9("n2")
            thread.start()

    thread = threading.Thread(target=lambda: fleet.start("n2"))
    path = root / "killed"
    frame = alice.files.put(
        tmp_path / "app", str(path), identities="n2", progress=kill, timeout=120
    )
    thread.join()
    assert killed.is_set()
    assert list(frame.state) == ["ok"], frame.reason
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_another_client_goes_on_where_one_was_killed(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """What the first has sent is not sent again: the node says which chunks are missing."""
    sha256 = written(tmp_path / "app", 8 * MIB)
    parts = fleet.folder / "state-n3" / "node" / "files"
    words = ["cp", str(tmp_path / "app"), f"n3:{root}/resumed", "--rate", "1M", "-y"]
    argv = [sys.executable, "-m", "mcshell", *words]
    first = Child(argv, tmp_path / "cp.log", fleet.environ)
    wait_until(lambda: any(parts.glob("*.part")), 60)
    (part,) = parts.glob("*.part")
    wait_until(lambda: part.read_bytes()[-16:].count(b"\1") >= 3, 60)
    first.kill9()
    there = part.read_bytes()[-16:].count(b"\1")
    told: list[int] = []
    frame = alice.files.put(
        tmp_path / "app",
        str(root / "resumed"),
        identities="n3",
        progress=lambda done, _total: told.append(done),
    )
    assert list(frame.sha256) == [sha256]
    assert 3 <= there < 16
    assert told[0] >= there * MIB // 2
    assert list(parts.glob("*.part")) == []


def test_a_file_that_grows_while_it_is_fetched(alice: Client, root: Path, tmp_path: Path) -> None:
    """A log that is written to is fetched as far as it was when it was asked for."""
    path = root / "log"
    start = os.urandom(4 * MIB)
    path.write_bytes(start)
    ended = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not ended.wait(0.01):
                file.write(b"one more line\n")
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        frame = alice.files.get(str(path), tmp_path, identities="n1", by_node=False)
    finally:
        ended.set()
        thread.join()
    assert list(frame.state) == ["ok"]
    assert (tmp_path / "log").read_bytes()[: len(start)] == start


def test_a_file_that_changes_while_it_is_fetched(alice: Client, root: Path, tmp_path: Path) -> None:
    """What is no moment's content is never put in its place: it fails, and says why."""
    path = root / "changing"
    path.write_bytes(os.urandom(6 * MIB))

    def change(_done: int, _total: int) -> None:
        with path.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(os.urandom(100))

    frame = alice.files.get(str(path), tmp_path, identities="n1", by_node=False, progress=change)
    assert list(frame.state) == ["failed"]
    assert list(frame.reason) == ["it changes while it is read"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_shrinks_while_it_is_fetched(alice: Client, root: Path, tmp_path: Path) -> None:
    """It is begun anew, and what comes is what there is by then, as when a log is cut to nothing."""
    path = root / "shrinks"
    path.write_bytes(os.urandom(6 * MIB))

    def cut(_done: int, _total: int) -> None:
        os.truncate(path, MIB + 700)

    frame = alice.files.get(
        str(path), tmp_path, identities="n1", by_node=False, progress=cut, timeout=10
    )
    assert list(frame.state) == ["ok"], frame.reason
    assert (tmp_path / "shrinks").read_bytes() == path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["shrinks"]


def test_several_fetch_the_same_at_once(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """All have it, and it is whole: one puts it in its place, the others find it there."""
    sha256 = written(root / "both", 6 * MIB)
    begun, frames = threading.Barrier(2, timeout=60), []

    def fetch(client: Client) -> None:
        first = iter([begun.wait])  # both have something of it when they go on
        frames.append(
            client.files.get(
                str(root / "both"),
                tmp_path,
                identities="n1",
                by_node=False,
                progress=lambda *_told: next(first, lambda: 0)() and None,
            )
        )

    with fleet.client() as other:
        threads = [threading.Thread(target=fetch, args=(one,)) for one in (alice, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [list(one.state) for one in frames] == [["ok"], ["ok"]], [one.reason for one in frames]
    assert hashlib.sha256((tmp_path / "both").read_bytes()).hexdigest() == sha256
    assert [one.name for one in tmp_path.iterdir()] == ["both"]


def test_what_was_broken_off_of_an_earlier_content_goes(
    alice: Client, root: Path, tmp_path: Path
) -> None:
    """A log that has grown since leaves no half of it beside it; what may still be at work stays."""
    (root / "grown").write_bytes(b"word")
    old, new, other = (
        tmp_path / f".{name}.{key * 16}.part"
        for name, key in (("grown", "a"), ("grown", "b"), ("grown.1", "a"))
    )
    for path, ago in ((old, 4000), (new, 10), (other, 4000)):
        path.write_bytes(b"wo")
        os.utime(path, (1, time.time() - ago))
    alice.files.get(str(root / "grown"), tmp_path, identities="n1", by_node=False)
    assert {path.name for path in tmp_path.iterdir()} == {"grown", new.name, other.name}


@pytest.mark.parametrize(("there", "here"), [(0o600, 0o600), (0o640, 0o640), (0o755, 0o644)])
def test_what_others_cannot_read_there_they_cannot_read_here(
    alice: Client, root: Path, tmp_path: Path, there: int, here: int
) -> None:
    """A secret that was fetched is its user's alone; nothing that was fetched is a program."""
    (root / "secret").write_bytes(b"word")
    (root / "secret").chmod(there)
    alice.files.get(str(root / "secret"), tmp_path, identities="n1", by_node=False)
    umask = os.umask(0o022)
    os.umask(umask)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == here & ~umask


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "漢" * 85])
def test_names_as_long_as_they_may_be(alice: Client, root: Path, tmp_path: Path, name: str) -> None:
    """They go there and come back, whatever a letter has in bytes."""
    (tmp_path / name).write_bytes(b"word")
    assert list(alice.files.put(tmp_path / name, f"{root}/", identities="n1").state) == ["ok"]
    frame = alice.files.get(str(root / name), tmp_path / "back", identities="n1")
    assert list(frame.state) == ["ok"]
    assert (tmp_path / "back" / "n1" / name).read_bytes() == b"word"


def test_several_files_to_a_part_of_the_nodes(alice: Client, root: Path, tmp_path: Path) -> None:
    """All of them go to the same: a share is taken once, and not of those again that were chosen."""
    sources = [tmp_path / name for name in ("first", "second", "third")]
    for one in sources:
        one.write_bytes(b"word")
    frame = alice.files.put(sources, f"{root}/", agents="file", limit="34%")
    assert list(frame.sender) == [*frame.sender[:2]] * 3, frame


def test_what_is_in_the_way_here(alice: Client, root: Path, tmp_path: Path) -> None:
    """The node whose place is taken has failed with the reason, the others' files have come."""
    (root / "way-back").write_bytes(b"word")
    (tmp_path / "n1").write_bytes(b"no folder")
    (tmp_path / "n2" / "way-back").mkdir(parents=True)
    frame = alice.files.get(str(root / "way-back"), tmp_path, identities=list(NAMES))
    rows = {row.sender: row for row in frame.itertuples()}
    assert (rows["n1"].state, "can be made here" in rows["n1"].reason) == ("failed", True)
    assert (rows["n2"].state, "is a folder here" in rows["n2"].reason) == ("failed", True)
    assert rows["n3"].state == "ok"
    assert list((tmp_path / "n2").iterdir()) == [tmp_path / "n2" / "way-back"]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("nosuch", "no such file"),
        ("a" * 300, "file name too long"),
        ("other/first", "same name"),
        ("first", "it is named twice"),
        ("/proc/version", "not as long as it says"),
    ],
)
def test_no_source_is_sent_where_one_of_them_is_wrong(
    alice: Client, root: Path, tmp_path: Path, second: str, why: str
) -> None:
    """It is told before anything changes, also where one would replace another."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "first").write_bytes(b"2")
    (tmp_path / "first").write_bytes(b"1")
    (root / "sources").mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=why):
        alice.files.put([tmp_path / "first", tmp_path / second], f"{root}/sources", identities="n1")
    assert list((root / "sources").iterdir()) == []


@pytest.mark.parametrize("rate", [0, -1.0, float("nan")])
def test_a_rate_at_which_nothing_comes(
    alice: Client, root: Path, tmp_path: Path, rate: float
) -> None:
    """It is refused: it does not mean that there is none."""
    (tmp_path / "app").write_bytes(b"1")
    with pytest.raises(UsageError, match="rate"):
        alice.files.put(tmp_path / "app", f"{root}/rate", identities="n1", rate=rate)
    with pytest.raises(UsageError, match="rate"):
        alice.files.get(f"{root}/rate", tmp_path, identities="n1", rate=rate)


def test_ctrl_c_ends_the_reading_of_a_large_source(alice: Client, tmp_path: Path) -> None:
    """Its SHA-256 takes minutes: the first Ctrl-C ends that, and nobody is asked."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 36)  # no block of it is on the disk
    before = len(alice.requests())
    first = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    last = threading.Timer(
        20.0, os.kill, (os.getpid(), signal.SIGINT)
    )  # a second one comes at once
    began = time.monotonic()
    first.start()
    last.start()
    with pytest.raises(Stopped):
        alice.files.put(tmp_path / "large", "/nowhere", identities="n1")
    took = time.monotonic() - began
    last.cancel()
    assert took < 15
    assert len(alice.requests()) == before


@pytest.mark.parametrize("rate", ["fast", "10 M", "0M", True, [1]])
def test_what_is_no_rate(alice: Client, root: Path, tmp_path: Path, rate: Any) -> None:
    """One line says what is meant, before anything is asked."""
    with pytest.raises(UsageError, match=r"^rate .*bytes a second"):
        alice.files.get(f"{root}/rate", tmp_path, identities="n1", rate=rate)


def test_paths_of_nodes_may_be_paths_and_rates_text(
    alice: Client, root: Path, tmp_path: Path
) -> None:
    """A Path is taken wherever a path is meant, and a rate as `--rate` has it."""
    (tmp_path / "app").write_bytes(b"1")
    there = root / "by-path"
    put = alice.files.put(tmp_path / "app", there, identities="n1", rate="10M")
    got = alice.files.get(there, tmp_path, identities="n1", rate="500k")
    assert list(put.state) == list(got.state) == ["ok"]
    assert (tmp_path / "n1" / "by-path").read_bytes() == b"1"
    listed = alice.files.list(PurePosixPath(root), identities="n1")
    assert "by-path" in set(listed.name)


def test_a_source_that_changes_while_it_is_sent(alice: Client, root: Path, tmp_path: Path) -> None:
    """The node finds that it is not what was announced, and puts nothing there."""
    written(tmp_path / "app", 6 * MIB)

    def change(_done: int, _total: int) -> None:
        with (tmp_path / "app").open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"x" * 100)

    frame = alice.files.put(tmp_path / "app", str(root / "never"), identities="n1", progress=change)
    assert list(frame.state) == ["failed"]
    assert "nothing of it is kept" in frame.reason[0]
    assert not (root / "never").exists()


def test_list_shows_each_entry_of_each_node(alice: Client, root: Path) -> None:
    """A row an entry, more than one answer holds too; who cannot list it has one row that says why."""
    folder = root / "many"
    folder.mkdir()
    for number in range(1203):
        (folder / f"{number:05}").touch()
    frame = alice.files.list(str(folder), identities=["n1", "n2"])
    assert [len(rows) for _name, rows in frame.groupby("sender")] == [1203, 1203]
    frame = alice.files.list(str(root / "nosuch"), identities="n1")
    assert (frame.state[0], "no such file" in frame.reason[0]) == ("failed", True)


def test_the_rate_is_kept(alice: Client, root: Path, tmp_path: Path) -> None:
    """So many bytes a second leave the client, over all nodes together."""
    written(tmp_path / "app", 2 * MIB)
    began = time.monotonic()
    alice.files.put(tmp_path / "app", str(root / "slow"), identities="n1", rate=1 * MIB)
    assert time.monotonic() - began > 1.4


def test_via_queue_to_a_node_that_is_off(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """Its chunks wait in the broker; when it is back they make the file, in whatever order they run."""
    sha256 = written(tmp_path / "app", 2 * MIB + 1)
    fleet.kill9("n2")
    path = root / "queued"
    frame = alice.files.put(
        tmp_path / "app", str(path), nodes=["n2"], via="queue", ttl="1h", wait=False
    )
    assert list(frame.state) == ["pending"]
    assert not path.exists()
    fleet.start("n2")
    assert wait_until(path.exists, 90)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    parts = fleet.folder / "state-n2" / "node" / "files"
    assert wait_until(lambda: not any(parts.glob("*.part")), 60)


def test_the_line_cp(fleet: Fleet, root: Path, tmp_path: Path) -> None:
    """Files go to a folder of several nodes and one comes back; the exit code says how it went."""
    sha256 = written(tmp_path / "a", 100)
    written(tmp_path / "b", MIB)
    (root / "line").mkdir()
    done = fleet.cli(
        "cp", str(tmp_path / "a"), str(tmp_path / "b"), f"n[1-2]:{root}/line/", "-j", "-y"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(one["sender"], one["source"][-1]) for one in rows] == [
        ("n1", "a"),
        ("n2", "a"),
        ("n1", "b"),
        ("n2", "b"),
    ]
    assert {one["state"] for one in rows} == {"ok"}
    for where, why in ((tmp_path / "a", "a folder here"), (tmp_path / "no" / "no", "No such file")):
        done = fleet.cli("cp", f"n1:{root}/line/a", str(where), "-j")
        assert (done.returncode, why in done.stderr) == (64, True)
    done = fleet.cli("cp", f"n1:{root}/line/a", str(tmp_path / "line"), "-j")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["sha256"] == sha256
    assert (tmp_path / "line" / "a").stat().st_size == 100
    done = fleet.cli("cp", str(tmp_path / "a"), f"n1:{root}/line/new", "-j", "--noop")
    assert json.loads(done.stdout)[0]["result"] == "noop"
    assert not (root / "line" / "new").exists()
    done = fleet.cli("cp", str(tmp_path / "a"), f":{root}/line/new")
    assert (done.returncode, "which nodes?" in done.stderr) == (64, True)


def test_a_file_to_all_leaves_the_client_once(
    alice: Client, root: Path, tmp_path: Path, counted: list[bytes]
) -> None:
    """What goes out is the file and little more, and who listens to the topic can read none of it."""
    line = b"a line that everybody would know again\n"
    (tmp_path / "app").write_bytes(line * (6 * MIB // len(line)))
    size = (tmp_path / "app").stat().st_size
    frame = alice.files.put(tmp_path / "app", str(root / "all"), identities=list(NAMES))
    assert list(frame.state) == ["ok"] * 3, frame.reason
    assert "written" in set(frame.result)
    assert (root / "all").read_bytes() == (tmp_path / "app").read_bytes()
    assert size <= sum(map(len, counted)) < 1.2 * size
    chunks = [body for body in counted if body[:1] == b"\0"]
    assert len(chunks) == 12
    assert not any(line in body for body in counted)


def test_who_listens_to_the_topic_reads_nothing(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """All chunks pass by, and nothing of the file: not a line of it, nor that its lines are the same."""
    line = b"a line that everybody would know again\n"
    (tmp_path / "app").write_bytes(line * (3 * MIB // len(line)))
    inbox: SimpleQueue[Any] = SimpleQueue()
    broker = fleet.broker
    listener = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    listener.start(timeout=20)
    try:
        listener.subscribe(destinations.broadcast(fleet.collective), inbox)
        assert wait_until(lambda: heard(alice, inbox), 60)
        frame = alice.files.put(tmp_path / "app", str(root / "secret"), identities=list(NAMES))
        assert list(frame.state) == ["ok"] * 3
        bodies = [inbox.get(timeout=20).body for _ in range(6)]
    finally:
        listener.close()
    assert all(is_chunk(body) for body in bodies)
    assert not any(line in body for body in bodies)
    everything = b"".join(bodies)
    assert len(zlib.compress(everything)) > len(everything)


def heard(client: Client, inbox: SimpleQueue[Any]) -> bool:
    """Whether a listener hears what a client sends to all; what it has heard is taken away."""
    client.discover(fresh=True)
    taken = not inbox.empty()
    while not inbox.empty():
        inbox.get()
    return taken


def test_who_was_restarted_is_sent_the_rest_directly(
    fleet: Fleet, alice: Client, root: Path, tmp_path: Path
) -> None:
    """It knows the key no more, and has what it had: it says what it lacks."""
    sha256 = written(tmp_path / "app", 30 * MIB)
    killed = threading.Event()

    def kill(done: int, total: int) -> None:
        if done > total // 6 and not killed.is_set():
            killed.set()
            fleet.kill9("n1")
            thread.start()

    thread = threading.Thread(target=lambda: fleet.start("n1"))
    frame = alice.files.put(
        tmp_path / "app",
        str(root / "restarted"),
        identities=list(NAMES),
        progress=kill,
        timeout=120,
    )
    thread.join()
    assert killed.is_set()
    assert set(frame.state) == {"ok"}, frame.reason
    assert hashlib.sha256((root / "restarted").read_bytes()).hexdigest() == sha256


def test_ctrl_c_ends_the_line(fleet: Fleet, root: Path, tmp_path: Path) -> None:
    """With 130, and nothing is in the file's place; what has come stays for the next time."""
    written(tmp_path / "app", 8 * MIB)
    parts = fleet.folder / "state-n1" / "node" / "files"
    words = ["cp", str(tmp_path / "app"), f"n1:{root}/stopped", "--rate", "1M", "-y"]
    child = Child([sys.executable, "-m", "mcshell", *words], tmp_path / "cp.log", fleet.environ)
    assert wait_until(lambda: any(parts.glob("*.part")), 60)
    child.signal(signal.SIGINT)
    assert child.process.wait(30) == 130, child.tail()
    assert "Traceback" not in child.tail()
    assert not (root / "stopped").exists()
    assert len(list(parts.glob("*.part"))) == 1
