"""Lists of nodes of every form, at every face: what is meant, or a refusal; never another machine."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from IPython.testing.globalipapp import get_ipython

import mcshell
from mcshell.errors import MCShellError
from mcshell.shell.cli import main
from tests.faces.node_lists import FORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet

    Outcome = list[str] | str

pytestmark = pytest.mark.timeout(240)
IDENTITIES = {"web1", "web2", "db1"}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each form as a file, whose name says nothing of it."""
    folder = tmp_path_factory.mktemp("lists")
    paths = {name: folder / f"list {number}" for number, name in enumerate(FORMS)}
    for name, path in paths.items():
        path.write_bytes(FORMS[name][0])
    return paths


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """One for the face that is Python."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fleet.environ.items():
            patch.setenv(name, value)
        with mcshell.connect(config_file=str(fleet.config)) as made:
            yield made


def _said(code: int, done: Any) -> Outcome:
    """What a line came to: the names, or the refusal, of which exit code and form are looked at."""
    if code == 0:
        return sorted(json.loads(line)["sender"] for line in done.out.splitlines())
    assert code in (1, 64), done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    assert done.err.count("\n") == 1, done.err
    return str(done.err)


def _check(name: str, outcome: Outcome, place: str) -> None:
    meant = FORMS[name][1]
    if isinstance(meant, list):
        assert outcome == meant
    else:
        assert isinstance(outcome, str), outcome
        assert meant in outcome
        assert place in outcome, "the refusal does not name the list"
    if isinstance(outcome, list):
        assert set(outcome) <= IDENTITIES


@pytest.mark.parametrize("name", FORMS)
def test_on_the_command_line(
    fleet: Fleet, lists: dict[str, Path], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """`find --nodes FILE` gives the nodes that the file means, or refuses it by name and line."""
    code = main(["--config", str(fleet.config), "find", "--nodes", str(lists[name]), "--jsonl"])
    _check(name, _said(code, capfd.readouterr()), str(lists[name]))


@pytest.mark.parametrize("name", FORMS)
def test_on_standard_input(
    fleet: Fleet,
    lists: dict[str, Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """`find --nodes -` reads the same from standard input."""
    with lists[name].open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        code = main(["--config", str(fleet.config), "find", "--nodes", "-", "--jsonl"])
    meant = FORMS[name][1]
    _check(name, _said(code, capfd.readouterr()), "-" if meant == "no names" else "standard input")


@pytest.mark.parametrize("name", FORMS)
def test_at_the_prompt(
    fleet: Fleet, lists: dict[str, Path], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """A line of the prompt reads it in the same way."""
    line = f"find --nodes '{lists[name]}' --jsonl"
    code = main(["--config", str(fleet.config), "-e", line])
    _check(name, _said(code, capfd.readouterr()), str(lists[name]))


@pytest.fixture(scope="module")
def magic(fleet: Fleet) -> Iterator[Callable[[str, str | None], Any]]:
    """Runs a `%mco` line, or a cell of it, in a real IPython."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (fleet.environ | {"MCSHELL_CONFIG": str(fleet.config)}).items():
            patch.setenv(name, value)
        shell = get_ipython()
        mcshell.load_ipython_extension(shell)

        def run(line: str, cell: str | None) -> Any:
            if cell is None:
                return shell.run_line_magic("mco", line)
            return shell.run_cell_magic("mco", line, cell)

        yield run
        mcshell.unload_ipython_extension(shell)


@pytest.mark.parametrize("name", FORMS)
def test_as_a_magic(
    magic: Callable[[str, str | None], Any], lists: dict[str, Path], name: str
) -> None:
    """`%mco find --nodes FILE` too, and a cell under `--nodes -` that holds what can be typed."""
    outcome = _python(lambda: magic(f"find --nodes '{lists[name]}'", None))
    _check(name, outcome, str(lists[name]))
    try:
        cell = FORMS[name][0].decode()
    except UnicodeDecodeError:
        return
    if not cell:
        return  # IPython itself refuses it
    assert _alike(_python(lambda: magic("find --nodes -", cell)), outcome)


@pytest.mark.parametrize("name", FORMS)
def test_from_python(client: Client, lists: dict[str, Path], name: str) -> None:
    """`nodes=Path(…)` reads the list, and an empty one names nobody."""
    outcome = _python(lambda: client.discover(nodes=lists[name]))
    if FORMS[name][1] == "no names":
        assert outcome == []
    else:
        _check(name, outcome, str(lists[name]))


def _python(ask: Callable[[], Any]) -> Outcome:
    try:
        return sorted(ask().sender)
    except MCShellError as error:
        return str(error)


def _alike(one: Outcome, other: Outcome) -> bool:
    return one == other if isinstance(other, list) else isinstance(one, str)


def test_names_in_python_are_names_too(client: Client) -> None:
    """Case, white space, a last dot and a BOM are no other name; what is none is refused."""
    for nodes in (["WEB1"], " web1. ", "\ufeffweb1", ["web1", "Web1."], ("web[1-3]!web[2-3]",)):
        assert list(client.discover(nodes=nodes).sender) == ["web1"]
    for nodes in ("web1 up", ["web1", "a=b"], "web1\x00", "pool:sms", ["-x"]):
        with pytest.raises(MCShellError, match="no name of a node"):
            client.discover(nodes=nodes)


@pytest.mark.parametrize("word", ["WEB1", "web1.", "\ufeffweb1", " web1 ", "Web1,WEB1"])
def test_a_name_in_another_form_is_the_same_node(
    fleet: Fleet, capfd: pytest.CaptureFixture[str], word: str
) -> None:
    """`-I` finds the node, alone and beside a filter that is asked of the nodes themselves."""
    for more in ([], ["-F", "role=web"]):
        code = main(["--config", str(fleet.config), "find", "-I", word, *more, "--senders"])
        assert (code, capfd.readouterr().out) == (0, "web1\n")


def test_a_list_can_be_a_pipe(
    fleet: Fleet, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own output goes into the next line as it is."""
    start = ["--config", str(fleet.config)]
    for form in ("csv", "tsv", "json", "jsonl", "senders"):
        assert main([*start, "ping", "-F", "role=web", "--format", form]) == 0
        said = capfd.readouterr().out
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        assert main([*start, "find", "--nodes", "-", "--senders"]) == 0
        assert capfd.readouterr().out == "web1\nweb2\n", form


def test_a_group_is_a_target_wherever_a_name_is(
    fleet: Fleet, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """-I, alone and beside a filter, --nodes, a file, standard input, `inventory`, a plan, Python."""
    path = fleet.folder / "groups.toml"
    path.write_text(
        f'{fleet.config.read_text()}\n[groups]\nsome = "web[1-2]!web2"\nall = "@some,db1"\n'
    )
    start = ["--config", str(path)]
    (tmp_path / "list").write_text("@some\n")
    for words in (
        ["find", "-I", "@some"],
        ["find", "-I", "@all", "-F", "role=web"],
        ["find", "--nodes", "@some"],
        ["find", "--nodes", "@all", "-F", "role=web"],
        ["find", "--nodes", str(tmp_path / "list")],
        ["find", "--nodes", "-"],
        ["inventory", "@some"],
        ["rpc", "rpcutil", "ping", "-I", "@some"],
        ["rpc", "rpcutil", "ping", "-I", "@all", "-F", "role=web", "--via", "broadcast"],
        ["job", "list", "-I", "@some"],
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO("@some\n"))
        code = main([*start, *words, "--senders"])
        said = capfd.readouterr()
        assert said.out in ("web1\n", "" if words[0] == "job" else "web1\n"), (words, said)
        assert code in (0, 1 if words[0] == "job" else 0), words
    for words in (["find", "-I", "@nobody"], ["find", "--nodes", "@nobody"], ["ping", "-I", "@al"]):
        assert main([*start, *words]) == 64
        assert "there is no group @" in capfd.readouterr().err
    (tmp_path / "plan.yaml").write_text(
        "plan: p\nsteps:\n  - {step: a, ask: rpcutil.ping, nodes: '@all'}\n"
    )
    assert main([*start, "plan", "preview", str(tmp_path / "plan.yaml"), "--jsonl"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(row["sender"] for row in rows) == ["db1", "web1"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fleet.environ.items():
            patch.setenv(name, value)
        with mcshell.connect(config_file=path) as client:
            assert list(client.rpc("rpcutil", "ping", nodes="@some").frame().sender) == ["web1"]
            found = client.discover(identities="@all", where="role=web")
            assert list(found.sender) == ["web1"]
