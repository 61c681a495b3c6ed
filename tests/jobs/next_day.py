"""Another process takes up the session of jobs, the day after, and prints what it has.

    python next_day.py CONFIG SESSION SECONDS JOB...

For each job (by name): the reply table, once every target has its last word or the time is over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mcshell import config
from mcshell.client.client import Client


def main() -> None:
    """Print one JSON document: name of the job to its rows."""
    path, session, seconds, *names = sys.argv[1:]
    with Client(config.load(Path(path)), session=session) as client:
        found = {}
        for name in names:
            replies = client.jobs.replies(name).wait(float(seconds))
            frame = replies.frame()
            found[name] = json.loads(frame.to_json(orient="records"))
        print(json.dumps(found))


if __name__ == "__main__":
    main()
