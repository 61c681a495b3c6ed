"""From where a request is put, as a session notes it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import mcshell
from mcshell.client import origin

SAY = "from mcshell.client.origin import noted; print(noted({'batch': '5'}))"


@pytest.mark.parametrize(
    ("words", "environ", "place"),
    [
        (("-c",), {}, "python"),
        (("-m", "IPython", "--quick", "-c"), {}, "In [1]"),
        (
            ("-m", "IPython", "--quick", "-c"),
            {"JPY_SESSION_NAME": "/w/p.ipynb"},
            "In [1] of p.ipynb",
        ),
    ],
)
def test_a_cell_is_its_number_and_its_notebook(words, environ, place, tmp_path):
    """Python alone is called so; in IPython it is the cell's number, in Jupyter with the notebook's name."""
    more = {"IPYTHONDIR": str(tmp_path), **environ}
    done = subprocess.run(
        [sys.executable, *words, SAY],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **more},
    )
    assert done.stdout.strip().splitlines()[-1] == str({"batch": "5", "origin": place}), done.stderr


def test_a_tool_says_who_it_is(monkeypatch):
    """What is asked inside is the tool's, with the place; behind it no more, whatever happens."""
    monkeypatch.setattr(sys, "argv", ["/srv/nightly.py"])
    monkeypatch.setattr(origin, "_face", "")
    noted = []

    def check():
        with mcshell.origin("check"):
            noted.append(origin.noted({})["origin"])
            raise KeyError

    with pytest.raises(KeyError):
        check()
    assert noted == ["check, nightly.py"]
    assert origin.noted({})["origin"] == "nightly.py"


@pytest.mark.parametrize("found", [None, 7, ["a"], {"a": 1}])
def test_a_note_that_anybody_wrote_is_text_or_nothing(found):
    """A session file may hold anything there; what is long is cut."""
    assert origin.origin_of({"origin": found}) == ""
    assert len(origin.origin_of({"origin": "x" * 9999})) == 200
