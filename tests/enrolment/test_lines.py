"""The lines that README shows for a key that stays where it is born, typed as they stand."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.faces.test_readme_lines import FRONT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "web1.example.com"


def typed(line: str, folder: Path) -> str:
    """Run a line's words, with README's absolute places below a folder."""
    line = line.replace("/srv/mcshell", "srv").replace("/etc/mcshell", "etc").replace("'", "")
    done = subprocess.run(
        [sys.executable, "-m", *line.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), (line, done.stderr)
    return done.stdout


def lines() -> Iterator[str]:
    """Those of the block."""
    (block,) = [one.text for one in blocks(FRONT) if one.text.startswith("mcshell pki token")]
    return iter(block.splitlines())


def test_the_lines_enrol_a_machine(tmp_path: Path) -> None:
    """The token, the request, the answer, the certificate; both files are carried by hand."""
    token, enroll, receive, accept = lines()
    typed("mcshell pki init /srv/mcshell/ca", tmp_path)
    secret = typed(token, tmp_path).split()[-1]
    (tmp_path / "web.token").touch(mode=0o600)
    (tmp_path / "web.token").write_text(secret)
    typed(enroll, tmp_path)
    request = f"{NAME}.request"
    (tmp_path / request).write_bytes((tmp_path / "etc" / request).read_bytes())
    assert "signed" in typed(receive, tmp_path)
    assert "signed" in typed(accept, tmp_path)
    assert (tmp_path / "etc" / f"{NAME}.pem").exists()
