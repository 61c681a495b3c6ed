"""The light node: built, installed into an environment of its own, asked by a normal client."""

from __future__ import annotations

import os
import statistics
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.version import VERSION
from tests.deploy.light import PROJECT, LightFleet, installed, kilobytes, offline, uncompiled
from tests.peers.fleet import POLICIES, Node
from tests.peers.processes import said, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(400)  # the first test installs

LEFT_OUT = {
    "ipython",
    "jsonschema",
    "lark",
    "numpy",
    "pandas",
    "prompt-toolkit",
    "tabulate",
    "tqdm",
}
LIMIT = 45_000_000 // 1024
"""Kilobytes of an environment, bytecode included, pip not."""
OWN = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
ASKED = {
    "exec": ("run", {"argv": ["echo", "hello"]}),
    "file": ("checksum", {"path": "/etc/passwd"}),
    "package": ("status", {"name": "dpkg"}),
    "process": ("list", {"limit": 3}),
    "rpcutil": ("get_fact", {"fact": "os.name"}),
    "service": ("status", {"name": "dbus"}),
}
"""An action of each agent that ships, with its inputs."""
LINES = """
version; ping; find; facts os.name; inventory; inventory light; agents; doc rpcutil; doc rpcutil.ping
rpc rpcutil ping; rpc rpcutil ping --only state=ok --fold pong; rpc rpcutil ping --top 1 pong; retry
replies; ledger; requests; explain light; fold pong; outliers; summary; filter -F os.name=Debian
sql select count(*) from replies; session list; session new s; job submit rpcutil ping --at +1h --name j
job list; job show j; job forecast; job pause j; job cancel j; history; node forget full
"""
COMMANDS = (
    "version",
    "doctor",
    "config show",
    "pki init ca",
    "pki issue bob --kind node --pki ca --out bob",
    "pki list --pki ca",
    "pki token --matching web* --pki ca",
    "node enroll web7 --out web7",
    "pki revoke bob --pki ca --yes",
    "policy lint policies",
    "--config light.toml policy test cert=alice exec run",
    "audit verify state-light/node/audit.jsonl",
    "ddl export ddls",
    "agent new hello",
    "broker config rabbitmq --pki ca --dir broker --host localhost",
    "rpc rpcutil ping",
    "rpc rpcutil ping --json",
    "help filters",
)
REFUSED = {
    "report x.ipynb": "mcshell.commands.verbs.report",
    "emulate 3 --pki pki": "mcshell.node.emulator",
    "cp x @web:/srv/": "mcshell.commands.verbs.cp",
    "notebook s1 -o x.ipynb": "mcshell.commands.verbs.notebook",
    "proposals": "mcshell.commands.verbs.approvals",
    "completion bash": "mcshell.commands.verbs.completion",
    "session export here": "mcshell.client.session.transfer",
    "demo --nodes 2": "mcshell.shell.demo",
    "--config old.toml ping": "mcshell.client.mcollective",
    "plan list": "mcshell.commands.verbs.plans",
    "ping --format psql": "tabulate",
    "--format github ping": "tabulate",
}


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment into which the project was installed by its path."""
    return installed(PROJECT, tmp_path_factory.mktemp("light") / "venv")


@pytest.fixture(scope="module")
def fleet(
    embedded: Broker, light: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LightFleet]:
    """A light node and one from here, side by side, on the embedded broker."""
    policies = {**POLICIES, "exec": OWN, "file": OWN}
    nodes = {"light": Node(classes=["role::web"]), "full": Node()}
    more = '[agents.file]\nroots = ["/etc"]\n'
    folder = tmp_path_factory.mktemp("fleet")
    with LightFleet(embedded, folder, nodes, policies=policies, more=more) as one:
        one.light, one.lights = light, {"light"}
        one.start()
        (folder / "mco.psk").write_text("a secret")
        (folder / "mco.psk").chmod(0o600)
        old = '[mcollective]\nenabled = true\nsecurity = "psk"\npsk_file = "mco.psk"\n'
        (folder / "old.toml").write_text((folder / "alice.toml").read_text() + old)
        yield one


def site(light: Path) -> Path:
    """The folder of an environment's packages."""
    return next((light.parent / "lib").glob("python3.*/site-packages"))


def test_what_is_installed_is_small_and_has_no_package_of_the_client(light, capsys):
    """Under 45 MB with bytecode, none of the packages left out, and the version of its sources."""
    names = {path.name.split("-")[0].lower() for path in site(light).glob("*.dist-info")}
    assert not names & {name.replace("-", "_") for name in LEFT_OUT}
    assert "mcshell_node" in names
    assert said(light / "mcshell", "--version").strip() == f"mcshell {VERSION}"
    whole, plain = kilobytes(site(light)), uncompiled(site(light))
    with capsys.disabled():
        print(f"\n{len(names)} packages, {whole:,} KiB, {plain:,} KiB without bytecode")
    assert plain < whole < LIMIT


def test_an_sdist_builds_the_same_wheel(tmp_path):
    """What a checkout builds and what its sdist builds elsewhere hold the same files."""
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    tools, sdist = tmp_path / "tools", tmp_path / "sdist"
    said(*pip, "install", "--target", tools, "hatchling", **offline())
    build = (sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", sdist)
    said(*build, cwd=PROJECT, PYTHONPATH=str(tools))
    (archive,) = sdist.glob("mcshell_node-*.tar.gz")
    held = []
    for name, source in (("here", PROJECT), ("there", archive)):
        make = (*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / name)
        said(*make, source, PYTHONPATH=str(tools))
        (wheel,) = (tmp_path / name).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            sums = {one.filename: one.CRC for one in opened.infolist()}
        sums.pop(f"mcshell_node-{VERSION}.dist-info/RECORD")  # the same lines in another order
        held.append(sums)
    assert held[0] == held[1]
    assert {"mcshell/agents/exec.py", "mcshell/LICENSE"} < held[0].keys()
    assert not any(
        name.startswith(("mcshell/notebook/", "mcshell/deploy/node/")) for name in held[0]
    )


@pytest.mark.parametrize("agent", ASKED)
def test_every_agent_that_ships_answers_from_it(fleet, agent):
    """A normal client asks one action of each, and both nodes say the same kind of thing."""
    shipped = {path.stem for path in (Path(__file__).parents[2] / "agents").glob("*.py")}
    assert shipped == ASKED.keys()
    action, inputs = ASKED[agent]
    with fleet.client(state=f"state-{agent}") as client:
        replies = client.rpc(agent, action, inputs=inputs)
        rows = {row.sender: row for row in replies.rows()}
    assert {name: str(row.state) for name, row in rows.items()} == {"light": "ok", "full": "ok"}
    assert rows["light"].data.keys() == rows["full"].data.keys() != set()


def test_a_compound_filter_is_judged_there(fleet):
    """It finds the node by facts and classes at once, with brackets and a `not`."""
    where = "(os.family=debian or os.kernel=Linux or role::web) and role::web and not os.name=none"
    with fleet.client(state="state-filter") as client:
        found = client.discover(where=where)
    assert list(found["sender"]) == ["light"]


def test_queued_work_and_a_job_run_there(fleet):
    """A request that was queued while it was down is answered, and a job starts at its time."""
    with fleet.client(state="state-queued") as client:
        client.discover()
        fleet.nodes.pop("light").stop()
        queued = client.rpc("rpcutil", "ping", identities=["light"], via="queue", wait=False)
        job = client.jobs.submit("rpcutil", "ping", at="+1s", identities=["light"], name="soon")
        fleet.start("light")
        assert wait_until(lambda: queued.stats["ok"] == 1, 60), queued.stats
        assert wait_until(lambda: job.stats["ok"] == 1, 60), job.stats


def test_lines_run_there_as_far_as_they_need_nothing_more(fleet):
    """Every verb that asks, looks back or changes jobs works from it, drawn as a table."""
    for line in filter(None, (one.strip() for one in LINES.replace("\n", ";").split(";"))):
        done = fleet.there("-e", line)
        assert done.returncode not in (64, 70), (line, done.stderr)
        assert "Traceback" not in done.stderr, (line, done.stderr)
        assert "light node" not in done.stderr, (line, done.stderr)
    for words in COMMANDS:
        done = fleet.there(*words.split())
        assert done.returncode in (0, 2 if words == "doctor" else 0), (words, done.stderr)


@pytest.mark.parametrize("line", REFUSED)
def test_what_needs_the_client_is_refused_in_one_line(fleet, line):
    """It says that this is a light node and what is wanted, before anything is asked."""
    done = fleet.there(*line.split())
    assert done.returncode == 64
    assert "this is a light node, which has no " + REFUSED[line] in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


@pytest.mark.parametrize("words", [(), ("shell",)])
def test_the_prompt_is_refused_in_one_line(fleet, words):
    """At a terminal no prompt begins."""
    ours, theirs = os.openpty()
    try:
        done = fleet.there(*words, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 64
    assert "this is a light node, which has no prompt_toolkit" in done.stderr
    assert done.stderr.count("\n") == 1


def test_start_and_memory_beside_a_node_of_the_whole(fleet, capsys):
    """A light node takes no more memory of its own than one of the whole installation; printed.

    What is in no file is compared. Pages of a library's file that no other process has mapped are a
    process's own, too: so it is with the light node's here, while this one has mapped the other's.
    """
    figures: dict[str, list[tuple[float, ...]]] = {"light": [], "full": []}
    for _ in range(3):
        for name, found in figures.items():
            fleet.nodes.pop(name).stop()
            began = time.monotonic()
            fleet.start(name)
            found.append((time.monotonic() - began, *own_memory(fleet.nodes[name].pid)))
    middle = {
        name: [*map(statistics.median, zip(*found, strict=True))] for name, found in figures.items()
    }
    with capsys.disabled():
        for name, (took, uss, anonymous) in middle.items():
            print(
                f"\n{name}: ready after {took:.2f} s, USS {uss:.1f} MiB, {anonymous:.1f} in no file"
            )
    assert middle["light"][2] < middle["full"][2] + 1.0


def own_memory(pid: int) -> tuple[float, float]:
    """MiB that are a process's own (USS), and what of it is in no file, by the kernel's smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Anonymous"]
