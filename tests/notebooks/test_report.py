"""`mcshell report`: one page that holds everything, also when a cell fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.notebooks.books import ROOT

if TYPE_CHECKING:
    from tests.notebooks.conftest import Demo

pytestmark = pytest.mark.timeout(240)

OUTSIDE = re.compile(r"""(src|href)=["'](?!data:|#)|@import|url\(|<(script|link|iframe|object)\b""")


def report(demo: Demo, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder of its own."""
    argv = [sys.executable, "-m", "mcshell", "report", *map(str, words)]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=200, cwd=folder, env=demo.environ
    )


def test_a_report_is_one_page_without_scripts(demo: Demo, tmp_path: Path) -> None:
    """Parameters reach the notebook; pictures are inside; nothing is loaded, no code is shown."""
    book = ROOT / "notebooks" / "02_fleet_report.ipynb"
    done = report(
        demo, tmp_path, book, "-p", "title=On <Tuesday>", "-p", "odd_share=0.2", "-o", "out.html"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out.html\n"
    assert done.stderr == ""
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<title>On &lt;Tuesday&gt;</title>" in page
    assert page.count("data:image/png;base64,") >= 3
    assert not OUTSIDE.search(re.sub(r'src="data:[^"]*"', "", page))
    assert "default-src 'none'" in page
    assert "mcshell.connect" not in page
    assert "web[01" in page


def notebook(folder: Path, *cells: str) -> Path:
    """A notebook of these cells."""
    path = folder / "mine.ipynb"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, path)
    return path


def test_a_failing_cell_fails_the_command_and_keeps_the_page(demo: Demo, tmp_path: Path) -> None:
    """The exit code is 2, standard error says which cell and why, the page has what came before."""
    path = notebook(
        tmp_path,
        "number = 1\nwords: list = []",
        "%load_ext mcshell\nprint('before', number + 1, words)",
        "%mco rpc rpcutil ping -F role=nothing",
        "print('never')",
    )
    done = report(demo, tmp_path, path, "-p", "number=41", "-p", "words=[a, 'b=c']", "--code")
    assert done.returncode == 2
    assert "failed: NoTargets: no node matches" in done.stderr
    assert "mine.html" in done.stderr
    assert done.stderr.count("\n") == 1
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert "before 42" in page
    assert "b=c" in page
    assert "NoTargets" in page
    assert "rpcutil" in page


def test_hostile_answers_do_no_harm_in_a_page(demo: Demo, tmp_path: Path) -> None:
    """Markup, escapes, control and bidi characters of a node reach no reader of the page."""
    path = notebook(
        tmp_path,
        "import pandas as pd\n%load_ext mcshell",
        r"hostile = '<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e\x00'",
        "pd.DataFrame({'sender': ['web1'], 'v': [hostile], hostile: [[hostile]]})",
        "pd.Series([hostile], index=[hostile])",
        "pd.DataFrame({'sender': ['web1'], 'v': [hostile]}).mco.plot('distribution', 'v')",
        "raise ValueError(hostile)",
    )
    assert report(demo, tmp_path, path).returncode == 2
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert not re.search(
        "<script|<img src=x|[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.ipynb"], "there is no notebook"),
        (["bad.ipynb"], "is no notebook"),
        (["mine.ipynb", "-p", "nubmer=2"], "did you mean number"),
        (["mine.ipynb", "-p", "number"], "name=value is meant"),
        (["mine.ipynb", "-o", "nowhere/x.html"], "there is no such folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, words: list[str], said: str, demo: Demo) -> None:
    """What cannot be run is refused before anything runs, with exit code 64."""
    notebook(tmp_path, "number = 1")
    (tmp_path / "bad.ipynb").write_text("{")
    done = report(demo, tmp_path, *words)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_templates_that_are_not_there_are_told_before_anything_runs(
    demo: Demo, tmp_path: Path
) -> None:
    """An environment without nbconvert's templates is said to be so, and what mends it does."""
    path = notebook(tmp_path, "number = 1", "from pathlib import Path\nPath('ran').touch()")
    venv.create(tmp_path / "bare", with_pip=False)
    argv = [tmp_path / "bare" / "bin" / "python", "-m", "mcshell", "report", path]
    found = os.pathsep.join([str(ROOT), *(one for one in sys.path if "site-packages" in one)])
    environ = {**demo.environ, "PYTHONPATH": found, "HOME": str(tmp_path)}

    def said(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            cwd=tmp_path,
            env=environ | more,
        )

    done = said()
    assert done.returncode == 64
    assert "nbconvert's templates are not in" in done.stderr
    assert "JUPYTER_PATH" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    done = said(JUPYTER_PATH=str(Path(sys.prefix, "share", "jupyter")))
    assert (done.returncode, done.stdout) == (0, "mine.html\n"), done.stderr
