"""Text files that people wrote on whatever machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell import config
from mcshell.client.discovery.groups import load_groups
from mcshell.client.discovery.node_lists import read_file
from mcshell.client.documents.reader import read_text
from mcshell.commands.context import Context
from mcshell.ddl import ddl_library
from mcshell.errors import ConfigError, UsageError
from mcshell.filters.nodes import no_groups
from mcshell.node.admission.policy import Policies
from mcshell.texts import bytes_of, decoded

ACTIONS = [{"action": "go", "description": "x", "input": {}, "output": {}}]
BOM = b"\xef\xbb\xbf"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("name", "why"), [("pipe", "nothing comes from this pipe"), ("/dev/zero", "larger than")]
)
def test_what_never_ends_is_refused(tmp_path: Path, name: str, why: str) -> None:
    """A pipe that nobody writes to, and a device: as a list of nodes, groups, or a document."""
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    conf = tmp_path / "c.toml"
    conf.write_text(f'[client]\ngroups = ["{path}"]\n')
    for read in (
        lambda: read_text(path),
        lambda: read_file(path, no_groups, "--nodes"),
        lambda: load_groups(config.load(conf)),
    ):
        with pytest.raises(UsageError, match=why) as caught:
            read()
        assert str(path) in str(caught.value)


def test_a_pipe_that_somebody_writes_to_is_read(tmp_path: Path) -> None:
    """As a shell makes one of `<(a command)`, however long that takes."""
    read, write = os.pipe()
    with subprocess.Popen(["sh", "-c", "sleep 0.3; echo web1"], stdout=write):
        os.close(write)
        assert bytes_of(Path(f"/dev/fd/{read}"), 100) == b"web1\n"
    os.close(read)


def test_a_pipe_whose_writer_begins_just_now_is_read(tmp_path: Path) -> None:
    """As in `mkfifo p; a command > p &`: who reads may be there first."""
    os.mkfifo(path := tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", 'sleep 0.3; echo web1 > "$0"', path]):
        assert bytes_of(path, 100) == b"web1\n"


@given(st.text(st.characters(exclude_characters="\r\0\ufeff", exclude_categories=["Cs"])))
def test_a_text_is_the_same_with_bom_and_crlf(text: str) -> None:
    """UTF-8 with or without BOM, CRLF or not, is one text."""
    for data in (text, text.replace("\n", "\r\n")):
        assert decoded(data.encode()) == decoded(BOM + data.encode()) == text


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """What is no UTF-8 is a ValueError of one line, which says where."""
    try:
        assert "\0" not in decoded(data)
    except ValueError as error:
        said = str(error)
        assert "UTF-" in said and "\n" not in said  # noqa: PT018 - either may come


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("a\n".encode("utf-16"), "it is UTF-16"),
        ("a\n".encode("utf-16-be"), "line 1: a NUL byte"),
        ("a\n".encode("utf-32"), "it is UTF-32"),
        (b"a\nb\xfc\n", r"line 2: not UTF-8 \(byte 0xfc\)"),
        (b"a\r\nb\0", "line 2: a NUL byte"),
    ],
)
def test_another_encoding_is_named(data: bytes, says: str) -> None:
    """UTF-16, Latin-1 and binary files are told apart."""
    with pytest.raises(ValueError, match=says):
        decoded(data)


def changed(text: str) -> bytes:
    """A text as an editor of another system saves it."""
    return BOM + text.replace("\n", "\r\n").encode()


def test_configuration_and_passcode(tmp_path: Path) -> None:
    """Both are read with BOM and CRLF; in another encoding they are refused by name."""
    path = tmp_path / "c.toml"
    path.write_bytes(changed('[broker]\nuser = "mcs"\npasscode_file = "p"\n'))
    (tmp_path / "p").write_bytes(changed("secret\nother\n"))
    (tmp_path / "p").chmod(0o600)
    broker = config.load(path).broker
    assert (broker.user, broker.passcode()) == ("mcs", "secret")
    (tmp_path / "p").write_bytes("secret\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="it is UTF-16"):
        broker.passcode()
    path.write_bytes("[broker]\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"c\.toml: not TOML: it is UTF-16"):
        config.load(path)


def test_a_policy(tmp_path: Path) -> None:
    """A policy that an editor has saved with a BOM and CRLF says what it says."""
    path = tmp_path / "service.policy"
    path.write_bytes(changed("policy default deny\nallow\tcert=alice\tstatus\t*\t*\n"))
    assert Policies(tmp_path).flaws() == []
    path.write_bytes("policy default deny\n".encode("utf-16"))
    ((_name, flaw),) = Policies(tmp_path).flaws()
    assert "it is UTF-16" in str(flaw)


def test_a_schema(tmp_path: Path) -> None:
    """A DDL of either form."""
    metadata = dict.fromkeys(("description", "author", "license", "version", "url"), "x")
    document = {"metadata": {"name": "own", "timeout": 5, **metadata}, "actions": ACTIONS}
    (tmp_path / "own.json").write_bytes(changed(json.dumps(document, indent=1)))
    said = ", ".join(f':{key} => "x"' for key in metadata)
    (tmp_path / "old.ddl").write_bytes(
        changed(
            f'metadata :name => "old",\n  {said}, :timeout => 5\naction "go", :description => "x"\n'
        )
    )
    assert ddl_library.read(tmp_path / "own.json").name == "own"
    assert ddl_library.read(tmp_path / "old.ddl").name == "old"


def test_plans_rules_and_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents in YAML, and a script on standard input."""
    path = tmp_path / "x"
    path.write_bytes(changed("plan: a\n"))
    assert read_text(path) == "plan: a\n"
    with path.open(encoding="latin-1") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert Context("cli").standard_text() == "plan: a\n"
    path.write_bytes(b"ping\nZ\xfc\n")
    with pytest.raises(UsageError, match="line 2: not UTF-8"):
        read_text(path)
    with path.open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(UsageError, match="standard input: line 2: not UTF-8"):
            Context("cli").standard_text()
