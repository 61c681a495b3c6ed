"""What the role turns its variables into: settings into TOML, a folder into its files."""

from __future__ import annotations

import base64
import importlib.util
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rollout.ansible import ROLES

PATH = ROLES / "mcshell_node" / "filter_plugins" / "mcshell.py"


def loaded() -> Any:
    """The filter plugin, by its path, as Ansible loads it."""
    spec = importlib.util.spec_from_file_location("mcshell_filters", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTERS = loaded()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.one_of(
    TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_whatever_is_in_a_value_stays_there(document: dict[str, Any]) -> None:
    """What is written reads back as what it was, whatever its keys and texts hold."""
    assert tomllib.loads(FILTERS.to_toml(document)) == document


@given(st.dictionaries(TEXTS, st.none() | SCALARS, max_size=5))
def test_what_is_none_is_left_out(table: dict[str, Any]) -> None:
    """At the top and in a table."""
    told = tomllib.loads(FILTERS.to_toml({"none": None, "table": table}))
    assert told == {"table": {key: one for key, one in table.items() if one is not None}}


@pytest.mark.parametrize("value", ["\ud800", b"bytes", object(), [None]])
def test_what_toml_has_no_form_for_is_refused(value: object) -> None:
    """In a line that shows it."""
    with pytest.raises(FILTERS.AnsibleFilterError, match="TOML has no form for"):
        FILTERS.to_toml({"table": {"key": value}})


def test_a_folder_is_its_files(tmp_path) -> None:
    """By their places, programs named; hidden and compiled ones stay where they are, no folder is none."""
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    for name in ("a/x.py", "a/__pycache__/x.pyc", ".hidden", "up"):
        (tmp_path / name).write_bytes(b"\xff" + name.encode())
    (tmp_path / "up").chmod(0o755)
    told = FILTERS.folder_files(tmp_path.name, "agents", str(tmp_path.parent))
    texts = {place: base64.b64decode(text) for place, text in told["files"].items()}
    assert texts == {"agents/a/x.py": b"\xffa/x.py", "agents/up": b"\xffup"}
    assert told["executable"] == ["agents/up"]
    assert FILTERS.folder_files("", "agents") == {"files": {}, "executable": []}
    with pytest.raises(FILTERS.AnsibleFilterError, match="is no folder of the controller"):
        FILTERS.folder_files("none", "agents", str(tmp_path))
