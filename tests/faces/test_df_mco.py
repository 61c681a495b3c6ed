"""`df.mco` on a real fleet, and replies that travel in a pickle."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mcshell
from mcshell.client import default as current
from mcshell.client.rpc.replies import Replies
from mcshell.errors import InputError, NoTargets, SessionError, UsageError
from mcshell.notebook.display import bundle
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def client(echoes: Fleet) -> Iterator[Client]:
    """A client that `df.mco` asks through."""
    with echoes.client(state="state-df-mco") as found:
        current.use(lambda: found)
        yield found  # once it is closed nobody asks through it


def test_rows_know_their_request(client: Client) -> None:
    """Replies, ledger and causes of just these rows, with the sender as a column or in the index."""
    asked = client.rpc("echo", "say", value={"a": 1}, nodes=["web1", "web2", "ghost"], timeout=30)
    df = asked.frame()
    rows = df[df["sender"] != "web2"].set_index("sender")
    assert rows.mco.replies().requestid == asked.requestid
    assert [row.sender for row in rows.mco.replies().rows()] == ["web1", "ghost"]
    assert list(rows.mco.ledger()["state"]) == ["ok", "silent"]
    assert list(rows.mco.refresh()["sender"]) == ["web1", "ghost"]
    causes = rows.mco.explain()
    assert set(causes["sender"]) == {"ghost"}
    assert list(causes.columns) == ["sender", "cause", "kind", "evidence", "since"]
    everyone = client.explain(["web1", "ghost"], asked.requestid).set_index("sender")
    assert everyone["cause"]["web1"] == client.explain("web1", asked.requestid)["cause"][0]
    assert set(everyone["cause"]["ghost":]) == set(causes["cause"])
    assert df.mco.ok.mco.explain().empty
    for nodes in (df, df.set_index("sender"), asked):  # never the names of its columns
        assert set(client.explain(nodes, asked.requestid)["sender"]) == {"web1", "web2", "ghost"}
    assert list(df.mco.flat()["value.a"].dropna()) == [1, 1]
    assert list(df.set_index("sender").mco.silent.index) == ["ghost"]
    again = df.set_index("sender")["lag"].mco.rpc("echo", "say", timeout=30)
    assert sorted(again["sender"]) == ["ghost", "web1", "web2"]
    with pytest.raises(UsageError, match="one request are meant, not of 2"):
        pd.concat([df, again]).mco.replies()
    with pytest.raises(UsageError, match="no column 'requestid'"):
        df[["sender"]].mco.ledger()


@pytest.mark.parametrize("length", ["20s", timedelta(seconds=20), pd.Timedelta("20s"), 20])
def test_every_wait_takes_a_length_of_time(client: Client, length: Any) -> None:
    """Text, a timedelta and seconds say how long arrivals, turns, tasks and forecasts may take."""
    asked = client.rpc("echo", "say", text="x", nodes=["web1"], timeout=length, wait=False)
    assert [row.state for row in asked.arrivals(length)] == ["ok"]
    begin = datetime.now(UTC)
    assert list(client.jobs.forecast(begin, length, nodes=["web1"])["sender"]) == []
    with pytest.raises(UsageError, match=r"^from .* a datetime that has a zone$"):
        client.jobs.forecast(begin.replace(tzinfo=None), length, nodes=["web1"])


def test_the_silent_are_asked_at_once(client: Client) -> None:
    """However many nodes `explain` is about, there is one probe, and one wait for those who are gone."""
    ghosts = [f"ghost{number}" for number in range(40)]
    df = client.rpc("echo", "say", text="x", nodes=[*ghosts, "web1"], timeout=30).frame()
    sent = client._hub.queries._request_sender
    questions = []
    send = sent.send
    sent.send = lambda request, names: (questions.append(request.action), send(request, names))
    try:
        causes = df.mco.explain()
    finally:
        del sent.send
    assert list(causes["sender"].unique()) == ghosts
    assert questions == ["probe"]


def test_refresh_has_what_came_late(client: Client, echoes: Fleet) -> None:
    """The same rows, as they stand now: who was silent then has answered since."""
    echoes.pause("web2")
    try:
        df = client.rpc(
            "echo", "say", text="x", nodes=["web1", "web2"], timeout=30, ttl=600
        ).frame()
        assert list(df["state"]) == ["ok", "silent"]
    finally:
        echoes.resume("web2")
    assert wait_until(lambda: list(df.mco.refresh()["state"]) == ["ok", "ok"], 60)
    assert list(df.mco.silent.mco.refresh()["late"]) == [True]


def test_columns_are_lists(client: Client) -> None:
    """Arrays, Series and indexes are the lists they look like; a hole in one is refused."""
    for words in (
        np.array(["a", "b"]),
        pd.Series(["a", "b"]),
        pd.Index(["a", "b"]),
        pd.array(["a", "b"], dtype="string"),
        pd.Series(["a", "b"]).astype("string[pyarrow]"),
        pd.Categorical(["a", "b"]),
    ):
        (row,) = client.rpc("echo", "say", items=words, map={"a": words}, nodes=["web1"]).rows()
        assert row.data["got"] == {"items": ["a", "b"], "map": {"a": ["a", "b"]}}
    (row,) = client.rpc("echo", "say", n=pd.Series([3]).iloc[0], nodes=["web1"]).rows()
    assert row.data["got"] == {"n": 3}
    for holed in (pd.Series(["a", None], dtype="string"), pd.Series([1.0, np.nan])):
        with pytest.raises(InputError, match="items must"):
            client.rpc("echo", "say", items=holed, nodes=["web1"])
    with pytest.raises(InputError, match="text must be text"):
        client.rpc("echo", "say", text=pd.Series(["a"]), nodes=["web1"])


def test_what_is_no_text_is_one_line(client: Client) -> None:
    """A table, replies or a number where a name is meant: it says which argument, and what is meant."""
    replies = client.rpc("echo", "say", text="x", nodes=["web1"])
    df: Any = replies.frame()
    calls: dict[str, Callable[[], Any]] = {
        "request": lambda: client.replies(df),
        "agent": lambda: client.rpc(df, "say"),
        "action": lambda: client.rpc("echo", 5),  # type: ignore[arg-type]
        "via": lambda: client.rpc("echo", "say", via=df["sender"]),
        "session": lambda: mcshell.connect(session=replies),  # type: ignore[arg-type]
        "job": lambda: client.jobs.show(df),
        "path": lambda: client.files.list(df, nodes=["web1"]),
        "digest": lambda: client.approvals.show(3),  # type: ignore[arg-type]
        "column": lambda: df.mco.odd(0),
        "columns": lambda: df.mco.fold("got", 0),
        "count": lambda: df.mco.top(df, "lag"),
    }
    for name, call in calls.items():
        with pytest.raises(UsageError, match=rf"^{name} [^\n]+ is meant[^\n]*$") as raised:
            call()
        assert len(str(raised.value)) < 300
    for name in ("timeout", "ttl", "batch_sleep"):
        with pytest.raises(UsageError, match=r"^[^\n]+ is no duration"):
            client.rpc("echo", "say", text="x", nodes=["web1"], **{name: df["sender"]})


def travelled(replies: Replies) -> Replies:
    """What a pickle of them becomes elsewhere."""
    found = pickle.loads(pickle.dumps(replies))
    assert isinstance(found, Replies)
    return found


def test_replies_travel_as_they_stood(client: Client) -> None:
    """A pickle has the table, the ledger and the counts, of large replies too, and waits for nothing."""
    text = "x" * 200_000
    asked = client.rpc(
        "echo", "say", text=text, value=7, nodes=["web1", "web2", "ghost"], timeout=30
    )
    other = travelled(asked)
    pd.testing.assert_frame_equal(other.frame(), asked.frame())
    pd.testing.assert_frame_equal(other.ledger(), asked.ledger())
    assert other.stats == asked.stats
    assert other.done
    assert other.wait(60) is other
    assert len(other.silent) == 1
    assert "unpickled" in repr(other)
    assert "proves nothing" in bundle(other)["text/plain"]
    few = travelled(asked.narrowed(["web2"]))
    assert list(few.frame()["sender"]) == ["web2"]
    assert travelled(other).stats == asked.stats
    assert copy.deepcopy(asked).stats == asked.stats
    assert "unpickled" not in repr(copy.copy(asked))
    assert pickle.loads(pickle.dumps(asked.rows()[0])).data["text"] == text


def test_a_pickle_of_what_is_open_stays_open(client: Client) -> None:
    """A queued request that was pending then is pending in it for ever, and nobody waits for that."""
    asked = client.rpc("echo", "say", nodes=["nobody"], via="queue", ttl="1h", wait=False)
    other = travelled(asked)
    assert other.done
    assert other.stats["pending"] == 1
    assert other.stats == travelled(other).stats
    assert not asked.done


def test_what_a_pickle_says_is_retried_by_nobody(client: Client, echoes: Fleet) -> None:
    """`retry` goes by the session: what a forged pickle says of a request, or of its targets, counts nothing."""
    asked = client.rpc("echo", "fail", nodes=["web1"])
    forged: Any = pickle.dumps(asked).replace(b"web1", b"web2")
    rows = pickle.loads(forged).failed
    assert list(rows["sender"]) == ["web2"]
    with pytest.raises(NoTargets, match="none of these rows"):
        rows.mco.retry()
    found = travelled(asked).failed.mco.retry()
    assert list(found["sender"]) == ["web1"]
    assert found["requestid"][0] != asked.requestid
    with echoes.client(state="state-df-mco-other") as elsewhere:
        current.use(lambda: elsewhere)
        with pytest.raises(SessionError, match="no request"):
            travelled(asked).failed.mco.retry()


def test_lists_are_values_of_a_query(client: Client) -> None:
    """As JSON, in Python as in a notebook's line; what is no value is named, in an error of ours."""
    text = "SELECT value FROM json_each(:nodes)"
    for nodes in (["web1", "z\u00fcrich"], pd.Series(["web1", "z\u00fcrich"])):
        assert list(client.sql(text, nodes=nodes)["value"]) == ["web1", "z\u00fcrich"]
    assert list(client.sql("SELECT :one ->> '$.a' AS a", one={"a": 1})["a"]) == [1]
    for wrong in (pd.DataFrame({"sender": ["web1"]}), [b"\xff"]):
        with pytest.raises(UsageError, match=r"^sql: :nodes: "):
            client.sql(text, nodes=wrong)


def test_moments_are_values_of_a_query(client: Client) -> None:
    """As seconds, which is what the tables have; one without a time zone, and none, is refused."""
    replies = client.rpc("echo", "say", text="now", value=1, nodes=["web1"])
    (sent,) = replies.ledger().sent
    text = "SELECT sent >= :moment AS after FROM ledger WHERE requestid = :id"
    for moment, after in ((sent - pd.Timedelta(seconds=1), 1), (sent + pd.Timedelta(hours=1), 0)):
        for one in (moment, moment.to_pydatetime()):
            assert list(client.sql(text, moment=one, id=replies.requestid).after) == [after]
    for wrong in (sent.tz_localize(None), pd.NaT):
        with pytest.raises(UsageError, match=r"^sql: :moment: "):
            client.sql(text, moment=wrong, id=replies.requestid)


def test_sql_asks_all_sessions(client: Client, echoes: Fleet) -> None:
    """Typed and joined with facts, over the sessions of other processes too; values are bound."""
    with echoes.client(state="state-df-mco", session="elsewhere") as other:
        asked = other.rpc("echo", "say", text="it's", value=7, nodes=["web1", "web2"])
        other.discover()
        text = (
            "SELECT sender, text, value, facts ->> '$.role' AS role, session FROM echo_say "
            "WHERE requestid = :id AND text = :text ORDER BY sender"
        )
        found = client.sql(text, id=asked.requestid, text="it's")
    assert found.to_numpy().tolist() == [
        ["web1", "it's", 7, "web", "elsewhere"],
        ["web2", "it's", 7, "web", "elsewhere"],
    ]
    assert str(found.dtypes["value"]) == "Int64"
    assert client.sql(text, id=asked.requestid, text="' OR 1 --").empty
    assert set(client.sql("SELECT session FROM requests")["session"]) > {"elsewhere"}
    only = client.sql("SELECT DISTINCT session FROM requests", session="elsewhere")
    assert list(only["session"]) == ["elsewhere"]
    with pytest.raises(SessionError, match="did you mean elsewhere"):
        client.sql("SELECT 1", session="elsewher")
