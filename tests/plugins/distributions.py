"""Distributions as pip leaves them: a module, and the metadata that names its entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["install"]


def install(folder: Path, name: str, points: Mapping[str, Mapping[str, str]], code: str) -> None:
    """Install NAME 1.0 into a folder: one module NAME, and entry points by kind and name."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for kind, plugins in points.items():
        lines += [f"[mcshell.{kind}]", *(f"{one} = {where}" for one, where in plugins.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / f"{name}.py").write_text(code)
