"""Allocator: order, cool-down, requests, refusals and their words. The property test holds it against a naive model."""

from __future__ import annotations

import tracemalloc
from ipaddress import ip_address, ip_network

import pytest

from podwire.ipam import pool as pool_module
from podwire.ipam.allocator import Allocator
from podwire.model.addresses import IPAddress
from podwire.model.errors import AddressInUse, InputError, NotInPool, PoolExhausted

V4 = ip_network("10.244.1.0/24")
V6 = ip_network("fd00:244:1::/64")


def small(cooldown: float = 30.0, **more: object) -> Allocator:
    """A /29: .0 network, .1 gateway, .7 broadcast, so .2 to .6 for pods."""
    return Allocator([ip_network("10.244.1.0/29")], cooldown=cooldown)


def ips(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(map(ip_address, texts))


def fill(allocator: Allocator, now: float = 0.0) -> list[IPAddress]:
    taken: list[IPAddress] = []
    while True:
        try:
            taken += allocator.allocate(f"default/pod-{len(taken)}", now)
        except PoolExhausted:
            return taken


def test_lowest_never_used_first_and_reserved_are_skipped() -> None:
    allocator = Allocator([V4], reserved=[ip_network("10.244.1.4/31"), ip_network("10.99.0.0/16")])
    assert [allocator.allocate("a/b", 0)[0] for _ in range(3)] == list(ips("10.244.1.2", "10.244.1.3", "10.244.1.6"))


def test_every_usable_address_is_given_once() -> None:
    allocator = Allocator([V4], reserved=[ip_network("10.244.1.128/28")])
    taken = fill(allocator)
    expected = [addr for addr in V4.hosts() if addr not in ip_network("10.244.1.128/28")][1:]
    assert taken == expected


def test_one_address_per_family() -> None:
    allocator = Allocator([V6, V4])
    assert allocator.allocate("a/b", 0) == ips("fd00:244:1::2", "10.244.1.2")


def test_dual_stack_is_all_or_nothing() -> None:
    allocator = Allocator([ip_network("10.244.1.0/30"), V6])
    allocator.allocate("a/one", 0)
    with pytest.raises(PoolExhausted, match="no IPv4 address for a/two"):
        allocator.allocate("a/two", 0)
    assert [usage.used for usage in allocator.usage(0)] == [1, 1]


def test_second_pool_of_a_family_follows_the_first() -> None:
    allocator = Allocator([ip_network("10.244.1.0/30"), ip_network("10.244.9.0/30")])
    assert fill(allocator) == list(ips("10.244.1.2", "10.244.9.2"))
    allocator.release(ips("10.244.9.2"), 1)
    allocator.release(ips("10.244.1.2"), 2)
    assert allocator.allocate("a/b", 100) == ips("10.244.9.2"), "freed earlier, though of the second pool"


def test_least_recently_freed_after_its_cooldown() -> None:
    allocator = small()
    taken = fill(allocator)
    allocator.release([taken[3]], 10)
    allocator.release([taken[1]], 20)
    with pytest.raises(PoolExhausted, match="2 cooling, the next is free in 1 s"):
        allocator.allocate("a/b", 39.5)
    assert allocator.allocate("a/b", 40) == (taken[3],)
    assert allocator.allocate("a/c", 50) == (taken[1],)


def test_never_used_goes_before_rested() -> None:
    allocator = small(cooldown=0)
    allocator.release(allocator.allocate("a/b", 0), 0)
    assert allocator.allocate("a/c", 1000) == ips("10.244.1.3")


def test_release_is_idempotent_and_does_not_restart_the_cooldown() -> None:
    allocator = small()
    taken = fill(allocator)
    allocator.release(taken, 0)
    allocator.release(taken, 29)
    allocator.release(ips("10.244.1.7", "192.0.2.1"), 29)
    assert allocator.allocate("a/b", 30) == (taken[0],)


def test_quarantine_keeps_an_address_until_release() -> None:
    allocator = small()
    taken = fill(allocator)
    allocator.quarantine([taken[0]])
    assert allocator.owner(taken[0]) is None
    with pytest.raises(PoolExhausted, match="1 quarantined until their links are gone"):
        allocator.allocate("a/b", 1000)
    allocator.release([taken[0]], 1000)
    assert allocator.allocate("a/b", 1030) == (taken[0],)


def test_quarantine_takes_an_address_that_nobody_held() -> None:
    allocator = small()
    allocator.quarantine(ips("10.244.1.2"))
    assert allocator.allocate("a/b", 0) == ips("10.244.1.3")


def test_clock_set_back_only_prolongs_the_rest() -> None:
    allocator = small()
    taken = fill(allocator)
    allocator.release(taken, 1_000_000)
    with pytest.raises(PoolExhausted, match="free in 30 s"):
        allocator.allocate("a/b", 500)
    assert allocator.allocate("a/b", 530) == (taken[0],)


class TestRequested:
    def test_is_honoured(self) -> None:
        allocator = Allocator([V4, V6])
        assert allocator.allocate("a/b", 0, ips("10.244.1.77")) == ips("10.244.1.77", "fd00:244:1::2")
        assert allocator.allocate("a/c", 0, ips("fd00:244:1::9", "10.244.1.78")) == ips("10.244.1.78", "fd00:244:1::9")

    def test_in_use_names_the_holder(self) -> None:
        allocator = Allocator([V4])
        allocator.allocate("default/web-0", 0, ips("10.244.1.9"))
        with pytest.raises(AddressInUse, match=r"10\.244\.1\.9 of a/b belongs to default/web-0; request another"):
            allocator.allocate("a/b", 0, ips("10.244.1.9"))

    def test_cooling_is_refused_with_the_seconds_left(self) -> None:
        allocator = Allocator([V4])
        allocator.release(allocator.allocate("default/web-0", 0, ips("10.244.1.9")), 100)
        with pytest.raises(AddressInUse, match=r"freed by default/web-0 and cools down for 20 s more.*cooldownSeconds"):
            allocator.allocate("default/other", 110, ips("10.244.1.9"))
        assert allocator.allocate("default/other", 130, ips("10.244.1.9")) == ips("10.244.1.9")

    def test_cooling_is_given_back_to_the_owner_that_had_it(self) -> None:
        allocator = Allocator([V4])
        allocator.release(allocator.allocate("default/web-0", 0, ips("10.244.1.9")), 100)
        assert allocator.allocate("default/web-0", 101, ips("10.244.1.9")) == ips("10.244.1.9")

    def test_quarantined_is_refused_even_to_its_owner(self) -> None:
        allocator = Allocator([V4])
        allocator.quarantine(allocator.allocate("default/web-0", 0, ips("10.244.1.9")))
        with pytest.raises(AddressInUse, match="still being taken down for default/web-0"):
            allocator.allocate("default/web-0", 1000, ips("10.244.1.9"))

    @pytest.mark.parametrize("text", ["10.244.2.9", "fd00::1"])
    def test_outside_the_pools(self, text: str) -> None:
        with pytest.raises(NotInPool, match=rf"{text} of a/b is in none of this node's pod CIDRs \(10\.244\.1\.0/24\)"):
            Allocator([V4]).allocate("a/b", 0, ips(text))

    @pytest.mark.parametrize("text", ["10.244.1.0", "10.244.1.1", "10.244.1.255", "10.244.1.20"])
    def test_reserved(self, text: str) -> None:
        allocator = Allocator([V4], reserved=[ip_network("10.244.1.20/32")])
        with pytest.raises(NotInPool, match=r"is reserved in 10\.244\.1\.0/24; request another; see ipam\.reserved"):
            allocator.allocate("a/b", 0, ips(text))

    def test_two_of_one_family(self) -> None:
        with pytest.raises(InputError, match=r"ips: .* asks for two addresses of one family"):
            Allocator([V4]).allocate("a/b", 0, ips("10.244.1.8", "10.244.1.9"))

    def test_a_refusal_takes_nothing(self) -> None:
        allocator = Allocator([V6, V4])
        with pytest.raises(NotInPool):
            allocator.allocate("a/b", 0, ips("fd00:244:1::8", "10.244.1.0"))
        assert [usage.used for usage in allocator.usage(0)] == [0, 0]


class TestRestart:
    def test_hold_and_cooling_survive(self) -> None:
        allocator = small()
        allocator.restore_cooling({ip_address("10.244.1.3"): 100.0, ip_address("10.244.1.2"): 90.0})
        allocator.hold(ips("10.244.1.4"), "default/web-0")
        assert allocator.owner(ip_address("10.244.1.4")) == "default/web-0"
        assert [allocator.allocate("a/b", 121)[0] for _ in range(3)] == list(
            ips("10.244.1.5", "10.244.1.6", "10.244.1.2")
        )
        with pytest.raises(PoolExhausted, match="next is free in 9 s"):
            allocator.allocate("a/b", 121)

    def test_held_wins_over_cooling_in_any_order(self) -> None:
        allocator = small(cooldown=0)
        allocator.hold(ips("10.244.1.2"), "a/b")
        allocator.restore_cooling({ip_address("10.244.1.2"): 0.0})
        assert allocator.owner(ip_address("10.244.1.2")) == "a/b"
        assert ip_address("10.244.1.2") not in fill(allocator, 1000)

    def test_hold_of_anothers_address_changes_nothing(self) -> None:
        allocator = small()
        allocator.hold(ips("10.244.1.3"), "a/one")
        with pytest.raises(AddressInUse, match=r"10\.244\.1\.3 cannot be held for a/two: a/one has it"):
            allocator.hold(ips("10.244.1.2", "10.244.1.3"), "a/two")
        allocator.hold(ips("10.244.1.3"), "a/one")
        assert allocator.held_by("a/two") == ()
        assert allocator.held_by("a/one") == ips("10.244.1.3")

    def test_reserved_addresses_may_be_held_but_never_return(self) -> None:
        allocator = small(cooldown=0)
        allocator.hold(ips("10.244.1.1"), "a/old")
        usage = allocator.usage(0)[0]
        assert (usage.used, usage.reserved, usage.free) == (1, 2, 5)
        allocator.release(ips("10.244.1.1"), 0)
        assert ip_address("10.244.1.1") not in fill(allocator, 1000)
        assert allocator.usage(1000)[0].reserved == 3


class TestSetPools:
    def test_what_is_in_use_stays_until_released(self) -> None:
        allocator = small(cooldown=0)
        old = allocator.allocate("a/b", 0)
        allocator.set_pools([ip_network("10.244.7.0/29")])
        assert allocator.outside() == {old[0]: "a/b"} and allocator.owner(old[0]) == "a/b"
        assert allocator.held_by("a/b") == old
        assert allocator.allocate("a/c", 1) == ips("10.244.7.2")
        allocator.release(old, 2)
        assert allocator.outside() == {} and allocator.owner(old[0]) is None

    def test_quarantine_outside(self) -> None:
        allocator = small()
        old = allocator.allocate("a/b", 0)
        allocator.set_pools([])
        allocator.quarantine(old)
        assert allocator.owner(old[0]) is None and allocator.outside() == {old[0]: "a/b"}
        allocator.set_pools([ip_network("10.244.1.0/29")])
        assert allocator.allocate("a/c", 0) == ips("10.244.1.3")
        allocator.release(old, 5)
        assert allocator.usage(5)[0].cooling == 1

    def test_cooling_goes_on_over_a_round_trip(self) -> None:
        allocator = small()
        taken = fill(allocator)
        allocator.release([taken[2]], 10)
        allocator.set_pools([V6])
        allocator.release([taken[0]], 15)
        allocator.set_pools([ip_network("10.244.1.0/29")])
        with pytest.raises(PoolExhausted, match="3 used, 2 cooling"):
            allocator.allocate("a/b", 39)
        assert allocator.allocate("a/b", 40) == (taken[2],)
        assert allocator.allocate("a/b", 45) == (taken[0],)

    def test_overlap_is_refused_and_changes_nothing(self) -> None:
        allocator = Allocator([V4])
        with pytest.raises(InputError, match=r"podCIDRs: '10\.244\.1\.128/25' overlaps 10\.244\.1\.0/24"):
            allocator.set_pools([V4, ip_network("10.244.1.128/25")])
        assert allocator.pools == (V4,)

    def test_no_pool_at_all(self) -> None:
        with pytest.raises(
            PoolExhausted, match=r"this node has no pod CIDR; see that its Node object has spec\.podCID"
        ):
            Allocator([]).allocate("a/b", 0)

    def test_reserved_can_change(self) -> None:
        allocator = small()
        allocator.set_pools(allocator.pools, reserved=[ip_network("10.244.1.0/30")])
        assert allocator.allocate("a/b", 0) == ips("10.244.1.4")


def test_exhaustion_names_pool_size_holders_and_remedy() -> None:
    allocator = small()
    taken = [allocator.allocate(owner, 0)[0] for owner in ("web/a", "web/b", "db/c", "db/d", "db/e")]
    allocator.quarantine([taken[0]])
    allocator.release([taken[4]], 5)
    with pytest.raises(PoolExhausted) as caught:
        allocator.allocate("default/new", 10)
    assert str(caught.value) == (
        "no IPv4 address for default/new: the pool is full: 10.244.1.0/29 (8 addresses: 3 used, 1 quarantined until "
        "their links are gone, 1 cooling, the next is free in 25 s, 3 reserved; most are held by db (2), web (1)); "
        "wait for an address to cool down (ipam.cooldownSeconds is 30), delete pods here, or give nodes larger CIDRs "
        "(cluster.nodeMaskSizeIpv4)"
    )


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.244.0.0/16", "10.244.1.0/24", "10.244.1.0/31", "fd00::/64"])
def test_usage_adds_up(cidr: str) -> None:
    allocator = Allocator([ip_network(cidr)], reserved=[ip_network("10.244.0.0/20"), ip_network("fd00::8000:0/97")])
    try:
        taken = [allocator.allocate("a/b", 0)[0] for _ in range(4)]
        allocator.quarantine(taken[:1])
        allocator.release(taken[1:2], 0)
        allocator.release(taken[2:3], 20)
    except PoolExhausted:
        assert cidr in ("10.244.1.0/24", "10.244.1.0/31"), "wholly reserved"
    (usage,) = allocator.usage(40)
    assert usage.used + usage.quarantined + usage.cooling + usage.free + usage.reserved == usage.size
    assert usage.size == ip_network(cidr).num_addresses


@pytest.mark.parametrize("cooldown", [-1, float("nan"), float("inf")])
def test_cooldown_must_be_a_length_of_time(cooldown: float) -> None:
    with pytest.raises(InputError, match=r"ipam\.cooldownSeconds"):
        Allocator([V4], cooldown=cooldown)


def test_cost_does_not_grow_with_the_pool() -> None:
    """An IPv6 /64 with half of it reserved: nothing is enumerated, and the books hold what is in use only."""
    tracemalloc.start()
    allocator = Allocator([V6], reserved=[ip_network("fd00:244:1::/65")], cooldown=0)
    for turn in range(1000):
        allocator.release(allocator.allocate("a/b", turn), turn)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert allocator.allocate("a/b", 2000) == (V6[2**63 + 1000],)
    assert peak < 2_000_000


def test_a_large_pool_forgets_the_oldest_and_comes_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REMEMBERED", 4)
    allocator = small(cooldown=10)
    taken = fill(allocator)
    allocator.release(taken, 0)
    assert allocator.allocate("a/b", 5 + 10) == (taken[0],)
    allocator.release([taken[0]], 15)
    got = [allocator.allocate("a/b", 30)[0] for _ in range(5)]
    assert sorted(got, key=int) == taken, "each once, the forgotten ones too"
