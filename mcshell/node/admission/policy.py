"""Policy: may this caller have this agent do that here? ActionPolicy's files and meaning.

`AGENT.policy`, else `default.policy`, else no. The form is that of MCollective's ActionPolicy
(github.com/choria-plugins/action-policy): see `policy_file`. Rules are asked in order, the first
that matches decides.

Where we are stricter than ActionPolicy, always towards "no": a line that does not parse denies
everything for that agent until it is repaired (there, it is skipped, and a skipped `deny` is an
"allow"); a data plugin that cannot answer denies; `default.policy` never covers what changes a
machine at the caller's will (`UNCOVERED`); callers of MCollective's old wire (`mco-psk:uid=0`)
match only where a rule names their prefix, never `*` nor a default.

Once the policy has said yes, authorisers are asked (plugins of that kind, `mcshell.plugins`), in the
order of their names: none can allow what the policy denies.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import PluginError
from mcshell.node.admission.policy_file import Policy, PolicyError, parse_groups, parse_policy
from mcshell.plugins import AuthorisationQuestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.host import Host
    from mcshell.plugins import Authoriser

__all__ = ["UNCOVERED", "Authorisation", "Decision", "Policies"]

UNCOVERED: Final[Mapping[str, frozenset[str] | None]] = {
    "exec": None,
    "file": None,
    "converse": None,
    "process": frozenset({"signal"}),
    "package": frozenset({"install", "update", "remove"}),
}
_CHECK_EVERY: Final = 1.0
_MOST_REASON: Final = 500
"""Characters of an authoriser's reason."""
_AGENT = re.compile(r"[a-z0-9_-]+")
# No file there: as good a stamp as any, and equal to itself.
_ABSENT: Final = (0, 0, 0, 0, 0)

# A stat that failed says nothing about the file: to take it for absent would open default.policy.
_UNKNOWN: Final = -1

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, and the rule that says so: `exec.policy:12`."""

    allowed: bool
    why: str


def _no_answer(plugin: str, _params: str | None) -> Mapping[str, Any]:
    raise PluginError("no data plugins here", kind="data", name=plugin)


@dataclass(slots=True, kw_only=True)
class _PolicyQuestion:
    """What a rule's conditions are asked of; remembers when a question had no answer."""

    facts: Mapping[str, Any]
    classes: frozenset[str]
    identity: str = ""
    agents: frozenset[str] = frozenset()
    answer: Callable[[str, str | None], Mapping[str, Any]] = field(default=_no_answer)
    unanswered: str = ""

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Ask a data plugin of the node."""
        try:
            return self.answer(plugin, params)
        except PluginError:
            self.unanswered = plugin
            raise


@dataclass(slots=True)
class _LoadedPolicy:
    """One file as it was read last; `checked` is the monotonic clock's time of the last stat."""

    checked: float = float("-inf")
    stamp: Stamp | None = None
    groups: Stamp | None = None
    policy: Policy | None = None
    error: str = ""


@dataclass(slots=True)
class _Groups:
    checked: float = float("-inf")
    stamp: Stamp | None = None
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    error: str = ""


class Policies:
    """The policy files of one directory, read again when they change (looked at once a second).

    `query` answers data plugins in compound conditions. May be called from any thread.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        query: Callable[[str, str | None], Mapping[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = Path(directory)
        self._query = query or _no_answer
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, _LoadedPolicy] = {}
        self._groups = _Groups()

    def decide(
        self,
        caller: str,
        agent: str,
        action: str,
        facts: Mapping[str, Any],
        classes: frozenset[str] | set[str],
        owner: str | None = None,
    ) -> Decision:
        """Say whether `caller` may have `agent.action` run here; a doubt is a no.

        With `owner` it is about what belongs to another caller: that is the fact `owner` then, and
        only a rule that asks for it allows (`allow cert=bob edit owner=cert=alice`).
        """
        if not _AGENT.fullmatch(agent):
            return Decision(False, f"{agent[:40]!r} is no agent's name")
        with self._lock:
            file, name = self._file(f"{agent}.policy"), f"{agent}.policy"
            if file.policy is None and not file.error:
                if _uncovered(agent, action):
                    why = f"default.policy does not cover {agent}.{action}: it wants {name}"
                    return Decision(False, why)
                file, name = self._file("default.policy"), "default.policy"
        if file.error:
            return Decision(False, file.error)
        if file.policy is None:
            return Decision(False, f"there is neither {agent}.policy nor default.policy")
        if owner is not None:
            facts = {**facts, "owner": owner}
        asked = _PolicyQuestion(facts=facts, classes=frozenset(classes), answer=self._query)
        return _decide(file.policy, name, caller, action, asked, of_another=owner is not None)

    def _file(self, name: str) -> _LoadedPolicy:
        """The file as it is now, or was a second ago at most."""
        file = self._files.setdefault(name, _LoadedPolicy())
        clock = self._clock()
        if clock - file.checked < _CHECK_EVERY:
            return file
        groups = self._current_groups(clock)
        stamp = _stamp(self.directory / name)
        if stamp != file.stamp or groups.stamp != file.groups:
            file = self._read(name, stamp, groups)
            self._files[name] = file
        file.checked = clock
        return file

    def _read(self, name: str, stamp: Stamp, groups: _Groups) -> _LoadedPolicy:
        file = _LoadedPolicy(stamp=stamp, groups=groups.stamp)
        if stamp == _ABSENT:
            return file
        try:
            text = _text(self.directory / name, stamp)
            file.policy = parse_policy(text, groups.members, groups.error)
        except PolicyError as error:
            file.error = f"{name}:{error.line}: {error}"
        except OSError as error:
            file.error = f"{name}: {error.strerror}"
        except ValueError as error:
            file.error = f"{name}: {error}"
        return file

    def _current_groups(self, clock: float) -> _Groups:
        groups = self._groups
        if clock - groups.checked < _CHECK_EVERY:
            return groups
        path = self.directory / "groups"
        stamp = _stamp(path)
        if stamp != groups.stamp:
            groups = _Groups(stamp=stamp)
            try:
                groups.members = {} if stamp == _ABSENT else parse_groups(_text(path, stamp))
            except PolicyError as error:
                groups.error = f"groups:{error.line}: {error}"
            except OSError as error:
                groups.error = f"groups: {error.strerror}"
            except ValueError as error:
                groups.error = f"groups: {error}"
            self._groups = groups
        groups.checked = clock
        return groups


def _uncovered(agent: str, action: str) -> bool:
    if agent not in UNCOVERED:
        return False
    actions = UNCOVERED[agent]
    return actions is None or action in actions


def _decide(
    policy: Policy, name: str, caller: str, action: str, asked: _PolicyQuestion, *, of_another: bool
) -> Decision:
    for rule in policy.rules:
        if not rule.callers.include(caller) or not rule.covers(action):
            continue
        if of_another and rule.allow and not rule.asks("owner"):
            continue
        matches = all(condition.matches(asked) for condition in rule.conditions)
        if asked.unanswered:
            why = f"{name}:{rule.line}: the data plugin {asked.unanswered} has no answer here"
            return Decision(False, why)
        if matches:
            return Decision(rule.allow, f"{name}:{rule.line}")
    if policy.default_allow and of_another:
        return Decision(False, f"{name}: its default is not about what belongs to another")
    if policy.default_allow and caller.startswith("mco-"):
        return Decision(False, f"{name}: its default is not for callers of the old wire")
    line = f":{policy.default_line}" if policy.default_line else ""
    return Decision(policy.default_allow, f"{name}{line} (default)")


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except FileNotFoundError:
        return _ABSENT
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
    if stamp[0] == _UNKNOWN:
        raise OSError(stamp[1], os.strerror(stamp[1]))
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise ValueError(f"anyone can write it; run: chmod o-w {path}")
        return file.read().decode("utf-8")


log = logging.getLogger(__name__)


class Authorisation:
    """The policies of a process and its authorisers by name; may be asked from any thread."""

    def __init__(self, policies: Policies, authorisers: Mapping[str, Authoriser]) -> None:
        self._policies = policies
        self._authorisers = authorisers

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
        decision = self._policies.decide(caller, agent, action, facts, classes, owner)
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
