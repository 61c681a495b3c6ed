"""Every hostile document is refused for its reason by what the product opens it with; no twin is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mcshell.pki import Authority
from tests.hostile.documents import KINDS, Documents
from tests.hostile.lists import list_refusal, lists
from tests.hostile.receiver import arena

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CAs:
    """The fleet's, one of the same name, and one of another."""

    ours: Authority
    strangers: dict[str, Authority]


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> CAs:
    """All three."""
    folder = tmp_path_factory.mktemp("documents")
    return CAs(
        Authority.init(folder / "ca", "fleet", mark=""),
        {
            "of the same name": Authority.init(folder / "lookalike", "fleet", mark=""),
            "another": Authority.init(folder / "stranger", "stranger"),
        },
    )


@pytest.fixture(scope="module")
def documents(cas: CAs) -> Documents:
    """Whoever makes them, and whoever reads them."""
    return Documents(cas.ours, cas.strangers)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hostile_is_refused_and_its_twin_taken(documents: Documents, kind: str) -> None:
    """Each with its own reason, and none by an accident of another kind."""
    for case in documents.cases(kind):
        refused = documents.refusal(kind, case.hostile)
        assert (str(case), refused) == (str(case), case.reason)
        assert (str(case), documents.refusal(kind, case.twin)) == (str(case), None)


def test_a_list_that_the_ca_has_not_signed_so_is_refused(cas: CAs) -> None:
    """Each for its reason, by a verifier that takes the twin."""
    for case in lists(cas.ours, cas.strangers):
        refused = list_refusal(cas.ours, case.hostile)
        assert (str(case), refused) == (str(case), case.reason)
        assert list_refusal(cas.ours, case.twin) is None


def test_there_are_enough_of_each(cas: CAs, documents: Documents, tmp_path: Path) -> None:
    """250 hostile messages and documents at least, and ten of each kind."""
    receiver, messages = arena(tmp_path)
    receiver.replay_guard.close()
    count = Counter("reply" if one.arrival is None else "request" for one in messages)
    count.update(case.kind for kind in KINDS for case in documents.cases(kind))
    count["list"] = len(list(lists(cas.ours, cas.strangers)))
    print(f"hostile messages and documents: {count.total()}: {dict(count)}")
    assert count.total() >= 250
    assert min(count.values()) >= 10
