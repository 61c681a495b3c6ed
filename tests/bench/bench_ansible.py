"""One playbook on five targets: over mcshell, over ssh and over `local`, in turn.

Run: python tests/bench/bench_ansible.py [--rounds 5] [--broker embedded]

Ten tasks of ten modules, five forks. ssh is OpenSSH's with Ansible's own ControlPersist, to sshds of our own
on five addresses of the loopback interface (ssh_hosts.py); mcshell is five daemons. Both ways keep their connections from round
to round, the first is shown apart. `local`, which has no way to go, is what Ansible and the modules take.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from figures import figure, machine, median, place, running

from tests.ansible.conftest import NAMES, Ansible, Machines
from tests.bench.ssh_hosts import SshHosts, ssh_hosts
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Hosts = Mapping[str, Mapping[str, Any]]

TASKS: list[dict[str, Any]] = [
    {"ping": {}},
    {"setup": {"gather_subset": ["!all"]}},
    {"file": {"path": "{{ root }}", "state": "directory", "mode": "0755"}},
    {"copy": {"content": "one\n", "dest": "{{ root }}/one", "mode": "0644"}},
    {"lineinfile": {"path": "{{ root }}/one", "line": "two"}},
    {"stat": {"path": "{{ root }}/one"}},
    {"slurp": {"src": "{{ root }}/one"}},
    {"find": {"paths": "{{ root }}"}},
    {"command": "id", "changed_when": False},
    {"shell": "id | wc -c", "changed_when": False},
]


def over_ssh(ssh: SshHosts, folder: Path) -> Hosts:
    """The targets' variables."""
    return {
        name: {
            "ansible_connection": "ssh",
            "ansible_host": address,
            "ansible_ssh_common_args": f"-F {ssh.config}",
            **Machines.variables(folder / name),
        }
        for name, address in zip(NAMES, ssh.addresses, strict=True)
    }


def timed(ansible: Ansible, hosts: Hosts, *, pipelining: bool) -> float:
    """Seconds that the playbook takes."""
    control = str(ansible.folder / "cp")
    more = {"ANSIBLE_PIPELINING": str(int(pipelining)), "ANSIBLE_SSH_CONTROL_PATH_DIR": control}
    began = time.monotonic()
    run = ansible.play(TASKS, hosts, more=more)
    took = time.monotonic() - began
    assert run.code == 0, run.said
    return took


def measure(ansible: Ansible, ways: Mapping[tuple[str, bool], Hosts], rounds: int) -> None:
    """Each way in turn, round after round."""
    times: dict[tuple[str, bool], list[float]] = {way: [] for way in ways}
    for _round in range(rounds + 1):
        for way, hosts in ways.items():
            times[way].append(timed(ansible, hosts, pipelining=way[1]))
    found = {way: median(some[1:]) for way, some in times.items()}
    for (name, piped), value in found.items():
        how = "pipelining" if piped else "no pipelining"
        figure(f"{name}, {how}: seconds, median of {rounds}", value, "s")
        figure("  the first time", times[name, piped][0], "s")
    for piped in (True, False):
        how = "pipelining" if piped else "no pipelining"
        figure(f"mcshell, of ssh, {how}", found["mcshell", piped] / found["ssh", piped])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", default="embedded")
    asked = parser.parse_args()
    print(f"{machine()}\n{len(TASKS)} tasks, {len(NAMES)} targets, {asked.broker}")
    with place() as folder, running(asked.broker, folder) as broker:
        for name in ("ansible", "machines"):
            (folder / name).mkdir()
        ansible = Ansible(folder / "ansible")
        with (
            Machines(broker, folder / "machines") as machines,
            ssh_hosts(folder / "ssh", len(NAMES)) as hosts,
        ):
            machines.start()
            ssh = over_ssh(hosts, folder / "over-ssh")
            ours = machines.hosts(mcshell_persist=60)
            here = {"ansible_connection": "local"}
            local = {name: {**here, **machines.variables(folder / "local" / name)} for name in ours}
            both = [("mcshell", ours), ("ssh", ssh), ("local", local)]
            ways = {(name, piped): hosts for piped in (True, False) for name, hosts in both}
            measure(ansible, ways, asked.rounds)
            machines.config.touch()  # its client ends when its configuration is another
            assert wait_until(lambda: not ansible.sockets(), 30.0)


if __name__ == "__main__":
    main()
