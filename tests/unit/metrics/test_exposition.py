"""Prometheus' text format, as its own parser reads it, and the table that documents the metrics."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mcshell.client import metrics as client
from mcshell.client.metrics import ClientFigures, client_text
from mcshell.errors import Reason
from mcshell.metrics.exposition import Metric, exposition
from mcshell.metrics.process import ProcessFigures
from mcshell.node.audit.log import AuditStanding
from mcshell.node.execution.threads import ThreadLoad
from mcshell.node.metrics import figures as node
from mcshell.node.metrics.figures import NodeFigures, node_text
from mcshell.node.store.records import FINAL
from mcshell.supervisor import metrics as supervisor
from mcshell.supervisor.metrics import SupervisorFigures, supervisor_text

README = Path(__file__).parents[3] / "mcshell" / "README.md"
KINDS = {"node": node.METRICS, "supervisor": supervisor.METRICS, "client": client.METRICS}

numbers = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False))
counts = st.integers(0, 2**62)
words = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.floats(0, 4e9)
processes = st.builds(
    ProcessFigures,
    about=st.fixed_dictionaries({"identity": words}),
    now=moments,
    started=moments,
    certificate_end=moments,
    connected=st.booleans(),
    connections=counts,
    connected_at=moments,
    crl_number=st.none() | counts,
    crl_dates=st.none() | st.tuples(moments, moments | st.just(math.inf)),
    version=words,
)
loads = st.builds(ThreadLoad, messages=counts, waiting=counts, running=counts, threads=counts)
strangers = st.dictionaries(words | st.sampled_from([why.value for why in Reason]), counts)
nodes = st.builds(
    NodeFigures,
    process=processes,
    counts=st.dictionaries(words | st.sampled_from(sorted(FINAL)), counts),
    junk=strangers,
    records=st.dictionaries(st.sampled_from(["spooled", "running", "outbox"]), counts),
    lanes=st.fixed_dictionaries({"interactive": loads, "pool": loads}),
    audit=st.builds(AuditStanding, lines=counts, lost=counts, writable=st.booleans()),
    claims=counts,
    repeated=counts,
)


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample, by name and labels; none may stand twice."""
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    found = {(one.name, tuple(sorted(one.labels.items()))): float(one.value) for one in samples}
    assert len(found) == len(samples)
    return found


@given(
    st.dictionaries(
        st.sampled_from(["a_total", "b_seconds", "c"]), numbers | st.dictionaries(words, numbers)
    ),
    st.dictionaries(st.sampled_from(["identity", "session"]), words),
    words,
)
def test_every_figure_comes_back_from_the_parser(figures, about, said) -> None:
    """Whatever stands in labels and help, and whatever the figure is."""
    metrics = [
        Metric(name=name, kind="gauge", help=said, label="own")
        for name in ("a_total", "b_seconds", "c")
    ]
    wanted = {}
    for name, found in figures.items():
        each = found.items() if isinstance(found, dict) else [(None, found)]
        for value, figure in each:
            labels = about if value is None else {**about, "own": value}
            wanted[name, tuple(sorted(labels.items()))] = float(figure)
    assert parsed(exposition(metrics, figures, about)) == wanted


def test_what_is_no_number_and_without_labels_is_said_so() -> None:
    """NaN and both infinities have words of their own; without labels there are no braces."""
    metrics = [Metric(name=name, kind="gauge", help="h") for name in "abc"]
    text = exposition(metrics, {"a": math.nan, "b": math.inf, "c": -math.inf}, {})
    assert [line for line in text.splitlines() if line[0] != "#"] == ["a NaN", "b +Inf", "c -Inf"]


@given(nodes)
def test_a_node_s_figures_are_read_and_bounded(one: NodeFigures) -> None:
    """Each sample is of a declared metric; what strangers wrote becomes neither label nor series."""
    found = parsed(node_text(one))
    assert {name for name, _ in found} <= {metric.name for metric in node.METRICS}
    assert len(found) <= 70
    about = one.process.about["identity"]
    assert {dict(labels)["identity"] for _, labels in found} == {about}
    reasons = {dict(labels).get("reason") for name, labels in found if "junk" in name}
    assert reasons == {why.value for why in Reason}
    key = ("mcshell_node_junk_total", (("identity", about), ("reason", "unsigned")))
    assert found[key] == float(one.junk.get("unsigned", 0))


@given(processes, strangers, counts)
def test_a_supervisor_s_and_a_session_s_figures_are_read(process, junk, count) -> None:
    """So with those of the two others: all that is declared is there, but for what there is not."""
    process = replace(process, crl_number=7, crl_dates=(1.0, 2.0), connected_at=3.0)
    said = supervisor_text(
        SupervisorFigures(process=process, machines={"heard": count}, jobs={}, rules=1, carried=2)
    )
    assert {name for name, _ in parsed(said)} == {one.name for one in supervisor.METRICS}
    session = ClientFigures(
        process=process, requests_open=count, replies_kept=1, unsent=2, junk=junk
    )
    assert {name for name, _ in parsed(client_text(session))} == {
        one.name for one in client.METRICS
    }


def test_names_follow_prometheus_conventions() -> None:
    """Counters end in `_total` and nothing else does; each name has its part, and one help in all."""
    for part, metrics in KINDS.items():
        assert len({one.name for one in metrics}) == len(metrics)
        for one in metrics:
            assert re.fullmatch(rf"mcshell_{part}_[a-z_]+", one.name)
            assert one.name.endswith("_total") == (one.kind == "counter")


def test_the_readme_has_every_metric_and_no_other() -> None:
    """Name by name, with its kind, its label and what it says; `*` is each of the three parts."""
    rows = re.findall(
        r"^\| `(mcshell_[\w*]+)` \| (\w+) \| (?:`(\w+)` )?\| (.*) \|$",
        README.read_text(),
        re.MULTILINE,
    )
    documented = {
        (name.replace("*", part), kind, label, said)
        for name, kind, label, said in rows
        for part in (KINDS if "*" in name else [""])
    }
    declared = {
        (one.name, one.kind, one.label, one.help) for metrics in KINDS.values() for one in metrics
    }
    assert documented == declared
