"""A session file that was handed on may be any SQLite file: what is in its schema is never run.

A view in a table's place, a computed column or an index over an expression is code: once somebody reads
or writes the table it takes as long, and as much memory, as its author likes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import mcshell
from mcshell.client.session.evidence import examine
from mcshell.client.session.transfer import import_session
from mcshell.client.store.store import SessionStore
from mcshell.errors import SessionError
from mcshell.pki import Authority
from mcshell.wire.documents.signatures import Verifier

if TYPE_CHECKING:
    from pathlib import Path

COUNT = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 9) SELECT count(*) FROM c"
)
SAID = "its tables are not those of a session file: "


def _view(table: str, columns: str, last: str) -> str:
    return (
        f"ALTER TABLE {table} RENAME TO other;"
        f"CREATE VIEW {table} AS SELECT {columns}, ({last}) AS value FROM other"
    )


TABLES = {
    "a view for meta": (_view("meta", "key", COUNT), "other"),
    "a view for accepted, made new": (
        f"DROP TABLE accepted; PRAGMA user_version=3; CREATE VIEW accepted AS {COUNT}",
        "accepted",
    ),
    "a trigger": (
        f"CREATE TRIGGER t AFTER INSERT ON requests BEGIN {COUNT}; END",
        "trigger t",
    ),
    "a computed column": (
        "ALTER TABLE targets ADD COLUMN more GENERATED ALWAYS AS (length(zeroblob(9))) VIRTUAL",
        "table targets",
    ),
    "an index over an expression": (
        "CREATE INDEX more ON replies(hex(zeroblob(length(body))))",
        "index more",
    ),
    "a version that has none": (
        "PRAGMA user_version=0; DROP TABLE plans; CREATE VIEW plans AS SELECT 1 AS id",
        "plans",
    ),
    "a table too few": ("DROP TABLE strays", "table strays"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", TABLES)
def test_a_file_with_tables_of_its_own_is_not_opened(tmp_path: Path, name: str) -> None:
    """Import and `mcshell.stored` refuse it, `audit verify` names what is there, all without running it."""
    path = tmp_path / "friday.mcs"
    with closing(SessionStore(path)) as store:
        for key in ("name", "address"):
            store.set_meta(key, "friday")
        store.set_meta("caller", "cert=alice")
        store.set_meta("collective", "mcs")
        store.pack()
    authority = Authority.init(tmp_path / "pki", "fleet")
    verifier = Verifier(authority.ca_pem)
    assert not examine(path, verifier).findings
    script, there = TABLES[name]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(script)
    with pytest.raises(SessionError, match=SAID) as refused:
        import_session(tmp_path / "state", verifier, path, lambda *_: True)
    assert there in str(refused.value)
    assert not list((tmp_path / "state").rglob("*.sqlite"))
    with pytest.raises(SessionError, match=SAID):
        mcshell.stored(path)
    assert [one.what for one in examine(path, verifier).findings if SAID in one.what]
