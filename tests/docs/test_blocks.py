"""Every block of code of tutorial and how-to is run or typed: here, or where README's blocks are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.grammar.parser import parse, split_line
from mcshell.config import load
from mcshell.docs import markdown, pages
from mcshell.node.testing import AgentTester
from tests.docs.conftest import ROOT
from tests.faces.demo_lab import good
from tests.faces.test_readme_lines import FRONT, typed
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faces.demo_lab import Lab

pytestmark = pytest.mark.timeout(600)
ELSEWHERE = {
    "mcshell pki init pki": "tests/faces/test_lab.py",
    "mcshell broker --data": "tests/faces/test_lab.py",
    "/srv/mcshell/old/ctl": "tests/rights/test_moving.py",
    "mcshell node --config web1.toml --check": "tests/services/test_check.py",
    "mcshell pki token": "tests/enrolment/test_lines.py",
    "python3 -m venv --without-pip": "tests/deploy/test_light_node.py",
    "- hosts: nodes": "tests/rollout/test_ansible.py",
    "export ANSIBLE_ROLES_PATH": "tests/rollout/test_ansible.py",
    "class { 'mcshell::node'": "tests/rollout/test_puppet.py",
    "[pki]\nca": "tests/foreign/test_page.py",
    "ssl=/var/lib/puppet": "tests/foreign/test_page.py",
    "mcshell broker config rabbitmq --dir": "tests/foreign/test_page.py",
    "#!/bin/sh\nset -eu\ncd /etc/mcshell": "tests/foreign/test_fleet.py",
    "mcshell broker config rabbitmq --pki": "tests/enrolment/test_lines.py",
    **dict.fromkeys(('{\n  "mcpServers"', "[mcp]"), "tests/mcp_server/test_page.py"),
    "mcshell pki rotate": "tests/enrolment/test_rotation.py",
    "mcshell pki publish\nmcshell pki rotate": "tests/enrolment/test_rotation.py",
    "tar -C /srv/mcshell": "tests/enrolment/test_lines.py",
    **dict.fromkeys(
        (
            "mkdir -p /etc/mcshell/agents",
            '[node]\nagents = ["/etc/mcshell/agents"]',
            "policy default deny\nallow\tcert=alice\tpuppet",
            "file { '/etc/motd.web'",
            "python -m mcshell.deploy.puppet.apply",
            "import mcshell\nfrom pathlib",
            "mcshell_action {",
        ),
        "tests/puppet/test_page.py",
    ),
    **dict.fromkeys(
        (
            "policy default deny\nallow\tcert=alice\trun put get",
            '[node]\ntell_files = "all"',
            "ansible-galaxy collection install",
            "plugin: mcshell.mcshell.mcshell",
            "ansible-inventory -i",
            "web:\n  hosts:",
        ),
        "tests/ansible/test_page.py",
    ),
    **dict.fromkeys(
        (
            "mcshell pki init ca\n",
            'state = "/var/lib/mcshell"',
            "policy default deny\nallow\tcert=alice",
            "./broker/start",
            "mcshell node enroll",
            '[broker]\nurls = ["stomp+ssl://lab.example.com',
            "mcshell --config alice.toml ping",
        ),
        "tests/enrolment/test_three_machines.py",
    ),
}
"""Blocks that want a place of their own, by how they begin, and the test that runs them."""
CMDB = """#!/bin/sh
printf '{"protocol": "io.choria.choria.discovery.v1.external_reply", "nodes": ["web01"]}' >"$2"
"""


def blocks(name: str) -> list[tuple[str, str]]:
    """The blocks of a page."""
    return markdown.code(pages.page(name).text)


ALL = {
    text: f"{name}: {text[:30]}"
    for name, part in pages.names().items()
    if part in ("tutorial", "howto")
    for _, text in blocks(name)
}
TYPED_THERE = {one.text for one in typed(FRONT)}
HERE = {text for text in ALL if text not in TYPED_THERE and not text.startswith(tuple(ELSEWHERE))}


def only(begin: str) -> str:
    """The one block that begins so."""
    (found,) = [text for text in ALL if text.startswith(begin)]
    return found


def prompt_lines(text: str) -> list[str]:
    """What stands behind `mcs>`."""
    return re.findall(r"^mcs> (.*)$", text, re.MULTILINE)


AT_THE_PROMPT = {text for text in HERE if prompt_lines(text)}
BEGINNINGS = (
    '[broker]\nurls = ["stomp+ssl://mq.example.com:61614"]\n',
    "[client]",
    "[web]",
    "#!/bin/bash",
    "from mcshell.node.agent",
    "from pathlib",
    "mcshell config import",
    "mcshell pki init /srv",
    "mcshell supervisor sign",
    "plan: openssl",
    "rule: nightly",
    "ssh-keygen",
    '{\n  "metadata"',
)
"""How the other blocks begin that are run below."""


def test_every_block_is_run_or_typed() -> None:
    """A block that no test tries is found out, and so is a test of none."""
    others = HERE - AT_THE_PROMPT
    assert [ALL[text] for text in others if not text.startswith(BEGINNINGS)] == []
    assert [one for one in BEGINNINGS if not any(text.startswith(one) for text in others)] == []
    assert all((ROOT / path).exists() for path in ELSEWHERE.values())
    assert len(ALL) > 25
    assert len(AT_THE_PROMPT) > 8


def put(folder: Path) -> None:
    """Write the files that the pages tell their reader to write."""
    for name, begin in (
        ("hosts.ini", "[web]"),
        ("update.yaml", "plan: openssl"),
        ("nightly.yaml", "rule: nightly"),
    ):
        (folder / name).write_text(only(begin), encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["back-up-and-restore", "come-from-ansible", "run-a-plan", "keep-a-rule"]
)
def test_the_prompts_lines(name: str, lab: Lab) -> None:
    """A page's lines, typed at one prompt in its order, where its files are."""
    put(lab.work)
    lines = [line for _, text in blocks(name) for line in prompt_lines(text)]
    if name == "keep-a-rule":
        said = lab.shell(
            only("mcshell supervisor sign").replace("rules\n", f"{lab.folder}/rules\n")
        )
        assert "nightly" in said, said
        brought = lambda: any(said.strip() for _, _, said in lab.prompt(*lines))  # noqa: E731
        assert wait_until(brought, 60.0), "no supervisor has brought it"
    typed_at(lab, lines)


def test_the_lines_of_the_incident(own_lab: Lab) -> None:
    """Those of the tutorial, where two machines have gone down."""
    lines = [line for _, text in blocks("incident") for line in prompt_lines(text)]
    typed_at(own_lab, lines, first="tour incident")


def typed_at(lab: Lab, lines: list[str], first: str | None = None) -> None:
    """Type lines at one prompt, behind one that no page has; each is answered well."""
    answers = lab.prompt(*([] if first is None else [first]), *lines)
    assert len(answers) == len(lines) + (first is not None)
    for line, code, said in answers:
        good(line, code, said)
    assert set(lines) <= {line for text in AT_THE_PROMPT for line in prompt_lines(text)}


def test_the_agent_in_python(lab: Lab) -> None:
    """The ten lines, beside the schema that `agent new` writes, pass the test that the page shows."""
    lab.shell("mcshell agent new hello")
    (lab.work / "hello.py").write_text(only("from mcshell.node.agent"))
    (lab.work / "test_hello.py").write_text(only("from pathlib"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hello.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=lab.work,
        env=lab.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_agent_in_bash(tmp_path: Path) -> None:
    """Program and schema as they stand are an agent, which a node's own loader takes."""
    (tmp_path / "up").write_text(only("#!/bin/bash"))
    (tmp_path / "up").chmod(0o755)
    (tmp_path / "up.json").write_text(only('{\n  "metadata"'))
    assert AgentTester(tmp_path).call("up", "since")["seconds"] > 0


def test_the_configurations(tmp_path: Path) -> None:
    """What the pages put into a configuration is read, every key of it."""
    told = [text for text in HERE if text.startswith(("[broker]", "[client]"))]
    assert len(told) == 3
    for text in told:
        (tmp_path / "c.toml").write_text(text)
        (tmp_path / "c.toml").chmod(0o600)
        assert load(tmp_path / "c.toml").origins


def test_the_way_to_production(lab: Lab) -> None:
    """CA, certificates and the broker's configuration are made by the lines as they stand, for both brokers."""
    text = only("mcshell pki init /srv").replace("/srv/mcshell", "srv")
    *lines, start = text.splitlines()
    said = lab.shell("set -e; mkdir srv\n" + "\n".join(lines) + "\necho done")
    assert said.endswith("done\n"), said
    assert (lab.work / start).stat().st_mode & 0o100
    other = lines[-1].replace("rabbitmq", "activemq").replace("srv/broker", "srv/other")
    assert lab.shell(f"{other} && echo done").endswith("done\n")


def test_a_key_in_an_agent(lab: Lab) -> None:
    """The key is made, certified and handed to an agent by the lines as they stand."""
    text = (
        only("ssh-keygen")
        .replace("/srv/mcshell/ca", "ca")
        .replace("-C mcshell", "-C mcshell -N ''")
    )
    said = lab.shell(
        'set -e; mcshell pki init ca; eval "$(ssh-agent)" >agent.pid; trap "ssh-agent -k" EXIT\n'
        f"{text}\nssh-add -l; echo done"
    )
    assert "ED25519" in said, said
    assert "done" in said.splitlines(), said
    assert (lab.work / "alice" / "alice.login.pem").exists()


def test_the_files_of_mcollective(lab: Lab) -> None:
    """Its files are taken over, our schemas are given to it; the lines for its fleet are lines of ours."""
    lines = [
        line.partition("  #")[0].strip() for line in only("mcshell config import").splitlines()
    ]
    for line in lines:
        assert parse(split_line(line)[1:]).verb is not None
    (lab.work / "client.cfg").write_text(
        "securityprovider = psk\nplugin.psk = secret\nconnector = activemq\n"
        "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = localhost\n"
    )
    (lab.work / "from-cmdb").write_text(CMDB)
    (lab.work / "from-cmdb").chmod(0o755)
    for line in (lines[0], lines[3]):
        here = re.sub(r"(~|/)\S*/(client\.cfg|config\.toml|mcollective)\b", r"\2", line)
        assert lab.shell(f"{here} && echo done").endswith("done\n")
    here = lines[4].replace("/usr/local/bin", str(lab.work))
    assert "web01" in lab.shell(here)


def test_each_form_of_a_cell_is_json() -> None:
    """The blocks of JSON are JSON."""
    told = [text for text in HERE if text.startswith("{")]
    assert told
    assert all(json.loads(text) for text in told)
