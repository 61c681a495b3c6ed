"""A real terminal for tests: one tmux server with one window, typed into and read back."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Self

import pytest

from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Terminal"]


class Terminal:
    """A program in a terminal of its own; a context manager that ends both.

    Args:
        folder: for the server's socket; where the program runs.
        argv: the program.
        environ: its environment.
        size: columns and lines.
    """

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        environ: Mapping[str, str],
        size: tuple[int, int] = (110, 50),
    ) -> None:
        self._socket = folder / "tmux"
        self._environ = {**environ, "LESS": "", "PAGER": "", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        width, height = map(str, size)
        options = ["-x", width, "-y", height, "-c", str(folder)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *options, *argv)
        self._tmux("set-option", "-g", "history-limit", "5000")
        self._tmux("set-option", "-g", "remain-on-exit", "on")
        # Else a prompt that is drawn again at the top of the screen leaves a copy above it.
        self._tmux("set-option", "-g", "scroll-on-clear", "off")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env=self._environ,
        )
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def type(self, text: str) -> None:
        """Type text, letter by letter."""
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Tab, C-c, F4."""
        self._tmux("send-keys", *keys)

    def stop_and_resume(self) -> None:
        """Have the shell stop the program by Ctrl-Z, and bring it back."""
        self.press("C-z")
        self.wait_for("Stopped", 60)
        self.type("fg")
        self.press("Enter")

    def type_and_press(self, *turns: tuple[str, str]) -> None:
        """Type a text and press a key, for each pair of them, in one go; no text ends with `;`."""
        words: list[str] = []
        for text, key in turns:
            words += ["send-keys", "-l", "--", text, ";"] if text else []
            words += ["send-keys", key, ";"]
        self._tmux(*words[:-1])

    def resize(self, width: int) -> None:
        """Pull at the window's edge until it has so many columns."""
        self._tmux("resize-window", "-x", str(width))

    def screen(self) -> str:
        """What the screen shows, with what has scrolled away above it; no trailing blanks."""
        text = self._tmux("capture-pane", "-p", "-S", "-")
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()

    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def raw(self) -> str:
        """The screen with its escape sequences."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait(self, condition: Callable[[str], bool], seconds: float = 30.0) -> str:
        """Wait until the screen looks so, and return it; fails with what it shows instead."""
        if not wait_until(lambda: condition(self.screen()), seconds):
            pytest.fail(f"the terminal shows:\n{self.screen()}")
        return self.screen()

    def wait_for(self, text: str, seconds: float = 30.0) -> str:
        """Wait until the screen holds a text."""
        return self.wait(lambda screen: text in screen, seconds)
