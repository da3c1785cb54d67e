"""Where everything in a lab stands, and which labs cannot be."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from podwire.lab import spec as places
from podwire.lab.spec import LabSpec, NodeRecord
from podwire.model.errors import InputError


def test_nodes_are_dealt_to_the_segments_in_turn() -> None:
    spec = LabSpec(subnets=3)
    records = [NodeRecord(f"node{index}", index) for index in range(1, 8)]
    assert [places.segment_of(spec, record.index) for record in records] == [1, 2, 3, 1, 2, 3, 1]
    assert [str(places.node_interfaces(spec, record)[0]) for record in records[:4]] == [
        "10.89.1.11/24",
        "10.89.2.11/24",
        "10.89.3.11/24",
        "10.89.1.12/24",
    ]


def test_a_full_lab_gives_every_node_an_address_of_its_own() -> None:
    spec = places.check(LabSpec(subnets=4, nodes=960, underlay=("10.89.0.0/16", "fd89::/48")))
    records = [NodeRecord(f"n{index}", index) for index in range(1, 961)]
    addresses = [address for record in records for address in places.node_addresses(spec, record)]
    assert len(set(addresses)) == 2 * 960
    assert len({places.node_mac(spec, record) for record in records}) == 960
    assert not set(addresses) & set(places.control_addresses(spec))
    assert places.control_addresses(spec) == (ip_address("10.89.1.10"), ip_address("fd89:0:0:1::a"))


def test_two_labs_do_not_share_macs() -> None:
    record = NodeRecord("node1", 1)
    assert places.node_mac(LabSpec(name="one"), record) != places.node_mac(LabSpec(name="two"), record)


def test_a_freed_number_is_used_again_within_its_segment() -> None:
    spec = LabSpec(subnets=2)
    assert places.free_index(spec, {1, 2, 4}) == 3
    assert places.free_index(spec, {1, 2, 4}, segment=2) == 6
    with pytest.raises(InputError, match="subnets 1 to 2"):
        places.free_index(spec, set(), segment=3)
    with pytest.raises(InputError, match="full with 240"):
        places.free_index(LabSpec(), set(range(1, 241)))


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"name": "Bad_Name"}, "name", "30 lower-case"),
        ({"nodes": 241}, "nodes", "0 to 240"),
        ({"subnets": 0}, "subnets", "1 to"),
        ({"mtu": 100}, "mtu", "1280"),
        ({"loss": 100.0}, "loss", "99.99"),
        ({"pod_cidrs": ("10.89.0.0/20",)}, "pod-cidr", "overlaps underlay 10.89.0.0/16"),
        ({"pod_cidrs": ("10.96.0.0/16",)}, "service-cidr", "overlaps pod-cidr 10.96.0.0/16"),
        ({"pod_cidrs": ("198.51.100.0/24",)}, "pod-cidr", "the world's"),
        ({"pod_cidrs": ("10.244.1.0/16",)}, "pod-cidr", "did you mean 10.244.0.0/16"),
        ({"underlay": ("10.89.0.0/20",)}, "underlay", "/17 or larger"),
        ({"underlay": ("10.89.0.0/16", "10.90.0.0/16")}, "underlay", "one range per IP version"),
    ],
)
def test_an_impossible_lab_is_refused_by_name(changes: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        places.check(LabSpec(**changes))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert says in str(caught.value)
