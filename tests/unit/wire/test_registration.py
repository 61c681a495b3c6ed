"""A registration: what is sealed opens as it was, and nothing else opens at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import AgentError, Reason, Rejected
from mcshell.node.registration import next_turn
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits, sealed
from mcshell.wire.documents.registration import Registration, open_registration, seal_registration
from mcshell.wire.documents.signatures import Signer, Verifier

NOW = 1_800_000_000.0


class Party:
    """A CA, an operator and two nodes, at a time of the tests' own."""

    def __init__(self, folder):
        self.authority = Authority.init(folder / "ca")
        ages = {"not_before": NOW - 86_400, "lifetime": 30 * 86_400.0}
        self.alice = Signer.from_pem(*self.authority.issue_pem("alice", "operator", **ages))
        self.web1 = Signer.from_pem(*self.authority.issue_pem("web1", "node", **ages))
        self.web2 = Signer.from_pem(*self.authority.issue_pem("web2", "node", **ages))
        self.verifier = Verifier(self.authority.ca_pem)

    def open(self, message, now=NOW, **headers):
        """Open it as a listener would."""
        given = {**message.headers, **headers}
        return open_registration(message.body, given, self.verifier, BodyLimits(), now)


@pytest.fixture(scope="module")
def party(tmp_path_factory):
    """The participants, made once."""
    return Party(tmp_path_factory.mktemp("party"))


def registration(**other):
    """What web1 says of itself."""
    fields = {
        "identity": "web1",
        "created": NOW,
        "interval": 300.0,
        "facts": {"os": {"name": "Debian"}, "slots": 2},
        "classes": ("base",),
        "agents": ("rpcutil",),
        "collectives": ("mcs", "eu"),
        "pools": ("sms",),
        "version": "1.0",
        "started": NOW - 10,
        "crl": 7,
    }
    return Registration(**{**fields, **other})


@pytest.mark.parametrize("crl", [None, 7])
def test_it_opens_as_it_was_sealed(party, crl):
    """Every field comes back, also the absence of a revocation list."""
    wanted = registration(crl=crl)
    assert party.open(seal_registration(wanted, party.web1)) == wanted


@pytest.mark.parametrize(
    ("signer", "reason"), [("alice", Reason.WRONG_KIND), ("web2", Reason.WRONG_SENDER)]
)
def test_only_the_node_itself_may_say_it(party, signer, reason):
    """An operator's signature, or another node's, vouches for nothing here."""
    with pytest.raises(Rejected) as refused:
        party.open(seal_registration(registration(), getattr(party, signer)))
    assert refused.value.reason is reason


@pytest.mark.parametrize("header", [SIGNATURE, CERTIFICATE])
def test_unsigned_is_refused(party, header):
    """Without a signature or a certificate it says nothing."""
    with pytest.raises(Rejected) as refused:
        party.open(seal_registration(registration(), party.web1), **{header: ""})
    assert refused.value.reason is Reason.UNSIGNED


def test_a_changed_fact_is_refused(party):
    """The signature holds for the bytes as they are."""
    message = seal_registration(registration(), party.web1)
    changed = type(message)(message.body.replace(b"Debian", b"Ubuntu"), message.headers)
    with pytest.raises(Rejected) as refused:
        party.open(changed)
    assert refused.value.reason is Reason.BAD_SIGNATURE


def test_a_revoked_node_is_refused(party, tmp_path):
    """A revocation list that the CA has signed counts for registrations too."""
    fresh = Party(tmp_path)
    fresh.authority.revoke("web1")
    fresh.verifier.update_crl(fresh.authority.crl_pem)
    with pytest.raises(Rejected) as refused:
        fresh.open(seal_registration(registration(), fresh.web1))
    assert refused.value.reason is Reason.REVOKED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", ""),
        ("created", "now"),
        ("interval", -1),
        ("facts", []),
        ("classes", "base"),
        ("pools", [1]),
        ("crl", -1),
        ("started", True),
    ],
)
def test_a_field_of_the_wrong_kind_is_malformed(party, field, value):
    """Whatever is signed, a field is of its type or the document is refused."""
    document = json.loads(seal_registration(registration(), party.web1).body)
    document[field] = value
    with pytest.raises(Rejected) as refused:
        party.open(sealed(json.dumps(document).encode(), party.web1))
    assert refused.value.reason is Reason.MALFORMED


def test_a_fact_that_json_cannot_carry_is_an_error_of_the_agent(party):
    """The node hears of it before anything is sent."""
    with pytest.raises(AgentError):
        seal_registration(registration(facts={"x": object()}), party.web1)


def test_it_counts_as_of_when_it_was_written(party):
    """A replay makes nobody seen again, and a fast clock makes nobody seen in the future."""
    assert registration(created=NOW - 60).seen(NOW) == NOW - 60
    assert registration(created=NOW + 60).seen(NOW) == NOW


@given(st.text(min_size=1), st.floats(0.1, 1e5), st.floats(0, 2e9))
def test_a_turn_comes_within_one_interval(identity, interval, now):
    """The next turn lies ahead, no further than an interval."""
    turn = next_turn(identity, interval, now)
    assert now - 1e-3 <= turn <= now + interval * (1 + 1e-6) + 1e-3


def test_the_turns_of_a_fleet_are_spread():
    """A thousand nodes that start together take their turns all over the interval."""
    offsets = [next_turn(f"web{number}", 300.0, 0.0) for number in range(1000)]
    tenths = [sum(step <= offset / 30 < step + 1 for offset in offsets) for step in range(10)]
    assert min(tenths) > 60
