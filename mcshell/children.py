"""Python processes that we start: they take no code from whatever folder somebody stands in."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["python_environment", "python_module"]


def python_module(module: str, *words: str) -> list[str]:
    """The command line that runs a module; -P leaves the current folder off the path."""
    return [sys.executable, "-P", "-m", module, *words]


def python_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which such a process finds us, and nothing that lies in its folder.

    An empty entry of PYTHONPATH (`PYTHONPATH=$PYTHONPATH:/more`) would be the current folder.
    """
    path = environ.get("PYTHONPATH", "").split(os.pathsep)
    found = [one for one in path if one.startswith("/")]
    root = str(Path(__file__).resolve().parents[1])
    if root not in site.getsitepackages():  # a checkout, which only our own path may know
        found.insert(0, root)
    rest = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    return {**rest, "PYTHONPATH": os.pathsep.join(dict.fromkeys(found))} if found else rest
