"""`--only`, `--odd`, `--top`, `--fold`, `--diff`: the rows of a line, as the line wants to see them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.analysis import fold as folds
from mcshell.client.analysis import select
from mcshell.client.analysis.answers import Answers, of_replies
from mcshell.commands.output.result import Table, exit_code
from mcshell.commands.output.summary import summary_lines
from mcshell.commands.verbs.analysis import since
from mcshell.errors import UsageError
from mcshell.filters.rows import compile_rows

if TYPE_CHECKING:
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import RowsOptions

__all__ = ["check", "shaped", "shaped_table"]


def check(options: RowsOptions) -> bool:
    """Whether the line shapes its rows; what cannot be done is refused before anybody is asked.

    Raises:
        UsageError: options that do not go together, or a number that is none.
        FilterError: `--only` does not parse.
    """
    shapes = {"only": options.only, "odd": options.odd, "top": options.top, "fold": options.fold}
    given = [name for name, said in (*shapes.items(), ("diff", options.diff)) if said]
    if given and options.background:
        raise UsageError(f"--{given[0]} wants the answers: it does not go with -b")
    if "diff" in given and len(given) > 1:
        raise UsageError(f"--diff compares all rows: it does not go with --{given[0]}")
    if options.only:
        compile_rows(options.only)
    if options.top and not (options.top[0].isdecimal() and int(options.top[0])):
        raise UsageError(f"--top {options.top[0]!r}: a number of rows above 0 is meant")
    return bool(given)


def shaped(context: Context, options: RowsOptions, replies: Replies) -> Replies | Table:
    """Replies as they are, some of their rows, or a table made of them."""
    if not check(options):
        return replies
    context.seen(replies)
    if options.diff:
        found = since(context.client(options.session), replies, options.diff)
        shown = {row.sender for row in replies.rows()}
    else:
        answers, whole = _chosen(options, of_replies(replies))
        if whole and not options.fold:
            return replies.narrowed(answers.senders)
        found, shown = _drawn(options, answers), set(answers.senders)
    code = exit_code(replies, options)
    return replace(found, code=code, notes=(*summary_lines(replies, shown), *found.notes))


def shaped_table(options: RowsOptions, table: Table) -> Table:
    """A table with a sender column, with those of its rows that the line wants."""
    if not check(options):
        return table
    columns = {name: [row[at] for row in table.rows] for at, name in enumerate(table.columns)}
    answers, whole = _chosen(options, Answers(tuple(columns["sender"]), columns))
    found = _drawn(options, answers)
    if not whole or options.fold:
        return replace(found, code=table.code, notes=table.notes)
    return replace(table, rows=found.rows)


def _chosen(options: RowsOptions, answers: Answers) -> tuple[Answers, bool]:
    """The rows that are wanted, and whether they are still those of the nodes."""
    if options.only:
        answers = answers.at(select.only(answers, options.only))
    if options.odd:
        answers = answers.at(select.odd(answers, options.odd))
    if not options.top:
        return answers, True
    count, column = int(options.top[0]), options.top[1]
    spread = select.spread(answers, column)
    if spread is not None:
        answers, column = spread
    return answers.at(select.top(answers, count, column)), spread is None


def _drawn(options: RowsOptions, answers: Answers) -> Table:
    if options.fold:
        return Table(*folds.rows(answers, options.fold))
    columns = tuple(answers.columns)
    return Table(columns, list(zip(*(answers.columns[name] for name in columns), strict=True)))
