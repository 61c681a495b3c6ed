"""Only what nobody else can change is obeyed: owner, modes, and each step of the way."""

from __future__ import annotations

import grp
import json
import os
import pwd
import struct
from pathlib import Path

import pytest

import mcshell
from mcshell.node.files.obeyed import is_obeyed
from mcshell.private import UnsafeFile, check_obeyed, read_obeyed

root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
OTHER = 65534


@pytest.fixture
def file(tmp_path):
    """A file that may be obeyed, two folders deep."""
    (tmp_path / "etc" / "site").mkdir(parents=True)
    path = tmp_path / "etc" / "site" / "file"
    path.write_text("obeyed")
    path.chmod(0o644)
    return path


def _refused(path):
    with pytest.raises(UnsafeFile) as caught:
        read_obeyed(path)
    with pytest.raises(UnsafeFile):
        check_obeyed(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_nobody_else_can_change_is_read(file):
    """A file of ours with closed folders is read, and its sticky grandparent /tmp does no harm."""
    assert read_obeyed(file) == b"obeyed"
    check_obeyed(file)
    assert read_obeyed(file.parent / ".." / "site" / "file") == b"obeyed"


def test_a_file_that_anyone_can_write(file):
    """The refusal names the path, the rule, and what would mend it."""
    file.chmod(0o646)
    assert _refused(file) == f"{file}: anyone can write it; run: chmod o-w {file}"


@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_on_the_way_that_anyone_can_write(file, depth):
    """Who can write a folder can put another file in its place."""
    folder = file.parents[depth]
    folder.chmod(0o777)
    assert _refused(file).startswith(f"{file}: anyone can write it (the folder {folder}); run:")
    folder.chmod(0o1777)
    assert read_obeyed(file) == b"obeyed"


@root
@pytest.mark.parametrize("depth", [None, 0, 1])
def test_a_file_or_folder_of_another_user(file, depth):
    """Neither the file nor a folder on the way may be another's, whatever its mode."""
    place = file if depth is None else file.parents[depth]
    os.chown(place, OTHER, 0)
    assert f"it belongs to user {OTHER}" in _refused(file)
    os.chown(place, 0, 0)
    assert read_obeyed(file) == b"obeyed"


@root
@pytest.mark.parametrize("depth", [None, 0])
def test_a_group_that_can_write(file, depth):
    """A group counts as others, unless it is the owner's own."""
    place = file if depth is None else file.parents[depth]
    place.chmod(0o775)
    os.chown(place, 0, grp.getgrnam("daemon").gr_gid)
    assert "the group " in _refused(file)
    os.chown(place, 0, 0)
    assert read_obeyed(file) == b"obeyed"


@root
def test_an_access_list_that_lets_another_write(file):
    """The bits of a group are those of an access list's users: it is not the owner's own then."""
    entries = [(1, 6, 2**32 - 1), (2, 6, OTHER), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1)]
    packed = [struct.pack("<HHI", *entry) for entry in (*entries, (32, 4, 2**32 - 1))]
    try:
        os.setxattr(file, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(packed))
    except OSError as error:
        pytest.skip(f"no access lists on this file system: {error}")
    assert file.stat().st_gid == pwd.getpwuid(0).pw_gid
    assert "can write it" in _refused(file)


@root
def test_a_link_of_another_user(file):
    """Who owns a link could let it lead elsewhere."""
    link = file.parent / "link"
    link.symlink_to("file")
    assert read_obeyed(link) == b"obeyed"
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    assert f"it belongs to user {OTHER} ({link})" in _refused(link)


def test_each_step_behind_a_link_counts(file, tmp_path):
    """A link to a folder, from a safe place, is followed through the folders that it leads to."""
    link = tmp_path / "link"
    link.symlink_to(file.parent)
    assert read_obeyed(link / "file") == b"obeyed"
    file.parents[1].chmod(0o777)
    assert f"(the folder {file.parents[1]})" in _refused(link / "file")


def test_a_link_from_where_anyone_can_write(file, tmp_path):
    """A link in an open folder is refused, even when it leads to a file that is safe."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "link").symlink_to(file)
    assert "anyone can write it" in _refused(tmp_path / "open" / "link")


def test_links_in_a_circle(tmp_path):
    """A circle of links is an error, not a search without an end."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        read_obeyed(tmp_path / "a")


def test_pipes_where_they_are_taken(tmp_path):
    """A secret may come through a pipe of ours; a policy may not, and is not waited for."""
    reading, writing = os.pipe()
    os.write(writing, b"secret\n")
    os.close(writing)
    assert read_obeyed(f"/proc/self/fd/{reading}", pipes=True, secret=True) == b"secret\n"
    os.close(reading)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ValueError, match="no file"):
        read_obeyed(tmp_path / "fifo")


def test_the_size_is_bounded(file):
    """More than is asked for is refused."""
    assert read_obeyed(file, 6) == b"obeyed"
    with pytest.raises(ValueError, match="larger than 5"):
        read_obeyed(file, 5)


def test_what_python_loads_is_obeyed(tmp_path):
    """A node's own modules and those of its libraries are nobody's to put, wherever they lie."""
    for place in (mcshell.__file__, json.__file__):
        assert is_obeyed(place, ())
        assert is_obeyed(str(Path(place).with_name("new.py")), ())
    assert not is_obeyed(str(tmp_path / "new.py"), ())


def test_a_link_in_a_folder_that_is_itself_a_link_leads_to_what_is_obeyed(tmp_path):
    """A policy that lies elsewhere, by way of a folder elsewhere, is as much a policy."""
    policies, shared, far = (tmp_path / name for name in ("policies", "shared", "far"))
    for folder in (policies, shared, far):
        folder.mkdir()
    (far / "real.policy").write_text("deny")
    (shared / "exec.policy").symlink_to(far / "real.policy")
    (shared / "loop").symlink_to("loop")
    (policies / "shared").symlink_to(shared)
    assert is_obeyed(str(far / "real.policy"), (policies,))
    assert is_obeyed(str(shared / "new.policy"), (policies,))
    assert not is_obeyed(str(far / "other"), (policies,))
