"""Facts: what the machine says of itself, and the operator's files over that."""

from __future__ import annotations

import copy
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.filters.facts import lookup
from mcshell.node.facts import system as machine
from mcshell.node.facts.classes import read_classes
from mcshell.node.facts.sendable import plain
from mcshell.node.facts.source import FactSource, _FactFile, merge
from mcshell.version import VERSION
from tests.peers.processes import no_descriptors

ROOT = Path(__file__).parents[3]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
HASH = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@pytest.fixture
def facts_d(tmp_path):
    """The folder of the operator's files."""
    folder = tmp_path / "facts.d"
    folder.mkdir()
    return folder


def source(base: Path, *patterns: str, refresh: float = 0.0, builtin: Any = dict) -> FactSource:
    """A source without built-in facts that reads its files each time."""
    return FactSource(
        patterns or ("facts.d/*.yaml", "facts.d/*.json"), base, refresh, builtin=builtin
    )


def test_the_machine_agrees_with_the_system(tmp_path):
    """The built-in facts are what the kernel, the C library and os-release say."""
    facts = FactSource([], tmp_path).facts()
    kernel = os.uname()
    assert facts["kernel"] == kernel.sysname
    assert facts["kernelrelease"] == kernel.release
    assert kernel.release.startswith(facts["kernelversion"])
    assert facts["architecture"] == kernel.machine
    assert facts["hostname"] == kernel.nodename.lower().partition(".")[0]
    assert facts["fqdn"].startswith(facts["hostname"])
    assert facts["cpu"]["count"] == os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(facts["memory"]["total_bytes"] - pages) < pages / 20
    assert 0 < facts["memory"]["available_bytes"] <= facts["memory"]["total_bytes"]
    release = platform.freedesktop_os_release()
    assert facts["os"]["release"]["full"].startswith(release.get("VERSION_ID", ""))
    assert facts["os"]["release"]["major"] in release.get("VERSION_ID", "")
    assert facts["mcshell"] == {"version": VERSION}
    assert isinstance(facts["is_virtual"], bool)
    assert facts["timezone"]
    assert facts["init"]


def test_the_clock_facts_are_the_kernels(tmp_path):
    """Uptime is /proc/uptime's, and boot time is that long ago."""
    facts = FactSource([], tmp_path).facts()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 <= uptime - facts["uptime_seconds"] < 60
    assert abs(time.time() - facts["uptime_seconds"] - facts["boot_time"]) < 60


def test_interfaces_are_all_there(tmp_path):
    """Every interface is listed by name; the loopback has its address."""
    network = FactSource([], tmp_path).facts()["network"]
    assert set(network["interfaces"]) == {name for _, name in socket.if_nameindex()}
    assert network["interfaces"]["lo"]["ip"] == "127.0.0.1"
    assert not network["ip"].startswith("127.")
    for interface in network["interfaces"].values():
        if "ip" in interface:
            socket.inet_aton(interface["ip"])
        if "ip6" in interface:
            socket.inet_pton(socket.AF_INET6, interface["ip6"])


def test_facts_can_travel(tmp_path):
    """All built-in facts survive JSON unchanged."""
    facts = dict(FactSource([], tmp_path).facts())
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_facts_are_light():
    """The first facts are there in a moment, without yaml, psutil, asyncio or a name server."""
    code = (
        "import sys; from pathlib import Path; from mcshell.node.facts.source import FactSource;"
        "import socket; socket.getaddrinfo = socket.gethostbyname = None;"
        "FactSource(['facts.d/*.yaml'], Path('/nosuch')).facts();"
        "print([m for m in ('yaml', 'psutil', 'asyncio', 'email') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_files_override_key_by_key(tmp_path, facts_d):
    """A file changes the keys it names and leaves its neighbours; later files win."""
    (facts_d / "10-role.yaml").write_text("role: web\nos:\n  family: Mine\nlist: [1, 2]\n")
    (facts_d / "20-site.yaml").write_text("role: db\nlist: [3]\n")
    (facts_d / "site.json").write_text('{"datacenter": "ams", "os": {"release": "13"}}')
    builtin = {"os": {"name": "Debian", "family": "Debian", "release": {"major": "12"}}}
    facts = source(tmp_path, builtin=lambda: copy.deepcopy(builtin)).facts()
    assert facts == {
        "os": {"name": "Debian", "family": "Mine", "release": "13"},
        "role": "db",
        "list": [3],
        "datacenter": "ams",
    }


def test_what_speaks_of_mcshell_cannot_be_overridden(tmp_path, facts_d):
    """The version of the software that runs is not the operator's to claim."""
    (facts_d / "x.yaml").write_text("mcshell: {version: '99'}\nrole: web\n")
    facts = source(tmp_path, builtin=lambda: {"mcshell": {"version": "1"}}).facts()
    assert facts == {"mcshell": {"version": "1"}, "role": "web"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.yaml", "role: [web\n"),
        ("x.yaml", "- a\n- b\n"),
        ("x.yaml", "just text"),
        ("x.yaml", "!!python/object/apply:os.system [id]\n"),
        ("x.yaml", "a: &a [*a]\n"),
        ("x.yaml", b"\xff\xfe\x00"),
        ("x.json", "{"),
        ("x.json", "[1]"),
        ("x.json", "[" * 100_000),
        ("x.txt", "role: web"),
    ],
)
def test_a_broken_file_is_one_warning_and_the_rest_stays(tmp_path, facts_d, caplog, name, content):
    """A file that cannot be used is named once, however often facts are read."""
    (facts_d / "good.yaml").write_text("role: web\n")
    data = content.encode() if isinstance(content, str) else content
    (facts_d / name).write_bytes(data)
    facts = source(tmp_path, "facts.d/*")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert facts.facts() == {"role": "web"}
    assert len(caplog.records) == 1
    assert str(facts_d / name) in caplog.messages[0]
    assert "\n" not in caplog.messages[0]


def test_a_file_that_breaks_keeps_what_it_said_last(tmp_path, facts_d, caplog):
    """A half-written file does not drop a node out of every filter; repaired, it counts again."""
    path = facts_d / "role.yaml"
    path.write_text("role: web\n")
    facts = source(tmp_path)
    assert facts.facts() == {"role": "web"}
    path.write_text("role: [d\n")
    assert facts.facts() == {"role": "web"}
    path.write_text("role: database\n")
    assert facts.facts() == {"role": "database"}
    path.unlink()
    assert facts.facts() == {}
    assert len(caplog.records) == 1


def test_an_unreadable_file_is_left_out(tmp_path, facts_d, caplog):
    """A file that vanishes or cannot be opened is a warning, never an error."""
    (facts_d / "dangling.yaml").symlink_to(facts_d / "nowhere")
    (facts_d / "folder.yaml").mkdir()
    (facts_d / "good.yaml").write_text("a: 1\n")
    assert source(tmp_path).facts() == {"a": 1}


def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(facts_d):
    """Facts for which there was no descriptor come with the next look, though their file is as it was."""
    (facts_d / "good.yaml").write_text("a: 1\n")
    file = _FactFile(facts_d / "good.yaml")
    with no_descriptors():
        assert file.facts() == {}
        assert len(file.flaws) == 1
    assert (file.facts(), file.flaws) == ({"a": 1}, [])


def test_an_empty_file_says_nothing(tmp_path, facts_d, caplog):
    """An empty file, or one of comments only, is no mistake."""
    (facts_d / "empty.yaml").touch()
    (facts_d / "comment.yaml").write_text("# nothing yet\n")
    assert source(tmp_path).facts() == {}
    assert not caplog.records


def test_absolute_patterns(tmp_path, facts_d):
    """A pattern may also be an absolute path."""
    (facts_d / "a.yaml").write_text("a: 1\n")
    assert source(Path("/nosuch"), f"{facts_d}/*.yaml").facts() == {"a": 1}


def test_facts_are_cached_until_they_are_old(tmp_path, facts_d):
    """Within the refresh time nothing is read again."""
    calls = []

    def builtin():
        calls.append(1)
        return {}

    facts = source(tmp_path, refresh=3600, builtin=builtin)
    assert facts.facts() is facts.facts()
    (facts_d / "late.yaml").write_text("a: 1\n")
    assert facts.facts() == {}
    assert len(calls) == 1


def test_what_was_handed_out_never_changes(tmp_path, facts_d):
    """A later reading makes new facts; the old ones stay as they were, and are read-only."""
    (facts_d / "a.yaml").write_text("os: {name: A}\n")
    (facts_d / "b.yaml").write_text("os: {codename: b}\n")
    facts = source(tmp_path)
    before = facts.facts()
    (facts_d / "b.yaml").write_text("os: {codename: changed}\n")
    after = facts.facts()
    assert before == {"os": {"name": "A", "codename": "b"}}
    assert after == {"os": {"name": "A", "codename": "changed"}}
    with pytest.raises(TypeError):
        before["os"] = {}


def test_many_threads_may_ask_at_once(tmp_path, facts_d):
    """Threads that ask at once all get whole facts."""
    (facts_d / "a.yaml").write_text("os: {family: Mine}\n")
    facts = source(tmp_path, builtin=machine.machine)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: facts.facts()["os"]["family"], range(40)))
    assert found == ["Mine"] * 40


def test_yamls_own_types_become_plain(tmp_path, facts_d):
    """Dates, sets, numbers as keys and not-a-number turn into what JSON can carry."""
    (facts_d / "x.yaml").write_text(
        "day: 2026-01-31\nat: 2026-01-31T10:00:00Z\n8080: http\nnan: .nan\nset: !!set {a: null}\n"
        "bin: !!binary aGk=\nyes: true\nnested: {1: {2: [2026-01-01]}}\n"
    )
    facts = dict(source(tmp_path).facts())
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["day"] == "2026-01-31"
    assert facts["8080"] == "http"
    assert (facts["nan"], facts["set"], facts["bin"]) == ("nan", ["a"], "hi")
    assert facts["true"] is True
    assert facts["nested"] == {"1": {"2": ["2026-01-01"]}}


@given(HASH, HASH)
def test_merge_lays_one_over_the_other(under, over):
    """Every leaf of the upper one is there; of the lower one what the upper one does not name."""
    merged = copy.deepcopy(under)
    merge(merged, over)
    untouched = copy.deepcopy(over)
    assert set(merged) == set(under) | set(over)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            assert set(merged[key]) == set(value) | set(under[key])
        else:
            assert merged[key] == value
    again = copy.deepcopy(merged)
    merge(again, over)
    assert again == merged
    assert over == untouched


@given(JSON)
def test_plain_leaves_json_alone(value):
    """What JSON has already is not changed."""
    assert plain(value) == value


@pytest.mark.parametrize(
    ("text", "name", "full"),
    [
        ("127.0.0.1 localhost\n10.0.0.1 web1.example.com web1\n", "web1", "web1.example.com"),
        ("127.0.1.1 web1 web1.example.org # old: web1.example.com\n", "web1", "web1.example.org"),
        ("10.0.0.1 web10.example.com web10\n", "web1", ""),
        ("# 10.0.0.1 web1.example.com web1\n", "web1", ""),
        ("", "web1", ""),
    ],
)
def test_full_names_from_hosts(text, name, full):
    """The full name is found in hosts(5), whichever place it stands in."""
    assert machine.parse_hosts(text, name) == full


def test_global_addresses_come_before_local_ones():
    """An interface's IPv6 address is the global one when it has both."""
    text = (
        "fe80000000000000024216fffe3d1c5a 02 40 20 80     eth0\n"
        "20010db8000000000000000000000001 02 40 00 80     eth0\n"
        "fe800000000000000000000000000001 03 40 20 80     eth1\n"
        "00000000000000000000000000000001 01 80 10 80       lo\n"
    )
    found = machine.parse_inet6(text)
    assert found == {"eth0": "2001:db8::1", "eth1": "fe80::1", "lo": "::1"}


def test_paths_of_facts_reach_the_nested_ones(tmp_path):
    """The dotted paths that filters and rpcutil use find the built-in facts."""
    facts = FactSource([], tmp_path).facts()
    assert lookup(facts, "os.release.major") == facts["os"]["release"]["major"]
    assert lookup(facts, "network.interfaces.lo.ip") == "127.0.0.1"


ODD = {
    "bios: 0000-00-00": "0000-00-00",
    "seen: 2026-01-01 99:99:99": "2026-01-01 99:99:99",
    "sign: =": "=",
    "mask: 0x_": "0x_",
    "tagged: !!bool maybe": "maybe",
    "empty: !!int ''": "",
    "day: !!timestamp soon": "soon",
    "blob: !!binary a": "a",
    "ruby: !ruby/sym web": "web",
    "object: !ruby/object:Site {name: ams, at: [1]}": {"name": "ams", "at": [1]},
    f"serial: {'9' * 5000}": "9" * 5000,
}


@pytest.mark.parametrize("line", ODD, ids=lambda line: line.partition(":")[0])
def test_a_yaml_value_that_is_none_of_its_type_is_its_text(tmp_path, facts_d, line):
    """It costs no other fact of its file, nor the node."""
    (facts_d / "a.yaml").write_text(f"{line}\nbeside: there\n")
    found = source(tmp_path)
    assert found.flaws() == ()
    assert found.facts() == {line.partition(":")[0]: ODD[line], "beside": "there"}


def test_merge_keys_cost_no_more_than_they_bring(tmp_path, facts_d):
    """A file in which they would bring a thousand million entries is left out, in little time."""
    keys = ", ".join(f"k{n}: 1" for n in range(20_000))
    (facts_d / "a.yaml").write_text(
        f"a: &a {{{keys}}}\nb: {{<<: [{', '.join(['*a'] * 50_000)}]}}\n"
    )
    (facts_d / "b.yaml").write_text("base: &b {x: 1}\nweb: {<<: *b, y: 2}\n")
    began = time.process_time()
    found = source(tmp_path)
    assert found.facts() == {"base": {"x": 1}, "web": {"x": 1, "y": 2}}
    assert "merge keys bring more than 1,000,000 entries" in found.flaws()[0]
    assert time.process_time() - began < 60


def test_classes_are_read_from_files_alone(tmp_path):
    """A pipe in their place is named, and waits for nobody."""
    os.mkfifo(tmp_path / "classes")
    assert read_classes(tmp_path / "classes") == (
        [],
        [f"classes: {tmp_path / 'classes'}: it is no file"],
    )


@pytest.mark.parametrize("pattern", ["", "/", "a/**b", "x" * 300])
def test_a_pattern_that_is_none_costs_itself(tmp_path, facts_d, pattern):
    """It is named, or to a later Python one that nothing fits, and all other files are read."""
    (facts_d / "a.yaml").write_text("beside: there\n")
    found = source(tmp_path, pattern, "facts.d/*.yaml")
    assert found.facts() == {"beside": "there"}
    flaws = [line.partition(":")[0] for line in found.flaws()]
    fits_nothing = len(pattern) > 1 and sys.version_info >= (3, 12)
    assert flaws == [f"fact files {pattern[:80]!r}"] or (fits_nothing and not flaws)
