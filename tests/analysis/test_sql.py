"""`sql` over a session file: what can be asked, and what can't."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.analysis.sql import query
from mcshell.client.store.records import OutgoingMessage, ReplyRecord, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.errors import UsageError
from mcshell.message import Filter, Reply, State, Via
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, seal_reply
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDS = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A session with two requests; web1 answered both, web2 one, db1 none. It stays open."""
    folder = tmp_path_factory.mktemp("session")
    authority = Authority.init(folder / "ca")
    signer = Signer.from_pem(*authority.issue_pem("web1", "node"))
    store = SessionStore(folder / "s.sqlite")
    for number, id_ in enumerate(IDS):
        record = RequestRecord(
            id=id_,
            agent="package",
            action="status",
            via=Via.QUEUE,
            collective="mcs",
            created=100.0 + number,
            expires=2e9,
            filter=Filter(),
            data={"n": 1},
        )
        secret = [
            OutgoingMessage(
                request=id_,
                sender="web1",
                destination="/queue/x",
                body=b"SECRET",
                signature="sig",
                certificate="cert",
            )
        ]
        store.add(record, ["web1", "web2", "db1"], secret)
        store.mark_sent(id_, ["web1", "web2", "db1"], 101.0)
        for name in ("web1", "web2")[: 2 - number]:
            store.enter([word(signer, id_, name, f"3.0.{number}")], durable=False)
        store.judge(id_, [("db1", "no word")], State.SILENT)
    yield store.path
    store.close()


def word(signer: Signer, request: str, sender: str, version: str) -> ReplyRecord:
    """A final reply with nested data and bytes in it."""
    data: dict[str, Any] = {"version": version, "os": {"name": "Debian"}, "raw": b"\xff"}
    reply = Reply(
        requestid=request,
        sender=sender,
        sequence=2,
        statuscode=0,
        statusmsg="OK",
        data=data,
        created=1.0,
        state=State.OK,
    )
    sealed = seal_reply(reply, signer)
    return ReplyRecord(
        reply=reply,
        kept=103.5,
        body=sealed.body,
        signature=sealed.headers[SIGNATURE],
        certificate=sealed.headers[CERTIFICATE],
        target=sender,
    )


def test_replies_are_rows_with_json(session: Path) -> None:
    """Each target is a row; its outputs are JSON, which the functions of SQLite read."""
    columns, rows = query(
        session,
        "SELECT sender, state, lag, data ->> '$.version' v, data ->> '$.os.name' os, statusmsg "
        f"FROM replies WHERE requestid = '{IDS[0]}'",
    )
    assert columns == ("sender", "state", "lag", "v", "os", "statusmsg")
    assert rows == [
        ("web1", "ok", 2.5, "3.0.0", "Debian", "OK"),
        ("web2", "ok", 2.5, "3.0.0", "Debian", "OK"),
        ("db1", "silent", None, None, None, "no word"),
    ]
    ((raw,),) = query(session, "SELECT data ->> '$.raw.$base64' FROM replies LIMIT 1")[1]
    assert raw == "/w=="


def test_tables_join(session: Path) -> None:
    """Ledger, requests and replies are asked together; names given twice stay apart."""
    columns, rows = query(
        session,
        "SELECT r.sender, l.sender, count(*) FROM requests q JOIN replies r USING (requestid) "
        "JOIN ledger l USING (requestid, sender) WHERE q.agent = 'package' "
        "GROUP BY 1, 2 ORDER BY 1",
    )
    assert columns == ("sender", "sender_2", "count(*)")
    assert rows == [("db1", "db1", 2), ("web1", "web1", 2), ("web2", "web2", 2)]
    assert query(session, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 3) "
                 "SELECT sum(x) FROM n")[1] == [(6,)]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM replies",
        "DROP VIEW replies",
        "CREATE TABLE x (a)",
        "UPDATE file.targets SET state = 'ok'",
        "ATTACH '/tmp/other.sqlite' AS other",
        "PRAGMA query_only = 0",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "SELECT body FROM file.outgoing",
        "SELECT body FROM outgoing",
        "SELECT * FROM file.meta",
        "SELECT body FROM file.replies",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT nothing FROM replies",
        "SELECT 1; SELECT 2",
        "SELEKT",
        "",
        "SELECT '\ud800'",
    ],
)
def test_what_is_no_question_is_one_line(session: Path, text: str) -> None:
    """Nothing is written, no other file and no signed bytes are read; the error is a line."""
    before = session.read_bytes()
    with pytest.raises(UsageError) as caught:
        query(session, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("sql: ")
    assert session.read_bytes() == before


def test_ctrl_c_ends_a_query(session: Path) -> None:
    """A query without an end is broken off at once."""
    import _thread

    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        query(
            session,
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT max(x) FROM n",
        )
    assert time.monotonic() - began < 20
    timer.join()
