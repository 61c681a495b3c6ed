"""DDL documents: what is read from them, and what is refused when."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell import plugins
from mcshell.ddl import DDL, check, load
from mcshell.ddl.ddl_library import MAX_FILE, Library, read, shipped_dir
from mcshell.ddl.schema import schema
from mcshell.errors import ConfigError, DDLError, InputError, UsageError
from tests.unit.ddl.documents import METADATA, an_input, document

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=5,
)


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
            "times": ["a"],
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
    assert action.times == {"a"}
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


NO_DDLS = [
    ([], "is no DDL"),
    ({"actions": []}, "is no DDL"),
    ({"metadata": METADATA}, "no list of actions"),
    ({"metadata": METADATA | {"name": ""}, "actions": []}, "small letters"),
    ({"metadata": METADATA | {"name": "../x"}, "actions": []}, "small letters"),
]


@pytest.mark.parametrize(("made", "says"), NO_DDLS)
def test_refused_when_loaded(made, says):
    """What is no DDL at all is a DDLError with the file's name."""
    with pytest.raises(DDLError, match=says) as caught:
        load(made, "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert caught.value.path == "x.json"
    with pytest.raises(DDLError):
        check(made, "x.json")


FLAWED = [
    ({"metadata": METADATA | {"timeout": 1e30}, "actions": []}, "number of seconds"),
    (document(mcshell={"timeout": 10**400}), "number of seconds"),
    ({"metadata": METADATA | {"timeout": 0}, "actions": []}, "number of seconds"),
    ({"metadata": METADATA | {"timeout": True}, "actions": []}, "number of seconds"),
    (document(action="a\nb"), "is no name for one"),
    ({"metadata": METADATA, "actions": [3]}, "an action is left out"),
    (document(input=[3]), "input must be an object"),
    (document(input={"x": 3}), "input x: it must be an object"),
    (document(output={"x": 3}), "output x: it must be an object"),
    (document(output={"x": {"type": "colour"}}), "type colour is not here"),
    (document(display="sometimes"), "display is ok, failed or always"),
    (document(input={"x": an_input("strnig")}), "type strnig is not here .did you mean string"),
    (document(input={"x": an_input(validation="(")}), "neither a validator nor a regex"),
    (document(input={"x": an_input(validation="unit_name")}), "validator unit_name is not here"),
    (document(input={"x": an_input(validation=3)}), "validation must be"),
    (document(input={"x": an_input(maxlength=-1)}), "maxlength must be"),
    (document(input={"x": an_input(maxlength="many")}), "maxlength must be"),
    (document(input={"x": an_input("list")}), "list must give"),
    (document(input={"x": an_input(optional="no")}), "optional must be true or false"),
    (document(mcshell={"rerunsafe": True}), "did you mean rerun_safe"),
    (document(mcshell={"rerun_safe": 1}), "rerun_safe must be true or false"),
    (document(mcshell={"sensitive": ["x"]}), "sensitive names no input"),
    (document(mcshell={"sensitive": "x"}), "sensitive must be a list"),
    (document(mcshell={"times": ["x"]}), "times names no output 'x'"),
    (document(mcshell={"times": [["x"]]}), "times names no output"),
    (document(mcshell={"times": "x"}), "times must be a list"),
    (document(mcshell={"timeout": -1}), "number of seconds"),
    (document(mcshell=[3]), "mcshell must be an object"),
    (document(aggregate=[{"function": "sum", "args": []}]), "args must begin"),
    (document(aggregate=[{"args": ["a"]}]), "function must be text"),
    (document(aggregate=[{"function": "sum", "args": ["a"], "format": 3}]), "format must be"),
    (document(aggregate=3), "aggregate must be a list"),
    (document() | {"actions": document()["actions"] * 2}, "stands twice"),
]


@pytest.mark.parametrize(("made", "says"), FLAWED)
def test_a_flaw_costs_itself(made, says):
    """A part that cannot be used costs no schema: it is named, and the full check refuses it."""
    other = {"action": "other", "description": "d", "input": {"fine": an_input("integer")}}
    made["actions"].append(other | {"output": {}})
    ddl = load(made, "x.json")
    (flaw,) = ddl.flaws
    assert re.search(says, flaw)
    assert ddl.action("other").check({"fine": 1}) == {"fine": 1}
    with pytest.raises(DDLError):
        check(made, "x.json")


def test_what_was_to_check_an_input_checks_all():
    """An input that cannot be checked as the schema says takes no value; leniently any."""
    for broken in (an_input(validation="unit_name"), an_input("colour"), an_input(maxlength="x")):
        made = document(input={"x": broken, "y": an_input("integer", optional=True)})
        strict = load(made).action("act")
        with pytest.raises(InputError, match="cannot be checked: "):
            strict.check({"x": "a"})
        assert load(made, lenient=True).action("act").check({"x": "a"}) == {"x": "a"}


def test_where_it_cannot_be_told_what_is_secret_all_is():
    """A slip in `sensitive` never shows a secret."""
    made = document(input={"token": an_input()}, mcshell={"sensitive": ["tokn"]})
    assert load(made).action("act").redact({"token": "x"}) == {"token": "[redacted]"}


def test_choria_lengths_and_names():
    """A maxlength may be text that is a number, the name of an action have capitals and hyphens."""
    made = document(action="check-Update", input={"x": an_input(maxlength="3")})
    action = load(made).action("check-Update")
    assert action.check({"x": "abc"}) == {"x": "abc"}
    with pytest.raises(InputError, match="at most 3"):
        action.check({"x": "abcd"})


@settings(deadline=None)
@given(st.data())
def test_nothing_in_a_document_costs_the_others(data):
    """Whatever stands in the place of a part, the schema is read, and the other action is whole."""
    made = document(
        input={"x": an_input()}, output={"y": {"description": "d", "display_as": "Y"}},
        aggregate=[{"function": "sum", "args": ["y"]}],
        mcshell={"sensitive": ["x"], "changes": False},
    )  # fmt: skip
    place = made["actions"][0]
    while isinstance(place, (dict, list)) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if data.draw(st.booleans()) or not isinstance(place[key], (dict, list)):
            place[key] = data.draw(ANYTHING)
            break
        place = place[key]
    made["actions"].append({"action": "other", "input": {"fine": an_input("integer")}})
    ddl = load(made)
    assert ddl.action("other").check({"fine": 1}) == {"fine": 1}
    for action in ddl.actions.values():
        action.redact({"x": 1})
        action.aggregate([{"y": 1}])
        with suppress(InputError):
            action.check({"x": "a"})


@pytest.mark.parametrize(
    ("made", "says"),
    [
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


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (lambda value: 1 // 0, "validator odd raised ZeroDivisionError"),
        (lambda value: True, "validator odd returned True, not None or what is wrong"),
        (lambda value: False, "validator odd returned False, not None or what is wrong"),
    ],
)
def test_a_plugged_in_validator_that_is_none_refuses(foreign, said):
    """It raises, or says yes and no as other libraries' do: the value is not taken, and why is said."""
    plugins.register("validator", "odd", foreign)
    try:
        action = load(document(input={"n": an_input("integer", validation="odd")})).action("act")
    finally:
        plugins.unregister("validator", "odd")
    with pytest.raises(UsageError, match=f"input n cannot be checked: {said}"):
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
    with pytest.raises(UsageError, match=r"no agent 'sample.act' \(did you mean sample act\?\)"):
        library.get("sample.act")
    for name in ("../sample", "/etc/passwd", "", "sample.json", "a\0"):
        with pytest.raises(UsageError, match="no agent"):
            library.get(name)
    assert library.get("wrong").name == "wrong"
    assert library.get("wrong").flaws == ("metadata: its name is the file's, not 'sample'",)
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(DDLError, match="larger than"):
        library.get("large")
    with pytest.raises(DDLError, match="cannot be read: No such file"):
        read(tmp_path / "none.json")
    for name, why in (("broken", "is no JSON"), ("binary", "it is UTF-16")):
        with pytest.raises(DDLError, match=f"{name}.json: {why}"):
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
    from mcshell.ddl import ddl_library

    monkeypatch.setattr(
        ddl_library, "__file__", str(tmp_path / "mcshell" / "ddl" / "ddl_library.py")
    )
    with pytest.raises(ConfigError, match="install it again"):
        shipped_dir()
    for place in (tmp_path / "agents", tmp_path / "mcshell" / "agents"):
        place.mkdir(parents=True)
        assert shipped_dir() == place
