"""Discovery by a program of the operator's, as Choria calls it."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from mcshell import plugins
from mcshell.client.discovery.methods import DiscoveryQuery
from mcshell.client.discovery.targeting import Targeting
from mcshell.config import ClientSettings
from mcshell.errors import PluginError, UsageError
from mcshell.message import Filter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.fleet import Fleet


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a program of the library's kind from the lines of its `discover`."""

    def make(lines: str) -> Path:
        path = tmp_path / "find-nodes"
        path.write_text(
            f"#!{sys.executable}\n"
            "from choria_discovery.discovery import Discovery\n"
            "from choria_external.dispatcher import dispatch\n"
            "class Finder(Discovery):\n"
            "    def discover(self):\n"
            f"        {lines}\n"
            "dispatch(Finder)\n"
        )
        path.chmod(0o755)
        return path

    return make


def search(targeting: Targeting, command: str = "") -> DiscoveryQuery:
    """A search that needs no network."""
    settings = ClientSettings(external_discovery=command, discovery_timeout=60.0)
    nobody = None
    return DiscoveryQuery(
        targeting=targeting,
        filter=targeting.filter,
        collective="mcs",
        known=nobody,
        queries=nobody,
        settings=settings,
        retire=print,
    )  # type: ignore[arg-type]


def find(targeting: Targeting, command: str = "") -> list[str]:
    """The names that the source gives."""
    return plugins.find("discovery", "external")(search(targeting, command)).names


def test_names_come_from_the_program(program: Callable[[str], Path]) -> None:
    """A program of py-choria-discovery gives the names, each once."""
    path = program("self.reply.nodes = ['b', 'A.', 'B', ' a ']")
    assert find(Targeting(), str(path)) == ["b", "a"]


def test_what_is_no_name_is_no_target(program: Callable[[str], Path]) -> None:
    """A program that gives something else than names is refused as a whole."""
    path = program("self.reply.nodes = ['a', 'web[1-2]']")
    with pytest.raises(PluginError, match=r"'web\[1-2\]' is no name of a node"):
        find(Targeting(), str(path))


def test_what_it_leaves_behind_holds_up_nobody(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    """A process that it has started and left counts for nothing, though it has its output open."""
    path = program(
        "import subprocess; child = subprocess.Popen(['sleep', '600']);"
        f" open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); self.reply.nodes = ['a']"
    )
    try:
        assert find(Targeting(), str(path)) == ["a"]
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_it_is_told_what_is_wanted(program: Callable[[str], Path], tmp_path: Path) -> None:
    """It gets collective, options and filter in Choria's form."""
    path = program(
        "import json; json.dump([self.request.filter, self.request.options,"
        f" self.request.collective], open({str(tmp_path / 'asked')!r}, 'w'))"
    )
    filter_ = Filter(("os=debian", "dc=/a/"), ("web",), ("rpcutil",), ("/n/",), ("a or b",))
    options = (f"command={path}", "realm=x")
    assert find(Targeting(filter=filter_, source_options=options)) == []
    assert json.loads((tmp_path / "asked").read_text()) == [
        {
            "fact": [
                {"fact": "os", "operator": "==", "value": "debian"},
                {"fact": "dc", "operator": "=~", "value": "/a/"},
            ],
            "cf_class": ["web"],
            "agent": ["rpcutil"],
            "identity": ["/n/"],
            "compound": ["a or b"],
        },
        {"realm": "x"},
        "mcs",
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "self.reply.error = 'the database is away'; self.reply.successful = lambda: False",
            "away",
        ),
        ("raise SystemExit(4)", "exit code 4"),
        ("self.reply.to_json = lambda: 'nonsense'", "no JSON"),
        ("self.reply.to_json = lambda: '{}'", "protocol"),
        ("self.reply.nodes = [1]", "no list of names"),
        ("self.reply.nodes = [f'n{n}' for n in range(100_001)]", "at most 100,000 are meant"),
        (
            "import atexit, os; atexit.register(os.unlink, os.environ['CHORIA_EXTERNAL_REPLY'])",
            "no file",
        ),
        (
            "import os; os.unlink(said := os.environ['CHORIA_EXTERNAL_REPLY']); os.mkfifo(said); os._exit(0)",
            "no file",
        ),
    ],
)
def test_what_goes_wrong_is_said(lines: str, words: str, program: Callable[[str], Path]) -> None:
    """An error, an exit code and a reply that is none are errors that say which."""
    with pytest.raises(PluginError, match=words):
        find(Targeting(), str(program(lines)))


def test_without_a_program() -> None:
    """Without a program it says how to name one."""
    with pytest.raises(UsageError, match="external_discovery"):
        find(Targeting())


def test_on_a_line(fleet: Fleet, program: Callable[[str], Path]) -> None:
    """`--dm external --do command=…` asks those that the program names."""
    path = program("self.reply.nodes = ['node01']")
    done = fleet.cli(
        "rpc", "rpcutil", "ping", "--dm", "external", "--do", f"command={path}", "--dt", "60", "-j"
    )
    assert [row["sender"] for row in json.loads(done.stdout)["replies"]] == ["node01"], done.stderr
