"""What is drawn of foreign answers: harmless, short, cheap."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import nbconvert
import nbformat
import pandas as pd
import pyarrow as pa
import pytest

from mcshell import table
from mcshell.client import accessor
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.ledger import LedgerEntry, judge, step
from mcshell.client.store.records import RequestRecord, StoredData
from mcshell.message import Filter, Reply, State, Via
from mcshell.notebook import frames
from mcshell.notebook.display import as_html, as_text, bundle, standing
from mcshell.notebook.frames import drawn_text, page, shown, shown_series, styled
from mcshell.notebook.painter import Painter
from tests.peers.processes import wait_until

assert accessor  # registers df.mco

ID = "0123456789abcdef" * 2
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31mred\x1b]0;title\x07"
    "\u202egnp.exe\u2066\x00\x85\ud800 ' \" & \n\t$$x^2$$"
)
BAD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def replies(names: list[str], via: Via = Via.DIRECT) -> Replies:
    """A request to these nodes, just sent."""
    record = RequestRecord(
        id=ID,
        agent="package",
        action="status",
        via=via,
        collective="mcs",
        created=time.time(),
        expires=time.time() + 60,
        filter=Filter(),
        data={},
    )
    tracker = RequestTracker(record, names)
    tracker.sent(names, time.time())
    return Replies(tracker, None)


def word(sender: str, *, state: State = State.OK, **data: Any) -> LedgerEntry:
    """What a final reply of a node makes of its entry."""
    code, text = (0, "OK") if state is State.OK else (1, data.pop("why", "no"))
    reply = Reply(
        requestid=ID,
        sender=sender,
        sequence=2,
        statuscode=code,
        statusmsg=text,
        data=data,
        created=time.time(),
        state=state,
    )
    return step(LedgerEntry(sender=sender), reply, time.time())


def harmful(text: str) -> bool:
    """Whether a browser or a terminal would act on it."""
    return bool(BAD.search(text) or "<script" in text or "<img" in text)


def test_hostile_answers_are_drawn_harmless() -> None:
    """Markup, escapes, control and bidi characters reach neither drawing, under way or done."""
    asked = replies(["web1", "web2", "web3"])
    hostile: dict[str, Any] = {HOSTILE: HOSTILE, "nested": [{HOSTILE: HOSTILE}], "raw": b"\xff\x1b"}
    asked.tracker.enter([word("web1", **hostile), word("web2", state=State.FAILED, why=HOSTILE)])
    for _ in range(2):
        now = standing(asked)
        assert not harmful(as_html(now)), as_html(now)
        assert not BAD.search(as_text(now)), as_text(now)
        assert "web2" in as_html(now)
        asked.tracker.enter([judge(LedgerEntry(sender="web3"), State.SILENT, "no word")])
        asked.tracker.finish()
    assert "no answer from web3" in as_text(standing(asked))


def test_large_answers_are_cut_and_left_in_the_file() -> None:
    """A row takes a line whatever it holds; what is in the session file is not read for it."""
    asked = replies([f"n{number}" for number in range(3)])
    unread: Any = StoredData(None, ID, "n1", 2)  # type: ignore[arg-type]
    kept = step(
        LedgerEntry(sender="n1"),
        Reply(
            requestid=ID,
            sender="n1",
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data=unread,
            created=1.0,
            state=State.OK,
        ),
        1.0,
    )
    huge = {f"output{number}": "x" * 10_000_000 for number in range(4)}
    asked.tracker.enter([word("n0", **huge), kept])
    began = time.thread_time()
    drawn = bundle(asked)
    assert time.thread_time() - began < 0.5
    assert max(map(len, drawn["text/plain"].split("\n"))) < 200
    assert len(drawn["text/html"]) < 3000
    assert "in the session file" in drawn["text/html"]


def test_tables_are_shown_harmless_and_stay_as_they_are() -> None:
    """HTML, text and nbconvert's page of a table are harmless; its cells keep every character."""
    label = HOSTILE.replace("\ud800", "")  # no label can hold half a pair, and no reply either
    frame = pd.DataFrame(
        {
            "sender": pd.Series(["web1", HOSTILE], dtype=object, index=[label, "b"]),
            label: [[HOSTILE], {HOSTILE: HOSTILE}],
            "many": [HOSTILE * 100_000, b"\x1b"],
        },
        index=[label, "b"],
    )
    safe = shown(frame)
    draw: Any = safe._repr_html_
    assert not harmful(draw())
    assert not harmful(page(frame) or "")
    for text in (repr(safe), draw(), repr(shown_series(frame[label]))):
        assert not BAD.search(text), text
    assert frame["sender"].iloc[1] == HOSTILE
    assert not BAD.search(repr(shown_series(frame.set_index(["sender", "many"])[label])))
    plain = pd.DataFrame({"sender": ["a"], "v": [1]})
    assert shown(plain) is plain
    output = nbformat.v4.new_output("display_data", {"text/html": draw(), "text/plain": repr(safe)})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    exported, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(book)
    assert "alert(1)" in exported
    assert not re.search(r"<(script|img)[^>]*>(alert|[^<]*onerror)", exported)


STYLES: dict[str, Any] = {
    "plain": lambda style: style,
    "precision": lambda style: style.format(precision=1),
    "formatter": lambda style: style.format(lambda value: f"<b>{value}</b>"),
    "caption": lambda style: style.set_caption("a caption").highlight_max(subset=["number"]),
    "colours": lambda style: style.apply(lambda row: ["color: red"] * len(row), axis=1),
    "no index": lambda style: style.hide(axis="index"),
}


@pytest.mark.parametrize("dressed", STYLES)
def test_a_styled_table_is_harmless(dressed: str) -> None:
    """Pandas escapes nothing of `frame.style`; what is shown of one is escaped, labels too."""
    label = HOSTILE.replace("\ud800", "")
    frame = pd.DataFrame(
        {
            "sender": pd.Series(["web1", HOSTILE], dtype=object, index=[label, "b"]),
            label: [[HOSTILE], {HOSTILE: HOSTILE}],
            "number": [1.25, 2.5],
        },
        index=[label, "b"],
    )
    drawn = styled(STYLES[dressed](frame.style)) or ""
    assert "alert(1)" in drawn
    assert not harmful(drawn.replace("<b>", "").replace("</b>", ""))
    assert not BAD.search(re.sub("<style.*?</style>", "", drawn, flags=re.DOTALL))
    assert frame["sender"].iloc[1] == HOSTILE


ARROW: Any = pd.ArrowDtype(pa.string())


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]", ARROW, "category"])
def test_text_is_harmless_whatever_stores_it(dtype: Any) -> None:
    """A column, its Series, array and index, as labels, names and in a style: all are harmless."""
    label = HOSTILE.replace("\ud800", "")
    column = pd.Series([label, "b"]).astype(dtype)
    index = pd.Index(column, name=label)
    frame = pd.DataFrame({label: column.set_axis(index), "n": pd.Series([1, 2], index=index)})
    frame.columns.name = label
    tips = pd.DataFrame([[label, label]] * 2, index=index, columns=frame.columns)
    style = frame.style.set_caption(label).set_tooltips(tips).concat(frame.style)
    texts = (frame, frame[label], frame.index, frame[label].array, frame.iloc[0])
    pages = (page(frame), page(frame.T), page(frame.set_index(label)), styled(style))
    for drawn in (*map(drawn_text, texts), *pages):
        assert drawn
        assert "alert(1)" in drawn
        assert not BAD.search(drawn), drawn
    for drawn in pages:
        assert drawn
        assert not harmful(drawn), drawn
    assert frame[label].iloc[0] == label


def test_no_text_is_a_formula() -> None:
    """MathJax looks for nothing in a table, a styled one, or how a request stands."""
    frame = pd.DataFrame({"sender": ["$x$ \\(y\\)"]})
    asked = replies(["web1"])
    for drawn in (page(frame), styled(frame.style), as_html(standing(asked))):
        assert drawn
        assert re.match(r'<div class="[^"]*mathjax_ignore[^"]*">', drawn), drawn
        assert "tex2jax_ignore" in drawn


class Undrawable:
    """A cell that cannot be drawn."""

    def __repr__(self) -> str:
        raise RuntimeError("as asked")


ODD: dict[str, pd.DataFrame] = {
    "nothing": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": []}),
    "columns that are no text": pd.DataFrame({1: ["a"], None: ["b"], pd.NaT: ["c"]}),
    "names that are none": pd.DataFrame({"a": ["b"]}, index=pd.Index(["x"], name=pd.NA)),
    "twice": pd.DataFrame([["a", "b"], ["c", "d"]], columns=["a", "a"], index=["x", "x"]),
    "levels": pd.DataFrame(
        [["a", "b"]],
        columns=pd.MultiIndex.from_tuples([("a", 1), (None, 2)]),
        index=pd.MultiIndex.from_tuples([("x", None)], names=["l", None]),
    ),
    "intervals": pd.DataFrame({"a": pd.cut([1, 2, 3], 2)}),
    "periods": pd.DataFrame({"a": pd.period_range("2026-01", periods=2, freq="M")}),
    "zones": pd.DataFrame({"a": pd.to_datetime(["2026-01-01"], utc=True), "b": ["x"]}),
    "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0])}),
    "lists of Arrow": pd.DataFrame({"a": pd.array([["x"]], pd.ArrowDtype(pa.list_(pa.string())))}),
    "huge": pd.DataFrame({"a": [2**70, -(10**400)]}, dtype=object),
    "wide": pd.DataFrame([["x"] * 300]),
    "no cell can be drawn": pd.DataFrame({"a": [Undrawable()]}),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_display_never_fails(kind: str) -> None:
    """What cannot be drawn our way is drawn as pandas does it, or named; nothing is raised."""
    frame = ODD[kind]
    assert drawn_text(frame)
    assert drawn_text(frame.index)
    for place in range(frame.shape[1]):
        assert drawn_text(frame.iloc[:, place])
    drawn = page(frame), styled(frame.style)
    if kind != "no cell can be drawn":
        assert all(drawn)


def test_what_is_not_drawn_our_way_is_drawn_as_pandas_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours costs the looks of a table, never the table; the text stays harmless."""
    monkeypatch.setattr(frames, "shown", lambda frame: frame.nosuch)
    monkeypatch.setattr(frames, "_safe_styler", lambda styler: styler.nosuch)
    frame = pd.DataFrame({"a": ["\x1b[31m<img src=x onerror=alert(1)>"]})
    for drawn in (drawn_text(frame), page(frame), styled(frame.style)):
        assert drawn
        assert "alert(1)" in drawn
        assert not BAD.search(drawn)
    assert not harmful(page(frame) or "<img")
    assert not harmful(styled(frame.style) or "<img")


def test_text_in_a_browser_is_to_the_left_and_can_be_read() -> None:
    """Columns of text start at the left and are not cut at 50; ids are short, numbers as before."""
    frame = pd.DataFrame(
        {
            "sender": pd.Series(["web1", "web2"], dtype="string"),
            "lag": [0.5, 1.5],
            "value": ["<td>" * 20, {"a": 1}],
            "number": pd.Series([1, None], dtype=object),
            "requestid": [ID, ID],
        }
    )
    drawn = page(frame) or ""
    left = re.findall(r'<(t[hd]) style="text-align: left">([^<]*)<', drawn)
    assert [text for tag, text in left if tag == "th"] == ["sender", "value", "requestid"]
    cells = [text for tag, text in left if tag == "td"]
    assert cells[:3] == ["web1", "&lt;td&gt;" * 20, ID[:12]]
    assert len(cells) == 6
    assert "<td>0.5</td>" in drawn
    assert frame["requestid"].iloc[0] == ID
    with pd.option_context("display.max_columns", 2, "display.max_colwidth", 20):
        assert "left" not in (page(frame) or "")
        assert "<td>" * 20 not in (page(frame) or "")


def test_a_program_s_output_is_drawn_as_lines_in_a_browser() -> None:
    """What has several lines stands as lines of one width; the first of many, none of them endless."""
    output = "Use%  Mounted\n 45%  /<b>\n" + "\x1b[2J" + "x" * 500 + "\n"
    frame = pd.DataFrame({"sender": ["a", "b"], "stdout": [output, "1\n" * 100]})
    drawn = page(frame)
    assert drawn is not None
    assert "Mounted<br> 45%&nbsp;&nbsp;/&lt;b&gt;<br>" in drawn
    assert "white-space: pre" in drawn
    assert "\\n" not in drawn
    assert "\x1b" not in drawn
    assert "x" * 161 not in drawn
    assert "... 76 lines more</td>" in drawn
    assert "\\n" in drawn_text(frame)
    with pd.option_context("display.max_colwidth", None):
        assert "x" * 500 in (page(frame) or "")


def test_only_what_is_seen_is_looked_at() -> None:
    """A long table is drawn in the time of a short one, and both of its ends are harmless."""
    size = 200_000
    frame = pd.DataFrame({"sender": [f"n{n}" for n in range(size)], "v": ["\x1b[1m"] * size})
    began = time.thread_time()
    text = repr(shown(frame))
    assert len(page(frame) or "") < 100_000
    assert time.thread_time() - began < 1.0
    assert f"{size} rows" in text
    assert not BAD.search(text)


def test_half_a_surrogate_pair_makes_no_table_fail() -> None:
    """Text that is no Unicode, which pyarrow refuses, still makes a column."""
    found = table.frame({"v": ("string", ["ok", "\ud800"])})
    assert list(found["v"]) == ["ok", "\ud800"]
    assert not BAD.search(repr(shown(found)))


class Screen:
    """Takes what a painter publishes; knows when, and from which thread."""

    def __init__(self) -> None:
        self.published: list[tuple[float, str, bool, str]] = []
        self.threads: set[int] = set()
        self.bytes = 0

    def __call__(self, data: Any, name: str, update: Any) -> None:
        """Take one drawing."""
        self.published.append((time.monotonic(), name, update, data["text/plain"]))
        self.bytes += sum(map(len, data.values()))
        self.threads.add(threading.get_ident())


def test_one_thread_draws_all_and_rests() -> None:
    """Three requests that change all the time: one thread, four drawings a second each, then none."""
    screen = Screen()
    painter = Painter(screen)
    asked = [replies([f"n{n}" for n in range(200)]) for _ in range(3)]
    for one in asked[1:]:
        painter.show(one)
    screen.threads.clear()
    began = time.monotonic()
    with painter.progress(lambda: asked[0]):
        for n in range(200):
            for one in asked:
                one.tracker.enter([word(f"n{n}")])
            time.sleep(0.01)
        for one in asked:
            one.tracker.finish()
    painter.flush()
    took = time.monotonic() - began
    assert len(screen.threads) == 1
    assert screen.threads != {threading.get_ident()}
    names = {name for _, name, _, _ in screen.published}
    assert len(names) == 3
    for name in names:
        mine = [one for one in screen.published if one[1] == name]
        assert [update for _, _, update, _ in mine] == [False] + [True] * (len(mine) - 1)
        assert len(mine) <= took * 4 + 4
        assert "200 ok" in mine[-1][3]
    painter.stop()
    assert not [one for one in threading.enumerate() if one.name == "mcshell-painter"]


def test_a_wait_that_was_given_up_leaves_no_bar() -> None:
    """The last drawing of a wait that ended too soon says so, and how to see the rest."""
    screen = Screen()
    painter = Painter(screen)
    asked = replies(["n1", "n2"], Via.QUEUE)
    with painter.progress(lambda: asked):
        asked.tracker.enter([word("n1")])
        assert wait_until(lambda: len(screen.published) > 1, 60)  # the clock in it goes on
    painter.stop()
    last = screen.published[-1][3]
    assert "1 of 2 targets" in last
    assert f"the wait is over; to see what still comes: replies {ID[:8]}" in last
    assert "<progress" in as_html(standing(asked))
    assert "<progress" not in as_html(standing(asked, given_up=True))
    asked.tracker.interrupted = True
    assert "interrupted; to see" in as_text(standing(asked, given_up=True))


def test_a_quick_call_is_not_drawn() -> None:
    """What ends within half a second leaves nothing in the cell."""
    screen = Screen()
    painter = Painter(screen)
    asked = replies(["n1"])
    with painter.progress(lambda: asked):
        asked.tracker.enter([word("n1")])
        asked.tracker.finish()
    painter.stop()
    assert screen.published == []


@pytest.mark.parametrize("size", [50_000])
def test_a_large_fleet_is_drawn_within_its_share(size: int) -> None:
    """50,000 rows coming in: the painter takes less than 5 % of a core, the notebook some bytes."""
    screen = Screen()
    painter = Painter(screen)
    asked = replies([f"web{n:05}" for n in range(size)])
    words = [word(f"web{n:05}", version="1.2") for n in range(size)]
    painter.show(asked)
    painter.cost = 0.0
    began = time.monotonic()
    step = size // 50
    for place in range(0, size, step):
        asked.tracker.enter(words[place : place + step])
        time.sleep(0.08)
    took = time.monotonic() - began
    share = painter.cost / took
    asked.tracker.finish()
    painter.flush()
    painter.stop()
    assert share < 0.05, share
    assert "50000 ok" in screen.published[-1][3]
    assert max(len(one[3]) for one in screen.published) < 2000


def test_moments_and_ids_are_short_in_a_browser() -> None:
    """A moment is in its zone, to the second unless it has thousandths; a job's id is its first letters."""
    found = table.frame(
        {
            "job": ("string", [ID, "by hand", "x"]),
            "next": (table.TIME, [1.7e9, 1.7e9 + 0.25, None]),
        }
    )
    drawn = page(found) or ""
    cells = re.findall(r"<td[^>]*>([^<]*)<", drawn)
    day = "2023-11-14 "
    assert cells == [ID[:12], f"{day}22:13:20Z", "by hand", f"{day}22:13:20.250Z", "x", ""]
    assert f'<td style="white-space: nowrap">{day}22:13:20Z</td>' in drawn
    assert found["job"][0] == ID


def test_an_analysis_has_figures_that_can_be_read() -> None:
    """In a browser bytes, times and shares have units, to the right; the DataFrame has numbers."""
    frame = pd.DataFrame(
        {"sender": ["a", "b"], "disk_bytes": [2**30, 2**30], "up_seconds": [90.0, 7200.0]}
    )
    found = frame.mco.summary("disk_bytes", "up_seconds")
    drawn = page(found) or ""
    for text in ("1.0\N{NO-BREAK SPACE}GiB", "100\N{NO-BREAK SPACE}%", "2\N{NO-BREAK SPACE}h"):
        assert f"<td>{text}</td>" in drawn
    assert found["max"].tolist() == [2**30, 7200.0]
