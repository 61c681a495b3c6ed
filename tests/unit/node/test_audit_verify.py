"""`verify`: whatever is changed before the last head that left the node is found, and named."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import threading
import tracemalloc

import pytest

from mcshell.errors import ConfigError
from mcshell.node.audit.files import log_files, passed_over
from mcshell.node.audit.log import AuditLog
from mcshell.node.audit.verify import verify

EDITS = 1500
BYTES = b'"{}:,0aZ \n\\\xff\x00'


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The files of a log of some 120 lines, rotated and torn, and the heads that have left."""
    folder = tmp_path_factory.mktemp("log")
    path = folder / "audit.jsonl"
    heads = {}
    for start in (0, 40):
        with AuditLog(path, max_bytes=4000, keep=50) as log:
            for number in range(start, start + 50):
                log.write({"event": "accepted", "identity": "web1", "number": number % 3})
                if number % 17 == 0:
                    log._head_until = 0.0
                    head = log.head()
                    heads[head.count] = {head.hash}
        with path.open("ab") as file:
            file.write(b'{"torn')
    files = [(name, b"".join(lines)) for name, lines in log_files(path)]
    assert len(files) > 4
    return files, heads


def checked(files, heads):
    """What is found of files as bytes."""
    return verify([(name, text.splitlines(keepends=True)) for name, text in files], heads)


def anchored(log):
    """The files up to the last line that a head has left for, with what is before in each."""
    files, heads = log
    last = max(heads)
    kept = []
    for name, text in files:
        lines = text.splitlines(keepends=True)
        ends = [n for n, line in enumerate(lines, 1) if b'"n":%d,' % last in line]
        kept.append((name, lines, ends[0] if ends else len(lines)))
        if ends:
            return kept
    raise AssertionError("the head is of a line that is there")


def split(text):
    """Lines as a file has them, also with other control characters inside."""
    return [line + b"\n" for line in text.split(b"\n")[:-1]] + [text.split(b"\n")[-1]]


def edit(dice, lines, upto):
    """Change something in the first `upto` lines."""
    at = dice.randrange(upto)
    kind = dice.choice(
        ("byte", "insert", "delete", "remove", "double", "swap", "move", "cut", "new")
    )
    line = lines[at]
    place = dice.randrange(len(line))
    byte = bytes([dice.choice(BYTES)])
    if kind in ("byte", "insert", "delete"):
        new = b"" if kind == "delete" else byte
        lines[at] = line[:place] + new + line[place + (kind != "insert") :]
    elif kind == "remove":
        del lines[at : at + dice.choice((1, 1, 2, 5))]
    elif kind == "swap":
        other = dice.randrange(upto)
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "cut":
        lines[at:] = [line[:place]] if dice.random() < 0.5 else []
    else:
        new = {"double": line, "new": b'{"event":"accepted"}\n'}.get(kind)
        lines.insert(dice.randrange(upto), lines.pop(at) if new is None else new)
    return kind


def test_a_true_log_verifies(log):
    """Files, lines, what is torn and what no head vouches for are told."""
    files, heads = log
    found = checked(files, heads)
    assert found.broken is None
    assert (found.files, found.torn, found.first, found.checked) == (len(files), 2, 1, len(heads))
    assert found.unanchored == found.head.count - max(heads) > 0
    assert found.whose == {"web1"}


def test_every_edit_before_the_last_head_is_found(log):
    """A byte, a line, an order, a cut: 1,500 of them at random, none is missed."""
    files, heads = log
    dice = random.Random(20)
    kinds, missed, edits = set(), [], 0
    parts = anchored(log)
    while edits < EDITS:
        which = dice.randrange(len(parts))
        name, lines, upto = parts[which]
        changed = list(lines)
        kind = edit(dice, changed, upto)
        if b"".join(changed) == b"".join(lines):
            continue
        edits += 1
        kinds.add(kind)
        others = [(one, split(text)) for one, text in files]
        others[which] = (name, split(b"".join(changed)))
        found = verify(others, heads)
        if found.broken is None:
            missed.append((kind, name))
    assert missed == []
    assert len(kinds) == 9


def test_a_file_that_is_missing_is_found(log):
    """In the middle by the next one, at the end by the head; the oldest only shortens the log."""
    files, heads = log
    for number in range(1, len(files)):
        found = checked(files[:number] + files[number + 1 :], heads)
        assert found.broken is not None, number
    found = checked(files[1:], heads)
    assert found.broken is None
    assert found.first > 1


def test_the_break_is_named(log):
    """The file and the line, which is the next one where the hash of the changed one stands."""
    files, heads = log
    name, text = files[1]
    lines = text.splitlines(keepends=True)
    lines[4] = lines[4].replace(b"web1", b"web2")
    changed = [files[0], (name, b"".join(lines)), *files[2:]]
    broken = checked(changed, heads).broken
    assert (broken.file, broken.line) == (name, 6)
    assert "was changed" in broken.what


def test_a_chain_that_was_made_anew_is_found_by_the_heads(tmp_path):
    """Whoever can write the file can write a whole new log; the heads are not in their reach."""
    with AuditLog(tmp_path / "audit.jsonl") as log:
        log.write({"event": "denied", "identity": "web1"})
        head = log.head()
    with AuditLog(tmp_path / "forged.jsonl") as log:
        log.write({"event": "accepted", "identity": "web1"})
    heads = {head.count: {head.hash}}
    assert verify(log_files(tmp_path / "forged.jsonl"), {}).broken is None
    broken = verify(log_files(tmp_path / "forged.jsonl"), heads).broken
    assert "is not the one whose head has left the node" in broken.what
    (tmp_path / "forged.jsonl").write_bytes(b"")
    assert "was cut" in verify(log_files(tmp_path / "forged.jsonl"), heads).broken.what


FIRST = '{"time":"t","epoch":1,"event":"file","previous":null'
BEFORE = '{"time":"t","epoch":1,"event":"file","previous":'
ODD = {
    "lost lines in a list": ("", [FIRST, '{"event":"gap","lost":[1]']),
    "infinitely many lost lines": ("", [FIRST, '{"event":"gap","lost":1e999']),
    "a file before that is a text": ("", [FIRST, '{"event":"file","previous":"x"']),
    "deep": ("", [FIRST, '{"event":' + "[" * 100_000 + "]" * 100_000]),
    "a hash that is a list": ("junk\n", [BEFORE + '{"hash":[]}']),
    "a file before that is a list": ("junk\n", [BEFORE + "[3]"]),
}


@pytest.mark.parametrize("name", ODD)
def test_a_well_chained_line_may_say_anything(name):
    """A log is handed over by those whom it is about: what is of no kind of ours is a break, with its line."""
    text, starts = ODD[name]
    before = "0" * 64
    for number, start in enumerate(starts, 1):
        line = f'{start},"n":{number},"prev":"{before}"}}'
        before = hashlib.sha256(line.encode()).hexdigest()
        text += f"{line}\n"
    found = verify([("a", text.encode().splitlines(keepends=True))], {})
    assert found.broken is not None
    assert found.broken.file == "a"


def packed(tmp_path, text):
    """A rotated log that comes to far more than its size."""
    path = tmp_path / "audit.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(text)
    return path


def test_a_line_without_an_end_is_not_held(tmp_path):
    """Of a packed file of a few kilobytes: it is refused once it is longer than any that a node writes."""
    path = packed(tmp_path, bytes(80 << 20))
    with pytest.raises(OSError, match=r"audit\.jsonl\.gz: line over 64 MiB"):
        verify(log_files(path), {})


def test_lines_without_number_are_not_held(tmp_path):
    """What is no line of the chain is counted and hashed, however much it comes to."""
    path = packed(tmp_path, b"a\n" * 300_000)
    tracemalloc.start()
    found = verify(log_files(path), {})
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.broken.what == "this is no line of the chain, nor a torn one"
    assert peak < 4 << 20


def test_a_packed_file_that_is_damaged_is_one_line(tmp_path):
    """It cannot be read, and says where it lies."""
    path = tmp_path / "audit.jsonl.gz"
    data = bytearray(gzip.compress(random.Random(1).randbytes(100_000)))
    data[5000:5100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"audit\.jsonl\.gz|CRC"):
        verify(log_files(path), {})


@pytest.mark.parametrize("damage", ["cut", "head", "junk", "crc"])
def test_of_several_packed_files_the_damaged_one_is_named(tmp_path, damage):
    """Whoever is to bring it anew is told which."""
    (tmp_path / "audit.jsonl").write_bytes(b"")
    packed = gzip.compress(random.Random(1).randbytes(1000))
    text = {
        "cut": packed[:-20],
        "head": packed[:5],
        "junk": b"junk" * 100,
        "crc": packed[:-8] + bytes(4) + packed[-4:],
    }
    (tmp_path / "audit.jsonl.7.gz").write_bytes(text[damage])
    with pytest.raises(OSError, match=r"audit\.jsonl\.7\.gz"):
        verify(log_files(tmp_path / "audit.jsonl"), {})


def rotated(folder):
    """A log with its rotated files, oldest first."""
    path = folder / "audit.jsonl"
    with AuditLog(path, max_bytes=4000, keep=50) as log:
        for number in range(100):
            log.write({"event": "accepted", "identity": "web1", "number": number})
    names = [name for name, _ in log_files(path)]
    assert len(names) > 4
    return path, [folder / name for name in names]


@pytest.mark.parametrize("cut", ["", "in a line", "packed", "header"])
def test_a_packed_copy_beside_its_file_is_passed_over(tmp_path, cut):
    """Packing that died leaves both: the log is as it was written, and which copy was not read is told."""
    path, files = rotated(tmp_path)
    text = files[1].read_bytes()
    packed = gzip.compress(text[:-20] if cut == "in a line" else text)
    left = {"packed": len(packed) // 2, "header": 5}.get(cut, len(packed))
    files[1].with_name(f"{files[1].name}.gz").write_bytes(packed[:left])
    assert verify(log_files(path), {}).broken is None
    (told,) = passed_over(path)
    assert told == f"{files[1].name}.gz is a copy of {files[1].name}, and was passed over"


@pytest.mark.parametrize("left", [5, 200, None])
def test_a_log_goes_on_beside_a_packed_copy_that_died(tmp_path, left):
    """A node that starts while its newest old file is being packed follows the file itself."""
    path, newest = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with AuditLog(path) as log:
        for number in range(100):
            log.write({"event": "accepted", "identity": "web1", "number": number})
    path.rename(newest)
    (tmp_path / "audit.jsonl.1.gz").write_bytes(gzip.compress(newest.read_bytes())[:left])
    with AuditLog(path) as log:
        log.write({"event": "accepted", "identity": "web1"})
    found = verify(log_files(path), {})
    assert (found.broken, found.lines) == (None, 103)


def test_a_damaged_file_that_the_log_would_follow_is_named(tmp_path):
    """Where the chain ended is known to nobody then: the log is not begun, and the file is told."""
    text = gzip.compress(random.Random(1).randbytes(1000))[:-20]
    (tmp_path / "audit.jsonl.1.gz").write_bytes(text)
    with pytest.raises(ConfigError, match=r"audit\.jsonl\.1\.gz: Compressed file ended"):
        AuditLog(tmp_path / "audit.jsonl")


def test_a_packed_file_that_says_something_else_is_no_copy(tmp_path):
    """Two accounts of the same lines are no log as it was written."""
    path, files = rotated(tmp_path)
    changed = files[1].read_bytes().replace(b'"number"', b'"nunber"', 1)
    files[1].with_name(f"{files[1].name}.gz").write_bytes(gzip.compress(changed))
    assert verify(log_files(path), {}).broken is not None
    assert not list(passed_over(path))


def test_what_stands_in_the_place_of_the_oldest_file_is_found(tmp_path):
    """Lines of the chain are missing there: what was written over them is a break, and named."""
    path, files = rotated(tmp_path)
    files[0].write_bytes(b"junk\n" * 20)
    broken = verify(log_files(path), {}).broken
    assert (broken.file, broken.line) == (files[0].name, 1)
    assert "lines 1 to" in broken.what
    files[0].unlink()
    assert verify(log_files(path), {}).broken is None


def test_a_file_without_a_line_of_the_chain_is_told(tmp_path):
    """Where the chain is whole it may be of a time without one: nothing is shown of it, which is said."""
    path, files = rotated(tmp_path)
    path.with_name("audit.jsonl.99").write_bytes(b'{"event":"accepted"}\n')
    path.with_name("audit.jsonl.98").write_bytes(b"")
    assert verify(log_files(path), {}).files == len(files)
    (told,) = passed_over(path)
    assert told.startswith("audit.jsonl.99 has no line of the chain")


def test_what_is_no_file_in_the_reserves_place_is_not_waited_for(tmp_path):
    """A FIFO beside a log that was handed over, which nobody writes into, holds nothing up."""
    with AuditLog(tmp_path / "audit.jsonl") as log:
        log.write({"event": "accepted", "identity": "web1"})
    (tmp_path / "audit.jsonl.reserve").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "audit.jsonl.reserve")
    told = []
    reader = threading.Thread(
        target=lambda: told.append(verify(log_files(tmp_path / "audit.jsonl"), {}).lines),
        daemon=True,
    )
    reader.start()
    reader.join(20)
    assert told == [2]
