"""ansible-playbook on a site's three machines, by the connection `local`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.deploy.light import ROOT, offline
from tests.rollout.machines import ENROLLED, PASSCODE

if TYPE_CHECKING:
    from tests.rollout.machines import Machine, Site

__all__ = ["ROLES", "Play", "Run", "Unsafe"]

ROLES = ROOT / "mcshell" / "deploy" / "ansible" / "roles"
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=(\d+)", re.MULTILINE)
PLAYBOOK = "- hosts: nodes\n  gather_facts: false\n  roles: [mcshell_node]\n"


class Unsafe(str):
    """Text that Ansible is not to take for a template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", text))


class Run(NamedTuple):
    """What a run came to: what it said, and by machine how much it changed and failed."""

    code: int
    said: str
    changed: dict[str, int]
    failed: dict[str, int]


class Play:
    """The play of the role over a site's machines, each with variables of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder / "ansible"
        self.folder.mkdir()
        (self.folder / "site.yml").write_text(PLAYBOOK)
        first = next(iter(site.machines.values()))
        self.variables = {name: self._own(one) for name, one in site.machines.items()}
        self.variables[first.name]["mcshell_package"] = str(site.wheel)
        for name, own in self.variables.items():
            if name == ENROLLED:
                own |= {"mcshell_token": site.token(), "mcshell_enrol_broker": site.enrolment}
            else:
                own["mcshell_certificate"] = site.issue(name)

    def _own(self, machine: Machine) -> dict[str, Any]:
        opt = machine.folder / "opt"
        return {
            "mcshell_package": "",
            "mcshell_pip_environment": offline(),
            "mcshell_python": sys.executable,
            "mcshell_venv": str(opt),
            "mcshell_command": str(machine.command),
            "mcshell_etc": str(machine.etc),
            "mcshell_lib": str(machine.lib),
            "mcshell_settings": self.site.settings(),
            "mcshell_policies": str(self.site.policies),
            "mcshell_agents": str(self.site.agents),
            "mcshell_passcode": PASSCODE,
            "mcshell_certificate": {},
            "mcshell_manage_service": False,
            "mcshell_units": str(machine.units),
            "mcshell_reload": [str(machine.service), "reload"],
            "mcshell_restart": [str(machine.service), "restart"],
        }

    def run(self, *words: str, **more: Any) -> Run:
        """Run it; `more` are variables of all machines, over their own."""
        hosts = {name: {**own, **more} for name, own in self.variables.items()}
        return self.play(self.folder, hosts, "site.yml", *words)

    def play(self, folder: Path, hosts: dict[str, dict[str, Any]], *words: str) -> Run:
        """Run what lies in a folder on these hosts, with their variables."""
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {"nodes": {"hosts": hosts, "vars": common}}
        (folder / "hosts.yml").write_text(yaml.dump(inventory, Dumper=_Dumper, width=1000))
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [program, "-i", "hosts.yml", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_ROLES_PATH": str(ROLES),
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_NOCOLOR": "1",
                "PYTHONPATH": "",
                "PYTHONWARNINGS": "",
            },
        )
        recap = RECAP.findall(done.stdout)
        return Run(
            done.returncode,
            done.stdout + done.stderr,
            {name: int(changed) for name, changed, _ in recap},
            {name: int(failed) for name, _, failed in recap},
        )
