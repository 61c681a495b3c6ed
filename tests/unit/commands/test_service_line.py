"""`mcshell node` without the grammar: what is read is what the grammar reads, all else is left to it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.grammar.parser import parse
from mcshell.commands.service_line import read_node_line
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

WORDS = st.lists(
    st.sampled_from(
        [
            *("--config", "/etc/mcshell/node.toml", "--log-json", "--until-eof", "--check"),
            *(
                "--log-level",
                "debug",
                "--config=x",
                "-",
                "--",
                "",
                "enroll",
                "forget",
                "-h",
                "--con",
            ),
        ]
    )
    | st.text(max_size=4),
    max_size=5,
)


@given(WORDS)
def test_it_reads_what_the_grammar_reads(words: list[str]) -> None:
    """Whatever it reads at all, the grammar takes for a daemon's line with the same options."""
    line = read_node_line(words)
    if line is None:
        return
    invocation = parse(["node", *words], face="cli")
    options = invocation.options
    assert invocation.verb is not None
    assert invocation.verb.name == "node"
    assert (options.config, options.log_json, options.until_eof) == (
        line.config,
        line.log_json,
        line.until_eof,
    )
    assert (options.check, options.log_level) == (False, "info")


def test_it_reads_what_a_service_manager_writes() -> None:
    """The lines with which daemons are started are read."""
    for words in ([], ["--config", "n.toml"], ["--until-eof", "--config", "n.toml", "--log-json"]):
        assert read_node_line(words) is not None


@pytest.mark.parametrize(
    "words",
    [
        *(["--config"], ["--config", "--log-json"], ["--log-json", "--log-json"], ["forget", "a"]),
        *(["--check"], ["--log-level", "debug"], ["--config", "a", "--config", "b"], ["--helpp"]),
    ],
)
def test_it_leaves_all_else(words: list[str]) -> None:
    """What it does not know is left to the grammar, with what is wrong in it."""
    assert read_node_line(words) is None


def test_a_daemon_loads_no_command_line(tmp_path: Path) -> None:
    """A line that is read here loads neither the grammar nor argparse; what is wrong is one line."""
    config = tmp_path / "node.toml"
    config.write_text("[nod]\n")
    code = (
        "import sys; from mcshell import __main__ as m; import mcshell.shell as s;"
        f"sys.argv[1:] = ['node', '--config', {str(config)!r}];"
        "run = m._chosen(); loaded = set(sys.modules);"
        "print(sorted(loaded & {'argparse', 'mcshell.shell.cli', 'mcshell.commands.grammar.verbs'}));"
        "sys.exit(run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "[]\n"
    assert (done.returncode, done.stderr.count("\n")) == (UsageError.exit_code, 1), done.stderr
    assert done.stderr.startswith("mcshell: ")
    assert "nod" in done.stderr
