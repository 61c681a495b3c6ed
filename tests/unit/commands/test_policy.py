"""`policy lint` and `policy test`, called and through the real command line; no broker is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.context import Context
from mcshell.commands.output.result import Table
from mcshell.commands.run import run_words
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVICE = """\
policy default deny
deny\tcert=alice\tstop\tenvironment=production\t*
allow\tops\t*\t*\tweb
allow\tcert=alice\t*\t*\t*
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node's configuration with sound policies, facts and classes."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "service.policy").write_text(SERVICE)
    (folder / "groups").write_text("ops cert=bob\n")
    (tmp_path / "here.yaml").write_text("environment: staging\n")
    (tmp_path / "classes.txt").write_text("db\n")
    path = tmp_path / "node.toml"
    path.write_text(
        '[node]\npolicies = "policies"\nfacts = ["here.yaml"]\nclasses = "classes.txt"\n'
    )
    return path


@pytest.fixture
def run(config: Path) -> Callable[[str], Table]:
    """One line, split at spaces: the table that it gives."""

    def line(text: str) -> Table:
        _, found = run_words(text.split(), Context("cli", config))
        assert isinstance(found, Table)
        return found

    return line


Run = "Callable[[str], Table]"


def test_sound_policies_are_clean(run: Run, config: Path) -> None:
    """No row, exit code 0: for the node's folder, a folder and a file."""
    folder = config.parent / "policies"
    for where in ("", str(folder), str(folder / "service.policy"), str(folder / "groups")):
        found = run(f"policy lint {where}")
        assert (found.rows, found.code) == ([], 0)
        assert found.notes[0].endswith(": nothing is wrong")


def test_each_flaw_is_a_row_with_what_it_costs(run: Run, config: Path) -> None:
    """Lines of files, of groups, whole files, and files that no agent has; exit code 1."""
    folder = config.parent / "policies"
    (folder / "a.policy").write_text("allow\tweb*\t*\t*\ndeny\tcert=Al\t*\t*\ndeny\tops\t*\t*\n")
    (folder / "b.policy").symlink_to("nowhere")
    (folder / "C.policy").write_text("allow\t*\t*\t*\n")
    (folder / "default.approvals").write_text("*\t*\t1\tcert=bob\n")
    (folder / "groups").write_text("# ours\nops Bob\n")
    (folder / "notes.txt").write_text("not looked at\n")
    found = run("policy lint")
    rows = {(row["file"].rpartition("/")[2], row["line"], row["costs"]) for row in found.records()}
    everything = "the file, which denies everything"
    assert rows == {
        ("C.policy", None, "the file, which is never read"),
        ("a.policy", 1, "this line"),
        ("a.policy", 2, everything),
        ("a.policy", 3, everything),
        ("b.policy", None, everything),
        ("default.approvals", None, "the file, which is never read"),
        ("groups", 2, "every line that names a group"),
        ("service.policy", 3, "this line"),
    }
    assert found.code == 1
    assert len(run(f"policy lint {folder / 'a.policy'}").rows) == 3
    assert len(run(f"policy lint {folder / 'groups'}").rows) == 1


@pytest.mark.parametrize(
    ("line", "decision", "why", "text"),
    [
        ("cert=alice service stop", "allowed", "service.policy:4", "allow\tcert=alice\t*\t*\t*"),
        (
            "cert=alice service stop --facts FACTS",
            "denied",
            "service.policy:2",
            "deny\tcert=alice\tstop\tenvironment=production\t*",
        ),
        (
            "cert=alice service stop --facts EMPTY",
            "denied",
            "service.policy:2: the fact environment is not known here",
            "deny\tcert=alice\tstop\tenvironment=production\t*",
        ),
        ("cert=bob service stop", "denied", "service.policy:1 (default)", "policy default deny"),
        (
            "cert=bob service stop --classes web,x",
            "allowed",
            "service.policy:3",
            "allow\tops\t*\t*\tweb",
        ),
        (
            "cert=bob service stop --classes CLASSES",
            "allowed",
            "service.policy:3",
            "allow\tops\t*\t*\tweb",
        ),
        ("cert=bob job edit", "denied", "there is neither job.policy nor default.policy", None),
        (
            "cert=bob exec run",
            "denied",
            "default.policy does not cover exec.run: it wants exec.policy",
            None,
        ),
    ],
)
def test_a_decision_is_one_row_with_its_line(
    run: Run, tmp_path: Path, line: str, decision: str, why: str, text: str | None
) -> None:
    """Facts and classes are this machine's, or those that are named; the exit code is 1 for a no."""
    (tmp_path / "FACTS").write_text('{"environment": "production"}')
    (tmp_path / "EMPTY").write_text("{}")
    (tmp_path / "CLASSES").write_text("web  # ours\n")
    for name in ("FACTS", "EMPTY", "CLASSES"):
        line = line.replace(name, str(tmp_path / name))
    found = run(f"policy test {line}")
    (row,) = found.records()
    assert (row["decision"], row["why"], row["line"]) == (decision, why, text)
    assert [row["caller"], row["agent"], row["action"]] == line.split()[:3]
    assert found.code == (decision == "denied")


def test_an_owner_is_whose_job_it_is(run: Run, config: Path) -> None:
    """With another's name it is about his job, with one's own about one's own."""
    (config.parent / "policies" / "job.policy").write_text(
        "allow\tcert=bob\tedit\towner=cert=alice\t*\nallow\tcert=bob\t*\t*\t*\n"
    )
    for owner, allowed in (("alice", True), ("bob", True), ("carol", False)):
        found = run(f"policy test cert=bob job edit --owner cert={owner}")
        assert (found.code == 0) is allowed


def test_discovery_is_said_to_be_asked_no_policy(run: Run) -> None:
    """Else the answer would be about nothing that happens."""
    assert any(
        "answers every operator" in note for note in run("policy test cert=x discovery ping").notes
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("policy lint nowhere.policy", "there is no nowhere.policy"),
        ("policy test cert=Alice service stop", "they are in lower case"),
        ("policy test alice service stop", "is no caller id"),
        ("policy test cert=a job edit --owner bob", "is no caller id"),
        ("policy test cert=a b c --facts nowhere.yaml", "--facts nowhere.yaml"),
        ("policy test cert=a b c --facts BROKEN", "--facts"),
        ("policy test cert=a b c --facts LIST", "a hash of facts is meant"),
        ("policy test cert=a b c --classes ./nowhere", "there is no such file"),
    ],
)
def test_what_cannot_be_asked_is_refused(run: Run, tmp_path: Path, line: str, words: str) -> None:
    """In one line that says what was meant."""
    (tmp_path / "BROKEN").write_text("a: [\n")
    (tmp_path / "LIST").write_text("[1]")
    for name in ("BROKEN", "LIST"):
        line = line.replace(name, str(tmp_path / name))
    with pytest.raises(UsageError, match=words) as refused:
        run(line)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_said(run: Run, config: Path) -> None:
    """Policies that nobody finds are not clean."""
    config.write_text('[node]\npolicies = "elsewhere"\n')
    with pytest.raises(UsageError, match=r"there is no .*elsewhere"):
        run("policy lint")


def test_the_command_line(config: Path) -> None:
    """Both verbs run as programs: rows on standard output, the exit code, no broker and no state."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCSHELL_")}
    environ["MCSHELL_STATE"] = str(config.parent / "state")

    def cli(*words: str) -> tuple[int, list[dict[str, object]], str]:
        done = subprocess.run(
            [sys.executable, "-m", "mcshell", *words, "--config", str(config), "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environ,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    code, rows, err = cli("policy", "lint")
    assert (code, rows) == (0, []), err
    code, rows, err = cli("policy", "test", "cert=alice", "service", "stop")
    assert (code, rows[0]["why"]) == (0, "service.policy:4"), err
    path = config.parent / "policies" / "service.policy"
    path.write_text(SERVICE.replace("stop\t", "stop*\t"))
    code, rows, err = cli("policy", "lint", str(path))
    assert (code, rows[0]["line"]) == (1, 2), err
    code, rows, err = cli("policy", "test", "cert=alice", "service", "start")
    assert (code, rows[0]["decision"]) == (1, "denied"), err
    assert not (config.parent / "state").exists()
