"""How replies of the old wire are kept: every value comes back as it was."""

from __future__ import annotations

import math

from hypothesis import given

from mcshell.client.store.records import data_of, kept_reply
from mcshell.message import State
from mcshell.wire.mcollective import stored as kept
from mcshell.wire.mcollective.envelope import ReplyEnvelope
from mcshell.wire.mcollective.messages import plain, read_reply
from mcshell.wire.mcollective.values import RubySymbol
from tests.mcollective.strategies import VALUES


def envelope_of(data: object) -> ReplyEnvelope:
    """A reply of rpcutil's with these outputs."""
    body = {RubySymbol("statuscode"): 0, RubySymbol("statusmsg"): "OK", RubySymbol("data"): data}
    return ReplyEnvelope(body, "node0001", "a" * 32, "rpcutil", 1_795_486_404)


@given(VALUES)
def test_every_value_is_kept(value: object) -> None:
    """What a reply said is what its kept bytes say."""
    envelope = envelope_of({RubySymbol("value"): value})
    reply = kept_reply(kept.dump(envelope), "ssl")
    assert repr(reply) == repr(read_reply(envelope, "ssl"))
    assert repr(data_of(kept.dump(envelope))["value"]) == repr(plain(value))


def test_what_json_cannot_hold() -> None:
    """Long integers, NaN and bytes are kept, and the trust is that of the plugin."""
    envelope = envelope_of({RubySymbol("value"): [10**40, math.nan, b"\xff\0"]})
    reply = kept_reply(kept.dump(envelope), "aes")
    assert (reply.state, reply.trust) == (State.OK, "aes")
    long, odd, raw = reply.data["value"]
    assert (long, raw) == (10**40, b"\xff\0")
    assert math.isnan(odd)
