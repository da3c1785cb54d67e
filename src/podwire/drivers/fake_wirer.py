"""A fake wirer: pods' veth pairs in a dictionary. See :mod:`podwire.drivers.fake`."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import msgspec

from podwire.drivers.elements import describe
from podwire.drivers.fake_kernel import FakeKernel, Injection
from podwire.model.addresses import IPInterface
from podwire.model.errors import KernelError, NoSuchNamespace
from podwire.model.kernel import Neighbour, Route
from podwire.model.wiring import PodWiring
from podwire.reconcile.driver import HostLink


class FakePod(msgspec.Struct):
    """What an attach made in a pod."""

    wiring: PodWiring
    netns: int
    addresses: set[IPInterface]


class FakeWirer:
    """A :class:`~podwire.reconcile.driver.PodWirer` over a dictionary; routes and neighbours go into *kernel*.

    Any integer from 0 up is a namespace unless it is in *gone*. Links that wait for the reaper stay until
    :meth:`reap` is called, or go at once with *reaping_at_once*.
    """

    def __init__(self, kernel: FakeKernel | None = None, *, reaping_at_once: bool = True) -> None:
        self.kernel = kernel or FakeKernel()
        self.pods: dict[str, FakePod] = {}
        self.gone: set[int] = set()
        self.injection = Injection()
        self._at_once = reaping_at_once
        self._next = 100

    def attach(self, wiring: PodWiring, netns: int) -> None:
        """See :meth:`PodWirer.attach`."""
        number = self.injection.strike()
        if number:
            raise KernelError(f"create the pair {wiring.host_ifname}", number, "injected")
        if netns < 0 or netns in self.gone:
            raise NoSuchNamespace("use the pod's network namespace", errno.EBADF, "it is none")
        self._delete(wiring.host_ifname)
        if any(pod.netns == netns and pod.wiring.ifname == wiring.ifname for pod in self.pods.values()):
            raise KernelError(
                f"create {wiring.ifname} in the pod", errno.EEXIST, "the pod already has an interface of that name"
            )
        for route in wiring.host_routes:
            if route.key in self.kernel.foreign_routes:
                raise KernelError(f"wire {wiring.host_ifname} to the node", errno.EEXIST, "another program's route")
        self._next += 1
        self.kernel.host_ends[wiring.host_ifname] = HostLink(
            wiring.host_ifname, self._next, wiring.host_mac, up=True, reaping=False
        )
        self.pods[wiring.host_ifname] = FakePod(wiring, netns, set(wiring.addresses))
        for value in _host_entries(wiring):
            self.kernel.objects[value.key] = value

    def detach(self, host_ifname: str, routes: Sequence[Route]) -> None:
        """See :meth:`PodWirer.detach`."""
        number = self.injection.strike()
        if number:
            raise KernelError(f"take {host_ifname} off the network", number, "injected")
        end = self.kernel.host_ends.get(host_ifname)
        for route in routes:
            found = self.kernel.objects.get(route.key)
            if isinstance(found, Route) and found.dev in (host_ifname, None):
                del self.kernel.objects[route.key]
        if end is not None:
            self.kernel.host_ends[host_ifname] = msgspec.structs.replace(end, up=False, reaping=True)
            if self._at_once:
                self.reap()

    def reap(self) -> None:
        """Delete the links that wait for the reaper."""
        for end in list(self.kernel.host_ends.values()):
            if end.reaping:
                self._delete(end.name)

    def _delete(self, name: str) -> None:
        self.kernel.host_ends.pop(name, None)
        self.pods.pop(name, None)
        self.kernel.forget_device(name)

    def reaped(self, host_ifname: str) -> bool:
        """See :meth:`PodWirer.reaped`."""
        return host_ifname not in self.kernel.host_ends

    def inspect(self, wiring: PodWiring, netns: int | None) -> list[str]:
        """See :meth:`PodWirer.inspect`; compares links, addresses and the host's entries."""
        end = self.kernel.host_ends.get(wiring.host_ifname)
        if end is None:
            return [f"link {wiring.host_ifname} does not exist on the node"]
        differences = []
        if not end.up:
            differences.append(f"link {end.name} is down, should be up")
        if end.reaping:
            differences.append(f"link {end.name} is waiting to be deleted")
        if end.mac != wiring.host_mac:
            differences.append(f"link {end.name} has MAC {end.mac}, should have {wiring.host_mac}")
        differences += [
            f"{describe(value)} is missing"
            for value in _host_entries(wiring)
            if self.kernel.objects.get(value.key) != value
        ]
        return differences + ([] if netns is None else self._inspect_pod(wiring, netns))

    def _inspect_pod(self, wiring: PodWiring, netns: int) -> list[str]:
        pod = self.pods[wiring.host_ifname]
        if netns in self.gone:
            return ["the pod's network namespace cannot be entered"]
        if pod.netns != netns:
            return [f"interface {wiring.ifname} does not exist in the pod"]
        return [
            f"interface {wiring.ifname} lacks address {iface}"
            for iface in wiring.addresses
            if iface not in pod.addresses
        ]

    def host_links(self) -> list[HostLink]:
        """See :meth:`PodWirer.host_links`."""
        return list(self.kernel.host_ends.values())

    def close(self) -> None:
        """See :meth:`PodWirer.close`."""
        self.reap()


def _host_entries(wiring: PodWiring) -> list[Neighbour | Route]:
    return [*wiring.host_neighbours, *wiring.host_routes]
