"""The built-in facts: what a Linux machine says of itself in /proc, /sys and a few files.

Every source may be missing (a container, another kernel): its facts are then left out or empty,
never an error. Names are Facter's where it has the fact.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import Any

from mcshell.version import VERSION

__all__ = ["machine", "parse_hosts", "parse_inet6", "parse_key_values"]

# ID of os-release(5) → the name that Facter gives it.
NAMES = {
    "almalinux": "AlmaLinux",
    "alpine": "Alpine",
    "amzn": "Amazon",
    "arch": "Archlinux",
    "centos": "CentOS",
    "debian": "Debian",
    "devuan": "Devuan",
    "fedora": "Fedora",
    "gentoo": "Gentoo",
    "linuxmint": "LinuxMint",
    "ol": "OracleLinux",
    "opensuse-leap": "OpenSuSE",
    "opensuse-tumbleweed": "OpenSuSE",
    "raspbian": "Debian",
    "rhel": "RedHat",
    "rocky": "Rocky",
    "sled": "SLED",
    "sles": "SLES",
    "ubuntu": "Ubuntu",
}
# A word of ID or ID_LIKE → the family that Facter gives it.
FAMILIES = {
    "alpine": "Alpine",
    "arch": "Archlinux",
    "debian": "Debian",
    "fedora": "RedHat",
    "gentoo": "Gentoo",
    "rhel": "RedHat",
    "suse": "Suse",
    "ubuntu": "Debian",
}
# What a hypervisor's maker writes into the DMI tables → the name of its machines.
VENDORS = {
    "amazon ec2": "kvm",
    "bochs": "kvm",
    "google": "gce",
    "innotek": "virtualbox",
    "kvm": "kvm",
    "microsoft corporation": "hyperv",
    "openstack": "openstack",
    "parallels": "parallels",
    "qemu": "kvm",
    "rhev": "rhev",
    "virtualbox": "virtualbox",
    "vmware": "vmware",
    "xen": "xenhvm",
}


def machine() -> dict[str, Any]:
    """Return all built-in facts, new ones at each call. Sizes are bytes, times seconds."""
    kernel = os.uname()
    host, domain = _names(kernel.nodename)
    fqdn = f"{host}.{domain}" if domain else host
    virtual = _virtual()
    return {
        "os": _system(),
        "kernel": kernel.sysname,
        "kernelrelease": kernel.release,
        "kernelversion": kernel.release.partition("-")[0],
        "architecture": kernel.machine,
        "cpu": _processors(),
        "memory": _memory(),
        "network": {"hostname": host, "domain": domain, "fqdn": fqdn, **_network()},
        "hostname": host,
        "domain": domain,
        "fqdn": fqdn,
        **_uptime(),
        "virtual": virtual,
        "is_virtual": virtual != "physical",
        "timezone": _timezone(),
        "init": _init(),
        "python": platform.python_version(),
        "mcshell": {"version": VERSION},
    }


def _text(path: str) -> str:
    """Return a small file's text, or nothing."""
    try:
        return Path(path).read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def parse_key_values(text: str, separator: str = ":") -> dict[str, str]:
    """Read lines of "key: value", as in /proc/meminfo; the first of a key counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(separator)
        found.setdefault(key.strip(), value.strip())
    return found


def _system() -> dict[str, Any]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return {"name": sys.platform, "family": sys.platform}
    ident = release.get("ID", "linux")
    full = release.get("VERSION_ID", "")
    if ident == "debian":  # os-release knows the major release only
        point = _text("/etc/debian_version")
        full = point if point[:1].isdigit() else full
    family = (FAMILIES.get(w) for w in [ident, *release.get("ID_LIKE", "").split()])
    system = {
        "name": NAMES.get(ident, release.get("NAME", ident)),
        "family": next(filter(None, family), NAMES.get(ident, ident)),
        "release": {"full": full, "major": full.partition(".")[0]},
        "codename": release.get("VERSION_CODENAME", ""),
    }
    if ident == "ubuntu":  # Facter: an Ubuntu's major release is 24.04
        system["release"] = {"full": full, "major": full}
    return system


def _processors() -> dict[str, Any]:
    known = parse_key_values(_text("/proc/cpuinfo"))
    model = known.get("model name") or known.get("Model") or known.get("cpu model") or ""
    return {"count": os.cpu_count() or 1, "model": model}


def _memory() -> dict[str, Any]:
    known = parse_key_values(_text("/proc/meminfo"))
    names = {
        "total_bytes": "MemTotal",
        "available_bytes": "MemAvailable",
        "swap_total_bytes": "SwapTotal",
        "swap_free_bytes": "SwapFree",
    }
    return {
        fact: int(known[line].split()[0]) * 1024
        for fact, line in names.items()
        if known.get(line, "").endswith("kB")
    }


def _uptime() -> dict[str, int]:
    words = _text("/proc/uptime").split()
    if not words:
        return {}
    seconds = float(words[0])
    return {"uptime_seconds": int(seconds), "boot_time": int(time.time() - seconds)}


def parse_hosts(text: str, name: str) -> str:
    """Return the first full name that a hosts(5) file gives to a short name, or nothing."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if name in words[1:]:
            full = [word for word in words[1:] if word.startswith(f"{name}.")]
            if full:
                return full[0]
    return ""


def _names(node: str) -> tuple[str, str]:
    """Host name and domain, without asking a name server: that may take for ever."""
    host, _, domain = node.lower().partition(".")
    if not domain:
        domain = parse_hosts(_text("/etc/hosts").lower(), host).partition(".")[2]
    if not domain:
        for line in _text("/etc/resolv.conf").splitlines():
            word, _, rest = line.partition(" ")
            if word in ("domain", "search") and rest.split():
                domain = rest.split()[0].strip(".").lower()
                break
    return host, domain


def parse_inet6(text: str) -> dict[str, str]:
    """Read /proc/net/if_inet6: the address of each interface, a global one before a local one."""
    found: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 6:  # noqa: PLR2004 - address, index, prefix, scope, flags, name
            continue
        scope, name = int(words[3], 16), words[5]
        if name not in found or scope < found[name][0]:
            found[name] = (scope, socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
    return {name: address for name, (_, address) in found.items()}


def _network() -> dict[str, Any]:
    import fcntl  # noqa: PLC0415 - not on every platform

    inet6 = parse_inet6(_text("/proc/net/if_inet6"))
    interfaces: dict[str, dict[str, str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            facts = {"mac": _text(f"/sys/class/net/{name}/address"), "ip6": inet6.get(name, "")}
            with contextlib.suppress(OSError):  # it has no IPv4 address
                # netdevice(7): SIOCGIFADDR gives a sockaddr_in at offset 16, the address at 20
                answer = fcntl.ioctl(probe, 0x8915, name.encode().ljust(40, b"\0"))
                facts["ip"] = socket.inet_ntoa(answer[20:24])
            interfaces[name] = {key: value for key, value in facts.items() if value}
        address = _outward(probe) or next(
            (i["ip"] for i in interfaces.values() if not i.get("ip", "127.").startswith("127.")),
            "",
        )
    return {"ip": address, "interfaces": interfaces}


def _outward(probe: socket.socket) -> str:
    """The address that packets to elsewhere bear; connecting UDP sends none, it only routes."""
    try:
        probe.connect(("192.0.2.1", 9))
    except OSError:
        return ""
    return str(probe.getsockname()[0])


def _virtual() -> str:
    """Facter's word: physical, or the container or hypervisor; "vm" for one we cannot name."""
    for path, word in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(path):  # noqa: PTH110 - a plain test of a constant
            return word
    container = _text("/run/systemd/container") or next(
        (
            word.partition("=")[2]
            for word in _text("/proc/1/environ").split("\0")
            if word.startswith("container=")
        ),
        "",
    )
    if container:
        return container
    dmi = " ".join(
        _text(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name", "bios_vendor")
    ).lower()
    for maker, word in VENDORS.items():
        if maker in dmi:
            return word
    if "hypervisor" in parse_key_values(_text("/proc/cpuinfo")).get("flags", "").split():
        return "vm"
    return "physical"


def _timezone() -> str:
    """The IANA name of the zone, such as Europe/Vienna."""
    if zone := os.environ.get("TZ", "").lstrip(":"):
        return zone
    if zone := _text("/etc/timezone"):
        return zone
    _, marker, zone = os.path.realpath("/etc/localtime").partition("/zoneinfo/")
    return zone if marker else time.tzname[0]


def _init() -> str:
    """What runs the machine: systemd, or the name of process 1."""
    if os.path.isdir("/run/systemd/system"):  # noqa: PTH112 - a plain test of a constant
        return "systemd"
    return _text("/proc/1/comm")
