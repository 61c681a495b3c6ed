"""Audit sinks: plugins that are given each line of a node's audit log, in a real daemon."""

from __future__ import annotations

import json
import time

from tests.plugins.distributions import install

SINKS = """
import os, threading
def copy(line):
    with open(os.environ["COPY"], "a") as file:
        print(line, file=file)
def broken(line):
    raise OSError("the collector is down")
def stuck(line):
    threading.Event().wait()
"""
POINTS = {name: f"sinks:{name}" for name in ("copy", "broken", "stuck")}


def test_a_sink_is_given_every_line_and_costs_the_node_nothing(fleet, site, tmp_path):
    """One that raises and one that never returns cost neither an answer, a line nor the end."""
    install(site, "sinks", {"audit": POINTS}, SINKS)
    fleet.environ["COPY"] = str(tmp_path / "copy")
    fleet.start()
    for _ in range(5):
        done = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "--json")
        assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"]
    node, began = fleet.nodes["web1"], time.monotonic()
    fleet.stop()
    assert time.monotonic() - began < 30
    path = fleet.folder / "state-web1" / "node" / "audit.jsonl"
    lines = path.read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["file", *["accepted", "finished"] * 5]
    assert (tmp_path / "copy").read_text().splitlines() == lines
    said = node.tail(200)
    assert "audit sink broken fails (OSError: the collector is down); lines lost so far: 1" in said
    assert "audit sink broken has lost 11 lines" in said
    assert "audit sink stuck has lost" in said
    assert "audit sink copy" not in said
