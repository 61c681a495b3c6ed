"""`report NOTEBOOK`: run a notebook with parameters against the fleet, and keep it as one page.

papermill and nbconvert do the work (the `report` extra). The page holds everything it shows and
no script at all: its own policy forbids them, whatever a node may have answered.
"""

from __future__ import annotations

import html
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mcshell.commands.output.result import Prose
from mcshell.commands.output.sanitize import sanitize
from mcshell.errors import MCShellError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import ReportOptions

__all__ = ["ReportError", "report"]

_ASSIGNED = re.compile(r"^([A-Za-z_]\w*)\s*(?::[^=\n]*)?=(?!=)", re.MULTILINE)
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left; }}
th {{ border-bottom: 2px solid #999; }}
pre {{ overflow-x: auto; background: #f6f6f6; padding: .5rem; font-size: 13px; }}
img {{ max-width: 100%; }}
.jp-InputPrompt, .jp-OutputPrompt, .anchor-link {{ display: none; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


class ReportError(MCShellError):
    """A cell of a report failed; the page holds everything up to there."""

    exit_code: ClassVar[int] = 2


def report(context: Context, options: ReportOptions) -> Prose:
    """Run the notebook and write the page; returns where it is.

    Raises:
        UsageError: there is no such notebook or parameter, or the extra is not installed.
        ReportError: a cell failed; the page is there all the same.
    """
    try:
        import nbconvert  # noqa: F401, PLC0415 - an extra
        import papermill  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise UsageError("report: needs papermill: pip install 'mcshell[report]'") from error
    source = Path(options.notebook)
    parameters = _parameters(options.parameters, _declared(source))
    target = Path(options.out or source.with_suffix(".html").name)
    if not target.absolute().parent.is_dir():
        raise UsageError(f"report: -o {target}: there is no such folder")
    if context.say is not None:
        context.say(f"running {source}")
    if context.path is not None:
        os.environ["MCSHELL_CONFIG"] = str(context.path.absolute())
    with tempfile.TemporaryDirectory(prefix="mcshell-report-") as folder:
        done = Path(folder) / "report.ipynb"
        failure = _run(source, done, parameters, options.timeout)
        book = done if done.exists() else source
        target.write_text(
            _page(book, str(parameters.get("title", source.stem)), code=options.code),
            encoding="utf-8",
        )
    if failure is not None:
        raise ReportError(f"report: {failure}; what there is so far is in {target}")
    return Prose(f"{target}")


def _declared(source: Path) -> list[str]:
    """The names that a notebook's cell with the tag `parameters` gives values to."""
    import nbformat  # noqa: PLC0415 - comes with the extra

    if not source.is_file():
        raise UsageError(f"report: there is no notebook {source}")
    read: Any = nbformat.read
    try:
        book = read(source, as_version=4)
        cells = [one.source for one in book.cells if "parameters" in one.metadata.get("tags", ())]
    except Exception as error:
        raise UsageError(f"report: {source} is no notebook: {_line(error)}") from error
    return [name for cell in cells for name in _ASSIGNED.findall(cell)]


def _parameters(words: Sequence[str], declared: Sequence[str]) -> dict[str, Any]:
    """Read `name=value`, the value as YAML: a number, a list, true, or plain text."""
    import yaml  # noqa: PLC0415 - only reports with parameters want it

    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"report: -p {word!r}: name=value is meant")
        if name not in declared:
            known = f": one of {', '.join(declared)} is meant" if declared else ""
            hint = did_you_mean(name, declared) or known
            raise UsageError(f"report: the notebook has no parameter {name!r}{hint}")
        try:
            found[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            found[name] = text
    return found


def _run(source: Path, done: Path, parameters: dict[str, Any], timeout: float | None) -> str | None:
    """Execute the notebook into `done`; returns what went wrong, in a line."""
    from papermill import execute_notebook  # noqa: PLC0415 - an extra
    from papermill.exceptions import PapermillException  # noqa: PLC0415 - as above

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it reads parameters less well than we
    try:
        execute_notebook(
            str(source),
            str(done),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(source.absolute().parent),
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's, on our standard error
            execution_timeout=None if timeout is None else max(1, round(timeout)),
        )
    except PapermillException as error:
        where = getattr(error, "exec_count", None)
        name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
        said = f"{name}: {_line(value)}" if name else _line(error)
        return said if where is None else f"cell [{where}] failed: {said}"
    except Exception as error:  # noqa: BLE001 - a kernel that dies, a cell that takes too long
        return f"{type(error).__name__}: {_line(error)}"
    return None


def _line(said: object) -> str:
    return " ".join(str(said).split())[:500]


def _page(path: Path, title: str, *, code: bool) -> str:
    """The notebook as one page without its code, or with it."""
    import nbformat  # noqa: PLC0415 - comes with the extra
    from nbconvert import HTMLExporter  # noqa: PLC0415 - an extra

    read: Any = nbformat.read
    page: Any = HTMLExporter
    book = read(path, as_version=4)
    for cell in book.cells:
        if {"injected-parameters", "parameters"} & set(cell.metadata.get("tags", ())) and not code:
            cell.source = ""
    exporter = page(template_name="basic", embed_images=True)
    exporter.exclude_input = not code
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _resources = exporter.from_notebook_node(book)
    return _PAGE.format(title=html.escape(title), body=sanitize(body))
