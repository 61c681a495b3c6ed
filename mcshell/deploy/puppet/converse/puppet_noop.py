"""The same as `puppet`, for callers who may only look: puppet runs with `--noop`, whatever they ask.

It holds against a mistake, not against malice: what a catalog brings to look with (`onlyif`, `unless`,
the `status` of a service, deferred functions) puppet runs with `--noop`, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcshell.node.handler import load_handler

_puppet: Any = load_handler([Path(__file__).resolve().parents[1]], "puppet")


class PuppetNoop(_puppet):  # type: ignore[misc] # it is found by path, as all handlers are
    """A run that changes nothing."""

    protocol = "puppet_noop"
    noop = True
