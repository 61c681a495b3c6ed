"""Pieces of a Debian machine in a folder: a repository of tiny real packages, roots, an init script."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SCRIPT", "Repository"]

#: An LSB init script of a service that sleeps; to be formatted with its `name` and a `folder`.
SCRIPT = """#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: tests
### END INIT INFO
PIDFILE={folder}/{name}.pid
alive() {{ [ -s $PIDFILE ] && grep -qs '^State:[[:space:]]*[RSDTtI]' "/proc/$(cat $PIDFILE)/status"; }}
case "$1" in
  start) alive && exit 0
         sleep 600 </dev/null >/dev/null 2>&1 & echo $! > $PIDFILE ;;
  stop)  alive || exit 0
         kill "$(cat $PIDFILE)"; while alive; do sleep 0.05; done; rm -f $PIDFILE ;;
  restart) "$0" stop; exec "$0" start ;;
  status) if alive; then echo running; exit 0; fi
          [ -s $PIDFILE ] && exit 1
          exit 3 ;;
  *) echo "Usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
"""

_FOLDERS = (
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "var/lib/dpkg/info",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/triggers",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/log/apt",
    "usr/bin",
)


class Repository:
    """A flat apt repository and an empty root that installs from it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.root = top / "root"
        self.debs = top / "repo"
        self.debs.mkdir()
        for folder in _FOLDERS:
            (self.root / folder).mkdir(parents=True)
        for name in ("status", "available"):
            (self.root / "var/lib/dpkg" / name).touch()
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] copy:{self.debs} ./\n")
        (self.root / "etc/apt/apt.conf.d/test").write_text('APT::Sandbox::User "root";\n')

    def add(self, name: str, version: str, **fields: str) -> None:
        """Build a package and list it in the index; the root sees it after a refresh."""
        tree = self.top / f"{name}_{version.replace(':', '%')}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / f"etc/{name}").mkdir(parents=True)
        (tree / f"etc/{name}/conf").write_text(f"{version}\n")
        (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}/conf\n")
        control = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "tests <tests@example.com>",
            **fields,
            "Description": f"the tiny {name}",
        }
        text = "".join(f"{key}: {value}\n" for key, value in control.items())
        (tree / "DEBIAN/control").write_text(text)
        deb = self.debs / f"{tree.name}.deb"
        build = ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(deb)]
        subprocess.run(build, check=True, capture_output=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        with (self.debs / "Packages").open("a") as index:
            size = deb.stat().st_size
            index.write(f"{text}Filename: ./{deb.name}\nSize: {size}\nSHA256: {digest}\n\n")
