"""`mcshell node --check`: a good configuration says nothing, a bad one says what is wrong, a line each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"


def check(fleet, name="web1"):
    """The exit code, and the lines of standard output without the column's name."""
    done = fleet.cli("--jsonl", "node", "--config", f"{name}.toml", "--check")
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def tree(folder):
    """Every file below, with what a look at it leaves as it is."""
    return {
        path: (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
    }


def changed(fleet, old, new):
    """Change the node's file."""
    path = fleet.folder / "web1.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_good_configuration_says_nothing_and_nothing_is_touched(fleet):
    """Neither state, nor a compiled agent, nor a claim: and it starts."""
    (fleet.folder / "agents").symlink_to(AGENTS)
    changed(fleet, "[node]\n", '[node]\nagents = ["agents"]\n')
    before, code = tree(fleet.folder), tree(AGENTS)
    assert check(fleet) == (0, [])
    assert tree(fleet.folder) == before
    assert tree(AGENTS) == code
    fleet.start()
    assert check(fleet) == (0, [])


def broken_agent(fleet):
    """An agent whose code is none."""
    folder = fleet.folder
    (folder / "agents").mkdir()
    for end in ("json", "py"):
        text = (AGENTS / f"echo.{end}").read_text()
        (folder / "agents" / f"echo.{end}").write_text(text)
    (folder / "agents" / "echo.py").write_text("class Echo(:\n")


def policy(fleet):
    """A line that cannot be used."""
    with (fleet.folder / "policies" / "default.policy").open("a") as file:
        file.write("permit\teverybody\n")


def junk_for_claims(fleet):
    """A file of the state whose bytes are gone."""
    folder = fleet.folder / "state-web1" / "node"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "work.sqlite").touch()
    (folder / "replay.sqlite").write_bytes(bytes(4096))


BAD = {
    "no TOML": (("[node]\n", "[node]\noops\n"), None, "not TOML"),
    "an unknown key": (("[node]\n", "[node]\nslotz = 3\n"), None, "unknown key node.slotz"),
    "a value of another kind": (("[node]\n", '[node]\nslots = "x"\n'), None, "node.slots"),
    "no certificate": (('cert = "web1.pem"', 'cert = "no.pem"'), None, "no.pem: No such file"),
    "an operator's certificate": (
        ('cert = "web1.pem"\nkey = "web1.key"', 'cert = "alice.pem"\nkey = "alice.key"'),
        None,
        "is the certificate of an operator",
    ),
    "another's key": (('key = "web1.key"', 'key = "alice.key"'), None, "alice.key"),
    "a key for all to read": (None, lambda f: (f.folder / "web1.key").chmod(0o644), "web1.key"),
    "no passcode": (('"broker.pass"', '"no.pass"'), None, "no.pass: No such file"),
    "a broker of no kind": (("stomp://", "gopher://"), None, "gopher"),
    "another identity": (("[node]\n", '[node]\nidentity = "web2"\n'), None, "'web2'"),
    "no policies": (('policies = "policies"', 'policies = "none"'), None, "none: No such file"),
    "a policy's line": (None, policy, "default.policy:3"),
    "no agents": (("[node]\n", '[node]\nagents = ["none"]\n'), None, "none: No such file"),
    "an agent that does not load": (
        ("[node]\n", '[node]\nagents = ["agents"]\n'),
        broken_agent,
        "agent echo does not load",
    ),
    "an agent's setting": (
        ("[node]\n", '[agents.file]\nwrite = ["app"]\n[node]\n'),
        None,
        "agent file is not served: agents.file.write: 'app' is no absolute path",
    ),
    "settings of an agent that is not there": (
        ("[node]\n", '[agents.fiel]\nwrite = ["/srv"]\n[node]\n'),
        None,
        "agents.fiel: no agent (did you mean file?)",
    ),
    "facts that are none": (
        None,
        lambda f: (f.folder / "web1.yaml").write_text("a: [\n"),
        "web1.yaml",
    ),
    "classes that are none": (
        None,
        lambda f: (f.folder / "web1.classes").write_bytes(b"\xff\n"),
        "web1.classes: line 1",
    ),
    "a revoked certificate": (None, lambda f: f.authority.revoke("web1"), "revoked"),
    "a state file that is none": (None, junk_for_claims, "replay.sqlite is no database"),
    "a state that is a file": (None, lambda f: (f.folder / "state-web1").touch(), "is no folder"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_a_line_that_names_it(fleet, kind):
    """And the exit code is 1; nothing is touched."""
    change, damage, why = BAD[kind]
    if change is not None:
        changed(fleet, *change)
    if damage is not None:
        damage(fleet)
    before = tree(fleet.folder)
    code, lines = check(fleet)
    assert code == 1
    assert len(lines) == 1, lines
    assert why in lines[0]
    assert tree(fleet.folder) == before


def test_all_that_is_wrong_is_said_at_once(fleet):
    """A line each, not only the first."""
    changed(fleet, 'policies = "policies"', 'policies = "none"')
    changed(fleet, '"broker.pass"', '"no.pass"')
    (fleet.folder / "web1.yaml").write_text("a: [\n")
    code, lines = check(fleet)
    assert (code, len(lines)) == (1, 3)


@pytest.mark.parametrize("part", ["node", "supervisor", "broker"])
def test_a_log_level_is_one_of_four(fleet, part):
    """Another word is a usage error, which names them."""
    words = ["--data", "data"] if part == "broker" else ["--config", "web1.toml"]
    done = fleet.cli(part, *words, "--log-level", "loud")
    assert done.returncode == 64
    assert "debug, info, warning, error" in done.stderr


def test_a_log_level_is_kept_to(fleet):
    """With `error` a node that starts says that it is ready, and nothing else."""
    fleet.nodes["web1"] = fleet._run(
        "web1", ["node", "--config", str(fleet.folder / "web1.toml"), "--log-level", "error"]
    )
    fleet._wait("web1", fleet.nodes["web1"], 0)
    assert fleet.nodes["web1"].tail() == "ready"
    assert (fleet.folder / "state-web1").exists()


@pytest.mark.parametrize("most", [8, 11, 14])
def test_a_node_that_may_open_too_little_says_so(fleet, most):
    """Under a narrow `ulimit -n` its start is one line and 74, also where what says it cannot be loaded."""
    words = ["mcshell", "node", "--config", str(fleet.folder / "web1.toml")]
    done = subprocess.run(
        ["prlimit", f"--nofile={most}", sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=fleet.environ,
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith("mcshell: ")
    assert said.endswith("Too many open files")
    assert done.returncode == 74
