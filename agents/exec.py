"""Runs a program on a node: an argument list, never a shell string.

Nobody has this without a policy file of its own (`exec.policy`). The program runs as the daemon's
user with the daemon's environment, less what is mcshell's own. Its process group is ended when
time is up or the request is cancelled; a child that makes a session of its own escapes that, as it
would from any shell. Of long output the first and the last half are in the reply; of a queued run
the log has more, while it runs and afterwards (`job log`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from mcshell.node.agent import Agent, AgentError, Call, run, text

MAX_OUTPUT = 256 * 1024


class Exec(Agent):
    """Programs, with their output and how they ended.

    Attributes:
        max_output: how much of each of a program's two streams a reply has, by default 256KiB.
    """

    name = "exec"
    settings: ClassVar = {"max_output": "size"}

    def run(self, call: Call) -> dict[str, Any]:
        """Run it; anything but exit code 0 is "failed", with all outputs in the reply."""
        argv = _strings(call["argv"], "argv")
        if not argv or not argv[0]:
            raise AgentError("argv is empty: name a program", statuscode=4)
        timeout = call.get("timeout")
        if timeout is not None and timeout <= 0:
            raise AgentError("timeout is not above 0 seconds", statuscode=4)
        most = int(call.node.settings(self.name).get("max_output", MAX_OUTPUT))
        stdin = call.get("stdin", "")
        outcome = run(
            call,
            argv,
            stdin=stdin.encode() if isinstance(stdin, str) else bytes(stdin),
            env=_environment(call.get("environment") or {}),
            cwd=call.get("cwd"),
            timeout=timeout,
            limit=min(max(0, call.get("output_limit", most)), most),
        )
        data = {
            "exitcode": outcome.exitcode,
            "signal": outcome.signal,
            "stdout": text(outcome.stdout),
            "stderr": text(outcome.stderr),
            "truncated": outcome.truncated,
            "elapsed": outcome.elapsed,
            "ended": outcome.ended,
        }
        if not outcome.ok:
            raise AgentError(outcome.why(), data=data)
        return data


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise AgentError(f"{name} is not a list of strings", statuscode=4)
    return value


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise AgentError("environment is not a hash of strings", statuscode=4)
    for key, word in value.items():
        if not isinstance(word, str | int | float) or not key or "=" in key:
            raise AgentError(f"environment: {key!r} cannot be set to {word!r}", statuscode=4)
    return {key: str(word) for key, word in value.items()}
