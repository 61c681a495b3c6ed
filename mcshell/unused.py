"""What a library imports and nobody here uses is loaded when somebody does."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["unused"]


class _Later(ModuleType):
    """Stands for a module where that was imported, and for nobody who imports it later."""

    def __getattr__(self, name: str) -> Any:
        """What the module has under this name; it is loaded for it."""
        if sys.modules.get(self.__name__) is self:  # whoever imports ours needs it at once
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def unused(*names: str) -> Iterator[None]:
    """Import within it what imports these modules."""
    later = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(later)
    try:
        yield
    finally:
        for name, module in later.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
