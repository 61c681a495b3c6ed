"""Asks for what no file holds: passphrases of keys, PINs of tokens. Each is asked for once a process."""

from __future__ import annotations

import contextlib
import getpass
import os
from typing import Final

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
        with contextlib.suppress(EOFError, NotImplementedError):
            asked = getpass.getpass(f"{what}: ")
    if asked is None:
        raise ConfigError(f"{what} is wanted, and there is no terminal to ask at")
    if not asked:
        raise ConfigError(f"{what} is wanted")
    return asked


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
