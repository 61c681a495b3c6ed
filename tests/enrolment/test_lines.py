"""The lines that README shows for a key that stays where it is born, typed as they stand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mcshell.docs import markdown, pages
from tests.enrolment.site import READY
from tests.faces.test_readme_lines import FRONT, blocks
from tests.peers.processes import Child, free_ports, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MQ = "mq.example.com"


def words(line: str, ports: tuple[int, int]) -> list[str]:
    """A line's words, with README's absolute places below the folder, and its host here."""
    line = line.replace("/srv/mcshell", "srv").replace("/etc/mcshell", "etc").replace("'", "")
    line = line.replace(f"{MQ}:61615", f"127.0.0.1:{ports[1]}").replace("61615", str(ports[1]))
    return [sys.executable, "-m", *line.split()]


def typed(line: str, folder: Path, ports: tuple[int, int] = (0, 0)) -> str:
    """Run one to its end."""
    argv = words(line, ports)
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


def lines(first: str) -> list[str]:
    """Those of the block that begins so."""
    (block,) = [one.text for one in blocks(FRONT) if one.text.startswith(first)]
    return block.splitlines()


def token_of(said: str, folder: Path) -> None:
    """Bring it to the machine."""
    (folder / "web.token").touch(mode=0o600)
    (folder / "web.token").write_text(said.rsplit(maxsplit=1)[-1])


def test_the_lines_enrol_a_machine(tmp_path: Path) -> None:
    """The listener, the CA's service, the token, the request over the broker, and the daemon; here on
    mcshell's own broker.
    """
    listener, serve = lines(
        "mcshell broker config rabbitmq --pki /srv/mcshell/ca --dir /srv/mcshell/broker --enrol"
    )
    token, enroll, node = lines("mcshell pki token")
    port, enrol_port = free_ports(2)
    ports = port, enrol_port
    typed("mcshell pki init /srv/mcshell/ca", tmp_path)
    listener = listener.replace("rabbitmq", "embedded")
    here = f"--listen 127.0.0.1 --host 127.0.0.1 --tls-port {port}"
    typed(f"{listener} {here}", tmp_path, ports)
    (tmp_path / "mcshell").write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
    (tmp_path / "mcshell").chmod(0o755)
    config = tmp_path / "pki.toml"
    config.write_text(f'[broker]\nurls = ["stomp+ssl://127.0.0.1:{port}"]\n')
    environ = {"MCSHELL": str(tmp_path / "mcshell"), "MCSHELL_CONFIG": str(config)}
    children = []

    def start(argv: list[str], name: str) -> None:
        log = tmp_path / f"{name}.log"
        child = Child(["env", "-C", str(tmp_path), *argv], log, environ)
        children.append(child)
        assert wait_until(lambda: "ready" in log.read_text(), READY), child.tail()

    try:
        start([str(tmp_path / "srv" / "broker" / "start")], "broker")
        start(words(serve, ports), "serve")
        token_of(typed(token, tmp_path), tmp_path)
        assert "signed" in typed(enroll, tmp_path, ports)
        with (tmp_path / "etc" / "node.toml").open("r+") as file:
            text = file.read()
            file.seek(0)
            file.write(f'state = "{tmp_path}/state"\n{text}')
        start(words(node, ports), "node")
    finally:
        for child in reversed(children):
            child.stop()


def test_the_lines_enrol_a_machine_without_a_listener(tmp_path: Path) -> None:
    """The request and the answer, which are carried by hand."""
    enroll, receive, accept = lines("mcshell node enroll web2")
    typed("mcshell pki init /srv/mcshell/ca", tmp_path)
    token_of(typed(lines("mcshell pki token")[0], tmp_path), tmp_path)
    typed(enroll, tmp_path)
    request = "web2.example.com.request"
    (tmp_path / request).write_bytes((tmp_path / "etc" / request).read_bytes())
    assert "signed" in typed(receive, tmp_path)
    assert "signed" in typed(accept, tmp_path)
    assert (tmp_path / "etc" / "web2.example.com.pem").exists()


def test_a_fingerprint_is_taken_as_openssl_prints_it(tmp_path: Path) -> None:
    """Capitals and colons, as the Puppet class takes it too; what is none is said."""
    typed("mcshell pki init ca", tmp_path)
    typed("mcshell node enroll web1 --out etc", tmp_path)
    typed("mcshell pki receive etc/web1.request --pki ca", tmp_path)
    typed("mcshell pki sign web1 --pki ca", tmp_path)
    ca = x509.load_pem_x509_certificate((tmp_path / "ca" / "ca.pem").read_bytes())
    printed = ca.fingerprint(SHA256()).hex(":").upper()
    accept = "mcshell node enroll web1 --out etc --answer web1.answer --ca"
    argv = words(f"{accept} {printed[:-3]}", (0, 0))
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "is no SHA-256 of a CA" in done.stderr) == (64, True)
    assert "signed" in typed(f"{accept} {printed}", tmp_path)


def test_what_cannot_be_signed_is_said_with_its_reason(tmp_path: Path) -> None:
    """A machine that asks for an operator's name: it waits on, and the exit code says so."""
    for line in (
        "mcshell pki init ca",
        "mcshell pki issue alice --kind operator --pki ca",
        "mcshell node enroll alice --out etc",
        "mcshell pki receive etc/alice.request --pki ca",
    ):
        typed(line, tmp_path)
    argv = words("mcshell pki sign alice --pki ca", (0, 0))
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "is a valid operator's name" in done.stdout) == (5, True)


def test_the_lines_of_a_backup(tmp_path: Path) -> None:
    """A CA that was lost is there again, and goes on: its journal, its list, its tokens."""
    save, restore = (
        text.replace("/srv/mcshell", "srv").splitlines()
        for _, text in markdown.code(pages.page("back-up-and-restore").text)
        if text.startswith("tar")
    )
    typed("mcshell pki init /srv/mcshell/ca", tmp_path)
    typed("mcshell pki issue web1 --kind node --pki /srv/mcshell/ca --out web1", tmp_path)
    subprocess.run(save[0].split(), cwd=tmp_path, check=True)
    shutil.rmtree(tmp_path / "srv" / "ca")
    subprocess.run(restore[0].split(), cwd=tmp_path, check=True)
    assert "web1" in typed(restore[1], tmp_path)
    assert "web1" in typed("mcshell pki revoke web1 --pki srv/ca --yes", tmp_path)
