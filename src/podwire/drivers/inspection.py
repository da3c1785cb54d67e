"""Compare a pod's wiring in the kernel with what was planned: each difference as one sentence (CNI's CHECK).

Additions of others (a second address, more routes) are theirs and no difference; only what we planned is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from podwire.drivers import netns, sysctls
from podwire.drivers.netlink import address, link, neighbour, route
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.socket import NetlinkSocket, SocketPool
from podwire.model.addresses import IPInterface
from podwire.model.errors import NoSuchNamespace
from podwire.model.kernel import REAPER_GROUP, Neighbour, Route
from podwire.model.wiring import PodWiring


def inspect(pool: SocketPool, wiring: PodWiring, pod: int | None) -> list[str]:
    """What differs from *wiring* on the node and, where *pod* is a namespace's descriptor, in the pod."""
    with pool.socket() as sock:
        host = _link(sock, wiring.host_ifname)
        differences = list(_host(sock, host, wiring))
    differences += _files(pool.netns, wiring.host_ifname, wiring.host_conf if host else ())
    if pod is None:
        return differences
    try:
        with NetlinkSocket(netns=pod) as sock:
            inside = _link(sock, wiring.ifname)
            differences += _pod(sock, inside, host, wiring)
        differences += _files(pod, wiring.ifname, wiring.pod_conf if inside else ())
    except NoSuchNamespace as error:
        differences.append(f"the pod's network namespace cannot be entered: {error}")
    return differences


def _host(sock: NetlinkSocket, found: LinkInfo | None, wiring: PodWiring) -> Iterator[str]:
    name = wiring.host_ifname
    if found is None:
        yield f"link {name} does not exist on the node"
        return
    yield from _same_link(found, name, wiring.host_mac, wiring.mtu)
    if found.group == REAPER_GROUP:
        yield f"link {name} is waiting to be deleted"
    yield from _settings(found, wiring.host_conf)
    yield from _entries(sock, found, wiring.host_routes, wiring.host_neighbours)


def _pod(sock: NetlinkSocket, found: LinkInfo | None, host: LinkInfo | None, wiring: PodWiring) -> Iterator[str]:
    name = wiring.ifname
    if found is None:
        yield f"interface {name} does not exist in the pod"
        return
    yield from _same_link(found, name, wiring.mac, wiring.mtu)
    if host is not None and (found.kind != "veth" or found.peer != host.index or host.peer != found.index):
        yield f"interface {name} in the pod is not the other end of {wiring.host_ifname}"
    yield from _settings(found, wiring.pod_conf)
    for version in sorted({iface.version for iface in wiring.addresses}):
        yield from _addresses(sock, found, version, wiring.addresses)
    yield from _entries(sock, found, wiring.pod_routes, wiring.pod_neighbours)


def _link(sock: NetlinkSocket, name: str) -> LinkInfo | None:
    message = sock.get(link.get(name), f"look for {name}")
    return link.decode(message) if message else None


def _same_link(found: LinkInfo, name: str, mac: str, mtu: int) -> Iterator[str]:
    if not found.up:
        yield f"link {name} is down, should be up"
    if found.mac != mac:
        yield f"link {name} has MAC {found.mac}, should have {mac}"
    if found.mtu != mtu:
        yield f"link {name} has MTU {found.mtu}, should have {mtu}"


def _settings(found: LinkInfo, conf: Iterable[tuple[int, str, int]]) -> Iterator[str]:
    for family, name, value in conf:
        if family == 4 and found.conf4.get(name) != value:
            path = sysctls.interface_path(4, found.name, name)
            yield f"sysctl {path} is {found.conf4.get(name)}, should be {value}"


def _files(fd: int, ifname: str, conf: Sequence[tuple[int, str, int]]) -> list[str]:
    """The IPv6 settings, which rtnetlink does not tell. A link without IPv6 has none, which is no difference."""
    wanted = [(sysctls.interface_path(6, ifname, name), str(value)) for family, name, value in conf if family == 6]
    if not wanted:
        return []
    with netns.entered(fd):
        found = [(path, sysctls.read(path), value) for path, value in wanted]
    return [f"sysctl {path} is {now}, should be {value}" for path, now, value in found if now not in (None, value)]


def _addresses(sock: NetlinkSocket, found: LinkInfo, version: int, wanted: Iterable[IPInterface]) -> Iterator[str]:
    messages = sock.dump(address.dump(version, found.index), f"list addresses of {found.name}")
    there = {info.address: info for info in map(address.decode, messages) if info.index == found.index}
    for iface in wanted:
        if iface.version != version:
            continue
        if iface not in there:
            rest = ", ".join(str(known) for known in there) or "none"
            yield f"interface {found.name} lacks address {iface}; it has {rest}"
        elif not there[iface].usable:
            yield f"address {iface} on {found.name} is held back by duplicate address detection"


def _entries(
    sock: NetlinkSocket, found: LinkInfo, routes: Sequence[Route], neighbours: Sequence[Neighbour]
) -> Iterator[str]:
    for version in sorted({r.dst.version for r in routes}):
        yield from _routes(sock, found, version, routes)
    for version in sorted({n.address.version for n in neighbours}):
        messages = sock.dump(neighbour.dump(version, found.index), f"list neighbours of {found.name}")
        macs = {n.address: n for n in map(neighbour.decode, messages) if n.index == found.index}
        for wanted in neighbours:
            if wanted.address.version == version:
                yield from _neighbour(macs.get(wanted.address), wanted)


def _neighbour(found: neighbour.NeighbourInfo | None, wanted: Neighbour) -> Iterator[str]:
    if found is None:
        yield f"neighbour {wanted.address} on {wanted.dev} is missing, should be {wanted.mac}"
    elif found.mac != wanted.mac or not found.permanent:
        kind = "permanent" if found.permanent else "temporary"
        yield f"neighbour {wanted.address} on {wanted.dev} is {kind} {found.mac}, should be permanent {wanted.mac}"


def _routes(sock: NetlinkSocket, found: LinkInfo, version: int, routes: Sequence[Route]) -> Iterator[str]:
    tables = {r.table for r in routes if r.dst.version == version}
    there: Mapping[tuple[object, ...], route.RouteInfo] = {
        (info.table, info.dst, info.metric): info
        for table in sorted(tables)
        for info in map(route.decode, sock.dump(route.dump(version, table=table, index=found.index), "list routes"))
        if info.index == found.index
    }
    for wanted in routes:
        if wanted.dst.version != version or wanted.dev is None:
            continue
        info = there.get((wanted.table, wanted.dst, wanted.metric))
        should = f"via {wanted.via}" if wanted.via else "directly"
        if info is None:
            yield f"route {wanted.dst} on {found.name} is missing, should lead {should}"
        elif info.via != wanted.via or (wanted.src and info.src != wanted.src) or info.type != wanted.type:
            now = f"via {info.via}" if info.via else info.type if info.type != "unicast" else "directly"
            yield f"route {wanted.dst} on {found.name} leads {now} (source {info.src}), should lead {should}"
