"""One suite for the wirer and its fake: what both must do alike."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from typing import NamedTuple

import msgspec
import pytest

from podwire.drivers import netns
from podwire.drivers.fake import FakeWirer
from podwire.drivers.kernel import Kernel
from podwire.drivers.wirer import VethWirer
from podwire.model.errors import KernelError, NoSuchNamespace
from podwire.model.intent import Cause, Delta, Wanted
from podwire.model.kernel import Route
from podwire.reconcile.driver import KernelDriver, PodWirer
from tests.support.netns import namespace, needs_root
from tests.support.wirings import routed


class World(NamedTuple):
    wirer: PodWirer
    kernel: KernelDriver
    pod: Callable[[], int]


@pytest.fixture(params=["fake", pytest.param("kernel", marks=needs_root)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        fake = FakeWirer()
        yield World(fake, fake.kernel, iter(range(10, 100)).__next__)
        return
    with ExitStack() as stack:
        node = stack.enter_context(namespace())
        with netns.entered(node):
            wirer, kernel = VethWirer(), Kernel()
        stack.callback(kernel.close)
        stack.callback(wirer.close)
        yield World(wirer, kernel, lambda: stack.enter_context(namespace(loopback=False)))


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_attached_pod_is_as_planned(world: World, ipv6: bool) -> None:
    wiring, pod = routed(1, ipv6=ipv6), world.pod()
    world.wirer.attach(wiring, pod)
    assert world.wirer.inspect(wiring, pod) == []
    assert world.wirer.inspect(wiring, None) == []
    (end,) = world.wirer.host_links()
    assert (end.name, end.mac, end.up, end.reaping) == (wiring.host_ifname, wiring.host_mac, True, False)
    assert set(world.kernel.observe().values()) == {*wiring.host_routes, *wiring.host_neighbours}


def test_detach_takes_the_pod_off_at_once_and_the_link_soon(world: World) -> None:
    wiring, pod = routed(1), world.pod()
    world.wirer.attach(wiring, pod)
    world.wirer.detach(wiring.host_ifname, wiring.host_routes)
    assert not [value for value in world.kernel.observe().values() if value.kind == "route"]
    assert world.wirer.inspect(wiring, None) != []
    world.wirer.detach(wiring.host_ifname, wiring.host_routes)
    while not world.wirer.reaped(wiring.host_ifname):
        pass
    world.wirer.detach(wiring.host_ifname, wiring.host_routes)
    assert world.wirer.host_links() == []
    assert world.kernel.observe() == {}


def test_detach_leaves_the_other_pods_alone(world: World) -> None:
    wirings = [routed(number, ipv6=True) for number in (1, 2, 3)]
    pods = [world.pod() for _ in wirings]
    for wiring, pod in zip(wirings, pods, strict=True):
        world.wirer.attach(wiring, pod)
    world.wirer.detach(wirings[1].host_ifname, wirings[1].host_routes)
    for wiring, pod in ((wirings[0], pods[0]), (wirings[2], pods[2])):
        assert world.wirer.inspect(wiring, pod) == []


def test_detach_does_not_take_the_route_of_the_addresses_next_owner(world: World) -> None:
    old, new = routed(1), routed(2)
    new = msgspec.structs.replace(
        new,
        addresses=old.addresses,
        host_routes=tuple(msgspec.structs.replace(route, dev=new.host_ifname) for route in old.host_routes),
        host_neighbours=(),
    )
    pod = world.pod()
    world.wirer.attach(new, pod)
    world.wirer.detach(old.host_ifname, old.host_routes)
    assert world.wirer.inspect(new, pod) == []


def test_attaching_again_replaces_a_host_end_that_was_left_over(world: World) -> None:
    wiring, first, second = routed(1), world.pod(), world.pod()
    world.wirer.attach(wiring, first)
    world.wirer.attach(wiring, second)
    assert world.wirer.inspect(wiring, second) == []
    assert len(world.wirer.host_links()) == 1


def test_attaching_right_after_a_detach(world: World) -> None:
    wiring, pod = routed(1), world.pod()
    for _ in range(5):
        world.wirer.attach(wiring, pod)
        world.wirer.detach(wiring.host_ifname, wiring.host_routes)
    world.wirer.attach(wiring, pod)
    assert world.wirer.inspect(wiring, pod) == []


def test_two_attachments_cannot_share_an_interface_of_a_pod(world: World) -> None:
    pod = world.pod()
    world.wirer.attach(routed(1), pod)
    with pytest.raises(KernelError, match=r"eth0 in the pod.*EEXIST") as caught:
        world.wirer.attach(routed(2), pod)
    assert caught.value.errno == errno.EEXIST
    assert [end.name for end in world.wirer.host_links()] == [routed(1).host_ifname]
    assert world.wirer.inspect(routed(1), pod) == []


def test_a_namespace_that_is_gone_is_refused(world: World) -> None:
    with pytest.raises(NoSuchNamespace):
        world.wirer.attach(routed(1), -1)
    assert world.wirer.host_links() == []


def test_inspect_says_when_nothing_is_there(world: World) -> None:
    assert any("does not exist" in sentence for sentence in world.wirer.inspect(routed(1), world.pod()))


def test_the_kernel_driver_heals_a_pods_route(world: World) -> None:
    wiring, pod = routed(1), world.pod()
    world.wirer.attach(wiring, pod)
    assert world.kernel.apply(Delta((), wiring.host_routes)) == []
    assert world.wirer.inspect(wiring, pod) != []
    cause = Cause("Pod", "pod-1", "default")
    assert world.kernel.apply(Delta(tuple(Wanted(route, cause) for route in wiring.host_routes))) == []
    assert world.wirer.inspect(wiring, pod) == []
    stray = Route(ip_network("10.244.9.9/32"), dev="pwnosuch")
    assert [failed.errno for failed in world.kernel.apply(Delta((Wanted(stray, cause),)))] == [errno.ENODEV]
