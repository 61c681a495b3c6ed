"""Plans: `client.plans` runs steps across nodes, gate after gate, and goes on where it was left.

Whom each wave of each step is for is fixed, and committed with the signed plan, before anything is
sent. A wave is one queued request whose id is a hash of plan, revision, step and wave: once it is
in the session file it is never made again, and a node runs no id twice. So whoever resumes,
after a kill or elsewhere, repeats nothing and skips nothing. What stands open is asked of the nodes
themselves: their last reply may have been lost with the machine that waited for it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell import interrupts
from mcshell.client.arguments import Duration, checks_methods, seconds_of
from mcshell.client.discovery.groups import group_lookup
from mcshell.client.discovery.targeting import Targeting
from mcshell.client.documents.plan_file import TTL, read_plan
from mcshell.client.documents.reader import read_text
from mcshell.client.plans.gates import cut, in_order, named, said
from mcshell.client.plans.runner import PlanRun, WaveSender, results_of
from mcshell.client.rpc.requester import Preview
from mcshell.client.session.session import holder_in_words, stores
from mcshell.client.store import plans
from mcshell.client.store.ledger import UNHEARD
from mcshell.client.store.plans import OK, OPEN, AcceptedFailure, KeptPlan, PlanStore
from mcshell.errors import (
    MCShellError,
    NoTargets,
    Rejected,
    SessionError,
    Stopped,
    UsageError,
)
from mcshell.message import State
from mcshell.texts import expanded
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.plan import MAX_PLAN, open_plan, plan_id, seal_plan, targets_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mcshell.client.discovery.methods import Finder
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library
    from mcshell.message import Plan, Step
    from mcshell.wire.credentials import Credentials

    Waves = dict[str, list[tuple[str, ...]]]

__all__ = ["PlanManager", "PlanStatus"]


class PlanStatus:
    """How a plan stands: `state` is open, ok or stopped, and `reason` says why it stopped.

    `steps` has a row for each wave: order, step, wave, request, agent, action, targets, ok, failed,
    accepted, open, reason. `accepted` are the failures in spite of which it goes on.
    A snapshot.
    """

    def __init__(self, kept: KeptPlan, steps: Sequence[Mapping[str, Any]]) -> None:
        self.id = kept.id
        self.name = kept.name
        self.revision = kept.revision
        self.created = kept.created
        self.state = kept.state
        self.reason = kept.reason
        self.accepted = kept.accepted
        self.steps = [dict(step) for step in steps]

    def count(self, what: str) -> int:
        """How many nodes, over all waves, are ok, failed, accepted or open (also those to come)."""
        return sum(step[what] for step in self.steps)

    def __repr__(self) -> str:
        counts = " ".join(f"{self.count(what)} {what}" for what in ("ok", "failed", "open"))
        reason = f" ({self.reason})" if self.reason else ""
        return f"<Plan {self.name} {self.id[:8]}: {self.state}{reason}; {counts}>"


@checks_methods
class PlanManager:
    """The plans of one client's session."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        hub: SessionHub,
        discovery: Finder,
        ddls: Library,
        known: NodeCache,
        client: object,
    ) -> None:
        self._client = client  # stays open for as long as this is there
        self._settings = settings
        self._credentials = credentials
        self._hub = hub
        self._discovery = discovery
        self._ddls = ddls
        self._known = known
        self._waves = WaveSender(settings, hub, ddls)

    @property
    def _store(self) -> PlanStore:
        return self._hub.session.store.plans

    # --- what it would do ----------------------------------------------------------------------

    def read(self, path: str | Path) -> Plan:
        """Read a plan's file (`documents.plan_file`); UsageError says what is wrong, and where."""
        where, most = expanded(path), self._settings.node.max_ttl
        plan = read_plan(
            read_text(where),
            str(path),
            self._ddls,
            author=self._credentials.signer.identity.callerid,
            collective=self._settings.collective.main,
            now=time.time(),
            groups=group_lookup(lambda: self._settings),
            ttl=min(TTL, most),
        )
        for step in plan.steps:
            if step.ttl > most:  # every node would refuse it unheard, and the plan never end
                text = f"{path}: {step.name}: ttl: {step.ttl:g} s, and nodes take {most:g} s (node.max_ttl)"
                raise UsageError(text)
        seal_plan(plan, self._credentials.signer)  # what cannot be sealed is no plan
        return plan

    @interrupts.call()
    def preview(self, path: str | Path) -> list[dict[str, Any]]:
        """Who would run what in which order: a row a node; nothing is sent.

        Raises:
            UsageError: no plan, or an unknown action or input.
            NoTargets: a step that nobody would run.
        """
        plan = self.read(path)
        waves, unheard = self._targets(plan)
        return [
            {
                "order": order,
                "step": step.name,
                "wave": number,
                "sender": name,
                "agent": step.agent,
                "action": step.action,
                "after": ", ".join(f"{before} {need}" for before, need in step.gates),
                "stop": step.stop,
                "reason": UNHEARD if name in unheard.get(step.name, ()) else "",
            }
            for order, step in enumerate(in_order(plan.steps), 1)
            for number, names in enumerate(waves[step.name], 1)
            for name in names
        ]

    def _targets(self, plan: Plan) -> tuple[Waves, dict[str, tuple[str, ...]]]:
        """The nodes of each wave of each step, and who of the first ones is asked nothing."""
        waves: Waves = {}
        unheard = {}
        for step in plan.steps:
            wanted = Targeting(filter=step.filter, nodes=step.nodes, collective=plan.collective)
            found = self._discovery.find(wanted, step.agent)
            if not found.names:
                raise NoTargets(f"step {step.name}: no node matches that has {step.agent}")
            first, *rest = cut(found.names, step.waves)
            waves[step.name] = [(*first, *found.unheard), *rest]
            if found.unheard:
                unheard[step.name] = found.unheard
        return waves, unheard

    # --- doing it ------------------------------------------------------------------------------

    @interrupts.call()
    def run(
        self,
        path: str | Path,
        *,
        timeout: Duration | None = None,
        confirm: Callable[[Preview], bool] | None = None,
        say: Callable[[str], None] | None = None,
        again: bool = False,
    ) -> PlanStatus:
        """Run a plan to its end, or until a gate stays closed.

        Args:
            path: its file.
            timeout: how long to stay with it; what has been sent then goes on.
            confirm: shown who is hit, where an action changes nodes, before anything is sent.
            say: told what happens, line by line.
            again: though the same revision is still under way.

        Raises:
            UsageError: no plan, not confirmed, or the same one is under way.
            NoTargets: a step that nobody would run.
            SessionError: another process holds the session.
            Stopped: Ctrl-C, with where it stands as `plan`; it is there to be resumed.
        """
        self._must_hold("its plans go on there")
        plan = self.read(path)
        if not again:
            self._refuse_twice(plan)
        waves, unheard = self._targets(plan)
        if confirm is not None and not self._confirmed(plan, waves, unheard, confirm):
            raise UsageError("not confirmed: nothing was sent")
        waves = {**waves, **_kept_unheard(unheard)}
        plan = replace(plan, targets=targets_digest(waves))
        sealed = seal_plan(plan, self._credentials.signer)
        kept = KeptPlan(
            id=plan_id(sealed.body),
            name=plan.name,
            revision=plan.revision,
            created=plan.created,
            body=sealed.body,
            signature=sealed.headers[SIGNATURE],
            certificate=sealed.headers[CERTIFICATE],
            waves=waves,
        )
        interrupts.check()
        self._store.add(kept, secret=self._redacted(plan) != plan)
        return self._go(kept, plan, timeout, say)

    def _redacted(self, plan: Plan) -> Plan:
        """The plan without the inputs that are not to be kept or handed on."""
        return replace(plan, steps=tuple(map(self._redacted_step, plan.steps)))

    def _redacted_step(self, step: Step) -> Step:
        return replace(step, data=self._ddls.get(step.agent).action(step.action).redact(step.data))

    def _forget_secrets(self, kept: KeptPlan, plan: Plan, say: Callable[[str], None]) -> None:
        """Sign anew, without its secrets, a plan of which nothing is sent any more.

        Where that cannot be now (the key is away, a schema is), the plan has ended all the same.
        """
        if not self._store.secret(kept.id) or plan_id(kept.body) != kept.id:
            return  # there were none, or they are gone
        try:
            ended = replace(self._redacted(plan), run=kept.id)
            sealed = seal_plan(ended, self._credentials.signer)
        except MCShellError as error:
            say(
                f"{kept.name}: its secret inputs stay in the session file, since {error}; "
                f"plan resume {kept.id[:8]} drops them"
            )
            return
        headers = sealed.headers
        self._store.replace_document(kept.id, sealed.body, headers[SIGNATURE], headers[CERTIFICATE])

    def _refuse_twice(self, plan: Plan) -> None:
        """Refuse to begin what is under way."""
        for one in self._store.all():
            same = (one.name, one.revision) == (plan.name, plan.revision)
            if same and one.state == OPEN:
                raise UsageError(
                    f"{plan.name} revision {plan.revision} is under way: plan resume {one.id[:8]}"
                    " goes on with it (--again begins another)"
                )

    @interrupts.call()
    def resume(
        self,
        plan: str | None = None,
        *,
        timeout: Duration | None = None,
        say: Callable[[str], None] | None = None,
        accept: bool = False,
    ) -> PlanStatus:
        """Go on with a plan (by id, its first letters, or name; default: the newest).

        One that has stopped is judged again: its nodes may have come round. With `accept` the
        failures for which it stands still count as mended by hand, in this run of the plan for
        good; those that come later do not.

        Raises:
            UsageError: there is no such plan, its signature does not hold, or there is nothing to
                accept.
            SessionError: another process holds the session.
            Stopped: as by `run`.
        """
        kept = self._found(plan)
        self._must_hold(f"plan {kept.name} {kept.id[:8]} goes on there")
        opened = self._opened(kept)
        if accept:
            kept = self._accept(kept, opened, say or _hush)
        if kept.state == OK:
            # Whoever saw its end may have been killed there.
            self._forget_secrets(kept, opened, say or _hush)
            return self._progress(kept, opened)
        return self._go(kept, opened, timeout, say)

    def _accept(self, kept: KeptPlan, plan: Plan, say: Callable[[str], None]) -> KeptPlan:
        """Write down that the failures for which a plan stands still are accepted."""
        blamed = PlanRun(self._waves, kept, plan, None, say).blamed()
        if not blamed:
            raise UsageError(
                f"{kept.name} {kept.id[:8]} stands still for no failure: there is nothing to accept"
            )
        caller, now = self._credentials.signer.identity.callerid, time.time()
        self._store.accept(
            kept.id,
            [AcceptedFailure(step, one.sender, said(one), caller, now) for step, one in blamed],
        )
        say(f"accepted by {caller}: {named([one for _step, one in blamed])}")
        return self._store.find(kept.id)

    def list(self) -> list[PlanStatus]:
        """The plans of this session, the oldest first."""
        return [self._progress(kept, self._opened(kept)) for kept in self._store.all()]

    def _opened(self, kept: KeptPlan) -> Plan:
        headers = {SIGNATURE: kept.signature, CERTIFICATE: kept.certificate}
        verifier = self._credentials.verifier
        try:
            plan = open_plan(
                kept.body, headers, verifier, BodyLimits(max_body=MAX_PLAN), kept.created
            )
        except Rejected as error:
            raise UsageError(f"plan {kept.name}: {error}") from error
        mine = self._credentials.signer.identity.callerid
        if plan.author != mine or (plan_id(kept.body) != kept.id and kept.state != OK):
            raise UsageError(f"plan {kept.name} is one of {plan.author}, not of {mine}")
        if not kept.waves or plan.targets not in ("", targets_digest(kept.waves)):
            raise UsageError(f"plan {kept.name}: its nodes are not those that were signed")
        return plan

    def _found(self, word: str | None) -> KeptPlan:
        """A plan of this session; UsageError says in which other session of this machine it is."""
        try:
            return self._store.find(word)
        except UsageError as error:
            if word is None:
                raise
            for store in stores(self._settings.state_dir):
                for kept in store.plans.all():
                    if word == kept.name or kept.id.startswith(word):
                        holder = holder_in_words(store.meta("holder") or "")
                        raise UsageError(
                            f"plan {kept.name} {kept.id[:8]} is in session {store.path.stem}, last "
                            f"held by {holder}: --session {store.path.stem}"
                        ) from error
            raise

    def _must_hold(self, what: str) -> None:
        session = self._hub.session
        if not session.holds:
            raise SessionError(
                f"session {session.name} is held by {session.holder}: {what}", session.name
            )

    @property
    def holder(self) -> str:
        """Who goes on with the plans of this session; nobody else than this process where empty."""
        session = self._hub.session
        return "" if session.holds else session.holder

    def _confirmed(
        self,
        plan: Plan,
        waves: Waves,
        unheard: Mapping[str, Sequence[str]],
        confirm: Callable[[Preview], bool],
    ) -> bool:
        """Show who is hit by the steps that change nodes."""
        hit = {
            name
            for step in plan.steps
            if self._ddls.get(step.agent).action(step.action).changes
            for wave in waves[step.name]
            for name in wave
            if name not in unheard.get(step.name, ())
        }
        since = time.time() - self._settings.client.known_for
        fleet = self._known.identities(plan.collective, since) | hit
        share = self._settings.client.confirm_share
        shown = Preview("plan", plan.name, tuple(sorted(hit)), len(fleet), share)
        with interrupts.pause():
            return not hit or confirm(shown)

    def _go(
        self,
        kept: KeptPlan,
        plan: Plan,
        timeout: Duration | None,
        say: Callable[[str], None] | None,
    ) -> PlanStatus:
        wait = seconds_of(timeout)
        end = None if wait is None else time.monotonic() + wait
        try:
            found = PlanRun(self._waves, kept, plan, end, say or _hush).go()
        except KeyboardInterrupt:
            self._store.set_state(kept.id, OPEN, "")
            raise Stopped(plan=self._progress(self._store.find(kept.id), plan)) from None
        self._store.set_state(kept.id, *found)
        if found[0] == OK:
            self._forget_secrets(kept, plan, say or _hush)
        return self._progress(self._store.find(kept.id), plan)

    def _progress(self, kept: KeptPlan, plan: Plan) -> PlanStatus:
        rows: list[dict[str, Any]] = []
        reason = kept.reason
        for order, step in enumerate(in_order(plan.steps), 1):
            for number, names in enumerate(kept.waves[step.name], 1):
                tracker = self._waves.tracker(kept, step, number)
                row = {"order": order, "step": step.name, "wave": number}
                row |= {"request": None, "agent": step.agent, "action": step.action}
                row |= {"targets": len(names), "ok": 0, "failed": 0, "accepted": 0}
                row["open"] = len(names)
                if tracker is None:
                    # The first that does not go out is where the plan has stopped.
                    row["reason"], reason = reason, ""
                else:
                    row |= {"request": tracker.record.id, **_counted(tracker, kept, step.name)}
                rows.append(row)
        return PlanStatus(kept, rows)


def _counted(tracker: RequestTracker, kept: KeptPlan, step: str) -> dict[str, Any]:
    """How the targets of a wave stand, in numbers, and what is to say about the failed."""
    results = results_of(tracker)
    fine = {one.sender for one in results if one.state is State.OK}
    rest = {one.sender for one in results} - fine
    accepted = [one for one in kept.accepted if one.step == step and one.sender in rest]
    names = {one.sender for one in accepted}
    failed = [one for one in results if one.failed and one.sender not in names]
    reasons = [named(failed)] if failed else []
    reasons += [f"accepted by {one.by}: {one.sender} ({one.said})" for one in accepted]
    return {
        "ok": len(fine),
        "failed": len(failed),
        "accepted": len(accepted),
        "open": len(results) - len(fine) - len(failed) - len(accepted),
        "reason": "; ".join(reasons),
    }


def _hush(_line: str) -> None:
    """Report nothing: for who runs a plan without `say`."""


def _kept_unheard(unheard: Mapping[str, tuple[str, ...]]) -> Waves:
    """How they are kept, beside the waves: by `KeptPlan.unheard` they are read."""
    return {plans.UNHEARD: [(step, *names) for step, names in unheard.items()]} if unheard else {}
