"""The registry over entry points."""

from __future__ import annotations

import sys
from importlib import metadata

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
    plugins.register("audit", "mine", 3)
    try:
        assert plugins.find("validator", "shellsafe") == "mine"
        assert plugins.names("audit") == ["mine"]
    finally:
        plugins.unregister("validator", "shellsafe")
        plugins.unregister("audit", "mine")
    assert plugins.find("validator", "shellsafe") is before
    plugins.unregister("audit", "mine")


def _metadata(info, name, version):
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a distribution with entry points of its own, for this test."""
    info = tmp_path / "sampleplugins-1.0.dist-info"
    info.mkdir()
    _metadata(info, "sampleplugins", "1.0")
    (info / "entry_points.txt").write_text(
        "[mcshell.validator]\n"
        "odd = sampleplugins_module:Checks.odd\n"
        "shellsafe = sampleplugins_module:Checks.odd\n"
        "gone = sampleplugins_module:nothing\n"
        "raising = sampleplugins_raising:x\n"
        "absent = sampleplugins_absent:x\n"
        "text = sampleplugins_module:__doc__\n"
        "twice = sampleplugins_module:Checks.odd\n"
        "\n# a comment = no:entry\n[console_scripts]\nsample = sampleplugins_module:Checks\n"
        "[mcshell.validater]\nodd = sampleplugins_module:Checks.odd [extra]\n"
    )
    other = tmp_path / "Other_plugins-2.0.dist-info"
    other.mkdir()
    _metadata(other, "Other_plugins", "2.0")
    (other / "entry_points.txt").write_text("[mcshell.validator]\ntwice = other:twice\n")
    shadowed = tmp_path / "behind" / "sampleplugins-0.9.dist-info"
    shadowed.mkdir(parents=True)
    _metadata(shadowed, "sampleplugins", "0.9")
    (shadowed / "entry_points.txt").write_text("[mcshell.validator]\nold = other:old\n")
    (tmp_path / "sampleplugins_module.py").write_text(
        "class Checks:\n    @staticmethod\n    def odd(value):\n        return None\n"
    )
    (tmp_path / "sampleplugins_raising.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path / "behind")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.installed.cache_clear()
    yield
    plugins.installed.cache_clear()
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
    [
        ("gone", "AttributeError"),
        ("raising", "RuntimeError: broken"),
        ("absent", "ModuleNotFound"),
        ("text", "is no function"),
    ],
)
def test_does_not_load(name, says):
    """A plugin that does not load is a PluginError that says where it is and why."""
    with pytest.raises(PluginError, match=says) as caught:
        plugins.find("validator", name)
    assert "sampleplugins" in str(caught.value)


@pytest.mark.usefixtures("distribution")
def test_what_is_installed_is_what_importlib_says():
    """The entry points are those of the standard library, the first of a distribution's versions."""
    groups = [f"mcshell.{kind}" for kind in (*plugins.KINDS, "validater")]
    points = [point for group in groups for point in metadata.entry_points(group=group)]
    told = {(p.group, p.name, p.value, p.dist.name, p.dist.version) for p in points}
    found = {
        (f"mcshell.{one.kind}", one.name, one.where, *one.distribution.split("-"))
        for one in plugins.installed()
    }
    assert found == told
    assert len(plugins.installed()) == len(told) == 9


@pytest.mark.usefixtures("distribution")
def test_two_of_one_name():
    """No distribution hides another's plugin: both are named, and neither is used."""
    with pytest.raises(PluginError, match=r"Other_plugins-2\.0 and sampleplugins-1\.0"):
        plugins.find("validator", "twice")
    assert "twice" in plugins.names("validator")


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    """Nobody knows what it would have switched on: it is an error, and names the file."""
    info = tmp_path / "sampleplugins-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(b"[mcshell.authoriser]\n\xff = x:y\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.installed.cache_clear()
    with pytest.raises(PluginError, match=r"sampleplugins.*entry_points\.txt cannot be read"):
        plugins.find_all("authoriser")
