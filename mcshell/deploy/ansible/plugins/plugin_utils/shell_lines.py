"""Lines of a node's shell as a request carries them: text, and what they read. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["after_password", "at_home", "text_of"]

# As ssh has it: in the user's own folder. A daemon may have no HOME.
_HOME: Final = (
    '[ "$HOME" ] || { HOME=$(eval echo "~$(id -un)"); export HOME; }; cd 2>/dev/null || cd /; '
)


def at_home(line: bytes) -> str:
    """A line of the shell, done in the home folder of who runs it.

    Names in it that are no UTF-8 go as octal numbers, which the shell reads again.
    """
    said = text_of(line)
    if isinstance(said, bytes):
        octal = "".join(f"\\0{one:03o}" for one in line)
        said = f"eval \"$(printf %b '{octal}')\""
    return _HOME + said


def after_password(
    line: bytes, success: bytes, password: bytes, data: bytes
) -> tuple[bytes, bytes]:
    """A line that becomes another user, and all that it reads: the password, a mark, the data.

    Nobody waits here for the prompt. Where no password was asked for, it is still to be read: once the other
    user has said `success`, all up to the mark is skipped, so that it never is data.
    """
    mark = success + b"-DATA"
    said = b"echo " + success
    skip = b"while read -r REPLY; do case $REPLY in " + mark + b") break;; esac; done"
    return line.replace(said, said + b" ; " + skip, 1), b"\n".join((password, mark, data))


def text_of(data: bytes) -> str | bytes:
    """Text where it is UTF-8, else the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
