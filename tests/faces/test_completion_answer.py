"""The process that answers a shell's Tab: silent, without a trace, without the network, and quick."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.wire.credentials import load_realm
from tests.faces.shell_lines import make_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MOST = 12.0
"""Times of the processor that an empty Python's start takes: some 200 ms where nothing else runs."""
LINES = (
    "mcshell ",
    "mcshell find -I we",
    "mcshell find -F role=",
    "mcshell find -C ",
    "mcshell find -I @",
    "mcshell rpc ",
    "mcshell rpc package status ",
    "mcshell replies ",
    "mcshell job show ",
    "mcshell session attach ",
    "mcshell upd ",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a configuration and what its operator knows."""
    make_place(tmp_path)
    return tmp_path


def ask(place: Path, line: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Ask as zsh's script does, in a home of one's own."""
    environ = {name: value for name, value in os.environ.items() if name != "MCSHELL_CONFIG"}
    environ |= {"HOME": str(place), "MCSHELL_CONFIG": str(place / "c.toml")}
    environ |= {"XDG_CONFIG_HOME": str(place), "XDG_STATE_HOME": str(place)}
    argv = [sys.executable, "-m", "mcshell", "completion", "--answer", "zsh", line, *more]
    return subprocess.run(
        argv, env=environ, cwd=place, capture_output=True, text=True, check=False, timeout=30
    )


def offered(place: Path, line: str) -> list[str]:
    """The words that are offered; nothing is said beside them."""
    done = ask(place, line)
    assert (done.returncode, done.stderr) == (0, "")
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


def traces(place: Path) -> dict[str, tuple[int, int]]:
    """Every file, its size and when it was written."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in place.rglob("*")}


def test_nothing_is_written(place: Path) -> None:
    """Neither files, nor what SQLite makes beside its own, nor a change of one."""
    before = traces(place)
    assert all(offered(place, line) for line in LINES)
    assert traces(place) == before


def test_neither_key_nor_broker_is_touched(place: Path) -> None:
    """Names come from files: a key that is away, and a broker that listens, are not asked for."""
    (place / "alice.key").unlink()
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.setblocking(False)
        text = (place / "c.toml").read_text()
        port = broker.getsockname()[1]
        (place / "c.toml").write_text(f'{text}[broker]\nurls = ["stomp://127.0.0.1:{port}"]\n')
        assert offered(place, "mcshell find -I we") == ["web1", "web2"]
        assert all(offered(place, line) for line in LINES)
        with pytest.raises(BlockingIOError):
            broker.accept()


def test_what_another_process_has_just_written_is_known(place: Path) -> None:
    """While a file is in use its newest rows are in its WAL, and they are read there."""
    settings = config.load(place / "c.toml")
    with closing(NodeCache(settings.state_dir / "nodes.sqlite", load_realm(settings.pki))) as known:
        known.learn("mcs", [CachedNode(identity="web3", seen=time.time())])
        assert offered(place, "mcshell find -I we") == ["web1", "web2", "web3"]


@pytest.mark.parametrize(
    "broken",
    ["no file", "no TOML", "no CA", "a CA that others can write", "no database", "no session file"],
)
def test_whatever_is_broken_it_says_nothing(place: Path, broken: str) -> None:
    """Verbs and options are offered all the same, names are not, and there is no error."""
    if broken == "no file":
        (place / "c.toml").unlink()
    elif broken == "no TOML":
        (place / "c.toml").write_text("= [")
    elif broken == "no CA":
        (place / "pki" / "ca.pem").unlink()
    elif broken == "a CA that others can write":
        (place / "pki" / "ca.pem").chmod(0o666)
    elif broken == "no database":
        (place / "state" / "nodes.sqlite").write_bytes(b"x" * 5000)
    else:
        for path in (place / "state" / "sessions").iterdir():
            path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    named = ["web1", "web2"] if broken == "no session file" else []
    assert offered(place, "mcshell find -I we") == named
    assert offered(place, "mcshell pin") == ["ping"]
    assert offered(place, "mcshell find --fres") == ["--fresh"]
    for line in LINES:
        offered(place, line)


def test_a_pipe_is_not_waited_for(place: Path) -> None:
    """A configuration that is no file is none."""
    os.mkfifo(place / "pipe")
    assert offered(place, "mcshell --config pipe find -I we") == []


@pytest.mark.parametrize(
    "words", [(), ("tcsh", "x"), ("bash",), ("zsh", "a", "b", "c"), ("--", "\udcff")]
)
def test_a_question_that_is_none(place: Path, words: Sequence[str]) -> None:
    """It is silent, and 0."""
    argv = [sys.executable, "-m", "mcshell", "completion", "--answer", *words]
    done = subprocess.run(argv, cwd=place, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_answer_costs_little(place: Path) -> None:
    """Little processor, Python's start included; on a busy machine that takes longer, too."""
    print()
    for line in LINES:
        empty: list[float] = []
        took: list[float] = []
        for _ in range(5):
            empty.append(spent(lambda: subprocess.run([sys.executable, "-c", ""], check=True)))
            took.append(spent(lambda line=line: ask(place, line)))
        print(f"{line:<30} {statistics.median(took):5.0f} ms of processor, least {min(took):.0f};")
        print(f"{'an empty Python':<30} {statistics.median(empty):5.0f} ms")
        assert min(took) < MOST * min(empty)


def spent(work: Callable[[], object]) -> float:
    """The processor time of the processes that some work starts, ms."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
