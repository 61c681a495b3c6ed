"""The table of calls by which two clients, or two kinds of nodes, are compared.

Each is one line of `mco rpc` and one call of ours. Names of nodes stand as @0001, which a run
turns into node0001 (a real one) or ours0001 (ours, with the same facts and classes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies

__all__ = ["CALLS", "SIX", "Call", "normal"]

Rows = dict[str, tuple[int, str, Any]]


@dataclass(frozen=True)
class Call:
    """One call; `inputs` are texts for `mco` and typed values for us."""

    agent: str
    action: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    where: str | None = None
    nodes: tuple[str, ...] | None = None
    via: str | None = None
    batch: int | None = None

    def __str__(self) -> str:
        way = "" if self.via is None else f" ({self.via})"
        return " ".join(self.words("@")[1:]) + way

    def words(self, prefix: str) -> tuple[str, ...]:
        """The line of `mco`, without -j; who is named with `nodes` is named one by one."""
        made = ["rpc", self.agent, self.action]
        made += [f"{name}={_written(value)}" for name, value in self.inputs.items()]
        for flag, texts in (
            ("-F", self.facts),
            ("-C", self.classes),
            ("-A", self.agents),
            ("-I", (*self.identities, *(self.nodes or ()))),
            ("-S", () if self.where is None else (self.where,)),
        ):
            for text in texts:
                made += [flag, text.replace("@", prefix)]
        if self.batch is not None:
            made += ["--batch", str(self.batch), "--batch-sleep", "0.1"]
        return tuple(made)

    def ask(self, client: Client, prefix: str, **more: Any) -> Replies:
        """Have our client put it."""
        named = None if self.nodes is None else [n.replace("@", prefix) for n in self.nodes]
        return client.rpc(
            self.agent,
            self.action,
            inputs=dict(self.inputs),
            facts=self.facts,
            classes=self.classes,
            agents=self.agents,
            identities=[text.replace("@", prefix) for text in self.identities] or None,
            where=self.where,
            nodes=named,
            via=self.via,
            batch=self.batch,
            **more,
        )


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def normal(data: Any) -> Any:
    """Outputs without what differs from one call to the next: clocks."""
    if isinstance(data, dict):
        return {
            name: "(clock)" if name == "pong" else normal(value) for name, value in data.items()
        }
    return [normal(one) for one in data] if isinstance(data, list) else data


def _ping(**filters: Any) -> Call:
    return Call("rpcutil", "ping", **filters)


def _echo(**inputs: Any) -> Call:
    return Call("rig", "echo", inputs)


def _work(**inputs: Any) -> Call:
    return Call("rig", "work", inputs)


def _fact(name: str) -> Call:
    return Call("rpcutil", "get_fact", {"fact": name})


FILTERS = (
    _ping(),
    _ping(via="broadcast"),
    _ping(via="direct"),
    _ping(facts=("os=debian",)),
    _ping(facts=("os=debian",), via="broadcast"),
    _ping(facts=("os=/^(d|s)/",)),
    _ping(facts=("os!=debian",)),
    _ping(facts=("uptime_days>=14",)),
    _ping(facts=("uptime_days<14",)),
    _ping(facts=("processorcount>2",)),
    _ping(facts=("processorcount<=2",)),
    _ping(facts=("city=Zürich",)),
    _ping(facts=("dc=ams", "os=debian")),
    _ping(facts=("disks=sdb",)),
    _ping(facts=("os=plan9",)),
    _ping(facts=("nothing=1",)),
    _ping(classes=("odd",)),
    _ping(classes=("odd",), via="broadcast"),
    _ping(classes=("/^role::w/",)),
    _ping(classes=("base", "ssh::server")),
    _ping(agents=("rig",)),
    _ping(agents=("/^ri/",)),
    _ping(identities=("@0001",)),
    _ping(identities=("/@000[12]/",)),
    _ping(identities=("@0001", "@0003")),
    _ping(nodes=("@0002", "@0003")),
    _ping(where="os=debian or os=redhat"),
    _ping(where="(dc=ams or dc=lon) and not odd"),
    _ping(where="odd and os=/b/", via="broadcast"),
    _ping(where="fact('dc').value=ams"),
    _ping(where="agent('rig').version=1.0"),
    _ping(classes=("odd",), facts=("dc=ams",), agents=("rpcutil",)),
)
VALUES = (
    _echo(),
    _echo(msg="hello"),
    _echo(msg="Zürich, 日本語 and \U0001f600"),
    _echo(count=7),
    _echo(count=4294967297),
    _echo(count=123456789012345678901234567890),
    _echo(ratio=2.5),
    _echo(flag=True),
    _echo(flag=False),
    _echo(color="red"),
    _echo(msg="all", count=1, ratio=0.25, flag=True, color="blue"),
    Call("rig", "values", {"kind": "integers"}),
    Call("rig", "values", {"kind": "floats"}),
    Call("rig", "values", {"kind": "text"}),
    Call("rig", "values", {"kind": "nested"}),
    Call("rig", "values", {"kind": "empty"}),
    Call("rig", "values", {"kind": "symbols"}),
    Call("rig", "blob", {"bytes": 0}),
    Call("rig", "blob", {"bytes": 200_000}),
    _fact("os"),
    _fact("city"),
    _fact("uptime_days"),
    _fact("disks"),
    _fact("os_full"),
    _fact("nothing"),
    Call("rpcutil", "get_facts", {"facts": "os,dc,nothing"}),
)
FAILURES = (
    *(_work(code=code) for code in (1, 2, 3, 4, 5, 6)),
    _work(**{"code": 1, "raise": True}),
    _work(code=1, odd=True),
    _work(code=2, seconds=0.2),
)
BATCHES = (
    Call("rig", "echo", {"msg": "batched"}, batch=2),
    Call("rig", "work", {"code": 1, "odd": True}, batch=3),
)
CALLS = (*FILTERS, *VALUES, *FAILURES, *BATCHES)

SIX = (
    _ping(),
    _ping(where="(dc=ams or dc=lon) and not odd", via="broadcast"),
    _echo(msg="Zürich, 日本語 and \U0001f600", count=123456789012345678901234567890, flag=False),
    Call("rig", "values", {"kind": "nested"}, identities=("@0001",)),
    _work(code=4, odd=True),
    Call("rig", "blob", {"bytes": 200_000}, batch=2),
)
