"""Which flows are tried: every pair, every protocol, both sizes; a sample leaves no node out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.model.cluster import Pod
from podwire.verify.observation import SeenLink, SeenNamespace, SeenRoute
from podwire.verify.plan import Coverage, Plan, Sample, full_payload, pairs, plan
from podwire.verify.values import PROTOS, Placed, Proto, Seat


def nonces() -> Iterator[str]:
    return (f"{number:016x}" for number in itertools.count())


def placed(
    node: str, pod: str, ips: tuple[str, ...], *, container: str = "probe", mtu: int = 1450, listens: bool = True
) -> Placed:
    facts = SeenNamespace(
        1,
        links=(SeenLink(2, "eth0", "veth", "02:00:00:00:00:01", mtu, True),),
        routes=(SeenRoute("0.0.0.0/0", "eth0"), SeenRoute("::/0", "eth0")),
    )
    versions = {ip_address(ip).version for ip in ips}
    ports: dict[tuple[Proto, int], int] = {(p, v): 0 if p == "icmp" else 7000 for p in PROTOS for v in versions}
    return Placed(Seat(node, pod, container, pod.startswith("host/")), facts, ips, ports if listens else {})


def cluster(count: int, dual: bool = False) -> list[Placed]:
    seats = []
    for number in range(1, count + 1):
        node = f"n{number}"
        for last in (5, 6):
            ips = (f"10.244.{number}.{last}", *((f"fd00::{number}:{last}",) if dual else ()))
            seats.append(placed(node, f"v/p{number}-{last}", ips))
        seats.append(placed(node, f"host/{node}", (f"10.89.0.{number}",), listens=False))
    return seats


def made(seats: list[Placed], live: tuple[Pod, ...] = (), sample: Sample | None = None) -> Plan:
    return plan(seats, live, nonces(), sample)


def test_every_ordered_pair_gets_every_protocol_in_both_sizes() -> None:
    flows = [flow for flow in made(cluster(3)).flows if flow.kind == "pod" and flow.source_node != flow.target_node]
    tried = Counter((flow.source_node, flow.target_node, flow.proto, flow.size) for flow in flows)
    wanted = itertools.product(itertools.permutations(("n1", "n2", "n3"), 2), PROTOS, ("small", "full"))
    assert tried == Counter((*pair, proto, size) for pair, proto, size in wanted)


def test_pods_of_one_node_reach_each_other_both_ways_and_themselves() -> None:
    flows = made(cluster(1)).flows
    assert {(flow.source, flow.target) for flow in flows if flow.kind == "pod"} == {
        ("v/p1-5:probe", "v/p1-6:probe"), ("v/p1-6:probe", "v/p1-5:probe"),
    }  # fmt: skip
    assert {flow.source for flow in flows if flow.kind == "self"} == {"v/p1-5:probe", "v/p1-6:probe"}


def test_both_ip_versions_are_tried_where_both_ends_have_them() -> None:
    seats = cluster(2, dual=True)
    versions = Counter(ip_address(flow.dst).version for flow in made(seats).flows if flow.kind == "pod")
    assert versions[4] == versions[6] > 0
    seats[0] = placed("n1", "v/p1-5", ("10.244.1.5",))
    between = [flow for flow in made(seats).flows if flow.kind == "pod" and flow.source == "v/p1-5:probe"]
    assert {ip_address(flow.dst).version for flow in between} == {4}


def test_a_node_reaches_its_own_pods_and_no_others() -> None:
    stranger = Pod("web", "nginx", node="n2", ips=(ip_address("10.244.2.99"),))
    flows = [flow for flow in made(cluster(2), (stranger,)).flows if flow.kind == "node"]
    assert all(flow.source_node == flow.target_node and flow.source.startswith("host/") for flow in flows)
    assert [(flow.proto, flow.dst, flow.target) for flow in flows if flow.target == "web/nginx"] == [
        ("icmp", "10.244.2.99", "web/nginx")
    ]
    assert {flow.proto for flow in flows if flow.target == "v/p2-5:probe"} == set(PROTOS)


def test_every_flow_has_a_nonce_of_its_own() -> None:
    flows = made(cluster(4, dual=True)).flows
    assert len({flow.nonce for flow in flows}) == len(flows)


@pytest.mark.parametrize(
    ("proto", "version", "payload"), [("udp", 4, 1422), ("icmp", 4, 1422), ("udp", 6, 1402), ("tcp", 4, 4 * 1410)]
)
def test_a_full_size_payload_makes_a_packet_of_the_mtu(proto: Proto, version: int, payload: int) -> None:
    assert full_payload(proto, version, 1450) == payload


def test_full_size_follows_the_senders_route_where_that_is_narrower() -> None:
    narrow = placed("n1", "v/p1-5", ("10.244.1.5",))
    facts = SeenNamespace(1, links=narrow.facts.links, routes=(SeenRoute("0.0.0.0/0", "eth0", mtu=1400),))
    seats = [Placed(narrow.seat, facts, narrow.ips, narrow.ports), placed("n2", "v/p2-5", ("10.244.2.5",))]
    sizes = {flow.source_node: flow.packet for flow in made(seats).flows if flow.kind == "pod" and flow.size == "full"}
    assert sizes == {"n1": 1400, "n2": 1450}


@given(st.integers(2, 12), st.integers(2, 300), st.integers(0, 1000))
@settings(max_examples=80)
def test_a_sample_has_each_node_send_as_often_as_it_receives(above: int, count: int, seed: int) -> None:
    names = [f"n{number}" for number in range(count)]
    chosen = pairs(names, Sample(above, seed))
    assert len(set(chosen)) == len(chosen)
    assert all(one != other for one, other in chosen)
    sends, receives = Counter(one for one, _ in chosen), Counter(other for _, other in chosen)
    assert sends.keys() == receives.keys() == set(names)
    assert len(set(sends.values()) | set(receives.values())) == 1
    if count > above:
        assert len(chosen) <= max(count, above * (above - 1) * 1.5)


def test_a_sample_is_stated_with_its_coverage_and_repeatable() -> None:
    first, again = (made(cluster(60), sample=Sample(50, 7)) for _ in range(2))
    assert [flow.dst for flow in first.flows] == [flow.dst for flow in again.flows]
    coverage = first.coverage
    assert coverage.tried < coverage.pairs == 60 * 59
    assert str(
        coverage
    ) == f"{coverage.tried} of 3540 ordered pairs of 60 nodes ({100 * coverage.tried / 3540:.1f} %), " + (
        "a sample in which every node sends and receives (seed 7)"
    )
    assert str(made(cluster(3)).coverage) == "all 6 ordered pairs of 3 nodes"
    assert str(Coverage(1, 0, 0)) == "1 node, between its own pods"
