"""Code, policies and configuration that others could change: refused by name on real parts."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import textwrap

import pytest

from mcshell.errors import ConversationError
from mcshell.message import State
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
OTHER = 65534
CONVERSE = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


def _ddl(name):
    about = dict.fromkeys(("description", "author", "license", "url"), "x")
    action = {"action": "hi", "description": "d", "display": "always", "input": {}}
    output = {"who": {"description": "w", "display_as": "W"}}
    metadata = {**about, "name": name, "version": "1.0.0", "timeout": 5}
    return json.dumps({"metadata": metadata, "actions": [{**action, "output": output}]})


def _agent(folder, name):
    (folder / f"{name}.json").write_text(_ddl(name))
    (folder / f"{name}.py").write_text(
        textwrap.dedent(f"""
        from mcshell.node.agent import Agent
        class One(Agent):
            name = "{name}"
            def hi(self, call):
                return {{"who": "x"}}
        """)
    )
    return folder / f"{name}.py"


def _external(folder, name):
    (folder / f"{name}.json").write_text(_ddl(name))
    (folder / name).write_text(
        '#!/usr/bin/python3\nimport sys,json\njson.dump({"statuscode":0,"statusmsg":"OK",'
        '"data":{"who":"ext"},"activate":True},open(sys.argv[2],"w"))\n'
    )
    (folder / name).chmod(0o755)
    return folder / name


def _give_away(path):
    os.chown(path, OTHER, OTHER)


def _open_to_all(path):
    path.chmod(path.stat().st_mode | 0o002)


def _open_to_group(path):
    os.chown(path, 0, OTHER)
    path.chmod(path.stat().st_mode | 0o020)


@pytest.fixture
def fleet(embedded, tmp_path):
    """A node that is not started, its operator with DDLs of their own."""
    (tmp_path / "site" / "converse").mkdir(parents=True)
    (tmp_path / "ddls").mkdir()
    more = 'agents = ["site"]\n'
    with Fleet(
        embedded, tmp_path, {"web1": Node()}, policies={"converse": CONVERSE}, more=more
    ) as one:
        with one.config.open("a") as config:
            config.write('[node]\nagents = ["ddls"]\n')
        yield one


def _ask(client, agent):
    (row,) = client.rpc(agent, "hi", nodes=["web1"]).rows()
    return row


def _doctor(fleet, name="alice"):
    done = fleet.cli("doctor", "--json", MCSHELL_CONFIG=str(fleet.folder / f"{name}.toml"))
    return {row["check"]: (row["state"], row["detail"]) for row in json.loads(done.stdout)}


def test_an_agent_that_others_could_change_is_not_there(fleet):
    """The node goes on without it, clients see an unknown agent, its log and doctor say why."""
    site = fleet.folder / "site"
    wrong = {
        "byuser": (_agent(site, "byuser"), _give_away),
        "byall": (_agent(site, "byall"), _open_to_all),
        "bygroup": (_agent(site, "bygroup"), _open_to_group),
        "program": (_external(site, "program"), _give_away),
        "opened": (_external(site, "opened"), _open_to_group),
        "itsddl": (_agent(site, "itsddl").with_suffix(".json"), _open_to_all),
    }
    for path, change in wrong.values():
        change(path)
    _agent(site, "good")
    _external(site, "goodext")
    for agent in (*wrong, "good", "goodext"):
        (fleet.folder / "ddls" / f"{agent}.json").write_text(_ddl(agent))
    fleet.start()
    with fleet.client() as client:
        for agent in wrong:
            row = _ask(client, agent)
            assert (agent, row.state, row.statuscode) == (agent, State.FAILED, 2)
            assert row.statusmsg.startswith(f"no agent '{agent}'")
        assert [_ask(client, agent).state for agent in ("good", "goodext")] == [State.OK] * 2
    log = (fleet.folder / "web1.log").read_text()
    doctor = _doctor(fleet, "web1")
    for agent, (path, _) in wrong.items():
        assert f"agent {agent} does not load: {path}: " in log
        state, detail = doctor[f"agent {agent}"]
        assert (agent, state) == (agent, "warn")
        assert f"{path}: " in detail
        assert "; run: ch" in detail
    assert doctor["agent good"][0] == doctor["agent goodext"][0] == "ok"


def test_an_open_folder_costs_all_agents_in_it(fleet):
    """Where anyone can write the folder none of its agents is there; the shipped ones are."""
    _agent(fleet.folder / "site", "good")
    _agent(fleet.folder / "ddls", "good")
    _open_to_all(fleet.folder / "site")
    fleet.start()
    with fleet.client() as client:
        assert _ask(client, "good").statuscode == 2
        (row,) = client.rpc("rpcutil", "ping", nodes=["web1"]).rows()
        assert row.state is State.OK
    assert f"(the folder {fleet.folder}/site)" in (fleet.folder / "web1.log").read_text()


def test_code_that_others_can_change_later_is_not_run(fleet):
    """A program given away after the start is not called; an agent for the work lane neither."""
    site = fleet.folder / "site"
    paths = [_external(site, "program"), _agent(site, "python")]
    for agent in ("program", "python"):
        (fleet.folder / "ddls" / f"{agent}.json").write_text(_ddl(agent))
    fleet.start()
    with fleet.client() as client:
        assert _ask(client, "program").state is State.OK
        for path in paths:
            _give_away(path)
        row = _ask(client, "program")
        assert row.state is State.FAILED
        assert f"it belongs to user {OTHER}" in row.statusmsg
        (row,) = client.rpc("python", "hi", nodes=["web1"], via="queue").rows()
        assert row.state is State.FAILED
        assert f"it belongs to user {OTHER}" in row.statusmsg


def test_a_cache_of_bytecode_that_others_have_filled_is_not_used(fleet):
    """What runs is compiled from the file that was looked at, never from a __pycache__ beside it."""
    site = fleet.folder / "site"
    source = _agent(site, "good")
    _agent(fleet.folder / "ddls", "good")
    evil = fleet.folder / "evil.py"
    evil.write_text(source.read_text().replace('"x"', '"evil"'))
    cached = importlib.util.cache_from_source(str(source))
    py_compile.compile(
        str(evil), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    _give_away(site / "__pycache__")
    fleet.start()
    with fleet.client() as client:
        assert dict(_ask(client, "good").data) == {"who": "x"}


@pytest.mark.parametrize("change", [_give_away, _open_to_all, _open_to_group])
def test_a_policy_that_others_could_change_denies(fleet, change):
    """It denies while the node runs, with the reason; mended it allows again."""
    fleet.start()
    path = fleet.folder / "policies" / "default.policy"
    with fleet.client() as client:
        assert client.rpc("rpcutil", "ping", nodes=["web1"]).rows()[0].state is State.OK
        change(path)
        assert wait_until(lambda: _denied(client, path), 60)
        _restore(path)
        assert wait_until(lambda: not _denied(client, path), 60)


def _restore(path):
    os.chown(path, 0, 0)
    path.chmod(0o644)


def _denied(client, path):
    (row,) = client.rpc("rpcutil", "ping", nodes=["web1"]).rows()
    if row.state is not State.DENIED:
        return False
    assert str(path) in row.statusmsg
    assert "; run: ch" in row.statusmsg
    return True


@pytest.mark.parametrize("change", [_give_away, _open_to_all, _open_to_group])
@pytest.mark.parametrize("name", ["{}.toml", "broker.pass", "pki/ca.pem", "{}.key"])
@pytest.mark.parametrize("who", ["web1", "alice"])
def test_a_configuration_that_others_could_change_stops(fleet, who, name, change):
    """Configuration, passcode, CA and key: a node and a client alike end with one line, and 64."""
    path = fleet.folder / name.format(who)
    change(path)
    config = str(fleet.folder / f"{who}.toml")
    words = ["node", "--config", config] if who == "web1" else ["ping"]
    done = fleet.cli(*words, MCSHELL_CONFIG=config)
    assert done.returncode == 64, done
    (line,) = done.stderr.splitlines()
    assert str(path) in line
    assert "; run: ch" in line
    doctor = _doctor(fleet, who)
    assert any(state == "fail" and str(path) in detail for state, detail in doctor.values())


@pytest.mark.parametrize("change", [_give_away, _open_to_all, _open_to_group])
@pytest.mark.parametrize("who", ["web1", "alice"])
def test_a_state_directory_that_others_could_change_stops(fleet, who, change):
    """What has run and which certificates are good is kept there: a node and a client end with one line, and 74."""
    folder = fleet.folder / f"state-{who}"
    folder.mkdir(mode=0o700)
    change(folder)
    config = str(fleet.folder / f"{who}.toml")
    words = ["node", "--config", config] if who == "web1" else ["ping"]
    done = fleet.cli(*words, MCSHELL_CONFIG=config)
    assert done.returncode == 74, done
    (line,) = done.stderr.splitlines()
    assert str(folder) in line
    assert "; run: ch" in line
    state, detail = _doctor(fleet, who)["state directory"]
    assert (state, str(folder) in detail) == ("fail", True)


def test_a_discovery_program_that_others_could_change_is_not_run(fleet):
    """The client does not start it, by whatever way it is named, and says why."""
    program = fleet.folder / "find"
    program.write_text(f"#!/bin/sh\ntouch {fleet.folder}/ran\n")
    program.chmod(0o755)
    _open_to_group(program)
    told = ["--dm", "external", "--do", f"command={program}"]
    done = fleet.cli("find", *told)
    assert done.returncode
    assert f"the group {OTHER} can write it" in done.stderr
    with fleet.config.open("a") as config:
        config.write(f'[client]\nexternal_discovery = "{program}"\n')
    done = fleet.cli("find", "--dm", "external")
    assert f"the group {OTHER} can write it" in done.stderr
    assert not (fleet.folder / "ran").exists()
    state, detail = _doctor(fleet)["discovery program"]
    assert (state, f"the group {OTHER} can write it" in detail) == ("fail", True)


def test_a_handler_that_others_could_change_is_not_loaded(fleet):
    """A conversation with it ends with the reason, and its code has not run."""
    handler = fleet.folder / "site" / "converse" / "echo.py"
    handler.write_text(f"open({str(fleet.folder / 'ran')!r}, 'w')\n")
    _give_away(handler)
    fleet.start()
    with fleet.client() as client, pytest.raises(ConversationError):
        client.open("web1", "echo").receive(timeout=20)
    assert not (fleet.folder / "ran").exists()
    assert f"{handler}: it belongs to user {OTHER}" in (fleet.folder / "web1.log").read_text()
