"""Pictures of what nodes said: foreign text is a label, never a formula, and no picture fails for it."""

from __future__ import annotations

import pandas as pd
import pytest

import mcshell.client.accessor  # noqa: F401 - it gives tables `df.mco`

NASTY = ("$\\frac{$ x", "$x^2$", "\\x$", "\x1b[31m\u202e<b>", "x" * 100_000, "line\nline", "")


@pytest.mark.parametrize("what", ["states", "lag", "map", "distribution"])
def test_foreign_text_is_a_label(what: str) -> None:
    """Each picture is drawn, whatever the senders, the column and its values are called."""
    frame = pd.DataFrame(
        {
            "sender": [f"n{number}{text}"[:300] for number, text in enumerate(NASTY)],
            "state": ["ok"] * len(NASTY),
            "lag": [0.1] * len(NASTY),
            "$y$": list(NASTY),
        }
    )
    picture = frame.mco.plot(what, "$y$" if what in ("map", "distribution") else None)
    assert picture.png().startswith(b"\x89PNG")
    texts = [one.get_text() for axes in picture.figure.axes for one in axes.get_yticklabels()]
    assert all(len(text) < 200 for text in texts)
    assert not any("$" in text.replace(r"\$", "") for text in texts)
