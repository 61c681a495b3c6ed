"""`report NOTEBOOK`: run a notebook with parameters against the fleet, and keep it as one page.

papermill and nbconvert do the work (the `report` extra). The page holds everything it shows and
no script at all: its own policy forbids them, whatever a node may have answered.
"""

from __future__ import annotations

import html
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mcshell.commands.output.result import Prose
from mcshell.commands.output.sanitize import sanitize
from mcshell.commands.parameters import declared, given
from mcshell.errors import ExitCode, MCShellError, UsageError

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import ReportOptions

__all__ = ["ReportError", "report"]

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
body {{ font: 15px/1.55 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: #1f2933; \
max-width: 64rem; margin: 2.5rem auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.9rem; margin: 0 0 .3rem; }}
h2 {{ font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid #e4e7eb; }}
table {{ border: 0; border-collapse: collapse; margin: .8rem 0 1.4rem; font-size: 14px; }}
th, td {{ border: 0; border-bottom: 1px solid #e4e7eb; padding: .35rem 1.2rem .35rem 0; \
text-align: left; vertical-align: top; overflow-wrap: anywhere; min-width: 3.5em; }}
table.dataframe th, table.dataframe td {{ text-align: right; font-variant-numeric: tabular-nums; }}
table.dataframe th[style], table.dataframe td[style] {{ min-width: 6em; }}
th {{ font-weight: 600; color: #52606d; border-bottom-color: #9aa5b1; white-space: nowrap; }}
table.numbered tr > th:first-child {{ display: none; }}
pre {{ overflow-x: auto; background: #f5f7fa; padding: .6rem; font-size: 13px; white-space: pre-wrap; }}
img {{ max-width: 100%; }}
@media print {{ body {{ margin: 0; max-width: none; }} tr, img {{ break-inside: avoid; }} }}
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

    exit_code: ClassVar[int] = ExitCode.FAILED


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
        raise UsageError("report: needs papermill: pip install papermill nbconvert") from error
    exporter = _exporter(code=options.code)
    source = Path(options.notebook)
    parameters = given(options.parameters, declared(_cells(source)))
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
            _page(book, str(parameters.get("title", source.stem)), exporter, code=options.code),
            encoding="utf-8",
        )
    if failure is not None:
        raise ReportError(f"report: {failure}; what there is so far is in {target}")
    return Prose(f"{target}")


def _cells(source: Path) -> list[str]:
    """The code of a notebook's cells with the tag `parameters`."""
    import nbformat  # noqa: PLC0415 - comes with the extra

    if not source.is_file():
        raise UsageError(f"report: there is no notebook {source}")
    read: Any = nbformat.read
    try:
        book = read(source, as_version=4)
        return [one.source for one in book.cells if "parameters" in one.metadata.get("tags", ())]
    except Exception as error:
        raise UsageError(f"report: {source} is no notebook: {_line(error)}") from error


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


def _exporter(*, code: bool) -> Any:
    """What makes the page; its templates lie in share/jupyter, which not every environment has."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 - an extra

    page: Any = HTMLExporter
    try:
        exporter = page(template_name="basic", embed_images=True)
        exporter.get_template_names()
    except ValueError as error:
        searched = Path(sys.prefix, "share", "jupyter")
        raise UsageError(
            f"report: nbconvert's templates are not in {searched}, nor elsewhere where it looks: "
            "install nbconvert into this environment, or name in JUPYTER_PATH the share/jupyter "
            "that has them"
        ) from error
    exporter.exclude_input = not code
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    return exporter


def _page(path: Path, title: str, exporter: Any, *, code: bool) -> str:
    """The notebook as one page without its code, or with it."""
    import nbformat  # noqa: PLC0415 - comes with the extra

    read: Any = nbformat.read
    book = read(path, as_version=4)
    for cell in book.cells:
        if {"injected-parameters", "parameters"} & set(cell.metadata.get("tags", ())) and not code:
            cell.source = ""
    body, _resources = exporter.from_notebook_node(book)
    return _PAGE.format(title=html.escape(title), body=sanitize(body))
