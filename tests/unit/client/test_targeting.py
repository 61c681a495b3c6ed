"""Shares, samples, batches and the choice of the way."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell import schedule
from mcshell.client.arguments import seconds_of
from mcshell.client.discovery.targeting import (
    RequestOptions,
    Targeting,
    batches,
    choose,
    names_of,
    plain_names,
    route,
    share,
    targeting_of,
)
from mcshell.commands.grammar.values import duration
from mcshell.errors import UsageError
from mcshell.message import Filter, Via

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, min_size=1, max_size=40)


@given(st.integers(1, 100), st.integers(0, 1000))
def test_a_percentage_is_rounded_up(percent, total):
    """10% of 11 nodes are 2: a share never rounds down to nobody."""
    if total:
        count = share(f"{percent}%", total, "--limit")
        assert (count - 1) * 100 < total * percent <= count * 100


@pytest.mark.parametrize("text", ["0", "ten", "-1", "5.5", "%", ""])
def test_a_share_that_is_none_says_what_is_meant(text):
    """One line names the option and both forms."""
    with pytest.raises(UsageError, match="--batch"):
        share(text, 10, "--batch")


@given(NAMES, st.integers(1, 50), st.integers(0, 5))
def test_a_seed_picks_the_same_nodes_again(names, limit, seed):
    """The same limit and seed give the same sample, in the order of the names."""
    targeting = Targeting(limit=str(limit), limit_seed=seed)
    picked = choose(names, targeting)
    assert picked == choose(names, targeting)
    assert len(picked) == min(limit, len(names))
    assert picked == [name for name in names if name in picked]


@given(NAMES, st.integers(1, 50))
def test_batches_cover_every_target_once(names, size):
    """Cut into batches and joined again the targets are the same, none larger than asked."""
    cut = list(batches(names, RequestOptions(agent="a", action="b", batch=str(size))))
    assert [name for batch in cut for name in batch] == names
    assert all(len(batch) <= size for batch in cut)


@given(NAMES, st.integers(1, 50), st.none() | st.integers(1, 50))
def test_a_canary_goes_first(names, canary, size):
    """So many of them, or all there are, alone in the first batch; then the rest as ever."""
    batch = None if size is None else str(size)
    first, *rest = batches(
        names, RequestOptions(agent="a", action="b", batch=batch, canary=str(canary))
    )
    assert first == names[:canary]
    assert [name for batch in rest for name in batch] == names[canary:]
    assert all(size is None or len(batch) <= size for batch in rest)


@pytest.mark.parametrize("via", [Via.BROADCAST, Via.QUEUE, Via.POOL])
@pytest.mark.parametrize("parts", [{"batch": "5"}, {"canary": "1"}])
def test_only_direct_requests_go_in_parts(via, parts):
    """What hands everything over at once refuses a batch or a canary rather than ignores it."""
    with pytest.raises(UsageError, match="--canary"):
        route(RequestOptions(agent="a", action="b", via=via, **parts), 5)


@pytest.mark.parametrize(
    "targeting",
    [
        Targeting(filter=Filter(identity=("web1",))),
        Targeting(filter=Filter(cls=("web",))),
        Targeting(nodes=("web1",)),
        Targeting(limit="1"),
        Targeting(one=True),
    ],
)
def test_who_of_a_pool_is_asked_cannot_be_chosen(targeting):
    """Who is named would be passed over in silence: any member takes it, so it is refused."""
    with pytest.raises(UsageError, match="--via pool is for whichever node"):
        route(RequestOptions(agent="a", action="b", via=Via.POOL, targeting=targeting), 0)
    elsewhere = Targeting(collective="eu", known=False)
    asked = RequestOptions(agent="a", action="b", via=Via.POOL, targeting=elsewhere)
    assert route(asked, 0) is Via.POOL


@pytest.mark.parametrize("via", [None, Via.BROADCAST, Via.DIRECT, Via.QUEUE])
def test_a_pool_that_is_named_is_asked_over_the_pool(via):
    """In Python as on the line: else every node that matches would be asked."""
    with pytest.raises(UsageError, match="--pool goes with --via pool"):
        route(RequestOptions(agent="a", action="b", via=via, pool="sms"), 5)


@pytest.mark.parametrize(
    ("ask", "count", "way"),
    [
        (RequestOptions(agent="a", action="b", canary="1"), 500, Via.DIRECT),
        (RequestOptions(agent="a", action="b"), 10, Via.DIRECT),
        (RequestOptions(agent="a", action="b"), 11, Via.BROADCAST),
        (RequestOptions(agent="a", action="b", batch="5"), 500, Via.DIRECT),
        (RequestOptions(agent="a", action="b", targeting=Targeting(limit="50")), 50, Via.DIRECT),
        (RequestOptions(agent="a", action="b", targeting=Targeting(nodes=("x",))), 500, Via.DIRECT),
        (
            RequestOptions(
                agent="a", action="b", targeting=Targeting(filter=Filter(identity=("x",)))
            ),
            1,
            Via.DIRECT,
        ),
        (RequestOptions(agent="a", action="b", via=Via.BROADCAST), 3, Via.BROADCAST),
        (RequestOptions(agent="a", action="b", via=Via.DIRECT), 5000, Via.DIRECT),
    ],
)
def test_the_way_fits_the_targets(ask, count, way):
    """Few or chosen nodes are asked directly, many by one broadcast, unless told otherwise."""
    assert route(ask, count) is way


@pytest.mark.parametrize("targeting", [Targeting(limit="5"), Targeting(one=True)])
def test_a_broadcast_cannot_be_limited(targeting):
    """It reaches whoever matches, so a limit beside it is refused rather than ignored."""
    with pytest.raises(UsageError, match="broadcast"):
        route(RequestOptions(agent="a", action="b", targeting=targeting, via=Via.BROADCAST), 5)


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        (Filter(identity=("web1", "web2")), ("web1", "web2")),
        (Filter(identity=("web[1-3]",)), ("web[1-3]",)),
        (Filter(identity=("web1", "/^db/")), None),
        (Filter(identity=("web1",), fact=("os=Debian",)), None),
        (Filter(), None),
    ],
)
def test_plain_names_need_no_discovery(filter_, names):
    """A filter of nothing but names is a list of targets."""
    assert plain_names(filter_) == names


@pytest.mark.parametrize("nodes", [42, 4.2, [1], object, ["web1", None]])
def test_nodes_that_are_no_names_are_refused(nodes):
    """What is neither names nor a table of them is one line that says what is meant."""
    with pytest.raises(UsageError, match="nodes: "):
        names_of(nodes)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((None, None), (5, 5.0), ("1h30m", 5400.0), (np.int64(3), 3.0), (np.float32(1.5), 1.5)),
        *((timedelta(minutes=2), 120.0), (pd.Timedelta("1h"), 3600.0), (Fraction(1, 2), 0.5)),
    ],
)
def test_a_duration_is_what_a_notebook_has(value: Any, seconds: float | None) -> None:
    """Numbers of numpy, timedeltas of Python and pandas are durations as plain numbers are."""
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.True_, np.float64("nan"), pd.NaT, pd.NA, timedelta(seconds=-1), np.int64(-1)),
        *([1], b"5s", np.array([1.0]), float("inf"), 10**400, datetime(2026, 11, 28, tzinfo=UTC)),
    ],
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    """One line, whatever it is."""
    with pytest.raises(UsageError, match="duration"):
        seconds_of(value)


@pytest.mark.parametrize(
    "value", [{"role": "web"}, 5, ["role=web", None], b"role=web", pd.DataFrame({"role": ["web"]})]
)
@pytest.mark.parametrize("name", ["where", "facts", "classes", "agents", "identities"])
def test_what_is_no_text_is_no_filter(name: str, value: Any) -> None:
    """A mapping's keys, or a table's, are no filter of their own: one line says what is meant."""
    with pytest.raises(UsageError, match=f"^{name} .*: text is meant, such as "):
        targeting_of(**{name: value})


@pytest.mark.parametrize("value", ["no", "false", None, 2, [], pd.NA])
@pytest.mark.parametrize("name", ["known", "fresh", "one"])
def test_what_is_neither_true_nor_false_is_no_flag(name: str, value: Any) -> None:
    """Text that says no would be true: one line says what is meant."""
    with pytest.raises(UsageError, match=f"^{name} .*: True or False is meant$"):
        targeting_of(**{name: value})
    assert targeting_of(**{name: np.True_}) != targeting_of(**{name: False})


def test_several_filters_all_hold() -> None:
    """A list of texts is as many filters, wherever one is taken."""
    found = targeting_of(where=["role=web", "n=1"], facts=pd.Series(["a=b"]), classes="x").filter
    assert (found.compound, found.fact, found.cls) == (
        ("role=web", "n=1"),
        ("a=b",),
        ("x",),
    )


@pytest.mark.parametrize(
    "read",
    [duration, lambda text: schedule.parse_at(f"+{text}", 0.0, UTC)],
)
def test_a_duration_that_no_timer_can_wait_for_is_refused(read: Callable[[str], object]) -> None:
    """In a line and as a time from now: in a sentence, before a thread breaks with it."""
    with pytest.raises(
        (UsageError, argparse.ArgumentTypeError), match="'99999999d' is longer than 200 years"
    ):
        read("99999999d")
