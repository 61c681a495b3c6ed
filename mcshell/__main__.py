"""`mcshell` and `python -m mcshell`: the command line, loaded."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__" and not sys.flags.safe_path and not __file__.startswith(sys.path[0]):
    # `python -m` looks for modules in the current folder first: not for those that come from now on.
    del sys.path[0]

__all__ = ["main"]

_INTERRUPTED = 130  # `commands.result` says so, too, and is not loaded yet


def main() -> int:
    """Run the command line; Ctrl-C while its modules load is one line, as it is later."""
    try:
        if sys.argv[1:3] == ["completion", "--answer"]:  # a key of a shell's waits for it
            gc.disable()
            from mcshell.commands.completion.answer import main as answer  # noqa: PLC0415 - as below

            answer(sys.argv[3:])
        gc.disable()  # what loads is no garbage, and looking for some takes a twentieth of the time
        try:
            from mcshell.shell.cli import main as run  # noqa: PLC0415 - Ctrl-C may come meanwhile
        finally:
            gc.enable()
        return run()
    except KeyboardInterrupt:
        sys.stderr.write("mcshell: interrupted\n")
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
