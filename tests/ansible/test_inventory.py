"""The inventory: hosts by filter and by name, facts as variables, what a hostile node may say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.ansible.conftest import NAMES, PERSIST, Ansible, Machines
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)
EVIL = "{{ lookup('pipe', 'touch stolen') }}"
HOSTILE = {
    "role": EVIL,
    "site": "all",
    "ansible_connection": "local",
    "ansible_host": "127.0.0.1",
    "ansible_python_interpreter": "/bin/false",
    EVIL: EVIL,
    "nested": {"list": [EVIL, {"ansible_user": EVIL}]},
}


def listed(ansible: Ansible, config: str, **options: Any) -> tuple[dict[str, Any], str]:
    """What `ansible-inventory --list` says of a file with these options, and its warnings."""
    file = {"plugin": "mcshell.mcshell.mcshell", "config": config, "persist": PERSIST, **options}
    (ansible.folder / "fleet.mcshell.yml").write_text(yaml.safe_dump(file))
    done = ansible.program("ansible-inventory", "-i", "fleet.mcshell.yml", "--list")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_filter_facts_groups(ansible: Ansible, machines: Machines) -> None:
    """A filter finds hosts; facts are variables; classes, facts and expressions make groups."""
    tree, said = listed(
        ansible,
        str(machines.config),
        where="role=web and number>=3",
        keyed_groups=[{"key": "mcshell_facts.role", "prefix": "role"}],
        groups={"last": "mcshell_facts.number == '5'"},
        compose={"rack": "'r' ~ mcshell_facts.number"},
    )
    hosts = tree["_meta"]["hostvars"]
    assert set(hosts) == {"n3", "n4", "n5"}, said
    assert set(tree["role_web"]["hosts"]) == {"n3", "n4", "n5"}
    assert tree["last"]["hosts"] == ["n5"]
    assert (hosts["n4"]["rack"], hosts["n4"]["mcshell_state"]) == ("r4", "ok")
    assert hosts["n4"]["mcshell_facts"]["number"] == "4"
    assert "exec" in hosts["n4"]["mcshell_agents"]
    assert hosts["n4"]["ansible_connection"] == "mcshell.mcshell.mcshell"
    assert hosts["n4"]["mcshell_config"] == str(machines.config)
