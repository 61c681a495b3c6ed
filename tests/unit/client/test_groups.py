"""`@GROUP`: who is meant, and what is refused because nobody can tell."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.discovery.group_book import GroupBook
from mcshell.client.discovery.groups import group_lookup, identities, load_groups, resolved
from mcshell.client.discovery.targeting import targeting_of
from mcshell.errors import ConfigError, FilterError, UsageError
from mcshell.filters.nodes import expand
from mcshell.shell.cli import main

if TYPE_CHECKING:
    from pathlib import Path

CLUSH = "roles:\n  web: web[1-3]\n  all: '@web,db1'\nracks:\n  r1: [web1, db1]\n"
FLAT = "# of clush\nold: x[1-2],x9!x2\nweb: web[1-3]\n"
ANSIBLE = "[web]\nweb[1:3]\n[edge]\nedge1 ansible_host=mail7\n[site:children]\nweb\nedge\n"
CONFIG = '[client]\ngroups = ["g/*"]\n[groups]\nmine = "web[1,3]"\nboth = ["@mine", "db1"]\n'


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """A configuration with groups of every kind beside it."""
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "cluster.yaml").write_text(CLUSH)
    (tmp_path / "g" / "flat.cfg").write_text(FLAT)
    (tmp_path / "g" / "plain.yaml").write_text("flat: [y1, y2]\n")
    (tmp_path / "g" / "inventory.ini").write_bytes(b"\xef\xbb\xbf" + ANSIBLE.encode())
    (tmp_path / "c.toml").write_text(CONFIG)
    return config.load(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("@mine", "web1 web3"),
        ("@both", "web1 web3 db1"),
        ("@roles:all", "web1 web2 web3 db1"),
        ("@r1", "web1 db1"),
        ("@old", "x1 x9"),
        ("@flat", "y1 y2"),
        ("@web", "web1 web2 web3"),
        ("@site", "web1 web2 web3 edge1"),
        ("@inventory:all", "web1 web2 web3 edge1"),
        ("@web!@mine", "web2"),
        ("@web&@r1", "web1"),
        ("@mine^@r1", "web3 db1"),
        ("@edge,Web2.", "edge1 web2"),
    ],
)
def test_a_group(settings: config.Settings, word: str, names: str) -> None:
    """Groups of the configuration, of clush and of Ansible, and what is made of them."""
    assert expand([word], group_lookup(lambda: settings)) == names.split()


def test_which_of_two(settings: config.Settings) -> None:
    """Where two files differ nobody is meant, until the source is named; the own is meant first."""
    groups = load_groups(settings)
    with pytest.raises(FilterError, match="roles and inventory have it, with other nodes"):
        groups("all")
    path = settings.path
    assert path is not None
    path.write_text(CONFIG + 'all = "db1"\n')
    assert load_groups(config.load(path))("all") == ["db1"]


def test_no_group(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that is not there is named, with what may have been meant; nobody is asked."""
    groups = load_groups(settings)
    with pytest.raises(FilterError, match=r"there is no group @mien \(did you mean mine"):
        groups("mien")
    with pytest.raises(FilterError, match="there is no group @roles:mine"):
        groups("roles:mine")
    monkeypatch.setattr("mcshell.client.discovery.groups._PLACES", ())  # whoever has clush has some
    with pytest.raises(FilterError, match="no group @web: there are no groups"):
        expand(["@web"], group_lookup(lambda: config.load(None, overrides={"state": "x"})))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "a: {x: '@y', y: '@x'}\n", "the group is in itself"),
        ("a.yaml", "a: {x: [1, {b: c}]}\n", "neither clush groups nor an Ansible inventory"),
        ("a.yaml", "a: {x: web1, x: web2}\n", "line 1: 'x' is there twice"),
        ("a.ini", "[x]\nkey = value\n", "line 2"),
        ("a.cfg", "x: web 1; y\n", "no name of a node"),
        ("a.cfg", "x\x00: web1\n", "NUL"),
    ],
)
def test_a_file_that_is_none_of_groups(
    settings: config.Settings, tmp_path: Path, name: str, text: str, says: str
) -> None:
    """It is named, with the line; nobody is meant by what it has."""
    (tmp_path / "g" / name).write_text(text)
    with pytest.raises((UsageError, FilterError), match=says):
        load_groups(settings)("x")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A pattern of the configuration that fits no file is named."""
    (tmp_path / "c.toml").write_text('[client]\ngroups = ["no.yaml"]\n')
    with pytest.raises(UsageError, match=r"client\.groups: .*no\.yaml: there is no such file"):
        load_groups(config.load(tmp_path / "c.toml"))


@pytest.mark.parametrize("text", ["[groups]\na = 1\n", "[groups]\na = [1]\n", "groups = 1\n"])
def test_groups_of_the_configuration_are_sets(tmp_path: Path, text: str) -> None:
    """What is no set of nodes is refused when the configuration is read."""
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match="groups"):
        config.load(tmp_path / "c.toml")


def test_a_filter_has_names_that_any_node_can_read(settings: config.Settings) -> None:
    """What goes over the wire has no groups: sets, one an entry; patterns are left alone."""
    groups = group_lookup(lambda: settings)
    assert identities(["@both", "/^@x/", "web9"], groups) == ("db1", "web[1,3]", "/^@x/", "web9")
    with pytest.raises(FilterError, match="nobody is in it"):
        identities(["@mine!@mine"], groups)


def test_a_targeting_of_python(settings: config.Settings, tmp_path: Path) -> None:
    """Groups stand in `nodes`, in `identities` and in a file of names."""
    groups = group_lookup(lambda: settings)
    (tmp_path / "list").write_text("@mine\ndb1\n")
    assert resolved(targeting_of(nodes=["@r1", "X"]), groups).nodes == ("web1", "db1", "x")
    assert resolved(targeting_of(nodes=tmp_path / "list"), groups).nodes == ("web1", "web3", "db1")
    found = resolved(targeting_of(identities="@r1", where="a=b"), groups)
    assert found.filter.identity == ("db1", "web1")


def test_doctor_tells_who_the_groups_are(
    settings: config.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each group with the number of its nodes; what cannot be read is one row that says so."""
    words = ["--config", str(settings.path), "doctor", "--jsonl"]
    main(words)
    rows = {row["check"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["groups"]["state"] == "ok"
    assert "@mine 2" in rows["groups"]["detail"]
    assert settings.path is not None
    (settings.path.parent / "g" / "bad.yaml").write_text("a: [b, {c: d}]\n")
    main(words)
    rows = {row["check"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["groups"]["state"] == "fail"
    assert "bad.yaml: neither clush groups" in rows["groups"]["detail"]


def test_groups_in_groups_cost_what_they_are() -> None:
    """Each is read once, however often it stands in others, and these in others again."""
    groups = {f"g{n}": [f"@g{n + 1},@g{n + 1}"] for n in range(20)} | {"g20": ["web1"]}
    began = time.process_time()
    assert GroupBook({"file": groups})("g0") == ["web1"]
    assert time.process_time() - began < 2  # one by one: 20
