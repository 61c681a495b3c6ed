"""The ledger as a pure value: properties over any order of replies, judgements and strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.store.ledger import (
    FOUND_LATE,
    Ledger,
    LedgerEntry,
    judge,
    step,
    two_machines,
)
from mcshell.message import Reply, ReplySequence, State

FINALS = (State.OK, State.FAILED, State.DENIED, State.INTERRUPTED)
NAMES = ("a", "b", "c")


def word(sender: str, state: State, attempt: int = 0) -> Reply:
    """A node's reply of that state."""
    kind = {State.RECEIVED: ReplySequence.RECEIVED, State.RUNNING: ReplySequence.RUNNING}
    number = kind.get(state, ReplySequence.FINAL) + attempt * ReplySequence.STEP
    code = None if state in kind else int(state is not State.OK)
    return Reply(
        requestid="0" * 32,
        sender=sender,
        sequence=number,
        statuscode=code,
        statusmsg=state.value,
        data={},
        created=0.0,
        state=state,
    )


WORDS = st.builds(
    word,
    st.sampled_from([*NAMES, "stranger"]),
    st.sampled_from([State.RECEIVED, State.RUNNING, *FINALS]),
    st.integers(0, 2),
)
EVENTS = st.lists(st.one_of(WORDS, st.sampled_from(NAMES)), max_size=30)


def hear(ledger: Ledger, reply: Reply, at: float) -> None:
    """Enter what a word makes of its sender's entry, as the session's file does."""
    entry = ledger.entry(reply.sender) or LedgerEntry(sender=reply.sender, unexpected=True)
    ledger.enter(step(entry, reply, at))


def play(ledger: Ledger, events: list[Reply | str]) -> None:
    """Enter replies, and judge where an event is only a name."""
    for at, event in enumerate(events):
        if isinstance(event, str):
            ledger.judge([event], State.SILENT, "the wait is over")
        else:
            hear(ledger, event, float(at))


@given(EVENTS)
def test_every_target_is_in_exactly_one_state(events):
    """Whatever happens, the states' counts add up to the number of targets."""
    ledger = Ledger(NAMES)
    play(ledger, events)
    stats = ledger.stats().as_dict()
    assert sum(stats[state.value] for state in State) == stats["targets"] == len(NAMES)


@given(EVENTS)
def test_the_first_final_word_wins(events):
    """A target's outcome is its first final reply; any further one marks it as a duplicate."""
    ledger = Ledger(NAMES)
    play(ledger, events)
    for name, entry in ledger.targets.items():
        finals = [e for e in events if isinstance(e, Reply) and e.sender == name and e.final]
        assert entry.reply is (finals[0] if finals else None)
        assert entry.state.final == bool(finals)
        assert entry.duplicate == (len(finals) > 1)


@given(EVENTS)
def test_a_judgement_never_outlives_a_word(events):
    """Silent is only who never said anything after or before the judgement."""
    ledger = Ledger(NAMES)
    play(ledger, events)
    for name, entry in ledger.targets.items():
        said = any(isinstance(e, Reply) and e.sender == name for e in events)
        assert (entry.state is State.SILENT) == (name in events and not said)


@given(EVENTS)
def test_late_means_a_word_after_the_judgement(events):
    """A target is late exactly when a reply came after it had been judged."""
    ledger = Ledger(NAMES)
    play(ledger, events)
    for name, entry in ledger.targets.items():
        own = [e for e in events if e == name or (isinstance(e, Reply) and e.sender == name)]
        judged_first = bool(own) and own[0] == name and any(isinstance(e, Reply) for e in own)
        assert entry.late == judged_first


@given(EVENTS)
def test_a_stranger_is_never_counted_for_a_target(events):
    """An unexpected sender has a row of its own and changes no target."""
    ledger, without = Ledger(NAMES), Ledger(NAMES)
    play(ledger, events)
    kept = [e if isinstance(e, str) or e.sender != "stranger" else None for e in events]
    for at, event in enumerate(kept):
        if isinstance(event, str):
            without.judge([event], State.SILENT, "the wait is over")
        elif event is not None:
            hear(without, event, float(at))
    assert ledger.targets == without.targets
    assert all(entry.unexpected for entry in ledger.strangers.values())
    assert ledger.stats().targets == len(NAMES)


@given(EVENTS)
def test_closed_and_outstanding_agree_with_the_entries(events):
    """The running counts that a waiting call looks at are those of the entries."""
    ledger = Ledger(NAMES)
    ledger.sent(NAMES[:2], 0.0)
    play(ledger, events)
    assert ledger.closed == all(entry.state.closed for entry in ledger.targets.values())
    sent = [ledger.targets[name] for name in NAMES[:2]]
    assert ledger.outstanding == sum(not entry.state.closed for entry in sent)


@given(EVENTS)
def test_redelivery_of_everything_changes_no_outcome(events):
    """Replies that the broker hands out twice leave every outcome as it was."""
    once, twice = Ledger(NAMES), Ledger(NAMES)
    play(once, events)
    play(twice, [e for e in events for _ in range(1 if isinstance(e, str) else 2)])
    for name in NAMES:
        first, second = once.targets[name], twice.targets[name]
        assert (first.state, first.reply, first.late) == (second.state, second.reply, second.late)


def test_a_later_attempt_is_counted():
    """A reply of the second attempt says so in the entry."""
    entry = step(LedgerEntry(sender="a"), word("a", State.RUNNING, attempt=1), 1.0)
    assert (entry.attempt, entry.state) == (2, State.RUNNING)


def test_received_does_not_undo_running():
    """Replies that overtake each other never take a state back."""
    entry = step(
        step(LedgerEntry(sender="a"), word("a", State.RUNNING), 1.0), word("a", State.RECEIVED), 2.0
    )
    assert (entry.state, entry.received, entry.running) == (State.RUNNING, 2.0, 1.0)


def test_received_does_not_undo_an_expiry_that_the_node_has_said():
    """Sent again after a break, it comes behind the last reply: nothing more would close the row."""
    ledger = Ledger(["n1"])
    for state in (State.EXPIRED, State.RECEIVED, State.RUNNING):
        hear(ledger, word("n1", state), 2.0)
    assert ledger.targets["n1"].state is State.EXPIRED
    assert ledger.closed


def test_lag_is_from_our_send_to_the_final_word():
    """The lag is in seconds, and there is none before the final reply."""
    entry = LedgerEntry(sender="a", sent=10.0)
    assert entry.lag is None
    assert step(entry, word("a", State.OK), 12.5).lag == 2.5


def test_only_pending_can_be_judged():
    """Who is running is not silent, however long it takes."""
    running = step(LedgerEntry(sender="a"), word("a", State.RUNNING), 1.0)
    assert judge(running, State.SILENT, "too long") is running


@given(
    st.sampled_from([State.PENDING, State.RECEIVED, State.RUNNING]),
    st.sampled_from(FINALS),
    st.sampled_from(FINALS),
)
def test_what_a_node_says_of_its_end_stands_until_its_last_reply(before, said, replied):
    """Whoever has no last reply takes it; the reply itself replaces it, late, and is no duplicate."""
    ended = judge(LedgerEntry(sender="a", state=before, sent=1.0), said, "its reply is lost")
    assert (ended.state, ended.reason, ended.done) == (said, "its reply is lost", None)
    assert judge(ended, State.SILENT, "too late") == ended
    heard = step(ended, word("a", replied), 5.0)
    assert (heard.state, heard.late, heard.duplicate, heard.done) == (replied, True, False, 5.0)
    assert judge(heard, said, "its reply is lost") == heard


@given(st.lists(WORDS, max_size=20))
def test_who_is_found_late_is_a_target_like_any_other(words):
    """It is counted once, in one state, keeps its reason, and is waited for until it is closed."""
    ledger = Ledger(NAMES)
    for at, reply in enumerate(words):
        entry = ledger.entry(reply.sender) or LedgerEntry(sender=reply.sender, reason=FOUND_LATE)
        ledger.enter(step(entry, reply, float(at)))
    late = {reply.sender for reply in words} - set(NAMES)
    assert set(ledger.targets) == {*NAMES, *late}
    assert not ledger.strangers
    assert {one.sender for one in ledger if one.found_late} == late
    assert sum(ledger.stats().states.values()) == ledger.stats().targets == len(ledger.targets)
    assert ledger.outstanding == sum(not ledger.targets[name].state.closed for name in late)
    assert ledger.closed == all(one.state.closed for one in ledger)


@pytest.mark.parametrize(
    ("machines", "line"),
    [
        ([], ""),
        (["", "m1"], ""),
        (["m1", "m1"], ""),
        (["m2", "m1"], "duplicate: 2 machines answer under this name: m1, m2"),
    ],
)
def test_several_machines_under_one_name_are_named(machines, line):
    """Two are a line with both; one is none, nor is a machine that does not say which it is."""
    assert two_machines(machines) == line


@pytest.mark.parametrize(
    ("state", "said", "done", "disputed"),
    [
        (State.EXPIRED, "expired 3 s ago", 99.0, True),
        (State.EXPIRED, "expired 3 s ago", 100.0, False),
        (State.EXPIRED, "its turn came too late", 99.0, False),
        (State.FAILED, "expired 3 s ago", 99.0, False),
        (State.EXPIRED, "expired 3 s ago", None, False),
    ],
)
def test_a_node_that_expires_what_is_not_over_disagrees_about_the_time(state, said, done, disputed):
    """Only its word that the time was over, before it is over here, says so of the clocks."""
    reply = replace(word("a", State.FAILED), state=state, statusmsg=said)
    assert LedgerEntry(sender="a", done=done, reply=reply).disputes(100.0) is disputed
    assert not LedgerEntry(sender="a", done=done).disputes(100.0)


def test_what_never_went_out_says_so():
    """Such a target is told from one that keeps silent, by its reason."""
    assert LedgerEntry(sender="a", reason="not sent: stopped").unsent
    assert not LedgerEntry(sender="a", reason="stopped waiting").unsent


def test_a_pool_s_worker_is_named_and_a_judgement_s_reason_goes_with_it():
    """A reply says who took the request of a pool, and nothing is left of the verdict before it."""
    judged = judge(LedgerEntry(sender="pool:sms", sent=1.0), State.EXPIRED, "nobody took it")
    for state in (State.RECEIVED, State.RUNNING, State.OK):
        heard = step(judged, word("w1", state, attempt=1), 5.0)
        assert (heard.sender, heard.worker, heard.state) == ("pool:sms", "w1", state)
        assert (heard.reason, heard.late, heard.attempt) == ("", True, 2)
    assert step(LedgerEntry(sender="a"), word("a", State.OK), 5.0).worker == ""


def test_the_first_of_each_time_stays():
    """A second `received` or `running` moves no time; an attempt never goes back."""
    entry = LedgerEntry(sender="a")
    for at, reply in enumerate(
        [word("a", State.RECEIVED), word("a", State.RUNNING, 1), word("a", State.RUNNING, 1)], 1
    ):
        entry = step(entry, reply, float(at))
    entry = step(entry, word("a", State.RECEIVED), 9.0)
    assert (entry.received, entry.running, entry.attempt) == (1.0, 2.0, 2)


def test_the_counts_are_those_of_the_document():
    """Every state, the oddities and the seconds, as `--json` shows them."""
    ledger = Ledger(["a", "b", "c"])
    ledger.sent(["a", "b"], 1.0)
    assert ledger.pending() == ["a", "b", "c"]
    ledger.judge(["a"], State.SILENT, "no reply")
    hear(ledger, word("a", State.OK), 2.0)
    hear(ledger, word("a", State.OK), 3.0)
    hear(ledger, word("stranger", State.OK), 3.0)
    assert ledger.pending() == ["b", "c"]
    document = ledger.stats(1.23456).as_dict()
    assert {name: value for name, value in document.items() if value} == {
        "targets": 3,
        "ok": 1,
        "pending": 2,
        "late": 1,
        "duplicate": 1,
        "unexpected": 1,
        "elapsed": 1.235,
    }
    assert set(document) >= {state.value for state in State}
    assert [entry.sender for entry in ledger] == ["a", "b", "c", "stranger"]
    assert ledger.entry("stranger").unexpected
    assert ledger.entry("nobody") is None
    ledger.note(["b"], "its broker is away")
    assert ledger.entry("b").reason == "its broker is away"


def test_a_kept_entry_takes_nothing_back():
    """When it was sent, that it was judged, and what it said stay, where the file has them not yet."""
    ledger = Ledger(["a", "b"])
    ledger.sent(["a"], 1.0)
    ledger.judge(["a"], State.SILENT, "no reply")
    reply = word("a", State.OK)
    heard = step(LedgerEntry(sender="a"), reply, 5.0)
    ledger.enter(heard)
    kept = ledger.entry("a")
    assert (kept.sent, kept.late, kept.reply) == (1.0, True, reply)
    ledger.enter(heard._replace(reply=None, duplicate=True))
    assert (ledger.entry("a").reply, ledger.entry("a").duplicate) == (reply, True)
    ledger.enter(LedgerEntry(sender="b", sent=7.0))
    assert (ledger.entry("b").sent, ledger.entry("b").late) == (7.0, False)


def test_a_ledger_is_taken_up_where_it_was_left():
    """Targets, strangers and who was found late come back as they were, and so do the counts."""
    entries = [
        LedgerEntry(sender="a", sent=1.0, state=State.OK, done=2.0),
        LedgerEntry(sender="b", sent=1.0),
        LedgerEntry(sender="c", state=State.RUNNING, reason=FOUND_LATE),
        LedgerEntry(sender="d", state=State.OK, done=2.0, unexpected=True),
    ]
    ledger = Ledger.of(entries)
    assert list(ledger) == entries
    assert (set(ledger.targets), set(ledger.strangers)) == ({"a", "b", "c"}, {"d"})
    assert (ledger.outstanding, ledger.closed) == (2, False)
    ledger.judge(["b"], State.SILENT, "no reply")
    hear(ledger, word("c", State.OK), 3.0)
    assert (ledger.outstanding, ledger.closed) == (0, True)


def test_a_worker_that_had_a_copy():
    """What a pool's worker has done counts, whether the other's `interrupted` comes first or second."""
    empty = LedgerEntry(sender="pool:p")
    gave_up, did = word("n1", State.INTERRUPTED), word("n2", State.OK)
    for order in ((gave_up, did), (did, gave_up)):
        entry = step(step(empty, order[0], 1.0), order[1], 2.0)
        assert (entry.state, entry.worker, entry.duplicate) == (State.OK, "n2", False)
    twice = step(step(empty, did, 1.0), word("n1", State.OK), 2.0)
    assert (twice.worker, twice.duplicate) == ("n2", True)
    same = step(step(empty, gave_up, 1.0), word("n1", State.OK), 2.0)
    assert (same.state, same.duplicate) == (State.INTERRUPTED, True)
