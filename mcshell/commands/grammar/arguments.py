"""How a class declares what a line may say (mcshell/README.md §3): one declaration is type and grammar.

Not `dataclasses`: these compile methods for each class, and every line would wait for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeAlias, dataclass_transform

from mcshell.commands.grammar.values import duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["Argument", "Declared", "Words", "flag", "option", "seconds", "several", "word"]

#: The type of what may be said several times.
Words: TypeAlias = "Sequence[str]"


class Argument:
    """One field on the line: its spellings, each with what argparse is told of it."""

    __slots__ = ("_name", "_spellings", "owner")

    def __init__(self, *spellings: tuple[list[str], dict[str, Any]]) -> None:
        self._spellings = spellings

    def __set_name__(self, owner: type[Declared], name: str) -> None:
        self.owner, self._name = owner, name

    def __get__(self, options: Declared | None, _kind: type[Declared]) -> Any:
        return self if options is None else self._spellings[0][1].get("default")

    def __or__(self, other: Argument) -> Argument:
        return Argument(*self._spellings, *other._spellings)

    @property
    def flags(self) -> dict[str, bool]:
        """Its options as they are written, each with whether a value follows; of a word none."""
        return {
            flag: "action" not in told or told["action"] == "append"
            for flags, told in self._spellings
            for flag in flags
        }

    def shown(self, flag: str) -> str:
        """An option in a line, as the help has it; empty where this has no such `flag`."""
        for flags, told in self._spellings:
            if flag in flags:
                value = f" {told['metavar']}" if "metavar" in told else ""
                return f"{' '.join(flags)}{value}: {told.get('help') or ''}".replace("%%", "%")
        return ""

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Tell a parser of it; several spellings exclude each other."""
        target: argparse._ActionsContainer = parser
        if title := self.owner.title:
            known = {group.title: group for group in parser._action_groups}  # noqa: SLF001 - argparse has no other list
            target = known.get(title) or parser.add_argument_group(title)
        if len(self._spellings) > 1:
            target = target.add_mutually_exclusive_group()
        for flags, told in self._spellings:
            named: dict[str, Any] = {"dest": self._name} if flags else {}
            target.add_argument(*(flags or [self._name]), **named, **told)


def option(spelling: str, text: str | None = None, **told: Any) -> Any:
    """An option as the help shows it ("-t --timeout S"); of two with `|` between a line has one.

    `told` is what else argparse's `add_argument` takes.
    """
    words = spelling.split()
    flags = [word for word in words if word.startswith("-")]
    if metavar := " ".join(words[len(flags) :]):
        told = {"metavar": metavar, **told}
    return Argument((flags, {"help": text, **told}))


def word(metavar: str, text: str, **told: Any) -> Any:
    """A word in its place; with `nargs` "?" or "*" it may be missing."""
    return option(metavar, text, **told)


def flag(spelling: str, text: str, *, default: bool = False) -> Any:
    """An option without a value, which turns its `default` round."""
    action = "store_false" if default else "store_true"
    return option(spelling, text, action=action, default=default)


def several(spelling: str, text: str) -> Any:
    """An option that may be repeated."""
    return option(spelling, text, action="append", default=[])


def seconds(spelling: str, text: str, **told: Any) -> Any:
    """An option whose value is a length of time."""
    return option(spelling, text, type=duration, **told)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, word))
class Declared:
    """Fields made by `option` and its like, which a line fills in; nothing changes them later.

    `title` heads in the help what a class declares itself.
    """

    title: ClassVar[str] = ""

    def __init_subclass__(cls, *, title: str = "") -> None:
        cls.title = title

    def __init__(self, **said: Any) -> None:
        vars(self).update(said)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def replace(self, **said: Any) -> Self:
        """A copy that says something else."""
        return type(self)(**{**vars(self), **said})

    @classmethod
    def arguments(cls) -> dict[str, Argument]:
        """What a line can say, by name: what the bases declare first, from left to right."""
        found: dict[str, Argument] = {}
        for base in cls.__bases__:
            found |= base.arguments() if issubclass(base, Declared) else {}
        return found | {name: one for name, one in vars(cls).items() if isinstance(one, Argument)}
