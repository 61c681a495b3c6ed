"""Puts mcshell's sources into what is built here: of a checkout, or of the sdist made from one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterator


LEFT_OUT = (
    *("README.md", "wire/PROTOCOL.md", "wire/mcollective/README.md"),
    *("docs/explanation", "docs/howto", "docs/tutorial", "docs/conf.py", "docs/__main__.py"),
    *("deploy", "mcp", "notebook", "wire/schemas", "wire/documents/plan.py"),
    *(f"shell/{one}.py" for one in ("demo", "demo_history", "editor", "prompt", "watcher")),
    *(
        *("broker/__main__.py", "broker/move.py"),
        "node/emulator",
        *("node/execution/runner.py", "node/execution/thread_runner.py"),
        "node/testing.py",
        "client/files",
        "client/mcollective",
        "client/plans",
        "client/accessor.py",
        "client/approvals.py",
        "client/documents/plan_file.py",
        "client/executor.py",
    ),
    *("client/analysis/plots.py", "client/rpc/pool_tasks.py", "client/rpc/stored.py"),
    *("commands/output/incident.py", "commands/parameters.py", "commands/verbs/tour.py"),
    *("commands/completion", "commands/verbs/completion.py"),
    *("commands/grammar/elsewhere.py", "client/discovery/plugged.py", "client/analysis/sheet.py"),
    *(
        f"client/session/{one}.py"
        for one in ("evidence", "raw_rows", "replayed", "seal", "transfer")
    ),
    *(
        f"commands/verbs/{one}.py"
        for one in (
            "approvals",
            "audit_session",
            "broker_move",
            "cp",
            "notebook",
            "plans",
            "report",
        )
    ),
)
"""What of the package no node wants: whole documents, what rolls it out, the notebook and the demo with its
emulated nodes, and of the client what is of an operator's desk. `commands.light.left_out` says so to who asks
for it. The client's other modules are small, and `doctor` looks with them."""


class CheckoutHook(BuildHookInterface[Any]):  # type: ignore[misc] # hatchling is there when it builds
    """The package, with the agents that ship inside it, where a node finds them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - theirs
        """Name each file, and where it goes."""
        root = Path(self.root)
        if (root / "mcshell").is_dir():  # an sdist has it all beside this file
            if self.target_name == "wheel":
                build_data["force_include"][str(root / "mcshell")] = "mcshell"
            return
        checkout = root.parents[2]
        files = {path: f"mcshell/{place}" for path, place in _files(checkout / "mcshell")}
        files |= {path: f"mcshell/agents/{place}" for path, place in _files(checkout / "agents")}
        files[checkout / "LICENSE"] = "mcshell/LICENSE"
        build_data["force_include"].update({str(path): place for path, place in files.items()})


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file of a folder that goes in, and its place there."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        left = any(place.is_relative_to(one) for one in LEFT_OUT)
        if path.is_file() and "__pycache__" not in place.parts and not left:
            yield path, place.as_posix()
