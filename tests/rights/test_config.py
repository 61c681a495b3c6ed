"""What `mcshell broker config` writes, without a broker: names, modes, refusals."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.broker.config import activemq, rabbitmq, read_record, rewrite, write
from mcshell.broker.config.enrolment import PASSCODE_FILE
from mcshell.broker.config.rights import Holder, Permission, own_rights, role_rights
from mcshell.broker.config.site import DAY, Site, holders_of, survey
from mcshell.commands.context import Context
from mcshell.commands.run import run_words
from mcshell.config import Pool
from mcshell.errors import ConfigError, UsageError
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.stomp.dialects import ACTIVEMQ, RABBITMQ

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}", fullmatch=True)
CALLERS = st.from_regex(r"[a-z0-9][a-z0-9._@+-]{0,12}", fullmatch=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA with an operator and two nodes."""
    made = Authority.init(tmp_path / "ca")
    for name, kind in (("alice", "operator"), ("web1", "node"), ("db1", "node")):
        made.issue(name, kind, out=tmp_path / "pki")
    return made


def site(directory: Path, authority: Authority) -> Site:
    """A broker on the loopback interface."""
    return survey(
        directory,
        authority,
        collectives=["mcs", "eu"],
        pools={"sms": Pool(("web*",))},
        listen="127.0.0.1",
        port=61614,
        retention=187 * DAY,
        longest_ttl=180 * DAY,
    )


@pytest.mark.parametrize("kind", ["activemq", "rabbitmq"])
def test_secrets_are_the_owners_alone(kind: str, authority: Authority, tmp_path: Path) -> None:
    """Keys, key stores and what holds their password are 0600; the directory is 0700."""
    write(kind, site(tmp_path / "conf", authority), authority, ["localhost"], 180 * DAY)
    assert stat.S_IMODE((tmp_path / "conf").stat().st_mode) == 0o700
    secrets = {"server.key"} | ({"activemq.xml", "server.p12", "trust.p12"} & _names(tmp_path))
    for name in secrets:
        assert stat.S_IMODE((tmp_path / "conf" / name).stat().st_mode) == 0o600, name
    assert (tmp_path / "conf" / "start").stat().st_mode & 0o100
    assert "start" in (tmp_path / "conf" / "README.md").read_text()


def _names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "conf").iterdir()}


def test_a_certificate_that_serves_is_kept_and_one_that_does_not_is_replaced(
    authority: Authority, tmp_path: Path
) -> None:
    """Written again for the same hosts it stays; for another host, or once it is revoked, there is a
    new one.
    """
    pem = tmp_path / "conf" / "server.pem"
    found = []
    for hosts in (["localhost", "127.0.0.1"], ["127.0.0.1"], ["mq.example.com"]):
        write("activemq", site(tmp_path / "conf", authority), authority, hosts, 180 * DAY)
        found.append(pem.read_bytes())
    assert found[0] == found[1] != found[2]
    (name,) = [e["name"] for e in authority.listing() if e["name"].endswith("mq.example.com")]
    authority.revoke(name)
    write("activemq", site(tmp_path / "conf", authority), authority, ["mq.example.com"], 180 * DAY)
    assert pem.read_bytes() not in found
    assert {holder.name for holder in holders_of(authority, {})} == {"alice", "web1", "db1"}


def test_impossible_wishes_are_refused(authority: Authority, tmp_path: Path) -> None:
    """A retention below the longest ttl, or without end, and a host that is no address to listen at."""
    wishes = {"listen": "127.0.0.1", "retention": 187 * DAY}
    for wrong, text in (
        ({"retention": 10 * DAY}, "shorter than the longest ttl"),
        ({"retention": 9999 * DAY}, "no broker keeps time"),
        ({"listen": "mq.example.com"}, "IP address"),
    ):
        with pytest.raises(UsageError, match=text):
            survey(
                tmp_path,
                authority,
                collectives=["mcs"],
                pools={},
                port=1,
                longest_ttl=180 * DAY,
                **{**wishes, **wrong},
            )


def test_doctor_warns_when_requests_outlive_what_the_broker_keeps(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The written retention is held against node.max_ttl as it is now."""
    write("rabbitmq", site(tmp_path / "conf", authority), authority, ["localhost"], 180 * DAY)
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    config = tmp_path / "mcshell.toml"
    for ttl, state in (("180d", "ok"), ("200d", "warn")):
        config.write_text(f'[node]\nmax_ttl = "{ttl}"\n[broker]\nurls = ["stomp://127.0.0.1:9"]\n')
        words = ["doctor", "--config", str(config), "--broker", str(tmp_path / "conf")]
        _, table = run_words(words, Context())
        (row,) = [row for row in table.rows if row[0].startswith("broker config")]
        assert row[1] == state, row
    (tmp_path / "conf" / "mcshell.json").unlink()
    _, table = run_words(words, Context())
    assert [row[1] for row in table.rows if row[0].startswith("broker config")] == ["fail"]


def test_what_was_said_once_is_kept_and_a_change_is_named(
    authority: Authority, tmp_path: Path
) -> None:
    """Run again it keeps hosts, address, port and retention, and the broker's certificate."""
    conf = tmp_path / "conf"
    words = ["broker", "config", "rabbitmq", "--dir", str(conf), "--pki", str(tmp_path / "ca")]
    said = ["--host", "mq.example.com", "--listen", "127.0.0.1", "--tls-port", "61999"]
    run_words([*words, *said, "--retention", "200d"], Context())
    files = {path.name: path.read_bytes() for path in conf.iterdir() if path.is_file()}
    _, table = run_words(words, Context())
    assert {path.name: path.read_bytes() for path in conf.iterdir() if path.is_file()} == files
    assert table.rows[0][2] == "stomp+ssl://mq.example.com:61999"
    assert not [note for note in table.notes if note.startswith("changed")]
    _, table = run_words([*words, "--listen", "127.0.0.2"], Context())
    assert "changed: --listen was 127.0.0.1, is 127.0.0.2" in table.notes
    assert "127.0.0.2:61999" in (conf / "rabbitmq.conf").read_text()
    assert (conf / "server.pem").read_bytes() == files["server.pem"]
    record = json.loads((conf / "mcshell.json").read_text())
    del record["options"]  # as an earlier version wrote it
    (conf / "mcshell.json").write_text(json.dumps(record))
    _, table = run_words(words, Context())
    assert table.rows[0][2].startswith("stomp+ssl://mq.example.com:")
    assert (conf / "server.pem").read_bytes() == files["server.pem"]


def test_nothing_is_signed_with_the_key_of_another_ca(authority: Authority, tmp_path: Path) -> None:
    """What a foreign CA's key could do is not done: the line says what cannot, and nothing is written."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("ca.pem", "ca.key"):
        (foreign / name).write_bytes((authority.directory / name).read_bytes())
        (foreign / name).chmod(0o600)
    words = ["broker", "config", "rabbitmq", "--dir", str(tmp_path / "conf"), "--pki", str(foreign)]
    with pytest.raises(ConfigError, match="a CA that mcshell does not keep"):
        run_words(words, Context())
    assert not (tmp_path / "conf").exists()
    assert {path.name for path in foreign.iterdir()} == {"ca.pem", "ca.key"}


def test_the_broker_takes_what_nodes_may_answer(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`max_reply` makes the limit, RabbitMQ's of 4 MiB included; doctor compares it with today's."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    config, conf = tmp_path / "mcshell.toml", tmp_path / "conf"
    where = ["--config", str(config)]
    words = ["broker", "config", "rabbitmq", "--dir", str(conf), "--pki", str(tmp_path / "ca")]

    def checked() -> str:
        _, table = run_words(["doctor", "--broker", str(conf), *where], Context())
        return next(row[1] for row in table.rows if row[0].startswith("broker config"))

    for size in ("8MiB", "40MiB"):
        config.write_text(
            f'[node]\nmax_reply = "{size}"\n[broker]\nurls = ["stomp://127.0.0.1:9"]\n'
        )
        run_words([*words, *where], Context())
        largest = json.loads((conf / "mcshell.json").read_text())["largest"]
        assert largest > int(size.removesuffix("MiB")) << 20
        assert f"max_frame_size, {largest}}}" in (conf / "advanced.config").read_text()
        assert f"max_message_size = {largest}" in (conf / "rabbitmq.conf").read_text()
        assert checked() == "ok"
    config.write_text(config.read_text().replace("40MiB", "80MiB"))
    assert checked() == "warn"


def test_two_with_one_common_name_are_left_out_on_activemq() -> None:
    """ActiveMQ could not tell them apart, so neither gets the other's rights."""
    long = "n" * 64
    holders = [Holder(kind="node", name=f"{long}{end}") for end in "ab"] + [
        Holder(kind="node", name="web1")
    ]
    kept, apart = activemq._distinct(holders)
    assert [holder.name for holder in kept] == ["web1"]
    assert len(apart) == 2


def test_a_pool_is_read_by_its_members_whoever_they_are() -> None:
    """An operator who serves a pool (a supervisor) may read it, and answer."""
    pools = {"inventory": Pool(("sup*",)), "sms": Pool(("web*",))}
    supervisor = Holder.of("operator", "sup1", pools)
    rights = own_rights(supervisor, ["mcs"])
    assert any(r.do is Permission.READ and r.name == "mcs.mcs.pool.inventory" for r in rights)
    assert any(r.do is Permission.WRITE and r.name == "mcs.mcs.reply" for r in rights)
    assert Holder.of("node", "web1", pools).pools == ("sms",)


def _allows(holder: Holder, do: Permission, destination: str, broker: str) -> bool:
    """Whether a right matches, as this broker understands its own words."""
    _, kind, name = destination.split("/", 2)
    for right in [*role_rights(holder.kind, ["mcs"]), *own_rights(holder, ["mcs"])]:
        if right.kind == kind and right.do is do:
            if broker == "rabbitmq" and re.fullmatch(rabbitmq._regex(right), name):
                return True
            if broker == "activemq" and _wild(
                (right.name + activemq._TAILS[right.tail]).split("."), name.split(".")
            ):
                return True
    return False


def _wild(pattern: list[str], name: list[str]) -> bool:
    """ActiveMQ's wildcards: `*` is a word, `>` is the rest, which may be nothing."""
    if not pattern or pattern[0] == ">":
        return bool(pattern) or not name
    return bool(name) and pattern[0] in ("*", name[0]) and _wild(pattern[1:], name[1:])


@pytest.mark.parametrize("broker", ["activemq", "rabbitmq"])
@given(one=CALLERS, other=CALLERS, session=st.from_regex(r"[a-z0-9_-]{1,6}", fullmatch=True))
def test_no_operator_is_named_into_anothers_replies(
    broker: str, one: str, other: str, session: str
) -> None:
    """Whatever two operators are called, each reads her own reply queues and only those."""
    hers = destinations.reply("mcs", f"cert={other}", session)
    assert _allows(Holder(kind="operator", name=one), Permission.READ, hers, broker) is (
        one == other
    )
    assert _allows(Holder(kind="node", name="web1"), Permission.WRITE, hers, broker)


@pytest.mark.parametrize("broker", ["activemq", "rabbitmq"])
@given(one=NAMES, other=NAMES)
def test_no_node_is_named_into_anothers_queues(broker: str, one: str, other: str) -> None:
    """Whatever two nodes are called, dots and all, each reads its own queues and only those."""
    for queue in (destinations.node("mcs", other), destinations.work("mcs", other)):
        assert _allows(Holder(kind="node", name=one), Permission.READ, queue, broker) is (
            one == other
        )
        assert not _allows(Holder(kind="node", name=one), Permission.WRITE, queue, broker)
        assert _allows(Holder(kind="operator", name="alice"), Permission.WRITE, queue, broker)


def test_replies_go_by_topic_on_rabbitmq_alone() -> None:
    """The reply queue is bound to the topic of its name; every other destination stays as it is."""
    queue = destinations.reply("mcs", "cert=alice", "s1")
    name = queue.removeprefix("/queue/")
    assert RABBITMQ.send_to(queue) == f"/topic/{name}"
    assert RABBITMQ.subscribe_to(queue) == {
        "destination": f"/topic/{name}",
        "durable": "true",
        "auto-delete": "false",
        "x-queue-name": name,
    }
    for other in (destinations.work("mcs", "a.reply.b"), destinations.broadcast("mcs")):
        assert RABBITMQ.send_to(other) == other
        classic = {"x-queue-type": "classic"} if other.startswith("/topic/") else {}
        assert RABBITMQ.subscribe_to(other) == {"destination": other, **classic}
    assert ACTIVEMQ.send_to(queue) == queue


def test_rabbitmq_users_have_no_password(authority: Authority, tmp_path: Path) -> None:
    """No user is made with a password, nor with any right in the management."""
    made = rabbitmq.definitions(site(tmp_path, authority))
    assert {user["password_hash"] for user in made["users"]} == {""}
    assert all(user["tags"] == [] for user in made["users"])
    assert json.dumps(made)


MEMBERS = ("mq1.example.com", "mq2.example.com", "mq3.example.com")


def test_a_cluster_has_a_folder_a_member_and_one_secret(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the member that its folder names; written again, secret and certificates stay."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    conf = tmp_path / "conf"
    words = ["broker", "config", "rabbitmq", "--dir", str(conf), "--pki", str(authority.directory)]
    _, table = run_words([*words, "--cluster", ",".join(MEMBERS)], Context())
    assert [row[2] for row in table.rows] == [f"stomp+ssl://{one}:61614" for one in MEMBERS]
    kept = {path: path.read_bytes() for path in conf.rglob("*") if path.is_file()}
    for member in MEMBERS:
        assert f"node=mcshell@{member} " in (conf / member / "cluster").read_text()
        assert stat.S_IMODE((conf / member / ".erlang.cookie").stat().st_mode) == 0o600
        lines = (conf / member / "rabbitmq.conf").read_text().splitlines()
        assert "default_queue_type = quorum" in lines
        assert sum("classic_config.nodes." in line for line in lines) == len(MEMBERS)
        policies = json.loads((conf / member / "definitions.json").read_text())["policies"]
        assert {"delivery-limit": -1}.items() <= policies[1]["definition"].items()
    assert len({(conf / member / ".erlang.cookie").read_text() for member in MEMBERS}) == 1
    run_words(words, Context())
    assert {path: path.read_bytes() for path in conf.rglob("*") if path.is_file()} == kept
    config = tmp_path / "mcshell.toml"
    config.write_text('[broker]\nurls = ["stomp://127.0.0.1:9"]\n')
    _, table = run_words(["doctor", "--broker", str(conf), "--config", str(config)], Context())
    (row,) = (row for row in table.rows if row[0].startswith("broker config"))
    assert row[1] == "ok", row


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rabbitmq", "--cluster", "a,b"], "three different hosts"),
        (["rabbitmq", "--cluster", "a,b,b"], "three different hosts"),
        (["rabbitmq", "--cluster", "a,b,c d"], "a host's name or address is meant"),
        (["rabbitmq", "--cluster", "a,b,../c"], "a host's name or address is meant"),
        (["activemq", "--cluster", "a,b,c"], "shared store"),
        (["rabbitmq", "--cluster", "a,b,c", "--host", "d"], "--host and --cluster"),
    ],
)
def test_what_is_no_cluster_is_refused(
    authority: Authority, tmp_path: Path, words: list[str], meant: str
) -> None:
    """Before anything is written."""
    where = ["--dir", str(tmp_path / "conf"), "--pki", str(authority.directory)]
    with pytest.raises(UsageError, match=meant):
        run_words(["broker", "config", *words, *where], Context())
    assert not (tmp_path / "conf").exists()


@pytest.mark.parametrize("kind", ["activemq", "rabbitmq"])
def test_a_port_for_enrolment_is_kept_until_it_is_taken_away(
    kind: str, authority: Authority, tmp_path: Path
) -> None:
    """Its passcode is the owner's alone and stays when the configuration is written again; 0 removes both."""
    conf, passcode = tmp_path / "conf", tmp_path / "conf" / PASSCODE_FILE
    text = conf / {"activemq": "activemq.xml", "rabbitmq": "rabbitmq.conf"}[kind]
    words = ["broker", "config", kind, "--dir", str(conf), "--pki", str(tmp_path / "ca")]
    run_words(words, Context())
    without = text.read_text()
    assert not passcode.exists()
    _, table = run_words([*words, "--host", "mq", "--enrol-port", "61615"], Context())
    assert any("stomp+ssl://mq:61615" in note for note in table.notes)
    assert any("when the broker is started again" in note for note in table.notes)
    assert stat.S_IMODE(passcode.stat().st_mode) == 0o600
    said = passcode.read_text()
    assert len(said) > 24
    files = {path.name: path.read_bytes() for path in conf.iterdir() if path.is_file()}
    run_words(words, Context())
    assert passcode.read_text() == said
    assert "61615" in text.read_text()
    if kind == "rabbitmq":  # ActiveMQ's key stores get a new password each time
        assert {path.name: path.read_bytes() for path in conf.iterdir() if path.is_file()} == files
        assert said.strip() not in files["definitions.json"].decode()
    run_words([*words, "--enrol-port", "0"], Context())
    assert not passcode.exists()
    assert "61615" not in text.read_text()
    if kind == "rabbitmq":
        assert text.read_text() == without


@pytest.mark.parametrize("port", ["61614", "65536"])
def test_a_port_that_cannot_be_for_enrolment_is_refused(
    port: str, authority: Authority, tmp_path: Path
) -> None:
    """It is neither the fleet's nor beyond the last."""
    words = ["broker", "config", "rabbitmq", "--dir", str(tmp_path / "conf"), "--enrol-port", port]
    with pytest.raises(UsageError, match="a port of its own"):
        run_words([*words, "--pki", str(tmp_path / "ca")], Context())


@pytest.mark.parametrize("kind", ["activemq", "rabbitmq"])
def test_it_is_written_again_for_who_is_new(
    kind: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options of the last time, and without its movers; where nothing was written it is refused."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    conf, settings = tmp_path / "conf", Context().settings
    with pytest.raises(ConfigError, match="has written nothing there"):
        rewrite(conf, authority, settings)
    words = ["broker", "config", kind, "--dir", str(conf), "--pki", str(tmp_path / "ca")]
    said = ["--host", "mq.example.com", "--tls-port", "61999", "--enrol-port", "61615"]
    run_words([*words, *said, "--retention", "200d", "--mover", "alice"], Context())
    rights = conf / {"activemq": "activemq.xml", "rabbitmq": "definitions.json"}[kind]
    movers = {"activemq": "operator.alice", "rabbitmq": "unrouted"}[kind]
    before, of_a_mover = read_record(conf), rights.read_text().count(movers)
    authority.issue("new1", "node", out=tmp_path / "pki")
    rewrite(conf, authority, settings)
    after = read_record(conf)
    assert after["identities"] == sorted([*before["identities"], "node:new1"])
    assert {**after, "identities": 0} == {**before, "identities": 0}
    assert "new1" in rights.read_text()
    assert rights.read_text().count(movers) < of_a_mover


def test_doctor_names_the_port_for_enrolment(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor --broker DIR` says where it is, and warns when its passcode has gone."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    conf = tmp_path / "conf"
    words = ["broker", "config", "activemq", "--dir", str(conf), "--pki", str(tmp_path / "ca")]
    run_words([*words, "--enrol-port", "61615"], Context())

    def checked() -> tuple[str, str]:
        _, table = run_words(["doctor", "--broker", str(conf)], Context())
        (row,) = [row for row in table.rows if row[0].startswith("broker config")]
        return row[1], row[2]

    state, said = checked()
    assert state == "ok"
    assert "enrolment at port 61615" in said
    (conf / PASSCODE_FILE).unlink()
    state, said = checked()
    assert state == "warn"
    assert PASSCODE_FILE in said


def test_members_of_a_cluster_share_the_passcode(authority: Authority, tmp_path: Path) -> None:
    """Whoever serves the CA comes in at each member with the one beside the members' folders."""
    conf, members = tmp_path / "conf", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    words = ["broker", "config", "rabbitmq", "--dir", str(conf), "--pki", str(tmp_path / "ca")]
    run_words([*words, "--cluster", ",".join(members), "--enrol-port", "61615"], Context())
    folders = [conf, *(conf / member for member in members)]
    assert len({(folder / PASSCODE_FILE).read_text() for folder in folders}) == 1
    users = [(conf / member / "definitions.json").read_text() for member in members]
    assert len(set(users)) == 1
