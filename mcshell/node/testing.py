"""For tests of agents: runs an action as a node does, on this machine, without a broker.

    tester = AgentTester(Path(__file__).parent)

    def test_it():
        assert tester.call("greet", "hello", name="you")["text"] == "hello you"
        assert "nobody" in str(tester.fails("greet", "hello", name="nobody"))

The inputs go through the agent's DDL first, as on a node; of what the action returns, in success
and in failure, every output must be declared there, be of its type and able to travel. What breaks
these rules is an `AssertionError`, so that any test runner says so.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mcshell import ddl
from mcshell.ddl.ddl_library import shipped_dir
from mcshell.message import Request, Via, new_nonce
from mcshell.node.agent import Agent, AgentError, Call
from mcshell.node.agents.registry import load_agents
from mcshell.node.agents.settings import read_settings
from mcshell.node.system import LocalSystem
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.system import System

__all__ = ["AgentTester", "TestNode"]

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "float": (int, float),
    "boolean": bool,
    "array": list,
    "hash": dict,
}


@dataclass(kw_only=True)
class TestNode:
    """A node as agents see it, with facts, settings and records of the test's choice.

    `configured` holds each agent's [agents.NAME] table, `keys` the paths that `protects` guards.
    """

    __test__ = False  # by its name pytest would take it for tests

    identity: str = "node1.example.com"
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    agents: frozenset[str] = field(
        default_factory=lambda: frozenset(path.stem for path in shipped_dir().glob("*.json"))
    )
    collectives: tuple[str, ...] = ("mcs",)
    configured: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: tuple[Path, ...] = ()
    state: Path | None = None
    tells_all_files: bool = False
    system: System = field(default_factory=LocalSystem)

    def inventory(self) -> list[dict[str, Any]]:
        """The metadata of the shipped agents among `agents`, from their DDLs."""
        documents = [
            json.loads(path.read_text(encoding="utf-8"))
            for name in self.agents
            if (path := shipped_dir() / f"{name}.json").exists()
        ]
        return [
            document["metadata"] | {"actions": [action["action"] for action in document["actions"]]}
            for document in documents
        ]

    def stats(self) -> dict[str, Any]:
        """The counters that the test set."""
        return self.counters

    def seen(self, requestid: str) -> dict[str, Any]:
        """The record that the test set, or nothing."""
        return self.records.get(requestid, {})

    def protects(self, path: str) -> bool:
        """Whether a path is at or below one of the test's `keys`."""
        return any(Path(path).is_relative_to(key) for key in self.keys)

    def obeys(self, path: str) -> bool:
        """A test's node has no configuration on a disk."""
        del path
        return False

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The settings that the test set."""
        return self.configured.get(agent, {})


class AgentTester:
    """Calls actions of the agents in `folder` (by default those that ship), on `node`."""

    def __init__(self, folder: Path | None = None, node: TestNode | None = None) -> None:
        self.folder = shipped_dir() if folder is None else folder
        self.node = node or TestNode()
        self._loaded: dict[str, Agent] = {}

    def configure(self, agent: str, **settings: Any) -> None:
        """Set the [agents.NAME] table, which the agent has as a node would give it; ConfigError if it is wrong."""
        self.node.configured[agent] = read_settings(self._load(agent), settings)

    def ddl(self, agent: str) -> ddl.DDL:
        """The agent's DDL."""
        return ddl.load(self._document(agent), str(self.folder / f"{agent}.json"))

    def _document(self, agent: str) -> dict[str, Any]:
        text = (self.folder / f"{agent}.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def load(self, name: str) -> Agent:
        """The agent, loaded by the node's own loader and activated."""
        agent = self._load(name)
        agent.activate(self.node)
        return agent

    def _load(self, name: str) -> Agent:
        if name not in self._loaded:
            served = load_agents([self.folder])
            service = served.get(name)
            assert service, f"agent {name}: {served.inactive.get(name, 'is not there')}"
            self._loaded[name] = service.agent
        return self._loaded[name]

    def module(self, name: str) -> Any:
        """What the agent's module holds, for its pure functions."""
        return SimpleNamespace(**vars(type(self.load(name)))["activate"].__globals__)

    def call(
        self,
        agent: str,
        action: str,
        /,
        *,
        within: float = 60.0,
        cancelled: threading.Event | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Run it and return its outputs, checked against the DDL; `within` is its time in seconds.

        Raises:
            AgentError: the action failed; its data is checked too.
            InputError: the DDL refuses the inputs.
            AssertionError: what it returned is not what the DDL says.
        """
        schema = self.ddl(agent).action(action)
        call = Call(
            request=_request(agent, action),
            data=schema.check(inputs),
            node=self.node,
            deadline=time.monotonic() + within,
            cancelled=cancelled or threading.Event(),
        )
        try:
            outputs: dict[str, Any] = getattr(self.load(agent), action)(call)
        except AgentError as error:
            self._check(agent, action, error.data)
            if "\n" in str(error):
                raise AssertionError(f"a failure is one line: {error}") from error
            raise
        self._check(agent, action, outputs)
        assert set(outputs) or not schema.outputs, f"{agent}.{action} returned no output"
        return outputs

    def fails(self, agent: str, action: str, /, **inputs: Any) -> AgentError:
        """Run it and return its failure; an action that succeeds fails the test."""
        try:
            outputs = self.call(agent, action, **inputs)
        except AgentError as error:
            return error
        raise AssertionError(f"{agent}.{action} did not fail: {outputs}")

    def _check(self, agent: str, action: str, outputs: Mapping[str, Any]) -> None:
        actions = self._document(agent)["actions"]
        declared = next(one for one in actions if one["action"] == action)["output"]
        for name, value in outputs.items():
            assert name in declared, f"{agent}.{action} returns {name}, which its DDL does not name"
            kind = _TYPES.get(declared[name].get("type", ""), object)
            right = value is None or isinstance(value, kind)
            if kind is not bool and isinstance(value, bool):
                right = kind is object
            assert right, f"{agent}.{action}: {name}={value!r} is no {declared[name]['type']}"
            json.dumps(value, default=_bytes, allow_nan=False)


def _bytes(value: Any) -> str:
    assert isinstance(value, bytes), f"{value!r} cannot travel"
    return value.hex()


def _request(agent: str, action: str) -> Request:
    now = time.time()
    return Request(
        id=new_nonce(),
        agent=agent,
        action=action,
        caller="cert=alice",
        collective="mcs",
        via=Via.DIRECT,
        session="scratch-1",
        created=now,
        expires=now + 60,
    )
