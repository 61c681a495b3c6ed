"""Where names of nodes come from, and what needs no broker."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from mcshell.commands.context import Context
from mcshell.errors import ConfigError, UsageError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The surroundings of a cell, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return Context("magic")


def test_names_come_from_a_file_with_comments_and_ranges(context: Context) -> None:
    """Names of one kind may share a line; sets are expanded, each name comes once."""
    Path("hosts").write_text("web1, web2  # the two\n\ndb[1,3-5]\n# web3\n")
    assert context.names("hosts") == ("web1", "web2", "db1", "db3", "db4", "db5")


def test_names_come_from_standard_input(context: Context) -> None:
    """`-` is standard input."""
    context.stdin = io.StringIO("a\nb\n")
    assert context.names("-") == ("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        ["a", "b", "a"],
        ("a", "b"),
        {"b", "a"},
        pd.Series(["a", "b"]),
        pd.DataFrame({"sender": ["a", "b", None, "a"], "x": 1}),
        pd.Index(["a", "b"]),
    ],
)
def test_a_variable_wins_over_a_file(context: Context, value: object) -> None:
    """A list, a Series or a table with a `sender` column names nodes, each once."""
    Path("hosts").write_text("from-file")
    context.variables = {"hosts": value}
    assert context.names("hosts") == ("a", "b")
    assert context.names("./hosts") == ("from-file",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pd.DataFrame({"x": [1]}), "needs a `sender`"),
        ([1, 2], "a list of names"),
        ("web1", "a list of names"),
        (None, "a list of names"),
    ],
)
def test_a_variable_that_holds_no_names_is_refused(
    context: Context, value: object, words: str
) -> None:
    """What is no list of names is a usage error, not a guess."""
    context.variables = {"hosts": value}
    with pytest.raises(UsageError, match=words):
        context.names("hosts")


def test_a_file_that_is_not_there_is_named(context: Context) -> None:
    """The error says what was looked for."""
    with pytest.raises(UsageError, match="--nodes none: there is no such variable or file"):
        context.names("none")
    with pytest.raises(UsageError, match="there is no such file"):
        Context("cli").names("none")
    Path("latin").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="--nodes latin"):
        context.names("latin")


def test_the_ca_is_the_one_given_or_configured(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--pki` wins, then the directory of `pki.ca`; without both the error says what to do."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(tmp_path / "c.toml"))
    (tmp_path / "c.toml").write_text("")
    assert context.ca_dir("x") == Path("x")
    with pytest.raises(ConfigError, match="--pki DIR"):
        context.ca_dir(None)
    monkeypatch.setenv("MCSHELL_PKI_CA", str(tmp_path / "ca" / "ca.pem"))
    assert Context("cli").ca_dir(None) == tmp_path / "ca"
