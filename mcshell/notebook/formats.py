"""What IPython shows of our results: `Replies` live, and every table harmless.

`install` is called by `%load_ext mcshell`, and by `mcshell.connect` where IPython runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell import interrupts
from mcshell.client.rpc.replies import Replies
from mcshell.notebook.display import bundle
from mcshell.notebook.frames import drawn_text, page, styled
from mcshell.notebook.painter import Painter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["install", "uninstall"]

_KINDS = (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)
_STYLER = ("pandas.io.formats.style", "Styler")
_PAINTER = "_mcshell_painter"


def install(shell: InteractiveShell) -> Painter | None:
    """Have a shell show our results, and hear Ctrl-C in each cell; the painter where it is a kernel's.

    A second time changes nothing.
    """
    formatter: Any = shell.display_formatter
    text, web = formatter.formatters["text/plain"], formatter.formatters["text/html"]
    for kind in _KINDS:
        text.for_type(kind, _pretty)
    web.for_type(pd.DataFrame, page)
    web.for_type_by_name(*_STYLER, styled)  # imported where it is used: it wants Jinja
    formatter.mimebundle_formatter.for_type(Replies, _bundle)
    shell.events.register("pre_run_cell", _new_cell)
    painter: Painter | None = getattr(shell, _PAINTER, None)
    if painter is None and hasattr(shell, "kernel"):
        painter = Painter(_publisher(shell))
        setattr(shell, _PAINTER, painter)
        shell.events.register("post_run_cell", painter.flush)
        formatter.ipython_display_formatter.for_type(Replies, painter.show)
    return painter


def uninstall(shell: InteractiveShell) -> None:
    """Undo `install`."""
    shell.events.unregister("pre_run_cell", _new_cell)
    formatter: Any = shell.display_formatter
    for one in ("text/plain", "text/html"):
        for kind in _KINDS:
            formatter.formatters[one].pop(kind, None)
    formatter.formatters["text/html"].pop(".".join(_STYLER), None)
    formatter.mimebundle_formatter.pop(Replies, None)
    painter: Painter | None = getattr(shell, _PAINTER, None)
    if painter is not None:
        formatter.ipython_display_formatter.pop(Replies, None)
        shell.events.unregister("post_run_cell", painter.flush)
        painter.stop()
        delattr(shell, _PAINTER)


def _new_cell(*_: Any) -> None:
    """Whatever Ctrl-C has ended before, this goes on."""
    interrupts.heed()
    interrupts.release()


def _publisher(shell: InteractiveShell) -> Any:
    def publish(data: Mapping[str, str], name: str, update: bool) -> None:  # noqa: FBT001 - Painter's call
        shell.display_pub.publish(dict(data), transient={"display_id": name}, update=update)

    return publish


def _pretty(value: Any, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's call
    del cycle
    printer.text(drawn_text(value))


def _bundle(replies: Replies, include: Any = None, exclude: Any = None) -> dict[str, str]:
    del include, exclude
    return bundle(replies)
