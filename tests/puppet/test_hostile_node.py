"""A node that says what it likes: each time a row with the reason, and nothing outside its folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.deploy.puppet.apply import PuppetRun, main
from mcshell.errors import ExitCode, UsageError
from tests.peers.fleet import Fleet, Node
from tests.puppet.conftest import CONVERSE, catalog

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
import hashlib
import json
from pathlib import Path
from mcshell.node.handler import Handler

class Liar(Handler):
    protocol = "puppet"

    def opened(self, line):
        for one in json.loads(Path(line.node.settings("puppet")["says"]).read_text()):
            if isinstance(one, dict) and "whole" in one:
                data = bytes.fromhex(one["whole"])
                sha256 = hashlib.sha256(data).hexdigest()
                line.send({"file": one["file"], "size": len(data), "sha256": sha256})
                one = {"part": data}
            line.close() if one == "good-bye" else line.send(one)

    def turn(self, line, data):
        pass
"""
SHA = "0" * 64
COUNTS = b"resources: {changed: 1, failed: 0, out_of_sync: 0, total: %s}"
REPORT = {"file": "report.yaml", "whole": b"x".hex()}


def reported(summary: bytes) -> list[Any]:
    """What a node says that sends this summary, and a report."""
    return [{"file": "summary.yaml", "whole": summary.hex()}, REPORT]


REPORTED: dict[str, list[Any]] = {
    "no summary of puppet's: ReaderError": reported(b"\xff\xff"),
    "no summary of puppet's: TypeError": reported(b"!!timestamp x"),
    "no summary of puppet's: {'changed'": reported(COUNTS % (b"9" * 30)),
    "has sent its report without a summary": [REPORT],
}
SAYS: dict[str, list[Any]] = {
    "says what nobody asked for: text": ["text"],
    "says what nobody asked for: -1": [{"have": -1}],
    "says what nobody asked for: True": [{"have": True}],
    "says what nobody asked for: x": [{"cut": "x"}],
    "says what nobody asked for: {'file'": [{"file": "../../run.json", "size": 1, "sha256": SHA}],
    "sha256 is 64 digits": [{"file": "report.yaml", "size": 1, "sha256": "../../../x"}],
    "268435456 are taken": [{"file": "report.yaml", "size": 2**50, "sha256": SHA}],
    "4194304 are taken": [{"file": "summary.yaml", "size": 2**27, "sha256": SHA}],
    "a part of a file is bytes": [
        {"file": "report.yaml", "size": 9, "sha256": SHA},
        {"part": "abc"},
    ],
    "it was ended before the report had come": [{"said": "\x1b[2J"}, {"have": 0}, "good-bye"],
    "has fewer than": [{"have": 2**52}],
    f"says what nobody asked for: {2**64 - 1}": [{"cut": 2**64 - 1}],
    "says what nobody asked for: {'have': 0}": [{"have": 0}, {"have": 0}],
    "says what nobody asked for: {'cut': 1}": [{"cut": 1}, {"cut": 1}],
}


def test_a_node_that_lies_is_a_row(
    embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it says instead of a report, its row has failed or was interrupted, and says why.

    A name that is none of a folder, and a folder that cannot be, are a line.
    """
    (tmp_path / "agents" / "converse").mkdir(parents=True)
    (tmp_path / "agents" / "converse" / "puppet.py").write_text(HANDLER)
    says, source = tmp_path / "says.json", tmp_path / "empty.json"
    source.write_text(catalog())
    more = f'agents = ["{tmp_path}/agents"]\n[agents.puppet]\nsays = "{says}"\n'
    policies = {"converse": CONVERSE}
    with Fleet(embedded, tmp_path, {"n1": Node()}, policies=policies, more=more) as fleet:
        fleet.start()
        with fleet.client() as client:
            for number, (words, turns) in enumerate((SAYS | REPORTED).items()):
                says.write_text(json.dumps(turns))
                folder = tmp_path / "runs" / str(number)
                run = PuppetRun(client=client, folder=folder, source=source, timeout="60s")
                (row,) = run.apply(["n1"]).to_dict("records")
                assert row["state"] in ("failed", "interrupted"), row
                assert words in row["statusmsg"], row
                assert (folder / "n1" / "report.yaml").exists() == (words in REPORTED)
            for name in ("../n1", "..", ".n1", "x/../../n1", ""):
                with pytest.raises(UsageError, match="is no name"):
                    run.apply([name])
        monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
        assert main([str(source), "-I", "n1", "--out", str(says)]) == ExitCode.MACHINE
        assert capsys.readouterr().err == f"{says}: Not a directory\n"
