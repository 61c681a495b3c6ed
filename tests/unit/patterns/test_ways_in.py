"""Every way in of a foreign pattern: each is linear, and what RE2 cannot say is refused or bounded.

A way takes a pattern and a text, and gives what is then decided: True where the pattern is found.
Those that go through running daemons are in `tests/hostile/test_foreign_patterns.py`; the table
is in `mcshell/README.md` §6.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.ddl import load, ruby
from mcshell.errors import DDLError, FilterError, Rejected
from mcshell.filters import compile_filter
from mcshell.filters.rows import compile_rows
from mcshell.message import Filter
from mcshell.node.admission.policy_conditions import parse_condition
from mcshell.node.admission.policy_file import parse_policy
from mcshell.node.agent import AgentError, found_in
from mcshell.wire.mcollective.filters import from_ruby
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol
from tests.unit.ddl.documents import an_input, document
from tests.unit.filters.strategies import Node

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = (FilterError, Rejected, AgentError, DDLError)
RUBY = """metadata :name => "agent", :description => "d", :author => "a", :license => "l",
         :version => "1.0", :url => "u", :timeout => 10
action "act", :description => "d" do
  input :x, :prompt => "p", :description => "d", :type => :string, :validation => '%s',
        :optional => false, :maxlength => 0
end
"""


def node(text: str) -> Node:
    """A node that has the text wherever a filter may look."""
    names = frozenset([text])
    data = {"fact": {"value": text}}
    return Node(identity=text, agents=names, classes=names, facts={"t": text}, data=data)


def by_filter(**parts: str) -> Callable[[str, str], bool]:
    """A part of a native filter, `%s` for the pattern."""

    def way(pattern: str, text: str) -> bool:
        made = {part: (written.replace("%s", pattern),) for part, written in parts.items()}
        return compile_filter(Filter(**made)).matches(node(text))

    return way


def by_old_wire(make: Callable[[str], dict[str, Any]]) -> Callable[[str, str], bool]:
    """A part of MCollective's filter."""
    return lambda pattern, text: compile_filter(from_ruby(make(pattern))).matches(node(text))


def old_fact(pattern: str) -> dict[str, Any]:
    """Its form of a fact filter."""
    parts = {"fact": "t", "operator": "=~", "value": f"/{pattern}/"}
    return {"fact": [{RubySymbol(key): value for key, value in parts.items()}]}


def old_data(pattern: str) -> dict[str, Any]:
    """Its form of a data plugin in a compound filter."""
    call = {"name": "fact", "params": "t", "operator": "=~", "value": "value"}
    return {"compound": [[{"fstatement": {**call, "r_compare": RubyRegexp(pattern)}}]]}


def takes(schema: Any, text: str) -> bool:
    """Whether an action of a schema takes the text for its input."""
    assert schema.flaws == ()
    return schema.action("act").inputs["x"].rules[-1](text) is None


def by_ddl(pattern: str, text: str) -> bool:
    """A validation in a JSON schema."""
    return takes(load(document(input={"x": an_input(validation=pattern)})), text)


def by_ruby_ddl(pattern: str, text: str) -> bool:
    """A validation in a schema of MCollective's."""
    return takes(load(ruby.read(RUBY % pattern, "agent.ddl")), text)


def by_caller(pattern: str, text: str) -> bool:
    """A caller's regex in a policy."""
    policy = parse_policy(f"allow\t/{pattern}/\t*\t*\t*\n", {})
    assert policy.flaws == ()
    return policy.rules[0].callers.include(text, allow=True)


def by_condition(facts: str, classes: str | None) -> Callable[[str, str], bool]:
    """A condition of a policy."""

    def way(pattern: str, text: str) -> bool:
        field = None if classes is None else classes.replace("%s", pattern)
        condition = parse_condition(facts.replace("%s", pattern), field)
        assert condition is not None
        subject = node(text)
        asked = SimpleNamespace(facts=subject.facts, classes=subject.classes, query=subject.query)
        return condition.holds(asked) is True

    return way


FROM_WIRE = {
    "fact filter": by_filter(fact="t=~%s"),
    "fact filter in slashes": by_filter(fact="t=/%s/"),
    "class filter": by_filter(cls="/%s/"),
    "agent filter": by_filter(agent="/%s/"),
    "identity filter": by_filter(identity="/%s/"),
    "compound filter, fact": by_filter(compound="t=/%s/ and t=/./"),
    "compound filter, class": by_filter(compound="/%s/ or t=never"),
    "compound filter, data plugin": by_filter(compound="fact('t').value=/%s/"),
    "old wire, fact": by_old_wire(old_fact),
    "old wire, class": by_old_wire(lambda pattern: {"cf_class": [f"/{pattern}/"]}),
    "old wire, agent": by_old_wire(lambda pattern: {"agent": [f"/{pattern}/"]}),
    "old wire, identity": by_old_wire(lambda pattern: {"identity": [RubyRegexp(pattern)]}),
    "old wire, compound": by_old_wire(
        lambda pattern: {"compound": [[{"statement": f"t=/{pattern}/"}]]}
    ),
    "old wire, data plugin": by_old_wire(old_data),
    "rows of a table": lambda pattern, text: compile_rows(f"t=/{pattern}/")({"t": text}),
    "an agent's input": lambda pattern, text: found_in(pattern, [text])[0],
}
FROM_FILE = {
    "validation in a JSON DDL": by_ddl,
    "validation in a Ruby DDL": by_ruby_ddl,
    "policy, caller": by_caller,
    "policy, fact": by_condition("t=~/%s/", "*"),
    "policy, class": by_condition("*", "/%s/"),
    "policy, compound": by_condition("(t=/%s/ or t=never)", None),
    "policy, data plugin": by_condition("(fact('t').value=/%s/)", None),
}
WAYS = FROM_WIRE | FROM_FILE


@pytest.mark.parametrize("way", WAYS)
def test_a_nasty_pattern_costs_little(way):
    """What `re` never ends on is decided in half a second of processor."""
    for pattern in ("^(a+)+$", "^(a|a)*$", "^([a-z]+[.]?)+$"):
        began = time.process_time()
        assert WAYS[way](pattern, "a" * 20_000 + "!") is False
        assert WAYS[way](pattern, "a" * 20_000) is True
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize("way", FROM_WIRE)
@pytest.mark.parametrize("pattern", ["^(?!b)a", r"(a)\1", "(?=a)(a+)+$", "a{2000}"])
def test_what_came_over_the_wire_and_cannot_be_said_is_refused(way, pattern):
    """In one line, before anything is searched."""
    with pytest.raises(REFUSED, match=r"is not to be had here \(it runs in RE2\)"):
        FROM_WIRE[way](pattern, "aa")


@pytest.mark.parametrize("way", FROM_FILE)
def test_what_stands_in_a_file_and_cannot_be_said_is_bounded(way):
    """It is decided by a child; where that comes to no end, the answer is no."""
    assert FROM_FILE[way]("^(?!b)a", "aa") is True
    assert FROM_FILE[way]("^(?!a)a", "aa") is False
    began = time.process_time()
    assert FROM_FILE[way]("^(?=a)(a+)+$", "a" * 40 + "!") is False
    assert time.process_time() - began < 0.5


IN_SCHEMAS = ["validation in a JSON DDL", "validation in a Ruby DDL"]


@pytest.mark.parametrize("way", WAYS.keys() - {*IN_SCHEMAS})
def test_what_is_no_regex_is_refused(way):
    """Where it stands, by name."""
    with pytest.raises((*REFUSED, AssertionError)):
        WAYS[way]("(a", "a")


def test_what_is_no_regex_costs_a_schema_its_input():
    """The schema is read and says what is wrong; a node that serves the action takes no such input."""
    for flawed in (
        load(document(input={"x": an_input(validation="(a")})),
        load(ruby.read(RUBY % "(a", "agent.ddl")),
    ):
        assert any("(a" in flaw for flaw in flawed.flaws)


def test_a_policy_that_cannot_tell_denies():
    """A caller's regex that comes to no end denies in a `deny`, and allows nobody in an `allow`."""
    text = "deny\t/^(?=c)(c|cert|e|r|t|=|a|aa)+$/\t*\t*\t*\n"
    callers = parse_policy(text, {}).rules[0].callers
    caller = "cert=" + "a" * 60 + "!"
    assert callers.include(caller, allow=False) is True
    assert callers.include(caller, allow=True) is False


def test_a_glob_does_not_backtrack():
    """`package.list` takes `*` and `?`: the worst of them over long names costs little."""
    import fnmatch

    began = time.process_time()
    for number in range(200):
        assert not fnmatch.fnmatchcase("a" * 200 + str(number), "*a" * 60 + "*b")
    assert time.process_time() - began < 0.5
