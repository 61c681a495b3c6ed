"""The same playbook over mcshell and over `local`: one result, and nothing to change the second time."""

from __future__ import annotations

import functools
import hashlib
import http.server
import random
import shutil
import stat
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.ansible.conftest import NAMES, Ansible, Machines

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)
PLAYBOOK = Path(__file__).with_name("playbook.yml")
ODD_NAMES = ['it\'s "quoted" $(touch stolen)', "-rf *", "größe ☃\n{ brace"]
NOT_MODULES = {"assert", "loop", "register", "when", "changed_when", "args", "environment"}
NOT_MODULES |= {"async", "poll"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def sources(ansible: Ansible) -> Iterator[dict[str, Any]]:
    """What the playbook takes from the controller and from a server there, as variables."""
    folder = ansible.folder / "files"
    folder.mkdir()
    data = random.Random(16).randbytes(1_500_000)
    (folder / "binary").write_bytes(data)
    (folder / "script.sh").write_text('#!/bin/sh\nprintf "%s|" "$@" >script\n')
    (folder / "template.j2").write_text("{{ inventory_hostname }}: {{ title }} ☃\n")
    (ansible.folder / "templates").symlink_to(folder)
    (folder / "unpacked").write_text("from an archive\n")
    with tarfile.open(folder / "archive.tar.gz", "w:gz") as archive:
        archive.add(folder / "unpacked", "unpacked")
    repository = ansible.folder / "repository"
    _git("init", "-q", "-b", "main", repository)
    shutil.copy(folder / "script.sh", repository)
    _git("-C", repository, "add", "script.sh")
    _git("-C", repository, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one")
    gitconfig = ansible.folder / "gitconfig"
    gitconfig.write_text("[safe]\n\tdirectory = *\n")
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "url": f"http://127.0.0.1:{server.server_port}",
            "repository": str(repository),
            "gitconfig": str(gitconfig),
            "checksum": hashlib.sha256(data).hexdigest(),
            "odd_names": ODD_NAMES,
        }
        server.shutdown()


def _git(*words: str | Path) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


def local(machines: Machines, folder: str, **more: Any) -> dict[str, dict[str, Any]]:
    """The same hosts, over Ansible's `local`, with places of their own."""
    found = {}
    for name in NAMES:
        place = machines.folder / folder / name
        place.mkdir(parents=True, exist_ok=True)
        found[name] = {"ansible_connection": "local", **machines.variables(place), **more}
    return found


def tree(top: Path) -> dict[str, tuple[Any, ...]]:
    """Mode, and content or target, of all that is below; what git writes differs by time."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(top.rglob("*")):
        if ".git" in path.parts:
            continue
        status = path.lstat()
        content: Any = None
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        owners = status.st_mode, status.st_uid, status.st_gid
        found[str(path.relative_to(top))] = *owners, content
    return found


def same_as_local(ansible: Ansible, machines: Machines, sources: dict[str, Any]) -> None:
    """Play it over `local`, over mcshell, and once more; each node has what `local` makes.

    To every second one modules go as files, to the others by pipelining.
    """
    path = ansible.folder / "playbook.yml"
    shutil.copy(PLAYBOOK, path)
    for name in ("ours", "theirs"):
        (ansible.folder / name).mkdir(exist_ok=True)
    theirs = local(machines, "local", **sources, fetched=str(ansible.folder / "theirs"))
    expected = ansible.play(path, theirs)
    assert expected.code == 0, expected.said
    ours = machines.hosts(**sources, fetched=str(ansible.folder / "ours"))
    for name in NAMES[1::2]:
        ours[name]["ansible_pipelining"] = False
    first = ansible.play(path, ours)
    assert first.code == 0, first.said
    assert first.hosts == expected.hosts
    again = ansible.play(path, ours)
    assert (again.code, again.counts("changed")) == (0, dict.fromkeys(NAMES, 0)), again.said
    for name in NAMES:
        found = tree(machines.places / name / "root")
        assert found == tree(machines.folder / "local" / name / "root")
        assert {*ODD_NAMES, "clone/script.sh", "unpacked/unpacked"} <= found.keys()
        fetched = [(ansible.folder / one / name).read_bytes() for one in ("ours", "theirs")]
        assert hashlib.sha256(fetched[0]).hexdigest() == sources["checksum"]
        assert fetched[0] == fetched[1]
        left = [one.parent for one in (machines.places / name / "tmp").rglob("*") if one.is_file()]
        assert all((one / "async_wrapper.py").exists() for one in left)  # Ansible leaves these


def test_playbook_has_twenty_modules() -> None:
    """The playbook is tasks of more than twenty modules."""
    (play,) = yaml.safe_load(PLAYBOOK.read_text())
    assert len({word for task in play["tasks"] for word in task} - NOT_MODULES) > 20


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_modules_on_five_nodes(
    kind: str,
    ansible: Ansible,
    sources: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Five nodes have what `local` makes: names, modes, owners, bytes; a second run changes nothing."""
    with Machines(request.getfixturevalue(kind), tmp_path) as machines:
        machines.start()
        same_as_local(ansible, machines, sources)
