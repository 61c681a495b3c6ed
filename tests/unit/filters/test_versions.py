"""The order of versions, held against dpkg's and rpm's own."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.filters.versions import are_versions, compare_versions

PARTS = ["0", "1", "9", "10", "010", "a", "rc1", "b2", ".", "~", "+", "-", "el9", "_", "z"]
ODD = [
    ("6.18", "6.9.0"),
    ("1.0~rc1", "1.0"),
    ("1.0", "1.0a"),
    ("1:1.0", "2.0"),
    ("1.0-1", "1.0-10"),
    ("1.0-1", "1.0-1+b1"),
    ("3.0.15-1~deb12u1", "3.0.15-1"),
    ("1.a", "1.1"),
    ("1.", "1"),
    ("1.0.", "1.0"),
    ("2a", "2.1"),
    ("1_1", "1.1"),
    ("6.9.0-1-amd64", "6.18.4-1-amd64"),
]


def sign(number: int) -> int:
    """-1, 0 or 1."""
    return (number > 0) - (number < 0)


def random_pairs(count: int, parts: list[str]) -> list[tuple[str, str]]:
    """Versions of these parts that differ little."""
    found: list[tuple[str, str]] = []

    @settings(max_examples=count, database=None, deadline=None)
    @given(
        st.lists(st.sampled_from(parts), max_size=4), st.lists(st.sampled_from(parts), max_size=4)
    )
    def collect(one: list[str], other: list[str]) -> None:
        found.append(("1" + "".join(one), "1" + "".join(other)))

    collect()
    return found


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")
def test_debian() -> None:
    """Dpkg has the same order."""
    for one, other in [*ODD, *random_pairs(60, PARTS)]:
        if one.endswith("-") or other.endswith("-"):
            continue  # an empty revision, which dpkg refuses
        order = next(
            number
            for number, word in ((-1, "lt"), (0, "eq"), (1, "gt"))
            if subprocess.run(
                ["dpkg", "--compare-versions", one, word, other], check=False, stderr=-3
            ).returncode
            == 0
        )
        assert sign(compare_versions(one, other)) == order, (one, other)
        assert sign(compare_versions(other, one)) == -order, (one, other)


@pytest.mark.skipif(shutil.which("rpm") is None, reason="rpm is not installed")
def test_rpm() -> None:
    """Rpm has the same order of versions (release and epoch aside)."""
    pairs = [*ODD, ("1.0^1", "1.0"), ("1.0^", "1.0.1"), ("1.0^1", "1.0~1"), ("1^a", "1^b")]
    pairs += random_pairs(300, [part for part in [*PARTS, "^"] if part != "-"])
    pairs = [pair for pair in pairs if not {"-", ":"} & set("".join(pair))]
    program = "".join(f'print(rpm.vercmp("{one}", "{other}"), "") ' for one, other in pairs)
    said = subprocess.run(
        ["rpm", "--eval", f"%{{lua:{program}}}"], check=True, capture_output=True, text=True
    )
    orders = [int(float(word)) for word in said.stdout.split()]
    mine = [sign(compare_versions(one, other, rpm=True)) for one, other in pairs]
    assert dict(zip(pairs, mine, strict=True)) == dict(zip(pairs, orders, strict=True))


def test_rpm_with_epoch_and_release() -> None:
    """The epoch counts first; a version without a release is any of it."""
    assert compare_versions("1:1.0-1", "2.0-1", rpm=True) > 0
    assert compare_versions("3.0.7-25.el9", "3.0.7-9.el9", rpm=True) > 0
    assert compare_versions("3.0.7-25.el9", "3.0.7", rpm=True) == 0


@pytest.mark.parametrize(
    ("one", "other", "whether"),
    [
        ("6.18", "6.9.0", True),
        ("6", "6.9.0", True),
        ("v1.2.3", "1.10", True),
        ("10.0.0.9", "10.0.0.10", True),
        ("6", "7", False),
        ("2026-01-30", "2026-02-01", False),
        ("1.5%", "1.5.1", False),
        ("1.5 GB", "1.5.1", False),
        ("Debian", "1.5.1", False),
        ("", "1.5.1", False),
    ],
)
def test_what_looks_like_a_version(one: str, other: str, whether: bool) -> None:  # noqa: FBT001 - a table
    """Both begin with a digit and one has a dot between digits."""
    assert are_versions(one, other) is are_versions(other, one) is whether
