"""What each task must come to, whichever face it was put from: for the machines as they are."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

from mcshell.filters.nodes import expand
from tests.peers.processes import wait_until
from tests.tasks.machines import BARE, BEHIND, NAMES, NEW, OLD, SITES, WEBS
from tests.tasks.seen import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.machines import Machines
    from tests.tasks.seen import Seen

__all__ = ["CHECKS", "ORDER", "PREPARATIONS"]

#: The story. `_` of task 9 means the rows of task 7, `retry` of task 12 the request of task 10; db03
#: dies after task 9.
ORDER = [1, 3, 4, 5, 6, 8, 7, 9, 2, 10, 12, 11, *range(13, 26)]
FAILING = ("web03", "web05")
UNASKED = ("web06", "web07", "web08", "web09", "web10")  # three have failed before them
PRINTED = """[it's][say "hi"][$HOME][*]"""


def up(seen: Seen, _machines: Machines) -> None:
    assert seen.column("state") == dict.fromkeys(NAMES, "ok")
    assert all(float(row["time_ms"]) > 0 for row in seen.rows)


def missing(seen: Seen, _machines: Machines) -> None:
    assert seen.column("state") == {"db03": "silent"}


def sites(seen: Seen, _machines: Machines) -> None:
    assert seen.column("count", "value") == {"ams": "6", "lon": "7"}
    assert seen.column("nodes", "value")["lon"] == "db[02-03],web[06-10]"


def majors(seen: Seen, _machines: Machines) -> None:
    assert seen.column("count", "value") == {"12": "12", "11": "1"}
    assert seen.column("nodes", "value")["11"] == "web10"


def one_inventory(seen: Seen, _machines: Machines) -> None:
    (row,) = seen.rows
    assert row["sender"] == "web01"
    assert "role::web" in row["classes"]
    assert {"package", "service"} <= set(re.findall(r"\w+", row["agents"]))
    assert re.search(r'\bsite"?: "?ams\b', row["facts"])


def folded(seen: Seen, _machines: Machines) -> None:
    assert [(row["nodes"], row["state"], row["version"]) for row in seen.rows] == [
        ("db[01-03],web[01-02,04-06,08-10]", "ok", NEW),
        ("web[03,07]", "ok", OLD),
    ]


def behind(seen: Seen, _machines: Machines) -> None:
    assert seen.column("version") == dict.fromkeys(BEHIND, OLD)


def without(seen: Seen, _machines: Machines) -> None:
    assert seen.column("installed") == dict.fromkeys(BARE, "false")


def updated_there(seen: Seen, machines: Machines) -> None:
    assert seen.column("before") == dict.fromkeys(BEHIND, OLD)
    assert seen.column("after") == dict.fromkeys(BEHIND, NEW)
    assert {name: machines.version(name) for name in BEHIND} == dict.fromkeys(BEHIND, NEW)
    assert machines.asked("package", "update") == set(BEHIND)


def three_failures(seen: Seen, machines: Machines) -> None:
    states = seen.column("state")
    bad = {name: state for name, state in states.items() if state not in ("ok", "pending")}
    assert bad == {"db03": "silent", "web03": "failed", "web05": "failed"}
    assert {name for name, state in states.items() if state == "pending"} == set(UNASKED)
    assert "not sent: stopped after 3 failures" in seen.column("statusmsg")["web06"]
    again = machines.restarted("chrony")
    assert again == {"db01", "db02", "web01", "web02", "web04"}


def canary(seen: Seen, machines: Machines) -> None:
    assert seen.column("state") == dict.fromkeys(WEBS, "ok")
    times = machines.restart_times("nginx")
    assert machines.restarted("nginx") == set(WEBS)
    assert times["web01"] < min(times[name] for name in WEBS if name != "web01")


def tried_again(seen: Seen, machines: Machines) -> None:
    assert seen.column("state") == {"db03": "silent", **dict.fromkeys((*FAILING, *UNASKED), "ok")}
    assert {*FAILING, *UNASKED} <= machines.restarted("chrony")


def largest(seen: Seen, _machines: Machines) -> None:
    assert [(row["sender"], row["command"]) for row in seen.rows[:2]] == [
        ("web04", "leaky"),
        ("web09", "leaky"),
    ]
    sizes = [in_bytes(row["rss_bytes"]) for row in seen.rows]
    assert len(sizes) == 5
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 160 << 20


def in_bytes(text: str) -> float:
    """A figure of a frame, or in a unit as a terminal is shown it."""
    number, _, unit = text.partition(" ")
    return float(number) * 1024 ** ("", "KiB", "MiB", "GiB").index(unit)


def odd_file(seen: Seen, _machines: Machines) -> None:
    assert list(seen.column("checksum")) == ["web08"]


def tails(seen: Seen, _machines: Machines) -> None:
    for name in ("db01", "web01", "web02"):
        said = seen.column("content")[name].strip().splitlines()
        assert said == [f"{name}: event {number}" for number in range(21, 41)]


def printed(seen: Seen, _machines: Machines) -> None:
    assert seen.column("stdout") == {"web01": PRINTED}


def submitted(seen: Seen, _machines: Machines) -> None:
    if "nodes" not in seen.rows[0]:  # in a cell: a row a node
        assert seen.column("state") == dict.fromkeys(WEBS, "received")
        return
    (row,) = seen.rows
    assert row["states"] == f"{len(WEBS)} received"
    assert expand([row["nodes"]]) == WEBS


def who_will(seen: Seen, _machines: Machines) -> None:
    if "nodes" not in seen.rows[0]:  # in a cell: a row a node
        rows = [row for row in seen.rows if row["start"]]
        found = {(row["sender"], row["name"], row["action"], clock(row["start"])) for row in rows}
        assert found == {(name, "openssl", "update", "04:00") for name in WEBS}
        assert "db03" in {row["sender"] for row in seen.rows if not row["start"]}
        return
    (row,) = seen.rows
    assert (row["name"], row["action"], row["starts"]) == ("openssl", "package.update", "10")
    assert {clock(row["first"]), clock(row["last"])} == {"04:00"}
    assert expand([row["nodes"]]) == WEBS
    assert "db03" in seen.text


def moved(seen: Seen, machines: Machines) -> None:
    assert seen.column("state") == dict.fromkeys(WEBS, "ok")
    assert machines.starts() == dict.fromkeys(WEBS, "05:00")


def cancelled(seen: Seen, machines: Machines) -> None:
    assert {name for name in seen.column("state") if name in WEBS} == set(WEBS[:5])
    assert machines.starts() == {n: "05:00" for n in WEBS if SITES[n] == "lon"}


def as_csv(seen: Seen, _machines: Machines) -> None:
    with (seen.folder / "yesterday.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    versions = {row["sender"]: row["version"] for row in rows}
    assert versions == {name: NEW if name == "web10" else OLD for name in NAMES}


def changed(seen: Seen, _machines: Machines) -> None:
    found = {(row["sender"], row["change"], row["column"]): row for row in seen.rows}
    same = {"web10", "db02", "db03"}
    for name in set(NAMES) - same:
        row = found.pop((name, "changed", "version"))
        assert (row["before"], row["after"]) == (OLD, NEW)
        del found[name, "changed", "ensure"]
    assert found.pop(("db02", "added", "sender"))["after"] == "db02"
    assert found.pop(("db03", "changed", "state"))["after"] == "silent"
    assert not found


def silence(seen: Seen, _machines: Machines) -> None:
    assert "no answer to a probe" in seen.rows[0]["evidence"]
    assert seen.rows[0]["cause"] == "last seen before the request was sent"


def handed_over(seen: Seen, machines: Machines) -> None:
    """The colleague's machine takes the session up, and hears what the open request still gets."""
    path = seen.folder / "friday.mcs"
    assert seen.rows[0]["name"] == "friday"
    there = {"MCSHELL_STATE": str(seen.folder / "colleague")}
    done = machines.cli("session", "import", str(path), "--json", **there)
    assert json.loads(done.stdout)[0]["refused"] == 0, done.stderr
    done = machines.cli("session", "attach", "friday", "--json", **there)
    (attached,) = json.loads(done.stdout)
    assert (attached["holds"], attached["open"]) == (True, 6), done.stderr  # five starts, and db03
    machines.boot("db03")
    words = ("replies", "rpcutil.ping", "--session", "friday", "-t", "60", "--json")
    found = json.loads(machines.cli(*words, timeout=90, **there).stdout)
    assert [(row["sender"], row["state"]) for row in found["replies"]] == [("db03", "ok")]


def page(seen: Seen, _machines: Machines) -> None:
    path = seen.folder / "monday.html"
    assert wait_until(path.exists, 60), seen.text
    text = path.read_text(encoding="utf-8")
    assert "Fleet report" in text
    assert "web[01-10]" in text
    assert "web10</td>" in text  # the odd one out
    assert "data:image/png" in text
    assert "<script" not in text


_STORY = (
    *(up, missing, sites, majors, one_inventory, folded, behind, without, updated_there),
    *(three_failures, canary, tried_again, largest, odd_file, tails, printed, submitted),
    *(who_will, moved, cancelled, as_csv, changed, silence, handed_over, page),
)
CHECKS: dict[int, Callable[[Seen, Machines], None]] = dict(enumerate(_STORY, start=1))


def _mended(machines: Machines) -> None:
    """Somebody has found the disk again."""
    for name in FAILING:
        machines.repair(name, "chrony")
    machines.note("chrony")


#: What has happened on the machines before a task.
PREPARATIONS: dict[int, Callable[[Machines], None]] = {
    2: lambda machines: machines.kill9("db03"),
    10: lambda machines: machines.note("chrony"),
    11: lambda machines: machines.note("nginx"),
    12: _mended,
}
