"""`%alias_magic m mco`: an alias of the line reads its words as the line itself does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import MAGIC_NO_VAR_EXPAND_ATTR, MagicAlias

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["MAGIC", "Aliases"]

MAGIC = "mco"


class Aliases(dict[str, str]):
    """The names under which one shell has `%mco`, each with the words that it puts before a line.

    IPython puts the values of `{name}` into an alias's line as text, whatever its magic says of itself:
    what a node has said became an option, or a second node.
    """

    def __init__(self) -> None:
        super().__init__({MAGIC: ""})

    def install(self, shell: InteractiveShell) -> None:
        """Have each alias that there is, and that is made from now on, read its line so."""
        manager: Any = shell.magics_manager
        register = manager.register_alias

        def register_alias(*args: Any, **named: Any) -> None:
            register(*args, **named)
            self._mark(manager)

        manager.register_alias = register_alias
        self._mark(manager)

    @staticmethod
    def uninstall(shell: InteractiveShell) -> None:
        """Leave new aliases to IPython."""
        vars(shell.magics_manager).pop("register_alias", None)

    def _mark(self, manager: Any) -> None:
        for magics in manager.magics.values():
            for name, alias in magics.items():
                before, target = "", name
                seen: set[str] = set()
                while isinstance(found := magics.get(target), MagicAlias) and target not in seen:
                    seen.add(target)
                    before = f"{found.magic_params or ''} {before}".strip()
                    target = found.magic_name
                if seen and target == MAGIC:
                    self[name] = before
                    setattr(alias, MAGIC_NO_VAR_EXPAND_ATTR, True)
                    alias.needs_local_scope = True
