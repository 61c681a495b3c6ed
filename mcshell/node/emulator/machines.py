"""What emulated machines say of themselves: made up from a seed, the same every time.

A believable small company: a few sites, operating systems and roles, with the odd machine out, so
that filters, distributions and outliers have something to find. Marked `emulated=true`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

__all__ = ["Machine", "machine"]

_SYSTEMS = (
    (("Debian", "debian", "12", "bookworm", "6.1.0-28-amd64"), 50),
    (("Ubuntu", "debian", "24.04", "noble", "6.8.0-49-generic"), 25),
    (("Rocky", "rhel", "9.5", "blue-onyx", "5.14.0-503.el9.x86_64"), 20),
    (("Debian", "debian", "11", "bullseye", "5.10.0-33-amd64"), 5),
)
_ROLES = (("web", 40), ("db", 15), ("worker", 30), ("cache", 10), ("monitor", 5))
_SITES = (("ams", 40), ("lon", 35), ("nyc", 25))
_CPUS = (2, 4, 8, 16)
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """One emulated machine: its facts and classes, and the seed of what else it makes up."""

    identity: str
    seed: str
    facts: dict[str, Any]
    classes: tuple[str, ...]


def machine(identity: str, number: int, seed: int) -> Machine:
    """Make up a machine; the same arguments always give the same one."""
    own_seed = f"{seed}:{identity}"
    rng = random.Random(own_seed)  # noqa: S311 - made-up facts, not secrets
    system, role, site = _pick(rng, _SYSTEMS), _pick(rng, _ROLES), _pick(rng, _SITES)
    name, family, release, codename, kernel = system
    cpus = rng.choice(_CPUS)
    memory = cpus * rng.choice((2, 4)) * _GIB
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    facts = {
        "emulated": True,
        "hostname": identity.split(".", maxsplit=1)[0],
        "fqdn": identity,
        "os": {
            "name": name,
            "family": family,
            "release": {"full": release, "major": release.split(".")[0]},
            "codename": codename,
        },
        "kernel": "Linux",
        "kernelrelease": kernel,
        "architecture": "x86_64",
        "cpu": {"count": cpus, "model": "emulated"},
        "memory": {"total_bytes": memory, "available_bytes": int(memory * rng.uniform(0.1, 0.8))},
        "network": {"ip": address, "interfaces": {"eth0": {"ip": address}}},
        "uptime_seconds": rng.randrange(3600, 90 * 86400),
        "virtual": "kvm",
        "timezone": "UTC",
        "role": role,
        "site": site,
        "rack": f"{site}-{rng.randrange(1, 9)}",
    }
    classes = ("base", f"role::{role}", f"site::{site}")
    return Machine(identity, own_seed, facts, classes)


def _pick(rng: random.Random, choices: Any) -> Any:
    values, weights = zip(*choices, strict=True)
    return rng.choices(values, weights)[0]
