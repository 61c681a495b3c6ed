"""Ten machines that differ: names, facts of every type, nested and absent, and classes."""

from __future__ import annotations

from typing import Any

from tests.peers.fleet import Node

__all__ = ["TEN"]


def _facts(role: str, site: str, row: int, **more: Any) -> dict[str, Any]:
    return {"role": role, "site": site, "rack": {"row": row, "name": f"{site}-{row}"}, **more}


TEN = {
    "web01": Node(
        _facts("web", "ams", 1, slots=2, version="1.9", tls=True, disks=["sda"]),
        ("base", "role::web"),
    ),
    "web02": Node(
        _facts("web", "ams", 2, slots=4, version="1.10", tls=True, disks=["sda", "sdb"]),
        ("base", "role::web", "ntp"),
    ),
    "web03": Node(
        _facts("web", "lon", 3, slots=8, version="2", tls=False, disks=["nvme0"]),
        ("base", "role::web"),
    ),
    "web04": Node(_facts("web", "lon", 3, slots=16, version="2.1"), ("base", "role::web")),
    "web05": Node(_facts("web", "nyc", 1, slots=10), ("base", "role::web")),
    "db01": Node(
        _facts("db", "ams", 4, slots=32, tls=True, disks=["sda", "sdc"]), ("base", "role::db")
    ),
    "db02": Node(_facts("db", "lon", 5, slots=32, tls=False), ("base", "role::db", "ntp")),
    "cache01": Node(_facts("cache", "nyc", 2, slots=1, city="Zürich"), ("role::cache",)),
    "mon01.example.com": Node(_facts("monitor", "ams", 9, slots=2), ("role::monitor", "ntp")),
    "bare": Node(),
}
