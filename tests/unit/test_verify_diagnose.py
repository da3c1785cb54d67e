"""From failures to names: each way of breaking a network has its finding, and the finding names the place."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from podwire.model.cluster import Node, Pod
from podwire.verify.checks import address_checks, conflict_check, duplicates, live_pods, sharing_check
from podwire.verify.diagnose import broken_checks, diagnose, not_started
from podwire.verify.observation import (
    Lookup,
    SeenFdb,
    SeenLink,
    SeenNamespace,
    SeenNeighbour,
    SeenNode,
    SeenRoute,
    SeenVxlan,
)
from podwire.verify.values import (
    Aftermath,
    Evidence,
    Finding,
    Flow,
    Judged,
    NodeStatus,
    Outcome,
    Place,
    Placed,
    Report,
    Seat,
    Sighting,
    StartFailure,
    Topology,
    Trace,
)

FLOW = Flow(
    "0" * 16, "pod", "udp", "small", "v/p1-5:probe", "v/p2-5:probe", "n1", "n2", "10.244.1.5", "10.244.2.5", 7, 128, 156
)
OTHER = msgspec.structs.replace(FLOW, target="v/p3-5:probe", target_node="n3", dst="10.244.3.5")


def topology(nodes: int = 3) -> Topology:
    return Topology(
        {
            f"n{n}": NodeStatus(Node(f"n{n}", (ip_address(f"10.89.0.{n}"),), (ip_network(f"10.244.{n}.0/24"),)))
            for n in range(1, nodes + 1)
        },
        (),
    )


def judged(outcome: Outcome = "lost", flow: Flow = FLOW, **evidence: Any) -> Judged:
    return Judged(flow, outcome, "no answer came", Evidence(**{"report": Report(outcome == "ok"), **evidence}))


def node(name: str, **network: Any) -> SeenNode:
    number = name[1:]
    known: dict[str, Any] = {
        "links": (SeenLink(2, "uplink", "veth", "02:00:00:00:00:aa", 1500, True),),
        "routes": (SeenRoute("0.0.0.0/0", "uplink", "10.89.0.254"), SeenRoute(f"10.244.{number}.5/32", "pw1")),
        "sysctls": {"net/ipv4/ip_forward": "1"},
    }
    return SeenNode(name, SeenNamespace(int(number), **{**known, **network}))


ROUTED = {
    ("n1", "10.244.2.5"): Lookup("10.244.2.5", "10.244.2.0/24", "unicast", "uplink", "10.89.0.2"),
    ("n2", "10.244.1.5"): Lookup("10.244.1.5", "10.244.1.0/24", "unicast", "uplink", "10.89.0.1"),
    ("n1", "10.244.1.5"): Lookup("10.244.1.5", "10.244.1.5/32", "unicast", "pw1"),
    ("n2", "10.244.2.5"): Lookup("10.244.2.5", "10.244.2.5/32", "unicast", "pw1"),
}
MESH = {("n1", "n2"): True, ("n2", "n1"): True, ("n1", "n3"): True, ("n2", "n3"): True}


def aftermath(lookups: dict[tuple[str, str], Lookup] | None = None, **changes: Any) -> Aftermath:
    known: dict[str, Any] = {
        "nodes": {"n1": node("n1"), "n2": node("n2")},
        "lookups": {**ROUTED, **(lookups or {})},
        "reachable": MESH,
    }
    return Aftermath(**{**known, **changes})


def one(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def test_nothing_failed_nothing_found() -> None:
    assert diagnose([judged("ok"), judged("unproven")], (), topology(), Aftermath()) == []


def test_masquerading_names_the_node_whose_address_was_seen() -> None:
    flow = judged("translated", sighting=Sighting("10.89.0.1", 61000, "", 128, True))
    finding = one(diagnose([flow], (), topology(), Aftermath()))
    assert (finding.code, finding.where) == ("masqueraded", "n1")
    assert "saw 10.89.0.1, an address of node n1, where 10.244.1.5 had sent" in finding.sentence


def test_a_vteps_address_belongs_to_its_node_too() -> None:
    flow = judged("translated", sighting=Sighting("10.244.1.0", 61000, "", 128, True))
    assert one(diagnose([flow], (), topology(), Aftermath())).where == "n1"


@pytest.mark.parametrize(
    ("lookup", "words"),
    [
        (Lookup("10.244.2.5", error="ENETUNREACH"), "the kernel says ENETUNREACH"),
        (
            Lookup("10.244.2.5", "10.244.0.0/16", "unreachable", error="EHOSTUNREACH"),
            "“unreachable 10.244.0.0/16” refuses",
        ),
    ],
)
def test_a_route_that_is_not_there_is_missing(lookup: Lookup, words: str) -> None:
    finding = one(diagnose([judged()], (), topology(), aftermath({("n1", "10.244.2.5"): lookup})))
    assert (finding.code, finding.where) == ("missing-route", "n1: 10.244.2.0/24")
    assert words in finding.sentence and finding.remedy


def test_the_default_route_is_missing_the_point_where_nodes_route_to_each_other() -> None:
    default = Lookup("10.244.2.5", "0.0.0.0/0", "unicast", "uplink", "10.89.0.254")
    routed = node("n1", routes=(SeenRoute("10.244.3.0/24", "uplink", "10.89.0.3"),))
    lookups = {("n1", "10.244.2.5"): default}
    finding = one(diagnose([judged()], (), topology(), aftermath(lookups, nodes={"n1": routed, "n2": node("n2")})))
    assert finding.code == "missing-route" and "default route via 10.89.0.254" in finding.sentence


def test_the_default_route_is_right_where_the_clouds_fabric_knows_the_pods() -> None:
    default = Lookup("10.244.2.5", "0.0.0.0/0", "unicast", "uplink", "10.89.0.254")
    back = Lookup("10.244.1.5", "0.0.0.0/0", "unicast", "uplink", "10.89.0.254")
    lookups = {("n1", "10.244.2.5"): default, ("n2", "10.244.1.5"): back}
    finding = one(diagnose([judged()], (), topology(), aftermath(lookups)))
    assert finding.code == "unexplained"


def test_the_way_back_counts_too() -> None:
    lookups = {("n2", "10.244.1.5"): Lookup("10.244.1.5", error="ENETUNREACH")}
    finding = one(diagnose([judged("one-way")], (), topology(), aftermath(lookups)))
    assert finding.where == "n2: 10.244.1.0/24"


def test_a_next_hop_that_is_another_node_is_wrong() -> None:
    astray = Lookup("10.244.2.5", "10.244.2.0/24", "unicast", "uplink", "10.89.0.3")
    finding = one(diagnose([judged()], (), topology(), aftermath({("n1", "10.244.2.5"): astray})))
    assert finding.code == "wrong-route" and "to node n3" in finding.sentence


def test_a_node_that_forwards_nothing_is_named() -> None:
    nodes = {"n1": node("n1"), "n2": node("n2", sysctls={"net/ipv4/ip_forward": "0"})}
    finding = one(diagnose([judged()], (), topology(), aftermath(nodes=nodes)))
    assert (finding.code, finding.where) == ("forwarding-off", "n2")


def test_a_dead_node_is_told_from_a_dead_pair() -> None:
    dead = {("n1", "n2"): False, ("n2", "n1"): False, ("n1", "n3"): True, ("n2", "n3"): False}
    finding = one(diagnose([judged()], (), topology(), aftermath(reachable=dead)))
    assert (finding.code, finding.where) == ("node-cut-off", "n2")
    pair = {**dead, ("n2", "n3"): True}
    finding = one(diagnose([judged()], (), topology(), aftermath(reachable=pair)))
    assert finding.where == "n1 ↔ n2"


OVERLAY = (
    SeenLink(2, "uplink", "veth", "02:00:00:00:00:aa", 1500, True),
    SeenLink(3, "ov0", "vxlan", "02:00:00:00:00:01", 1450, True, vxlan=SeenVxlan(7, 4789, "10.89.0.1", "uplink")),
)
THROUGH = Lookup("10.244.2.5", "10.244.2.0/24", "unicast", "ov0", "10.244.2.0")
VTEP = SeenNeighbour("ov0", "10.244.2.0", "02:00:00:00:00:02", "permanent")
ENTRY = SeenFdb("ov0", "02:00:00:00:00:02", "10.89.0.2")


@pytest.mark.parametrize(
    ("neighbours", "fdb", "words"),
    [
        ((), (ENTRY,), "no neighbour entry for 10.244.2.0"),
        ((VTEP,), (), "no forwarding entry (FDB) for 02:00:00:00:00:02"),
        ((VTEP,), (SeenFdb("ov0", "02:00:00:00:00:02", "10.89.0.9"),), "leads to 10.89.0.9, not to 10.89.0.2"),
    ],
)
def test_an_overlays_entries_are_checked(
    neighbours: tuple[SeenNeighbour, ...], fdb: tuple[SeenFdb, ...], words: str
) -> None:
    nodes = {"n1": node("n1", links=OVERLAY, neighbours=neighbours, fdb=fdb), "n2": node("n2")}
    found = diagnose([judged()], (), topology(), aftermath({("n1", "10.244.2.5"): THROUGH}, nodes=nodes))
    assert one(found).code == "missing-vtep" and words in one(found).sentence


IN, OUT = False, True
LEFT = (Place("n1", "pw1", IN), Place("n1", "ov0", OUT), Place("n1", "uplink", OUT, 4789))


@pytest.mark.parametrize(
    ("request_", "answer", "code", "where", "words"),
    [
        (LEFT[:2], (), "blocked-vxlan-port", "n1 → n2", "do not leave n1"),
        (LEFT, (), "blocked-vxlan-port", "n1 → n2", "dropped in between"),
        ((*LEFT, Place("n2", "uplink", IN, 4789)), (), "blocked-vxlan-port", "n1 → n2", "reach n2, and a rule there"),
        (
            (*LEFT, Place("n2", "uplink", IN, 4789), Place("n2", "ov0", IN)), (),
            "dropped-on-node", "n2", "last seen into ov0 of n2",
        ),
        (LEFT[:1], (), "dropped-on-node", "n1", "last seen into pw1 of n1"),
        (
            (*LEFT, Place("n2", "uplink", IN, 4789), Place("n2", "ov0", IN), Place("n2", "pw1", OUT)),
            (Place("n2", "pw1", IN), Place("n2", "ov0", OUT), Place("n2", "uplink", OUT, 4789), Place("n1", "uplink", IN, 4789)),
            "blocked-vxlan-port", "n2 → n1", "reach n1, and a rule there",
        ),
    ],
    ids=["at the sender", "in between", "at the receiver", "behind the tunnel", "before the tunnel", "on the way back"],
)  # fmt: skip
def test_where_a_packet_was_last_seen_tells_what_drops_it(
    request_: tuple[Place, ...], answer: tuple[Place, ...], code: str, where: str, words: str
) -> None:
    nodes = {"n1": node("n1", links=OVERLAY, neighbours=(VTEP,), fdb=(ENTRY,)), "n2": node("n2")}
    after = aftermath(
        {("n1", "10.244.2.5"): THROUGH}, nodes=nodes, traces={("v/p1-5:probe", "10.244.2.5"): Trace(request_, answer)}
    )
    finding = one(diagnose([judged()], (), topology(), after))
    assert (finding.code, finding.where) == (code, where)
    assert words in finding.sentence


def test_an_underlay_that_drops_pods_addresses_is_named() -> None:
    trace = Trace((Place("n1", "pw1", IN), Place("n1", "uplink", OUT)), ())
    finding = one(diagnose([judged()], (), topology(), aftermath(traces={("v/p1-5:probe", "10.244.2.5"): trace})))
    assert finding.code == "lost-between-nodes" and "anti-spoofing" in finding.remedy


def test_small_packets_that_pass_and_large_ones_that_do_not_are_an_mtu() -> None:
    full = msgspec.structs.replace(FLOW, size="full", packet=1500, length=1472)
    narrow = node("n2", links=(SeenLink(2, "uplink", "veth", "02:00:00:00:00:aa", 1400, True),))
    after = aftermath(largest={("v/p1-5:probe", "10.244.2.5"): 1400}, nodes={"n2": narrow})
    finding = one(diagnose([judged("ok"), judged(flow=full)], (), topology(), after))
    assert finding.code == "wrong-mtu" and "1400 is the most that does" in finding.sentence
    assert "uplink on n2 has MTU 1400" in finding.evidence and "MTU to 1400" in finding.remedy


def test_where_small_packets_fail_too_the_mtu_is_not_blamed() -> None:
    full = msgspec.structs.replace(FLOW, size="full", packet=1500)
    lookups = {("n1", "10.244.2.5"): Lookup("10.244.2.5", error="ENETUNREACH")}
    found = diagnose([judged(), judged(flow=full)], (), topology(), aftermath(lookups))
    assert one(found).code == "missing-route"


def test_many_failures_of_one_cause_are_one_finding_with_some_evidence() -> None:
    flows = [msgspec.structs.replace(FLOW, port=port, proto=proto) for port in range(9) for proto in ("udp", "tcp")]
    lookups = {("n1", "10.244.2.5"): Lookup("10.244.2.5", error="ENETUNREACH")}
    finding = one(diagnose([judged(flow=flow) for flow in flows], (), topology(), aftermath(lookups)))
    assert 1 < len(finding.evidence) <= 4


def test_what_nothing_explains_is_said_to_be_unexplained() -> None:
    finding = one(diagnose([judged("one-way")], (), topology(), aftermath()))
    assert finding.code == "unexplained" and "the answer is lost" in finding.sentence


def pod(name: str, node_: str, *ips: str, **more: Any) -> Pod:
    return Pod("web", name, node=node_, ips=tuple(map(ip_address, ips)), **more)


def seat(name: str, node_: str, *ips: str) -> Placed:
    return Placed(Seat(node_, name, "probe"), SeenNamespace(1), ips, {("udp", 4): 7})


def test_duplicates_explain_the_flows_that_suffer_from_them() -> None:
    known = Topology(topology().nodes, (pod("a", "n1", "10.244.2.5"), pod("b", "n2", "10.244.2.5")))
    twice = duplicates(known, ())
    found = diagnose([judged()], twice.items(), known, aftermath())
    assert one(found).code == "duplicate-address"
    assert "web/a on n1 and to web/b on n2" in one(found).sentence


def test_addresses_of_the_dead_and_of_nodes_are_nobodys() -> None:
    known = Topology(
        topology().nodes,
        (
            pod("a", "n1", "10.244.1.5"),
            pod("done", "n1", "10.244.1.5", live=False),
            pod("host", "n1", "10.89.0.1", host_network=True),
        ),
    )
    assert [found.name for found in live_pods(known)] == ["a"]
    assert [check.ok for check in address_checks(known, ())] == [True]


def test_a_pod_with_a_nodes_address_is_found() -> None:
    known = Topology(topology().nodes, (pod("a", "n1", "10.89.0.2"),))
    assert [check.sentence for check in address_checks(known, ()) if not check.ok] == [
        "10.89.0.2 belongs to node n2 and to web/a on n1"
    ]


def test_an_interface_that_the_api_does_not_know_is_found() -> None:
    known = Topology(topology().nodes, (pod("a", "n1", "10.244.1.5"), pod("b", "n2", "10.244.1.9")))
    checks = address_checks(known, (seat("web/a", "n1", "10.244.1.9"),))
    wrong = {check.name for check in checks if check.ok is False}
    assert wrong == {"unique address", "address as told"}
    assert [finding.code for finding in broken_checks(checks)] == ["address-as-told"]


def test_containers_that_share_pass_and_others_do_not() -> None:
    first, second = seat("web/a", "n1", "10.244.1.5"), seat("web/a", "n1", "10.244.1.6")
    assert sharing_check(first, first, Report(True)).ok
    assert sharing_check(first, first, Report(False, "ECONNREFUSED")).ok is False
    assert sharing_check(first, second, Report(True)).ok is False
    assert conflict_check(first.seat, 80, "EADDRINUSE").ok
    assert conflict_check(first.seat, 80, "").ok is False
    assert "got EACCES" in conflict_check(first.seat, 80, "EACCES").sentence


def test_a_node_without_probes_is_named_with_what_it_says_itself() -> None:
    known = topology(2)
    sick = NodeStatus(known.nodes["n2"].node, False, "network plugin is not ready")
    known = Topology({**known.nodes, "n2": sick}, ())
    finding = one(
        not_started(
            [StartFailure("n2", "v/first", "ContainerCreating: no CNI"), StartFailure("n2", "v/second", "x")], known
        )
    )
    assert finding.where == "n2" and "network plugin is not ready" in finding.sentence
