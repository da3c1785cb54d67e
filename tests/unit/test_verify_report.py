"""What people and programs get to read: the matrix, the verdicts, the findings; JSON and JUnit that parse."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from typing import Any

import msgspec
import pytest

from podwire.verify.plan import Coverage
from podwire.verify.proof import Proof, verdicts
from podwire.verify.report import machine, text
from podwire.verify.values import PROTOS, Check, Evidence, Finding, Flow, Judged, Outcome, Report

DOUBT = Check(2, "conntrack", "n1", None, "not permitted")
UNIQUE = Check(1, "unique address", "cluster", True, "6 addresses of live pods, none twice")
ROUTE = Finding(
    "missing-route", 2, "n1: 10.244.2.0/24", "node n1 has no route to 10.244.2.0/24", "restore it", ("UDP: lost",)
)


def flow(one: str, other: str, proto: str, size: str, outcome: Outcome = "ok", kind: str = "pod") -> Judged:
    made = Flow(
        "0" * 16, kind, proto, size, f"v/{one}:probe", f"v/{other}:probe", one, other,  # type: ignore[arg-type]
        "10.244.1.5", "10.244.2.5", 7, 128, 1450 if size == "full" else 156,
    )  # fmt: skip
    return Judged(made, outcome, "" if outcome == "ok" else f"it is {outcome} <&>", Evidence(Report(outcome == "ok")))


def mesh(nodes: int, broken: dict[tuple[str, str, str, str], Outcome] | None = None) -> list[Judged]:
    names = [f"n{number}" for number in range(1, nodes + 1)]
    return [
        flow(one, other, proto, size, (broken or {}).get((one, other, proto, size), "ok"))
        for one in names
        for other in names
        for proto in PROTOS
        for size in ("small", "full")
    ]


def proof(judged: list[Judged], findings: tuple[Finding, ...] = (), **more: Any) -> Proof:
    nodes = tuple(sorted({each.flow.source_node for each in judged}))
    coverage = Coverage(len(nodes), len(nodes) * (len(nodes) - 1), len(nodes) * (len(nodes) - 1))
    judged = [*judged, *(flow(node, node, "icmp", "small", kind="node") for node in nodes)]
    checks = more.pop("checks", (UNIQUE,))
    stuck = more.pop("stuck", ())
    return Proof(
        nodes, coverage, tuple(judged), checks, (*stuck, *findings),
        verdicts(judged, checks, stuck, coverage), 1.5, **more,
    )  # fmt: skip


def test_a_healthy_cluster_is_a_matrix_of_marks_and_three_verdicts() -> None:
    report = text.render(proof(mesh(3)))
    rows = [line.split() for line in report.splitlines() if line.startswith("  n")]
    assert rows == [[name, "✓✓✓", "✓✓✓", "✓✓✓"] for name in ("n1", "n2", "n3")]
    assert report.count("✓ proven  ") == 3
    assert "All 6 ordered pairs of 3 nodes" in report
    assert "What is broken" not in report and "\033" not in report
    assert all(len(line) <= 110 for line in report.splitlines())


def test_each_failure_has_its_symbol_and_the_legend_explains_those_used() -> None:
    broken: dict[tuple[str, str, str, str], Outcome] = {
        ("n1", "n2", "tcp", "small"): "lost",
        ("n1", "n2", "udp", "full"): "one-way",
        ("n1", "n2", "icmp", "full"): "translated",
        ("n2", "n1", "tcp", "full"): "unproven",
    }
    report = text.render(proof(mesh(2, broken), (ROUTE,)))
    cells = [line.split()[1:] for line in report.splitlines() if line.startswith("  n")]
    assert cells == [["✓✓✓", "✗MN"], ["?✓✓", "✓✓✓"]]
    legend = next(line for line in report.splitlines() if "each cell" in line)
    assert all(f"{symbol} " in legend for symbol in "✓✗MN?") and "D " not in legend


def test_a_large_cluster_shows_the_nodes_in_trouble_only() -> None:
    whole = text.render(proof(mesh(15)))
    assert not [line for line in whole.splitlines() if line.startswith("  n")]
    assert "every cell of the matrix is ✓✓✓" in whole
    broken = text.render(proof(mesh(15, {("n1", "n7", "tcp", "small"): "lost"}), (ROUTE,)))
    assert [line.split()[0] for line in broken.splitlines() if line.startswith("  n")] == ["n1", "n7"]
    assert "13 nodes without trouble are not shown" in broken


def test_findings_of_one_kind_are_not_repeated_without_end() -> None:
    many = tuple(msgspec.structs.replace(ROUTE, where=f"n{number}") for number in range(20))
    report = text.render(proof(mesh(2, {("n1", "n2", "tcp", "small"): "lost"}), many))
    assert report.count("✗ node n1 has no route") == 3
    assert "and 17 more of the same: n3, n4" in report and "…" in report


@pytest.mark.parametrize(
    ("made", "states", "status"),
    [
        (proof(mesh(2)), ["proven", "proven", "proven"], 0),
        (proof(mesh(2, {("n1", "n2", "tcp", "full"): "translated"})), ["proven", "broken", "proven"], 1),
        (proof(mesh(2, {("n1", "n2", "tcp", "full"): "unproven"})), ["proven", "not proven", "proven"], 2),
        (proof(mesh(2), checks=(UNIQUE, DOUBT)), ["proven", "not proven", "proven"], 2),
        (proof(mesh(2), checks=(Check(1, "unique address", "x", False, "x twice"),)), ["broken", "proven", "proven"], 1),
        (proof(mesh(2), stuck=(ROUTE,)), ["not proven", "not proven", "not proven"], 2),
    ],
)  # fmt: skip
def test_only_what_was_seen_is_proven(made: Proof, states: list[str], status: int) -> None:
    assert [verdict.status for verdict in made.verdicts] == states
    assert made.exit_status == status


def test_a_proof_of_nothing_proves_nothing() -> None:
    made = verdicts([], [UNIQUE], [], Coverage(1, 0, 0))
    assert [verdict.status for verdict in made] == ["proven", "not proven", "not proven"]


def test_a_broken_verdict_counts_what_happened() -> None:
    made = proof(mesh(2, {("n1", "n2", "tcp", "small"): "lost", ("n1", "n2", "udp", "small"): "translated"}))
    assert made.verdicts[1].sentence == "2 of 24 flows fail: 1 lost, 1 translated"


def test_the_json_holds_everything_and_is_plain() -> None:
    made = proof(mesh(2, {("n1", "n2", "tcp", "small"): "lost"}), (ROUTE,), captures=("/tmp/a.pcap",))
    document = json.loads(machine.to_json(made))
    assert document["kind"] == "Proof" and document["proven"] is False
    assert [verdict["status"] for verdict in document["verdicts"]] == ["proven", "broken", "proven"]
    assert document["findings"][0]["code"] == "missing-route"
    assert len(document["flows"]) == len(made.judged)
    assert document["coverage"]["sentence"] == "all 2 ordered pairs of 2 nodes"
    assert {flow["outcome"] for flow in document["flows"]} == {"ok", "lost"}


def test_the_junit_parses_and_its_counts_are_right() -> None:
    made = proof(mesh(2, {("n1", "n2", "tcp", "small"): "lost", ("n1", "n2", "udp", "full"): "unproven"}), (ROUTE,))
    root = ElementTree.fromstring(machine.to_junit(made))
    for suite in root.findall("testsuite"):
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "0")) == len(cases)
        assert int(suite.get("failures", "0")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("errors", "0")) == len(suite.findall("testcase/error"))
    second = root.findall("testsuite")[1]
    assert (second.get("failures"), second.get("errors")) == ("2", "1"), "the flow, the verdict; the flow not proven"
    assert "→ restore it" in (second.findall("testcase/failure")[-1].text or "")


def test_colour_changes_nothing_but_colour() -> None:
    import re

    made = proof(mesh(2, {("n1", "n2", "tcp", "small"): "lost"}), (ROUTE,))
    coloured = text.render(made, colour=True)
    assert "\033[31m" in coloured
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == text.render(made)
