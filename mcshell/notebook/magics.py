"""`%mco` and `%%mco`: the same lines as at the prompt, with a DataFrame as the result.

A foreground line gives a plain `pandas.DataFrame`, with `-b` a `Replies`. A cell's body is the
action's inputs as YAML, or with `--nodes -` the names of the nodes. Completion is a matcher of IPython's
API v2, on what the prompt uses too.
"""

from __future__ import annotations

import io
import keyword
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import Float, TraitError, Unicode

from mcshell.client import default as current
from mcshell.client.documents.reader import inputs_of, load_yaml
from mcshell.commands.completion import Refresher, candidates
from mcshell.commands.context import Context
from mcshell.commands.grammar.options import InputsOptions, Options, TargetsOptions
from mcshell.commands.grammar.parser import help_text, split_line
from mcshell.commands.grammar.request_options import SQLOptions
from mcshell.commands.output.dataframes import frame_of
from mcshell.commands.output.result import Feed, Prose, Table
from mcshell.commands.output.sanitize import sanitize
from mcshell.commands.run import run
from mcshell.config.readers import read_duration
from mcshell.errors import Stopped, UsageError
from mcshell.notebook.aliases import MAGIC, Aliases
from mcshell.notebook.formats import install, uninstall
from mcshell.notebook.variables import Closures, Template, refuse_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from mcshell.client.client import Client
    from mcshell.commands.grammar.parser import Invocation
    from mcshell.commands.grammar.reading import Alias
    from mcshell.commands.output.result import Result
    from mcshell.config import Settings
    from mcshell.notebook.painter import Painter

__all__ = ["CompletionMatcher", "MCMagics", "load", "unload"]

_DESCRIBING = frozenset(("doc", "analysis", "explain"))
"""The modules of verbs whose lines below a table describe its rows."""
_MAGIC = re.compile(r"^\s*(?:[\w.\[\]'\", ]+=\s*)?%{1,2}(\w+)\s+")


class _Seconds(Float):  # type: ignore[type-arg]  # it is generic in some versions only
    """A duration as -t takes it, or None."""

    def validate(self, obj: Any, value: Any) -> float | None:
        try:
            return None if value is None else read_duration(value)
        except ValueError as error:
            raise TraitError(f"{type(obj).__name__}.{self.name}: {error}") from error


@magics_class
class MCMagics(Magics):
    """The fleet in a cell: `%mco VERB …`."""

    timeout = _Seconds(None, allow_none=True, help="Seconds to wait for replies, without -t.").tag(
        config=True
    )
    session = Unicode("", help="The session to use, without --session.").tag(config=True)
    config_file = Unicode("", help="The configuration file; else MCSHELL_CONFIG.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self.painter: Painter | None = None
        self.aliases = Aliases()
        self.closures = Closures(self.aliases)
        self.completion = CompletionMatcher(
            lambda: self.context.settings, self._targets, self.aliases
        )
        self.context = Context("magic", Path(self.config_file) if self.config_file else None)
        self.observe(self._reconfigure, names=["config_file"])

    def _targets(self) -> list[str]:
        """The names of variables that `--nodes` could take."""
        kinds = (list, tuple, set, frozenset)
        return [
            name
            for name, value in list(self._user_names().items())
            if not name.startswith("_")
            and (isinstance(value, kinds) or hasattr(value, "tolist") or hasattr(value, "columns"))
        ]

    def _reconfigure(self, change: Mapping[str, Any]) -> None:
        self.context.close()
        self.context = Context("magic", Path(change["new"]) if change["new"] else None)

    def client(self) -> Client:
        """The client of the session in force, for `df.mco`."""
        return self.context.client(self.context.session or self.session)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def mco(self, line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        """Run one line; see `help_text`, which takes this text's place when the magic is loaded."""
        bare = line.rstrip().removesuffix(";") if cell is None else line
        names = {**self._user_names(), **(local_ns or {})}
        template = Template(bare, names)
        bound: dict[str, Any] = {}
        words = _words(template, bound, self.context.alias)
        if cell is not None and not words:
            raise UsageError("%%mco: a verb is meant on this line; below it stand its inputs")
        invocation = self.context.understand(words)
        options = self._with_defaults(invocation.options)
        refuse_lists(options)
        stored = options.store
        if stored is not None and (not stored.isidentifier() or keyword.iskeyword(stored)):
            raise UsageError(f"-o {stored}: a Python name is meant")
        context = self._surroundings(names | template.tables)
        context.bound = bound
        if cell is not None and invocation.verb is not None:
            _take_cell(context, Template(cell, names), options, bound)
        try:
            result = run(replace(invocation, options=options), context)
            found = _value(result, options)
        except KeyboardInterrupt as stop:
            raise (stop if isinstance(stop, Stopped) else Stopped()) from None
        for notice in (*_said_below(invocation, result), *context.notices()):
            _say(notice)
        self.completion.refresher.hurry()
        if options.store is not None:
            self._user_names()[options.store] = found
        if context.stopped is not None:
            self._show(found)
            raise context.stopped from None
        if options.store is not None or (bare != line and self._alone(line)):
            return None
        return found

    def _surroundings(self, names: Mapping[str, Any]) -> Context:
        """The context of one line: it speaks with whoever looks at the cell, if somebody can answer."""
        context = self.context.for_line()
        context.variables = names
        context.stdin = io.StringIO()
        if self.painter is not None:
            context.progress = self.painter.progress
        kernel = getattr(self._shell(), "kernel", None)
        there = sys.stdin.isatty() if kernel is None else kernel._allow_stdin  # noqa: SLF001 - the kernel has no other word for it
        context.say = _say if there else None
        context.ask = _ask if there else None
        return context

    def _show(self, found: Any) -> None:
        """Show what a line gives that ends with an error, as IPython does with one that does not."""
        if threading.current_thread() is threading.main_thread():
            hook: Any = self._shell().displayhook
            hook(found)
            if (
                self._user_names().get("_") is not found
            ):  # behind a `;` it shows, and keeps, nothing
                hook.update_user_ns(found)

    def _alone(self, line: str) -> bool:
        """Whether the line is the cell's last and assigns nothing: its `;` says "show nothing"."""
        history = self._shell().history_manager
        raw = history.input_hist_raw[-1].rstrip() if history is not None else ""
        name, _, rest = raw.rpartition("\n")[2].lstrip().removeprefix("%").partition(" ")
        words = f"{self.aliases.get(name, '')} {rest.strip()}".strip()
        return name in self.aliases and words == line.strip()

    def _shell(self) -> InteractiveShell:
        shell = self.shell
        assert shell is not None
        return shell

    def _user_names(self) -> dict[str, Any]:
        names: dict[str, Any] = self._shell().user_ns
        return names

    def _with_defaults(self, options: Options) -> Options:
        timeout = self.timeout if options.timeout is None else options.timeout
        session = options.session
        if session is None and self.context.session is None:
            session = self.session or None
        # A cell has its rows at the end: as they come (--jsonl) is for those who read along.
        as_they_come = options.format == "jsonl" and not getattr(options, "follow", False)
        form = None if as_they_come else options.format
        return options.replace(session=session, timeout=timeout, format=form)


def _take_cell(context: Context, body: Template, options: Options, bound: dict[str, Any]) -> None:
    """The body is names of nodes where the line asks for them, a query, else the action's inputs."""
    if isinstance(options, TargetsOptions) and (options.nodes == "-" or options.source == "stdin"):
        context.stdin = io.StringIO(body.plain())
    elif isinstance(options, SQLOptions) and " ".join(options.query) in ("", "-"):
        context.stdin = io.StringIO(body.sql(body.text, bound))
    elif isinstance(options, InputsOptions):
        context.inputs = _inputs(body)
    elif body.text.strip():
        raise UsageError("this verb takes no cell body (rpc and sql do, and --nodes -)")


def _say(line: str) -> None:
    sys.stderr.write(f"{sanitize(line)}\n")


def _said_below(invocation: Invocation, result: Result) -> tuple[str, ...]:
    """What no row says, and a DataFrame has no place for: who is silent, say.

    What only describes the rows is left out: standard error is red in a notebook.
    """
    module = "" if invocation.verb is None else invocation.verb.target.partition(":")[0]
    return result.notes if isinstance(result, Table) and module not in _DESCRIBING else ()


def _ask(question: str) -> bool:
    return input(f"{sanitize(question)} [y/N] ").strip().lower() in ("y", "yes")


def _words(line: Template, bound: dict[str, Any], alias: Alias) -> list[str]:
    """The words of a line with their values; those of a query are its parameters."""
    words = split_line(line.text, alias)
    if words and (alias(words[0]) or words)[0] == "sql":
        return [line.sql(word, bound) for word in words]
    return line.words(words)


def _inputs(body: Template) -> dict[str, Any]:
    found = load_yaml(body.text, "the cell")
    if found is None:
        return {}
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return inputs_of(body.yaml(found))
    raise UsageError("the cell holds the action's inputs: lines of `input: value`")


def _value(result: Result, options: Options) -> Any:
    """What a cell gets: tables as DataFrames, a background request as its `Replies`."""
    if result is None or isinstance(result, Prose | Feed):
        return result
    if not isinstance(result, Table) and options.background:
        return result
    return frame_of(result, arrived=options.arrived)


def load(shell: InteractiveShell) -> None:
    """Register `%mco`, so that `%load_ext mcshell` works."""
    from mcshell.client import accessor  # noqa: F401, PLC0415 - registers df.mco

    magics = MCMagics(shell)
    magics.painter = install(shell)
    magics.completion.install(shell)
    current.use(magics.client, lines=True)
    shell.ast_transformers.append(magics.closures)
    shell.builtin_trap.__enter__()  # it is not for several threads: so none of them enters it first
    MCMagics.mco.__doc__ = help_text(face="magic")
    shell.register_magics(magics)
    magics.aliases.install(shell)


def unload(shell: InteractiveShell) -> None:
    """Take `%mco` away again and close its connections."""
    magics = shell.magics_manager.registry.pop("MCMagics", None)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop(MAGIC, None)
    if isinstance(magics, MCMagics):
        current.forget(magics.client)
        shell.builtin_trap.__exit__(None, None, None)
        uninstall(shell)
        magics.completion.uninstall(shell)
        magics.aliases.uninstall(shell)
        shell.ast_transformers[:] = [
            one for one in shell.ast_transformers if one is not magics.closures
        ]
        shell.configurables[:] = [one for one in shell.configurables if id(one) != id(magics)]
        magics.context.close()


#: `%mco …`, `%%mco …`, and behind an assignment: `df = %mco …`, `a, b = %mco …`.


class CompletionMatcher:
    """The matcher of one IPython shell, and the cache behind it.

    `load` gives the settings, `variables` the names that `--nodes` may mean, `names` those of the
    magic, each with the words that it puts before a line.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        variables: Callable[[], Iterable[str]],
        names: Mapping[str, str],
    ) -> None:
        self.refresher = Refresher(load)
        self._names = names
        self._variables = variables

        @context_matcher(identifier="mcshell", priority=200)  # type: ignore[untyped-decorator]  # IPython has no types for it
        def match(context: CompletionContext) -> SimpleMatcherResult:
            return self.matches(context)

        self._match = match

    def install(self, shell: InteractiveShell) -> None:
        """Have the shell complete `%mco` lines; the cache is filled in the background."""
        shell.Completer.custom_matchers.append(self._match)
        self.refresher.start()

    def uninstall(self, shell: InteractiveShell) -> None:
        """Take the matcher away."""
        matchers = shell.Completer.custom_matchers
        if self._match in matchers:
            matchers.remove(self._match)
        self.refresher.stop()

    def matches(self, context: CompletionContext) -> SimpleMatcherResult:
        """What may follow on a `%mco` line; nothing, and no claim, on any other."""
        before = context.text_until_cursor
        magic = _MAGIC.match(before)
        if magic is None or magic[1] not in self._names:
            return {"completions": []}
        line = f"{self._names[magic[1]]} {before[magic.end() :]}".lstrip(" ")
        found = candidates(
            line, len(line), self.refresher.cache, face="magic", variables=self._variables()
        )
        if not found:
            return {"completions": [], "suppress": True}
        fragment = line[found[0].start :]
        return {
            "completions": [
                SimpleCompletion(one.text, type=one.kind)
                for one in found
                if one.start == found[0].start
            ],
            "matched_fragment": fragment,
            "suppress": True,
            "ordered": True,
        }
