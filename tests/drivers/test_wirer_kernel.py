"""VethWirer against the kernel: what only a real network namespace can show (packets, leftovers, threads)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgspec
import pytest

from podwire.drivers import netns, sysctls
from podwire.drivers.wirer import VethWirer
from podwire.model.errors import KernelError, NoSuchNamespace
from tests.support.netns import namespace, needs_root, run_in
from tests.support.wirings import routed

pytestmark = needs_root


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def node(stack: ExitStack) -> int:
    return stack.enter_context(namespace())


@pytest.fixture
def pod(stack: ExitStack) -> Callable[[], int]:
    return lambda: stack.enter_context(namespace(loopback=False))


@pytest.fixture
def wirer(node: int) -> Iterator[VethWirer]:
    with netns.entered(node):
        wirer = VethWirer()
    yield wirer
    wirer.close()


def test_two_pods_reach_each_other_and_the_node(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    one, other = pod(), pod()
    with netns.entered(node):
        sysctls.write("net/ipv4/ip_forward", "1")
    run_in(node, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
    wirer.attach(routed(1), one)
    wirer.attach(routed(2), other)
    run_in(one, "ping", "-c1", "-W10", "10.244.0.2")
    run_in(one, "ping", "-c1", "-W10", "192.0.2.1")
    run_in(node, "ping", "-c1", "-W10", "10.244.0.2")
    assert "127.0.0.1" in run_in(one, "ping", "-c1", "-W10", "127.0.0.1").stdout


def test_ipv6_pods_reach_each_other(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    one, other = pod(), pod()
    with netns.entered(node):
        sysctls.write("net/ipv6/conf/all/forwarding", "1")
    wirer.attach(routed(1, ipv6=True), one)
    wirer.attach(routed(2, ipv6=True), other)
    run_in(one, "ping", "-c1", "-W10", "fd00:10:244::2")
    assert wirer.inspect(routed(1, ipv6=True), one) == []


def test_a_pod_learns_nothing_by_arp_and_has_no_address_but_its_own(pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    wirer.attach(routed(1), inside)
    assert "fe80" not in run_in(inside, "ip", "-6", "addr").stdout
    assert "PERMANENT" in run_in(inside, "ip", "neigh", "show", "169.254.1.1").stdout
    assert "proto 112" in run_in(inside, "ip", "route", "show", "default").stdout.replace("proto podwire", "proto 112")


def test_a_failure_in_the_pod_undoes_the_node(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    run_in(inside, "ip", "link", "add", "other0", "type", "bridge")
    run_in(inside, "ip", "link", "set", "other0", "up")
    run_in(inside, "ip", "route", "add", "default", "dev", "other0")
    with pytest.raises(KernelError, match="EEXIST") as caught:
        wirer.attach(routed(1), inside)
    assert caught.value.errno == errno.EEXIST
    assert wirer.host_links() == []
    assert run_in(node, "ip", "route").stdout == ""
    assert "eth0" not in run_in(inside, "ip", "link").stdout


def test_an_interface_that_the_pod_has_is_an_error_that_names_it(pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    run_in(inside, "ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(KernelError, match=r"eth0.*already has an interface of that name") as caught:
        wirer.attach(routed(1), inside)
    assert caught.value.errno == errno.EEXIST
    assert wirer.host_links() == []


def test_a_second_interface_of_the_same_pod(pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    first, second = routed(1), routed(2, ifname="net1")
    wirer.attach(first, inside)
    second = msgspec.structs.replace(second, pod_routes=())
    wirer.attach(second, inside)
    assert wirer.inspect(first, inside) == []
    assert wirer.inspect(second, inside) == []


def test_what_is_no_network_namespace_is_refused(wirer: VethWirer, tmp_path: os.PathLike[str]) -> None:
    for path in (os.devnull, "/proc/self/ns/uts"):
        fd = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(NoSuchNamespace):
                wirer.attach(routed(1), fd)
        finally:
            os.close(fd)
    with pytest.raises(NoSuchNamespace):
        wirer.attach(routed(1), 9999)


def test_another_programs_route_to_the_pod_is_kept(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    run_in(node, "ip", "route", "add", "10.244.0.1/32", "dev", "lo", "proto", "77")
    with pytest.raises(KernelError, match=r"another program .*77.* has a route to 10.244.0.1/32"):
        wirer.attach(routed(1), inside)
    assert "dev lo proto 77" in run_in(node, "ip", "route").stdout
    assert wirer.host_links() == []


def test_our_own_leftover_route_is_taken_over(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    run_in(node, "ip", "route", "add", "10.244.0.1/32", "dev", "lo", "proto", "112")
    wirer.attach(routed(1), inside)
    assert wirer.inspect(routed(1), inside) == []


def test_sixteen_threads_attach_and_detach_at_once(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    wirings = [routed(number) for number in range(1, 33)]
    pods = [pod() for _ in wirings]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(wirer.attach, wirings, pods))
        assert list(threads.map(wirer.inspect, wirings, pods)) == [[]] * len(wirings)
        assert len({found.ifindex for found in wirer.host_links()}) == len(wirings)
        list(threads.map(lambda wiring: wirer.detach(wiring.host_ifname, wiring.host_routes), wirings))
    assert run_in(node, "ip", "route").stdout == ""
    wirer.close()
    assert "pw" not in run_in(node, "ip", "-br", "link").stdout


def test_the_next_wirer_reaps_what_a_dead_one_left(node: int, pod: Callable[[], int], wirer: VethWirer) -> None:
    inside = pod()
    wiring = routed(1)
    wirer.attach(wiring, inside)
    run_in(node, "ip", "link", "set", wiring.host_ifname, "group", "28791")
    assert not wirer.reaped(wiring.host_ifname)
    wirer.close()
    assert wiring.host_ifname not in run_in(node, "ip", "-br", "link").stdout


BREAKAGES = {
    "link down": ("node", ["ip", "link", "set", "{host}", "down"], "is down"),
    "mtu": ("node", ["ip", "link", "set", "{host}", "mtu", "1300"], "has MTU 1300, should have 1450"),
    "route": ("node", ["ip", "route", "del", "10.244.0.1"], "route 10.244.0.1/32"),
    "neighbour": ("node", ["ip", "neigh", "del", "10.244.0.1", "dev", "{host}"], "neighbour 10.244.0.1"),
    "sysctl": ("node", ["sysctl", "-w", "net.ipv4.conf.{host}.proxy_arp=0"], "proxy_arp is 0, should be 1"),
    "address": ("pod", ["ip", "addr", "del", "10.244.0.1/32", "dev", "eth0"], "lacks address 10.244.0.1/32"),
    "default": ("pod", ["ip", "route", "del", "default"], "route 0.0.0.0/0 on eth0 is missing"),
    "gateway": ("pod", ["ip", "neigh", "replace", "169.254.1.1", "lladdr", "02:00:00:00:00:09", "dev", "eth0"], "02:"),
    "mac": ("pod", ["ip", "link", "set", "eth0", "address", "02:00:00:00:00:08"], "has MAC 02:00:00:00:00:08"),
    "gone": ("node", ["ip", "link", "del", "{host}"], "does not exist on the node"),
    "renamed": ("pod", ["sh", "-c", "ip link set eth0 down; ip link set eth0 name eth9"], "does not exist in the pod"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_inspect_names_what_was_broken(node: int, pod: Callable[[], int], wirer: VethWirer, breakage: str) -> None:
    where, command, sentence = BREAKAGES[breakage]
    inside, wiring = pod(), routed(1)
    wirer.attach(wiring, inside)
    assert wirer.inspect(wiring, inside) == []
    run_in(node if where == "node" else inside, *(word.format(host=wiring.host_ifname) for word in command))
    differences = wirer.inspect(wiring, inside)
    assert any(sentence in difference for difference in differences), differences
