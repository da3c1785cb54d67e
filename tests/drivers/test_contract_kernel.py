"""One suite for the kernel driver and its fake: what both must do alike."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import msgspec
import pytest

from podwire.drivers import netns
from podwire.drivers.fake import FakeKernel
from podwire.drivers.kernel import Kernel
from podwire.model.addresses import stable_mac
from podwire.model.intent import Cause, Delta, Failure, Wanted
from podwire.model.kernel import (
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
from podwire.reconcile.driver import KernelDriver
from tests.support.netns import namespace, needs_root, run_in

CAUSE = Cause("Node", "node-2")
VXLAN = Link("pwvxlan", "vxlan", 1450, stable_mac("vtep", "me"), Vxlan(4096, 4789, ip_address("192.0.2.1"), "eth0"))
MAC = stable_mac("vtep", "node-2")
PEER = (
    Fdb("pwvxlan", MAC, ip_address("192.0.2.2")),
    Neighbour("pwvxlan", ip_address("10.244.2.0"), MAC),
    Route(ip_network("10.244.2.0/24"), dev="pwvxlan", via=ip_address("10.244.2.0"), onlink=True),
)
PEER6 = (
    Neighbour("pwvxlan", ip_address("fd00:10:244:2::"), MAC),
    Route(ip_network("fd00:10:244:2::/64"), dev="pwvxlan", via=ip_address("fd00:10:244:2::"), onlink=True),
)
TABLE = NftTable(
    "inet",
    "podwire",
    """
  set pod_cidrs4 {
    type ipv4_addr
    flags interval
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @pod_cidrs4 ip daddr != @pod_cidrs4 counter masquerade
  }
""",
)
ELEMENT = NftElement("inet", "podwire", "pod_cidrs4", "10.244.0.0/16")
DEVICE: tuple[Value, ...] = (VXLAN, Address("pwvxlan", ip_interface("10.244.1.0/32")))
EVERYTHING: tuple[Value, ...] = (
    Sysctl("net/ipv4/ip_forward", "1"),
    *DEVICE,
    *PEER,
    *PEER6,
    Route(ip_network("10.244.0.0/16"), type="unreachable", metric=9999),
    Route(ip_network("fd00:10:244::/48"), type="blackhole", metric=9999),
    Route(ip_network("10.244.3.0/24"), dev="eth0", via=ip_address("192.0.2.3")),
    Route(ip_network("10.244.4.0/24"), dev="eth0", via=ip_address("192.0.2.3"), table=1000),
    TABLE,
    ELEMENT,
    NftElement("inet", "podwire", "pod_cidrs4", "172.16.0.0/12"),
)


def put(*values: Value) -> Delta:
    return Delta(tuple(Wanted(value, CAUSE) for value in values))


def drop(*values: Value) -> Delta:
    return Delta((), values)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=needs_root)])
def kernel(request: pytest.FixtureRequest) -> Iterator[KernelDriver]:
    if request.param == "fake":
        yield FakeKernel({"eth0": [ip_network("192.0.2.0/24")]})
        return
    with namespace() as node:
        run_in(node, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        for command in (["addr", "add", "192.0.2.1/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run_in(node, "ip", *command)
        run_in(node, "ip", "link", "set", "wire", "up")
        with netns.entered(node):
            driver = Kernel()
        yield driver
        driver.close()


def apply(kernel: KernelDriver, delta: Delta) -> None:
    assert kernel.apply(delta) == []


def refused(kernel: KernelDriver, delta: Delta) -> Failure:
    failures = kernel.apply(delta)
    assert len(failures) == 1
    return failures[0]


def state(kernel: KernelDriver) -> set[Value]:
    return set(kernel.observe().values())


def test_a_fresh_node_has_nothing_of_ours(kernel: KernelDriver) -> None:
    assert kernel.observe() == {}


def test_every_kind_is_observed_as_it_was_put(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    assert state(kernel) == set(EVERYTHING)


def test_the_order_of_a_delta_does_not_matter(kernel: KernelDriver) -> None:
    apply(kernel, put(*reversed(EVERYTHING)))
    assert state(kernel) == set(EVERYTHING)


def test_putting_again_changes_nothing(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    apply(kernel, put(*EVERYTHING))
    assert state(kernel) == set(EVERYTHING)


def test_observe_is_limited_to_the_kinds_asked_for(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    assert set(kernel.observe(["fdb", "nft-element"]).values()) == {
        value for value in EVERYTHING if isinstance(value, Fdb | NftElement)
    }


def test_everything_can_be_dropped_in_any_order_and_twice(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    values = [value for value in EVERYTHING if not isinstance(value, Sysctl)]
    apply(kernel, drop(*values))
    assert state(kernel) <= {Sysctl("net/ipv4/ip_forward", "1")}
    apply(kernel, drop(*values))


def test_replacing_each_kind_in_place(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    mac = stable_mac("vtep", "renamed")
    changed: tuple[Value, ...] = (
        msgspec.structs.replace(VXLAN, mtu=1400, mac=stable_mac("vtep", "other")),
        msgspec.structs.replace(PEER[0], dst=ip_address("192.0.2.77")),
        msgspec.structs.replace(PEER[1], mac=mac),
        msgspec.structs.replace(PEER6[0], mac=mac),
        Route(ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("192.0.2.2")),
        Route(ip_network("10.244.3.0/24"), type="unreachable"),
        Route(ip_network("fd00:10:244:2::/64"), type="unreachable"),
        NftTable("inet", "podwire", TABLE.body.replace("srcnat", "50")),
    )
    apply(kernel, put(*changed))
    keys = {value.key for value in changed}
    assert state(kernel) == {value for value in EVERYTHING if value.key not in keys} | set(changed)


def test_a_link_that_must_be_replaced_keeps_what_stands_on_it(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    assert VXLAN.vxlan
    other = msgspec.structs.replace(VXLAN, vxlan=msgspec.structs.replace(VXLAN.vxlan, vni=77, port=8472))
    apply(kernel, put(other))
    assert state(kernel) == {other if value == VXLAN else value for value in EVERYTHING}


def test_what_a_delta_drops_is_not_restored_with_its_link(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    assert VXLAN.vxlan
    other = msgspec.structs.replace(VXLAN, vxlan=msgspec.structs.replace(VXLAN.vxlan, vni=77))
    apply(kernel, Delta(put(other).put, PEER))
    assert state(kernel) == ({other if value == VXLAN else value for value in EVERYTHING} - set(PEER))


def test_dropping_a_link_takes_what_stands_on_it(kernel: KernelDriver) -> None:
    apply(kernel, put(*EVERYTHING))
    apply(kernel, drop(VXLAN))
    assert not [value for value in state(kernel) if getattr(value, "dev", None) == "pwvxlan"]


def test_a_new_skeleton_keeps_elements_of_sets_that_remain(kernel: KernelDriver) -> None:
    apply(kernel, put(TABLE, ELEMENT))
    more = NftTable("inet", "podwire", TABLE.body + "\n  chain another {\n  }\n")
    apply(kernel, put(more))
    assert state(kernel) == {more, ELEMENT}
    without = NftTable("inet", "podwire", "\n  chain another {\n  }\n")
    apply(kernel, put(without))
    assert state(kernel) == {without}


def test_a_new_skeleton_does_not_bring_back_elements_dropped_with_it(kernel: KernelDriver) -> None:
    other = NftElement("inet", "podwire", "pod_cidrs4", "172.16.0.0/12")
    apply(kernel, put(TABLE, ELEMENT, other))
    more = NftTable("inet", "podwire", TABLE.body + "\n  chain another {\n  }\n")
    apply(kernel, Delta(put(more).put, (other,)))
    assert state(kernel) == {more, ELEMENT}


def test_an_element_keeps_the_plans_spelling(kernel: KernelDriver) -> None:
    one = NftElement("inet", "podwire", "pod_cidrs4", "10.9.0.1/32")
    apply(kernel, put(TABLE, one))
    assert state(kernel) == {TABLE, one}
    apply(kernel, drop(one))
    assert state(kernel) == {TABLE}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (Address("pwvxlan", ip_interface("10.244.1.0/32")), errno.ENODEV),
        (Neighbour("pwvxlan", ip_address("10.244.2.0"), MAC), errno.ENODEV),
        (Fdb("pwvxlan", MAC, ip_address("192.0.2.2")), errno.ENODEV),
        (Fdb("eth0", MAC, ip_address("192.0.2.2")), errno.EOPNOTSUPP),
        (Route(ip_network("10.244.2.0/24"), dev="pwvxlan"), errno.ENODEV),
        (Route(ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("198.51.100.1")), errno.ENETUNREACH),
        (Link("pwvxlan", "vxlan", 1450, MAC, Vxlan(1, 4789, ip_address("192.0.2.1"), "nosuch")), errno.ENODEV),
        (NftElement("inet", "podwire", "nosuch", "10.244.0.0/16"), errno.ENOENT),
    ],
    ids=lambda value: f"{value.kind}-{value.key[1]}" if hasattr(value, "kind") else "",
)
def test_a_missing_reference_is_refused_and_named(kernel: KernelDriver, value: Value, number: int) -> None:
    failed = refused(kernel, put(value))
    assert (failed.value, failed.cause, failed.errno) == (value, CAUSE, number), failed.message
    assert value.kind in failed.message
    assert kernel.observe() == {}


def test_one_refused_element_does_not_stop_the_others(kernel: KernelDriver) -> None:
    bad = (
        Route(ip_network("10.244.9.0/24"), dev="eth0", via=ip_address("198.51.100.1")),
        Neighbour("nosuch", ip_address("10.244.9.0"), MAC),
        NftElement("inet", "podwire", "nosuch", "10.0.0.0/8"),
    )
    failures = kernel.apply(put(*bad, *EVERYTHING))
    assert {failed.value for failed in failures} == set(bad)
    assert state(kernel) == set(EVERYTHING)
