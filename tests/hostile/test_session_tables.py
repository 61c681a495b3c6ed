"""A session file that was handed on may be any SQLite file: what is in its schema is never run.

A view in a table's place, a computed column or an index over an expression is code: once somebody reads
or writes the table it takes as long, and as much memory, as its author likes.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import mcshell
from mcshell.client.session.evidence import examine
from mcshell.client.session.transfer import import_session
from mcshell.client.store.store import SessionStore
from mcshell.errors import SessionError
from mcshell.message import Filter
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


FILTER = json.dumps(Filter().as_dict())
ROWS = f"""
INSERT INTO requests VALUES (1, 'r', 'rpcutil', 'ping', 'direct', 'mcs', 1.0, 2.0, '{FILTER}', '{{}}', NULL, '{{}}');
INSERT INTO targets (request, sender, place, state) VALUES ('r', 'web1', 0, 'silent');
INSERT INTO certificates VALUES (1, 'c');
INSERT INTO outgoing VALUES ('r', 'web1', 'd', x'7b7d', 's', 1, NULL);
INSERT INTO replies VALUES (1, 'another', 'web1', 2, 1.0, x'7b7d', 's', 1, 'mcs');
"""
DEEP = "[" * 100_000 + "]" * 100_000
VALUES = {
    "a filter that is none": "UPDATE requests SET filter='x'",
    "half a filter": "UPDATE requests SET filter='{}'",
    "a filter of numbers": """UPDATE requests SET filter='{"fact":5}'""",
    "inputs that are no hash": "UPDATE requests SET data='[1]'",
    "deep inputs": f"UPDATE requests SET data='{DEEP}'",
    "options that are no hash": "UPDATE requests SET options='[]'",
    "a way that is none": "UPDATE requests SET via='evil'",
    "a state that is none": "UPDATE targets SET state='root'",
    "a number for a message": "UPDATE outgoing SET body=5",
    "a text for a reply": "UPDATE replies SET body='text'",
    "a word for a time": "UPDATE replies SET kept='x'",
    "bytes for a signature": "UPDATE replies SET signature=x'ff'",
    "a stray of numbers": "INSERT INTO strays VALUES (1, 'r', NULL, 's', 1, 1, 1.0, 'x', 3, 4)",
}


@pytest.fixture
def friday(tmp_path: Path) -> Path:
    """A session file of alice's, with nothing in it yet."""
    path = tmp_path / "friday.mcs"
    with closing(SessionStore(path)) as store:
        for key in ("name", "address"):
            store.set_meta(key, "friday")
        store.set_meta("caller", "cert=alice")
        store.set_meta("collective", "mcs")
        store.pack()
    return path


@pytest.fixture
def verifier(tmp_path: Path) -> Verifier:
    """Whoever looks at it."""
    return Verifier(Authority.init(tmp_path / "pki", "fleet").ca_pem)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_no_kind_is_one_line(
    friday: Path, verifier: Verifier, tmp_path: Path, name: str
) -> None:
    """Import and `mcshell.stored` say that the session is none, `audit verify` looks at the rest."""
    with closing(sqlite3.connect(friday, isolation_level=None)) as db:
        db.executescript(ROWS)
        assert examine(friday, verifier).findings, "it is signed by nobody"
        assert import_session(tmp_path / "twin", verifier, friday, lambda *_: True).unverified == 1
        db.executescript(VALUES[name])
    with pytest.raises(SessionError, match=r"no value of its kind|no such state|as none can be"):
        import_session(tmp_path / "state", verifier, friday, lambda *_: True)
    assert examine(friday, verifier).findings


@pytest.mark.parametrize("name", TABLES)
def test_a_file_with_tables_of_its_own_is_not_opened(
    friday: Path, verifier: Verifier, tmp_path: Path, name: str
) -> None:
    """Import and `mcshell.stored` refuse it, `audit verify` names what is there, all without running it."""
    assert not examine(friday, verifier).findings
    script, there = TABLES[name]
    with closing(sqlite3.connect(friday, isolation_level=None)) as db:
        db.executescript(script)
    with pytest.raises(SessionError, match=SAID) as refused:
        import_session(tmp_path / "state", verifier, friday, lambda *_: True)
    assert there in str(refused.value)
    assert not list((tmp_path / "state").rglob("*.sqlite"))
    with pytest.raises(SessionError, match=SAID):
        mcshell.stored(friday)
    assert [one.what for one in examine(friday, verifier).findings if SAID in one.what]
