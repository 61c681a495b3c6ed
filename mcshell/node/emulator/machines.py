"""What emulated machines say of themselves: made up from a seed, the same every time.

A believable small company: a few sites, operating systems and roles, with the odd machine out, so
that filters, distributions and outliers have something to find. Marked `emulated=true`. By role
(`named_by_role`) it is the demo's: each role has a system of its own, and a few machines a trouble.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Machine", "Role", "machine", "named_by_role", "numbered"]

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
_DAY: Final = 86400
_MIXED: Final = (
    *("web", "db", "web", "worker", "web", "cache", "web", "worker", "web", "monitor"),
    *("web", "worker", "db", "web", "cache", "worker", "web", "worker", "cache", "web"),
    *("db", "worker", "web", "cache", "monitor"),
)
"""Any few of them are a fleet, and all 25 a company."""
_SYSTEM_OF: Final = {"web": 0, "cache": 0, "worker": 1, "db": 2, "monitor": 3}
_LEAKING: Final = ("web04", "web09")
_TROUBLES: Final = {
    "web02": "old",  # has missed every update of openssl
    "db01": "full",  # its disk is full
    "worker01": "slow",  # its disk is slow
    **dict.fromkeys(_LEAKING, "leak"),  # something takes all their memory
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a machine is for, and where; of the demo's fleet also what is wrong with it."""

    name: str
    site: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One emulated machine: its facts and classes, and the seed of what else it makes up."""

    identity: str
    seed: str
    facts: dict[str, Any]
    classes: tuple[str, ...]
    trouble: str = ""


def numbered(prefix: str, count: int, seed: int) -> Iterator[Machine]:
    """Make up so many machines, PREFIX0001 and on."""
    width = max(4, len(str(count)))
    for number in range(1, count + 1):
        yield machine(f"{prefix}{number:0{width}d}", number, seed)


def named_by_role(count: int, seed: int) -> Iterator[Machine]:
    """Make up so many machines, named by what they are for: web01, db01, web02, …"""
    so_far: Counter[str] = Counter()
    width = max(2, len(str(count // 2)))
    for number in range(1, count + 1):
        name = _MIXED[(number - 1) % len(_MIXED)]
        so_far[name] += 1
        identity = f"{name}{so_far[name]:0{width}d}"
        site = ("ams", "lon", "ams", "nyc", "lon")[so_far[name] % 5]
        yield machine(identity, number, seed, Role(name, site, _TROUBLES.get(identity, "")))


def machine(identity: str, number: int, seed: int, given: Role | None = None) -> Machine:
    """Make up a machine; the same arguments always give the same one."""
    own_seed = f"{seed}:{identity}"
    rng = random.Random(own_seed)  # noqa: S311 - made-up facts, not secrets
    system, role, site = _pick(rng, _SYSTEMS), _pick(rng, _ROLES), _pick(rng, _SITES)
    cpus = rng.choice(_CPUS)
    memory = cpus * rng.choice((2, 4)) * _GIB
    free, uptime = rng.uniform(0.1, 0.8), rng.randrange(3600, 90 * _DAY)
    rack = rng.randrange(1, 9)
    trouble = ""
    if given is not None:
        role, site, trouble = given.name, given.site, given.trouble
        system = _SYSTEMS[_SYSTEM_OF[role]][0]
        if role == "web":
            cpus, memory = 8, 16 * _GIB
            free, uptime = rng.uniform(0.35, 0.8), rng.randrange(47 * _DAY, 90 * _DAY)
            cpus, memory = (16, 32 * _GIB) if identity.endswith("6") else (cpus, memory)
        if trouble == "leak":
            cpus, memory, free = 16, 32 * _GIB, rng.uniform(0.07, 0.12)
            uptime = 25 * _DAY + rng.randrange(_DAY // 2)
    name, family, release, codename, kernel = system
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
        "memory": {"total_bytes": memory, "available_bytes": int(memory * free)},
        "network": {"ip": address, "interfaces": {"eth0": {"ip": address}}},
        "uptime_seconds": uptime,
        "virtual": "kvm",
        "timezone": "UTC",
        "role": role,
        "site": site,
        "rack": f"{site}-{rack}",
    }
    classes = ("base", f"role::{role}", f"site::{site}")
    return Machine(identity, own_seed, facts, classes, trouble)


def _pick(rng: random.Random, choices: Any) -> Any:
    values, weights = zip(*choices, strict=True)
    return rng.choices(values, weights)[0]
