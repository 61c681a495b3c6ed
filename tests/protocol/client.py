"""Asks a fleet, and verifies the answers by mcshell/wire/PROTOCOL.md alone, without mcshell:
client.py HOST:PORT USER PASSCODE CA CERT KEY COLLECTIVE CALLER AGENT ACTION [SECONDS]
prints a JSON document for each verified word, then how many were refused, and why.
"""

import base64
import hashlib
import json
import re
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from queue import Empty, SimpleQueue

import stomp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

HEADERS = "mcs-signature", "mcs-certificate"


def message(key, body):
    """What a key's `sign`, and behind a signature its `verify`, take for a body."""
    covered = b"mcshell-2 sha256 " + hashlib.sha256(body).digest()
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return covered, ec.ECDSA(hashes.SHA384() if key.key_size > 256 else hashes.SHA256())
    is_rsa = isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey)
    return (covered, padding.PKCS1v15(), hashes.SHA256()) if is_rsa else (covered,)


def quote(name):
    """An identity or a caller as one segment of a destination."""
    return re.sub("[^a-z0-9._-]", lambda c: "~" + c[0].encode().hex("~"), name)


def make_request(collective, caller, session, agent, action):
    """A request to all that have the agent, good for a minute."""
    now, parts = time.time(), {"fact": [], "class": [], "identity": [], "compound": []}
    nonce = secrets.token_hex(16)
    made = hashlib.sha256(f"request\n{caller}\n{nonce}".encode()).hexdigest()[:32]
    kind = {"v": 2, "kind": "request", "id": made, "nonce": nonce, "via": "broadcast"}
    what = {"agent": agent, "action": action, "data": {}, "filter": {**parts, "agent": [agent]}}
    whom = {"collective": collective, "identity": None, "pool": None, "session": session}
    return kind | what | whom | {"caller": caller, "created": now, "expires": now + 60}


def open_reply(body, headers, ca, asked):
    """Check one message and return the reply; raises ValueError with the reason's code."""
    reply = json.loads(body) if len(body) <= 1 << 20 else {}
    if [reply.get(key) for key in ("v", "kind", "id")] != [2, "reply", json.loads(asked)["id"]]:
        raise ValueError("unknown_request")
    signature, der = (base64.b64decode(headers[header]) for header in HEADERS)
    leaf = x509.load_der_x509_certificate(der)
    try:
        leaf.verify_directly_issued_by(ca)
        leaf.public_key().verify(signature, *message(leaf.public_key(), body))
    except (InvalidSignature, ValueError):
        raise ValueError("bad_signature") from None
    dates = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not dates[0] <= time.time() <= dates[1]:
        raise ValueError("cert_expired")
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = san.get_values_for_type(x509.UniformResourceIdentifier)
    if uri != f"mcshell:node:{reply['sender']}":
        raise ValueError("wrong_sender")
    if reply["digest"] != hashlib.sha256(asked).hexdigest():
        raise ValueError("unbound")
    return reply


def main(place, user, passcode, ca, cert, key, collective, caller, agent, action, seconds="5"):
    """Ask, and print what comes in so many seconds."""
    inbox, refused, session = SimpleQueue(), Counter(), secrets.token_hex(16)
    trusted, leaf = (x509.load_pem_x509_certificate(Path(one).read_bytes()) for one in (ca, cert))
    private = load_pem_private_key(Path(key).read_bytes(), None)
    broker = stomp.Connection12([place.split(":")], vhost="/", auto_decode=False)
    calls = {f"on_{name}": lambda _, frame: inbox.put(frame) for name in ("connected", "message")}
    broker.set_listener("", type("Ear", (stomp.ConnectionListener,), calls)())
    broker.connect(user, passcode, wait=True)
    name = f"mcs.{collective}.reply.{quote(caller)}.{session}"
    rabbit = "RabbitMQ/" in inbox.get(timeout=5).headers["server"]
    more = {"durable": "true", "auto-delete": "false", "x-queue-name": name} if rabbit else {}
    broker.subscribe(f"/{'topic' if rabbit else 'queue'}/{name}", "1", "auto", headers=more)
    body = json.dumps(make_request(collective, caller, session, agent, action)).encode()
    vouchers = private.sign(*message(private, body)), leaf.public_bytes(Encoding.DER)
    headers = dict(zip(HEADERS, (base64.b64encode(one).decode() for one in vouchers), strict=True))
    broker.send(f"/topic/mcs.{collective}.broadcast", body, headers=headers)
    end = time.time() + float(seconds)
    while (left := end - time.time()) > 0:
        try:
            frame = inbox.get(timeout=left)
            print(json.dumps(open_reply(frame.body, frame.headers, trusted, body)))
        except ValueError as reason:
            refused[str(reason)] += 1
        except Empty:
            print(json.dumps({"refused": refused}))
    broker.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
