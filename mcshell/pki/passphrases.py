"""Asks for what no file holds: passphrases of keys, PINs of tokens. Each is asked for once a process."""

from __future__ import annotations

import contextlib
import getpass
import os
import termios
from typing import Final

from mcshell import interrupts
from mcshell.errors import ConfigError

__all__ = ["ask_secret"]

_TERMINAL: Final = "/dev/tty"


def ask_secret(what: str) -> str:
    """Ask whoever sits there, without an echo: at a terminal, or in a notebook.

    Raises:
        ConfigError: nobody sits there, or he has said nothing.
    """
    asked: str | None = None
    # In a notebook the kernel has put its own function there.
    if getpass.getpass.__module__ != getpass.__name__ or _is_in_foreground():
        refused = contextlib.suppress(EOFError, NotImplementedError)
        with refused, interrupts.pause(), interrupts.resumed(lambda: _ask_unseen(f"{what}: ")):
            asked = getpass.getpass(f"{what}: ")
    if asked is None:
        raise ConfigError(f"{what} is wanted, and there is no terminal to ask at")
    if not asked:
        raise ConfigError(f"{what} is wanted")
    return asked


def _ask_unseen(prompt: str) -> None:
    """Ask again, without an echo: after Ctrl-Z and `fg` the terminal is as the shell has it."""
    with contextlib.suppress(OSError, termios.error):  # it has been taken away meanwhile
        terminal = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            modes = termios.tcgetattr(terminal)
            modes[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
            os.write(terminal, prompt.encode())
        finally:
            os.close(terminal)


def _is_in_foreground() -> bool:
    """Whether we have a terminal, and may read from it without being stopped."""
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
