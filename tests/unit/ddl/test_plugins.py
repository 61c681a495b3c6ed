"""The registry over entry points."""

from __future__ import annotations

import sys

import pytest

from mcshell import plugins
from mcshell.errors import PluginError


def test_builtins_load():
    """Every built-in plugin is where the registry says, and loads once."""
    for kind, entries in plugins.BUILTIN.items():
        assert kind in plugins.KINDS
        for name in entries:
            assert callable(plugins.find(kind, name))
            assert plugins.find(kind, name) is plugins.find(kind, name)
        assert set(entries) <= set(plugins.names(kind))


def test_unknown():
    """An unknown kind or name is a PluginError that says what was meant."""
    with pytest.raises(PluginError, match="did you mean shellsafe") as caught:
        plugins.find("validator", "shelsafe")
    assert (caught.value.kind, caught.value.name) == ("validator", "shelsafe")
    for call in (plugins.names, lambda kind: plugins.find(kind, "x")):
        with pytest.raises(
            PluginError, match=r"no plugin kind 'validater'.*did you mean validator"
        ):
            call("validater")


def test_register():
    """What is registered comes first, is listed, and can be taken back."""
    before = plugins.find("validator", "shellsafe")
    plugins.register("validator", "shellsafe", "mine")
    plugins.register("facts", "mine", 3)
    try:
        assert plugins.find("validator", "shellsafe") == "mine"
        assert plugins.names("facts") == ["mine"]
    finally:
        plugins.unregister("validator", "shellsafe")
        plugins.unregister("facts", "mine")
    assert plugins.find("validator", "shellsafe") is before
    plugins.unregister("facts", "mine")


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a distribution with entry points of its own, for this test."""
    info = tmp_path / "sampleplugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sampleplugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mcshell.validator]\n"
        "odd = sampleplugins_module:Checks.odd\n"
        "shellsafe = sampleplugins_module:Checks.odd\n"
        "gone = sampleplugins_module:nothing\n"
        "raising = sampleplugins_raising:x\n"
        "absent = sampleplugins_absent:x\n"
    )
    (tmp_path / "sampleplugins_module.py").write_text(
        "class Checks:\n    @staticmethod\n    def odd(value):\n        return None\n"
    )
    (tmp_path / "sampleplugins_raising.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins._entry_points.cache_clear()
    yield
    plugins._entry_points.cache_clear()
    plugins._loaded.pop(("validator", "odd"), None)
    for name in list(sys.modules):
        if name.startswith("sampleplugins"):
            del sys.modules[name]


@pytest.mark.usefixtures("distribution")
def test_entry_points():
    """A distribution's plugin is found by its entry point; it cannot replace a built-in one."""
    assert plugins.find("validator", "odd")(3) is None
    assert "odd" in plugins.names("validator")
    assert plugins.find("validator", "shellsafe").__module__ == "mcshell.ddl.validators"


@pytest.mark.usefixtures("distribution")
@pytest.mark.parametrize(
    ("name", "says"),
    [("gone", "AttributeError"), ("raising", "RuntimeError: broken"), ("absent", "ModuleNotFound")],
)
def test_does_not_load(name, says):
    """A plugin that does not load is a PluginError that says where it is and why."""
    with pytest.raises(PluginError, match=says) as caught:
        plugins.find("validator", name)
    assert "sampleplugins" in str(caught.value)
