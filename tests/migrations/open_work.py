"""Leaves work open as an operator of commit 67a4456 did; that commit's code runs it.

    open_work.py CONFIG FOLDER

Asks web1 and web2, prints a line of JSON with what it asked, and goes on when a line comes in. After
the second the process is killed with all that it has kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mcshell import config
from mcshell.client.client import Client

WAIT = 60.0


def main() -> None:
    """Ask while the broker is up, then while it is not, and wait to be killed."""
    path, folder = sys.argv[1:]
    client = Client(config.load(Path(path)), session="before")

    def ask(name: str, node: str, sleep: float = 0.0, ttl: str = "1h") -> str:
        inputs = {"file": f"{folder}/{name}", "sleep": sleep}
        asked = client.rpc(
            "mark", "once", via="queue", ttl=ttl, identities=[node], wait=False, inputs=inputs
        )
        return asked.requestid

    def job(name: str, **when: str) -> str:
        inputs = {"file": f"{folder}/{name}"}
        asked = client.jobs.submit("mark", "once", identities=["web1"], inputs=inputs, **when)
        accepted = name == "unsent job" or asked.wait_accepted(WAIT)
        assert accepted, asked.entries()
        return asked.requestid

    told = {
        "running": ask("running", "web1", sleep=8.0),
        "spooled": ask("spooled", "web1"),
        "at": job("at", at="+45s"),
        "every": job("every", every="15s", until="+10m"),
        "in the broker": ask("in the broker", "web2", ttl="2m"),
    }
    print(json.dumps(told), flush=True)
    sys.stdin.readline()
    told = {"unsent": ask("unsent", "web1"), "unsent job": job("unsent job", at="+50s")}
    print(json.dumps(told), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
