"""Pods' veth pairs: made whole or not at all, compared with what was planned, taken away in the background.

An attach is two sends. The first, on the node: the pair (its peer born in the pod's namespace, both ifindexes chosen
by us, so that nothing need be asked back), the host end's settings, the node's routes and neighbours. The second, by a
socket opened in the pod's namespace: addresses, routes, neighbours, links up.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import secrets
import time
from collections.abc import Sequence

from podwire.drivers import inspection, netns, sysctls
from podwire.drivers.elements import FIRST_HOST_INDEX
from podwire.drivers.netlink import address, link, neighbour, route
from podwire.drivers.netlink.socket import NetlinkSocket, Refusal, SocketPool, refused
from podwire.drivers.netlink.wire import Request
from podwire.drivers.reaper import Reaper
from podwire.model.addresses import IPAddress
from podwire.model.errors import KernelError, NoSuchNamespace
from podwire.model.kernel import LINK_PREFIX, REAPER_GROUP, ROUTE_PROTOCOL, Neighbour, Route
from podwire.model.wiring import PodWiring
from podwire.reconcile.driver import HostLink

_NS_GET_NSTYPE = 0xB703
_LOOPBACK = 1
_FIRST_IN_POD = 2
_MINIMUM_IPV6_MTU = 1280
_ATTEMPTS = 4
_ADDRESS_TIMEOUT = 5.0
_ADDRESS_PAUSE = 0.0002


class VethWirer:
    """The :class:`~podwire.reconcile.driver.PodWirer` of the namespace of the thread that makes it.

    Its methods may be called from any thread, several at once.
    """

    def __init__(self) -> None:
        self._pool = SocketPool()
        self._reaper = Reaper(self._pool)
        self._ipv6 = sysctls.ipv6_enabled()
        # Far above what the kernel counts up to, which is how the monitor's filter knows host ends. Another wirer may
        # have chosen the same one: that is answered with EBUSY, and we take the next.
        self._indexes = itertools.count(FIRST_HOST_INDEX + secrets.randbelow(1 << 30))

    def attach(self, wiring: PodWiring, netns: int) -> None:
        """See :meth:`PodWirer.attach`."""
        _check_namespace(netns)
        with self._pool.socket() as sock:
            host_index, pod_index = self._node_side(sock, wiring, netns)
            try:
                self._host_files(wiring)
                self._pod_side(wiring, netns, pod_index)
                # The host end came up before its peer; until a worker of the kernel's has noticed the peer, it drops
                # what it is given. Asking for the link makes the kernel see to it now.
                sock.get(link.get_index(host_index), f"ask for {wiring.host_ifname}")
            except BaseException:
                sock.execute((link.delete(host_index),))
                raise

    def _node_side(self, sock: NetlinkSocket, wiring: PodWiring, netns: int) -> tuple[int, int]:
        """Make the pair with all that belongs to the node; the ifindexes of both ends."""
        pod_index = _FIRST_IN_POD
        for attempt in range(_ATTEMPTS):
            host_index = next(self._indexes)
            requests = [
                link.create_veth(
                    (wiring.host_ifname, host_index, wiring.host_mac),
                    (wiring.ifname, pod_index, wiring.mac),
                    wiring.mtu,
                    netns,
                ),
                self._configure(host_index, wiring.host_conf, wiring.mtu, up=True),
            ]
            requests += _neighbours(wiring.host_neighbours, wiring.host_ifname, host_index)
            requests += _routes(wiring.host_routes, wiring.host_ifname, host_index)
            refusals = sock.execute(requests)
            if refusals and refusals[0].place:
                refusals = self._take_over_routes(sock, wiring, host_index, len(requests), refusals)
            if not refusals:
                return host_index, pod_index
            first = refusals[0]
            if first.place:
                sock.execute((link.delete(host_index),))
                raise _failed(f"wire {wiring.host_ifname} to the node", first)
            if first.errno == errno.EBUSY:  # an ifindex is taken
                pod_index = next(self._indexes)
                continue
            # A leftover that cannot be found was deleted by the reaper this very moment: that deserves one more try.
            if first.errno == errno.EEXIST and (
                self._remove_leftover(sock, wiring.host_ifname)
                or self._remove_dying(sock, netns, wiring.ifname)
                or attempt == 0
            ):
                continue
            raise self._no_pair(wiring, first)
        raise KernelError(f"create {wiring.host_ifname}", errno.EBUSY, "others keep taking its name or index")

    def _take_over_routes(
        self, sock: NetlinkSocket, wiring: PodWiring, index: int, sent: int, refusals: list[Refusal]
    ) -> list[Refusal]:
        """Replace routes of ours that a dead pod left behind; return the refusals that remain.

        Another program's route to the pod's address is no business of ours: it stays, and the attach fails.
        """
        first_route = sent - len(wiring.host_routes)
        remaining = []
        for refusal in refusals:
            if refusal.errno != errno.EEXIST or refusal.place < first_route:
                remaining.append(refusal)
                continue
            wanted = wiring.host_routes[refusal.place - first_route]
            owner = _owner(sock, wanted)
            if owner not in (None, ROUTE_PROTOCOL):
                detail = f"another program (route protocol {owner}) has a route to {wanted.dst}"
                remaining.append(Refusal(refusal.place, errno.EEXIST, detail))
                continue
            request = route.put(wanted, _index_of(wanted.dev, wiring.host_ifname, index), replace=True)
            remaining += [Refusal(refusal.place, again.errno, again.detail) for again in sock.execute((request,))]
        return remaining

    def _configure(
        self, index: int, conf: Sequence[tuple[int, str, int]], mtu: int, *, up: bool | None = None
    ) -> Request:
        """The link's IPv4 settings, and no link-local address of the kernel's own making (no wiring wants one)."""
        conf4 = {name: value for family, name, value in conf if family == 4}
        mode = link.ADDR_GEN_MODE_NONE if self._ipv6 and mtu >= _MINIMUM_IPV6_MTU else None
        return link.configure(index, up=up, conf4=conf4, addr_gen_mode=mode)

    def _remove_leftover(self, sock: NetlinkSocket, name: str) -> bool:
        """Delete the host end of an attach that died, or of a detach that the reaper has not come to."""
        message = sock.get(link.get(name), f"look for {name}")
        if message is None or not name.startswith(LINK_PREFIX):
            return False
        return not [r for r in sock.execute((link.delete(link.decode(message).index),)) if r.errno != errno.ENODEV]

    def _remove_dying(self, sock: NetlinkSocket, pod: int, ifname: str) -> bool:
        """Delete the pair of an attachment that was detached from this very namespace, if the reaper has yet to come.

        Runtimes make a namespace for each sandbox, but callers such as cnitool use one again at once.
        """
        with netns.entered(pod):
            inside = NetlinkSocket()
        with inside:
            message = inside.get(link.get(ifname), f"look for {ifname} in the pod")
        if message is None:
            return True
        pair = link.decode(message)
        outer = sock.get(link.get_index(pair.peer), f"look for the other end of {ifname}") if pair.peer else None
        if outer is None:
            return False
        host = link.decode(outer)
        if host.group != REAPER_GROUP or host.peer != pair.index or not host.name.startswith(LINK_PREFIX):
            return False
        return not [r for r in sock.execute((link.delete(host.index),)) if r.errno != errno.ENODEV]

    def _no_pair(self, wiring: PodWiring, refusal: Refusal) -> KernelError:
        if refusal.errno == errno.EEXIST:
            return KernelError(
                f"create {wiring.ifname} in the pod",
                errno.EEXIST,
                "the pod already has an interface of that name",
                remedy="another network of the pod may use it: give this one another CNI_IFNAME",
            )
        return _failed(f"create the pair {wiring.host_ifname} and {wiring.ifname}", refusal)

    def _host_files(self, wiring: PodWiring) -> None:
        if self._needs_files(wiring.host_conf, wiring.mtu):
            with netns.entered(self._pool.netns):
                _write_settings(wiring.host_ifname, wiring.host_conf)

    def _needs_files(self, conf: Sequence[tuple[int, str, int]], mtu: int) -> bool:
        """Whether *conf* has settings that rtnetlink cannot carry; without IPv6 they do not exist."""
        return self._ipv6 and mtu >= _MINIMUM_IPV6_MTU and any(family == 6 for family, _, _ in conf)

    def _pod_side(self, wiring: PodWiring, pod: int, index: int) -> None:
        requests = [link.configure(_LOOPBACK, up=True)]
        # The settings come before the link is up, or the kernel gives it a tentative link-local address.
        requests.append(self._configure(index, wiring.pod_conf, wiring.mtu))
        requests.append(link.configure(index, up=True))
        requests += [address.put(index, iface) for iface in wiring.addresses]
        requests += _neighbours(wiring.pod_neighbours, wiring.ifname, index)
        requests += _routes(wiring.pod_routes, wiring.ifname, index)
        with netns.entered(pod):
            if self._needs_files(wiring.pod_conf, wiring.mtu):
                _write_settings(wiring.ifname, wiring.pod_conf)
            sock = NetlinkSocket()
        with sock:
            refusals = sock.execute(requests)
            if refusals:
                raise _failed(f"set up {wiring.ifname} in the pod", refusals[0])
            for iface in wiring.addresses:
                if iface.version == 6:
                    _await_address(sock, iface.ip)

    def detach(self, host_ifname: str, routes: Sequence[Route]) -> None:
        """See :meth:`PodWirer.detach`."""
        with self._pool.socket() as sock:
            message = sock.get(link.get(host_ifname), f"look for {host_ifname}")
            index = link.decode(message).index if message else 0
            # Without the link its routes are gone too; and by name alone we might hit the address's next owner.
            requests = [
                route.remove(r, index if r.dev == host_ifname else 0) for r in routes if index or r.dev != host_ifname
            ]
            if index:
                requests.append(link.configure(index, up=False, group=REAPER_GROUP))
            for refusal in sock.execute(requests) if requests else ():
                if refusal.errno not in (errno.ESRCH, errno.ENODEV, errno.ENOENT):
                    raise _failed(f"take {host_ifname} off the network", refusal)
        if index:
            self._reaper.wake()

    def reaped(self, host_ifname: str) -> bool:
        """See :meth:`PodWirer.reaped`."""
        with self._pool.socket() as sock:
            message = sock.get(link.get(host_ifname), f"look for {host_ifname}")
        if message is None:
            return True
        if link.decode(message).group == REAPER_GROUP:  # perhaps left by an agent that died
            self._reaper.wake()
        return False

    def inspect(self, wiring: PodWiring, netns: int | None) -> list[str]:
        """See :meth:`PodWirer.inspect`."""
        return inspection.inspect(self._pool, wiring, netns)

    def host_links(self) -> list[HostLink]:
        """See :meth:`PodWirer.host_links`."""
        with self._pool.socket() as sock:
            found = [link.decode(message) for message in sock.dump(link.dump("veth"), "list host ends")]
        return [
            HostLink(info.name, info.index, info.mac, info.up, info.group == REAPER_GROUP)
            for info in found
            if info.kind == "veth" and info.name.startswith(LINK_PREFIX)
        ]

    def close(self) -> None:
        """See :meth:`PodWirer.close`."""
        self._reaper.close()
        self._pool.close()


def _check_namespace(fd: int) -> None:
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except (OSError, ValueError) as error:  # ValueError: a negative number
        number = error.errno if isinstance(error, OSError) else errno.EBADF
        raise NoSuchNamespace("use the pod's network namespace", number or 0, "it is none") from error
    if found != netns.CLONE_NEWNET:
        raise NoSuchNamespace("use the pod's network namespace", errno.EINVAL, "it is a namespace of another kind")


def _await_address(sock: NetlinkSocket, addr: IPAddress) -> None:
    """Wait until packets to the pod's own IPv6 address are its own.

    Even without duplicate address detection a worker of the kernel's installs the local route, and until then a packet
    for the address is an address error (``addrconf_dad_work``).
    """
    deadline = time.monotonic() + _ADDRESS_TIMEOUT
    while True:
        message = sock.get(route.lookup(addr), f"look for the route to {addr}")
        if message is not None and route.decode(message).type == "local":
            return
        if time.monotonic() > deadline:
            raise KernelError(f"give the pod {addr}", errno.ETIMEDOUT, "the kernel has not installed its local route")
        time.sleep(_ADDRESS_PAUSE)


def _write_settings(ifname: str, settings: Sequence[tuple[int, str, int]]) -> None:
    for family, name, value in settings:
        if family == 6 and name != "addr_gen_mode":
            sysctls.write(sysctls.interface_path(family, ifname, name), str(value))


def _routes(routes: Sequence[Route], ifname: str, index: int) -> list[Request]:
    return [route.put(r, _index_of(r.dev, ifname, index)) for r in routes]


def _neighbours(neighbours: Sequence[Neighbour], ifname: str, index: int) -> list[Request]:
    return [neighbour.put(_index_of(n.dev, ifname, index), n.address, n.mac) for n in neighbours]


def _owner(sock: NetlinkSocket, wanted: Route) -> int | None:
    """The protocol of the route that has the key of *wanted*, None when there is none."""
    request = route.dump(wanted.dst.version, table=wanted.table)
    for info in map(route.decode, sock.dump(request, "list routes")):
        if (info.dst, info.metric, info.table) == (wanted.dst, wanted.metric, wanted.table):
            return info.protocol
    return None


def _index_of(dev: str | None, ifname: str, index: int) -> int:
    if dev not in (None, ifname):
        raise ValueError(f"a wiring names device {dev}; its own is {ifname}")
    return index if dev else 0


def _failed(operation: str, refusal: Refusal) -> KernelError:
    return refused(operation, refusal.errno, refusal.detail)
