"""Exit codes, streams and formats of the command line, on a real fleet."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)

EVERY = ["db1", "web1", "web2"]


def test_all_ok_is_0_and_json_is_one_document(fleet: Fleet) -> None:
    """`--json` is a single document with request, stats and a reply for each target."""
    done = fleet.cli("rpc", "rpcutil", "ping", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert set(found) == {"request", "stats", "replies"}
    assert set(found["request"]) == {"id", "agent", "action", "via", "created", "expires"}
    assert found["stats"]["targets"] == found["stats"]["ok"] == 3
    assert {"late", "duplicate", "unexpected", "elapsed"} <= set(found["stats"])
    assert sorted(row["sender"] for row in found["replies"]) == EVERY
    assert all(row["state"] == "ok" and row["statuscode"] == 0 for row in found["replies"])
    assert all(row["lag"] > 0 and "pong" in row["data"] for row in found["replies"])


def test_no_targets_is_1(fleet: Fleet) -> None:
    """A filter that matches nobody: 1, and a line that says so."""
    done = fleet.cli("rpc", "rpcutil", "ping", "-F", "role=nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no node matches" in done.stderr
    assert fleet.cli("find", "-F", "role=nothing").returncode == 1
    (fleet.folder / "empty.txt").write_text("# nobody\n")
    assert fleet.cli("find", "--nodes", "empty.txt").returncode == 1


def test_denied_or_failed_is_2(fleet: Fleet) -> None:
    """One node that refuses or fails: 2."""
    assert fleet.cli("rpc", "file", "read", "path=/etc/passwd", "-I", "web1").returncode == 2


def test_a_named_node_that_is_not_there_is_a_row(fleet: Fleet) -> None:
    """Only ghosts, named by hand: 4; a ghost beside real nodes: 5, and it is in the replies."""
    done = fleet.cli("rpc", "rpcutil", "ping", "-I", "ghost", "-t", "3", "-j")
    assert done.returncode == 4
    (row,) = json.loads(done.stdout)["replies"]
    assert (row["sender"], row["state"], row["statuscode"]) == ("ghost", "silent", None)
    done = fleet.cli(
        "rpc", "rpcutil", "ping", "--nodes", "-", "-j", "-t", "30", stdin="web1\nghost\n"
    )
    assert done.returncode == 5
    states = {row["sender"]: row["state"] for row in json.loads(done.stdout)["replies"]}
    assert states == {"web1": "ok", "ghost": "silent"}
    done = fleet.cli("ping", "--nodes", "-", "-j", "-t", "30", stdin="web1\nghost\n")
    assert done.returncode == 5
    assert {row["sender"]: row["state"] for row in json.loads(done.stdout)} == states


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_ctrl_c_returns_what_came_and_130(fleet: Fleet, form: str) -> None:
    """An interrupt during the wait prints the partial result, what is open with its state."""
    audit = fleet.folder / "state-web1" / "node" / "audit.jsonl"
    before = audit.read_text().count('"agent":"exec"')
    argv = json.dumps(["sleep", "30"])
    words = ["rpc", "exec", "run", f"argv={argv}", "-I", "web1", "-t", "60", form]
    process = subprocess.Popen(
        [sys.executable, "-m", "mcshell", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=fleet.folder,
        env=fleet.environ,
    )
    assert wait_until(lambda: audit.read_text().count('"agent":"exec"') > before, 60.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)  # a line of --jsonl is a row
    (row,) = found["replies"] if form == "--json" else [found]
    assert row["sender"] == "web1"
    assert row["state"] not in ("ok", "failed")


def test_retry_waits_for_its_own_replies(fleet: Fleet) -> None:
    """Its rows stream as those of `rpc` do, each when it is final; with `-b` 0 says it is sent."""
    line = ["rpc", "rpcutil", "ping", "--nodes", "-", "--session", "again"]
    assert fleet.cli(*line, "-t", "2", stdin="web1\nghost\n").returncode == 5
    done = fleet.cli("retry", "--jsonl", "-t", "2", "--session", "again")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["sender"], row["state"]) == ("ghost", "silent")
    assert fleet.cli("retry", "-b", "-t", "2", "--session", "again").returncode == 0


def test_a_stream_of_a_queue_ends(fleet: Fleet) -> None:
    """With `--jsonl` a queued request is waited for as long as without: `client.timeout`."""
    line = ["rpc", "rpcutil", "ping", "--via", "queue", "-I", "ghost", "--session", "queued"]
    began = time.monotonic()
    done = fleet.cli(*line, "--jsonl", MCSHELL_CLIENT_TIMEOUT="3")
    assert [json.loads(row)["state"] for row in done.stdout.splitlines()] == ["pending"]
    assert time.monotonic() - began >= 3


def test_jsonl_is_a_line_a_row(fleet: Fleet) -> None:
    """Rows come as objects, one a line, silent ones too."""
    stdin = "web1\nweb2\nghost\n"
    done = fleet.cli("rpc", "rpcutil", "ping", "--jsonl", "--nodes", "-", "-t", "30", stdin=stdin)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["sender"]: row["state"] for row in rows} == {
        "web1": "ok",
        "web2": "ok",
        "ghost": "silent",
    }
    assert done.returncode == 5


def test_senders_feed_nodes(fleet: Fleet) -> None:
    """`find --senders | rpc --nodes -` asks exactly those."""
    names = fleet.cli("find", "-F", "role=web", "--senders").stdout
    assert names == "web1\nweb2\n"
    done = fleet.cli("rpc", "rpcutil", "ping", "--nodes", "-", "--senders", stdin=names)
    assert sorted(done.stdout.split()) == ["web1", "web2"]


def test_csv_has_the_whole_reply_table(fleet: Fleet) -> None:
    """The columns are those of §4, with the outputs in between."""
    done = fleet.cli("rpc", "rpcutil", "get_fact", "fact=role", "--format", "csv")
    header, *rows = csv.reader(io.StringIO(done.stdout))
    assert header == [
        *("sender", "state", "statuscode", "statusmsg", "fact", "value"),
        *("lag", "late", "trust", "requestid"),
    ]
    assert sorted(row[0] for row in rows) == EVERY


def test_the_summary_goes_to_standard_error(fleet: Fleet) -> None:
    """Rows on standard output; counts, ghosts and aggregates on standard error."""
    stdin = "web1 ghost1 ghost2"
    words = ["rpc", "rpcutil", "get_fact", "fact=role", "--nodes", "-", "-t", "30"]
    done = fleet.cli(*words, stdin=stdin)
    assert "web1" in done.stdout
    assert "3 targets: 1 ok, 2 silent" in done.stderr
    assert "no answer from ghost[1-2]" in done.stderr
    assert "web = 1" in done.stderr


def test_background_prints_the_id_and_the_replies_are_found_later(fleet: Fleet) -> None:
    """With `-b` standard output is the request id; `replies` of the session finds it."""
    session = ["--session", "later"]
    done = fleet.cli("rpc", "rpcutil", "ping", "-b", *session)
    assert done.returncode == 0, done.stderr
    requestid = done.stdout.strip()
    assert len(requestid) == 32
    rows = json.loads(fleet.cli("requests", "--json", *session).stdout)
    assert [row["requestid"] for row in rows] == [requestid]
    found = json.loads(fleet.cli("replies", requestid[:6], "--json", *session).stdout)
    assert found["request"]["id"] == requestid
    assert found["stats"]["targets"] == 3


@pytest.mark.parametrize(
    "line",
    [
        "ping -I ghost",
        "inventory ghost",
        "cp local ghost:/srv/local",
        "cp ghost:/etc/hosts got",
        "propose rpcutil ping -I ghost",
    ],
)
def test_whoever_is_named_and_silent_is_4_for_each_verb(
    fleet: Fleet, line: str, tmp_path: Path
) -> None:
    """Names stand in other places than -I too: the exit code says the same of them."""
    (fleet.folder / "local").write_text("text")
    # What is proposed to a ghost stays open: in no session of other tests.
    done = fleet.cli(*line.split(), "-t", "3", MCSHELL_STATE=str(tmp_path / "state"))
    assert done.returncode == 4, done.stdout + done.stderr


def test_a_script_on_standard_input_runs_line_by_line(fleet: Fleet) -> None:
    """`mcshell` without a terminal reads lines; a silent node does not stop it, its code stays."""
    script = "# who\nfind --senders\nrpc rpcutil ping -I ghost -t 3 --senders; agents --senders\n"
    done = fleet.cli(stdin=script.replace("; agents --senders", ""))
    assert done.stdout.split() == [*EVERY, "ghost"]
    assert done.returncode == 4
    done = fleet.cli("-j", "-e", "find -I web1; find -I web2")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [{"sender": "web1"}],
        [{"sender": "web2"}],
    ]


def test_a_reader_that_leaves_ends_it_quietly(fleet: Fleet) -> None:
    """When the pipe is closed there is no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mcshell", "-e", "agents;" * 400],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=fleet.folder,
        env=fleet.environ,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 141
    assert "Traceback" not in err
    assert "Broken" not in err


def test_doctor_finds_a_sound_operator(fleet: Fleet) -> None:
    """All checks of a working configuration are ok or, for agents, a reason."""
    done = fleet.cli("doctor", "--json")
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    broker = next(row for check, row in rows.items() if check.startswith("broker "))
    assert "speaks mcshell" in broker["detail"]
    assert "operator alice (cert=alice)" in rows["identity"]["detail"]
    assert rows["key"]["state"] == rows["ca"]["state"] == rows["cert"]["state"] == "ok"
    assert rows["agent rpcutil"]["state"] == "ok"


def test_doctor_says_what_is_wrong(fleet: Fleet) -> None:
    """A wrong passcode and a key that others can read are failures with their reason, exit 2."""
    key = fleet.folder / "alice-open.key"
    key.write_bytes((fleet.folder / "alice.key").read_bytes())
    os.chmod(key, 0o644)  # noqa: PTH101 - what the test is about
    done = fleet.cli("doctor", "--json", MCSHELL_PASSCODE="wrong", MCSHELL_PKI_KEY=str(key))
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 2
    assert rows["key"]["state"] == "fail"
    broker = next(row for check, row in rows.items() if check.startswith("broker "))
    assert broker["state"] == "fail"


def test_doctor_says_once_that_there_are_no_certificates(tmp_path: Path) -> None:
    """Without [pki] that is one row, not one for each thing that needs it."""
    (tmp_path / "mcshell.toml").write_text(f'state = "{tmp_path}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "mcshell", "doctor", "--json"],
        env={**os.environ, "MCSHELL_CONFIG": str(tmp_path / "mcshell.toml")},
        check=False,
        capture_output=True,
        timeout=60,
    )
    said = [row for row in json.loads(done.stdout) if "pki." in row["detail"]]
    assert [(row["check"], row["state"]) for row in said] == [("pki", "fail")]
    assert "pki.ca, pki.cert, pki.key" in said[0]["detail"]


def test_doctor_looks_at_the_old_wire_where_it_is_spoken(fleet: Fleet) -> None:
    """With [mcollective] enabled its keys and its broker are checked; else nothing is said of it."""
    old = {"MCSHELL_MCOLLECTIVE_ENABLED": "true"}

    def rows(**environ: str) -> dict[str, tuple[str, str]]:
        done = fleet.cli("doctor", "--json", **environ)
        found = json.loads(done.stdout)
        return {r["check"]: (r["state"], r["detail"]) for r in found if "mco" in r["check"]}

    assert rows() == {}
    found = rows(**old)
    assert found["mcollective keys"] == ("fail", "mcollective.psk_file is not set")
    assert "direct_addressing = false" in found["mcollective broker"][1]
    (fleet.folder / "psk").touch(mode=0o600)
    (fleet.folder / "psk").write_text("secret\n")
    old |= {"MCSHELL_MCOLLECTIVE_PSK_FILE": "psk"}
    found = rows(**old, MCSHELL_MCOLLECTIVE_DIRECT_ADDRESSING="false")
    assert {state for state, _detail in found.values()} == {"ok"}
    assert "psk as uid=" in found["mcollective keys"][1]


def test_config_show_tells_the_origin_and_no_secret(fleet: Fleet) -> None:
    """Every key has its value and its origin; the passcode is not shown."""
    done = fleet.cli(
        "config", "show", "--json", MCSHELL_PASSCODE="hush", MCSHELL_CLIENT_TIMEOUT="3"
    )
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert rows["client.timeout"] == {
        "key": "client.timeout",
        "value": 3.0,
        "origin": "MCSHELL_CLIENT_TIMEOUT",
    }
    assert rows["broker.user"]["origin"] == str(fleet.config)
    assert rows["client.probe"]["origin"] == "default"
    assert "hush" not in done.stdout


def test_pki_on_the_command_line(fleet: Fleet) -> None:
    """init, issue, list and revoke work without any broker."""
    home = str(fleet.folder / "new-ca")
    assert fleet.cli("pki", "init", home).returncode == 0
    out = str(fleet.folder / "issued")
    words = ["pki", "issue", "bob", "--kind", "operator", "--pki", home, "--out", out, "--json"]
    (row,) = json.loads(fleet.cli(*words).stdout)
    assert row["cert"].endswith("bob.pem")
    assert (fleet.folder / "issued" / "bob.key").stat().st_mode & 0o077 == 0
    (row,) = json.loads(fleet.cli("pki", "list", "--pki", home, "--json").stdout)
    assert (row["name"], row["kind"], row["status"]) == ("bob", "operator", "valid")
    assert "--renew" in fleet.cli(*words[:-3], "--out", f"{out}/again").stderr
    assert fleet.cli(*words, "--renew").returncode == 0
    assert fleet.cli("pki", "revoke", "bob", "--pki", home).returncode == 0
    rows = json.loads(fleet.cli("pki", "list", "--pki", home, "--json").stdout)
    assert [row["status"] for row in rows] == ["revoked", "revoked"]  # the first and the renewed
    assert fleet.cli("pki", "revoke", "bbo", "--pki", home).returncode == 64
    assert fleet.cli(*words, "--renew").returncode == 0
    *_, row = json.loads(fleet.cli("pki", "list", "--pki", home, "--json").stdout)
    for wrong in ((), ("--serial", "7"), ("alice", "--serial", row["serial"])):
        assert fleet.cli("pki", "revoke", *wrong, "--pki", home).returncode == 64
    assert fleet.cli("pki", "revoke", "--serial", row["serial"], "--pki", home).returncode == 0
    rows = json.loads(fleet.cli("pki", "list", "--pki", home, "--json").stdout)
    assert {one["status"] for one in rows} == {"revoked"}


def test_a_forgotten_node_is_no_target(fleet: Fleet) -> None:
    """`node forget` drops a known node; a name that is not known is a usage error."""
    assert fleet.cli("find").returncode == 0
    done = fleet.cli("node", "forget", "db1", "--json")
    assert json.loads(done.stdout) == [{"sender": "db1"}]
    done = fleet.cli("node", "forget", "wbe1")
    assert done.returncode == 64
    assert "did you mean web1" in done.stderr
    assert fleet.cli("find", "--senders").stdout.split() == EVERY  # it has answered: known again


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["help", "rpc"],
        ["pki", "list", "--pki", "pki", "--json"],
        ["rpc", "rpcutil", "ping", "--json"],
        ["rpc", "rpcutil", "ping", "--jsonl"],
        ["facts", "role", "--json"],
        ["replies", "--format", "csv"],
        ["rpc", "rpcutil", "ping"],
        ["find"],
    ],
)
def test_the_command_line_never_loads_pandas(fleet: Fleet, words: list[str]) -> None:
    """Help, services, formats, plain tables start fast: no pandas, IPython, tabulate, prompt."""
    assert not {"pandas", "numpy", "IPython", "tabulate", "prompt_toolkit"} & loaded(fleet, words)


def test_ping_loads_what_it_needs(fleet: Fleet) -> None:
    """A line that asks who is there loads no language of filters, job, plan, analysis, CA or web."""
    assert fleet.cli("ping").returncode == 0  # known from here on
    found = loaded(fleet, ["ping", "-j"])
    parts = {".".join(name.split(".")[:3]) for name in found}
    assert not parts & {
        *("mcshell.client.accessor", "mcshell.client.explain", "mcshell.client.jobs"),
        *("mcshell.client.mcollective", "mcshell.client.plans", "mcshell.commands.completion"),
        *(
            "mcshell.filters.expressions",
            "mcshell.filters.tree",
            "mcshell.node",
            "mcshell.notebook",
        ),
        *("mcshell.pki.authority", "mcshell.shell.pager", "mcshell.wire.conversation"),
    }
    assert not found & {
        *("asyncio", "ClusterShell", "http.client", "http.cookies", "jsonschema", "lark", "psutil"),
        *("statistics", "websocket._core", "yaml", "mcshell.client.analysis.sql"),
    }


def loaded(fleet: Fleet, words: list[str]) -> set[str]:
    """The modules that a command line has loaded when it is done."""
    code = (
        "import sys; from mcshell.shell.cli import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=fleet.folder,
        env=fleet.environ,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())
