"""The text of `AGENT.approvals`: how many other operators have to say yes to what.

::

    # callers           actions     approvals   approvers       facts               classes
    *                   restart     1           oncall          environment=production
    cert=robot          status      0
    *                   *           2           sysadmins /^cert=.+_lead$/
    break-glass         cert=carol  *

It stands beside `AGENT.policy`, and its fields are written as there (`policy_file`): it asks for more
than the policy does, and allows nothing that the policy denies. The first line that is about caller,
action and node says how many approvals it takes, and by whom; where none is, it takes none. A line of
`break-glass` names who may do without, with a reason that everybody sees.

Any line that cannot be used denies everything for that agent. Where it cannot be told whether a line is
about a node (`policy_conditions`), what it asks for has to be there, and what the next one asks for, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mcshell.errors import FilterError
from mcshell.node.admission.policy_file import (
    Callers,
    PolicyCost,
    PolicyError,
    PolicyFlaw,
    PolicyRule,
    actions_in,
    callers_in,
    condition_of,
    numbered_lines,
    refuse_hiding,
    refuse_unseen,
    words_in,
)
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ApprovalPolicy", "ApprovalRule", "parse_approvals"]

_FORM: Final = "callers, actions, how many, approvers, facts, classes"
_EMERGENCY: Final = "break-glass"
_COUNT: Final = re.compile(r"[0-9]{1,2}")
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """One line: what it is about, how many approvals that takes, and whose they may be."""

    about: PolicyRule
    count: int
    approvers: Callers | None


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """A file: its rules in order, who may break the glass, and what cannot be used of it."""

    rules: tuple[ApprovalRule, ...] = ()
    emergencies: tuple[PolicyRule, ...] = ()
    flaws: tuple[PolicyFlaw, ...] = ()


def parse_approvals(
    text: str, groups: Mapping[str, frozenset[str]], groups_error: str = ""
) -> ApprovalPolicy:
    """Read the file; `groups_error` is what is wrong with the groups, if a line needs them."""
    rules: list[ApprovalRule] = []
    emergencies: list[PolicyRule] = []
    flaws: list[PolicyFlaw] = []
    for number, line in numbered_lines(text):
        try:
            refuse_hiding(number, line)
            if not line or line.startswith("#"):
                continue
            refuse_unseen(number, line)
            fields = (
                [one.strip() for one in re.split(r"\t+", line)] if "\t" in line else line.split()
            )
            if fields[0] == _EMERGENCY:
                emergencies.append(_about(number, fields[1:], groups, groups_error, allow=True))
            else:
                rules.append(_rule(number, fields, groups, groups_error))
        except (PolicyError, FilterError) as error:
            flaws.append(PolicyFlaw(number, " ".join(str(error).split()), PolicyCost.FILE))
    return ApprovalPolicy(tuple(rules), tuple(emergencies), tuple(flaws))


def _rule(
    number: int, fields: list[str], groups: Mapping[str, frozenset[str]], groups_error: str
) -> ApprovalRule:
    if len(fields) < 3 or not _COUNT.fullmatch(fields[2]) or int(fields[2]) > _MOST:  # noqa: PLR2004 - the third
        raise PolicyError(number, f"a line is {_FORM}; how many is 0 to {_MOST}")
    count = int(fields[2])
    approvers = None
    if count:
        if len(fields) < 4 or fields[3] == "*":  # noqa: PLR2004 - the fourth
            raise PolicyError(number, "whose approvals? callers are meant, and not *")
        words = words_in(number, fields[3])
        approvers = callers_in(number, words, groups, groups_error)
    about = [*fields[:2], *fields[4:]]
    return ApprovalRule(
        _about(number, about, groups, groups_error, allow=not count), count, approvers
    )


def _about(
    number: int,
    fields: list[str],
    groups: Mapping[str, frozenset[str]],
    groups_error: str,
    *,
    allow: bool,
) -> PolicyRule:
    """What a line is about; `allow`: it asks for less."""
    if not 2 <= len(fields) <= 4 or not all(fields):  # noqa: PLR2004 - callers and actions, facts, classes
        raise PolicyError(
            number, f"a line is {_FORM}; or {_EMERGENCY}, callers, actions, facts, classes"
        )
    callers, actions, facts, classes = [*fields, "*", "*"][:4]
    return PolicyRule(
        number,
        allow,
        callers_in(number, words_in(number, callers), groups, groups_error),
        actions_in(number, words_in(number, actions), allow=allow),
        condition_of(facts, classes),
    )
