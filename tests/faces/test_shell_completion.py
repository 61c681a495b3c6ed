"""`mcshell completion` in real bash, zsh and fish: what Tab makes of a line, hostile values included."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.wire.credentials import load_realm
from tests.faces.shell_lines import HOSTILE, LISTS, OPEN, WORDS, make_place
from tests.peers.processes import wait_until
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.tmux, pytest.mark.timeout(240)]
SHELLS = [
    "bash",
    pytest.param("zsh", marks=pytest.mark.zsh),
    pytest.param("fish", marks=pytest.mark.fish),
]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
RECORD = """#!/bin/sh
printf '%s\\0' "$@" > "$RECORD.part"
mv "$RECORD.part" "$RECORD"
"""
STARTS = {
    "bash": ("--noprofile", "--rcfile", "start.bash", "-i"),
    "zsh": ("-d", "-i"),
    "fish": ("--no-config", "--init-command", "source start.fish", "-i"),
}
RC = {
    "bash": "PS1='ready$ '\nunset HISTFILE\nbind '\"\\e*\": insert-completions'\n",
    "zsh": "PS1='ready$ '\nautoload -Uz compinit\ncompinit -u -D\nbindkey -e\n"
    "zle -C all-matches complete-word _generic\nbindkey '\\e*' all-matches\n"
    "zstyle ':completion:all-matches:*' completer _all_matches _complete\n"
    "zstyle ':completion:all-matches:*' insert yes\n",
    "fish": "function fish_prompt; echo 'ready$ '; end\nset fish_history ''\n",
}


class Typist:
    """A shell in a terminal, into which lines are typed."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.folder = folder
        self.shell = shell
        self.record = folder / "record.out"
        tools = folder / "bin"
        tools.mkdir()
        (tools / "record").write_text(RECORD)
        (tools / "record").chmod(0o755)
        self.environ = {
            **os.environ,
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MCSHELL_CONFIG": str(folder / "c.toml"),
            "RECORD": str(self.record),
            "HOME": str(folder),
            "ZDOTDIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "xdg"),
            "XDG_DATA_HOME": str(folder / "xdg"),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
        }
        installed = re.findall(rf"`echo '(.*mcshell completion {shell}.*)' >> ", README)
        assert len(installed) == 1
        start = folder / (".zshrc" if shell == "zsh" else f"start.{shell}")
        start.write_text(RC[shell] + installed[0].replace("\\|", "|") + "\n")

    def run(self, *argv: str) -> str:
        """Run a command that says nothing on standard error."""
        done = subprocess.run(
            argv, env=self.environ, cwd=self.folder, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout

    def start(self) -> Terminal:
        """Open the terminal."""
        argv = [self.shell, *STARTS[self.shell]]
        self.terminal = Terminal(self.folder, argv, self.environ, (200, 50))
        return self.terminal

    def offered(self, typed: str) -> list[str]:
        """All that is offered behind what is typed; a shell of fish's own list says it."""
        if self.shell == "fish":
            listing = f"source start.fish; complete -C {shlex.quote(f'mcshell {typed}')}"
            said = self.run("fish", "--no-config", "-c", listing)
            return [one.partition("\t")[0] for one in said.splitlines()]
        begun = typed.split()
        words = self.words(typed, key="M-*")
        kept = typed.split()[: len(begun) - (not typed.endswith(" "))]
        assert list(words[: len(kept)]) == kept
        return [word for word in words[len(kept) :] if word != begun[-1]]

    def words(self, typed: str, after: str = "", key: str = "Tab") -> tuple[str, ...]:
        """What the words behind `mcshell` are when the key and `after` are typed behind that."""
        self.terminal.type_and_press(
            (f"mcshell {typed}", key), (after, "C-a"), ("record ", "Enter")
        )
        there = wait_until(self.record.exists, 60.0, 0.01)
        assert there, f"{typed}\n{self.terminal.screen()[-2000:]}"
        name, *words = self.record.read_bytes().decode().split("\0")[:-1]
        self.record.unlink()
        assert name == "mcshell"
        return tuple(words)


@pytest.fixture(params=SHELLS)
def typist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Typist]:
    """Each shell with our script, installed as README has it, in a place where somebody knows hostile nodes."""
    make_place(tmp_path)
    typist = Typist(request.param, tmp_path)
    with typist.start() as terminal:
        terminal.wait_for("ready$")
        yield typist
    assert not (tmp_path / "PWNED").exists()


def differences(
    typist: Typist, lines: Sequence[tuple[str, tuple[str, ...]]]
) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The lines that become something else than is expected."""
    found = [(typed, expected, typist.words(typed)) for typed, expected in lines]
    return [one for one in found if one[1] != one[2]]


def test_what_tab_makes_of_a_line(typist: Typist) -> None:
    """Every place of a line is completed from our own candidates, in any quotes, with `:` and `=`."""
    assert len(WORDS) >= 25
    assert differences(typist, WORDS) == []


def test_an_open_quote_stays_the_operators(typist: Typist) -> None:
    """Inside an expression or a script more is to follow: what is offered goes on in its quote."""
    for typed, expected, closed in OPEN:
        quote = "'" if "'" in typed else '"'
        after = "" if typist.shell in closed else quote
        assert typist.words(typed, after) == expected


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_hostile_values_are_one_word(typist: Typist, quote: str) -> None:
    """A fact's value arrives as the node said it, as one word, whatever the shell makes of it."""
    for at, value in enumerate(HOSTILE):
        # fish takes what ends so for a folder, and leaves the quote open for what is in it.
        after = quote if typist.shell == "fish" and value.endswith("/") else ""
        name = f"evil.v{at:02}z"
        assert typist.words(f"find -F {quote}{name}=", after) == ("find", "-F", f"{name}={value}")


def test_all_that_is_offered(typist: Typist) -> None:
    """Lists are complete, hostile names each a word of them, and without those that cannot be typed."""
    for typed, expected in LISTS:
        assert sorted(typist.offered(typed)) == sorted(expected), typed


def test_of_a_large_fleet_only_what_all_begin_with_is_typed(typist: Typist) -> None:
    """Of 2,000 names 200 are offered: Tab adds no letter that others do not have."""
    settings = config.load(typist.folder / "c.toml")
    known = NodeCache(settings.state_dir / "nodes.sqlite", load_realm(settings.pki))
    names = [f"host{number:04}" for number in range(2000)]
    known.learn("mcs", [CachedNode(identity=name, seen=time.time()) for name in names])
    known.close()
    assert typist.words("find -I ho") == ("find", "-I", "host")
