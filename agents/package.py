"""Software packages: dpkg and apt on Debian and its kin, rpm with dnf or yum on Red Hat's.

No shell, no questions: configuration files that were changed by hand are kept.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcshell.node.agent import (
    Agent,
    AgentError,
    Call,
    NodeView,
    ProgramResult,
    Unavailable,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:@_-]*\Z")
TAIL = 4096
GRACE = 30  # seconds to come to a clean end: half a package is worse than a late answer
LISTING = 16 * 1024 * 1024
LOCKED = re.compile(
    r"could not get lock|unable to (?:acquire|lock)|is locked by another"  # apt, dpkg
    r"|already locked by|failed to obtain the transaction lock"  # dnf 4, dnf 5
    r"|holding the yum lock",
    re.IGNORECASE,
)
HOLDER = re.compile(
    r"held by process (?P<apt>\d+)(?: \((?P<aptname>\S+?)\))?"
    r"|already locked by (?P<dnf>\d+)(?:\s+The application with PID \d+ is: (?P<dnfname>\S+))?"
)
Row = dict[str, Any]


class Package(Agent):
    """State, search and change of packages, whichever package manager the node has.

    Attributes:
        provider: `apt`, `dnf` or `yum`; by default the one whose database is there.
        root: another root than `/`: a chroot, an image.
        lock_wait: how long apt waits for another package manager, by default 30s.
    """

    name = "package"
    settings: ClassVar = {"provider": "text", "root": "text", "lock_wait": "length of time"}

    def activate(self, node: NodeView) -> None:
        """Needs a package database and the tools that read it."""
        _backend(node)

    def status(self, call: Call) -> dict[str, Any]:
        """One package, absent or not; without a name all that are installed."""
        backend = self._backend(call)
        name = call.get("name")
        if name:
            return {**_checked(backend, call, name), "provider": backend.provider}
        rows = [row for row in backend.query(call, None) if row["installed"]]
        return {"count": len(rows), "packages": rows, "provider": backend.provider}

    def search(self, call: Call) -> dict[str, Any]:
        """Packages that the repositories or the machine have, by a part of their name."""
        limit = call.get("limit", 100)
        if limit < 1:
            raise AgentError("limit is less than 1", statuscode=4)
        backend = self._backend(call)
        found, more = backend.search(call, call["name"], limit)
        return {
            "count": len(found),
            "packages": found,
            "truncated": more,
            "provider": backend.provider,
        }

    def install(self, call: Call) -> dict[str, Any]:
        """Install it; one that is there is left as it is unless another version is asked for."""
        return self._change(call, "install")

    def update(self, call: Call) -> dict[str, Any]:
        """Bring an installed package to the newest or the given version."""
        return self._change(call, "update")

    def remove(self, call: Call) -> dict[str, Any]:
        """Remove it; one that the repositories know and the node has not is no failure."""
        return self._change(call, "remove")

    def _backend(self, call: Call) -> Backend:
        return _backend(call.node)

    def _change(self, call: Call, what: str) -> dict[str, Any]:
        backend = self._backend(call)
        name, version = call["name"], call.get("version")
        before = _checked(backend, call, name)
        if call.get("refresh"):
            _expect(backend, backend.refresh(call), call, "cannot read the repositories' indices")
        if what == "update" and not before["installed"]:
            raise AgentError(f"package {name} is not installed", data=before)
        skip = what == "install" and before["installed"] and version in (None, before["ensure"])
        # Purging also concerns what is removed but still configured.
        absent = what == "remove" and not (before["installed"] or call.get("purge"))
        # What the node has needs no repository; what it has not must be known by exactly this
        # name, since apt takes what it does not know for a pattern.
        if not before["installed"] and not backend.known(call, name):
            raise AgentError(f"no such package: {name}", data=before)
        output = ""
        if not skip and not absent:
            outcome = backend.change(call, what, name, version)
            _expect(backend, outcome, call, f"cannot {what} {name}")
            output = outcome.stdout[-TAIL:].decode(errors="replace")
        after = _checked(backend, call, name)
        return {
            **after,
            "provider": backend.provider,
            "before": before["ensure"],
            "after": after["ensure"],
            "changed": before != after,
            "output": output,
        }


class Backend(Protocol):
    """What a package manager has to offer."""

    provider: str

    def query(self, call: Call, name: str | None) -> list[Row]:
        """Rows of one name (an architecture each) or of all packages."""

    def known(self, call: Call, name: str) -> bool:
        """Whether a repository has a package of exactly this name."""

    def search(self, call: Call, name: str, limit: int) -> tuple[list[Row], bool]:
        """Up to `limit` packages by a part of their name, and whether there are more."""

    def refresh(self, call: Call) -> ProgramResult:
        """Read the repositories' indices."""

    def change(self, call: Call, what: str, name: str, version: str | None) -> ProgramResult:
        """Install, update or remove."""

    def complaint(self, outcome: ProgramResult) -> str:
        """The line of the output that says what went wrong."""


def _checked(backend: Backend, call: Call, name: str) -> Row:
    # apt reads a trailing "-" as "remove this" and a newline would end a line of its protocol.
    if not NAME.match(name) or name.endswith("-"):
        raise AgentError(f"{name!r} is not the name of a package", statuscode=4)
    rows = backend.query(call, name)
    installed = [row for row in rows if row["installed"]]
    return (installed or rows or [_absent(name)])[0]


def _absent(name: str) -> Row:
    return {
        "name": name,
        "ensure": "absent",
        "version": None,
        "release": None,
        "epoch": None,
        "arch": None,
        "installed": False,
    }


def _expect(backend: Backend, outcome: ProgramResult, call: Call, what: str) -> None:
    """Turn a failure into one clear line; the last of the output goes along."""
    if outcome.ok:
        return
    written = (outcome.stdout + outcome.stderr).decode(errors="replace")
    data = {"name": call["name"], "provider": backend.provider, "output": written[-TAIL:]}
    if outcome.ended != "exit":
        raise AgentError(f"{what}: {outcome.why()}", data=data)
    if "are you root?" in written:
        raise AgentError(f"{what}: the node does not run as root", data=data)
    if LOCKED.search(written):
        holder = HOLDER.search(written)
        pid = holder and (holder["apt"] or holder["dnf"])
        program = holder and (holder["aptname"] or holder["dnfname"])
        by = (f" by process {pid}" if pid else "") + (f" ({program})" if program else "")
        raise AgentError(f"{what}: the package database is locked{by}, try again later", data=data)
    raise AgentError(f"{what}: {backend.complaint(outcome) or outcome.why()}", data=data)


def _backend(node: NodeView) -> Backend:
    """Choose by the database that is there, not by the tools: Debian has rpm as a package too."""
    settings = node.settings(Package.name)
    root = str(settings.get("root", "/"))
    provider = settings.get("provider") or _provider(node, root)
    if provider == "apt":
        return Apt(root, int(settings.get("lock_wait", 30)))
    if provider in ("dnf", "yum"):
        return Rpm(root, provider)
    raise Unavailable(f"package: unknown provider {provider!r} (apt, dnf or yum)")


def _provider(node: NodeView, root: str) -> str:
    which = node.system.which

    def has(path: str) -> bool:
        return node.system.exists(os.path.join(root, path))  # noqa: PTH118 - strings in, strings out

    if has("var/lib/dpkg/status") and which("dpkg-query"):
        return "apt"
    if (has("var/lib/rpm") or has("usr/lib/sysimage/rpm")) and which("rpm"):
        for tool in ("dnf", "yum"):
            if which(tool):
                return tool
        raise Unavailable("package: rpm is here, but neither dnf nor yum")
    raise Unavailable("package: neither a dpkg nor an rpm database here")


def split_deb(full: str) -> tuple[str | None, str | None]:
    """Return epoch and revision of a Debian version (deb-version(7)), each None without one."""
    epoch, colon, rest = full.partition(":")
    _, dash, revision = (rest if colon else full).rpartition("-")
    return (epoch if colon else None), (revision if dash else None)


def parse_dpkg(lines: Iterable[str]) -> list[Row]:
    """Read `dpkg-query -W` in our format; also what is removed but still configured."""
    rows = []
    for line in lines:
        name, version, arch, state = line.split("\t")
        installed = state == "installed"
        epoch, release = split_deb(version)
        rows.append(
            {
                "name": name,
                "ensure": version if installed else "absent",
                "version": version if installed else None,
                "release": release if installed else None,
                "epoch": epoch if installed else None,
                "arch": arch if installed else None,
                "installed": installed,
            }
        )
    return rows


def parse_policy(lines: Iterable[str]) -> dict[str, tuple[str | None, str | None]]:
    """Read `apt-cache policy NAME…`: for each name what is installed and what would be."""
    found: dict[str, tuple[str | None, str | None]] = {}
    name = installed = None
    for line in lines:
        word, _, value = line.strip().partition(": ")
        if line and not line[0].isspace():
            name = line.rstrip(":")
        elif word == "Installed":
            installed = None if value == "(none)" else value
        elif word == "Candidate" and name:
            found[name] = (installed, None if value == "(none)" else value)
    return found


class Apt:
    """Debian's: dpkg-query reads, apt-get changes."""

    provider = "apt"
    _format = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"

    def __init__(self, root: str, lock_wait: int) -> None:
        self._root = root
        self._lock_wait = lock_wait

    @contextlib.contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        env = {
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "APT_LISTCHANGES_FRONTEND": "none",
            "NEEDRESTART_MODE": "l",  # list, never restart: the service agent does that
        }
        if self._root == "/":
            yield env
            return
        import tempfile  # noqa: PLC0415 - only for another root than the node's

        # apt.conf(5): what APT_CONFIG names is read first, so the hooks of the other root count.
        with tempfile.NamedTemporaryFile("w", prefix="mcshell-apt-", suffix=".conf") as file:
            file.write(f'Dir "{self._root}";\n')
            file.write(f'Dir::State::status "{self._root}/var/lib/dpkg/status";\n')
            file.write(f'DPkg::Options {{ "--root={self._root}"; }};\n')
            file.flush()
            yield env | {"APT_CONFIG": file.name}

    def _run(self, call: Call, *argv: str, limit: int = LISTING) -> ProgramResult:
        with self._environment() as env:
            return run(call, argv, env=env, limit=limit, grace=GRACE)

    def query(self, call: Call, name: str | None) -> list[Row]:
        """Ask dpkg-query, which reads the database without a lock."""
        where = [] if self._root == "/" else [f"--root={self._root}"]
        names = [name] if name else []
        outcome = self._run(call, "dpkg-query", *where, "-W", "-f", self._format, "--", *names)
        # Exit code 1 with a name: dpkg does not know it.
        if not outcome.ok and not (name and outcome.exitcode == 1):
            raise AgentError(f"dpkg-query: {outcome.why()}")
        return parse_dpkg(outcome.lines)

    def known(self, call: Call, name: str) -> bool:
        """Ask the indices for exactly this name."""
        plain = name.partition(":")[0]
        return plain in self._run(call, "apt-cache", "pkgnames", "--", plain).lines

    def search(self, call: Call, name: str, limit: int) -> tuple[list[Row], bool]:
        """Search the indices by name."""
        # apt-cache takes POSIX expressions; ours are plain text with * and ?.
        pattern = re.sub(r"[.+]", r"[\g<0>]", name).replace("*", ".*").replace("?", ".")
        if pattern != re.sub(r"[.+]", r"[\g<0>]", name):
            pattern = f"^{pattern}$"
        outcome = self._run(call, "apt-cache", "search", "--names-only", "--", pattern)
        if not outcome.ok:
            raise AgentError(f"cannot search: {self.complaint(outcome) or outcome.why()}")
        summaries = dict(line.split(" - ", 1) for line in sorted(outcome.lines) if " - " in line)
        names = list(summaries)[:limit]
        versions: dict[str, tuple[str | None, str | None]] = {}
        if names:
            versions = parse_policy(self._run(call, "apt-cache", "policy", "--", *names).lines)
        return [
            {
                "name": each,
                "summary": summaries[each],
                "version": versions.get(each, (None, None))[1],
                "installed": versions.get(each, (None, None))[0],
            }
            for each in names
        ], len(summaries) > limit

    def refresh(self, call: Call) -> ProgramResult:
        """Fetch the indices."""
        return self._run(call, "apt-get", "-q", *self._wait(call), "update", limit=TAIL * 16)

    def change(self, call: Call, what: str, name: str, version: str | None) -> ProgramResult:
        """Do it with apt-get, which resolves what it needs."""
        verb = {"install": ["install"], "update": ["install", "--only-upgrade"]}.get(
            what, ["purge" if call.get("purge") else "remove"]
        )
        options = ["--allow-downgrades"] if version else []
        for choice in ("--force-confdef", "--force-confold"):
            options += ["-o", f"DPkg::Options::={choice}"]
        target = f"{name}={version}" if version else name
        argv = ["apt-get", "-q", "-y", *self._wait(call), *options, *verb, "--", target]
        return self._run(call, *argv, limit=TAIL * 16)

    def _wait(self, call: Call) -> list[str]:
        seconds = int(min(self._lock_wait, call.remaining / 2))
        return ["-o", f"DPkg::Lock::Timeout={seconds}"]

    def complaint(self, outcome: ProgramResult) -> str:
        """The first error that apt-get wrote."""
        written = outcome.stderr.decode(errors="replace").splitlines()
        errors = [line[3:].strip() for line in written if line.startswith("E: ")]
        return errors[0] if errors else ""


def parse_rpm(lines: Iterable[str]) -> list[Row]:
    """Read `rpm -q` in our format."""
    rows = []
    for line in lines:
        name, epoch, version, release, arch = line.split("\t")
        has_epoch = epoch not in ("(none)", "0")
        rows.append(
            {
                "name": name,
                "ensure": f"{epoch}:{version}-{release}" if has_epoch else f"{version}-{release}",
                "version": version,
                "release": release,
                "epoch": epoch if has_epoch else None,
                "arch": arch,
                "installed": True,
            }
        )
    return rows


def parse_repoquery(lines: Iterable[str], installed: Sequence[Row]) -> list[Row]:
    """Read `dnf repoquery` in our format: the last version of each name wins."""
    there = {row["name"]: row["ensure"] for row in installed}
    found: dict[str, Row] = {}
    for line in lines:
        if line.count("\t") != 2:  # noqa: PLR2004 - three columns
            continue
        name, version, summary = line.split("\t")
        version = version.removeprefix("0:")
        row = {"name": name, "summary": summary, "version": version}
        found[name] = row | {"installed": there.get(name)}
    return [found[name] for name in sorted(found)]


class Rpm:
    """Red Hat's: rpm reads, dnf (or yum) changes."""

    _format = "%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n"

    def __init__(self, root: str, provider: str) -> None:
        self.provider = provider
        self._root = root

    def _run(self, call: Call, *argv: str, limit: int = LISTING) -> ProgramResult:
        return run(call, argv, env={"LC_ALL": "C.UTF-8"}, limit=limit, grace=GRACE)

    def _tool(self, call: Call, *argv: str, limit: int = LISTING) -> ProgramResult:
        where = [] if self._root == "/" else [f"--installroot={self._root}"]
        # "locked" must be an answer, not a wait that ends with our time.
        head = [self.provider, "-q", "-y", "--setopt=exit_on_lock=True", *where]
        return self._run(call, *head, *argv, limit=limit)

    def query(self, call: Call, name: str | None) -> list[Row]:
        """Ask rpm, which reads the database without a lock."""
        where = [] if self._root == "/" else ["--root", self._root]
        what = ["-q", name] if name else ["-qa"]
        outcome = self._run(call, "rpm", *where, *what, "--qf", self._format)
        if not outcome.ok and not (name and "is not installed" in "\n".join(outcome.lines)):
            raise AgentError(f"rpm: {outcome.why()}")
        return parse_rpm(line for line in outcome.lines if "\t" in line)

    def known(self, call: Call, name: str) -> bool:
        """Ask the indices for exactly this name."""
        outcome = self._tool(call, "repoquery", "--qf", "%{name}\n", name)
        _expect(self, outcome, call, "cannot ask the repositories")
        # repoquery also finds a name by a version or an architecture behind it: tiny-1.0, tiny.noarch
        return any(line == name or name.startswith(f"{line}.") for line in outcome.lines if line)

    def search(self, call: Call, name: str, limit: int) -> tuple[list[Row], bool]:
        """Search the indices by name."""
        pattern = name if set("*?") & set(name) else f"*{name}*"
        outcome = self._tool(
            call, "repoquery", "--latest-limit=1", "--qf", "%{name}\t%{evr}\t%{summary}\n", pattern
        )
        _expect(self, outcome, call, "cannot search")
        installed = [r for r in self.query(call, None) if fnmatch.fnmatchcase(r["name"], pattern)]
        rows = parse_repoquery(outcome.lines, installed)
        return rows[:limit], len(rows) > limit

    def refresh(self, call: Call) -> ProgramResult:
        """Fetch the indices."""
        return self._tool(call, "--refresh", "makecache", limit=TAIL * 16)

    def change(self, call: Call, what: str, name: str, version: str | None) -> ProgramResult:
        """Do it with dnf or yum, which resolves what it needs."""
        verb = {"install": "install", "update": "upgrade"}.get(what, "remove")
        if version:  # "upgrade" would silently do nothing when that is older
            verb = "install"
        target = f"{name}-{version}" if version else name
        return self._tool(call, verb, target, limit=TAIL * 16)

    def complaint(self, outcome: ProgramResult) -> str:
        """The first error that dnf or yum wrote."""
        written = (outcome.stderr + outcome.stdout).decode(errors="replace").splitlines()
        for line in written:
            if line.startswith("Error: ") and len(line) > len("Error: "):
                return line.removeprefix("Error: ").strip()
        return next((line for line in written if "No match for argument" in line), "")
