"""`sql` over session files: what can be asked, and what can't."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell import interrupts
from mcshell.client.analysis.sql import Sources, answer, query
from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.client.store.records import OutgoingMessage, ReplyRecord, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.ddl import Action, Output
from mcshell.errors import Stopped, UsageError
from mcshell.message import Filter, Reply, State, Via
from mcshell.pki import Authority
from mcshell.table import frame_of_rows
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


def asked(path: Path) -> Sources:
    """That session alone."""
    return Sources(sessions=[("s", path)])


def test_replies_are_rows_with_json(session: Path) -> None:
    """Each target is a row; its outputs are JSON, which the functions of SQLite read."""
    columns, rows = query(
        asked(session),
        "SELECT sender, state, lag, data ->> '$.version' v, data ->> '$.os.name' os, statusmsg "
        f"FROM replies WHERE requestid = '{IDS[0]}'",
    )
    assert columns == ("sender", "state", "lag", "v", "os", "statusmsg")
    assert rows == [
        ("web1", "ok", 2.5, "3.0.0", "Debian", "OK"),
        ("web2", "ok", 2.5, "3.0.0", "Debian", "OK"),
        ("db1", "silent", None, None, None, "no word"),
    ]
    ((raw,),) = query(asked(session), "SELECT data ->> '$.raw.$base64' FROM replies LIMIT 1")[1]
    assert raw == "/w=="


def test_lists_and_hashes_are_rows(session: Path) -> None:
    """What is nested opens into rows by json_each and json_tree; a list is a value in Python, too."""
    text = "SELECT DISTINCT e.key FROM replies, json_each(data) e WHERE sender = 'web1'"
    assert set(query(asked(session), text)[1]) == {("version",), ("os",), ("raw",)}
    text = "SELECT DISTINCT fullkey FROM replies, json_tree(data) t WHERE t.atom = 'Debian'"
    assert query(asked(session), text)[1] == [("$.os.name",)]
    text = (
        "SELECT DISTINCT sender FROM replies WHERE sender IN (SELECT value FROM json_each(:some))"
    )
    assert query(asked(session), text, {"some": ["db1", "z\u00fcrich"]})[1] == [("db1",)]


def test_tables_join(session: Path) -> None:
    """Ledger, requests and replies are asked together; names given twice stay apart."""
    columns, rows = query(
        asked(session),
        "SELECT r.sender, l.sender, count(*) FROM requests q JOIN replies r USING (requestid) "
        "JOIN ledger l USING (requestid, sender) WHERE q.agent = 'package' "
        "GROUP BY 1, 2 ORDER BY 1",
    )
    assert columns == ("sender", "sender_2", "count(*)")
    assert rows == [("db1", "db1", 2), ("web1", "web1", 2), ("web2", "web2", 2)]
    assert query(asked(session), "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 3) "
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
        query(asked(session), text)
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
            asked(session),
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT max(x) FROM n",
        )
    assert time.monotonic() - began < 20
    timer.join()


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT max(x) FROM n"


def test_ctrl_c_ends_a_query_of_a_client(session: Path) -> None:
    """In a client's call, where SIGINT is noted first, and in that of another thread: as Stopped."""
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            with interrupts.call():
                query(asked(session), ENDLESS)
        except BaseException as error:  # noqa: BLE001 - it is looked at
            ended.append(error)

    other = threading.Thread(target=ask, name="asks", daemon=True)
    other.start()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    last = threading.Timer(
        20.0, os.kill, (os.getpid(), signal.SIGINT)
    )  # a second one comes at once
    timer.start()
    last.start()
    began = time.monotonic()
    ask()
    took = time.monotonic() - began
    last.cancel()
    other.join(20.0)
    interrupts.release()
    assert took < 15
    assert [type(one) for one in ended] == [Stopped, Stopped]


EVIL = 'x" AS y, (SELECT 1) AS "z\'); DROP TABLE asked; --'


def schema(*outputs: Output) -> Action:
    """What a DDL says of `package.status`."""
    return Action(
        agent="package", name="status", outputs={one.name: one for one in outputs}, changes=False
    )


OUTPUTS = (
    Output("version", "string"),
    Output("n", "integer"),
    Output("raw", "any"),
    Output("os", "hash"),
    Output("state", "string"),
    Output("Facts", "string"),
    Output(EVIL, "string"),
    *(Output(f"more{number}") for number in range(300)),
)


@pytest.fixture(scope="module")
def everything(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Two sessions, of which the second has one of the first's requests too, and what is known."""
    folder = tmp_path_factory.mktemp("more")
    authority = Authority.init(folder / "ca")
    signer = Signer.from_pem(*authority.issue_pem("web9", "node"))
    store = SessionStore(folder / "t.sqlite")
    for id_, agent, name in (
        (IDS[0], "package", "web9"),
        ("1" * 32, "package", "web9"),
        ("2" * 32, EVIL, "web9"),
        ("3" * 32, "gone", "web9"),
    ):
        record = RequestRecord(
            id=id_,
            agent=agent,
            action="status",
            via=Via.DIRECT,
            collective="mcs",
            created=200.0,
            expires=2e9,
            filter=Filter(),
            data={},
        )
        store.add(record, [name])
        store.enter([word(signer, id_, name, "' OR 1 --")], durable=False)
    store.close()
    cache = NodeCache(folder / "nodes.sqlite", "realm")
    facts = {"os": {"name": EVIL}, "n": 5}
    cache.learn("mcs", [CachedNode(identity="web9", seen=9.0, facts=facts)])
    cache.learn("other", [CachedNode(identity="web9", seen=9.0, facts={"wrong": True})])
    cache.close()
    stranger = NodeCache(folder / "nodes.sqlite", "another realm")
    stranger.learn("mcs", [CachedNode(identity="web1", seen=9.0, facts={"wrong": True})])
    stranger.close()
    return Sources(
        sessions=[("s", session), ("t", folder / "t.sqlite")],
        schema=lambda agent, _action: schema(*OUTPUTS) if agent == "package" else None,
        known=(folder / "nodes.sqlite", "realm"),
    )


def test_all_sessions_are_one(everything: Sources) -> None:
    """Each request is there once, of the first file that has it, and says which that is."""
    rows = query(everything, "SELECT requestid, session FROM requests ORDER BY 1")[1]
    assert rows == sorted([(IDS[0], "s"), (IDS[1], "s"), *((n * 32, "t") for n in "123")])
    counts = "SELECT requestid, count(*) FROM ledger GROUP BY 1 ORDER BY count(*) DESC"
    assert [count for _id, count in query(everything, counts)[1]] == [3, 3, 1, 1, 1]
    few = replace(everything, sessions=everything.sessions[1:])
    assert len(query(few, "SELECT * FROM requests")[1]) == 4


@pytest.mark.parametrize("name", ['"package.status"', "package_status", "Package_Status"])
def test_an_action_has_a_view_of_its_own(everything: Sources, name: str) -> None:
    """Its columns are the DDL's outputs, typed; what is not of the type is only in `data`."""
    columns, rows = query(everything, f"SELECT * FROM {name} WHERE sender IN ('web1', 'db1')")
    first = ("requestid", "created", "sender", "state", "statuscode", "statusmsg")
    assert columns[:6] == first
    assert columns[6:13] == ("version", "n", "raw", "os", "data_state", "data_Facts", EVIL)
    assert columns[-6:] == ("late", "trust", "session", "inputs", "data", "facts")
    assert len(columns) < 220
    record = dict(zip(columns, rows[0], strict=True))
    assert (record["version"], record["n"]) == ("3.0.0", None)
    assert json.loads(record["os"]) == {"name": "Debian"}
    assert json.loads(record["data"])["raw"] == json.loads(record["raw"])
    assert [row[3] for row in rows] == ["ok", "silent", "ok", "silent"]
    typed = replace(everything, schema=lambda *_: schema(Output("version", "integer")))
    assert query(typed, f"SELECT DISTINCT version FROM {name}")[1] == [(None,)]


def test_facts_are_joined(everything: Sources) -> None:
    """Of the node in the collective that was asked, as this fleet knows it; else none."""
    text = "SELECT sender, facts ->> '$.n', facts ->> '$.os.name' FROM package_status"
    assert set(query(everything, text)[1]) == {
        ("web1", None, None),
        ("web2", None, None),
        ("db1", None, None),
        ("web9", 5, EVIL),
    }
    text = "SELECT sender, collective FROM nodes WHERE collective = 'mcs'"
    assert query(everything, text)[1] == [("web9", "mcs")]
    assert query(replace(everything, known=None), "SELECT facts FROM package_status")[1][0] == (
        None,
    )


@pytest.mark.parametrize("name", ['"package.status"', "package_status"])
def test_a_column_without_values_has_the_dtype_of_its_table(everything: Sources, name: str) -> None:
    """With no rows, or nothing in a column, as where there is something; an expression's is unknown."""
    said = f"SELECT sender, created, statuscode, late, n, version, lag, 1 AS one FROM {name} WHERE "
    found = frame_of_rows(*answer(everything, said + "sender = 'web1'")[:2])
    empty = "sender = 'nobody'"
    columns, rows, kinds = answer(everything, said + empty)
    dtypes = frame_of_rows(columns, rows, kinds=kinds).dtypes
    same = ["sender", "created", "statuscode", "late", "version"]
    assert dtypes[same].equals(found.dtypes[same])
    assert dtypes[["n", "lag"]].astype(str).tolist() == ["Int64", "Float64"]
    assert str(dtypes["one"]) == "object"
    assert answer(everything, "SELECT 'x' AS lag")[2] == {}


@pytest.mark.parametrize(
    "text", ["SELECT sendr FROM nodes", "SELECT r.verison FROM package_status r"]
)
def test_a_column_that_is_not_there_is_guessed(everything: Sources, text: str) -> None:
    """Those of all tables that are called alike are told, as tables are."""
    with pytest.raises(UsageError, match=r"no such column: .*did you mean (sender|version)\b"):
        query(everything, text)


def test_nobody_s_text_becomes_sql(everything: Sources) -> None:
    """Names of a DDL are quoted, those of a file that are no agent's make no view, values are values."""
    names = query(everything, "SELECT name FROM sqlite_temp_master WHERE type = 'view'")[1]
    own = {"requests", "ledger", "replies", "nodes"}
    assert {name for (name,) in names} - own == {"package.status", "package_status"}
    text = "SELECT sender FROM package_status WHERE version = :v"
    assert query(everything, text, {"v": "' OR 1 --"})[1] == [("web9",)]
    assert query(everything, text, {"v": "x' OR '1'='1"})[1] == []
    column = EVIL.replace('"', '""')
    assert query(everything, f'SELECT "{column}" FROM package_status LIMIT 1')[1] == [(None,)]
    with pytest.raises(UsageError, match="did you mean package_status"):
        query(everything, "SELECT * FROM pakage_status")
    for denied in ("SELECT about FROM known.nodes", "SELECT * FROM known.surveys"):
        with pytest.raises(UsageError, match="only these can be asked"):
            query(everything, denied)


def test_a_with_by_a_view_s_name_is_no_way_in(everything: Sources) -> None:
    """What a view may read of the file of known nodes, no part of a query may that is called like it."""
    (name,) = query(everything, "SELECT sql FROM sqlite_temp_master WHERE name = 'nodes'")[1][0:1][
        0
    ]
    file = name.partition(" FROM ")[2].partition(".")[0]
    for table in ("known.nodes", "surveys", f"{file}.surveys", f"{file}.nodes"):
        inside = f"WITH nodes AS (SELECT * FROM {table}) SELECT * FROM nodes"
        with pytest.raises(UsageError, match=r"only these can be asked"):
            query(everything, inside)


def test_answers_are_bounded(everything: Sources) -> None:
    """More rows than memory holds, and a value that is too large, are refused in a line."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT x FROM n"
    with pytest.raises(UsageError, match="more than 1,000,000 rows"):
        query(everything, endless)
    for large in ("zeroblob(1000000000)", "hex(zeroblob(40000000))"):
        with pytest.raises(UsageError, match="too big"):
            query(everything, f"SELECT {large}")
