"""MCollective's .ddl files: read as its own classes read them, written so that they read ours."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.ddl import check, load, ruby
from mcshell.errors import DDLError
from mcshell.patterns import ruby as patterns
from tests.mcollective.ruby import RubyChild

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__)
PACKAGED = Path("/usr/lib/ruby/vendor_ruby/mcollective")
FILES = sorted(PACKAGED.rglob("*.ddl"))
AGENTS = sorted((HERE.parents[2] / "agents").glob("*.json"))
META = """metadata :name => "x", :description => "d", :author => "a", :license => "l",
         :version => "1.0", :url => "u", :timeout => 10
"""


class RealDDL(RubyChild):
    """MCollective's DDL classes in a Ruby child."""

    def __init__(self, folder: Path) -> None:
        config = folder / "ddl.cfg"
        config.write_text(
            "libdir = /usr/share/mcollective/plugins\nidentity = here\n"
            "logger_type = console\nloglevel = fatal\nsecurityprovider = psk\n"
        )
        super().__init__(HERE.with_name("ddl.rb"), config)

    def read(self, text: str, kind: str = "agent") -> dict[str, Any]:
        """What MCollective understands of a file."""
        return self._ask({"name": "x", "type": kind, "text": text})


@pytest.fixture(scope="module")
def real(mcollective: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDDL]:
    """MCollective's own reader."""
    del mcollective
    reader = RealDDL(tmp_path_factory.mktemp("ddl"))
    yield reader
    reader.close()


def plain(value: Any) -> Any:
    """What the Ruby side shows, with symbols as text."""
    if isinstance(value, dict):
        if set(value) == {"symbol"}:
            return value["symbol"]
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def theirs(answer: dict[str, Any]) -> dict[str, Any]:
    """Our document, made of what MCollective understood; written without our reader."""
    meta = plain(answer["meta"])
    document: dict[str, Any] = {"metadata": meta}
    if answer["requirements"]:
        document["requires"] = answer["requirements"]
    if answer["usage"]:
        document["usage"] = answer["usage"]
    entities = answer["entities"]
    if "discovery" in entities:
        document["discovery"] = plain(entities["discovery"])
    elif "data" in entities:
        data = entities["data"]
        document["data"] = {"description": data["description"], **interface(data)}
    elif entities:
        document["actions"] = [action(one) for one in entities.values()]
    return document


def action(entity: dict[str, Any]) -> dict[str, Any]:
    """One action of theirs as ours."""
    made = {
        "action": plain(entity["action"]),
        "description": entity["description"],
        "display": plain(entity["display"]),
        **interface(entity),
    }
    for one in entity.get("aggregate", []):
        output, *more = plain(one["args"])
        options = more[0] if more else {}
        form = options.pop("format", one.get("format"))
        arguments = [output, options] if options else [output]
        aggregate = {"function": plain(one["function"]), "args": arguments}
        if form is not None:
            aggregate["format"] = form
        made.setdefault("aggregate", []).append(aggregate)
    return made


def interface(entity: dict[str, Any]) -> dict[str, Any]:
    """Inputs and outputs of theirs as ours."""
    inputs = {name: input_of(one) for name, one in entity["input"].items()}
    outputs = {
        name: {key: one for key, one in output.items() if one is not None}
        for name, output in plain(entity["output"]).items()
    }
    return {"input": inputs, "output": outputs}


def input_of(one: dict[str, Any]) -> dict[str, Any]:
    """One input of theirs as ours."""
    made = {key: plain(one[key]) for key in ("prompt", "description", "type", "list") if key in one}
    made["optional"] = bool(one["optional"])
    if made["type"] == "string":
        made["maxlength"] = one["maxlength"]
        given = one["validation"]
        if isinstance(given, str):
            made["validation"] = patterns.from_ruby(given)
        elif isinstance(given, dict) and "regexp" in given:
            flags = "".join(
                flag for bit, flag in ((1, "i"), (2, "x"), (4, "m")) if given["options"] & bit
            )
            made["validation"] = patterns.from_ruby(given["regexp"], flags)
        else:
            made["validation"] = plain(given)
    elif made["type"] not in ("integer", "float", "number", "boolean", "list"):
        made |= {"validation": made["type"], "type": "string", "maxlength": 0}
    if one["default"] is not None:
        made["default"] = plain(one["default"])
    return made


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
    for one in document["actions"]:
        one.pop("mcshell", None)
    assert document == expected
    assert ruby.read(ruby.write(document)) == document
    assert theirs(real.read(ruby.write(document))) == document


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "no metadata", None, None),
        ("metadata :name => 'x'", "metadata needs :description", 1, 1),
        (META + "acton 'a'", "a DDL has no 'acton' .did you mean action", 3, 1),
        (META + "action 'a', :descripton => 'x'", "needs :description .did you mean", 3, 1),
        (META + "action 'a', :description => x", "unknown name 'x'", 3, 29),
        (META + "action 'a', :description => 'x", "a string that never ends", 3, 29),
        (META + "action 'a', :description => 'x' do\n", "expected 'end'", 4, 1),
        (META + "action 'a', :description => `id`", "expected a value, found '`'", 3, 29),
        (META + "system('id')", "a DDL has no 'system'", 3, 1),
        (META + "File.delete('x')", "expected a statement", 3, 1),
        (META + "if true\nend", "'if' is Ruby", 3, 1),
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
        (META + "'x'.each do |a|\nend", "each wants an array", 3, 1),
        (META + "usage [1] + 'x'", "joins strings or arrays", 3, 7),
        (META + 'usage "#{[1]}"', "only strings, symbols and numbers", 3, 7),
        (META + "usage x: 5 => 6", "expected the end", 3, 12),
        (META + "usage({5 => 6})", "a key that is neither", 3, 8),
        (META + "usage 'x'.gsub('a')", "read with 2 strings", 3, 11),
        (META + "usage foo(1)", "no function 'foo'", 3, 7),
        (META + "usage 09", "must be octal", 3, 7),
        (META + "usage /a", "a regex that never ends", 3, 7),
        (META + "usage /#{a}/", "a regex with", 3, 8),
        (META + 'usage "\\u{110000}"', "no character", 3, 9),
        (META + "usage <<X\n#{a}\nX", "a heredoc with", 3, 7),
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
    deep = "".join(loop.format(v=f"v{n}") for n in range(6)) + "usage 'x'\n" + "end\n" * 6
    with pytest.raises(DDLError, match="more than 5 loops"):
        ruby.read(META + deep)
    growing = f'["{"x" * 100_000}"].each do |s|\n' + 'usage "#{s}#{s}#{s}"\n' * 100 + "end\n"
    with pytest.raises(DDLError, match="characters made"):
        ruby.read(META + growing)


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
    """Whatever happens to a file, it is read or an error with a place, and soon."""
    chance = random.Random(4)
    seeds = [META + text for text in SNIPPETS.values()] + [path.read_text() for path in FILES[:8]]
    alphabet = "\"'#{}[]()|<>-~%:=,.\\/\n enddo0123azé\x00?"
    read = 0
    for _ in range(4000):
        text = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            at, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
            match chance.randrange(4):
                case 0:
                    text = text[:at] + chance.choice(alphabet) + text[at:]
                case 1:
                    text = text[:at] + text[at + chance.randint(1, 5) :]
                case 2:
                    text = text[:at] + text[at : min(end, at + 60)] * 2 + text[at:]
                case 3:
                    text = text[:end]
        begun = time.process_time()
        try:
            document = ruby.read(text, "m.ddl")
            read += 1
        except DDLError:
            pass
        else:
            assert ruby.read(ruby.write(document)) == document
        assert time.process_time() - begun < 10
    assert read > 100
