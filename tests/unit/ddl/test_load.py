"""DDL documents: what is read from them, and what is refused when."""

from __future__ import annotations

import json

import pytest

from mcshell import plugins
from mcshell.ddl import DDL, check, load
from mcshell.ddl.library import MAX_FILE, Library, read, shipped_dir
from mcshell.ddl.schema import schema
from mcshell.errors import ConfigError, DDLError, UsageError
from tests.unit.ddl.documents import METADATA, an_input, document


def test_reads_everything():
    """All that Choria's form and our key say ends up in the model."""
    made = document(
        input={"n": an_input("Integer".lower(), optional=True, default=3), "s": an_input()},
        output={
            "a": {"description": "A", "display_as": "The A", "type": "integer", "default": 0},
            "b": {"description": "B", "display_as": "The B"},
        },
        aggregate=[{"function": "summary", "args": ["a", {"format": "%s: %s"}]}],
        mcshell={
            "rerun_safe": True,
            "changes": False,
            "sensitive": ["s"],
            "timeout": 2.5,
            "limits": {"memory": "64MiB"},
        },
    )
    ddl = check(made)
    assert isinstance(ddl, DDL)
    assert (ddl.name, ddl.timeout, list(ddl.actions)) == ("sample", 10.0, ["act"])
    action = ddl.action("act")
    assert (action.agent, action.name, action.display) == ("sample", "act", "always")
    assert list(action.inputs) == ["n", "s"]
    assert (action.inputs["n"].default, action.inputs["n"].optional) == (3, True)
    assert action.inputs["s"].sensitive
    assert [output.dtype for output in action.outputs.values()] == ["Int64", "object"]
    assert action.outputs["b"].type == "any"
    assert action.aggregates[0].format == "%s: %s"
    assert (action.rerun_safe, action.changes, action.timeout) == (True, False, 2.5)
    assert action.sensitive == {"s"}
    assert action.limits == {"memory": "64MiB"}


def test_without_our_key():
    """A foreign DDL's action takes the agent's timeout, is assumed to change, not to be repeatable."""
    action = load(document()).action("act")
    assert (action.timeout, action.rerun_safe, action.changes) == (10.0, False, True)
    assert action.sensitive == frozenset()


def test_types_are_spelled_either_way():
    """Choria's capital Hash and Array are hash and array."""
    ddl = check(document(input={"h": an_input("Hash"), "a": an_input("Array")}))
    assert [one.type for one in ddl.action("act").inputs.values()] == ["hash", "array"]


def test_unknown_action():
    """An action that is not there is a UsageError that says what was meant."""
    ddl = load(document())
    with pytest.raises(UsageError, match=r"did you mean act\?"):
        ddl.action("akt")
    with pytest.raises(UsageError, match="it has act"):
        ddl.action("zzz")


BROKEN = [
    ([], "metadata must|must be an object"),
    ({"actions": []}, "metadata must be an object"),
    ({"metadata": METADATA}, "actions must be a list"),
    ({"metadata": METADATA | {"timeout": 0}, "actions": []}, "number of seconds"),
    ({"metadata": METADATA | {"timeout": True}, "actions": []}, "number of seconds"),
    ({"metadata": METADATA | {"name": ""}, "actions": []}, "must not be empty"),
    ({"metadata": METADATA | {"name": "../x"}, "actions": []}, "small letters"),
    (document(action="a\nb"), "small letters"),
    ({"metadata": METADATA, "actions": [3]}, "an action: action must be text"),
    (document(input=[]), "input must be an object"),
    (document(input={"x": 3}), "input x must be an object"),
    (document(output={"x": 3}), "output x must be an object"),
    (document(input={"x": an_input("strnig")}), "did you mean string"),
    (document(input={"x": an_input(validation="(")}), "neither a validator nor a regex"),
    (document(input={"x": an_input(validation=3)}), "validation must be"),
    (document(input={"x": an_input(maxlength=-1)}), "maxlength must be"),
    (document(input={"x": an_input("list")}), "list must give"),
    (document(input={"x": an_input(optional="no")}), "optional must be true or false"),
    (document(mcshell={"rerunsafe": True}), "did you mean rerun_safe"),
    (document(mcshell={"rerun_safe": 1}), "rerun_safe must be true or false"),
    (document(mcshell={"sensitive": ["x"]}), "sensitive names no input"),
    (document(mcshell={"sensitive": "x"}), "sensitive must be a list"),
    (document(mcshell={"timeout": -1}), "number of seconds"),
    (document(mcshell=[]), "mcshell must be an object"),
    (document(aggregate=[{"function": "sum", "args": []}]), "args must begin"),
    (document(aggregate=[{"function": "sum", "args": ["a"], "format": 3}]), "format must be"),
    (document() | {"actions": document()["actions"] * 2}, "declared twice"),
]


@pytest.mark.parametrize(("made", "says"), BROKEN)
def test_refused_when_loaded(made, says):
    """A document that a node could not run safely is a DDLError with the file's name."""
    with pytest.raises(DDLError, match=says) as caught:
        load(made, "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert caught.value.path == "x.json"
    with pytest.raises(DDLError):
        check(made, "x.json")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (document(display="sometimes"), "actions\\[0\\].display"),
        (document(input={"Bad Name": an_input()}), "Bad Name"),
        (document(extra=1), "extra"),
        (document(input={"x": an_input(validation="shelsafe")}), "did you mean shellsafe"),
        (document(input={"x": {"type": "string"}}), "required"),
        (document(input={"x": an_input() | {"validation": ""}}), "input.x"),
        (document(output={"x": {"description": "d"}}), "display_as"),
        (document(input={"x": an_input("integer", default="a")}), "default of input x must be"),
        (document(aggregate=[{"function": "sum", "args": ["no"]}]), "no output 'no'"),
        ({"metadata": {"name": "a", "timeout": 1}, "actions": []}, "metadata: .* required"),
    ],
)
def test_refused_when_checked(made, says):
    """What only an author needs to know is found by the full check."""
    load(made)
    with pytest.raises(DDLError, match=says) as caught:
        check(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("aggregate", "says"),
    [
        ({"function": "sumary", "args": ["a"]}, "did you mean summary"),
        ({"function": "average", "args": ["a"], "format": "%d and %d"}, "does not fit"),
        ({"function": "summary", "args": ["a", {"format": "%z"}]}, "does not fit"),
        ({"function": "boolean_summary", "args": ["a"], "format": "%s"}, "does not fit"),
    ],
)
def test_aggregates_are_checked(aggregate, says):
    """An aggregate that does not exist, or whose format does not fit, is found by the full check."""
    outputs = {"a": {"description": "A", "display_as": "A"}}
    with pytest.raises(DDLError, match=says):
        check(document(output=outputs, aggregate=[aggregate]))


def test_schema_is_a_schema():
    """The JSON schema is valid itself."""
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())


def test_a_plugged_in_validator():
    """A validator that is registered by name can be used in a DDL."""
    plugins.register("validator", "even", lambda value: None if value % 2 == 0 else "must be even")
    try:
        action = load(document(input={"n": an_input("integer", validation="even")})).action("act")
    finally:
        plugins.unregister("validator", "even")
    assert action.check({"n": 2}) == {"n": 2}
    with pytest.raises(UsageError, match="input n must be even: 3"):
        action.check({"n": 3})


def write(folder, name, made):
    """Put a DDL file into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(made))


def test_library(tmp_path):
    """The first folder that has an agent wins; what is read is kept."""
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "sample", document(description="first"))
    write(two, "sample", document(description="second"))
    write(two, "other", document() | {"metadata": METADATA | {"name": "other"}})
    library = Library([tmp_path / "missing", one, str(two)])
    assert library.agents() == ["other", "sample"]
    assert library.get("sample").action("act").description == "first"
    assert library.get("sample").path == str(one / "sample.json")
    write(one, "sample", document(description="new"))
    assert library.get("sample").action("act").description == "first"


def test_library_refuses(tmp_path):
    """Unknown agents, names that are paths, and files that are no DDLs each get their one line."""
    write(tmp_path, "sample", document())
    write(tmp_path, "wrong", document())
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    library = Library([tmp_path])
    with pytest.raises(UsageError, match=r"no agent 'sampel' \(did you mean sample\?\)"):
        library.get("sampel")
    for name in ("../sample", "/etc/passwd", "", "sample.json", "a\0"):
        with pytest.raises(UsageError, match="no agent"):
            library.get(name)
    with pytest.raises(DDLError, match=r"the file must be sample\.json"):
        library.get("wrong")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(DDLError, match="larger than"):
        library.get("large")
    with pytest.raises(DDLError, match="cannot be read: No such file"):
        read(tmp_path / "none.json")
    for name in ("broken", "binary"):
        with pytest.raises(DDLError, match=f"{name}.json: is no JSON"):
            library.get(name)


def test_shipped_agents_pass_the_full_check():
    """Every DDL that ships passes the full check."""
    library = Library([shipped_dir()])
    assert library.agents()
    for agent in library.agents():
        path = library.path(agent)
        check(json.loads(path.read_text()), str(path))
        assert library.get(agent).name == agent


def test_shipped_dir_missing(monkeypatch, tmp_path):
    """Without the shipped agents there is a ConfigError, not an empty library."""
    from mcshell.ddl import library

    monkeypatch.setattr(library, "__file__", str(tmp_path / "mcshell" / "ddl" / "library.py"))
    with pytest.raises(ConfigError, match="install it again"):
        shipped_dir()
    for place in (tmp_path / "agents", tmp_path / "mcshell" / "agents"):
        place.mkdir(parents=True)
        assert shipped_dir() == place
