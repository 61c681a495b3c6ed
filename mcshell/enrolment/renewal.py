"""A daemon renews its certificate in time, by itself, for the key that it has.

It asks where machines ask for their first one; what vouches is the certificate that still is good. The
new one takes its place in the file and at work, where nothing else changes: no connection is cut, and
what was signed before is good as long as its own certificate is.

Where another CA takes the place of ours it does so soon after `pki.ca` has that one first, which is the
one that signs: within an hour, however long its certificate would last.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from cryptography import x509

from mcshell.enrolment.asking import ask
from mcshell.enrolment.machine import renewal, renewed
from mcshell.errors import MCShellError
from mcshell.pki.certificates import issued_at
from mcshell.pki.realm import names_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.config import Settings
    from mcshell.wire.documents.enrolment import EnrolmentAnswer, EnrolmentMessage
    from mcshell.wire.documents.signatures import Signer

__all__ = ["Renewal"]

log = logging.getLogger(__name__)

_FROM, _TO = 0.55, 0.70
"""Of a certificate's life, when it is renewed: each name at a time of its own, so that not all ask at once."""
_TRIES: Final = 20
"""So many more times in a life it is tried again after a failure."""
_LONGEST: Final = 3600.0
_LOOK: Final = 60.0
_ASKED_FOR: Final = 30.0
_GOODBYE: Final = 2.0


class Renewal:
    """A thread that renews where the settings say.

    Args:
        settings: the daemon's.
        signer: speaks for it; goes on with the new certificate.
        done: told of each answer that brought one.
    """

    def __init__(
        self, settings: Settings, signer: Signer, done: Callable[[EnrolmentAnswer], object]
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._done = done
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look at the certificate's end."""
        self._thread = threading.Thread(target=self._run, name="mcshell-renewal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE)

    def due(self) -> float:
        """When it is to be renewed (epoch)."""
        one = self._signer.identity
        share = hashlib.sha256(one.name.encode()).digest()[0] / 256
        usual = issued_at(one) + self._life() * (_FROM + (_TO - _FROM) * share)
        since = self._other_ca_since()
        if since is None:
            return usual
        return min(usual, since + share * min(_LONGEST, self._life() / _TRIES))

    def _other_ca_since(self) -> float | None:
        """Since when (epoch) another CA signs than the one that has issued ours; None while it does."""
        ca, cert, _key = self._settings.pki.files()
        try:
            pem = ca.read_bytes()
            if not names_fleet(pem):
                return None
            first = x509.load_pem_x509_certificate(pem)
            mine = x509.load_pem_x509_certificate(cert.read_bytes())
            return None if mine.issuer == first.subject else ca.stat().st_mtime
        except (OSError, ValueError) as error:
            log.warning("whether another CA signs cannot be told: %s", error)
            return None

    def _look(self) -> float:
        """Seconds until it is looked again whether another CA signs."""
        return min(_LOOK, self._life() / _TRIES)

    def _life(self) -> float:
        one = self._signer.identity
        return one.not_after - issued_at(one)

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(max(pause, min(self.due() - time.time(), self._look()))):
            pause = 0.0
            if time.time() < self.due():
                continue
            pause = min(self._life() / _TRIES, _LONGEST)
            try:
                self._renew()
            except MCShellError as error:
                left = (self._signer.identity.not_after - time.time()) / 3600
                log.warning("the certificate is not renewed, %.1f h are left: %s", left, error)
            except Exception:
                log.exception("the certificate is not renewed")

    def _renew(self) -> None:
        pki, one = self._settings.pki, self._signer.identity
        ca, cert, key = pki.files()
        request = renewal(cert, key, one.kind, one.name)
        state, why = "waiting", "no answer came"

        def take(message: EnrolmentMessage) -> bool:
            nonlocal state, why
            answer = renewed(pki, request, message, one.kind, one.name)
            state, why = answer.state, answer.reason
            if state == "signed":
                self._signer.renew(x509.load_pem_x509_certificate(answer.certificate))
                self._done(answer)
            return state != "waiting"

        collective = self._settings.collective.main
        ask(pki.enrolment, collective, request, take, ca=ca, timeout=_ASKED_FOR)
        if state == "signed":
            log.info("the certificate is renewed, good until %s", _until(self._signer))
        else:
            log.warning("the certificate is not renewed: %s", why)


def _until(signer: Signer) -> str:
    return time.strftime("%F %TZ", time.gmtime(signer.identity.not_after))
