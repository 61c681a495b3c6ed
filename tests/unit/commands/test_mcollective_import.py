"""MCollective's configuration files become ours."""

from __future__ import annotations

import stat
import tomllib
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.commands.mcollective_import import convert, parse
from mcshell.ddl.library import Library, shipped_dir
from mcshell.errors import ConfigError
from mcshell.shell.cli import main

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """\
# a node
main_collective = eu
collectives = mcollective, eu
libdir = /usr/share/mcollective/plugins:/opt/plugins
identity = web1.example.com
logger_type = file
logfile = /var/log/mcollective.log
daemonize = 1
direct_addressing = 1
ttl = 90
registerinterval = 600
securityprovider = psk
plugin.psk = a = secret
connector = rabbitmq
plugin.rabbitmq.vhost = /mcollective
plugin.rabbitmq.use_reply_exchange = yes
plugin.rabbitmq.pool.size = 2
plugin.rabbitmq.pool.1.host = one.example.com
plugin.rabbitmq.pool.1.port = 61614
plugin.rabbitmq.pool.1.user = mcollective
plugin.rabbitmq.pool.1.password = marionette
plugin.rabbitmq.pool.1.ssl = true
plugin.rabbitmq.pool.1.ssl.ca = /etc/ssl/ca.pem
plugin.rabbitmq.pool.2.host = two.example.com
plugin.rabbitmq.pool.2.user = other
factsource = yaml
plugin.yaml = /etc/mcollective/facts.yaml:/etc/more.yaml
classesfile = /var/lib/puppet/classes.txt
rpcaudit = 1
rpcauditprovider = logfile
plugin.rpcaudit.logfile = /var/log/audit.log
rpcauthorization = 1
rpcauthprovider = action_policy
plugin.mine.thing = 7
"""
CLIENT = """\
collectives = mcollective
securityprovider = aes_security
plugin.aes.serializer = yaml
plugin.aes.client_private = /home/alice/alice-private.pem
plugin.aes.client_public = /home/alice/alice.pem
plugin.aes.server_public = /etc/mcollective/server.pem
plugin.aes.send_pubkey = 1
ssl_cipher = aes-128-cbc
connector = activemq
plugin.activemq.pool.size = 1
plugin.activemq.pool.1.host = stomp
plugin.activemq.agents_multiplex = 1
plugin.activemq.base64 = 1
plugin.activemq.priority = 4
"""


def test_a_server() -> None:
    """A node's file gives its network, its secret, its facts and classes, and notes of the rest."""
    made = convert(parse(SERVER), "server", "node")
    assert made.sections["mcollective"] == {
        "enabled": True,
        "collectives": ["eu", "mcollective"],
        "identity": "web1.example.com",
        "urls": ["stomp+ssl://one.example.com:61614", "stomp://two.example.com:61613"],
        "user": "mcollective",
        "tls_ca": "/etc/ssl/ca.pem",
        "passcode_file": "node.pass",
        "vhost": "/mcollective",
        "reply_exchange": True,
        "direct_addressing": True,
        "ttl": "90s",
        "libdir": ["/usr/share/mcollective/plugins", "/opt/plugins"],
        "security": "psk",
        "psk_file": "node.psk",
        "register_every": "600s",
    }
    assert made.sections["node"] == {
        "facts": ["/etc/mcollective/facts.yaml", "/etc/more.yaml"],
        "classes": "/var/lib/puppet/classes.txt",
        "policies": "/etc/mcollective/policies",
    }
    assert made.secrets == {"node.pass": "marionette", "node.psk": "a = secret"}
    text = "\n".join(made.notes)
    for word in ("plugin.mine.thing = 7", "pool.2.user", "mco-psk:uid=0", "/var/log/audit.log"):
        assert word in text


def test_a_client() -> None:
    """A client's file gives its keys, the serializer and the connector's options."""
    section = convert(parse(CLIENT), "client", "x").sections["mcollective"]
    assert section == {
        "enabled": True,
        "collectives": ["mcollective"],
        "urls": ["stomp://stomp:61613"],
        "agents_multiplex": True,
        "base64": True,
        "priority": 4,
        "security": "aes",
        "serializer": "yaml",
        "private": "/home/alice/alice-private.pem",
        "public": "/home/alice/alice.pem",
        "nodes": "/etc/mcollective/server.pem",
        "cipher": "aes-128-cbc",
        "send_pubkey": True,
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("connector = redis", "redis"),
        ("securityprovider = mine", "mine"),
        ("ttl = soon", "ttl"),
        ("no setting at all", ":1:"),
    ],
)
def test_what_means_nothing_here(text: str, word: str) -> None:
    """What we cannot speak, and what is no setting, is an error that names it."""
    with pytest.raises(ConfigError, match=word):
        convert(parse(text, "x.cfg"), "client", "x")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config import` writes a file that loads and secrets that only their owner reads."""
    source = tmp_path / "etc" / "server.cfg"
    (source.parent / "plugin.d").mkdir(parents=True)
    source.write_text(SERVER)
    (source.parent / "plugin.d" / "rabbitmq.cfg").write_text("agents_multiplex = 1\n")
    target = tmp_path / "node.toml"
    assert main(["config", "import", str(source), "-o", str(target)]) == 0
    settings = config.load(target).mcollective
    assert settings.agents_multiplex
    assert settings.psk_file == tmp_path / "node.psk"
    assert tomllib.loads(target.read_text())["mcollective"]["enabled"] is True
    for name in ("node.psk", "node.pass", "node.toml"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert "marionette" not in capsys.readouterr().out + target.read_text()
    assert main(["config", "import", str(source), "-o", str(target)]) == 64


def test_whose_file_it_is(tmp_path: Path) -> None:
    """A file whose name does not say whose it is wants --role."""
    source = tmp_path / "mine.cfg"
    source.write_text(CLIENT)
    words = ["config", "import", str(source), "-o", str(tmp_path / "x.toml")]
    assert main(words) == 64
    assert main([*words, "--role", "client"]) == 0


def test_ddl_export(tmp_path: Path) -> None:
    """`ddl export` writes what reads back as the same schemas, for all agents or the named ones."""
    assert main(["ddl", "export", str(tmp_path / "all")]) == 0
    folder = tmp_path / "all" / "mcollective" / "agent"
    ours, theirs = Library([shipped_dir()]), Library([folder])
    assert "rpcutil" not in theirs.agents()
    assert {"package", "service"} <= set(theirs.agents())
    for name in ("package", "service"):
        assert list(theirs.get(name).actions) == list(ours.get(name).actions)
    assert main(["ddl", "export", str(tmp_path / "one"), "rpcutil"]) == 0
    assert Library([tmp_path / "one" / "mcollective" / "agent"]).agents() == ["rpcutil"]
    assert main(["ddl", "export", str(tmp_path / "none"), "nothing"]) == 64
