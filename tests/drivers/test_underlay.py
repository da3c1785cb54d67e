"""Finding the node's own network, and hearing at once when somebody changes it or what is ours."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from podwire.drivers import netns
from podwire.drivers.kernel import Kernel
from podwire.drivers.monitor import OURS, UNDERLAY, Hint, Monitor
from podwire.drivers.underlay import find_underlays, node_addresses
from podwire.drivers.wirer import VethWirer
from podwire.model.cluster import Underlay
from tests.drivers.test_contract_kernel import DEVICE, EVERYTHING, PEER, TABLE, put
from tests.support.netns import namespace, needs_root, run_in
from tests.support.wirings import routed

pytestmark = needs_root


@pytest.fixture
def node() -> Iterator[int]:
    with namespace() as fd:
        run_in(fd, "ip", "link", "add", "eth0", "mtu", "9000", "type", "veth", "peer", "name", "wire")
        run_in(fd, "ip", "link", "set", "wire", "up")
        run_in(fd, "ip", "link", "set", "eth0", "up")
        run_in(fd, "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        run_in(fd, "ip", "addr", "add", "fd00:192::1/64", "dev", "eth0", "nodad")
        run_in(fd, "ip", "route", "add", "default", "via", "192.0.2.254")
        yield fd


V4 = Underlay("eth0", ip_address("192.0.2.1"), 9000, (ip_network("192.0.2.0/24"),))
V6 = Underlay("eth0", ip_address("fd00:192::1"), 9000, (ip_network("fd00:192::/64"),))


def find(node: int, *addresses: str) -> tuple[Underlay, ...]:
    return netns.in_namespace(node, lambda: find_underlays([ip_address(addr) for addr in addresses]))


def test_the_underlay_of_each_family(node: int) -> None:
    assert find(node, "192.0.2.1", "fd00:192::1") == (V4, V6)
    assert netns.in_namespace(node, node_addresses) == (V4.address, V6.address)


def test_an_address_that_no_device_holds_has_no_underlay(node: int) -> None:
    assert find(node, "192.0.2.7") == ()
    run_in(node, "ip", "link", "set", "eth0", "down")
    assert find(node, "192.0.2.1") == ()


def test_a_second_subnet_on_the_device_is_connected_and_our_routes_are_not(node: int) -> None:
    run_in(node, "ip", "addr", "add", "198.51.100.1/25", "dev", "eth0")
    run_in(node, "ip", "route", "add", "10.244.2.0/24", "dev", "eth0", "proto", "112")
    run_in(node, "ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.254")
    (found,) = find(node, "192.0.2.1")
    assert set(found.connected) == {ip_network("192.0.2.0/24"), ip_network("198.51.100.0/25")}


def test_our_own_devices_are_never_the_underlay_of_a_node(node: int) -> None:
    run_in(node, "ip", "link", "add", "pwvxlan", "type", "bridge")
    run_in(node, "ip", "link", "set", "pwvxlan", "up")
    run_in(node, "ip", "addr", "add", "10.244.1.0/32", "dev", "pwvxlan")
    assert netns.in_namespace(node, node_addresses) == (V4.address, V6.address)


class Listener:
    """Collects hints; :meth:`next` waits for one."""

    def __init__(self) -> None:
        self.heard: queue.Queue[frozenset[Hint]] = queue.Queue()

    def next(self) -> frozenset[Hint]:
        return self.heard.get(timeout=20)


CHANGES: dict[str, tuple[Hint, list[str]]] = {
    "mtu": (UNDERLAY, ["ip", "link", "set", "eth0", "mtu", "1300"]),
    "address": (UNDERLAY, ["ip", "addr", "add", "192.0.2.9/24", "dev", "eth0"]),
    "route": (UNDERLAY, ["ip", "route", "del", "default"]),
    "our route": (OURS, ["ip", "route", "del", "10.244.2.0/24"]),
    "our neighbour": (OURS, ["ip", "neigh", "del", "10.244.2.0", "dev", "pwvxlan"]),
    "our forwarding entry": (OURS, ["bridge", "fdb", "del", PEER[0].mac, "dev", "pwvxlan"]),
    "our device": (OURS, ["ip", "link", "del", "pwvxlan"]),
    "our device's address": (OURS, ["ip", "addr", "flush", "dev", "pwvxlan"]),
    "our table": (OURS, ["nft", "flush", "ruleset"]),
    "a pod": (OURS, ["ip", "link", "del", routed(1).host_ifname]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_others_is_told(node: int, change: str) -> None:
    with namespace(loopback=False) as pod, netns.entered(node):
        kernel, wirer, listener = Kernel(), VethWirer(), Listener()
        try:
            assert kernel.apply(put(*DEVICE, *PEER, TABLE)) == []
            wirer.attach(routed(1), pod)
            monitor = Monitor(listener.heard.put)
            monitor.start()
            hint, command = CHANGES[change]
            run_in(node, *command)
            assert listener.next() == {hint}
            monitor.close()
        finally:
            wirer.close()
            kernel.close()


def test_what_we_do_to_pods_and_peers_is_no_news(node: int) -> None:
    with namespace(loopback=False) as pod:
        with netns.entered(node):
            kernel, wirer, listener = Kernel(), VethWirer(), Listener()
            kernel.apply(put(*DEVICE))  # a device's own news bear no word of who made it
            monitor = Monitor(listener.heard.put)
        monitor.start()
        kernel.apply(put(*PEER, TABLE, *(value for value in EVERYTHING if value.kind == "route" and value not in PEER)))
        wiring = routed(1, ipv6=True)
        for _ in range(3):
            wirer.attach(wiring, pod)
            wirer.detach(wiring.host_ifname, wiring.host_routes)
            while not wirer.reaped(wiring.host_ifname):
                pass
        run_in(node, "ip", "link", "set", "eth0", "mtu", "1300")
        assert {hint for hints in take_until(listener, UNDERLAY) for hint in hints} == {UNDERLAY}
        monitor.close()
        wirer.close()
        kernel.close()


def take_until(listener: Listener, last: Hint) -> list[frozenset[Hint]]:
    taken = [listener.next()]
    while last not in taken[-1]:
        taken.append(listener.next())
    return taken


def test_a_listener_that_fails_is_called_again(node: int, caplog: pytest.LogCaptureFixture) -> None:
    heard: queue.Queue[frozenset[Hint]] = queue.Queue()

    def fail(hints: frozenset[Hint]) -> None:
        heard.put(hints)
        raise RuntimeError("the listener is broken")

    with netns.entered(node):
        monitor = Monitor(fail)
    monitor.start()
    for mtu in ("1300", "1200"):
        run_in(node, "ip", "link", "set", "eth0", "mtu", mtu)
        assert heard.get(timeout=20) == {UNDERLAY}
    monitor.close()
    assert "the listener is broken" in caplog.text


def test_a_monitor_that_was_never_started_can_be_closed(node: int) -> None:
    netns.in_namespace(node, lambda: Monitor(lambda hints: None)).close()
