"""What the settings promise: four sources, one winner, an origin for each, no unknown key."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell import config
from mcshell.config import loading
from mcshell.errors import ConfigError

FULL = """
state = "state"
[broker]
urls = ["stomp+ssl://a.example.com:61614", "stomp://[::1]:61613"]
user = "mcs"
passcode_file = "broker.pass"
[pki]
ca = "ca.pem"
cert = "alice.pem"
key = "/keys/alice.key"
crl_max_age = "2d"
refuse_expired_crl = true
[collective]
main = "mcs"
member = ["mcs", "eu"]
[client]
timeout = "1m30s"
confirm_share = "50%"
[node]
facts = ["facts.d/*.yaml"]
agents = ["my/agents"]
max_reply = "2MiB"
max_skew = 5
limits.exec = { slots = 1, timeout = "10s", memory = "1GiB", output = "64kB" }
[pools.sms]
members = ["web*"]
[agents.file]
roots = ["/srv"]
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the tests comes in."""
    import os

    for name in os.environ:
        if name.startswith("MCSHELL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A configuration file with something in each section."""
    path = tmp_path / "mcshell.toml"
    path.write_text(FULL)
    (tmp_path / "broker.pass").write_text("s3cret\n")
    return path


def test_a_file_is_read_with_units_and_paths_relative_to_it(written: Path) -> None:
    """Durations become seconds, sizes bytes, and paths start from the file."""
    settings = config.load(written)
    here = written.parent
    assert settings.path == written
    assert settings.broker.urls == ("stomp+ssl://a.example.com:61614", "stomp://[::1]:61613")
    assert settings.broker.passcode() == "s3cret"
    assert settings.pki.files() == (here / "ca.pem", here / "alice.pem", Path("/keys/alice.key"))
    assert settings.pki.crl_max_age == 2 * 86400
    assert settings.pki.refuse_expired_crl is True
    assert settings.collective.member == ("mcs", "eu")
    assert settings.client.timeout == 90.0
    assert settings.client.confirm_share == "50%"
    assert settings.node.facts == (f"{here}/facts.d/*.yaml",)
    assert settings.node.agents == (here / "my/agents",)
    assert settings.node.max_reply == 2 * 2**20
    assert settings.node.max_skew == 5.0
    assert settings.node.limits["exec"] == config.Limit(1, 10.0, 2**30, 64_000)
    assert settings.pools["sms"].members == ("web*",)
    assert settings.serves("sms", "web1")
    assert not settings.serves("sms", "db1")
    assert not settings.serves("mail", "web1")
    assert settings.agents["file"] == {"roots": ["/srv"]}
    assert settings.state_dir == here / "state"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("alice.key", Path("alice.key")),
        ("file:alice.key", Path("alice.key")),
        ("./ssh:alice.key", Path("ssh:alice.key")),
        ("C:alice.key", Path("C:alice.key")),
        ("ssh-agent:alice@laptop", config.KeyReference("ssh-agent", "alice@laptop")),
        ("pkcs11:token=a;object=b:c", config.KeyReference("pkcs11", "token=a;object=b:c")),
    ],
)
def test_a_key_is_a_file_or_a_signers(tmp_path: Path, text: str, key: object) -> None:
    """A path starts from the configuration's folder; SCHEME:REST is handed on as it is."""
    path = tmp_path / "mcshell.toml"
    path.write_text(f'[pki]\nca = "ca.pem"\ncert = "alice.pem"\nkey = "{text}"\n')
    pki = config.load(path).pki
    if isinstance(key, Path):
        assert pki.files()[2] == tmp_path / key
        return
    assert pki.complete()[2] == key
    assert str(key) == text
    with pytest.raises(ConfigError, match="TLS to the broker needs a key file"):
        pki.files()


def test_defaults_hold_without_any_file(tmp_path: Path) -> None:
    """Without file and environment everything has its default, and says so."""
    settings = config.load()
    assert settings.path is None
    assert settings.broker.urls == ("stomp://127.0.0.1:61613",)
    assert settings.broker.passcode() == ""
    assert settings.collective == config.CollectiveSettings("mcs", ("mcs",))
    assert (settings.client.timeout, settings.client.probe) == (10.0, 1.5)
    assert settings.node.max_ttl == 180 * 86400
    assert settings.state_dir == tmp_path / "xdg-state" / "mcshell"
    assert set(settings.origins.values()) == {"default"}


def test_the_platforms_own_file_is_found(tmp_path: Path) -> None:
    """The file in the platform's place is read when nobody names another."""
    path = tmp_path / "xdg-config" / "mcshell" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[broker]\nuser = "here"\n')
    settings = config.load()
    assert settings.broker.user == "here"
    assert settings.origins["broker.user"] == str(path)


def test_flag_beats_environment_beats_file_beats_default(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest source wins, and each value tells where it came from."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(written))
    monkeypatch.setenv("MCSHELL_CLIENT_TIMEOUT", "7s")
    monkeypatch.setenv("MCSHELL_BROKER_URLS", "stomp://one:1, stomp://two:2")
    monkeypatch.setenv("MCSHELL_PASSCODE", "from-env")
    monkeypatch.setenv("MCSHELL_NODE_SLOTS", "9")
    settings = config.load(overrides={"client.timeout": "3s", "broker.user": None})
    assert settings.client.timeout == 3.0
    assert settings.broker.urls == ("stomp://one:1", "stomp://two:2")
    assert settings.broker.passcode() == "from-env"
    assert settings.node.slots == 9
    origins = settings.origins
    assert origins["client.timeout"] == "flag"
    assert origins["broker.urls"] == "MCSHELL_BROKER_URLS"
    assert origins["broker.user"] == str(written)
    assert origins["client.probe"] == "default"
    assert origins["broker.passcode"] == "MCSHELL_PASSCODE"


def test_the_state_directory_has_its_own_variable(
    written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MCSHELL_STATE beats the file's `state`."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "elsewhere"))
    settings = config.load(written)
    assert settings.state_dir == tmp_path / "elsewhere"
    assert settings.origins["state"] == "MCSHELL_STATE"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("[brokr]\n", "brokr", ["unknown key brokr", "did you mean broker"]),
        ("[broker]\nurl = 'x'\n", "broker.url", ["unknown key broker.url", "did you mean urls"]),
        ("[client]\ntimeout = 'soon'\n", "client.timeout", ["'soon' is no duration"]),
        ("[client]\ntimeout = -1\n", "client.timeout", ["-1 is no duration"]),
        ("[client]\nconfirm_share = 'half'\n", "client.confirm_share", ["percentage"]),
        ("[node]\nmax_reply = '1 parsec'\n", "node.max_reply", ["is no size"]),
        ("[node]\nslots = 0\n", "node.slots", ["0 is less than 1: nothing would ever be done"]),
        ("[node]\nspool_max = '0'\n", "node.spool_max", ["'0' is less than 1"]),
        ("[node]\nmax_reply = 0\n", "node.max_reply", ["less than 1KiB"]),
        ("[node]\nmax_ttl = '0s'\n", "node.max_ttl", ["less than a minute"]),
        ("[node]\nlimits.a.slots = 0\n", "node.limits.a.slots", ["0 is less than 1"]),
        ("[node]\nlimits.a.timeout = 0\n", "node.limits.a.timeout", ["less than 1ms"]),
        ("[node]\nlimits.a.memory = 0\n", "node.limits.a.memory", ["less than 1MiB"]),
        ("[node]\nslots = 9223372036854775808\n", "node.slots", ["64 bits at most"]),
        ("[node]\nmax_reply = '9000000000GiB'\n", "node.max_reply", ["64 bits at most"]),
        (f"[node]\naudit_max = '{'9' * 400}GB'\n", "node.audit_max", ["64 bits at most"]),
        ("[node]\nregister_every = '80000d'\n", "node.register_every", ["longer than 200 years"]),
        ("[node]\nslots = true\n", "node.slots", ["True is no whole number"]),
        ("[node]\nagents = 3\n", "node.agents", ["3 is no list of strings"]),
        ("[broker]\nurls = ['http://x:1']\n", "broker.urls", ["is no stomp://HOST:PORT"]),
        ("[broker]\nurls = []\n", "broker.urls", ["no broker is named"]),
        ("[collective]\nmain = 'Ünion'\n", "collective.main", ["is no name"]),
        ("[pools.sms]\nmember = []\n", "pools.sms.member", ["did you mean members"]),
        ("[node]\nlimits.exec = { slot = 1 }\n", "node.limits.exec.slot", ["did you mean slots"]),
        ("[node]\nlimits = 3\n", "node.limits", ["3 is no table"]),
        ("pools = 1\n", "pools", ["it is a table"]),
        ("[agents]\nfile = 1\n", "agents.file", ["it is a table"]),
        ("[broker\n", "", ["not TOML"]),
    ],
)
def test_a_bad_file_is_refused_by_key_and_file(
    tmp_path: Path, text: str, key: str, words: list[str]
) -> None:
    """Whatever is wrong in the file is one line with file, key and what was meant."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert caught.value.key == key
    assert caught.value.origin == str(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of one of our sections that means nothing is an error, not ignored."""
    monkeypatch.setenv("MCSHELL_BROKER_URL", "stomp://x:1")
    with pytest.raises(ConfigError, match="did you mean MCSHELL_BROKER_URLS"):
        config.load()


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody named and that is missing is an error."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        config.load()


def test_what_pki_lacks_is_named() -> None:
    """Asking for files that are not configured names the first missing key."""
    with pytest.raises(ConfigError, match=r"pki\.ca is not set"):
        config.load().pki.files()


def test_settings_are_frozen_and_hide_the_passcode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody changes settings after loading, and their repr holds no secret."""
    monkeypatch.setenv("MCSHELL_PASSCODE", "hunter2")
    settings = config.load()
    with pytest.raises(FrozenInstanceError):
        settings.client.timeout = 1.0  # type: ignore[misc]
    assert "hunter2" not in repr(settings)


def test_every_key_has_a_reader() -> None:
    """No field of a section is out of a file's reach, but for the passcode itself."""
    for section, readers in loading.READERS.items():
        assert {field.name for field in fields(section)} - {"secret"} == set(readers)


@given(st.integers(0, 10**6), st.sampled_from(["", "ms", "s", "m", "h", "d", "w"]))
def test_durations_scale_with_their_unit(number: int, unit: str) -> None:
    """A number and a unit is that many of the unit's seconds."""
    factor = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    assert config.seconds(f"{number}{unit}") == pytest.approx(number * factor)


@given(st.text(max_size=12))
def test_readers_of_units_refuse_with_valueerror_only(text: str) -> None:
    """Any text is a quantity of at least 0 or a ValueError."""
    for read in (config.seconds, config.size):
        try:
            assert read(text) >= 0
        except ValueError:
            continue


def test_loading_stays_light() -> None:
    """The node daemon's settings load none of the heavy libraries."""
    code = (
        "import sys, mcshell.config as c, pathlib;"
        "c.load();"
        "bad = {'yaml', 'pandas', 'IPython', 'asyncio', 'jsonschema'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("section", ["node", "supervisor", "client"])
def test_metrics_are_off_until_a_file_is_named(tmp_path: Path, section: str) -> None:
    """Its path starts from the configuration's folder; interval and readers have defaults."""
    path = tmp_path / "mcshell.toml"
    path.write_text(f'[{section}]\nmetrics = "x.prom"\nmetrics_readers = "group"\n')
    found = getattr(config.load(path), section)
    assert (found.metrics, found.metrics_every) == (tmp_path / "x.prom", 15.0)
    assert found.metrics_readers == "group"
    assert getattr(config.load(), section).metrics is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('metrics = "x.txt"', "does not end in .prom"),
        ('metrics_every = "0s"', "less than a second"),
        ('metrics_readers = "everyone"', "is not one of group, all"),
    ],
)
def test_a_metrics_setting_that_cannot_be_used_is_refused(
    tmp_path: Path, line: str, said: str
) -> None:
    """With one line that names it and says why."""
    path = tmp_path / "mcshell.toml"
    path.write_text(f"[node]\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        config.load(path)


@pytest.mark.parametrize("raw", ["9" * 400, f"{'9' * 400}w", 10**400, float("inf")])
def test_a_duration_without_end_is_refused(raw: object) -> None:
    """Infinity is no length, nor is what a number of a machine cannot hold."""
    with pytest.raises(ValueError, match="a duration has an end"):
        config.seconds(raw)
    assert config.seconds("36500d") == 36500 * 86400


def test_the_home_of_nobody_is_no_path(tmp_path: Path) -> None:
    """A setting that names it is refused as any other that is none."""
    path = tmp_path / "x.toml"
    path.write_text('state = "~nobody_here/state"\n')
    with pytest.raises(ConfigError, match=r"state: .*there is no such home"):
        config.load(path)
