"""What emulated machines may have: packages by operating system, services by role.

Of several versions of a package the last one is what the repositories have.
"""

from __future__ import annotations

from typing import Final

from mcshell.values import dataclass

__all__ = ["PACKAGES", "SERVICES", "PackageEntry", "ServiceEntry"]


@dataclass(frozen=True, slots=True)
class PackageEntry:
    """A package: its versions by operating system, oldest first, and which roles have it.

    `roles` is `*` for all, and nothing where only the repositories have it.
    """

    name: str
    versions: dict[str, tuple[str, ...]]
    roles: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """A service: what it runs, as whom, with how many children, and how large each is (MiB)."""

    name: str
    roles: str
    user: str
    command: str
    children: int
    size: int


_SYSTEMS: Final = ("Debian 12", "Ubuntu 24", "Rocky 9", "Debian 11")
# name | Debian 12 | Ubuntu 24.04 | Rocky 9 | Debian 11 | roles | summary
_PACKAGES: Final = """\
adduser|3.134|3.137ubuntu1||3.118|*|add and remove users and groups
bash|5.2.15-2+b7|5.2.21-2ubuntu4|5.1.8-9.el9|5.1-2+deb11u1|*|GNU Bourne Again SHell
ca-certificates|20230311|20240203|2024.2.69_v8.0.303-91.4.el9_4|20210119|*|common CA certificates
chrony|4.3-2+deb12u1|4.5-1ubuntu4.1|4.6.1-1.el9|4.0-8+deb11u2|*|versatile implementation of the Network Time Protocol
coreutils|9.1-1|9.4-3ubuntu6|8.32-36.el9|8.32-4+b1|*|GNU core utilities
cowsay|3.03+dfsg2-8|3.03+dfsg2-8|3.7.0-10.el9|3.03+dfsg2-8||configurable talking cow
cron|3.0pl1-162|3.0pl1-184ubuntu2|1.5.7-11.el9|3.0pl1-137|*|process scheduling daemon
curl|7.88.1-10+deb12u7 7.88.1-10+deb12u8|8.5.0-2ubuntu10.4 8.5.0-2ubuntu10.5|7.76.1-31.el9|7.74.0-1.3+deb11u13|*|transfer a URL
gzip|1.12-1|1.12-1ubuntu3|1.12-1.el9|1.10-4+deb11u1|*|GNU compression utilities
htop|3.2.2-2|3.3.0-4build1|3.3.0-1.el9|3.0.5-7||interactive processes viewer
nginx|1.22.1-9|1.24.0-2ubuntu7.1|2:1.20.1-20.el9|1.18.0-6.1+deb11u3|web|small, powerful, scalable web server
openssh-server|1:9.2p1-2+deb12u2 1:9.2p1-2+deb12u3|1:9.6p1-3ubuntu13.5|8.7p1-43.el9|1:8.4p1-5+deb11u3|*|secure shell (SSH) server
openssl|3.0.11-1~deb12u2 3.0.14-1~deb12u2 3.0.15-1~deb12u1|3.0.13-0ubuntu3.4|1:3.2.2-6.el9_5|1.1.1w-0+deb11u1|*|Secure Sockets Layer toolkit
postgresql|15+248|16+257build1.1|13.18-1.el9_5|13+225+deb11u1|db|object-relational SQL database
prometheus|2.42.0+ds-5+b5|2.45.3+ds-2|2.53.3-1.el9|2.24.1+ds-1+b6|monitor|monitoring system and time series database
python3|3.11.2-1+b1|3.12.3-0ubuntu2|3.9.19-8.el9_5.1|3.9.2-3|*|interactive high-level object-oriented language
redis-server|5:7.0.15-1~deb12u1|5:7.0.15-1build2|6.2.7-1.el9|5:6.0.16-1+deb11u3|cache|persistent key-value database
rsyslog|8.2302.0-1|8.2312.0-3ubuntu9|8.2310.0-4.el9|8.2102.0-2+deb11u1|*|reliable system and kernel logging daemon
sudo|1.9.13p3-1+deb12u1|1.9.15p5-3ubuntu5|1.9.5p2-10.el9_3|1.9.5p2-3+deb11u1|*|provide limited super user privileges
systemd|252.31-1~deb12u1|255.4-1ubuntu8.4|252-46.el9_5.2|247.3-7+deb11u6|*|system and service manager
tmux|3.3a-3|3.4-1build1|3.2a-5.el9|3.1c-1+deb11u1||terminal multiplexer
tzdata|2024a-0+deb12u1 2024b-0+deb12u1|2024a-3ubuntu1 2024b-0ubuntu0.24.04|2024a-1.el9 2024b-2.el9|2024b-0+deb11u1|*|time zone and daylight-saving time data
ufw|0.36.2-1|0.36.2-6||0.36-7.1|*|program for managing a Netfilter firewall
vim-tiny|2:9.0.1378-2|2:9.1.0016-1ubuntu7||2:8.2.2434-3+deb11u1|*|Vi IMproved, compact version
"""
# name | roles | user | command | children | MiB of each
_SERVICES: Final = """\
ssh|*|root|/usr/sbin/sshd -D|0|9
chrony|*|_chrony|/usr/sbin/chronyd -F 1|0|4
cron|*|root|/usr/sbin/cron -f|0|3
rsyslog|*|syslog|/usr/sbin/rsyslogd -n|0|6
nginx|web|www-data|/usr/sbin/nginx -g daemon off;|4|12
shop|web|shop|/usr/bin/shopd --listen 8080|0|310
postgresql|db|postgres|/usr/bin/postgres -D /var/lib/pgsql/data|6|140
redis-server|cache|redis|/usr/bin/redis-server 0.0.0.0:6379|0|820
worker|worker|worker|/usr/bin/taskd --queue mail|3|95
prometheus|monitor|prometheus|/usr/bin/prometheus --web|0|640
"""


def _packages() -> dict[str, PackageEntry]:
    found = {}
    for line in _PACKAGES.splitlines():
        name, *columns, roles, summary = line.split("|")
        versions = {
            system: tuple(column.split()) for system, column in zip(_SYSTEMS, columns, strict=True)
        }
        found[name] = PackageEntry(name, versions, roles, summary)
    return found


def _services() -> dict[str, ServiceEntry]:
    found = {}
    for line in _SERVICES.splitlines():
        name, roles, user, command, children, size = line.split("|")
        found[name] = ServiceEntry(
            name=name,
            roles=roles,
            user=user,
            command=command,
            children=int(children),
            size=int(size),
        )
    return found


PACKAGES: Final = _packages()
SERVICES: Final = _services()
