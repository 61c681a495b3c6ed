"""What many try who would have something done without the approvals that it takes, and one who has them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import MCShellError, Rejected, UsageError
from mcshell.message import Approval, Filter, Proposal, Request, Via, new_nonce
from mcshell.node.verdicts import Admitted, Refusal
from mcshell.wire.documents.approval import seal_approval, seal_proposal
from mcshell.wire.documents.envelope import digest_of, seal_request
from tests.unit.node.admission_bench import AdmissionBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.wire.documents.envelope import SealedMessage

OPERATORS = ("alice", "bob", "carol", "dave", "mallory")
POLICY = "policy default deny\nallow\t*\t*\t*\t*\n"
APPROVALS = """\
cert=dave\tonce\t0
*\tonce\t2\tapprovers
break-glass\tcert=carol\tonce
"""


class Scene(AdmissionBench):
    """A node where two of bob, carol and dave have to approve what alice would do, and she has proposed it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, policy=POLICY, operators=OPERATORS)
        self.write("mark.approvals", APPROVALS)
        self.write("groups", "approvers cert=bob cert=carol cert=dave cert=alice\n")
        self.digest = ""

    def write(self, name: str, text: str) -> None:
        """Put a file into the policies, and have it read at once."""
        (self.folder / "policies" / name).write_text(text)
        self.controller._authorisation.reread(self.folder / "policies")

    def proposal(self, **more: Any) -> Proposal:
        """What alice proposes."""
        now = time.time()
        action = self.served.get("mark").ddl.action("once")  # type: ignore[union-attr] # it is there
        fields = {
            "author": "cert=alice",
            "collective": "mcs",
            "agent": "mark",
            "action": "once",
            "data": {"file": "marks"},
            "nodes": ("web1",),
            "filter": Filter(fact=("os=Debian",)),
            "schema": action.digest,
            "created": now - 1,
            "expires": now + 60,
            "nonce": new_nonce(),
        } | more
        return Proposal(**fields)

    def propose(self, by: str = "alice", at: float = 0.0, **more: Any) -> str:
        """She signs it, and somebody brings it."""
        sealed = seal_proposal(self.proposal(**more), self.signers[by])
        self.digest = self.bring(self.approvals.bring_proposal, sealed, at)
        return self.digest

    def approve(self, *names: str, digest: str = "", created: float = 0.0) -> None:
        """These sign that they approve it."""
        for name in names:
            said = Approval(
                author=f"cert={name}",
                proposal=digest or self.digest,
                created=created or time.time(),
            )
            self.bring(self.approvals.bring_approval, seal_approval(said, self.signers[name]))

    def bring(self, take: Callable[..., Any], sealed: SealedMessage, at: float = 0.0) -> Any:
        """A signed document comes to the node."""
        return take(sealed, at or time.time())

    def approved(self, **more: Any) -> None:
        """It is proposed, and two have approved it."""
        self.propose(**more)
        self.approve("bob", "carol")

    def ask(self, caller: str = "alice", **more: Any) -> Request:
        """The request that it is about."""
        return self.direct(self.request("once", caller=caller, **more))

    def begin(self, request: Request | None = None) -> Any:
        """What the node says to a request that comes directly."""
        ((_, verdict),) = self.take(self.ask() if request is None else request)
        return verdict

    def other(self, number: str, column: str, value: Any) -> None:
        """Change what the node has kept, as somebody who can write its files would."""
        with closing(sqlite3.connect(self.folder / "approvals.sqlite")) as db, db:
            db.execute(f"UPDATE {number} SET {column}=?", (value,))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A node that wants approvals."""
    one = Scene(tmp_path)
    yield one
    one.close()


def _nobody_proposed(one: Scene) -> Any:
    return one.begin()


def _nobody_approved(one: Scene) -> Any:
    one.propose()
    return one.begin()


def _one_approved(one: Scene) -> Any:
    one.propose()
    one.approve("bob")
    return one.begin()


def _one_approved_twice(one: Scene) -> Any:
    one.propose()
    one.approve("bob", "bob", "bob")
    return one.begin()


def _the_author_approved(one: Scene) -> Any:
    one.propose()
    one.approve("alice", "bob")
    return one.begin()


def _a_stranger_approved(one: Scene) -> Any:
    one.propose()
    one.approve("mallory", "bob")
    return one.begin()


def _revoked_since(one: Scene) -> Any:
    one.approved()
    one.authority.revoke("carol")
    one.verifier.update_crl(one.authority.crl_pem)
    return one.begin()


def _no_more_an_approver(one: Scene) -> Any:
    one.approved()
    one.write("groups", "approvers cert=bob cert=dave\n")
    return one.begin()


def _for_another_proposal(one: Scene) -> Any:
    other = one.propose(data={"file": "harmless"})
    one.propose()
    one.approve("bob", "carol", digest=other)
    return one.begin()


def _changed_inputs(one: Scene) -> Any:
    one.approved()
    return one.begin(one.ask(data={"file": "/etc/passwd"}))


def _one_more_input(one: Scene) -> Any:
    one.approved()
    return one.begin(one.ask(data={"file": "marks", "text": "more"}))


def _one_input_less(one: Scene) -> Any:
    one.approved(data={"file": "marks", "text": "more"})
    return one.begin()


def _another_node(one: Scene) -> Any:
    one.approved(nodes=("web2", "web3"))
    return one.begin()


def _a_node_by_another_case(one: Scene) -> Any:
    one.approved(nodes=("WEB1",))
    return one.begin()


def _facts_that_match_no_more(one: Scene) -> Any:
    one.approved()
    one.facts["os"] = "FreeBSD"
    return one.begin()


def _a_class_that_it_has_not(one: Scene) -> Any:
    one.approved(filter=Filter(cls=("db",)))
    return one.begin()


def _another_schema(one: Scene) -> Any:
    one.approved(schema="0" * 64)
    return one.begin()


def _ended(one: Scene) -> Any:
    now = time.time()
    one.propose(at=now - 60, created=now - 100, expires=now - 1)
    one.approve("bob", "carol", created=now - 50)
    return one.begin()


def _another_collective(one: Scene) -> Any:
    one.approved(collective="eu")
    return one.begin()


def _anothers_proposal(one: Scene) -> Any:
    one.approved()
    return one.begin(one.ask("mallory"))


def _a_second_request(one: Scene) -> Any:
    one.approved()
    assert isinstance(one.begin(), Admitted)
    return one.begin()


def _by_broadcast(one: Scene) -> Any:
    one.approved()
    ((_, verdict),) = one.take(one.request("once"))
    return verdict


def _by_pool(one: Scene) -> Any:
    request = one.request("once", via=Via.POOL, pool="sms")
    found = one.open(request)
    return one.controller.admit(found, one.host)


def _again_after_the_clock_was_ahead(one: Scene) -> Any:
    proposal = seal_proposal(one.proposal(), one.signers["alice"])

    def approved() -> Any:
        one.digest = one.bring(one.approvals.bring_proposal, proposal)
        one.approve("bob", "carol")
        return one.begin()

    assert isinstance(approved(), Admitted)
    ahead = time.time() + 120
    one.propose("mallory", ahead, author="cert=mallory", created=ahead - 1, expires=ahead + 60)
    return approved()


def _at_its_start(one: Scene) -> Any:
    request = replace(one.ask(), via=Via.QUEUE)
    assert isinstance(one.controller.admit(request, one.host), Admitted)
    return one.controller.admit(request, one.host, "started")


def _revoked_before_its_start(one: Scene) -> Any:
    one.approved()
    request = replace(one.ask(), via=Via.QUEUE)
    assert isinstance(one.controller.admit(request, one.host), Admitted)
    one.authority.revoke("bob")
    one.verifier.update_crl(one.authority.crl_pem)
    return one.controller.admit(request, one.host, "started")


def _a_job_of_the_second_author(one: Scene) -> Any:
    one.approved()
    request = replace(one.ask(), via=Via.QUEUE)
    for job in ("1" * 32, "2" * 32):
        verdict = one.controller.admit(replace(request, job=job), one.host, "started")
    return verdict


def _a_broken_line(one: Scene) -> Any:
    one.approved()
    one.write("mark.approvals", APPROVALS + "*\tonce\tmany\tapprovers\n")
    return one.begin(one.ask("dave"))


def _everybody_approves(one: Scene) -> Any:
    one.write("mark.approvals", "*\tonce\t1\t*\n")
    one.approved()
    return one.begin()


def _no_group(one: Scene) -> Any:
    one.approved()
    one.write("groups", "approvers\n")
    return one.begin()


def _a_link_to_nowhere(one: Scene) -> Any:
    one.approved()
    path = one.folder / "policies" / "mark.approvals"
    path.unlink()
    path.symlink_to("nowhere")
    one.controller._authorisation.reread(one.folder / "policies")
    return one.begin()


def _a_doubt(one: Scene) -> Any:
    one.write("mark.approvals", "*\tonce\t1\tcert=bob\tnone=1\n")
    return one.begin()


def _a_doubt_before_another_line(one: Scene) -> Any:
    one.write("mark.approvals", "*\tonce\t1\tcert=dave\tnone=1\n*\t*\t2\tcert=bob cert=carol\n")
    one.propose()
    one.approve("dave", "bob")
    return one.begin()


def _a_count_without_end(one: Scene) -> Any:
    one.write("mark.approvals", f"*\tonce\t{'9' * 5000}\tcert=bob\n")
    return one.begin()


def _written_over_on_disk(one: Scene) -> Any:
    one.approved()
    body = seal_proposal(one.proposal(), one.signers["alice"]).body
    one.other("proposals", "body", body)
    return one.begin()


def _another_approver_on_disk(one: Scene) -> Any:
    one.propose()
    one.approve("bob")
    one.other("approvals", "author", "cert=carol")
    one.approve("bob")
    return one.begin()


def _glass_by_nobody_named(one: Scene) -> Any:
    return one.begin(one.ask(emergency="I know what I do"))


def _glass_for_another_action(one: Scene) -> Any:
    one.write("mark.approvals", "*\tonce\t2\tapprovers\nbreak-glass\tcert=carol\tagain\n")
    return one.begin(one.ask("carol", emergency="it burns"))


DENIED = [
    (_nobody_proposed, "2 approvals wanted (mark.approvals:2): nobody has proposed it"),
    (_nobody_approved, ": 0 of 2"),
    (_one_approved, ": 1 of 2"),
    (_one_approved_twice, ": 1 of 2"),
    (_the_author_approved, ": 1 of 2; not counted: its author's own"),
    (_a_stranger_approved, ": 1 of 2; not counted: cert=mallory may not approve it"),
    (_revoked_since, ": 1 of 2; not counted: revoked"),
    (_no_more_an_approver, "cert=carol may not approve it"),
    (_for_another_proposal, ": 0 of 2"),
    (_changed_inputs, "it is for other inputs"),
    (_one_more_input, "it is for other inputs"),
    (_one_input_less, "it is for other inputs"),
    (_another_node, "web1 is not among its nodes"),
    (_a_node_by_another_case, "web1 is not among its nodes"),
    (_facts_that_match_no_more, "its filter does not match here any more"),
    (_a_class_that_it_has_not, "its filter does not match here any more"),
    (_another_schema, "the schema here is another than was approved"),
    (_ended, "nobody has proposed it"),
    (_another_collective, "it is for eu"),
    (_anothers_proposal, "nobody has proposed it"),
    (_a_second_request, "has used it"),
    (_again_after_the_clock_was_ahead, "nobody has proposed it"),
    (_by_broadcast, "a broadcast names no nodes"),
    (_by_pool, "nobody has proposed it"),
    (_at_its_start, "nobody has proposed it"),
    (_revoked_before_its_start, ": 1 of 2; not counted: revoked"),
    (_a_job_of_the_second_author, "has used it"),
    (_a_broken_line, "mark.approvals:4: a line is"),
    (_everybody_approves, "mark.approvals:1: whose approvals?"),
    (_no_group, "mark.approvals:2: 'approvers' is no caller id"),
    (_a_link_to_nowhere, "it is a link that leads nowhere"),
    (_a_doubt, "1 approval wanted (mark.approvals:1): nobody has proposed it"),
    (_a_doubt_before_another_line, "(mark.approvals:1) and 2 approvals wanted (mark.approvals:2)"),
    (_a_count_without_end, "mark.approvals:1: a line is"),
    (_written_over_on_disk, "bad_signature"),
    (_another_approver_on_disk, ": 1 of 2"),
    (_glass_by_nobody_named, "break-glass: no line names cert=alice for it"),
    (_glass_for_another_action, "break-glass: no line names cert=carol for it"),
]


@pytest.mark.parametrize(
    ("variant", "why"), DENIED, ids=lambda one: getattr(one, "__name__", "")[1:]
)
def test_what_was_not_approved_is_denied(
    scene: Scene, variant: Callable[[Scene], Any], why: str
) -> None:
    """With the reason, which the audit log has, too; nothing begins."""
    verdict = variant(scene)
    assert isinstance(verdict, Refusal)
    assert verdict.state.value == "denied"
    assert why in verdict.statusmsg
    last = scene.lines()[-1]
    assert (last["event"], last["reason"]) == ("denied", verdict.statusmsg)


def _signed_by_a_node(one: Scene) -> None:
    one.propose("web1", author="cert=web1")


def _in_anothers_name(one: Scene) -> None:
    sealed = seal_proposal(one.proposal(), one.signers["alice"])
    body = sealed.body.replace(b"cert=alice", b"cert=carol")
    one.bring(one.approvals.bring_proposal, replace(sealed, body=body))


def _from_the_future(one: Scene) -> None:
    one.propose(created=time.time() + 600, expires=time.time() + 700)


def _for_ever(one: Scene) -> None:
    one.propose(expires=time.time() + 400 * 86_400)


def _at_its_end(one: Scene) -> None:
    one.propose(expires=time.time() - 1)


def _without_nodes(one: Scene) -> None:
    one.propose(nodes=())


def _nodes_twice(one: Scene) -> None:
    one.propose(nodes=("web1", "web1"))


def _too_many_nodes(one: Scene) -> None:
    one.propose(nodes=tuple(sorted(f"n{number}" for number in range(100_001))))


def _too_large(one: Scene) -> None:
    one.propose(data={"file": "x" * (1 << 20)})


def _too_many_of_one(one: Scene) -> None:
    for _ in range(65):
        one.propose()


def _too_much_of_one(one: Scene) -> None:
    for _ in range(5):
        one.propose(data={"file": "x" * 1_000_000})


def _an_approval_of_nothing(one: Scene) -> None:
    one.approve("bob", digest="0" * 64)


def _an_approval_of_a_request(one: Scene) -> None:
    sealed = seal_request(one.ask(), one.signers["alice"])
    one.bring(one.approvals.bring_approval, sealed)


def _an_approval_changed(one: Scene) -> None:
    one.propose()
    said = Approval(author="cert=bob", proposal="0" * 64, created=time.time())
    sealed = seal_approval(said, one.signers["bob"])
    body = sealed.body.replace(b"0" * 64, one.digest.encode())
    one.bring(one.approvals.bring_approval, replace(sealed, body=body))


def _an_approval_as_a_proposal(one: Scene) -> None:
    said = Approval(author="cert=bob", proposal="0" * 64, created=time.time())
    sealed = seal_approval(said, one.signers["bob"])
    one.bring(one.approvals.bring_proposal, sealed)


def _an_approval_of_tomorrow(one: Scene) -> None:
    one.propose()
    one.approve("bob", created=time.time() + 86_400)


NOT_KEPT = [
    (_signed_by_a_node, "wrong_kind"),
    (_in_anothers_name, "bad_signature"),
    (_from_the_future, "from_future"),
    (_for_ever, "malformed"),
    (_at_its_end, "expired"),
    (_without_nodes, "nodes: 1 to 100000 names"),
    (_nodes_twice, "nodes: each name once"),
    (_too_many_nodes, "nodes: 1 to 100000 names"),
    (_too_large, "too_large"),
    (_too_many_of_one, "too many proposals that have not ended: 64 of cert=alice"),
    (_too_much_of_one, "too many proposals that have not ended: 4 of cert=alice, 4,00"),
    (_an_approval_of_nothing, "there is no proposal 000000000000 here"),
    (_an_approval_of_a_request, "wrong_kind"),
    (_an_approval_changed, "bad_signature"),
    (_an_approval_as_a_proposal, "wrong_kind"),
    (_an_approval_of_tomorrow, "from_future"),
]


@pytest.mark.parametrize(
    ("variant", "why"), NOT_KEPT, ids=lambda one: getattr(one, "__name__", "")[1:]
)
def test_what_is_no_document_of_an_operators_is_not_kept(
    scene: Scene, variant: Callable[[Scene], None], why: str
) -> None:
    """Refused where it is brought, in words."""
    scene.signers["web1"] = scene.node_signer
    with pytest.raises((Rejected, UsageError)) as refusal:
        variant(scene)
    assert why in str(refusal.value)


def test_what_two_have_approved_begins_once_on_each_node(scene: Scene) -> None:
    """A request by name; also with inputs that are left to their defaults, and started again."""
    scene.approved(nodes=("web1", "web2"), data={"file": "marks", "sleep": 1})
    request = scene.ask(data={"file": "marks", "sleep": 1.0})
    assert isinstance(scene.begin(request), Admitted)
    again = scene.controller.admit(request, scene.host, "started")
    assert isinstance(again, Admitted)
    other = replace(scene.ask(data={"file": "marks", "sleep": 1.0}), identity="web2")
    ((_, verdict),) = scene.take(other, "web2")
    assert isinstance(verdict, Admitted)


def test_a_job_may_have_all_its_runs(scene: Scene) -> None:
    """A proposal is used by the job, whose runs are one use."""
    scene.approved()
    request = replace(scene.ask(), via=Via.QUEUE, job="1" * 32)
    for number in range(3):
        one = replace(request, id=f"{number:032x}")
        assert isinstance(scene.controller.admit(one, scene.host, "started"), Admitted)


def test_who_needs_none_and_other_actions_go_on(scene: Scene) -> None:
    """The first line that fits decides; what no line is about wants none."""
    assert isinstance(scene.begin(scene.ask("dave")), Admitted)
    ((_, verdict),) = scene.take(scene.direct(scene.request("again")))
    assert isinstance(verdict, Admitted)


def test_broken_glass_is_loud(scene: Scene) -> None:
    """Who is named does without approvals, by his reason: in the audit log, and where the node speaks of itself."""
    verdict = scene.begin(scene.ask("carol", emergency="the pager, 3 am"))
    assert isinstance(verdict, Admitted)
    (event,) = [one for one in scene.lines() if one["event"] == "break_glass"]
    assert (event["caller"], event["reason"]) == ("cert=carol", "the pager, 3 am")
    (flaw,) = scene.approvals.flaws("web1")
    assert flaw.startswith("break-glass at 20")
    assert flaw.endswith("cert=carol mark.once: the pager, 3 am")
    assert scene.approvals.flaws("web2") == []


@pytest.mark.parametrize("reason", ["x" * 501, "two\nlines", "\u202ereason", " "])
def test_a_reason_that_hides_something_is_none(scene: Scene, reason: str) -> None:
    """It stands in logs and tables, as one line that everybody can read."""
    with pytest.raises((MCShellError, Rejected)):
        scene.begin(scene.ask("carol", emergency=reason))


def test_a_line_that_cannot_be_used_is_a_flaw(scene: Scene) -> None:
    """`policy lint` and the node itself name it."""
    scene.write("mark.approvals", "*\tonce\t2\n")
    scene.write("MARK.approvals", "")
    told = scene.controller._authorisation.flaws()
    assert any("mark.approvals:1: whose approvals?" in one for one in told)
    assert any("MARK.approvals: an agent's name" in one for one in told)


def test_a_proposal_that_has_ended_makes_room(scene: Scene) -> None:
    """Its approvals and uses go with it, when the next one comes."""
    now = time.time()
    scene.propose(at=now - 60, created=now - 100, expires=now - 1)
    scene.approve("bob", created=now - 50)
    scene.propose()
    with closing(sqlite3.connect(scene.folder / "approvals.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM proposals").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM approvals").fetchone() == (0,)


def test_the_digest_is_that_of_the_bytes(scene: Scene) -> None:
    """Who approves a proposal approves its very bytes."""
    sealed = seal_proposal(scene.proposal(), scene.signers["alice"])
    assert scene.bring(scene.approvals.bring_proposal, sealed) == digest_of(sealed.body)
