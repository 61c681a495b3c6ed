"""Policy: may this caller have this agent do that here? ActionPolicy's files and meaning.

`AGENT.policy`, else `default.policy`, else no. The form is that of MCollective's ActionPolicy
(github.com/choria-plugins/action-policy): see `policy_file`. Rules are asked in order, the first
that matches decides.

Where we are stricter than ActionPolicy, always towards "no":

- a line that cannot be used, or could never match, is a flaw: an `allow` line is left out, any other
  denies everything for that agent until it is repaired (there, a `deny` is skipped as well, and a
  skipped `deny` is an "allow");
- what cannot be told (`policy_conditions`) denies in a `deny` line and does not match in an `allow`;
- what is in the place of a file and is none, a dangling link too, denies: it is no absent file;
- `default.policy` never covers what changes a machine at the caller's will (`UNCOVERED`);
- callers of MCollective's old wire (`mco-psk:uid=0`) are allowed only where a rule names their prefix,
  never by `*` nor a default. A `deny` is about them as about all others.

Once the policy has said yes, authorisers are asked (plugins of that kind, `mcshell.plugins`), in the
order of their names: none can allow what the policy denies.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import time
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell.errors import PluginError
from mcshell.node.admission.approval_file import parse_approvals
from mcshell.node.admission.policy_file import (
    Policy,
    PolicyCost,
    PolicyError,
    PolicyFlaw,
    PolicyRule,
    parse_groups,
    parse_policy,
)
from mcshell.plugins import AuthorisationQuestion
from mcshell.private import read_obeyed
from mcshell.texts import decoded
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.admission.approval_file import ApprovalPolicy
    from mcshell.node.admission.policy_file import Callers
    from mcshell.node.host import Host
    from mcshell.plugins import Authoriser

log = logging.getLogger(__name__)

__all__ = ["UNCOVERED", "ApprovalDemand", "Authorisation", "Decision", "Policies"]

UNCOVERED: Final[Mapping[str, frozenset[str] | None]] = {
    "exec": None,
    "file": None,
    "converse": None,
    "process": frozenset({"signal"}),
    "package": frozenset({"install", "update", "remove"}),
}
_CHECK_EVERY: Final = 1.0
_FLAWS_FOR: Final = 5.0
"""Seconds for which what is wrong is told again: looking for it reads every file."""
_MOST_REASON: Final = 500
"""Characters of an authoriser's reason."""
_AGENT = re.compile(r"[a-z0-9_-]+")
_MOST_TEXT: Final = 1 << 20
"""Bytes of a file."""
_GROUPS: Final = "groups"
_SUFFIX: Final = ".policy"
_APPROVALS: Final = ".approvals"
_FOR_ALL: Final = "default.approvals"
_DEFAULT: Final = "default.policy"
_OWNING: Final = frozenset({"job"})
"""Agents whose requests may be about what belongs to a caller: no owner means his own, or nobody's."""
# No file there: as good a stamp as any, and equal to itself.
_ABSENT: Final = (0, 0, 0, 0, 0)

# A stat that failed says nothing about the file: to take it for absent would open default.policy.
_UNKNOWN: Final = -1

Stamp = tuple[int, int, int, int, int]
DataQuery: TypeAlias = "Callable[[str, str | None], Mapping[str, Any]]"
"""Answers a data plugin: its name, its parameter."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, why (`exec.policy:12`), and the line (0: none) of the file that says so."""

    allowed: bool
    why: str
    file: str = ""
    line: int = 0


def _no_answer(plugin: str, _params: str | None) -> Mapping[str, Any]:
    raise PluginError("no data plugins here", kind="data", name=plugin)


@dataclass(frozen=True, slots=True)
class PolicyQuestion:
    """What a rule's conditions are asked of."""

    facts: Mapping[str, Any]
    classes: frozenset[str]
    query: DataQuery


@dataclass(slots=True, kw_only=True)
class _LoadedPolicy:
    """One file as it was read last; `checked` is the monotonic clock's time of the last stat.

    `error` is why it denies everything, and `line` where; `rules` stand with what each decides.
    """

    checked: float = float("-inf")
    stamp: Stamp | None = None
    groups: Stamp | None = None
    policy: Policy | None = None
    error: str = ""
    line: int = 0
    flaws: tuple[PolicyFlaw, ...] = ()
    rules: tuple[tuple[PolicyRule, Decision], ...] = ()
    approvals: ApprovalPolicy | None = None
    """What is in it, where it is no policy but says how many are to approve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDemand:
    """What has to be there: so many approvals, by such callers; `why` names the line.

    `error` is why it cannot be told, `emergency` whether the caller may do without. `also` has to be
    there as well: what further lines ask for where it cannot be told whether the one before is meant.
    """

    count: int
    approvers: Callers | None
    why: str
    error: str = ""
    emergency: bool = False
    also: tuple[ApprovalDemand, ...] = ()

    def __str__(self) -> str:
        """What is wanted, in words."""
        if self.error:
            return self.error
        if self.also:
            return " and ".join(str(one) for one in (replace(self, also=()), *self.also))
        return f"{self.count} approval{'s' if self.count > 1 else ''} wanted ({self.why})"


@dataclass(slots=True)
class _Groups:
    checked: float = float("-inf")
    stamp: Stamp | None = None
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    flaw: PolicyFlaw | None = None
    error: str = ""
    """What is wrong with them, in words."""


class Policies:
    """The policy files of one directory, read again when they change (looked at once a second).

    May be called from any thread.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = Path(directory)
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, _LoadedPolicy] = {}
        self._groups = _Groups()

    def reread(self, directory: Path) -> None:
        """Take them from this directory from now on, and read them again, changed or not."""
        with self._lock:
            self.directory = directory
            self._files = {}
            self._groups = _Groups()

    def decide(
        self,
        caller: str,
        agent: str,
        action: str,
        facts: Mapping[str, Any],
        classes: frozenset[str] | set[str],
        owner: str | None = None,
        *,
        query: DataQuery | None = None,
    ) -> Decision:
        """Say whether `caller` may have `agent.action` run here; a doubt is a no.

        `query` answers the data plugins of compound conditions (`Host.query`).
        With `owner` it is about what belongs to another caller: that is the fact `owner` then, and
        only a rule that asks for it allows (`allow cert=bob edit owner=cert=alice`).
        """
        if not _AGENT.fullmatch(agent):
            return Decision(False, f"{agent[:40]!r} is no agent's name")
        if not caller.isprintable():
            return Decision(False, f"{caller[:80]!r} is no caller")
        with self._lock:
            file, name = self._file(f"{agent}{_SUFFIX}"), f"{agent}{_SUFFIX}"
            if file.policy is None and not file.error:
                uncovered = UNCOVERED.get(agent, frozenset())
                if uncovered is None or action in uncovered:
                    why = f"{_DEFAULT} does not cover {agent}.{action}: it wants {name}"
                    return Decision(False, why)
                file, name = self._file(_DEFAULT), _DEFAULT
        if file.error:
            return Decision(False, file.error, name, file.line)
        if file.policy is None:
            return Decision(False, f"there is neither {agent}{_SUFFIX} nor {_DEFAULT}")
        if owner is not None:
            facts = {**facts, "owner": owner}
        asked = PolicyQuestion(facts, frozenset(classes), query or _no_answer)
        own = owner is None and agent in _OWNING
        return _decide(file, name, caller, action, asked, own=own, of_another=owner is not None)

    def demand(
        self,
        caller: str,
        agent: str,
        action: str,
        about: Callable[[], PolicyQuestion],
    ) -> ApprovalDemand | None:
        """How many approvals it takes that `caller` has `agent.action` done here; None: none.

        `about` says what the node is, where there is a file that asks for it.
        """
        name = f"{agent}{_APPROVALS}"
        with self._lock:
            file = self._file(name)
        if file.error:
            return ApprovalDemand(count=0, approvers=None, why=name, error=file.error)
        if file.approvals is None:
            return None
        asked = about()
        emergency = any(
            _is_about(one, caller, action, asked) is True for one in file.approvals.emergencies
        )
        found: list[ApprovalDemand] = []
        for rule in file.approvals.rules:
            told = _is_about(rule.about, caller, action, asked)
            if told is not False and rule.count:
                why = f"{name}:{rule.about.line}"
                demand = ApprovalDemand(
                    count=rule.count, approvers=rule.approvers, why=why, emergency=emergency
                )
                found.append(demand)
            if told is True:
                break
        return replace(found[0], also=tuple(found[1:])) if found else None

    def flaws(self, name: str | None = None) -> list[tuple[str, PolicyFlaw]]:
        """What is wrong with a file, by default with each of the directory, each with its name.

        Raises:
            OSError: the directory cannot be read.
        """
        with self._lock:
            groups = self._current_groups(self._clock())
            found: list[tuple[str, PolicyFlaw]] = []
            for one in [name] if name else sorted(path.name for path in self.directory.iterdir()):
                if one == _GROUPS:
                    found += [(one, groups.flaw)] if groups.flaw else []
                elif name or one.endswith((_SUFFIX, _APPROVALS)):
                    file = self._read(one, _stamp(self.directory / one), groups)
                    found += [(one, flaw) for flaw in file.flaws]
                agent = one.removesuffix(_SUFFIX).removesuffix(_APPROVALS)
                read = one.lower().endswith((_SUFFIX, _APPROVALS))
                why = ""
                if not name and read and not _AGENT.fullmatch(agent):
                    why = "an agent's name is of a-z, 0-9, _ and -"
                elif one == _FOR_ALL:
                    why = "approvals are asked for by agent: AGENT.approvals"
                if why:
                    found.append((one, PolicyFlaw(0, why, PolicyCost.NEVER_READ)))
        return found

    def _file(self, name: str) -> _LoadedPolicy:
        """The file as it is now, or was a second ago at most."""
        file = self._files.setdefault(name, _LoadedPolicy())
        clock = self._clock()
        if clock - file.checked < _CHECK_EVERY:
            return file
        groups = self._current_groups(clock)
        stamp = _stamp(self.directory / name)
        if stamp != file.stamp or groups.stamp != file.groups:
            before, file = file.flaws, self._read(name, stamp, groups)
            self._files[name] = file
            for flaw in file.flaws:
                if file.stamp is not None or flaw not in before:
                    log.warning("%s; it costs %s", _said(name, flaw), flaw.cost)
        file.checked = clock
        return file

    def _read(self, name: str, stamp: Stamp, groups: _Groups) -> _LoadedPolicy:
        file = _LoadedPolicy(stamp=stamp, groups=groups.stamp)
        if stamp == _ABSENT:
            return file
        try:
            text = _text(self.directory / name, stamp)
        except (OSError, ValueError) as error:
            file.flaws = (PolicyFlaw(0, _reason_of(error), PolicyCost.FILE),)
            if isinstance(error, OSError):
                file.stamp = None  # the next look may read it, though it has not changed
        else:
            self._parse(file, name, text, groups)
        refusal = next((flaw for flaw in file.flaws if flaw.cost is PolicyCost.FILE), None)
        if refusal is not None:
            file.error, file.line = _said(name, refusal), refusal.line
        return file

    def _parse(self, file: _LoadedPolicy, name: str, text: str, groups: _Groups) -> None:
        if name.endswith(_APPROVALS):
            file.approvals = parse_approvals(text, groups.members, groups.error)
            file.flaws = file.approvals.flaws
        else:
            file.policy = parse_policy(text, groups.members, groups.error)
            file.flaws = file.policy.flaws
            file.rules = tuple(
                (rule, Decision(rule.allow, f"{name}:{rule.line}", name, rule.line))
                for rule in file.policy.rules
            )

    def _current_groups(self, clock: float) -> _Groups:
        groups = self._groups
        if clock - groups.checked < _CHECK_EVERY:
            return groups
        path = self.directory / _GROUPS
        stamp = _stamp(path)
        if stamp != groups.stamp:
            groups = _Groups(stamp=stamp)
            try:
                groups.members = {} if stamp == _ABSENT else parse_groups(_text(path, stamp))
            except (OSError, ValueError) as error:
                line = error.line if isinstance(error, PolicyError) else 0
                groups.flaw = PolicyFlaw(line, _reason_of(error), PolicyCost.GROUPS)
                groups.error = _said(_GROUPS, groups.flaw)
                if isinstance(error, OSError):
                    groups.stamp = None  # as of a policy
            self._groups = groups
        groups.checked = clock
        return groups


def _decide(
    file: _LoadedPolicy,
    name: str,
    caller: str,
    action: str,
    asked: PolicyQuestion,
    *,
    own: bool,
    of_another: bool,
) -> Decision:
    policy = file.policy
    assert policy is not None, "else it was denied"
    for rule, decision in file.rules:
        if not rule.callers.include(caller, allow=rule.allow) or not rule.covers(action):
            continue
        if of_another and rule.allow and not rule.about_owner:
            continue
        verdict = True if rule.condition is None else rule.condition.holds(asked)
        if verdict is True:
            return decision
        if verdict is False or rule.allow or (own and rule.about_owner):
            continue
        return Decision(False, f"{name}:{rule.line}: {verdict}", name, rule.line)
    line = policy.default_line
    if policy.default_allow and of_another:
        why = f"{name}: its default is not about what belongs to another"
    elif policy.default_allow and caller.startswith("mco-"):
        why = f"{name}: its default is not for callers of the old wire"
    else:
        why = f"{name}{f':{line}' if line else ''} (default)"
        if policy.default_allow:
            return Decision(True, why, name, line)
    unused = "".join(f"; not used: line {flaw.line}: {flaw.message}" for flaw in file.flaws[:1])
    return Decision(False, f"{why}{unused}", name, line)


def _is_about(rule: PolicyRule, caller: str, action: str, asked: PolicyQuestion) -> bool | str:
    """Whether a line of approvals is about this; text: why that cannot be told."""
    if not rule.callers.include(caller, allow=rule.allow) or not rule.covers(action):
        return False
    return True if rule.condition is None else rule.condition.holds(asked)


def _said(name: str, flaw: PolicyFlaw) -> str:
    return f"{name}:{flaw.line}: {flaw.message}" if flaw.line else f"{name}: {flaw.message}"


def _reason_of(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        # A link that leads nowhere is no absent file.
        return (_UNKNOWN, error.errno or 0, 0, 0, 0) if path.is_symlink() else _ABSENT
    except OSError as error:
        return (_UNKNOWN, error.errno or 0, 0, 0, 0)
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_mode,
    )


def _text(path: Path, stamp: Stamp) -> str:
    """Read what the stamp was taken of; OSError or ValueError where it is no file to obey."""
    if stamp[0] == _UNKNOWN:
        if stamp[1] == errno.ENOENT:
            raise ValueError("it is a link that leads nowhere")
        raise OSError(stamp[1], os.strerror(stamp[1]))
    return decoded(read_obeyed(path, _MOST_TEXT))


class Authorisation:
    """The policies of a process and its authorisers by name; may be asked from any thread."""

    def __init__(self, policies: Policies, authorisers: Mapping[str, Authoriser]) -> None:
        self._policies = policies
        self._authorisers = authorisers
        self._flaws: list[str] = []
        self._flaws_until = 0.0

    def flaws(self) -> list[str]:
        """What is wrong with the policies, one line each, as of now or of some seconds ago."""
        if time.monotonic() >= self._flaws_until:
            try:
                self._flaws = [
                    f"policy {_said(name, flaw)}; it costs {flaw.cost}"
                    for name, flaw in self._policies.flaws()
                ]
            except OSError as error:
                self._flaws = [f"policies {self._policies.directory}: {error.strerror}"]
            self._flaws_until = time.monotonic() + _FLAWS_FOR
        return self._flaws

    def reread(self, directory: Path) -> None:
        """Take the policies from this directory from now on, and read them again."""
        self._policies.reread(directory)
        self._flaws_until = 0.0

    def demand(self, host: Host, caller: str, agent: str, action: str) -> ApprovalDemand | None:
        """How many approvals it takes that `caller` has that done on this node; None: none."""

        def asked() -> PolicyQuestion:
            return PolicyQuestion(host.facts, host.classes, host.query)

        return self._policies.demand(caller, agent, action, asked)

    def denied(
        self,
        host: Host,
        caller: str,
        agent: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        owner: str | None = None,
    ) -> str | None:
        """Why `caller` may not have `agent.action` done on this node; None when he may.

        With `owner` it is about what belongs to another caller (`Policies.decide`).
        """
        facts, classes = host.facts, host.classes
        decision = self._policies.decide(
            caller, agent, action, facts, classes, owner, query=host.query
        )
        if not decision.allowed:
            return f"denied by policy: {decision.why}"
        if not self._authorisers:
            return None
        question = AuthorisationQuestion(
            identity=host.identity,
            facts=facts,
            classes=classes,
            caller=caller,
            agent=agent,
            action=action,
            data=MappingProxyType(data or {}),  # the request's own: to look at
            owner=owner,
        )
        for name, authoriser in self._authorisers.items():
            reason = _reason(name, authoriser, question)
            if reason is not None:
                return f"denied by the authoriser {name}: {reason}"
        return None


def _reason(name: str, authoriser: Authoriser, question: AuthorisationQuestion) -> str | None:
    """What an authoriser has against it; whatever it says but None is a no."""
    try:
        answer: object = authoriser(question)
    except Exception as error:
        log.exception("the authoriser %s failed: denied", name)
        return f"it failed: {type(error).__name__}"
    if answer is None:
        return None
    if not isinstance(answer, str):
        log.error("the authoriser %s answered %r, not with a reason or None: denied", name, answer)
        return "it gave no reason"
    return " ".join(answer.split())[:_MOST_REASON] or "it gave no reason"
