"""The compound language: what parses to what, what is refused, and what it means."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import FilterError
from mcshell.filters import compile_filter, parse_where
from mcshell.filters.compound import MAX_LENGTH, parse
from mcshell.filters.expressions import compile_expression
from mcshell.filters.tree import (
    And,
    ClassTest,
    DataTest,
    FactTest,
    Not,
    Or,
    conjunction,
    disjunction,
    show,
)
from mcshell.filters.values import Regex, SpelledText
from mcshell.message import Filter
from tests.unit.filters.strategies import Node, datas, expressions, holds, nodes, tests


def refusal(text):
    """Say what is wrong with a filter, or nothing when it compiles."""
    try:
        compile_expression(parse(text))
    except FilterError as error:
        return str(error)
    return ""


A, B, C = (ClassTest(SpelledText(name)) for name in "abc")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a and b or c", Or((And((A, B)), C))),
        ("a or b and c", Or((A, And((B, C))))),
        ("(a or b) and c", And((Or((A, B)), C))),
        ("not a and b", And((Not(A), B))),
        ("!a or !(b and c)", Or((Not(A), Not(And((B, C)))))),
        ("not(a)", Not(A)),
        ("! ! a", Not(Not(A))),
        ("a and b and c", And((A, B, C))),
        ("((a))", A),
        ("notes=1", FactTest("notes", "==", SpelledText("1"))),
        ("andy", ClassTest(SpelledText("andy"))),
        ("role::db", ClassTest(SpelledText("role::db"))),
        ("/^role::/", ClassTest(Regex("^role::"))),
        ("'and'", ClassTest(SpelledText("and"))),
        ("os=and", FactTest("os", "==", SpelledText("and"))),
        ("os.family = Debian", FactTest("os.family", "==", SpelledText("Debian"))),
        ("n=>3", FactTest("n", ">=", SpelledText("3"))),
        ("n=<3", FactTest("n", "<=", SpelledText("3"))),
        ("n='3'", FactTest("n", "==", SpelledText("3", literal=True))),
        ("x=a=b", FactTest("x", "==", SpelledText("a=b"))),
        ("x=/a b\\/c/", FactTest("x", "=~", Regex("a b/c"))),
        ("x!=/a/", FactTest("x", "!=~", Regex("a"))),
        ("x=~a", FactTest("x", "=~", Regex("a"))),
        ("x=/var/lib", FactTest("x", "==", SpelledText("/var/lib"))),
        ('x="/etc/"', FactTest("x", "==", SpelledText("/etc/"))),
        ('"my fact"=1', FactTest("my fact", "==", SpelledText("1"))),
        (r'x="a\"b\d"', FactTest("x", "==", SpelledText(r'a"b\d'))),
        (
            "fstat('/etc/hosts').md5=/ab/",
            DataTest("fstat", "/etc/hosts", "md5", "=~", Regex("ab")),
        ),
        ("fact(os.name).value=x", DataTest("fact", "os.name", "value", "==", SpelledText("x"))),
        (
            "collective().member=true",
            DataTest("collective", None, "member", "==", SpelledText("true")),
        ),
    ],
)
def test_parses(text, tree):
    """A compound filter parses to the tree that MCollective's precedence gives it."""
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("os=", 4, "expected a value"),
        ("a AND b", 3, "did you mean and?"),
        ("a b", 3, "expected an operator or 'and' or 'or'"),
        ("(a or b", 8, "the '(' at column 1 is never closed"),
        ("a)", 2, "found ')'"),
        ("a and", 6, "expected a fact or a class"),
        ("x=!5", 2, "unknown operator '=!'"),
        ("x!~/a/", 2, "did you mean !=~?"),
        ("x<<3", 2, "unknown operator"),
        ("x</re/", 2, "does not go with a regex"),
        ("y and x=/(/", 9, "missing )"),
        ("x=/(a+/", 3, "unterminated"),
        ("a and /(/", 7, "missing )"),
        ("x='abc", 3, "never closed"),
        ("fsat('/x').md5=1", 1, "did you mean fstat"),
        ("fstat('/x').md=1", 1, "did you mean md5"),
        ("fstat('/x')", 12, "expected '.OUTPUT'"),
        ("x=foo(bar)", 6, "found '(bar)'"),
        ("   ", 1, "empty"),
        (".".join("abcdefgh" * 5) + "=1", 80, "steps"),
    ],
)
def test_refuses(text, column, says):
    """A filter that does not parse gets one line with the column and what was meant."""
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.column == column
    assert caught.value.text == text


HOSTILE = {
    "brackets": "(" * MAX_LENGTH,
    "brackets around a name": "(" * 4000 + "a" + ")" * 4000,
    "brackets, each of two": "(" * 1000 + "a" + " and a)" * 1000,
    "brackets, one of each kind": "(" * 500 + "a" + " and a) or b)" * 250,
    "not": "not " * (MAX_LENGTH // 4),
    "not a": "not " * 2000 + "a",
    "!": "!" * 5000 + "a",
    "not and brackets": "not(" * (MAX_LENGTH // 4),
    "brackets that close nothing": "a" + ")" * (MAX_LENGTH - 1),
    "calls": "fact(" * (MAX_LENGTH // 5),
    "spaces": "a" + " " * (MAX_LENGTH - 2) + "b",
    "names": "a " * MAX_LENGTH,
    "terms": "a and " * 1365 + "a",
    "an open quote": "'" + "a" * (MAX_LENGTH - 1),
    "an open quote of escapes": "'" + "\\'" * 4000,
    "quotes": "'a' " * 2048,
    "an open regex": "/" + "a" * (MAX_LENGTH - 1),
    "slashes": "/" * MAX_LENGTH,
    "values that begin as a regex": "x=/\\/a or " * 744,
    "operators": "x" + "=" * (MAX_LENGTH - 1),
    "a long plugin": "x" * (MAX_LENGTH - 6) + "(a).b=",
    "a long output": "fact(a)." + "x" * (MAX_LENGTH - 10) + "=1",
    "a long regex": "x</" + "a" * (MAX_LENGTH - 4) + "/",
    "a bad regex": "/" + "(" * (MAX_LENGTH - 2) + "/",
    "a long word": "a " + "a" * (MAX_LENGTH - 2),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_nesting(text):
    """Neither depth nor length takes the parser down: it refuses in one line, or parses, soon."""
    before = time.thread_time()
    said = refusal(text)
    assert time.thread_time() - before < 1
    assert len(said) < 300
    assert "\n" not in said


@given(st.text(alphabet="ab=~!<>()'\"/\\ .andortx[]*+\n", max_size=30))
def test_never_anything_but_a_filter_error(text):
    """Whatever is typed parses or raises FilterError, in one line."""
    assert "\n" not in refusal(text)


@given(expressions(tests | datas))
def test_print_and_parse(tree):
    """A tree that is printed parses back to the same tree."""
    assert parse(show(tree)) == tree


@given(expressions(tests), nodes)
def test_like_the_model(tree, node):
    """A compiled tree says of a node what the slow model says."""
    assert compile_expression(tree)(node) == holds(tree, node)
    matcher = compile_filter(Filter(compound=(show(tree),)))
    assert matcher.matches(node) == holds(tree, node)


@given(expressions(tests), expressions(tests), nodes)
def test_de_morgan(left, right, node):
    """Not (a and b) is not a or not b; not (a or b) is not a and not b."""
    for whole, parts in (
        (Not(conjunction(left, right)), disjunction(Not(left), Not(right))),
        (Not(disjunction(left, right)), conjunction(Not(left), Not(right))),
    ):
        one, other = (parse(show(tree)) for tree in (whole, parts))
        assert compile_expression(one)(node) == compile_expression(other)(node)


@given(expressions(tests), nodes)
def test_double_negation(tree, node):
    """Not not a is a."""
    twice = parse(f"not !({show(tree)})")
    assert compile_expression(twice)(node) == compile_expression(tree)(node)


@given(
    st.tuples(*[st.booleans()] * 4),
    st.lists(st.sampled_from(["and", "or"]), min_size=3, max_size=3),
)
def test_precedence(truth, joints):
    """Without brackets a filter means what the same words mean in Python."""
    words = [
        name if given_true else f"not {name}"
        for name, given_true in zip("abcd", truth, strict=True)
    ]
    text = " ".join(
        word for pair in zip(words, [*joints, ""], strict=True) for word in pair
    ).strip()
    for classes in (frozenset(), frozenset("ab"), frozenset("abcd"), frozenset("bd")):
        expected = eval(text, {name: name in classes for name in "abcd"})
        assert compile_expression(parse(text))(Node(classes=classes)) == expected


@given(
    nodes, st.sampled_from(["os=Debian", "n>=3", "cpu.count!=3", "os=/e/", "flag = true", "n='3'"])
)
def test_simple_and_compound_agree(node, fact):
    """`-F x -C y` takes the nodes that `-S "x and y"` takes."""
    simple = compile_filter(Filter(fact=(fact,), cls=("web",)))
    compound = compile_filter(Filter(compound=(f"{fact} and web",)))
    assert simple.matches(node) == compound.matches(node)


def test_data_plugins():
    """A data plugin's output compares like a fact; one that cannot answer keeps the node out."""
    node = Node(data={"fstat": {"md5": "abc", "size": 10, "present": True}})

    def says(text):
        return compile_filter(parse_where(text)).matches(node)

    assert says("fstat('/x').md5=/^ab/ and fstat('/x').size>9")
    assert says("fstat('/x').present=1 and fstat('/x').present=true")
    assert not says("fstat('/x').mode=1")
    assert says("not fstat('/x').mode=1")
    assert not says("agent('x').version=1")
    assert not says("not agent('x').version=1")
    assert compile_filter(parse_where("not (a or fstat('/x').size=1)")).uses_data
    assert not compile_filter(parse_where("a or b=1")).uses_data


def test_where_is_a_compound_filter():
    """`where=` makes a filter of one compound part, and refuses at once what does not parse."""
    assert parse_where("os=Debian and role=web") == Filter(compound=("os=Debian and role=web",))
    with pytest.raises(FilterError, match="expected a value"):
        parse_where("os=")


def test_nothing_heavy_is_loaded():
    """Filters load no parser library, and ClusterShell only where one has a range of nodes."""
    program = (
        "import sys\n"
        "from mcshell.filters import compile_filter\n"
        "from mcshell.filters.nodes import expand, fold\n"
        "from mcshell.message import Filter\n"
        "compile_filter(Filter()); fold(['db'])\n"
        "compile_filter(Filter(('os=x',), ('a',), ('b',), ('web1', '/x/')))\n"
        "print('mcshell.filters.compound' in sys.modules)\n"
        "compile_filter(Filter(compound=('os=x and not a',)))\n"
        "expand(['web1', 'db2,db3'])\n"
        "print([m for m in ('lark', 'ClusterShell', 'jsonschema', 'yaml') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "[]"]


def test_many_threads_compile():
    """Several threads may compile filters at once."""
    results = []

    def work(number):
        for turn in range(20):
            matcher = compile_filter(Filter(compound=(f"n={number} and (a or x{turn}=/b/)",)))
            results.append(matcher.matches(Node(classes=frozenset("a"), facts={"n": number})))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 80
