"""`audit verify`: what it says of a log, and by which exit code; no broker is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.commands.context import Context
from mcshell.commands.output.result import Table
from mcshell.commands.run import run_words
from mcshell.errors import UsageError
from mcshell.node.audit.log import AuditLog
from mcshell.supervisor.inventory import HeardRegistration, Inventory
from mcshell.wire.documents.registration import Registration

if TYPE_CHECKING:
    from pathlib import Path

Verify = "Callable[..., tuple[Table, dict[str, Any]]]"


@pytest.fixture
def heads(tmp_path: Path) -> list[dict[str, Any]]:
    """A log of a first line and three events, and the heads that two of them left as."""
    heads = []
    with AuditLog(tmp_path / "audit.jsonl") as log:
        for event in ("accepted", "finished"):
            log.write({"event": event, "identity": "web1"})
            log._head_until = 0.0
            head = log.head()
            assert head is not None
            heads.append({"identity": "web1", "count": head.count, "hash": head.hash})
        log.write({"event": "accepted", "identity": "web1"})
    (tmp_path / "heads").write_text("".join(f"{json.dumps(one)}\n" for one in heads))
    (tmp_path / "mcshell.toml").write_text('state = "state"\n')
    return heads


@pytest.fixture
def verify(tmp_path: Path, heads: list[dict[str, Any]]) -> Verify:
    """One line about the log: the table that it gives, and its row."""
    assert heads

    def line(*words: str, file: str = "audit.jsonl") -> tuple[Table, dict[str, Any]]:
        argv = ["audit", "verify", str(tmp_path / file), *words]
        _, found = run_words(argv, Context("cli", tmp_path / "mcshell.toml"))
        assert isinstance(found, Table)
        return found, found.records()[0]

    return line


def test_a_true_log(verify: Verify, tmp_path: Path) -> None:
    """Its lines are told, and how many of them no head vouches for."""
    found, row = verify("--heads", str(tmp_path / "heads"))
    assert found.code == 0
    assert (row["lines"], row["last"], row["unanchored"], row["ok"]) == (4, 4, 1, True)
    assert found.notes == ("2 heads fit",)
    found, row = verify()
    assert (found.code, row["unanchored"]) == (0, 4)
    assert "no heads were given" in found.notes[0]


def test_a_change_is_named_by_file_and_line(verify: Verify, tmp_path: Path) -> None:
    """It ends with 1, and the first line that does not fit is said once for people and programs."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"accepted", b"Accepted", 1))
    found, row = verify("--heads", str(tmp_path / "heads"))
    assert (found.code, row["ok"]) == (1, False)
    assert row["problem"].startswith("audit.jsonl:2: line 2 of the chain is not the one whose head")
    assert found.notes[0] == row["problem"]


def test_lines_of_another_node_are_named(verify: Verify, tmp_path: Path) -> None:
    """A log is one node's: whose lines stand in it is said where they are of several."""
    with AuditLog(tmp_path / "audit.jsonl") as log:
        log.write({"event": "accepted", "identity": "db7"})
    found, _ = verify()
    assert any("lines of 2 nodes (db7,web1)" in note for note in found.notes)


def test_files_that_were_passed_over_are_named(verify: Verify, tmp_path: Path) -> None:
    """What rotation left and `audit verify` did not read is a note."""
    (tmp_path / "audit.jsonl.9").write_bytes(b"{}\n")
    found, row = verify()
    assert row["ok"]
    assert any(note.startswith("audit.jsonl.9 has no line") for note in found.notes)


def test_a_log_that_was_cut(verify: Verify, tmp_path: Path) -> None:
    """Whole lines that are gone from the end are found by a head that left for them."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    found, row = verify("--heads", str(tmp_path / "heads"))
    assert found.code == 1
    assert row["problem"].startswith("audit.jsonl:3: the log ends with line 2 of the chain")
    assert verify()[0].code == 0


def test_an_empty_log_is_not_shown_to_be_true(verify: Verify, tmp_path: Path) -> None:
    """Of a log that somebody has emptied it is said that nothing was there to verify."""
    (tmp_path / "audit.jsonl").write_bytes(b"")
    found, row = verify()
    assert row["lines"] == 0
    assert "no line of the chain is here" in found.notes[0]


def test_heads_of_the_supervisor_here(
    verify: Verify, tmp_path: Path, heads: list[dict[str, Any]]
) -> None:
    """`inventory` is what the supervisor on this machine keeps: every head that it heard."""
    folder = tmp_path / "state" / "supervisor"
    folder.mkdir(parents=True)
    inventory = Inventory(folder / "registrations.sqlite", "realm")
    for head in heads:
        said = Registration(
            identity="web1",
            created=head["count"],
            interval=1.0,
            audit=(head["count"], head["hash"]),
        )
        inventory.keep(
            [
                HeardRegistration(
                    collective="mcs",
                    registration=said,
                    heard=0.0,
                    body=b"",
                    signature="",
                    certificate="",
                )
            ]
        )
    kept = [(head["count"], head["hash"]) for head in heads]
    assert inventory.heads("web1", 0, 9) == kept
    assert inventory.heads("web1", kept[0][0], 9) == kept[1:]
    assert inventory.heads("web1", 0, 1) == kept[:1]
    inventory.close()
    found, row = verify("--heads", "inventory")
    assert (found.code, row["unanchored"], found.notes) == (0, 1, ("2 heads fit",))


@pytest.mark.parametrize(
    ("words", "file", "message"),
    [
        ((), "none", "there is no"),
        (("--heads", "none"), "audit.jsonl", "there is no none"),
        (("--heads", "heads", "--node", "web2"), "audit.jsonl", "has no heads of web2"),
        (("--heads", "mcshell.toml"), "audit.jsonl", "mcshell.toml:1: .* is meant"),
    ],
)
def test_what_cannot_be_verified_is_said(
    verify: Verify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    file: str,
    message: str,
) -> None:
    """A log that is not there, heads that are none or of others: no word about the log is true."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        verify(*words, file=file)
