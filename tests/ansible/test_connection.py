"""What nodes come to is what Ansible says: unreachable, failed, or done; nothing else is a success."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.ansible.conftest import NAMES, Ansible, Machines
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)
OTHERS = NAMES[:4]
LAST = NAMES[4]


def test_node_that_is_down(ansible: Ansible, machines: Machines) -> None:
    """It is UNREACHABLE with mcshell's reason, as is one that nobody knows; the others are done."""
    machines.kill9(LAST)
    hosts = machines.hosts()
    hosts["nobody"] = dict(hosts[LAST])
    try:
        run = ansible.play([{"command": "true"}, {"command": "true"}], hosts)
    finally:
        machines.start(LAST)
    assert run.code == 4, run.said
    away = {LAST, "nobody"}
    assert run.counts("unreachable") == {name: int(name in away) for name in hosts}
    assert {name: run.hosts[name]["ok"] for name in OTHERS} == dict.fromkeys(OTHERS, 2)
    assert run.said.count("UNREACHABLE!") == 2
    assert run.said.count("silent: no reply, and no answer to a probe") >= 2


def test_caller_who_may_not(ansible: Ansible, machines: Machines) -> None:
    """What policy denies has FAILED with the reason, commands and files alike."""
    tasks = [
        {"raw": "id", "ignore_errors": True},
        {"ping": {}, "ignore_errors": True},
        {"fetch": {"src": "/etc/hostname", "dest": "x"}, "ignore_errors": True},
    ]
    run = ansible.play(tasks, machines.hosts("bob"), "-l", "n1,n2")
    assert run.counts("ignored") == {"n1": 3, "n2": 3}, run.said
    assert run.counts("changed") == run.counts("unreachable") == {"n1": 0, "n2": 0}
    assert run.said.count("denied: ") >= 6


def test_node_killed_during_a_task(ansible: Ansible, machines: Machines) -> None:
    """It is unreachable; the others' task is done, once."""
    line = "echo begun >>{{ root }}-began; until [ -e {{ root }}-go ]; do sleep 0.1; done"
    places = {name: machines.places / name for name in NAMES}
    runs: list[Any] = []
    play = threading.Thread(
        target=lambda: runs.append(ansible.play([{"shell": line}], machines.hosts()))
    )
    play.start()
    began = [place / "root-began" for place in places.values()]
    assert wait_until(lambda: all(one.exists() for one in began), 60.0)
    machines.kill9(LAST)
    for name in OTHERS:
        (places[name] / "root-go").touch()
    play.join(200.0)
    (places[LAST] / "root-go").touch()
    machines.start(LAST)
    (run,) = runs
    assert run.counts("unreachable") == {name: int(name == LAST) for name in NAMES}, run.said
    assert {name: run.hosts[name]["changed"] for name in OTHERS} == dict.fromkeys(OTHERS, 1)
    assert {one.read_text() for one in began} == {"begun\n"}


def test_outcomes(ansible: Ansible, machines: Machines) -> None:
    """Exit codes, signals and both outputs are the program's; time that is up is said so."""
    tasks = [
        {"raw": "echo out; echo err >&2; exit 3", "register": "three", "ignore_errors": True},
        {"raw": "kill -9 $$", "register": "killed", "ignore_errors": True},
        {"raw": "printf '\\377\\000x'", "register": "bytes"},
        {"raw": "trap 'exit 0' TERM; while :; do sleep 0.1; done", "register": "late", "ignore_errors": True, "vars": {"mcshell_command_timeout": 1}},
        {"raw": "head -c 3000000 /dev/zero | tr '\\0' x", "register": "large", "ignore_errors": True},
        {"raw": "head -c 500000 /dev/zero | tr '\\0' x", "register": "fits"},
        {"raw": "head -c 300000 /dev/zero", "register": "zeros", "ignore_errors": True},
        {"command": {"cmd": "wc -c", "stdin": "{{ 'x' * 2000000 }}"}, "register": "piped", "ignore_errors": True},
        {"command": {"cmd": "wc -c", "stdin": "{{ quote * 250000 }}"}, "register": "escaped", "ignore_errors": True, "vars": {"quote": '"'}},
        {"command": {"cmd": "wc -c", "stdin": "{{ 'x' * 300000 }}"}, "register": "longer"},
        {"raw": "echo ended", "register": "endless", "vars": {"mcshell_command_timeout": 1e300}},
        {"meta": "reset_connection"},
        {"raw": "printf '%s' \"$PWD $HOME\"", "register": "home"},
        {"assert": {"that": [
            "(three.rc, three.stdout, three.stderr) == (3, 'out\\n', 'err\\n')",
            "killed.rc == -9",
            "bytes.stdout is search('x')",
            "late is failed and late.msg is search('failed: stopped after 1.. s: out of time')",
            "endless.stdout == 'ended\\n'",
            "large is failed and large.msg is search('max_output')",
            "fits.stdout | length == 500000",
            "zeros is failed and zeros.msg is search('failed: ')",
            "piped is failed and piped.msg is search('pipelining')",
            "escaped is failed and escaped.msg is search('not sent: the request is .* bytes, and nodes take')",
            "longer.stdout == '300001'",
            "home.stdout is match('(.+) \\\\1$')",
        ]}},
    ]  # fmt: skip
    run = ansible.play(tasks, machines.hosts(), "-l", "n1")
    assert run.code == 0, run.said
    assert "not implemented" not in run.said


def test_node_that_comes_back(ansible: Ansible, machines: Machines) -> None:
    """It is waited for, as after a reboot."""
    machines.kill9(LAST)
    back = threading.Timer(3.0, machines.start, [LAST])
    back.start()
    tasks = [{"wait_for_connection": {"timeout": 90, "sleep": 1}}, {"command": "echo here"}]
    run = ansible.play(tasks, machines.hosts(), "-l", LAST)
    back.join()
    assert run.code == 0, run.said
    assert run.hosts[LAST]["ok"] == 2


def asking(folder: Path, program: str) -> dict[str, str]:
    """Variables with a `program` that asks for a password, which is "se cret"."""
    asks = folder / f"asks-{program}"
    lines = (
        "#!/bin/sh",
        "read -r word",
        '[ "$word" = "se cret" ] || exit 1',
        f'exec {program} "$@"',
    )
    asks.write_text("\n".join(lines))
    asks.chmod(0o755)
    return {"ansible_become_exe": str(asks), "ansible_become_pass": "se cret"}


def become(ansible: Ansible, machines: Machines, own: dict[str, Any], task: dict[str, Any]) -> None:
    """A task that prints who it is, by several ways of becoming nobody."""
    asked = asking(machines.folder, own["ansible_become_method"])
    task |= {"become": True, "become_user": "nobody"}
    wrong = {**asked, "ansible_become_pass": "another"}
    tasks = [
        {**task, "register": "without"},
        {**task, "register": "unasked", "vars": {"ansible_become_pass": "se cret"}},
        {**task, "register": "asked", "vars": asked},
        {**task, "raw": "cat", "register": "empty", "vars": asked},
        {**task, "register": "wrong", "ignore_errors": True, "vars": wrong},
        {"assert": {"that": [
            "without.stdout | trim == unasked.stdout | trim == asked.stdout | trim == 'nobody'",
            "empty.stdout == ''",
            "wrong is failed",
        ]}},
    ]  # fmt: skip
    if "raw" not in task:
        del tasks[3], tasks[-1]["assert"]["that"][1]
    run = ansible.play(tasks, machines.hosts(**own), "-l", "n1")
    assert run.code == 0, run.said
    audited = (machines.folder / "state-n1" / "node" / "audit.jsonl").read_text()
    assert "se cret" not in audited


def test_another_user_by_su(ansible: Ansible, machines: Machines) -> None:
    """Who becomes another user is that one; a password goes to who asks, and is never data."""
    own = {"ansible_become_method": "su", "ansible_become_flags": "-s /bin/sh"}
    become(ansible, machines, own, {"raw": "id -un"})


@pytest.mark.sudo
def test_another_user_by_sudo(ansible: Ansible, machines: Machines) -> None:
    """The same of a module that is piped into the other user's Python."""
    own = {"ansible_become_method": "sudo", "ansible_python_interpreter": "/usr/bin/python3"}
    become(ansible, machines, own, {"command": "id -un"})


def test_configuration_that_is_wrong(ansible: Ansible, machines: Machines) -> None:
    """A broker that is not there is UNREACHABLE; a configuration that cannot be used has FAILED."""
    text = machines.config.read_text()
    away = machines.folder / "away.toml"
    away.write_text(text.replace(machines.broker.url, "stomp://127.0.0.1:1"))
    wrong = machines.folder / "wrong.toml"
    wrong.write_text(f"{text}[clinet]\n")
    hosts = machines.hosts()
    hosts["n1"]["mcshell_config"], hosts["n2"]["mcshell_config"] = str(away), str(wrong)
    run = ansible.play([{"command": "true"}], hosts, "-l", "n1,n2,n3")
    assert run.counts("unreachable") == {"n1": 1, "n2": 0, "n3": 0}, run.said
    assert run.counts("failed") == {"n1": 0, "n2": 1, "n3": 0}
    assert "clinet" in run.said
