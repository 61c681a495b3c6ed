"""`mcshell` and `python -m mcshell`: the command line, loaded."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if __name__ == "__main__" and not sys.flags.safe_path and not __file__.startswith(sys.path[0]):
    # `python -m` looks for modules in the current folder first: not for those that come from now on.
    del sys.path[0]

__all__ = ["main"]

_INTERRUPTED, _MACHINE = 130, 74  # `commands.result` says so, too, and is not loaded yet


class _Hangup:
    """Takes SIGHUP for a service that reads its settings again at one, until it does (`heard`)."""

    heard = False

    def __call__(self, *_: object) -> None:
        self.heard = True


def main() -> int:
    """Run the command line; Ctrl-C while its modules load is one line, as it is later."""
    try:
        if sys.argv[1:3] == ["completion", "--answer"]:  # a key of a shell's waits for it
            gc.disable()
            from mcshell.commands.completion.answer import main as answer  # noqa: PLC0415 - as below

            answer(sys.argv[3:])
        if sys.argv[1:2] in (["node"], ["supervisor"]) and not "".join(sys.argv[2:3])[:1].isalpha():
            import signal  # noqa: PLC0415 - the current folder may have one, and is passed over now

            signal.signal(signal.SIGHUP, _Hangup())
        gc.disable()  # what loads is no garbage, and looking for some takes a twentieth of the time
        try:
            run = _chosen()
        finally:
            gc.enable()
        return run()
    except KeyboardInterrupt:
        sys.stderr.write("mcshell: interrupted\n")
        return _INTERRUPTED


def _chosen() -> Callable[[], int]:
    """What runs this line; its modules load here, as Ctrl-C may come meanwhile."""
    if sys.argv[1:2] == ["node"]:  # each machine has one, for ever
        from mcshell.commands.service_line import read_node_line  # noqa: PLC0415 - as above

        if (line := read_node_line(sys.argv[2:])) is not None:
            return partial(_serve, line.load(), line.path)
    from mcshell.shell.cli import main as run  # noqa: PLC0415 - as above

    return run


def _serve(service: Callable[[], int], path: Path | None) -> int:
    """Run a service; what goes wrong is said as the command line says it."""
    from mcshell.shell.streams import StandardStreams  # noqa: PLC0415 - the command line has its own

    StandardStreams()
    try:
        return service()
    except BaseException as error:  # noqa: BLE001 - it is raised again there
        try:
            from mcshell.shell.cli import ended_by  # noqa: PLC0415 - only when something broke
        except OSError as lack:  # nothing more can be opened, by us too
            sys.stderr.write(f"mcshell: {error or lack}\n")
            return _MACHINE
        return ended_by(error, path)


if __name__ == "__main__":
    sys.exit(main())
