"""`--only`, `--odd`, `--top`, `--fold`, `--diff`: the rows of a line, as the line wants to see them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table, exit_code
from mcshell.commands.output.summary import summary_lines
from mcshell.errors import UsageError, did_you_mean
from mcshell.message import State

if TYPE_CHECKING:
    from mcshell.client.analysis.answers import Answers
    from mcshell.client.client import Client
    from mcshell.client.lookback import Lookback
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import RowsOptions

__all__ = ["check", "shaped", "shaped_table"]


def check(options: RowsOptions) -> bool:
    """Whether the line shapes its rows; what cannot be done is refused before anybody is asked.

    Raises:
        UsageError: options that do not go together, a number that is none, or a state that is none.
        FilterError: `--only` does not parse.
    """
    shapes = {"only": options.only, "odd": options.odd, "top": options.top, "fold": options.fold}
    given = [name for name, said in (*shapes.items(), ("diff", options.diff)) if said]
    if given and options.background:
        raise UsageError(f"--{given[0]} wants the answers: it does not go with -b")
    if "diff" in given and len(given) > 1:
        raise UsageError(f"--diff compares all rows: it does not go with --{given[0]}")
    if options.only:
        _check_only(options.only)
    if options.top and not (options.top[0].isdecimal() and int(options.top[0])):
        raise UsageError(f"--top {options.top[0]!r}: a number of rows above 0 is meant")
    return bool(given)


def _check_only(text: str) -> None:
    from mcshell.filters.rows import compile_rows  # noqa: PLC0415 - few lines choose rows
    from mcshell.filters.values import SpelledText  # noqa: PLC0415 - as above

    states = [str(one) for one in State]
    for one in compile_rows(text).comparisons:
        if one.fact != "state" or not isinstance(one.value, SpelledText):
            continue
        said = one.value.text
        if one.operator in ("==", "!=") and said not in states:
            near = did_you_mean(said.lower(), states) or f": one of {', '.join(states)} is meant"
            raise UsageError(f"--only: there is no state {said!r}{near}")


def shaped(
    context: Context,
    options: RowsOptions,
    replies: Replies,
    client: Client | Lookback | None = None,
) -> Replies | Table:
    """Replies as they are, some of their rows, or a table made of them; `client` is whose they are."""
    if not check(options):
        return replies
    context.seen(replies)
    if options.diff:
        from mcshell.commands.verbs.analysis import since  # noqa: PLC0415 - few lines compare

        found = since(client or context.client(options.session), replies, options.diff)
        shown = {row.sender for row in replies.rows()}
    else:
        from mcshell.client.analysis.answers import of_replies  # noqa: PLC0415 - few lines choose

        answers, within = _chosen(options, of_replies(replies))
        if not within and not options.fold:
            return replies.narrowed(answers.senders)
        found, shown = _drawn(options, answers), set(answers.senders)
        paths = replies.schema.times if replies.schema is not None and within else ()
        times = {one.removeprefix(within) for one in paths if one.startswith(within)}
        found = replace(found, times=tuple(one for one in found.columns if one in times))
    code = exit_code(replies, options)
    lines = summary_lines(replies, shown, sums=False)
    found = replace(found, code=code, notes=(*lines, *found.notes))
    return _asked_first(found, options.top[1]) if options.top and not options.fold else found


def _asked_first(table: Table, path: str) -> Table:
    """The table as a reader sees it: behind the sender what it is about, whatever there is room for."""
    column = next((name for name in table.columns if path.endswith(f".{name}")), None)
    order = list(dict.fromkeys(filter(None, ("sender", column, *table.columns))))
    places = [table.columns.index(name) for name in order]
    rows = [tuple(row[at] for at in places) for row in table.rows]
    return replace(table, glance=replace(table, columns=tuple(order), rows=rows))


def shaped_table(options: RowsOptions, table: Table) -> Table:
    """A table with a sender column, with those of its rows that the line wants."""
    if not check(options):
        return table
    from mcshell.client.analysis.answers import Answers  # noqa: PLC0415 - as above

    columns = {name: [row[at] for row in table.rows] for at, name in enumerate(table.columns)}
    answers, within = _chosen(options, Answers(tuple(columns["sender"]), columns))
    found = _drawn(options, answers)
    if within or options.fold:
        return replace(found, code=table.code, notes=table.notes)
    none = () if found.rows else (f"none of {len(table.rows)} rows",)
    return replace(table, rows=found.rows, notes=(*table.notes, *none))


def _chosen(options: RowsOptions, answers: Answers) -> tuple[Answers, str]:
    """The rows that are wanted; where they are those of a list within answers, how its paths begin."""
    from mcshell.client.analysis import select  # noqa: PLC0415 - as above

    if options.only:
        answers = answers.at(select.only(answers, options.only))
    if options.odd:
        answers = answers.at(select.odd(answers, options.odd))
    if not options.top:
        return answers, ""
    count, column = int(options.top[0]), options.top[1]
    spread = select.spread(answers, column)
    if spread is not None:
        answers, column = spread
    return answers.at(select.top(answers, count, column)), options.top[1].removesuffix(column)


def _drawn(options: RowsOptions, answers: Answers) -> Table:
    if options.fold:
        from mcshell.client.analysis import fold as folds  # noqa: PLC0415 - as above

        return Table(*folds.rows(answers, options.fold))
    columns = tuple(answers.columns)
    return Table(columns, list(zip(*(answers.columns[name] for name in columns), strict=True)))
