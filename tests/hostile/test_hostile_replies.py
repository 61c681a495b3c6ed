"""Whatever one node puts into its reply costs one row, its own: in every format and every analysis."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcshell.client.rpc.outputs import MOST
from mcshell.commands.context import Context
from mcshell.commands.grammar.values import FORMATS
from mcshell.commands.run import run_words
from mcshell.shell.output import Screen, show
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_request
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.message import Request
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(400)

LIAR, TWIN = "web01", "web02"
HONEST = ("db01", "db02")
AT_ONCE = 10.0  # seconds of processor: one line of the operator's, with some 3,000 replies


@dataclass(frozen=True, slots=True)
class Lie:
    """What the hostile node says: `raw` is its data as JSON, `more` other fields of the reply."""

    raw: str
    more: tuple[tuple[str, Any], ...] = ()
    times: int = 1
    sender: str = LIAR
    answers: bool = True
    """Whether it is its own reply at all; else it stays without one."""
    repeats: int = 1
    """How often each reply is sent in the same bytes."""


def deep(levels: int) -> str:
    """Lists in lists."""
    return "[" * levels + "]" * levels


def keys(count: int) -> str:
    """That many outputs."""
    return json.dumps({f"k{number}": number for number in range(count)})


NAMES = ("sender", "state", "requestid", "lag", "late", "trust", "data_sender", "data_data_sender")
ODD = "\x1b[2J\x1b]0;own\x07\u202egnp.exe\u2066 web99  ok\nroot@db01 ok\r\u2028"
LIES: dict[str, Lie] = {
    "text": Lie('{"pong":"text"}'),
    "beyond signed": Lie(f'{{"pong":{2**64 - 1}}}'),
    "beyond signed by one": Lie(f'{{"pong":{2**63}}}'),
    "the least": Lie(f'{{"pong":{-(2**63)}}}'),
    "below the least": Lie(f'{{"pong":{-(2**63) - 1}}}', answers=False),
    "beyond unsigned": Lie(f'{{"pong":{2**64}}}', answers=False),
    "a number of 4,000 digits": Lie('{"pong":' + "9" * 4000 + "}", answers=False),
    "a fraction": Lie('{"pong":1.5}'),
    "the largest float": Lie('{"pong":1.7976931348623157e308}'),
    "infinite": Lie('{"pong":1e999}', answers=False),
    "NaN": Lie('{"pong":NaN}', answers=False),
    "NaN as text": Lie('{"pong":"NaN","x":"inf","y":"nan","z":"<NA>"}'),
    "a list": Lie('{"pong":[1,2]}'),
    "a hash": Lie('{"pong":{"a":1}}'),
    "a hash in a list": Lie('{"pong":[{"a":[{}]}]}'),
    "null": Lie('{"pong":null}'),
    "true": Lie('{"pong":true}'),
    "bytes": Lie('{"pong":{"$base64":"/w=="}}'),
    "no hash": Lie("[1]", answers=False),
    "our columns": Lie(json.dumps({**dict.fromkeys(NAMES, "evil"), "pong": 1})),
    "names of ours in the table": Lie('{"unfit":1,"data_unfit":2,"nodes":3,"count":4,"pong":1}'),
    "no name": Lie('{"":1,"pong":1}'),
    "an odd name": Lie(json.dumps({ODD: 1, "pong": 1})),
    "a path": Lie('{"pong.a":1,"pong":{"a":2,"a.b":3}}'),
    "deep": Lie('{"pong":' + deep(25) + "}"),
    "too deep": Lie('{"pong":' + deep(2000) + "}", answers=False),
    "20,000 keys": Lie(keys(20_000)),
    "20,000 paths": Lie('{"pong":' + keys(20_000) + "}"),
    "a long name": Lie('{"' + "x" * 100_000 + '":1}'),
    "a long text": Lie('{"pong":"' + "x" * 900_000 + '"}'),
    "a long version": Lie('{"version":"' + "x" * 900_000 + '"}'),
    "many versions": Lie('{"version":' + json.dumps([str(n) for n in range(50_000)]) + "}"),
    "too long": Lie('{"pong":"' + "x" * 2_000_000 + '"}', answers=False),
    "half a surrogate pair": Lie('{"pong":"\\ud800"}', answers=False),
    "an odd message": Lie('{"pong":1}', (("statusmsg", ODD),)),
    "a long message": Lie('{"pong":1}', (("statusmsg", "x" * 900_000),)),
    "a statuscode": Lie('{"pong":1}', (("statuscode", 2**63),), answers=False),
    "a number": Lie('{"pong":1}', (("sequence", 2**63),), answers=False),
    "a state": Lie('{"pong":1}', (("state", "root"),), answers=False),
    "a time": Lie('{"pong":1}', (("created", 1e300),), answers=False),
    "more fields": Lie('{"pong":1}', (("trust", "root"), ("lag", -1), ("late", True))),
    "3,000 replies": Lie('{"pong":8}', times=3000),
    "in another's name": Lie('{"pong":7}', sender=HONEST[0], answers=False),
    "in a stranger's name": Lie('{"pong":7}', sender="web99", answers=False),
}


class HostileNode:
    """A node with a good certificate that answers whatever is asked with `lie`."""

    def __init__(self, fleet: Fleet) -> None:
        self._collective = fleet.collective
        cert, key = fleet.authority.issue_pem(LIAR, "node", renew=True)
        self._signer = Signer.from_pem(cert, key)
        broker = fleet.broker
        self._link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.lie = LIES["null"]

    def __enter__(self) -> Self:
        self._link.start()
        self._link.subscribe(destinations.broadcast(self._collective), self._inbox, ack="auto")
        self._link.subscribe(destinations.node(self._collective, LIAR), self._inbox, ack="auto")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                request = read_request(self._inbox.get(timeout=0.2).body)
            except Empty:
                continue
            if request.agent != "discovery":
                for number in range(self.lie.times):
                    self._say(request, 2 + 3 * number)

    def _say(self, request: Request, sequence: int) -> None:
        document = {
            "v": 2,
            "kind": "reply",
            "id": request.id,
            "digest": request.digest,
            "sender": self.lie.sender,
            "sequence": sequence,
            "state": "ok",
            "statuscode": 0,
            "statusmsg": "OK",
            "created": time.time(),
            **dict(self.lie.more),
        }
        body = f'{json.dumps(document)[:-1]},"data":{self.lie.raw}}}'.encode()
        headers = {SIGNATURE: self._signer.sign(body), CERTIFICATE: self._signer.certificate}
        where = destinations.reply(request.collective, request.caller, request.session)
        for _repeat in range(self.lie.repeats):
            self._link.send(where, body, headers)


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two honest nodes."""
    nodes = {name: Node() for name in HONEST}
    with Fleet(embedded, tmp_path_factory.mktemp("odd"), nodes) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def liar(fleet: Fleet) -> Iterator[HostileNode]:
    """The third."""
    with HostileNode(fleet) as node:
        yield node


@pytest.fixture(scope="module")
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of one prompt."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()


class Lines:
    """A stream that keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep it."""
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


def drawn(context: Context, line: str) -> str:
    """What a line gives on standard output; it takes no longer than it may."""
    began = time.process_time()
    invocation, result = run_words(line.split(), context)
    out, err = Lines(), Lines()
    show(result, invocation.options, Screen(out, err, 100))  # type: ignore[arg-type]  # as much of a stream as it needs
    out.text.encode()
    assert time.process_time() - began < AT_ONCE, line
    assert not {"\x1b", "\x07", "\u202e", "\u2066", "\r"} & set(out.text + err.text), line
    return out.text


def asked(context: Context, action: str = "ping") -> str:
    """Ask all three; the request's id."""
    names = f"{LIAR} {' '.join(HONEST)}".split()
    client = context.client()
    replies = client.rpc("rpcutil", action, nodes=names, timeout=3)
    assert len(replies) in (3, 4)
    assert wait_until(lambda: set(HONEST) <= {row.sender for row in replies.rows() if row.data}, 60)
    return replies.requestid


def all_faces(context: Context, requestid: str, lie: Lie) -> None:
    """Each format, each analysis and the table in Python work, and are right about the others."""
    replies = context.client().replies(requestid)
    frame = replies.frame().set_index("sender")
    assert str(frame.dtypes["pong"]) == "Int64"
    honest = frame.loc[list(HONEST)]
    assert list(honest["state"]) == ["ok", "ok"]
    assert (honest["pong"] > 1).all()
    assert ("unfit" not in honest) or honest["unfit"].isna().all()
    assert frame.loc[LIAR, "state"] == ("ok" if lie.answers else "silent")
    assert len(frame.columns) < MOST + 20
    assert frame.columns.is_unique
    assert "db01" in frame._repr_html_()
    assert isinstance(replies.aggregates(), list)
    for form in FORMATS:
        text = drawn(context, f"replies {requestid} --format {form}")
        assert all(name in text for name in HONEST)
        if form == "json":
            rows = {row["sender"]: row for row in json.loads(text)["replies"]}
            assert rows["db01"]["data"]["pong"] > 1
        if form == "jsonl":
            assert {json.loads(line)["sender"] for line in text.splitlines()} >= set(HONEST)
    assert "db[01-02]" in drawn(context, f"fold state -r {requestid}")
    for line in ("fold", "outliers", "summary"):
        drawn(context, f"{line} -r {requestid}")
    drawn(context, f"diff {requestid} {requestid}")
    query = f"sql SELECT sender FROM replies WHERE requestid='{requestid}' AND data->>'$.pong'>1"
    assert "db01" in drawn(context, query)
    drawn(context, f"ledger {requestid}")
    drawn(context, f"explain {LIAR} {requestid}")


@pytest.mark.parametrize("name", LIES)
def test_one_reply_costs_one_row(
    fleet: Fleet, liar: HostileNode, context: Context, name: str
) -> None:
    """The others' rows are right in every face, and after a restart from the session file."""
    liar.lie = lie = LIES[name]
    requestid = asked(context)
    all_faces(context, requestid, lie)
    stored = context.client().session.path.stat().st_size
    assert stored < 64e6, "many replies of one node fill no disk"
    context.close()
    again = Context("prompt", fleet.config)
    try:
        all_faces(again, requestid, lie)
    finally:
        again.close()


def test_a_reply_that_is_repeated_costs_no_signature_check(
    liar: HostileNode, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is kept its copies are passed over, as is said once, and the others' rows are right."""
    repeats = 10_000
    checks: Counter[str] = Counter()

    def counted(real: Any) -> Any:
        def count(*args: Any, **more: Any) -> Any:
            checks["signatures"] += 1
            return real(*args, **more)

        return count

    for name in ("verify", "claim"):  # here, and for the process beside this one
        monkeypatch.setattr(Verifier, name, counted(getattr(Verifier, name)))
    liar.lie = Lie('{"pong":9}', repeats=repeats)
    client = context.client()
    requestid = asked(context)
    taken = client.rpc("rpcutil", "ping", nodes=[HONEST[0]], timeout=60)  # comes behind all of them
    assert taken.stats["ok"] == 1
    assert wait_until(lambda: any("over and over" in one for one in client.notices), 60)
    assert {row.sender: row.state for row in client.replies(requestid).rows()} == dict.fromkeys(
        (LIAR, *HONEST), "ok"
    )
    assert sum(LIAR in one for one in client.notices) == 1
    assert checks["signatures"] < repeats / 2


SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, -(2**63), 2**53 + 1, -1, 0])
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["NaN", "<NA>", "None", "=1+1", ODD, "\0", "x" * 5000])
)
NAMED = st.sampled_from([*NAMES, "unfit", "pong", "version", "$x", "", ".", "a.b", "nodes", ODD])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMED | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
OUTPUTS = st.dictionaries(NAMED | st.text(max_size=8), VALUES, max_size=8)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=OUTPUTS)
def test_whatever_it_is_each_face_is_right_about_the_others(
    liar: HostileNode, context: Context, data: dict[str, Any]
) -> None:
    """The table in Python, that of the command line, `--json` and `--jsonl`, over any JSON."""
    liar.lie = Lie(json.dumps(data))
    requestid = asked(context)
    replies = context.client().replies(requestid)
    assert wait_until(lambda: replies.stats["ok"] == 1 + len(HONEST), 60)
    frame = replies.frame().set_index("sender")
    assert str(frame.dtypes["pong"]) == "Int64"
    assert frame.columns.is_unique
    assert frame.loc[LIAR, "state"] == "ok"
    assert (frame.loc[list(HONEST), "pong"] > 1).all()
    assert all(name in drawn(context, f"replies {requestid}") for name in HONEST)
    shown = json.loads(drawn(context, f"replies {requestid} --json"))["replies"]
    lines = drawn(context, f"replies {requestid} --jsonl").splitlines()
    for rows in (shown, map(json.loads, lines)):
        by_sender = {row["sender"]: row for row in rows}
        assert set(by_sender) == {LIAR, *HONEST}
        assert all(by_sender[name]["data"]["pong"] > 1 for name in HONEST)
    drawn(context, f"fold -r {requestid}")
    drawn(context, f"summary -r {requestid}")
