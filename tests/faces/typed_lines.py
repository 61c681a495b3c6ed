"""Types lines (JSON on standard input) at one prompt; `answers.json` gets line, exit code, said."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen


def main() -> None:
    """Type them."""
    answers = []
    lines = json.loads(sys.stdin.read())
    context = Context("prompt")
    for line in lines:
        with tempfile.TemporaryFile() as said:
            for stream in (1, 2):  # a pipe's other end writes there, too
                os.dup2(said.fileno(), stream)
            code = run_line(line, context, Screen())
            sys.stdout.flush()
            said.seek(0)
            answers.append((line, code, said.read().decode()))
    context.close()
    Path("answers.json").write_text(json.dumps(answers), encoding="utf-8")


main()
