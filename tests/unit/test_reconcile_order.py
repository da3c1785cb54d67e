"""The order of a delta: what others stand on is made first and goes last."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwire.model.intent import Cause, Intent, Wanted
from podwire.model.kernel import (
    KINDS,
    Address,
    Fdb,
    Link,
    Neighbour,
    NftElement,
    NftTable,
    Route,
    Sysctl,
    Value,
    Vxlan,
)
from podwire.reconcile.delta import diff
from podwire.reconcile.order import drops_in_order, puts_in_order
from podwire.reconcile.retry import Backoff

CAUSE = Cause("Config", "test")
NEIGHBOUR = Neighbour("pwvxlan", ip_address("10.244.2.0"), "02:00:00:00:00:02")
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="pwvxlan", via=ip_address("10.244.2.0"), onlink=True)
IN_ORDER: list[Value] = [
    Link("pwvxlan", "vxlan", 1450, "02:00:00:00:00:01", Vxlan(1, 4789, ip_address("10.0.0.1"), "eth0")),
    Sysctl("net/ipv4/conf/pwvxlan/rp_filter", "2"),
    Address("pwvxlan", ip_interface("10.244.1.0/32")),
    NEIGHBOUR,
    Fdb("pwvxlan", "02:00:00:00:00:02", ip_address("10.0.0.2")),
    ROUTE,
    NftTable("inet", "podwire", "set s {}"),
    NftElement("inet", "podwire", "s", "10.0.0.1"),
]


def test_every_kind_is_here() -> None:
    assert {type(value) for value in IN_ORDER} == set(KINDS)


@pytest.mark.parametrize("seed", range(5))
def test_puts_and_drops(seed: int) -> None:
    mixed = random.Random(seed).sample(IN_ORDER, len(IN_ORDER))
    assert [element.value for element in puts_in_order(Wanted(value, CAUSE) for value in mixed)] == IN_ORDER
    assert list(drops_in_order(mixed)) == IN_ORDER[::-1]


def test_a_route_that_moves_to_another_device_is_one_replace() -> None:
    here = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("10.0.0.2"))
    there = ROUTE
    delta = diff(Intent([Wanted(here, CAUSE)]), {there.key: there})
    assert [element.value for element in delta.put] == [here] and not delta.drop


def test_an_address_that_moves_is_free_before_it_is_taken() -> None:
    old, new = Address("pwold", ip_interface("10.244.1.1/32")), Address("pwnew", ip_interface("10.244.1.1/32"))
    delta = diff(Intent([Wanted(new, CAUSE)]), {old.key: old})
    assert [element.value for element in delta.put] == [new] and delta.drop == (old,)


def test_sysctls_are_never_dropped() -> None:
    value = Sysctl("net/ipv4/ip_forward", "1")
    assert not diff(Intent(), {value.key: value})


def test_what_is_kept_is_neither_put_nor_dropped() -> None:
    observed = {NEIGHBOUR.key: NEIGHBOUR}
    intent = Intent([Wanted(ROUTE, CAUSE)])
    assert not diff(intent, observed, keep=lambda value: isinstance(value, Neighbour | Route))


class TestBackoff:
    def test_doubles_to_the_most_and_starts_again(self) -> None:
        backoff, pauses = Backoff(first=1, most=8), []
        for _ in range(6):
            backoff = backoff.failed()
            pauses.append(backoff.pause(0.5))
        assert pauses == [1, 2, 4, 8, 8, 8]
        assert backoff.succeeded().pause(0.5) == 0.0
        assert backoff.succeeded().failed().pause(0.5) == 1

    def test_is_spread(self) -> None:
        failed = Backoff(first=4).failed()
        assert failed.pause(0.0) == 3.0 and failed.pause(0.999) < 5.0

    def test_a_thousand_failures_do_not_overflow(self) -> None:
        backoff = Backoff(first=1, most=60, failures=5000)
        assert backoff.pause(0.5) == 60.0
