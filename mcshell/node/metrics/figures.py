"""What a node tells Prometheus: the figures as a value, and as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.errors import Reason
from mcshell.metrics.exposition import Metric, exposition
from mcshell.metrics.process import process_figures, process_metrics
from mcshell.node.store.records import FINAL
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.metrics.process import ProcessFigures
    from mcshell.node.audit.log import AuditStanding
    from mcshell.node.execution.threads import ThreadLoad

__all__ = ["METRICS", "NodeFigures", "node_text"]

_PREFIX: Final = "mcshell_node"
METRICS: Final = (
    *process_metrics(_PREFIX),
    Metric(
        name="mcshell_node_messages_total",
        kind="counter",
        help="Messages that came, whatever became of them.",
    ),
    Metric(
        name="mcshell_node_requests_total",
        kind="counter",
        help="Requests by the final state that the node gave them.",
        label="state",
    ),
    Metric(
        name="mcshell_node_passed_total",
        kind="counter",
        help="Requests whose filter does not match this node.",
    ),
    Metric(
        name="mcshell_node_junk_total",
        kind="counter",
        help="Messages that were refused unanswered, by the reason.",
        label="reason",
    ),
    Metric(
        name="mcshell_node_overran_total",
        kind="counter",
        help="Actions that ended after their timeout, when they had been answered as failed.",
    ),
    Metric(
        name="mcshell_node_replies_lost_total",
        kind="counter",
        help="Replies to interactive requests for which there was no connection.",
    ),
    Metric(
        name="mcshell_node_messages_waiting",
        kind="gauge",
        help="Messages of topic and direct queue that nobody has looked at yet.",
    ),
    Metric(
        name="mcshell_node_lane_waiting",
        kind="gauge",
        help="Actions that wait for a thread; what waits in the spool is mcshell_node_spool_requests.",
        label="lane",
    ),
    Metric(
        name="mcshell_node_lane_running",
        kind="gauge",
        help="Actions that run in a thread.",
        label="lane",
    ),
    Metric(
        name="mcshell_node_lane_threads",
        kind="gauge",
        help="Threads that a lane has begun.",
        label="lane",
    ),
    Metric(
        name="mcshell_node_spool_requests",
        kind="gauge",
        help="Queued and pool requests in the spool that have not ended, by state.",
        label="state",
    ),
    Metric(
        name="mcshell_node_outbox_replies",
        kind="gauge",
        help="Replies of queued and pool requests that no broker has confirmed.",
    ),
    Metric(
        name="mcshell_node_audit_lines_total",
        kind="counter",
        help="Lines of the audit log's chain, over restarts and rotations.",
    ),
    Metric(
        name="mcshell_node_audit_lost_total",
        kind="counter",
        help="Events that the audit log could not take.",
    ),
    Metric(
        name="mcshell_node_audit_writable",
        kind="gauge",
        help="Whether the audit log can be written, 0 or 1.",
    ),
    Metric(
        name="mcshell_node_replay_claims_total",
        kind="counter",
        help="Ids of interactive requests and conversations: claimed, or claimed before (repeated).",
        label="outcome",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """One node as it stands. `counts` and `junk` are its journal's, `records` its spool's."""

    process: ProcessFigures
    counts: Mapping[str, int]
    junk: Mapping[str, int]
    records: Mapping[str, int]
    lanes: Mapping[str, ThreadLoad]
    audit: AuditStanding
    claims: int
    repeated: int


def node_text(one: NodeFigures) -> str:
    """The figures in Prometheus' text format."""
    counts, records, audit = one.counts, one.records, one.audit
    figures = {
        **process_figures(_PREFIX, one.process),
        "mcshell_node_messages_total": counts.get("messages", 0),
        "mcshell_node_requests_total": {state: counts.get(state, 0) for state in sorted(FINAL)},
        "mcshell_node_passed_total": counts.get("passed", 0),
        "mcshell_node_junk_total": {why.value: one.junk.get(why.value, 0) for why in Reason},
        "mcshell_node_overran_total": counts.get("overran", 0),
        "mcshell_node_replies_lost_total": counts.get("unsent", 0),
        "mcshell_node_messages_waiting": sum(load.messages for load in one.lanes.values()),
        "mcshell_node_lane_waiting": {lane: load.waiting for lane, load in one.lanes.items()},
        "mcshell_node_lane_running": {lane: load.running for lane, load in one.lanes.items()},
        "mcshell_node_lane_threads": {lane: load.threads for lane, load in one.lanes.items()},
        "mcshell_node_spool_requests": {
            "queued": records.get("spooled", 0),
            "running": records.get("running", 0),
        },
        "mcshell_node_outbox_replies": records.get("outbox", 0),
        "mcshell_node_audit_lines_total": audit.lines,
        "mcshell_node_audit_lost_total": audit.lost,
        "mcshell_node_audit_writable": int(audit.writable),
        "mcshell_node_replay_claims_total": {"claimed": one.claims, "repeated": one.repeated},
    }
    return exposition(METRICS, figures, one.process.about)
