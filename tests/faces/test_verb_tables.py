"""Each verb of the READMEs' tables is typed into a demo, with something in the place of its placeholders."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tomllib
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.grammar.verbs import VERBS
from tests.faces.demo_lab import good
from tests.faces.test_demo import ROOT
from tests.peers.processes import free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faces.demo_lab import Lab

pytestmark = pytest.mark.timeout(600)
HEADS = ("| verb |", "| command |")
READMES = (ROOT / "README.md", ROOT / "mcshell" / "README.md")

PROMPT = (
    "ping",
    "find",
    "facts os.name",
    "inventory",
    "inventory web01",
    "agents",
    "doc package",
    "doc package.status",
    "rpc package status name=openssl",
    "fold version",
    "outliers",
    "summary",
    "diff package.status@7d package.status",
    "sql select count(*) as many from replies",
    "rpc rpcutil ping -I web01 -I db7",
    "retry",
    "retry rpcutil.ping",
    "replies",
    "replies package.status",
    "ledger",
    "ledger package.status",
    "requests",
    "explain db7",
    "explain db7 rpcutil.ping",
    "cp one.ipynb web[01-02]:/srv/one.ipynb",
    "cp web01:/etc/hosts .",
    "filter -F role=web",
    "filter",
    "filter --off",
    "history",
    "history 5",
    "version",
    "session list",
    "session new other",
    "session attach other",
    "session save friday",
    "session export friday.mcs",
    "session detach",
    "session drop friday",
    "session import friday.mcs",
    "job submit exec run -I web01 --name hello -- echo hello",
    "job submit service restart name=nginx -F role=web --every 6h --name restart",
    "job list",
    "job list restart",
    "job show restart",
    "job edit restart --every 5h",
    "job pause restart",
    "job resume restart",
    "job skip restart",
    "job log hello web01",
    "job log restart web01",
    "job forecast",
    "job cancel restart",
    "plan preview {lab}/tour/update.yaml",
    "plan run {lab}/tour/update.yaml",
    "plan resume update",
    "plan list",
    "report one.ipynb",
    "notebook friday -o friday.ipynb",
    "node forget web10",
    "tour plan",
    "tour job",
    "tour incident",
    "clear",
    "exit",
)
"""What is typed at one prompt, in this order."""
WORDLESS = ("clear", "exit")

SHELL = (
    "pki init ca",
    "pki issue alice --kind operator --pki ca --out a",
    "pki issue bob --kind login --pki ca --out b",
    "pki issue extra --kind node --pki {lab}/pki --out {lab}/extra",
    "pki list --pki ca",
    "pki revoke bob --kind login --pki ca",
    "pki publish --pki {lab}/pki",
    "pki token --matching 'web*' --count 3 --pki ca",
    "node enroll db7 --out db7",
    "pki receive db7/db7.request --pki ca",
    "pki rotate begin --pki ca",
    "pki requests --pki ca",
    "pki sign db7 --pki ca",
    "policy lint {lab}/policies --config {lab}/node.toml",
    "policy test cert=alice rpcutil ping --classes web,db --config {lab}/node.toml",
    "doctor",
    "config show",
    "config import client.cfg -o client.toml",
    "ddl export ddls",
    "agent new hello",
    "completion bash",
    "broker config activemq --pki ca --dir mq --host mq.example.com",
    "broker move --from {old} --to {new} --queues queues.txt",
    "supervisor sign {lab}/tour/nightly.yaml -o rules",
    "watch 1 version",
    "shell",
    "mcp",
    "demo --nodes 2 --dir small --exec 'find; version' --incident",
    "audit verify {lab}/state/node/audit.jsonl --heads inventory --node localhost",
    "propose rpcutil ping -I web01",
    "proposals",
    "approve {others} --yes",
    "proposal run {own} --yes",
    "audit verify audited --log {lab}/state/node/audit.jsonl",
)
"""What is typed at a shell, in this order; `shell` is given a line, `mcp` nothing, `watch` is interrupted."""
SERVICES = (
    "broker --listen 127.0.0.1:0 --data broker --user mcs --passcode-file {lab}/broker.pass",
    "node --config {lab}/extra.toml",
    "emulate 3 --config {lab}/extra.toml --pki {lab}/pki --seed 7 --prefix more --roles",
    "supervisor --config {lab}/extra.toml",
    "pki serve --pki {lab}/pki --broker enrolling",
)
"""What says `ready`, and goes on until it is ended."""


def forms() -> list[str]:
    """What stands in the first column of each table of verbs, a verb each."""
    found: list[str] = []
    for path in READMES:
        rows = path.read_text(encoding="utf-8").split("\n")
        for place, head in enumerate(rows):
            if not head.startswith(HEADS):
                continue
            for row in rows[place + 2 :]:
                if not row.startswith("|"):
                    break
                cell = re.split(r"(?<!\\)\|", row)[1].replace("\\|", "|")
                found += [form for span in re.findall(r"`([^`]+)`", cell) for form in verbs(span)]
    return list(dict.fromkeys(found))


def verbs(span: str) -> list[str]:
    """`job submit·list` is `job submit` and `job list`."""
    words = span.removeprefix("mcshell ").split(" ")
    several = [at for at, word in enumerate(words) if "·" in word and not word.startswith("[")]
    if not several:
        return [" ".join(words)]
    (at,) = several
    return [" ".join([*words[:at], one, *words[at + 1 :]]) for one in words[at].split("·")]


def verb(line: str) -> str:
    """The verb that a line or a form begins with."""
    words = line.split()
    return " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]


def is_of(line: str, form: str) -> bool:
    """Whether a line is of a form: its own words, and something for each placeholder."""
    needed = re.sub(r" \[.*", "", form).split()
    wanted = (r"\S+" if re.search(r"[A-Z|]", one) else re.escape(one) for one in needed)
    return verb(line) == verb(form) and bool(re.match(" ".join(wanted) + r"( |$)", line))


def test_each_verb_of_the_tables_is_typed() -> None:
    """A verb in a table that nobody types here, or a line for one that is in none, is found out."""
    printed, typed = forms(), (*PROMPT, *SHELL, *SERVICES)
    assert len(printed) > 70
    assert [form for form in printed if not any(is_of(line, form) for line in typed)] == []
    assert [line for line in typed if not any(is_of(line, form) for form in printed)] == []


def test_the_verbs_of_the_prompt(lab: Lab) -> None:
    """Each says something, and nothing is denied or unknown."""
    cell = {"cell_type": "code", "metadata": {}, "source": "6 * 7", "outputs": []}
    book = {"cells": [{**cell, "execution_count": None}], "metadata": {}, "nbformat": 4}
    (lab.work / "one.ipynb").write_text(json.dumps({**book, "nbformat_minor": 4}))
    for line, code, said in lab.prompt(*(one.format(lab=lab.folder) for one in PROMPT)):
        good(f"{line} >" if line in WORDLESS else line, code, said)


def test_the_verbs_of_the_command_line(lab: Lab) -> None:
    """Each says something, and nothing is denied or unknown; a service says that it is ready."""
    (lab.work / "client.cfg").write_text(
        "securityprovider = psk\nplugin.psk = secret\nconnector = activemq\n"
        "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = localhost\n"
    )
    lab.shell(
        "mcshell rpc rpcutil ping --session audited"
    )  # a line in the audit logs, whose heads are registered
    broker = tomllib.loads((lab.folder / "mcshell.toml").read_text())["broker"]
    (old,), (port,) = broker["urls"], free_ports(1)
    new = f"stomp://127.0.0.1:{port}"
    (lab.work / "queues.txt").write_text("mcs.none.work.nobody\n")
    second = f"broker --listen 127.0.0.1:{port} --data second --user {broker['user']}"
    second += f" --passcode-file {lab.folder}/broker.pass"
    others, own = proposed(lab, second_operator(lab)), proposed(lab, "mcshell.toml")
    for line in SHELL:
        before = {"shell": "echo version | ", "mcp": "true | ", "watch": "timeout -s INT 4 "}.get(
            verb(line), ""
        )
        words = line.format(lab=lab.folder, old=old, new=new, own=own, others=others)
        there = serving(lab, second) if verb(line) == "broker move" else nullcontext()
        with there:
            said = lab.shell(f"{before}mcshell {words}; echo code $?")
        code = int(said.rpartition("code ")[2])
        good(line, code, said.rpartition("code ")[0])
    own = (lab.folder / "node.toml").read_text().replace("node/localhost", "extra/extra")
    own = own.replace('state = "state"', 'state = "state-of-extra"')
    (lab.folder / "extra.toml").write_text(own)
    (lab.folder / "extra.toml").chmod(0o600)
    at, enrol = free_ports(2)
    ports = f"--listen 127.0.0.1 --host 127.0.0.1 --tls-port {at} --enrol-port {enrol}"
    lab.shell(f"mcshell broker config embedded --pki {lab.folder}/pki --dir enrolling {ports}")
    embedded = f"broker --listen 127.0.0.1:{at} --data third --enrol-listen 127.0.0.1:{enrol} "
    embedded += "--enrol-passcode-file enrolling/enrolment.passcode --tls-ca enrolling/ca.pem "
    embedded += "--tls-cert enrolling/server.pem --tls-key enrolling/server.key"
    for line in SERVICES:
        there = serving(lab, embedded) if verb(line) == "pki serve" else nullcontext()
        with there, serving(lab, line.format(lab=lab.folder)):
            pass


def second_operator(lab: Lab) -> str:
    """Somebody else who may propose on the emulated nodes; the file of his configuration."""
    folder = lab.folder
    lab.shell(f"mcshell pki issue second --kind operator --pki {folder}/pki --out {folder}/second")
    text = (folder / "mcshell.toml").read_text()
    text = re.sub(r"(?m)^(cert|key) = .*$", r'\1 = "second/second.\1"', text)
    text = text.replace("second.cert", "second.pem").replace('"state"', '"state-of-second"')
    (folder / "second.toml").write_text(text)
    (folder / "second.toml").chmod(0o600)
    allowed = folder / "policies-of-emulated" / "approval.policy"
    allowed.write_text("policy default deny\nallow\t*\t*\t*\t*\n")
    allowed.chmod(0o600)
    return "second.toml"


def proposed(lab: Lab, config: str) -> str:
    """The first digits of a proposal of whoever has this configuration."""
    said = lab.shell(f"mcshell propose rpcutil ping -I web02 --json --config {lab.folder}/{config}")
    found = re.search(r'"proposal": "([0-9a-f]{12})', said)
    assert found is not None, said
    return found[1]


@contextmanager
def serving(lab: Lab, line: str) -> Iterator[None]:
    """Run a service from when it says that it is ready, and end it."""
    log: Path = lab.work / f"{verb(line)}.log"
    with log.open("w") as out:
        service = subprocess.Popen(
            ["bash", "-c", f"exec mcshell {line}"], stderr=out, cwd=lab.work, env=lab.environ
        )
    try:
        assert wait_until(lambda: "ready" in log.read_text() or service.poll() is not None, 60.0), (
            line
        )
        assert service.poll() is None, log.read_text()
        yield
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    assert service.returncode == 0, log.read_text()
