"""`python -m mcshell.broker`: the embedded broker as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mcshell.broker.service import run
from mcshell.config import BrokerSettings
from mcshell.errors import ConfigError, MCShellError

parser = argparse.ArgumentParser(prog="mcshell broker", description=__doc__)
parser.add_argument("--listen", default="127.0.0.1:61613", metavar="HOST:PORT")
parser.add_argument("--tls-listen", default="", metavar="HOST:PORT")
parser.add_argument("--data", type=Path, required=True, metavar="DIR")
parser.add_argument("--user", default="", metavar="NAME")
for option in ("--passcode-file", "--tls-cert", "--tls-key", "--tls-ca"):
    parser.add_argument(option, type=Path, metavar="FILE")
given = vars(parser.parse_args())
try:
    file = given.pop("passcode_file")
    sys.exit(run(passcode=BrokerSettings(passcode_file=file).passcode(), **given))
except (MCShellError, OSError) as error:
    sys.stderr.write(f"mcshell broker: {error}\n")
    sys.exit(error.exit_code if isinstance(error, MCShellError) else ConfigError.exit_code)
