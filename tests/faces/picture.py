"""The picture of a session in README: a real one, in a real terminal, drawn as SVG.

Run `python tests/faces/picture.py` to type it once more and to draw it anew.
"""

from __future__ import annotations

import html
import os
import re
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LINES", "PICTURE", "TYPED", "draw", "play", "steady", "text_of"]

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "notebooks" / "session.svg"
SIZE = (104, 32)
PROMPT = "mcs>"
LINES = (
    "facts site -C role::web",
    "rpc package status name=openssl -F role=web --odd version",
    "ping -I web[01-03] -I db7 --only state=silent",
)
TYPED = "find -F os.name="  # and the menu that opens

_WIDE, _HIGH, _EDGE = 8.4, 18, 14
_INK, _PAPER = "#d8dee9", "#1e222a"
_BASIC = ["1e222a", "bf616a", "a3be8c", "ebcb8b", "81a1c1", "b48ead", "88c0d0", "d8dee9"]
_BRIGHT = ["4c566a", "d08770", "a3be8c", "ebcb8b", "81a1c1", "b48ead", "8fbcbb", "ffffff"]
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


def play(terminal: Terminal) -> str:
    """Type the session of the picture; the screen at its end, with its escape sequences."""
    terminal.wait_for(f"\n{PROMPT}")
    for count, line in enumerate(LINES, start=2):
        terminal.type(line)
        terminal.wait_for(line)
        terminal.press("Enter")
        terminal.wait(lambda screen, count=count: screen.count(f"\n{PROMPT}") >= count)
    terminal.type(TYPED)
    terminal.wait(lambda screen: "Rocky" in screen.rpartition(TYPED)[2])
    # The toolbar is drawn anew once a second.
    terminal.wait(lambda screen: " open" not in screen.splitlines()[-1])
    before, prompt, after = terminal.raw().partition(f"{PROMPT} {LINES[0]}")
    assert prompt, before
    return prompt + after


def steady(line: str) -> str:
    """A line without what differs from run to run: times and ids."""
    line = re.sub(r"\d+\.\d+ s\b", "T s", line)
    return re.sub(r"request [0-9a-f]{8}", "request ID", line).rstrip()


@dataclass(frozen=True, slots=True)
class _Style:
    ink: str = _INK
    paper: str = _PAPER
    bold: bool = False
    reverse: bool = False


def draw(screen: str) -> str:
    """Draw a screen: one text element a line, and rectangles for what has another ground."""
    lines = screen.rstrip("\n").split("\n")
    width, height = SIZE[0] * _WIDE + 2 * _EDGE, len(lines) * _HIGH + 2 * _EDGE
    font = 'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="14"'
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect width="100%" height="100%" rx="6" fill="{_PAPER}"/>',
    ]
    for row, line in enumerate(lines):
        drawn += _drawn(list(_spans(line)), _EDGE + row * _HIGH)
    return "\n".join([*drawn, "</svg>", ""])


def _drawn(spans: list[tuple[_Style, str]], top: float) -> list[str]:
    found, text, column = [], "", 0
    for style, piece in spans:
        ink, paper = (style.paper, style.ink) if style.reverse else (style.ink, style.paper)
        if paper != _PAPER:
            found.append(
                f'<rect x="{_EDGE + column * _WIDE:.1f}" y="{top:.0f}" '
                f'width="{len(piece) * _WIDE:.1f}" height="{_HIGH}" fill="{paper}"/>'
            )
        weight = ' font-weight="bold"' if style.bold else ""
        text += f'<tspan fill="{ink}"{weight}>{html.escape(piece)}</tspan>'
        column += len(piece)
    if column:
        found.append(
            f'<text x="{_EDGE}" y="{top + _HIGH - 5:.0f}" xml:space="preserve" '
            f'textLength="{column * _WIDE:.1f}" lengthAdjust="spacingAndGlyphs">{text}</text>'
        )
    return found


def _spans(line: str) -> Iterator[tuple[_Style, str]]:
    style = _Style()
    for place, piece in enumerate(_SGR.split(line)):
        if place % 2:
            style = _changed(style, [int(code or 0) for code in piece.split(";")])
        elif piece:
            yield style, piece


def _changed(style: _Style, codes: list[int]) -> _Style:
    """The style after an SGR sequence (ECMA-48, with the colours of xterm)."""
    rest = iter(codes)
    for code in rest:
        if code == 0:
            style = _Style()
        elif code in (1, 7, 22, 27):
            name = "bold" if code in (1, 22) else "reverse"
            style = replace(style, **{name: code < 20})
        elif code in (39, 49):
            style = replace(style, **{"ink": _INK} if code == 39 else {"paper": _PAPER})
        elif 30 <= code <= 48 or 90 <= code <= 107:
            name = "paper" if code // 10 in (4, 10) else "ink"
            style = replace(style, **{name: _colour(code, rest)})
    return style


def _colour(code: int, rest: Iterator[int]) -> str:
    if code % 10 != 8 or code > 89:
        return f"#{(_BRIGHT if code > 89 else _BASIC)[code % 10]}"
    if next(rest) == 2:
        return "#" + "".join(f"{next(rest):02x}" for _ in range(3))
    number = next(rest)
    if number < 16:
        return f"#{(_BRIGHT if number > 7 else _BASIC)[number % 8]}"
    if number > 231:
        return "#" + f"{8 + (number - 232) * 10:02x}" * 3
    steps = (number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6
    return "#" + "".join(f"{55 + step * 40 if step else 0:02x}" for step in steps)


def text_of(picture: str) -> list[str]:
    """The lines of text in a picture."""
    found = re.findall(r"<text [^>]*>(.*?)</text>", picture)
    return [html.unescape(re.sub(r"<[^>]*>", "", line)).rstrip() for line in found]


def main() -> None:
    """Draw the picture anew."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, "-m", "mcshell", "demo"]
        with Terminal(Path(folder), demo, environ, SIZE) as terminal:
            PICTURE.write_text(draw(play(terminal)), encoding="utf-8")
            terminal.press("C-c", "C-d")
            terminal.wait(lambda _screen: terminal.ended())


if __name__ == "__main__":
    main()
