"""The inventory: hosts by filter and by name, facts as variables, what a hostile node may say."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.ansible.conftest import PERSIST, RECAP, Ansible, Machines
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

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
    return _plain(json.loads(done.stdout)), done.stderr


def _plain(value: Any) -> Any:
    """Without the marks of what is no template."""
    if isinstance(value, dict):
        if value.keys() == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


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


def test_named_nodes_and_a_play(ansible: Ansible, machines: Machines) -> None:
    """Nodes that are named are hosts though they are silent, with the reason; a play goes by this inventory."""
    file = {"nodes": ["n[1-2]", "nobody"], "collective": machines.collective}
    tree, said = listed(ansible, str(machines.config), **file)
    hosts = tree["_meta"]["hostvars"]
    assert {name: one["mcshell_state"] for name, one in hosts.items()} == {
        "n1": "ok",
        "n2": "ok",
        "nobody": "silent",
    }
    assert "mcshell: nobody is silent: no reply" in " ".join(said.split())
    play = [{"hosts": "all", "gather_facts": False, "tasks": [{"ping": {}}]}]
    (ansible.folder / "ping.yml").write_text(yaml.safe_dump(play))
    python = f"ansible_python_interpreter={sys.executable}"
    words = ("-i", "fleet.mcshell.yml", "-e", python, "ping.yml")
    done = ansible.program("ansible-playbook", *words)
    assert done.returncode == 4, done.stdout
    counts = {name: "ok=1" in one for name, one in RECAP.findall(done.stdout)}
    assert counts == {"n1": True, "n2": True, "nobody": False}


def test_cache(ansible: Ansible, machines: Machines) -> None:
    """What is in Ansible's cache is not asked again: it is there with the broker away."""
    cache = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": "facts", "persist": 0}
    first, _said = listed(ansible, str(machines.config), nodes=["n1"], **cache)
    text = machines.config.read_text()
    away = text.replace(machines.broker.url, "stomp://127.0.0.1:1")
    assert away != text
    assert wait_until(lambda: not ansible.sockets(), 30.0)
    machines.config.write_text(away)
    try:
        again, _said = listed(ansible, str(machines.config), nodes=["n1"], **cache)
    finally:
        machines.config.write_text(text)
    assert again == first


@pytest.fixture(scope="module")
def hostile(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes whose facts and names are meant for Ansible."""
    nodes = {"honest": Node({"role": "web"}), "evil": Node(HOSTILE, ["all", EVIL])}
    nodes |= {name: Node() for name in ("localhost", "all")}
    with Fleet(embedded, tmp_path_factory.mktemp("hostile"), nodes) as fleet:
        fleet.start()
        yield fleet


def test_hostile_nodes(ansible: Ansible, hostile: Fleet) -> None:
    """What a node says is no template, no variable of Ansible's, and no name of a host that is there already."""
    options = {
        "keyed_groups": [
            {"key": "mcshell_facts.role | default('none')", "prefix": "role"},
            {"key": "mcshell_classes", "prefix": "class"},
            {"key": "mcshell_facts.site | default('none')", "prefix": "site"},
        ],
        "compose": {"copied": "mcshell_facts.role | default('none')"},
    }
    tree, said = listed(ansible, str(hostile.config), **options)
    hosts = tree["_meta"]["hostvars"]
    assert set(hosts) == {"honest", "evil"}
    for name in ("localhost", "all"):
        assert f"node '{name}' is left out" in " ".join(said.split())
    evil = hosts["evil"]
    assert evil["ansible_connection"] == "mcshell.mcshell.mcshell"
    assert not {"ansible_host", "ansible_user", "ansible_python_interpreter"} & evil.keys()
    assert evil["mcshell_facts"]["role"] == evil["copied"] == EVIL
    assert tree["role_web"]["hosts"] == ["honest"]
    assert set(tree["all"]["children"]) >= {"class_all", "site_all", "role_web"}
    shown = [
        "{{ mcshell_facts }}",
        "{{ copied }}",
        "{{ mcshell_facts.nested.list[1].ansible_user }}",
    ]
    tasks = [{"debug": {"msg": one}, "delegate_to": "localhost"} for one in shown]
    tasks += [{"copy": {"content": "{{ copied }}", "dest": str(ansible.folder / "told")}}]
    play = [{"hosts": "evil", "connection": "local", "gather_facts": False, "tasks": tasks}]
    (ansible.folder / "show.yml").write_text(yaml.safe_dump(play))
    here = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    words = ("-i", "fleet.mcshell.yml", "-e", here, "show.yml")
    done = ansible.program("ansible-playbook", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ansible.folder / "told").read_text() == EVIL
    assert not list(ansible.folder.rglob("stolen"))
