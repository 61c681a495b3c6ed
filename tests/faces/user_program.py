"""What a program of a user's looks like, for mypy's strict eyes: `test_user_program` has it checked, nobody runs it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

import mcshell

MINUTE = timedelta(minutes=1)


def ask(url: str) -> pd.DataFrame:
    """Whatever waits or lasts takes a timedelta, as seconds and text."""
    with mcshell.connect(url, session="audit", config_file=Path("alice.toml")) as client:
        nodes: pd.DataFrame = client.discover(where="role=web")
        replies = client.rpc(
            "package", "status", nodes=nodes, ttl=MINUTE, timeout=MINUTE, batch_sleep=MINUTE
        )
        states: list[str] = [row.state for row in replies.wait(MINUTE).arrivals(MINUTE)]
        client.jobs.submit("rpcutil", "ping", nodes=states, at=datetime.now(UTC), ttl=MINUTE)
        client.jobs.forecast(datetime.now(UTC), MINUTE)
        client.approvals.propose("service", "restart", name="nginx", ttl=MINUTE, timeout="10s")
        client.files.put("motd", "/etc/motd", nodes=nodes, timeout=MINUTE)
        with client.open("web01", "repl", timeout=MINUTE) as talk:
            talk.send(1, MINUTE)
            talk.receive(MINUTE)
        causes: pd.DataFrame = client.explain(replies.silent)
        return causes


async def wait(client: mcshell.Client) -> list[mcshell.Replies]:
    """Replies are awaited alone and together, and what came is in the error."""
    try:
        one: mcshell.Replies = await client.rpc("rpcutil", "ping", wait=False)
    except mcshell.Stopped as stopped:
        return [] if stopped.replies is None else [stopped.replies]
    return list(await asyncio.gather(one, client.rpc("rpcutil", "ping", wait=False)))


def submit(rows: list[dict[str, str]]) -> list[str]:
    """The results of tasks are hashes."""
    with mcshell.Executor("checks", session="campaign", ttl=MINUTE) as pool:
        pool.flush(MINUTE)
        return [str(one["value"]) for one in pool.map("rpcutil.get_fact", rows, timeout=MINUTE)]


mcshell.connect(3)  # type: ignore[arg-type]
mcshell.connect(config="alice.toml")  # type: ignore[call-arg]
