"""MCollective's configuration files become ours."""

from __future__ import annotations

import stat
import tomllib
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.commands.mcollective_import import convert, parse
from mcshell.ddl.ddl_library import Library, shipped_dir
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


POOL = "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = stomp\n"


def test_a_server() -> None:
    """A node's file gives its network, its secret, its facts and classes, and notes of the rest."""
    made = convert(parse(SERVER)[0], "server", "node")
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
    section = convert(parse(CLIENT)[0], "client", "x").sections["mcollective"]
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
        (f"{POOL}securityprovider = mine", "mine"),
        (f"{POOL}ttl = soon", "ttl"),
        ("connector = rabbitmq\nplugin.rabbitmq.pool.size = 0", "no broker is named"),
        ("plugin.activemq.pool.size = 1", "pool.1.host is not set"),
        (f"{POOL}plugin.activemq.pool.1.port = abc", "pool.1.port = abc: no port"),
        (f"{POOL}plugin.activemq.pool.1.port = 99999", "no port"),
        (f"{POOL}plugin.activemq.pool.1.ssl = perhaps", "neither yes nor no"),
        (f"{POOL}ttl = {'9' * 20}", "^ttl = 9+: at most"),
        (f"{POOL}plugin.activemq.priority = {'9' * 20}", "activemq.priority = 9+: at most"),
        (f"{POOL}registerinterval = {'9' * 20}", "^registerinterval = 9+: at most"),
        (f"{POOL}ttl = 600 # ten minutes", "ttl = 600 # ten minutes: no whole number"),
    ],
)
def test_what_means_nothing_here(text: str, word: str) -> None:
    """What we cannot speak, and what is no setting, is an error that names it."""
    with pytest.raises(ConfigError, match=word):
        convert(parse(text, "x.cfg")[0], "server" if "register" in text else "client", "x")


PASSED_OVER = """\
   # a comment that is indented
\t
[section]
connector = rabbitmq
plugin.rabbitmq.pool.1.port =
plugin.rabbitmq.pool.1.password
plugin.rabbitmq.pool.size = 9
plugin.rabbitmq.pool.size = 1
plugin.rabbitmq.pool.1.host = mq
plugin.rabbitmq.pool.1.ssl = 1
  plugin.psk =   a = b
"""


def test_what_mcollective_passes_over() -> None:
    """Indented comments are none; stray lines and keys without a value are noted; the last one counts."""
    settings, notes = parse(PASSED_OVER, "x.cfg")
    assert notes == [
        "x.cfg:3: '[section]': no key = value: passed over, as MCollective does",
        "x.cfg:5: 'plugin.rabbitmq.pool.1.port =': no value: passed over, as MCollective does",
        "x.cfg:6: (hidden): no key = value: passed over, as MCollective does",
    ]
    made = convert(settings, "client", "x")
    assert made.sections["mcollective"]["urls"] == ["stomp+ssl://mq:61613"]
    assert made.secrets == {"x.psk": "a = b"}
    said = "\n".join(made.notes)
    assert "tls_ca" in said
    assert "psk proves that somebody" in said
    read = convert(settings | {"plugin.rabbitmq.pool.1.port": "61614 # tls"}, "client", "x")
    assert read.sections["mcollective"]["urls"] == ["stomp+ssl://mq:61614"]
    assert any("61614 # tls: read as 61614" in note for note in read.notes)


@pytest.mark.parametrize("kind", ["plain", "bom", "crlf", "latin-1 comment"])
def test_the_text_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """BOM, CRLF and a comment in another encoding are no matter."""
    text = CLIENT.encode()
    text = {
        "plain": text,
        "bom": b"\xef\xbb\xbf" + text,
        "crlf": text.replace(b"\n", b"\r\n"),
        "latin-1 comment": b" # cl\xe9 priv\xe9e\n" + text,
    }[kind]
    (tmp_path / "client.cfg").write_bytes(text)
    target = tmp_path / "x.toml"
    assert main(["config", "import", str(tmp_path / "client.cfg"), "-o", str(target)]) == 0
    assert config.load(target).mcollective.urls == ("stomp://stomp:61613",)
    assert "aes hides bodies" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (b"plugin.activemq.pool.1.port = abc\n", "no port"),
        (b"ttl = -5\n", "ttl"),
        (b"plugin.activemq.pool.1.host = a b\n", "urls"),
        (b"plugin.psk = \xe9\n", "line 15: not UTF-8"),
        (b"x = \0\n", "NUL"),
    ],
)
def test_nothing_is_written_unless_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: bytes, says: str
) -> None:
    """A value that cannot be used leaves no file behind, and neither does a file in the way."""
    (tmp_path / "client.cfg").write_bytes(CLIENT.encode() + more)
    words = ["config", "import", str(tmp_path / "client.cfg"), "-o", str(tmp_path / "x.toml")]
    assert main(words) == 64
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["client.cfg"]
    text = CLIENT.replace("aes_security", "psk") + "plugin.psk = x\n"
    (tmp_path / "client.cfg").write_text(text)
    (tmp_path / "x.psk").write_text("mine")
    assert main(words) == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["client.cfg", "x.psk"]
    assert (tmp_path / "x.psk").read_text() == "mine"
    assert main([*words[:-1], str(tmp_path / "none" / "x.toml")]) == 64


def test_the_file_that_is_named_is_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there, and a setting that is none: no draft of ours, no other place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.cfg").write_text(CLIENT + "ttl = -5\n")
    words = ["config", "import", "client.cfg", "-o", "new/x.toml"]
    assert main(words) == 64
    assert capsys.readouterr().err == "mcshell: new/x.toml: No such file or directory\n"
    (tmp_path / "new").mkdir()
    assert main(words) == 64
    assert f"{tmp_path}/new/x.toml: mcollective.ttl" in capsys.readouterr().err


def test_policies_stay_where_they_are(tmp_path: Path) -> None:
    """A node's policies are in the folder of its server.cfg, wherever that is."""
    (tmp_path / "server.cfg").write_text(SERVER)
    target = tmp_path / "x.toml"
    assert main(["config", "import", str(tmp_path / "server.cfg"), "-o", str(target)]) == 0
    assert config.load(target).node.policies == tmp_path / "policies"


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


def test_lists_and_addresses_are_read_as_there() -> None:
    """An empty part of a list is none, and an IPv6 address stands without brackets."""
    settings, _notes = parse(
        "collectives = eu, mcollective,\nlibdir = /a::/b:\nplugin.yaml = /f.yaml:\n"
        "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = 2001:db8::1\n"
    )
    made = convert(settings, "server", "node").sections
    assert made["mcollective"]["collectives"] == ["eu", "mcollective"]
    assert made["mcollective"]["libdir"] == ["/a", "/b"]
    assert made["mcollective"]["urls"] == ["stomp://[2001:db8::1]:61613"]
    assert made["node"]["facts"] == ["/f.yaml"]


@pytest.mark.parametrize("key", ["pool.1.port", "pool.size", "priority"])
def test_a_number_of_thousands_of_digits_is_refused_in_a_line(key: str) -> None:
    """It is shown in part."""
    text = "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = h\n"
    settings, _notes = parse(f"{text}plugin.activemq.{key} = {'9' * 5000}\n")
    with pytest.raises(ConfigError, match=f"{key} = 9{{60}}: no") as error:
        convert(settings, "client", "alice")
    assert len(str(error.value)) < 200


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
