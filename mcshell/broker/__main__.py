"""`python -m mcshell.broker`: the embedded broker as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mcshell.broker.server import run
from mcshell.errors import ConfigError


def main() -> int:
    """Read the command line and serve; 64 when it cannot be used."""
    parser = argparse.ArgumentParser(prog="mcshell broker", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:61613", metavar="HOST:PORT")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--user", default="", metavar="NAME")
    for option in ("--passcode-file", "--tls-cert", "--tls-key", "--tls-ca"):
        parser.add_argument(option, type=Path, metavar="FILE")
    given = vars(parser.parse_args())
    try:
        passcode_file = given.pop("passcode_file")
        passcode = passcode_file.read_text().strip() if passcode_file else ""
        return run(given.pop("listen"), given.pop("data"), passcode=passcode, **given)
    except (ConfigError, OSError) as error:
        print(f"mcshell broker: {error}", file=sys.stderr)
        return ConfigError.exit_code


if __name__ == "__main__":
    sys.exit(main())
