"""Values that would be something else where somebody forgot to quote them."""

from __future__ import annotations

import random

__all__ = ["SETTINGS", "WRONG_NAMES"]

_TEXTS = [
    '"',
    "'",
    "\\",
    '"""',
    "'''",
    'x"\n[node]\npolicies = "/tmp',
    "a\nb\r\nc\td\x00\x07\x1b\x7f",
    "{{ 1 + 1 }}",
    "{% for x in y %}",
    "{# no #}",
    "<%= 1 + 1 %>",
    "${facts} $(id) `id`",
    "%{facts}",
    "%n % %%",
    "# no comment",
    "\N{NO-BREAK SPACE}\N{LINE SEPARATOR}\N{SNOWMAN}\N{PILE OF POO}",
    "true",
    "1_000",
    "",
]
_SIGNS = "\"'\\{}%$#[]=,\n\r\t\x7f \x1fa\N{LATIN SMALL LETTER E WITH ACUTE}\N{GRINNING FACE}"
_made = random.Random(15)
_TEXTS += ["".join(_made.choices(_SIGNS, k=12)) for _ in range(60)]
SETTINGS = {
    "texts": _TEXTS,
    "flags": [True, False],
    "numbers": [0, -7, 2**53, 1.5, -2.5e-8],
    "table": {one: one for one in _TEXTS},
    "nested": {"list": [{"a.b": [[]]}, []], "none": {}},
}
"""One agent's: the table of it that a node's configuration may hold is the agent's own affair."""
WRONG_NAMES = ['a"b', "../web", "a b", "a\nb", "$(id)", ""]
