"""Completion: what may follow where, from a cache alone, and quickly."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcshell import config
from mcshell.client.discovery.node_cache import CachedNode
from mcshell.client.store.jobs import KeptJob
from mcshell.client.store.plans import KeptPlan
from mcshell.client.store.records import RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.commands.completion import Cache, candidates
from mcshell.commands.completion.cache import KnownRequest, gather, kept, nodes_cache
from mcshell.commands.completion.scan import incomplete, scan
from mcshell.commands.grammar.parser import split_line
from mcshell.commands.grammar.reading import named_verb
from mcshell.ddl.ddl_library import Library, shipped_dir
from mcshell.errors import UsageError
from mcshell.message import Filter, Via

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY = Library([shipped_dir()])
NODES = nodes_cache(
    CachedNode(
        identity=name,
        seen=0.0,
        facts={"os": {"name": system, "release": {"major": 12}}, "role": role, "virtual": True},
        classes=frozenset({f"role::{role}"}),
    )
    for name, system, role in (
        ("web1", "Debian", "web"),
        ("web2", "Rocky Linux", "web"),
        ("db1", "Debian", "db"),
    )
)
CACHE = Cache(
    ddls={name: LIBRARY.get(name) for name in LIBRARY.agents()},
    nodes=NODES.names,
    facts=NODES.facts,
    classes=NODES.classes,
    collectives=("eu", "mcs"),
    sessions=("patch-friday", "scratch-1"),
    pools=("sms",),
    groups=("db", "web"),
    requests=(
        KnownRequest("beef" * 8, "package status", time.time() - 7200),
        KnownRequest("babe" * 8, "rpcutil ping", time.time() - 90000),
    ),
    jobs=(
        KnownRequest("f00d" * 8, "service restart", time.time() - 60, "drain"),
        KnownRequest("fade" * 8, "package update", time.time() - 90),
    ),
    plans=(KnownRequest("ace" * 10, "stopped", time.time() - 60, "patch"),),
)


def offered(line: str, **more: object) -> list[str]:
    """The texts that are offered at the end of a line."""
    return [one.text for one in candidates(line, len(line), CACHE, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("fi", ["find", "filter"]),
        ("session s", ["save"]),
        ("ping -I @", ["@db", "@web"]),
        ("ping --nodes @w", ["@web"]),
        ("session attach ", ["patch-friday", "scratch-1"]),
        ("help fin", ["find"]),
        ("rpc pack", ["package"]),
        ("rpc package st", ["status"]),
        ("rpc service restart na", ["name="]),
        ("rpc package status --via q", ["queue"]),
        ("rpc package status --via=q", ["--via=queue"]),
        ("find --vi", []),
        ("rpc rpcutil ping --vi", ["--via"]),
        ("find -I we", ["web1", "web2"]),
        ("find -I WE", ["web1", "web2"]),
        ("find -C ro", ["role::db", "role::web"]),
        ("find -F ro", ["role="]),
        ("find -F role=", ["role=db", "role=web"]),
        ("find -F role!=w", ["role!=web"]),
        ("find -F os=deb", ["os=Debian"]),
        ("find -F os=R", ["'os=Rocky Linux'"]),
        ("find -F 'os=R", ["'os=Rocky Linux'"]),
        ("find -F os.release.major=", ["os.release.major=12"]),
        ("find -S 'role=web and vir", ["virtual="]),
        ("find -S 'role=web an", ["and"]),
        ("find -S '(role=d", ["role=db"]),
        ("find -T e", ["eu"]),
        ("find --dm inv", ["inventory"]),
        ("find --format v", ["vertical"]),
        ("facts ro", ["role"]),
        ("inventory d", ["db1"]),
        ("node forget d", ["db1"]),
        ("explain web1 be", ["beefbeefbe"]),
        ("replies b", ["beefbeefbe", "babebabeba"]),
        ("rpc sms x --via pool --pool ", ["sms"]),
        ("job show ", ["drain", "fadefadefa"]),
        ("job cancel d", ["drain"]),
        ("job log f0", ["f00df00df0"]),
        ("job log drain we", ["web1", "web2"]),
        ("job submit rpcutil ping --after dr", ["drain"]),
        ("plan resume ", ["patch"]),
        ("doc package.st", ["package.status"]),
        ("doc package st", ["status"]),
        ("retry be", ["beefbeefbe"]),
        ("watch 5 fi", ["find", "filter"]),
        ("watch 5 find -I d", ["db1"]),
        ("help ti", ["times"]),
        ("# fi", []),
        ("ping # fi", []),
        ("sql select fi", []),
        ("ping > a b", []),
        ("rpc exec run -- ls > ", []),
        ("ping\nfind -I d", ["db1"]),
        ("fold v", ["version"]),
        ("ping; find -I d", ["db1"]),
        ("rpc package status --odd v", ["version"]),
        ("rpc process list --top 5 proc", ["processes"]),
        ("rpc process list --top 5 processes li", ["limit="]),
        ("rpc package status --fold a", ["arch"]),
        ("rpc package status --only ins", ["installed="]),
        ("ping --only state=sil", ["state=silent"]),
        ("rpc package status --can", ["--canary"]),
        ("replies package.status@y", ["package.status@yesterday"]),
        ("rpc exec run -- ls -", []),
        ("ping | gre", []),
        ("!ls ", []),
        ("pnig ", []),
        ("rpc nobody ", []),
        ("rpc nobody nothing x", []),
    ],
)
def test_what_may_follow(line: str, texts: list[str]) -> None:
    """Each place on a line is offered what can stand there."""
    assert offered(line) == texts


def test_jobs_and_plans_are_read_from_the_session_file(tmp_path: Path) -> None:
    """No node is asked while somebody types: what this session has handed in is in its file."""
    path = tmp_path / "s.sqlite"
    store = SessionStore(path)
    job, plan = "f00d" * 8, "ace0" * 8
    record = RequestRecord(
        id=job,
        agent="service",
        action="restart",
        via=Via.QUEUE,
        collective="mcs",
        created=100.0,
        expires=200.0,
        filter=Filter(),
        data={},
    )
    store.add(record, ["web1"])
    assert kept(path).jobs == ()
    store.jobs.add(KeptJob(job, "drain", b"{}", job))
    store.plans.add(
        KeptPlan(
            id=plan,
            name="patch",
            revision=1,
            created=50.0,
            body=b"{}",
            signature="",
            certificate="",
            waves={},
        )
    )
    found = kept(path)
    store.close()
    assert found.requests == (KnownRequest(job, "service restart", 100.0),)
    assert found.jobs == (KnownRequest(job, "service restart", 100.0, "drain"),)
    assert found.plans == (KnownRequest(plan, "open", 50.0, "patch"),)


def test_facts_are_offered_for_the_input_that_names_one() -> None:
    """The input `fact` of rpcutil takes the name of a fact."""
    assert "fact=os.name" in offered("rpc rpcutil get_fact fact=os")


def test_inputs_come_once_and_say_what_they_are() -> None:
    """An input that is given already is not offered again; its description is beside it."""
    line = "rpc service restart "
    (one,) = candidates(line, len(line), CACHE)
    assert (one.text, one.kind) == ("name=", "input")
    assert one.meta.startswith("needed: ")
    assert "name=" not in offered("rpc service restart name=cron ")
    (one, *_) = candidates("rpc process signal signal=K", 27, CACHE)
    assert one.text == "signal=KILL"


def test_options_are_offered_when_nothing_else_is() -> None:
    """After the verb's own words come its options, each once, in its long spelling."""
    found = offered("find ")
    assert "--wf" in found
    assert "-F" not in found
    assert all(text.startswith("--") for text in found)
    assert "-F" not in offered("find --")


def test_what_is_replaced_is_the_word() -> None:
    """The text takes the place of the whole word, also when a quote was opened."""
    line = "find -F 'os=Rocky L"
    (one,) = candidates(line, len(line), CACHE)
    assert split_line(line[: one.start] + one.text) == ["find", "-F", "os=Rocky Linux"]
    line = "find -S 'role=web and os.na"
    (one,) = candidates(line, len(line), CACHE)
    assert line[: one.start] + one.text == "find -S 'role=web and os.name="


def test_the_faces_own_words() -> None:
    """A cell has `-o` and no `exit`; services are the command line's."""
    assert "exit" in offered("exi")
    assert offered("exi", face="magic") == []
    assert "-o" in offered("find -", face="magic")
    assert "broker" in offered("bro", face="cli")
    assert offered("bro") == []


def test_nodes_are_variables_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--nodes` completes names of variables, then files; `>` completes files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.txt").write_text("")
    (tmp_path / "host dir").mkdir()
    found = offered("find --nodes ho", variables=["hosts", "x"])
    assert found == ["hosts", "'host dir/", "hosts.txt"]
    assert offered("find > hosts") == ["hosts.txt"]
    assert offered("find >> hosts") == ["hosts.txt"]


def test_what_nobody_could_type_is_not_offered() -> None:
    """Escapes, bidi marks and novels in facts and classes do not come into a menu."""
    odd = {"a": "\x1b[2J", "b": "\u202eabc", "c": "x" * 1000, "d\x07": "e", "f": "fine"}
    found = nodes_cache(
        [CachedNode(identity="n", seen=0.0, facts=odd, classes=frozenset({"ok", "\x9bbad"}))]
    )
    assert found.classes == ("ok",)
    assert found.facts == {"a": (), "b": (), "c": (), "f": ("fine",)}


def test_an_empty_cache_offers_the_grammar() -> None:
    """Without a fleet, verbs and options still complete, and nothing breaks."""
    line = "rpc "
    assert candidates(line, len(line), Cache()) == []
    assert candidates("pi", 2, Cache())[0].text == "ping"


@given(st.text("rpcfindo -FSI=' \"\\;|>.x", max_size=30), st.integers(0, 30))
def test_no_line_breaks_it(line: str, cursor: int) -> None:
    """Whatever is typed, candidates come back, and each begins before the cursor."""
    for one in candidates(line, cursor, CACHE):
        assert 0 <= one.start <= min(cursor, len(line))


@given(st.lists(st.text(max_size=6), min_size=1, max_size=4))
def test_the_scanner_reads_words_as_the_parser_does(words: list[str]) -> None:
    """Finished words are what `split_line` makes of them, but for a verb that takes free text."""
    import shlex

    verb = named_verb(words)
    assume(verb is None or not verb.free)

    line = shlex.join(words)
    found = scan(f"{line} ")
    if not any("\n" in word for word in words):
        assert found.words == tuple(words)
        assert not incomplete(line)


def test_lines_that_go_on() -> None:
    """An open quote or a backslash at the end continue a line, a shell's command does not."""
    for text in ("rpc 'a", 'find -S "x', "find \\", "find 'a\nb"):
        assert incomplete(text), text
    for text in ("find", "find 'a'", "find \\\\", "!echo 'x", "# don't", "find 'a\nb'"):
        assert not incomplete(text), text
    with pytest.raises(UsageError):
        split_line("find 'a")


def test_ten_thousand_nodes_are_no_burden() -> None:
    """With 10,000 nodes cached the 95th percentile stays far below what a typist feels."""
    nodes = nodes_cache(
        CachedNode(
            identity=f"node{number:05d}.site{number % 7}.example.com",
            seen=0.0,
            facts={"os": {"name": "Debian"}, "serial": f"S{number}", "site": f"site{number % 7}"},
            classes=frozenset({f"class{number % 50}"}),
        )
        for number in range(10_000)
    )
    cache = Cache(ddls=CACHE.ddls, nodes=nodes.names, facts=nodes.facts, classes=nodes.classes)
    took: list[float] = []
    for text in ("find -I node0999", "find -I node", "find -F serial=S1", "find -S 'site=si"):
        for end in range(1, len(text) + 1):
            began = time.perf_counter()
            candidates(text, end, cache)
            took.append(time.perf_counter() - began)
    assert statistics.quantiles(took, n=20)[-1] < 0.2  # 50 ms is the promise; the bench measures


def test_a_bad_schema_costs_only_its_own_completion(tmp_path: Path) -> None:
    """Agents are offered beside one whose schema cannot be read."""
    (tmp_path / "cut.json").write_text('{"metadata": {')
    (tmp_path / "torn.ddl").write_text("metadata :name => 'torn")
    settings = config.load(overrides={"node.agents": [str(tmp_path)], "state": str(tmp_path / "s")})
    offered = gather(settings, NODES, ()).ddls
    assert {"package", "service"} <= offered.keys()
    assert not {"cut", "torn"} & offered.keys()
