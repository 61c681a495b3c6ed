"""What a program of the site's decides about a machine that asks for a certificate.

It gets KIND and NAME as its arguments and the PKCS#10 request (PEM) on standard input. Exit code 0
signs, 2 refuses, any other leaves it to a hand; the first line that it writes is the reason. Names and
requests are the asker's own words: the program is started without a shell.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Literal

from mcshell.enrolment.programs import run_program
from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.private import check_obeyed
from mcshell.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.wire.documents.enrolment import EnrolmentRequest

__all__ = ["Decider", "SigningDecision"]

_PATIENCE: Final = 10.0
_REASON: Final = 200
_REFUSED: Final = 2
_EACH: Final = 5.0
"""Seconds of its time that those without a token may take of each minute; who has one is always asked."""


@dataclass(frozen=True, slots=True)
class SigningDecision:
    """`sign`, `wait` (for a hand) or `refuse`, and why."""

    verdict: Literal["sign", "wait", "refuse"]
    reason: str = ""


class Decider:
    """Asks a program.

    Raises:
        ConfigError: it is none, or others could change it.
    """

    def __init__(self, program: Path) -> None:
        self._program = program.absolute()  # a bare name would be looked for on PATH
        self._spent = 0.0
        self._since = time.monotonic()
        if not program.is_file() or not os.access(program, os.X_OK):
            raise ConfigError(f"{program} is no program that can be run", key="--decide")
        try:
            check_obeyed(program)
        except OSError as error:
            raise ConfigError(f"{program}: {error.strerror}", key="--decide") from error

    def __call__(self, request: EnrolmentRequest) -> SigningDecision:
        """Ask; raises Rejected where too many without a token are asked about, who may ask again."""
        began = time.monotonic()
        if began - self._since > 60:  # noqa: PLR2004 - a minute
            self._spent, self._since = 0.0, began
        if request.token is None and self._spent > _EACH:
            raise Rejected(Reason.TOO_OFTEN, "too many without a token were decided about just now")
        decision = self._ask(request)
        if request.token is None:
            self._spent += time.monotonic() - began
        return decision

    def _ask(self, request: EnrolmentRequest) -> SigningDecision:
        name = self._program.name
        argv = [str(self._program), request.kind, request.name]
        try:
            code, output = run_program(argv, stdin=request.csr, patience=_PATIENCE)
        except OSError as error:
            return SigningDecision("wait", f"{name}: {error.strerror}")
        said = output.decode(errors="replace").strip().partition("\n")[0][:_REASON]
        if code == 0:
            return SigningDecision("sign", said)
        what = f"{name} ended with {code}"
        return SigningDecision("refuse" if code == _REFUSED else "wait", said or what)
