"""The manual builds without a warning, leads nowhere that is not there, and has every word of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.grammar import topics
from mcshell.commands.grammar.parser import help_text
from mcshell.commands.grammar.verbs import VERBS
from mcshell.commands.output import result
from mcshell.config import Limit, Pool, variables
from mcshell.config.loading import READERS, SECTIONS
from mcshell.ddl.ddl_library import Library, builtin_dir, shipped_dir
from mcshell.docs import markdown, pages, reference
from mcshell.errors import ExitCode, MCShellError, Reason, UsageError
from mcshell.filters.values import MEANINGS, OPERATORS
from mcshell.message import JOB_STATES, State
from mcshell.node.agents.loading import load_agent
from mcshell.node.store import job_table, records
from tests.docs.conftest import build

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.timeout(240)
SETTINGS = [f"{name}.{key}" for name, cls in SECTIONS.items() for key in READERS[cls]]
WORDS = [*SETTINGS, *(one.value for one in (*State, *Reason)), *(str(int(one)) for one in ExitCode)]
WORDS += [*JOB_STATES, "[client]", "=~", "package.status"]
Manual = "dict[str, BuiltPage]"


def test_each_link_leads_somewhere(manual: Manual) -> None:
    """Each link between the pages names a file that was built and a place that is in it."""
    by_path = {page.path.resolve(): page for page in manual.values()}
    seen = 0
    for page in manual.values():
        for link in page.links:
            name, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            target = (page.path.parent / name).resolve() if name else page.path.resolve()
            assert target in by_path, f"{page.path}: {link}"
            assert not anchor or anchor in by_path[target].anchors, f"{page.path}: {link}"
            seen += 1
    assert seen > 1000


def test_each_page_is_built(manual: Manual) -> None:
    """Each page that `help` knows is in the manual, with something in it."""
    for page in pages.pages():
        assert page.title in manual[page.place].text
        assert len(page.text) > 100, page.place


def test_every_verb(manual: Manual, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb is there as `help` shows it, and that has its summary and each of its options."""
    monkeypatch.setenv("COLUMNS", "96")
    text = manual["reference/verbs"].text
    for name, verb in VERBS.items():
        told = help_text(name.split(), face=verb.only or "cli")
        assert told in text
        assert verb.summary in told
        flags = {flag for one in verb.kind.arguments().values() for flag in one.flags}
        assert {flag for flag in flags if flag not in told} == set()


def test_every_setting(manual: Manual) -> None:
    """Each key is there, with its type, its default and what it means."""
    words = manual["reference/settings"].words
    assert set(SETTINGS) <= set(words)
    assert {f"node.limits.AGENT.{key}" for key in READERS[Limit]} <= set(words)
    assert {f"pools.NAME.{key}" for key in READERS[Pool]} <= set(words)
    assert {"state", "groups.NAME", "aliases.WORD", "agents.NAME"} <= set(words)
    assert len(words) == len(set(words))


def test_every_variable_is_a_setting_of_the_page() -> None:
    """What the page says of the environment is what is read from it."""
    named = {f"MCSHELL_{key.replace('.', '_').upper()}" for key in SETTINGS}
    others = variables() - named
    assert others == {"MCSHELL_CONFIG", "MCSHELL_STATE", "MCSHELL_PASSCODE"}
    text = pages.page("settings").text
    assert all(name in text for name in others)


@pytest.mark.parametrize("cls", READERS, ids=lambda cls: cls.__name__)
def test_each_setting_says_what_it_means(cls: type) -> None:
    """A key without a meaning, and a meaning without a key, are found out; so is a key that is no field."""
    assert reference.attributes(cls).keys() == READERS[cls].keys()
    assert READERS[cls].keys() <= {one.name for one in fields(cls)}


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped_dir().glob("*.py")))
def test_each_setting_of_an_agent_is_told(manual: Manual, name: str) -> None:
    """The page has each key that the agent takes, with what it means, and no other."""
    taken = load_agent(shipped_dir() / f"{name}.py").settings
    assert reference.agent_settings()[name].keys() == taken.keys()
    told = {
        word for word in manual["reference/settings"].words if word.startswith(f"agents.{name}.")
    }
    assert told == {f"agents.{name}.{key}" for key in taken}


def test_every_state_and_reason_and_code(manual: Manual) -> None:
    """Each is there once for each thing that has it, in the order of the code."""
    states = manual["reference/states"].words
    assert states == [*(one.value for one in State), *JOB_STATES]
    assert manual["reference/reasons"].words == [one.value for one in Reason]
    assert manual["reference/exit-codes"].words == [str(int(one)) for one in ExitCode]


def test_what_a_word_means_is_said() -> None:
    """Each member of the three has its line, and no line is about none."""
    for kind in (State, Reason, ExitCode):
        assert list(reference.attributes(kind)) == [one.name for one in kind]


def test_the_states_of_jobs_are_the_nodes() -> None:
    """Those that the manual names are those that a node's table knows."""
    assert JOB_STATES.keys() == job_table.OPEN | job_table.ENDED | {records.RUNNING}


def test_the_exit_codes_are_those_in_use() -> None:
    """Each error's code is one of them, and so is whatever a line comes to."""
    kinds, found = [MCShellError], set()
    while kinds:
        kind = kinds.pop()
        found.add(kind.exit_code)
        kinds += kind.__subclasses__()
    found |= {result.USAGE, result.INTERNAL, result.INTERRUPTED}
    assert found <= set(ExitCode)


def test_every_operator(manual: Manual) -> None:
    """Each spelling is there, and each meaning."""
    assert MEANINGS.keys() == set(OPERATORS.values())
    text = manual["reference/operators"].text
    assert all(word in text for word in OPERATORS)


def test_every_action(manual: Manual) -> None:
    """Each action of each agent is there, with all its inputs and outputs."""
    library = Library([shipped_dir(), builtin_dir()])
    page = manual["reference/actions"]
    for name in library.agents():
        for action in library.get(name).actions.values():
            assert f"{name}.{action.name}" in page.words
            told = reference.entry(f"{name}.{action.name}")
            assert all(f"`{one}`" in told for one in (*action.inputs, *action.outputs))


def test_man_pages(tmp_path: Path) -> None:
    """The same pages are man pages: the verbs, the settings, the tasks."""
    names = {path.name for path in build("man", tmp_path).iterdir()}
    assert {"mcshell.1", "mcshell-settings.5", "mcshell-run-a-plan.7"} <= names
    assert len(names) == len(pages.names()) + 1


@pytest.mark.parametrize("name", pages.names())
def test_help_shows_a_page(name: str) -> None:
    """`help NAME` is the page's own text, without what only a browser needs."""
    told = help_text([name])
    assert told.startswith(pages.page(name).title)
    assert "```" not in told
    assert "<!--" not in told
    assert name in help_text()


@pytest.mark.parametrize("word", dict.fromkeys(WORDS))
def test_help_explains_a_word(word: str) -> None:
    """`help WORD` is what the reference says of it, of each thing that has the word."""
    told = help_text([word])
    assert word in told
    assert len(told.splitlines()) > 3


def test_no_page_is_called_as_a_verb_or_a_word() -> None:
    """`help NAME` means one thing."""
    taken = {*VERBS, *(name.split()[0] for name in VERBS), *WORDS}
    assert taken & pages.names().keys() == set()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("setings", "settings"),
        ("client.timout", "client.timeout"),
        ("silnt", "silent"),
        ("package.staus", "package.status"),
    ],
)
def test_help_on_nothing_names_what_is_near(written: str, meant: str) -> None:
    """A page, or a word of the reference, that was written wrongly is guessed, as a verb is."""
    with pytest.raises(UsageError, match=f"did you mean {re.escape(meant)}"):
        help_text([written])


def test_a_section_that_is_gone_is_an_error() -> None:
    """A page cannot lose what it takes from a document without a word."""
    with pytest.raises(LookupError, match="no section 'Gone'"):
        markdown.between("# A\n\ntext\n", "Gone")


def test_the_languages_come_first() -> None:
    """The three languages of a line lead the list of what help explains."""
    assert topics.parts()["languages"] == list(topics.LANGUAGES)
