"""Sessions between machines: two state directories stand for two machines of one operator."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mcshell import config, stored
from mcshell.client.session.session import listing, remove
from mcshell.client.session.transfer import export_session, import_session
from mcshell.client.store.store import SessionStore
from mcshell.errors import SessionError
from mcshell.wire import destinations
from mcshell.wire.credentials import load_verifier
from tests.peers.bare import Bare
from tests.peers.processes import wait_until

from .conftest import NAMES


def bring_in(fleet, state, path, name=None, verifier=None):
    """Import a session file into a state directory."""
    settings = config.load(fleet.config)
    trusted = verifier or load_verifier(settings.pki)
    return import_session(fleet.folder / state, trusted, path, lambda *_: False, name)


def next_said(broker, client, kind):
    """The next of its kind that a client says of its session."""
    while True:
        frame = broker.get("MESSAGE")
        said = json.loads(frame.body)
        if (said["kind"], said["holder"]) == (kind, client.session.me):
            return frame


def hears(client, words):
    """Whether a client's notices say this; of what was taken over they do once it is not held."""
    return any(words in notice for notice in client.notices)


def test_a_copy_is_the_session(fleet, state):
    """What was exported is imported elsewhere with every request and reply, verified again."""
    with fleet.client(state=state, session="audit") as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        now = client.rpc("rpcutil", "get_fact", fact="os", nodes=[*NAMES, "ghost"])
    path = export_session(fleet.folder / state, "audit", fleet.folder / f"{state}.mcs")
    report = bring_in(fleet, f"{state}-b", path)
    assert (report.name, report.requests, report.refused.total()) == ("audit", 2, 0)
    with fleet.client(state=f"{state}-b", session="audit") as there:
        assert not there.notices
        assert there.replies(asked.requestid).stats["ok"] == len(NAMES)
        stats = there.replies(now.requestid).stats
        assert (stats["ok"], stats["silent"]) == (len(NAMES), 1)
    again = bring_in(fleet, f"{state}-b", path)
    assert (again.requests, again.replies) == (0, 0)


def test_imports_at_once_are_one_after_the_other(fleet, state):
    """A file that several bring in at the same moment is brought in once, and nobody removes it."""
    with fleet.client(state=state, session="audit") as client:
        asked = [client.rpc("rpcutil", "ping", via="queue", nodes=NAMES) for _ in range(10)]
        assert all(one.wait(60).stats["ok"] == len(NAMES) for one in asked)
    path = export_session(fleet.folder / state, "audit", fleet.folder / f"{state}.mcs")
    for place in (f"{state}-{number}" for number in range(6)):
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(bring_in, fleet, place, path) for _ in range(4)]
        assert sorted(one.result().requests for one in jobs) == [0, 0, 0, len(asked)]
        with fleet.client(state=place, session="audit") as there:
            assert there.replies(asked[-1].requestid).stats["ok"] == len(NAMES)


def test_an_import_that_is_killed_leaves_no_half_of_a_session(fleet, state):
    """Its rows would say that nobody has answered: nothing is there, or all of it."""
    with fleet.client(state=state, session="audit") as client:
        asked = [client.rpc("rpcutil", "ping", via="queue", nodes=NAMES) for _ in range(40)]
        assert all(one.wait(60).stats["ok"] == len(NAMES) for one in asked)
    path = export_session(fleet.folder / state, "audit", fleet.folder / f"{state}.mcs")
    place = fleet.folder / f"{state}-b"
    whole = (len(asked), 3 * len(NAMES) * len(asked))
    for _ in range(5):
        line = [sys.executable, "-m", "mcshell", "session", "import", str(path)]
        child = subprocess.Popen(line, env={**fleet.environ, "MCSHELL_STATE": str(place)})
        assert wait_until(lambda: [*place.glob("sessions/*-wal")], 60, 0.002)
        child.kill()
        child.wait()
        assert {(one.requests, one.replies) for one in listing(place)} <= {whole}
    bring_in(fleet, place.name, path)
    assert [(one.requests, one.replies) for one in listing(place)] == [whole]


def test_a_file_that_somebody_is_at_work_in_is_copied_whole(fleet, state):
    """What the last commits have left in its WAL is in what is imported, and looked back at, of it."""
    with fleet.client(state=state, session="busy") as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        assert client.session.path.with_name("busy.sqlite-wal").stat().st_size
        report = bring_in(fleet, f"{state}-b", client.session.path, "busy")
        assert (report.requests, report.refused.total()) == (1, 0)
        back = stored(client.session.path).replies(asked.requestid)
        assert back.stats["ok"] == len(NAMES)


def test_the_older_one_is_told(fleet, state):
    """Another machine attaches: the holder lets go, is told, and nothing is lost or doubled."""
    older = fleet.client(state=state, session="roaming")
    first = older.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    path = export_session(fleet.folder / state, "roaming", fleet.folder / f"{state}.mcs")
    missed = older.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="roaming") as newer:
        assert wait_until(lambda: not older.session.holds, 60)
        assert wait_until(lambda: hears(older, "was taken over by"), 60)
        assert wait_until(lambda: hears(newer, "handed it over with"), 60)
        here = newer.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        assert here.stats["ok"] == len(NAMES)
        assert newer.replies(first.requestid).stats["ok"] == len(NAMES)
        older.close()
        rest = export_session(fleet.folder / state, "roaming", fleet.folder / f"{state}-2.mcs")
    report = bring_in(fleet, f"{state}-b", rest)
    assert (report.requests, report.missing) == (1, 0)
    with fleet.client(state=f"{state}-b", session="roaming") as newer:
        for requestid in (first.requestid, missed.requestid, here.requestid):
            stats = newer.replies(requestid).stats
            assert (stats["ok"], stats["duplicate"], stats["unexpected"]) == (len(NAMES), 0, 0)


def test_a_session_that_was_only_just_named_is_handed_over(fleet, state):
    """What began as a scratch session is claimed elsewhere as soon as it has a name."""
    older = fleet.client(state=state)
    asked = older.rpc("rpcutil", "ping", via="queue", nodes=[NAMES[0], "ghost"], wait=False)
    # what came after the export, and before the claim, would be in the older one's file alone
    assert wait_until(lambda: asked.stats["ok"] == 1, 60)
    older.session.save("friday")
    path = export_session(fleet.folder / state, "friday", fleet.folder / f"{state}.mcs")
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="friday") as newer:
        assert wait_until(lambda: not older.session.holds, 60)
        assert wait_until(lambda: hears(older, "was taken over by"), 60)
        assert newer.replies(asked.requestid).wait(60).stats["ok"] == 1
    older.close()


def test_a_machine_whose_clock_is_behind_takes_over(fleet, state):
    """The holder's clock was ahead: whoever claims the session is told so, and claims it above that."""
    with fleet.client(state=state, session="roaming"):
        pass
    path = export_session(fleet.folder / state, "roaming", fleet.folder / f"{state}.mcs")
    bring_in(fleet, f"{state}-b", path)
    store = SessionStore(fleet.folder / state / "sessions" / "roaming.sqlite")
    store.set_meta("epoch", str(int((time.time() + 3600) * 1000)))
    store.close()

    with (
        fleet.client(state=state, session="roaming") as older,
        fleet.client(state=f"{state}-b", session="roaming") as newer,
    ):
        assert wait_until(lambda: not older.session.holds, 60)
        assert newer.session.holds
        replies = newer.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=60)
        assert replies.stats["ok"] == len(NAMES)


def test_a_claim_of_before_that_is_sent_again_takes_nothing(fleet, state):
    """The holder says that he has it; who had made that claim has gone, and claims nothing more."""
    topic = destinations.session(fleet.collective, "cert=alice")
    older = fleet.client(state=state, session="roaming")
    path = export_session(fleet.folder / state, "roaming", fleet.folder / f"{state}.mcs")
    bring_in(fleet, f"{state}-b", path)
    with Bare(fleet.broker).connect() as broker:
        broker.subscribe(topic, ack="auto")
        with fleet.client(state=f"{state}-b", session="roaming") as newer:
            assert wait_until(lambda: not older.session.holds, 60)
            claim = next_said(broker, newer, "takeover")
        older.close()
        with fleet.client(state=state, session="roaming") as again:
            next_said(broker, again, "takeover")
            broker.send(topic, claim.body, dict(claim.headers))
            next_said(broker, again, "holding")
            assert again.session.holds
            assert not any("taken over" in line for line in again.notices)


def test_a_session_without_a_name_goes_to_no_other_machine(fleet, state):
    """Two machines would share its queue, and nobody could tell them: export and import want a name."""
    with fleet.client(state=state) as client:
        client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        path = client.session.path
        with pytest.raises(SessionError, match="session save"):
            export_session(fleet.folder / state, path.stem, fleet.folder / f"{state}.mcs")
        with pytest.raises(SessionError, match="--session"):
            bring_in(fleet, f"{state}-b", path)


def test_what_no_session_file_is_is_named_as_it_was_given(fleet, state, tmp_path):
    """Import looks at a copy; the line that refuses it says which file was meant."""
    path = tmp_path / "friday.mcs"
    path.write_text("no session\n")
    with pytest.raises(SessionError, match=f"^{path} "):
        bring_in(fleet, state, path)


def test_a_session_that_somebody_has_open_is_not_dropped(fleet, state):
    """Though another machine holds its queue: what is asked in it from then on would be lost."""
    with fleet.client(state=state, session="roaming") as older:
        path = export_session(fleet.folder / state, "roaming", fleet.folder / f"{state}.mcs")
        bring_in(fleet, f"{state}-b", path)
        with fleet.client(state=f"{state}-b", session="roaming"):
            assert wait_until(lambda: not older.session.holds, 60)
            with pytest.raises(SessionError, match="open in another process"):
                remove(fleet.folder / state, "roaming")
    remove(fleet.folder / state, "roaming")


def test_a_session_of_another_is_read_and_not_attached(fleet, state):
    """Import verifies it, its replies can be read, but its queue is its caller's."""
    with fleet.client(state=state, session="hers") as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    path = export_session(fleet.folder / state, "hers", fleet.folder / f"{state}.mcs")
    fleet._enrol("bob", "operator")
    bring_in(fleet, f"{state}-b", path)
    with fleet.client("bob", state=f"{state}-b") as bob:
        assert bob.replies(asked.requestid).stats["ok"] == len(NAMES)
    with pytest.raises(SessionError, match="cert=alice"):
        fleet.client("bob", state=f"{state}-b", session="hers")


def test_a_changed_reply_is_refused(fleet, state):
    """A file in which somebody changed a stored reply loses that reply, and says why."""
    with fleet.client(state=state, session="forged") as client:
        client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
    path = export_session(fleet.folder / state, "forged", fleet.folder / f"{state}.mcs")
    with sqlite3.connect(path) as db:
        ((body,),) = db.execute("SELECT body FROM replies WHERE sender='n1' AND sequence=2")
        forged = bytes(body).replace(b'"OK"', b'"KO"')
        assert forged != bytes(body)
        db.execute("UPDATE replies SET body=? WHERE sender='n1' AND sequence=2", (forged,))
    db.close()
    report = bring_in(fleet, f"{state}-b", path)
    assert dict(report.refused) == {"reply: bad_signature": 1}
    with fleet.client(state=f"{state}-b", session="forged") as client:
        stats = client.replies().stats
        assert (stats["ok"], stats["ok"] + stats["received"] + stats["running"]) == (2, 3)


def test_a_session_in_use_is_exported_too(fleet, state):
    """The copy is consistent, and knows that the session is held."""
    with fleet.client(state=state, session="busy") as client:
        client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        path = export_session(fleet.folder / state, "busy", fleet.folder / f"{state}.mcs")
        with pytest.raises(SessionError, match="there already"):
            export_session(fleet.folder / state, "busy", path)
    bring_in(fleet, f"{state}-b", path)
    (info,) = listing(fleet.folder / f"{state}-b")
    assert (info.name, info.requests, info.open, info.holder) == ("busy", 1, 0, "")


def test_what_is_not_there_is_named(fleet, state):
    """Neither an unknown session nor a missing file ends in a traceback."""
    with pytest.raises(SessionError, match="no session 'nope'"):
        export_session(fleet.folder / state, "nope", fleet.folder / "x.mcs")
    with pytest.raises(SessionError, match="no such file"):
        bring_in(fleet, state, fleet.folder / "none.mcs")
