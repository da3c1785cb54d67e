"""The fabric as values: what is made where, in which order."""

from __future__ import annotations

from pathlib import Path

from podwire.lab import fabric_plan
from podwire.lab.fabric_plan import Conditions, Setup
from podwire.lab.spec import LabSpec, NodeRecord

PINS = Path("/pins")


def test_a_cables_far_end_is_born_where_it_belongs() -> None:
    switch, inside = fabric_plan.node(LabSpec(mtu=9000), NodeRecord("node2", 2), PINS)
    assert switch.host == "switch1" and inside.host == "node2"
    assert switch.links[0].startswith("link add port2 mtu 9000 type veth peer name eth0 mtu 9000 address ")
    assert switch.links[0].endswith(" netns /pins/node2")
    assert "address add 10.89.1.12/24 dev eth0" in inside.links
    assert inside.links[-1] == "route add default via 10.89.1.1"


def test_a_node_gets_no_sysctl_that_podwire_must_set_itself() -> None:
    for setup in fabric_plan.node(LabSpec(), NodeRecord("node1", 1), PINS):
        assert not setup.sysctls and not setup.optional


def test_the_router_joins_all_segments_and_knows_no_pod_cidr() -> None:
    spec = LabSpec(subnets=3)
    router = next(setup for setup in fabric_plan.fabric(spec, PINS) if setup.host == fabric_plan.ROUTER)
    for segment in (1, 2, 3):
        assert f"address add 10.89.{segment}.1/24 dev net{segment}" in router.links
    assert not any(line.startswith("route") for line in router.links)
    assert ("net/ipv4/conf/all/forwarding", "1") in router.sysctls


def test_every_namespace_mentioned_is_pinned() -> None:
    spec = LabSpec(subnets=2)
    pinned = set(fabric_plan.hosts(spec))
    assert {setup.host for setup in fabric_plan.fabric(spec, PINS)} == pinned
    assert pinned <= fabric_plan.reserved_names()


def test_merging_keeps_the_order_of_first_mention_and_of_lines() -> None:
    merged = fabric_plan.merged([Setup("a", ("1",)), Setup("b", ("2",)), Setup("a", ("3",), (("x", "1"),))])
    assert merged == [Setup("a", ("1", "3"), (("x", "1"),)), Setup("b", ("2",))]


def test_a_ruleset_says_all_that_is_dropped_and_nothing_when_there_is_nothing() -> None:
    full = fabric_plan.ruleset(Conditions(0.25, (8472, 4789)))
    assert "udp dport { 4789, 8472 } counter drop" in full
    assert "numgen random mod 10000 < 25 counter drop" in full
    assert "chain" not in fabric_plan.ruleset(Conditions())
    assert fabric_plan.ruleset(Conditions()).startswith("add table bridge podwire_lab\ndelete table")


def test_another_mtu_reaches_both_ends_of_every_cable_of_the_segment() -> None:
    spec = LabSpec(subnets=2)
    nodes = [NodeRecord("node1", 1), NodeRecord("node2", 2), NodeRecord("node3", 3)]
    changes = {setup.host: setup.links for setup in fabric_plan.mtu_changes(spec, 1, 1400, nodes)}
    assert set(changes) == {"switch1", "router", "control-plane", "node1", "node3"}
    assert changes["router"] == ("link set net1 mtu 1400",)
    assert "link set port3 mtu 1400" in changes["switch1"] and "link set port2 mtu 1400" not in changes["switch1"]
