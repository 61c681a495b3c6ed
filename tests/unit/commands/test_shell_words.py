"""Lines of bash, zsh and fish as they are read for completion, and words as bash gets them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.completion.shell_words import ShellLine, quoted, read_shell_line

SHELLS = ("bash", "zsh", "fish")
TEXTS = st.text("ab \t'\"\\$`!;|&<>()#*?[]{}~=:@^%-é", max_size=12)


def line(*words: str, current: str = "", **more: object) -> ShellLine:
    """What is expected."""
    return ShellLine(words=words, current=current, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", line()),
        ("mcshell ", line("mcshell")),
        ("mcshell fi", line("mcshell", current="fi")),
        ("mcshell 'a b", line("mcshell", current="a b", quote="'")),
        ('mcshell "a b', line("mcshell", current="a b", quote='"')),
        ("mcshell a'b c'd", line("mcshell", current="ab cd")),
        ("mcshell a\\ b", line("mcshell", current="a b")),
        ("mcshell a\\", line("mcshell", current="a", known=False)),
        ("mcshell $HOME/x", line("mcshell", current="$HOME/x", known=False)),
        ('mcshell "$HOME', line("mcshell", current="$HOME", quote='"', known=False)),
        ("mcshell '$HOME", line("mcshell", current="$HOME", quote="'")),
        ('mcshell "a\\"b', line("mcshell", current='a"b', quote='"')),
        ("ls; mcshell fi", line("mcshell", current="fi")),
        ("ls | mcshell fi", line("mcshell", current="fi")),
        ("ls && mcshell fi", line("mcshell", current="fi")),
        ("mcshell ping > fi", line("mcshell", "ping", current="fi", redirected=True)),
        ("mcshell ping > file -", line("mcshell", "ping", current="-")),
        ("mcshell 'a;b' ", line("mcshell", "a;b")),
    ],
)
def test_reading(shell: str, text: str, expected: ShellLine) -> None:
    """Only the command at the cursor counts; its words are without their quotes."""
    assert read_shell_line(text, shell) == expected  # type: ignore[arg-type]


def test_shells_differ_inside_quotes() -> None:
    """In fish a backslash means something in single quotes, and outside of them before letters."""
    assert read_shell_line("x 'it\\'s", "fish").current == "it's"
    assert read_shell_line("x 'it\\'", "bash").current == "it\\"
    assert not read_shell_line("x a\\n", "fish").known
    assert read_shell_line("x a\\n", "bash").current == "an"
    assert read_shell_line('x "a`b', "fish").known
    assert not read_shell_line('x "a`b', "bash").known


@given(text=TEXTS, quote=st.sampled_from(["", "'", '"']))
def test_what_is_quoted_is_read_as_it_was(text: str, quote: str) -> None:
    """Readline closes an open quote, unless the last letter is one: the word is the text then."""
    word = quoted(text, quote)
    closed = quote if quote and not (quote + word).endswith(quote) else ""
    if quote and not word:
        closed = quote
    read = read_shell_line(f"x {quote}{word}{closed} ", "bash")
    assert read.words == (("x", text) if text or quote else ("x",))


@given(text=TEXTS, shell=st.sampled_from(SHELLS))
def test_no_line_is_too_odd(text: str, shell: str) -> None:
    """Every text is read."""
    read = read_shell_line(text, shell)  # type: ignore[arg-type]
    assert len(read.current) <= len(text)
