"""Node CIDRs: stable, lowest free, never overlapping, told when the room ends."""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from podwire.ipam.node_cidrs import NodeCidrs, Overlap
from podwire.model.addresses import IPNetwork, overlapping
from podwire.model.errors import InputError, PoolExhausted

V4, V6 = ip_network("10.244.0.0/16"), ip_network("fd00:244::/56")
MASKS = {4: 24, 6: 64}


def nets(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, texts))


def test_lowest_free_of_each_family() -> None:
    cidrs = NodeCidrs([V4, V6], MASKS)
    assert cidrs.allocate("a") == nets("10.244.0.0/24", "fd00:244::/64")
    assert cidrs.allocate("b") == nets("10.244.1.0/24", "fd00:244:0:1::/64")


def test_a_node_keeps_what_it_has() -> None:
    cidrs = NodeCidrs([V4], MASKS)
    cidrs.occupy("a", nets("10.244.7.0/24"))
    assert cidrs.allocate("a") == cidrs.of("a") == nets("10.244.7.0/24")
    assert cidrs.allocate("b") == nets("10.244.0.0/24") == cidrs.allocate("b")


def test_released_cidrs_are_given_again_lowest_first() -> None:
    cidrs = NodeCidrs([V4], MASKS)
    for name in "abcde":
        cidrs.allocate(name)
    for name in "dbd":
        cidrs.release(name)
    assert cidrs.of("b") == ()
    assert [cidrs.allocate(name) for name in "xyz"] == [
        nets("10.244.1.0/24"), nets("10.244.3.0/24"), nets("10.244.5.0/24"),
    ]  # fmt: skip


def test_existing_cidrs_are_honoured_whatever_their_size() -> None:
    cidrs = NodeCidrs([ip_network("10.244.0.0/21")], MASKS)
    assert cidrs.occupy("large", nets("10.244.0.0/23")) == ()
    assert cidrs.occupy("small", nets("10.244.2.64/26")) == ()
    assert cidrs.occupy("smaller", nets("10.244.2.128/26")) == (), "they share a slot, and overlap not"
    assert cidrs.occupy("elsewhere", nets("192.168.0.0/24")) == ()
    assert cidrs.allocate("a") == nets("10.244.3.0/24")
    cidrs.release("small")
    assert cidrs.allocate("b") == nets("10.244.4.0/24"), "another one still has a part of .2"
    cidrs.release("smaller")
    assert cidrs.allocate("c") == nets("10.244.2.0/24")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.244.3.0/24", "10.244.3.0/24"),
        ("10.244.3.0/24", "10.244.3.128/25"),
        ("10.244.3.64/26", "10.244.0.0/22"),
        ("10.244.0.0/17", "10.244.3.0/24"),
        ("192.168.0.0/16", "192.168.9.0/24"),
        ("fd00:244:0:5::/64", "fd00:244::/60"),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_overlaps_name_both_nodes(one: str, other: str, swap: bool) -> None:
    first, second = nets(other, one) if swap else nets(one, other)
    cidrs = NodeCidrs([V4, V6], MASKS)
    cidrs.occupy("far", nets("10.244.200.0/24", "172.16.0.0/24"))
    assert cidrs.occupy("a", [first]) == ()
    (found,) = cidrs.occupy("b", [second])
    assert found == Overlap("b", second, "a", first)
    assert str(found).startswith(f"node b has pod CIDR {second}, which overlaps {first} of node a; drain one")
    assert cidrs.overlaps("a", first) == [Overlap("a", first, "b", second)]
    cidrs.release("b")
    assert cidrs.overlaps("a", first) == []
    assert not any(overlapping(cidr, first) for cidr in cidrs.allocate("c"))


def test_exhaustion_names_sizes_holders_and_remedy() -> None:
    cidrs = NodeCidrs([ip_network("10.244.0.0/22"), V6], MASKS)
    for name in ("alpha", "beta", "gamma", "delta"):
        cidrs.allocate(name)
    with pytest.raises(PoolExhausted) as caught:
        cidrs.allocate("omega")
    assert str(caught.value) == (
        "no pod CIDR for node omega: 10.244.0.0/22 with node mask /24 holds 2^(24-22) = 4 node CIDRs, and all are "
        "taken (by alpha, beta, delta and others); delete Node objects that are no more, or set a larger "
        "cluster.podCidrs or a longer cluster.nodeMaskSizeIpv4 (it holds for new nodes only)"
    )
    assert cidrs.capacity()[1].used == 4, "nothing was taken of the other family"
    cidrs.release("beta")
    assert cidrs.allocate("omega") == nets("10.244.1.0/24", "fd00:244:0:1::/64")


def test_capacity_forecasts_the_nodes_left() -> None:
    cidrs = NodeCidrs([V4, V6], MASKS)
    for number in range(10):
        cidrs.allocate(str(number))
    cidrs.occupy("large", nets("10.244.128.0/20"))
    four, six = cidrs.capacity()
    assert (four.total, four.used, four.left) == (256, 26, 230)
    assert str(six) == "fd00:244::/56 with node mask /64: 10 of 2^(64-56) = 256 node CIDRs used, room for 246 more"


def test_one_node_may_have_the_whole_cluster() -> None:
    cidrs = NodeCidrs([ip_network("10.244.0.0/24")], MASKS)
    assert cidrs.allocate("a") == nets("10.244.0.0/24")
    with pytest.raises(PoolExhausted, match=r"2\^\(24-24\) = 1 node CIDRs, and all are taken \(by a\)"):
        cidrs.allocate("b")


def test_a_supernet_of_the_cluster_leaves_no_room() -> None:
    cidrs = NodeCidrs([V4], MASKS)
    cidrs.occupy("greedy", nets("10.0.0.0/8"))
    with pytest.raises(PoolExhausted, match="by greedy"):
        cidrs.allocate("a")


@pytest.mark.parametrize("mask", [15, 33])
def test_a_mask_that_does_not_fit(mask: int) -> None:
    with pytest.raises(InputError, match=r"cluster\.nodeMaskSizeIpv4: .*use a number between 16 and 32"):
        NodeCidrs([V4], {4: mask})


def test_cluster_cidrs_must_not_overlap() -> None:
    with pytest.raises(InputError, match=r"cluster\.podCidrs: '10\.244\.9\.0/24' overlaps 10\.244\.0\.0/16"):
        NodeCidrs([V4, ip_network("10.244.9.0/24")], MASKS)


def test_random_comings_and_goings_against_a_naive_model() -> None:
    rng = random.Random(23)
    cluster = ip_network("10.244.0.0/20")
    cidrs, model = NodeCidrs([cluster], {4: 24}), dict[str, IPNetwork]()
    sizes = [22, 23, 24, 24, 24, 25, 28]
    for turn in range(3000):
        name = f"n{rng.randrange(24)}"
        action = rng.random()
        if action < 0.35:
            cidrs.release(name)
            model.pop(name, None)
        elif action < 0.5:
            wild = ip_network((int(cluster.network_address) + rng.randrange(4096), rng.choice(sizes)), strict=False)
            found = cidrs.occupy(name, [wild])
            model.pop(name, None)
            assert [overlap.other for overlap in found] == sorted(
                other for other, cidr in model.items() if cidr.overlaps(wild)
            ), turn
            model[name] = wild
        else:
            free = [net for net in cluster.subnets(new_prefix=24) if not any(map(net.overlaps, model.values()))]
            if name in model or free:
                expected = model.get(name) or free[0]
                assert cidrs.allocate(name) == (expected,), turn
                model[name] = expected
            else:
                with pytest.raises(PoolExhausted):
                    cidrs.allocate(name)
