"""Mutated bodies against both codecs: `python -m tests.mcollective.fuzz COUNT SEED`.

A process of its own, for its memory and its CPU time are limited by the kernel: a big allocation
is a MemoryError, a hang a SIGXCPU. Every body must give an error of ours or plain data.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import sys
import time
import tracemalloc
from typing import Any

from mcshell.errors import BodyError, Rejected
from mcshell.wire.mcollective import marshal, messages, yamls
from mcshell.wire.mcollective.envelope import MCollectiveLimits, reply_of, request_of
from mcshell.wire.mcollective.filters import from_ruby
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol
from tests.mcollective.conftest import sampled

PLAIN = {type(None), bool, int, float, str, bytes, RubySymbol, RubyRegexp, list, dict, tuple}
MEMORY = 512 * 1024 * 1024
PER_BODY = 48 * 1024 * 1024
SECONDS = 5.0

VALUES: list[Any] = [
    [1, -5, 2**30, -(2**70), 1.5, float("inf"), None, True, "text", b"\xff\x00", RubySymbol("a")],
    {RubySymbol("a"): {"b": [RubyRegexp("^a", 1), {"c": "é" * 50}]}, ("x", 1): [[[[]]]]},
    ["x" * 300, *({"name": f"n{n}", "version": "1.2"} for n in range(20))],
]
RUBY_YAML = [
    b"---\n:body: |\n  ---\n  :ssl_msg: ping\n  :ssl_ttl: 60\n:filter:\n  fact: []\n  cf_class: &1 []\n",
    b"--- &1\n- :a\n- ! ':b: c'\n- !binary |-\n  /w==\n- !ruby/regexp /a/mi\n- *1\n- 1.0e+20\n",
    b"--- {a: &x [1, 0x1f, 1_0, 010, .5, 1:30], b: *x, ? [1, 2] : ~, 'c': \"\\x41\\u00e9\"}\n",
]
MARSHAL_TOKENS = [
    *(b"@\x06", b"@\x00", b";\x00", b"I", b"[\x06", b"{\x06", b"o:\x06A\x00", b"u:\x06A\x06x"),
    *(b"l+\x04\xff\xff\xff\x7f", b"[\x04\xff\xff\xff\x7f", b'"\x04\xff\xff\xff\x7f', b"}\x00i\x00"),
    *(b"[\x06" * 100, b"f\x0a" + b"1e999", b"S:\x06A\x00", b"C:\x06A", b"e:\x06A", b"c\x06A"),
    *(b"[\x07@\x06" * 20, b"\x04\x08", b"\xff", b"\x00", b'I"\x06a\x06:\x06ET', b"/\x06a\x00"),
]
YAML_TOKENS = [
    *(b"&a ", b"*a", b"!ruby/object:A ", b"!!python/object:os ", b"<<: ", b"? ", b": ", b"- "),
    *(
        b"[" * 50,
        b"{" * 50,
        b"- " * 50,
        b"\n",
        b"  ",
        b"'",
        b'"',
        b"|\n",
        b">\n",
        b"!binary ",
        b"%TAG ",
    ),
    *(b"\xff", b"\x00", b"\xef\xbb\xbf", b"9" * 300, b"0x" + b"f" * 3000, b"2026-01-01", b":a"),
    *(b"&a [*a, *a]", b"*b", b"!ruby/regexp /(/", b"!ruby/symbol ", b"---\n", b"...\n", b"\t"),
]


def seeds() -> tuple[list[bytes], list[bytes]]:
    """Bodies of real fleets, of Ruby and of ours."""
    marshals = [marshal.dump(value) for value in VALUES]
    for capture in ("activemq-psk.jsonl", "activemq-ssl-marshal.jsonl"):
        for frame in sampled(capture):
            if frame["body"]:
                marshals.append(frame["body"])
                inner = marshal.load(frame["body"])[RubySymbol("body")]
                marshals.append(inner)
    values = [marshal.load(body) for body in marshals]
    return marshals, [*RUBY_YAML, *(yamls.dump(value) for value in values)]


def mutated(chance: random.Random, body: bytes, others: list[bytes], tokens: list[bytes]) -> bytes:
    """A body with one to six changes."""
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(7):
            case 0:
                body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
            case 1:
                body = body[:at] + body[at + chance.randint(1, 8) :]
            case 2:
                body = body[:at] + chance.choice(tokens) + body[at:]
            case 3:
                piece = body[at : at + chance.randint(1, 200)]
                body = body[:at] + piece * chance.randint(2, 30) + body[at:]
            case 4:
                other = chance.choice(others)
                body = body[:at] + other[chance.randrange(len(other)) :]
            case 5:
                body = body[:at]
            case _:
                flipped = body[at : at + 1]
                body = (
                    body[:at]
                    + bytes(b ^ (1 << chance.randrange(8)) for b in flipped)
                    + body[at + 1 :]
                )
        if len(body) > 200_000:
            body = body[:200_000]
    return body


def check_plain(value: Any) -> None:
    """Walk a value: every part is of a plain type, and nothing holds itself."""
    stack, steps = [value], 0
    while stack:
        one = stack.pop()
        steps += 1
        assert type(one) in PLAIN, type(one)
        assert steps < 2_000_000, "it holds itself"
        if isinstance(one, dict):
            stack.extend(one.keys())
            stack.extend(one.values())
        elif isinstance(one, (list, tuple)):
            stack.extend(one)


def further(value: Any) -> None:
    """Take what was read through the layers above; they may only refuse it."""
    for read in (request_of, reply_of):
        try:
            read(value, None)
        except Rejected:
            continue
    messages.plain(value)
    filters = value.get(RubySymbol("filter"), value) if isinstance(value, dict) else None
    if isinstance(filters, dict):
        try:
            from_ruby(filters)
        except Rejected:
            return


def run(count: int, seed: int) -> dict[str, float]:
    """Try `count` bodies, half of them of each codec."""
    chance = random.Random(seed)
    marshals, texts = seeds()
    psk = PSK("rig-secret")
    read = 0
    slowest = largest = 0.0
    for number in range(count):
        of_marshal = number % 2 == 0
        pool, tokens, codec = (
            (marshals, MARSHAL_TOKENS, marshal) if of_marshal else (texts, YAML_TOKENS, yamls)
        )
        body = mutated(chance, chance.choice(pool), pool, tokens)
        begun = time.process_time()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            value = codec.load(body)
        except BodyError:
            value = None
        else:
            read += 1
            check_plain(value)
            further(value)
        largest = max(largest, tracemalloc.get_traced_memory()[1] - before)
        if of_marshal:
            with contextlib.suppress(Rejected):
                psk.open_request(body, MCollectiveLimits(), 1_795_487_700.0)
        slowest = max(slowest, time.process_time() - begun)
        assert slowest < SECONDS, body[:200]
        assert largest < PER_BODY, body[:200]
    return {"read": read, "slowest": slowest, "largest": largest}


def main() -> None:
    """Run within limits, and print what came of it."""
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    cpu = 120 + count // 50
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    tracemalloc.start(1)
    print(json.dumps(run(count, seed)))


if __name__ == "__main__":
    main()
