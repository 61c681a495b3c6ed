"""Three public roles, as their authors have published them, over mcshell and over `local`.

They are of PyPI's `ansible-role-chrony` and `tripleo-ansible` (Apache-2.0): what writes chrony's configuration, keys
of BIND's rndc, and a host's table. pip brings them; where it cannot, the test is skipped; with CI=true it fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.ansible.conftest import NAMES, Ansible, Machines
from tests.ansible.test_modules import local, tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)
PACKAGES = ("ansible-role-chrony==1.3.0", "tripleo-ansible==6.0.0")
ROLES = ("chrony", "designate_rndc_config", "tripleo_hosts_entries")
VARIABLES = {
    "chrony_role_action": "config",
    "chrony_manage_service": False,
    "chrony_config_file_location": "{{ root }}/chrony.conf",
    "chrony_ntp_servers": ["ntp1.example.com", "ntp2.example.com"],
    "designate_rndc_key_file_path": "{{ root }}/rndc",
    "designate_worker_config_file_path": "{{ root }}/worker",
    "designate_bind_node_ips": [],  # its template of these wants a filter of another collection
    "designate_rndc_key": "c2VjcmV0",
    "tripleo_hosts_entries_hosts_path": "{{ root }}/hosts",
    "tripleo_hosts_entries_overcloud_hosts_entries": ["192.0.2.1 one.example.com one"],
    "tripleo_hosts_entries_undercloud_hosts_entries": [],
    "tripleo_hosts_entries_extra_hosts_entries": [],
    "tripleo_stack_name": "here",
    "ansible_become_method": "su",
}
TASKS = [
    {"setup": {"gather_subset": ["!all"]}},
    {"file": {"path": "{{ root }}/worker", "state": "directory", "mode": "0755"}},
    {"copy": {"content": "127.0.0.1 localhost\n", "dest": "{{ root }}/hosts", "force": False, "mode": "0644"}},
    *({"import_role": {"name": name}} for name in ROLES),
]  # fmt: skip


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the roles, as the packages have them."""
    folder = tmp_path_factory.mktemp("roles")
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    words = ("download", "--no-deps", "--only-binary", ":all:", "-d", str(folder), *PACKAGES)
    done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        give_up = pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip
        give_up(f"pip brings no roles: {done.stderr.strip().splitlines()[-1]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                _head, found, place = name.partition("/data/share/ansible/roles/")
                if found and place and place.partition("/")[0] in ROLES:
                    target = folder / place
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))
    return folder


@pytest.mark.soak
def test_three_public_roles(ansible: Ansible, machines: Machines, roles: Path) -> None:
    """Each node has what `local` makes, with as many tasks changed; the second run changes no file."""
    more = {"ANSIBLE_ROLES_PATH": str(roles)}
    theirs = local(machines, "local-roles", **VARIABLES)
    ours = machines.hosts(**VARIABLES)
    expected, first, again = (
        ansible.play(TASKS, hosts, more=more) for hosts in (theirs, ours, ours)
    )
    assert expected.code == 0, expected.said
    assert (first.code, first.hosts) == (0, expected.hosts), first.said
    made_and_removed = 3  # a temporary file of the third role's, and what is copied into it
    assert again.counts("changed") == dict.fromkeys(NAMES, made_and_removed), again.said
    wanted = {"chrony.conf", "rndc/rndc.key", "worker/private", "hosts"}
    for name in NAMES:
        found = tree(machines.places / name / "root")
        assert found == tree(machines.folder / "local-roles" / name / "root")
        assert wanted <= found.keys()
