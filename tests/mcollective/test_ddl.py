"""MCollective's .ddl files: read as its own classes read them, written so that they read ours."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from mcshell.ddl import check, load, ruby
from mcshell.errors import DDLError
from mcshell.patterns import ruby as patterns
from tests.mcollective.real_ddl import RealDDL, plain, theirs
from tests.mcollective.ruby import RubyError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__)
PACKAGED = Path("/usr/lib/ruby/vendor_ruby/mcollective")
FILES = sorted(PACKAGED.rglob("*.ddl"))
AGENTS = sorted((HERE.parents[2] / "agents").glob("*.json"))
META = """metadata :name => "x", :description => "d", :author => "a", :license => "l",
         :version => "1.0", :url => "u", :timeout => 10
"""


@pytest.fixture(scope="module")
def real(mcollective: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDDL]:
    """MCollective's own reader."""
    del mcollective
    reader = RealDDL(tmp_path_factory.mktemp("ddl"))
    yield reader
    reader.close()


@pytest.mark.mcollective
@pytest.mark.parametrize("path", FILES, ids=[f"{p.parent.name}/{p.name}" for p in FILES])
def test_every_packaged_file_reads_as_mcollective_reads_it(real: RealDDL, path: Path) -> None:
    """Ours is MCollective's own understanding; written again it is so for both."""
    text = path.read_text()
    kind = path.parent.name
    document = ruby.read(text, str(path))
    assert document == theirs(real.read(text, kind))
    written = ruby.write(document)
    assert ruby.read(written, str(path)) == document
    assert theirs(real.read(written, kind)) == document
    if "actions" in document:
        assert load(document).actions


@pytest.mark.mcollective
def test_there_are_packaged_files() -> None:
    """The package brings the files that the test above is about."""
    assert len(FILES) >= 20


@pytest.mark.parametrize("path", AGENTS, ids=[p.stem for p in AGENTS])
def test_our_agents_are_written_for_mco_and_come_back_whole(real: RealDDL, path: Path) -> None:
    """Each of our DDLs is one that MCollective reads; nothing of it is lost on the way back."""
    document = json.loads(path.read_text())
    document.pop("$schema", None)
    written = ruby.write(document)
    answer = real.read(written)
    assert {plain(one["action"]) for one in answer["entities"].values()} == {
        one["action"] for one in document["actions"]
    }
    for one in document["actions"]:
        entity = answer["entities"][one["action"]]
        known = {
            name
            for name, given in one["input"].items()
            if given["type"] in ("string", "integer", "float", "number", "boolean", "list")
        }
        assert set(entity["input"]) == known
        assert set(entity["output"]) == set(one["output"])
    again = ruby.read(written)
    assert again == normal(document)
    assert check(again).actions.keys() == load(document).actions.keys()


def normal(document: dict[str, Any]) -> dict[str, Any]:
    """A document with what the form fills in: display, and a format beside its function."""
    made = json.loads(json.dumps(document))
    for one in made["actions"]:
        one.setdefault("display", "failed")
        if not one.get("aggregate"):
            one.pop("aggregate", None)
        for aggregate in one.get("aggregate", []):
            for options in aggregate["args"][1:]:
                if "format" in options:
                    aggregate["format"] = options.pop("format")
            aggregate["args"] = [part for part in aggregate["args"] if part]
    return made


SNIPPETS = {
    "loop": """["start", "stop"].each do |act|
  action act, :description => "#{act.capitalize} a service" do
    input :service, :prompt => "Service", :description => "#{act} it", :type => :string,
          :validation => :shellsafe, :optional => false, :maxlength => 30
    output "status", :description => 'x', :display_as => "Status"
  end
end
""",
    "pairs": """[["a", "A b"], ["b", "B"]].each do |name, text|
  action name, :description => text + ": " + name.upcase do
    display :ok
  end
end
""",
    "words": """%w[one two].each { |n| action n, :description => %q(it's (n)) do
  display :always
end }
""",
    "styles": """action("a", description: "d", "mcshell": {x: 1}) do # comment
  input(:n, {:prompt => "p", :description=>"d", :type=>:number,
             :default => -1.5, :optional=>true})
  input :l, prompt: 'P', description: "d\\tx", type: :list, list: ["a", :b, 3], optional: true
  input :b, :prompt => "p", :description => "d", :type => :boolean, :optional => true, :default => false
  input :ip, :prompt => "p", :description => "d", :type => :ipv4address, :optional => true
end
""",
    "strings": """action "s", :description => "one " "two \\u00e9\\x41\\e \\#{no} \\"q\\" \\q" + 'it\\'s \\\\ \\n' do
  display :failed
  input :r, :prompt => "p", :description => %{braces {in} braces}, :type => :string,
        :validation => /^[a-z]\\/\\d+$/i, :optional => true, :maxlength => 1_000
  input :q, :prompt => "p", :description => %Q[x], :type => :string,
        :validation => %r{^/a/[b]{2}}mx, :optional => true, :maxlength => 0x10
  input :"odd name", :prompt => "p", :description => "d", :type => :string,
        :validation => 'word', :optional => true, :maxlength => 010
end
""",
    "heredocs": """usage <<-EOT + "end"
  Text with "quotes" and \\ttabs

    indented
  EOT

action "h", :description => <<~X do
    outdented
      a bit
  X
  output :o, :description => <<'RAW', :display_as => "x"
#{raw} \\n
RAW
end
""",
    "blocks": """=begin
action "no", :description => "x"
=end
action "c", :description => "d" do
  summarize do
    aggregate summary(:value)
    aggregate average(:value, :format => "Average: %d")
    aggregate sum(:value), :format => "%s"
  end
  output :value,
         # a comment between
         :description => "d", # and behind

         :display_as => "V", :default => {"a" => [1, nil, true]}
end; action "e", :description => "f"
__END__
anything ( at ' all
""",
    "conditions": """%w[install remove].each do |act|
  action act, :description => "d" do
    if act == 'install'
      input :version, :prompt => "p", :description => "d", :type => :string,
            :validation => :shellsafe, :optional => true, :maxlength => 10
    elsif act =~ /^rem/
      input :force, :prompt => "p", :description => "d", :type => :boolean, :optional => true
    else
      display :always
    end
    display :ok unless act.start_with?('i') && !act.empty?
    display(act.length > 6 ? :always : :failed) if respond_to?(:display)
    summarize do
      aggregate summary(:x)
      summary(:y)
    end if respond_to? :summarize
    case act
    when 'install', /x/ then output :a, :description => "A", :display_as => "A"
    when 'other'
      output :never, :description => "n", :display_as => "n"
    else
      output :b, :description => "B", :display_as => "B"
    end
  end
end
if respond_to?(:nothing_of_ours) || nil
  action "never", :description => "d"
end
""",
    "sums": """SIZE = 10 * 1024
action "s", :description => "#{(1..3).map { |n| n * 2 }.join(', ')} #{7 / 2} #{-7 / 2} #{7 % -3} #{2 ** 3 ** 2}" do
  rest = SIZE - 24 * (3 + 4) / 2
  input :n, :prompt => "p", :description => "d", :type => :string, :validation => "^a",
        :optional => false, :maxlength => rest
  input :m, :prompt => "p", :description => "d", :type => :integer, :optional => true,
        :default => [1, 2, 3].last + 0.5 * 4
  output :o, :description => "x" * 3 + [1, 2] * "-", :display_as => "a,b".split(",")[1] || "none"
end
""",
    "texts": """['stop', 'restart', 'update'].each_with_index do |act, place|
  action "#{act}-#{place}", :description => "#{act.sub(/p$/, 'pp').sub(/e\\z/, '')}ing" do
    output :o, :description => act.gsub(/[aeiou]/i, '*').tr('*', '_'), :display_as => act[1..-1]
    output :p, :description => act[0], :display_as => "#{act[-2, 2]}#{act[4..-1]}"
  end
end
""",
    "methods": """def common(name, many = false)
  input name, :prompt => name.to_s.capitalize, :description => "d", :type => :string,
        :validation => :shellsafe, :optional => many, :maxlength => 0
end
def said
  output :out, :description => "what it said", :display_as => "Out"
end
def basics(more = {})
  {:prompt => "p", :description => "d", :type => :list, :list => %w[a b]}.merge(more)
end
action 'check-update', :description => "d" do
  common :package
  common(:others, true)
  said
  input :mode, basics(:optional => true)
end
""",
    "choria": """action "c", :description => "d" do
  input :a, :prompt => "p", :description => "d", :type => :array, :optional => true
  input :h, :prompt => "p", :description => "d", :type => :hash, :optional => true
  input :x, :prompt => "p", :description => "d", :type => :any, :optional => true, :default => {"a" => 1}
  input :k, :prompt => "p", :description => "d", :type => Hash, :optional => true
  input :v, :prompt => "p", :description => "d", :type => :unit_name, :optional => true
  input :w, :prompt => "p", :description => "d", :type => :string, :validation => :unit_name,
        :optional => true, :maxlength => "30"
end
""",
    "inside": """who = "ops"
usage <<-EOT
  for #{who}
  and #{%w[a b].map(&:upcase).join("+")}
EOT
""",
    "bytes": """usage "\\xC3\\xA9 \\303\\251 \\101\\0 \\u{41 1F600} \\u00a0" + [
  "\\0\\u00a0a\\t\\0".strip, "a\\r\\n".chomp, "b\\r\\n".chop, "c\\u00a0d e".split.length, [1, 1.0, 1].uniq.length
].join("|")
%w[one\\ two three]
  .reject { |n| n == 'four' }.
  each do |n|
    action n, :description => "d"
  end
%I[a b].each { |n| action n, :description => "d" }
__END__""",
    "again": """action "a", :description => "one" do
  display :ok
end
action "a", :description => "two" do
  output :x, :description => "d", :display_as => "X"
end
requires :mcollective => "2.2.1"
""",
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_language_is_read_as_ruby_reads_it(real: RealDDL, name: str) -> None:
    """Loops, strings, heredocs, both spellings of a Hash: our document is what Ruby made of it."""
    text = META + SNIPPETS[name]
    document = ruby.read(text)
    expected = theirs(real.read(text))
    for one in document.get("actions", ()):
        one.pop("mcshell", None)
    assert document == expected
    assert ruby.read(ruby.write(document)) == document
    if name != "choria":  # whose types are unknown to mco: they stand beside, below
        assert theirs(real.read(ruby.write(document))) == document


NUMBERS = st.integers(-20, 20).map(str)
TEXTS = st.sampled_from(["''", "'stop'", '"Aé b"', "'a,b,,'", "'x' 'y'"])


def parts(some: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Ruby that is made of smaller Ruby."""
    two = st.tuples(some, some)
    return st.one_of(
        st.tuples(two, st.sampled_from(["+", "-", "*", "/", "%", "<", "==", "&&", "||"])).map(
            lambda one: f"{one[0][0]} {one[1]} {one[0][1]}"
        ),
        some.map(lambda one: f"({one})"),
        st.tuples(some, some, some).map(lambda one: f"({one[0]} ? {one[1]} : {one[2]})"),
        two.map(lambda one: f"[{one[0]}, {one[1]}].map {{ |n| n.to_s + '!' }}.join('-')"),
        two.map(lambda one: f"[{one[0]}, {one[1]}][{one[1]}]"),
        two.map(lambda one: f"[{one[0]}, [{{:a => {one[1]}, 'b' => 1}}, :a?, nil]]"),
        st.tuples(some, st.sampled_from(["upcase", "sub(/[aeiou]/i, '_')", "split(',').last", "[1..-1]", "inspect",
            "length", "gsub('o', 'u')", "include?('a')", "nil?", "to_i"])).map(
            lambda one: f"({one[0]}).to_s{'' if one[1][0] == '[' else '.'}{one[1]}"
        ),
    )  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.recursive(NUMBERS | TEXTS, parts, max_leaves=6))
def test_what_is_reckoned_is_what_ruby_reckons(real: RealDDL, code: str) -> None:
    """An expression is what Ruby makes of it, or an error of ours; where Ruby fails, so do we."""
    text = f'{META}x = {code}\nusage "#{{x}} #{{x.nil?}}"\n'
    try:
        expected = real.read(text)["usage"]
    except RubyError as error:
        assume("SyntaxError" not in str(error))  # as a == b == c, which is read here
        with pytest.raises(DDLError):
            ruby.read(text)
        return
    try:
        assert ruby.read(text)["usage"] == expected
    except DDLError as error:
        event(re.sub(r" at line.*|'.*'", "", str(error)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("action 'a', :description => 'd' do\n  inputs :x\nend\n", "did you mean input.* line 7"),
        ("action 'a', :description => 'd' do\n  display :sometimes\nend\n", "display is :ok"),
        ("action 'a', :description => `id` do\n  input :x\nend\n", "expected a value, found '`'"),
        ("[1, 2].eech do |n|\n  action n, :description => 'd'\nend\n", "method 'eech' is not read"),
        ("action 'a', :description => 'd' do\n  while true do\n  end\nend\n", "'while' is Ruby"),
        ("action 'a', :descripton => 'd'\n", "needs :description"),
        ("Dir['/etc/*'].each do |n|\n  action n, :description => n\nend\n", "unknown name 'Dir'"),
        ("requires :ruby => '3'\n", "only :mcollective"),
    ],
)
def test_a_statement_that_cannot_be_used_costs_itself(text: str, says: str) -> None:
    """What stands before and behind it is read, and it is named with its line."""
    before = "action 'before', :description => 'd' do\n  display :always\nend\n"
    after = "action 'after', :description => 'd' do\n  display :always\nend\n"
    flaws: list[str] = []
    document = ruby.read(META + before + text + after, "x.ddl", flaws=flaws)
    names = [one["action"] for one in document["actions"]]
    assert [name for name in names if name != "a"] == ["before", "after"]
    assert re.search(says, flaws[0])
    assert "at line" in flaws[0]
    assert not flaws[0].startswith("x.ddl")
    with pytest.raises(DDLError, match=says):
        ruby.read(META + before + text + after, "x.ddl")


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "no metadata", None, None),
        ("metadata :name => 'x'", "metadata needs :description", 1, 1),
        (META + "acton 'a'", "a DDL has no 'acton' .did you mean action", 3, 1),
        (META + "action 'a', :descripton => 'x'", "needs :description .did you mean", 3, 1),
        (META + "action 'a', :description => x", "a DDL has no 'x'", 3, 29),
        (META + "action 'a', :description => X", "unknown name 'X'", 3, 29),
        (META + "action 'a', :description => 'x", "a string that never ends", 3, 29),
        (META + "action 'a', :description => 'x' do\n", "expected 'end'", 4, 1),
        (META + "action 'a', :description => `id`", "expected a value, found '`'", 3, 29),
        (META + "system('id')", "a DDL has no 'system'", 3, 1),
        (META + "File.delete('x')", "unknown name 'File'", 3, 1),
        (META + "X = 'x'\nX.delete('x')", "the method 'delete' is not read", 4, 3),
        (META + "while true\nend", "'while' is Ruby", 3, 1),
        (META + "if true\nusage 'x'\n", "expected 'end', found the end", 5, 1),
        (META + "def a(b)\nend\na", "needs its argument b", 5, 1),
        (META + "def a\nend\na 1", "a takes 0 arguments", 5, 1),
        (META + "x = 1 / 0", r"/ is not read with", 3, 5),
        (META + "x = 9 ** 9999", "a number that is too long", 3, 5),
        (META + "x = 'a' * 9999999", "what it makes is too long", 3, 5),
        (META + "x = 'a'.sub(/(a)/, '\\1')", "with plain texts in place", 3, 9),
        (META + "x = 'a'.sub(/(/, '')", "sub: regex", 3, 9),
        (
            META + "action 'a', :description => 'x' do\n  display :alwys\nend",
            "did you mean always",
            4,
            3,
        ),
        (META + "action 'a', :description => 'x'.eval", "the method 'eval' is not read", 3, 33),
        (META + "action 'a', :description => \"#{`id`}\"", "expected a value", 3, 32),
        (META + "usage <<X\nabc\n", "no X ends", 3, 7),
        (META + "action 'a', :description => 'x' do\n input :x\nend", "takes a name and", 4, 2),
        (META + "discovery do\n capabilities [:fact]\nend", "did you mean facts", 4, 2),
        (META + "usage " + "[" * 100, "nested deeper", 3, None),
        (META + "requires :ruby => '3'", "only :mcollective", 3, 1),
        (META + "usage 5", "usage takes a text", 3, 1),
        (META + "dataquery :description => 'd'\ndataquery :description => 'e'", "a second", 4, 1),
        (META + "discovery :x", "discovery stands once", 3, 1),
        (META + "discovery do\n capabilities\nend", "names none", 4, 2),
        (META + "requires :mcollective => '1' do\nend", "takes no block", 3, 1),
        (META + "'x'.each do |a|\nend", "each: an array is meant", 3, 5),
        (META + "usage [1] + 'x'", "strings, arrays or numbers are meant", 3, 7),
        (META + 'usage "#{["a\\nb"]}"', "only plain strings, symbols and numbers", 3, 7),
        (META + "usage x: 5 => 6", "expected the end", 3, 12),
        (META + "usage({nil => 6})", "a key that is neither", 3, 8),
        (META + "usage 'abc'.tr('a-c', 'x-z')", "letters alone", 3, 13),
        (META + "usage 'abc'.tr('^a', 'xy')", "letters alone", 3, 13),
        (META + "usage 1e15.to_s", "only plain strings", 3, 12),
        (META + 'usage "\\C-a"', "escape .C is not read", 3, 9),
        (META + "usage 'x'.gsub('a')", "gsub is not read with", 3, 11),
        (META + "usage foo(1)", "a DDL has no 'foo'", 3, 7),
        (META + "usage 09", "must be octal", 3, 7),
        (META + "usage /a", "a regex that never ends", 3, 7),
        (META + "usage /#{a}/", "a regex with", 3, 8),
        (META + 'usage "\\u{110000}"', "no character", 3, 9),
        (META + "usage <<X\n#{a}\nX", "a DDL has no 'a'", 4, 3),
        (
            META + "action 'a', :description => 'x' do\n summarize do\n  aggregate 5\n end\nend",
            "in summary",
            5,
            3,
        ),
        (META + "action 'a', :description => 'x' )", "expected the end of the line", 3, 33),
    ],
)
def test_errors_say_line_and_column(
    text: str, message: str, line: int | None, column: int | None
) -> None:
    """What cannot be read says what was expected, and where."""
    with pytest.raises(DDLError, match=message) as caught:
        ruby.read(text, "x.ddl")
    assert str(caught.value).startswith("x.ddl: ")
    if line is not None:
        assert f"at line {line}, column {column or ''}" in str(caught.value)


def test_a_file_cannot_make_us_work_without_end() -> None:
    """Loops in loops, and strings that grow by them, end at a bound."""
    loop = "[1,2,3,4,5,6,7,8,9,10].each do |{v}|\n"
    nested = "".join(loop.format(v=f"v{n}") for n in range(5)) + "usage 'x'\n" + "end\n" * 5
    with pytest.raises(DDLError, match="more than 20000 statements"):
        ruby.read(META + nested)
    with pytest.raises(DDLError, match="more than 20 blocks"):
        ruby.read(META + "def a\n  a\nend\na")
    with pytest.raises(DDLError, match="nested deeper"):
        ruby.read(META + "if true\n" * 25 + "usage 'x'\n" + "end\n" * 25)
    with pytest.raises(DDLError, match="characters made"):
        ruby.read(META + "x = 'x' * 1000000\n" * 10)
    with pytest.raises(DDLError, match="more than 20000 statements"):
        ruby.read(META + "(1..9999).map { |a| (1..9999).map { |b| b } }")
    with pytest.raises(DDLError, match="more than 200 heredocs"):
        ruby.read(META + "usage <<X\n#{1}\nX\n" * 201, flaws=[])
    growing = f'["{"x" * 100_000}"].each do |s|\n' + 'usage "#{s}#{s}#{s}"\n' * 100 + "end\n"
    with pytest.raises(DDLError, match="characters made"):
        ruby.read(META + growing)


def test_nil_is_no_text() -> None:
    """Where a text is meant it is an empty one: nobody is shown how Python spells it."""
    text = META.replace('"1.0"', "nil")
    action = 'action "a", :description => nil do\n  output :o, :description => nil, :display_as => nil\nend\n'
    assert "None" not in json.dumps(ruby.read(text + action))


def test_an_agent_has_the_name_of_its_file() -> None:
    """MCollective's metadata may call an agent anything: the file's name is the agent's."""
    text = META.replace('"x"', '"Utilities and Helpers"') + "action 'a', :description => 'd'\n"
    assert ruby.read(text, "/plugins/agent/helpers.ddl")["metadata"]["name"] == "helpers"
    assert ruby.read(text, name="other")["metadata"]["name"] == "other"


def test_what_the_form_cannot_hold_is_kept_beside_it(real: RealDDL) -> None:
    """A hash is an input that mco does not know: it passes there, and is checked by our node."""
    document = {
        "metadata": ruby.read(META)["metadata"],
        "actions": [
            {
                "action": "a",
                "description": "d",
                "display": "ok",
                "input": {
                    "h": {"prompt": "p", "description": "d", "type": "hash", "optional": False}
                },
                "output": {"o": {"description": "d", "display_as": "O", "type": "integer"}},
                "mcshell": {"changes": False, "timeout": 2.5, "sensitive": ["h"]},
            }
        ],
    }
    written = ruby.write(document)
    assert real.read(written)["entities"]["a"]["input"] == {}
    assert ruby.read(written) == document


def test_regexes_keep_their_meaning() -> None:
    """What Ruby spells otherwise is respelled, there and back."""
    assert patterns.from_ruby(r"^\h+$") == "^[0-9a-fA-F]+$"
    assert patterns.from_ruby(r"[\h:]") == "[0-9a-fA-F:]"
    assert patterns.from_ruby(r"(?<n>[[:alpha:]]+)") == "(?P<n>[a-zA-Z]+)"
    assert patterns.from_ruby("a", "im") == "(?is)a"
    assert patterns.from_ruby("word") == "(word)"
    assert patterns.to_ruby("(?is)(?P<n>a)") == "(?im)(?<n>a)"


def test_mutated_files_are_errors_or_documents() -> None:
    """Whatever happens to a file, what is left of it is read, or it is an error, and soon."""
    chance = random.Random(4)
    seeds = [META + text for text in SNIPPETS.values()] + [path.read_text() for path in FILES[:8]]
    alphabet = "\"'#{}[]()|<>-~%:=,.\\/\n enddo0123azé\x00?"
    words = [
        "if ",
        "end\n",
        "def a\n",
        "unless ",
        "case x\nwhen ",
        "{ |a| ",
        "do\n",
        "true => ",
        "-",
    ]
    read = 0
    for _ in range(4000):
        text = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            at, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
            match chance.randrange(5):
                case 0:
                    text = text[:at] + chance.choice(alphabet) + text[at:]
                case 1:
                    text = text[:at] + text[at + chance.randint(1, 5) :]
                case 2:
                    text = text[:at] + text[at : min(end, at + 60)] * 2 + text[at:]
                case 3:
                    text = text[:end]
                case 4:
                    text = text[:at] + chance.choice(words) + text[at:]
        begun = time.process_time()
        try:
            document = ruby.read(text, "m.ddl", flaws=[])
            read += 1
        except DDLError:
            pass
        else:
            assert ruby.read(ruby.write(document)) == document
        assert time.process_time() - begun < 10
    assert read > 100


def test_the_figures_of_a_folder(mcollective: str, tmp_path: Path) -> None:
    """A command counts which DDLs of a folder MCollective reads, which we do, and which are equal."""
    del mcollective
    texts = {
        "fine.ddl": META + SNIPPETS["conditions"],
        "again/fine.ddl": META + SNIPPETS["conditions"],
        "checked.ddl": META + SNIPPETS["choria"],
        "theirs.ddl": META + "action 'a', :description => [1, 2].cycle(2).to_a.inspect\n",
        "nobodys.ddl": META + "action 'a'\n",
        "good.json": json.dumps({"metadata": {"name": "good", "timeout": 1}, "actions": []}),
        "bad.json": json.dumps({"metadata": {"name": ""}, "actions": []}),
        "other.json": "[]",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    script = HERE.with_name("ddl_corpus.py")
    argv = [sys.executable, str(script), str(tmp_path), "--names"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    for line in (
        ".ddl: 3 texts that MCollective reads, 2 read here",
        "equal to what MCollective understood: 2",
        "1 refused: the method 'cycle' is not read",
        "1 read but for: validator unit_name is not here",
        str(tmp_path / "theirs.ddl"),
        ".json: 2 texts with metadata and actions, 1 read here",
    ):
        assert line in done.stdout
    assert subprocess.run([sys.executable, str(script)], check=False, timeout=60).returncode == 1
