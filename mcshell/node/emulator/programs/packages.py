"""Programs that tell of packages and change them: dpkg and apt, rpm and dnf."""

from __future__ import annotations

import re

from mcshell.node.emulator.catalogue import PACKAGES, SERVICES
from mcshell.node.emulator.programs.program import ProgramCall, Said, program


@program("dpkg-query", "dpkg")
def _dpkg(run: ProgramCall) -> Said:
    machine = run.machine
    if machine.rpm:
        return run.fails("this is a machine with rpm", 2)
    form, names, words = "${Package}\t${Version}\n", [], iter(run.words[1:])
    for word in words:
        if word in ("-f", "--showformat") or word == "-Wf":
            form = next(words, form)
        elif word.startswith("-f="):
            form = word[3:]
        elif not word.startswith("-"):
            names.append(word)
    form = form.replace("\\n", "\n").replace("\\t", "\t")
    lines, wrong = [], []
    for name in names or sorted(machine.packages):
        if name not in machine.packages:
            wrong.append(f"dpkg-query: no packages found matching {name}\n")
            continue
        values = {
            "Package": name,
            "Version": machine.packages[name],
            "Architecture": "amd64",
            "db:Status-Status": "installed",
            "Status": "install ok installed",
        }
        lines.append(re.sub(r"\$\{([^};]+)[^}]*\}", lambda one: values.get(one[1], ""), form))  # noqa: B023 - used at once
    return Said("".join(lines), "".join(wrong), 1 if wrong else 0)


@program("apt-cache")
def _apt_cache(run: ProgramCall) -> Said:
    machine = run.machine
    if machine.rpm or not run.operands:
        return run.fails("nothing to say here", 100)
    verb, *names = run.operands
    known = {name for name in PACKAGES if machine.candidate(name)}
    if verb == "pkgnames":
        return Said(
            "".join(
                f"{one}\n" for one in sorted(known) if one.startswith(names[0] if names else "")
            )
        )
    if verb == "search":
        pattern = names[0].strip("^$").replace(".*", "")
        found = [one for one in sorted(known) if pattern in one]
        return Said("".join(f"{one} - {PACKAGES[one].summary}\n" for one in found))
    lines = []
    for name in names:
        if name in known:
            installed = machine.packages.get(name, "(none)")
            lines.append(
                f"{name}:\n  Installed: {installed}\n  Candidate: {machine.candidate(name)}\n"
            )
    return Said("".join(lines))


@program("apt-get", "apt")
def _apt(run: ProgramCall) -> Said:
    if run.machine.rpm:
        return run.fails("this is a machine with rpm", 100)
    words, options = iter(run.words[1:]), []
    rest = []
    for word in words:
        if word == "-o":
            next(words, "")
        elif word.startswith("-"):
            options.append(word)
        else:
            rest.append(word)
    verb, *targets = rest or ["help"]
    if verb == "update":
        return Said("Hit:1 http://deb.example.com stable InRelease\nReading package lists...\n")
    if verb == "upgrade":
        verb, targets, options = "install", _upgradable(run), ["--only-upgrade"]
    if verb not in ("install", "remove", "purge"):
        return run.fails(f"this emulated machine does not know `{run.name} {verb}`", 100)
    full = "E: You don't have enough free space in /var/cache/apt/archives/.\n"
    return _change(
        run,
        verb,
        [(one.partition("=")[0], one.partition("=")[2]) for one in targets],
        full,
        options,
    )


@program("rpm")
def _rpm(run: ProgramCall) -> Said:
    machine = run.machine
    if not machine.rpm:
        return run.fails("this is a machine with dpkg", 1)
    form, names, words = "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\n", [], iter(run.words[1:])
    for word in words:
        if word in ("--qf", "--queryformat"):
            form = next(words, form)
        elif not word.startswith("-"):
            names.append(word)
    form = form.replace("\\n", "\n").replace("\\t", "\t")
    lines, code = [], 0
    for name in names or sorted(machine.packages):
        if name not in machine.packages:
            lines.append(f"package {name} is not installed\n")
            code = 1
            continue
        epoch, _, rest = machine.packages[name].rpartition(":")
        version, _, release = rest.rpartition("-")
        values = {"NAME": name, "EPOCH": epoch or "(none)", "VERSION": version}
        values |= {"RELEASE": release, "ARCH": "x86_64"}
        lines.append(re.sub(r"%\{([^}]+)\}", lambda one: values.get(one[1], ""), form))  # noqa: B023 - used at once
    return Said("".join(lines), code=code)


@program("dnf", "yum")
def _dnf(run: ProgramCall) -> Said:
    machine = run.machine
    if not machine.rpm:
        return run.fails("this is a machine with dpkg", 1)
    words, rest, form = iter(run.words[1:]), [], ""
    for word in words:
        if word == "--qf":
            form = next(words, "").replace("\\n", "\n")
        elif not word.startswith("-"):
            rest.append(word)
    verb, *names = rest or ["help"]
    if verb in ("makecache", "check-update"):
        return Said("Metadata cache created.\n")
    if verb == "repoquery":
        return _repoquery(run, names[0] if names else "", form)
    if verb not in ("install", "upgrade", "update", "remove"):
        return run.fails(f"this emulated machine does not know `{run.name} {verb}`")
    full = "Error: At least 12MB more space needed on the /var filesystem.\n"
    only = ["--only-upgrade"] if verb in ("upgrade", "update") else []
    targets = []
    for one in names or _upgradable(run):
        name = next(
            (known for known in PACKAGES if one == known or one.startswith(f"{known}-")), one
        )
        targets.append((name, one.removeprefix(name).lstrip("-")))
    return _change(run, "remove" if verb == "remove" else "install", targets, full, only)


def _repoquery(run: ProgramCall, wanted: str, form: str) -> Said:
    pattern, lines = wanted.strip("*"), []
    for name, entry in sorted(PACKAGES.items()):
        candidate = run.machine.candidate(name)
        if candidate and (name == pattern if wanted == pattern else pattern in name):
            values = {"name": name, "evr": candidate, "summary": entry.summary}
            lines.append(re.sub(r"%\{([^}]+)\}", lambda one: values[one[1]], form))  # noqa: B023 - used at once
    return Said("".join(lines))


def _upgradable(run: ProgramCall) -> list[str]:
    machine = run.machine
    return [name for name, has in machine.packages.items() if has != machine.candidate(name)]


def _change(
    run: ProgramCall, verb: str, targets: list[tuple[str, str]], full: str, options: list[str]
) -> Said:
    """Install or remove packages, each with the version that is asked for or none."""
    machine, done = run.machine, []
    for name, version in targets:
        wanted = version or machine.candidate(name)
        has = machine.packages.get(name)
        if wanted is None or (version and not machine.version_is_known(name, version)):
            return Said("", f"E: Unable to locate package {name} {version}".rstrip() + "\n", 100)
        if verb != "install":
            if has is not None:
                machine.remove(name, run.now)
                done.append(f"Removing {name} ({has}) ...\n")
        elif wanted != has and not (has is None and "--only-upgrade" in options):
            if machine.full:
                return Said("", full, 100)
            machine.install(name, wanted, run.now)
            done.append(f"Setting up {name} ({wanted}) ...\n")
            entry = SERVICES.get(name)
            if entry is not None and name not in machine.services:
                machine.add_service(entry, run.now)
    return Said("".join(done) or "Nothing to do.\n")
