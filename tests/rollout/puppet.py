"""`puppet apply` of the class on each of a site's machines."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.deploy.light import ROOT, offline
from tests.rollout.machines import ENROLLED, PASSCODE

if TYPE_CHECKING:
    from tests.rollout.machines import Machine, Site

__all__ = ["MODULES", "Applied", "Manifest", "Sensitive", "literal"]

MODULES = ROOT / "mcshell" / "deploy" / "puppet"


class Applied(NamedTuple):
    """What a run came to: `code` is 0 when nothing was changed, 2 when something was."""

    code: int
    said: str


class Sensitive(str):
    """Text that Puppet is to keep out of its output."""

    __slots__ = ()


def literal(value: Any) -> str:
    """A value as Puppet's language has it: nothing in a text is anything but text."""
    if isinstance(value, Sensitive):
        return f"Sensitive({literal(str(value))})"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)} => {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return "undef" if value is None else str(value).lower()


class Manifest:
    """The class with its parameters, for each of a site's machines."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder / "puppet"
        self.folder.mkdir()
        first = next(iter(site.machines.values()))
        self.parameters = {name: self._own(one) for name, one in site.machines.items()}
        self.parameters[first.name]["package"] = str(site.wheel)
        for name, own in self.parameters.items():
            if name == ENROLLED:
                own |= {"token": Sensitive(site.token()), "enrol_broker": site.enrolment}
            else:
                own["certificate"] = site.issue(name)

    def _own(self, machine: Machine) -> dict[str, Any]:
        return {
            "identity": machine.name,
            "package": "",
            "pip_environment": [f"{name}={value}" for name, value in offline().items()],
            "python": sys.executable,
            "venv": str(machine.folder / "opt"),
            "command": str(machine.command),
            "etc": str(machine.etc),
            "lib": str(machine.lib),
            "settings": self.site.settings(),
            "policies": str(self.site.policies),
            "agents": str(self.site.agents),
            "passcode": Sensitive(PASSCODE),
            "manage_service": False,
            "units": str(machine.units),
            "reload": [str(machine.service), "reload"],
            "restart": [str(machine.service), "restart"],
        }

    def apply(self, name: str, *words: str, **more: Any) -> Applied:
        """Apply it on one machine; `more` are parameters, over the machine's own."""
        parameters = {**self.parameters[name], **more}
        lines = "".join(f"  {key} => {literal(value)},\n" for key, value in parameters.items())
        return self.run(f"class {{ 'mcshell::node':\n{lines}}}\n", *words)

    def run(self, text: str, *words: str) -> Applied:
        """Apply a manifest."""
        with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".pp") as file:
            file.write(text)
            file.flush()
            places = [f"--{key}dir={self.folder / key}" for key in ("conf", "var", "run", "log")]
            options = ("--detailed-exitcodes", "--color=false", "--show_diff")
            done = subprocess.run(
                [
                    "puppet",
                    "apply",
                    f"--modulepath={MODULES}",
                    *places,
                    *options,
                    *words,
                    file.name,
                ],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": ""},
            )
        return Applied(done.returncode, done.stdout + done.stderr)
