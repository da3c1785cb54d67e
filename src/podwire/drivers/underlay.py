"""The node's own network: which device holds the node's address, its MTU, and the subnets that it connects to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.drivers.elements import all_links
from podwire.drivers.netlink import address, route
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.route import MAIN_TABLE, RouteInfo
from podwire.drivers.netlink.socket import NetlinkSocket
from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.cluster import Underlay
from podwire.model.kernel import LINK_PREFIX, ROUTE_PROTOCOL


def find_underlays(addresses: Iterable[IPAddress]) -> tuple[Underlay, ...]:
    """The underlay of each of *addresses* that a device of the calling thread's namespace holds and is up.

    Those that no device holds are left out: the caller knows which it asked for. A device's connected subnets are
    its routes without a gateway, whoever made them, but not ours; the default route and link-local ones are none.
    """
    wanted = tuple(dict.fromkeys(addresses))
    with NetlinkSocket() as sock:
        links = all_links(sock)
        found = []
        for addr in wanted:
            device = _holder(sock, links, addr)
            if device is not None:
                routes = sock.dump(route.dump(addr.version, index=device.index, table=MAIN_TABLE), "list routes")
                subnets = _connected(map(route.decode, routes), device.index)
                found.append(Underlay(device.name, addr, device.mtu, subnets))
    return tuple(found)


def node_addresses() -> tuple[IPAddress, ...]:
    """Addresses that may be the node's: of devices that are up, not ours, and neither loopback nor link-local.

    Those of the device with the default route come first.
    """
    with NetlinkSocket() as sock:
        links = {i: link for i, link in all_links(sock).items() if link.up and not link.name.startswith(LINK_PREFIX)}
        first = _default_devices(sock)
        found = [
            (info.index not in first, info.address.ip)
            for version in (4, 6)
            for info in map(address.decode, sock.dump(address.dump(version), "list addresses"))
            if info.index in links and not info.address.ip.is_loopback and not info.address.ip.is_link_local
        ]
    return tuple(addr for _, addr in sorted(found, key=lambda entry: entry[0]))


def _default_devices(sock: NetlinkSocket) -> set[int]:
    return {
        info.index
        for version in (4, 6)
        for info in map(route.decode, sock.dump(route.dump(version, table=MAIN_TABLE), "list routes"))
        if info.dst.prefixlen == 0 and info.table == MAIN_TABLE and info.protocol != ROUTE_PROTOCOL
    }


def _holder(sock: NetlinkSocket, links: dict[int, LinkInfo], addr: IPAddress) -> LinkInfo | None:
    messages = sock.dump(address.dump(addr.version), "list addresses")
    holders = [info.index for info in map(address.decode, messages) if info.address.ip == addr]
    return next((links[index] for index in holders if index in links and links[index].up), None)


def _connected(routes: Iterable[RouteInfo], index: int) -> tuple[IPNetwork, ...]:
    subnets: Sequence[IPNetwork] = [
        info.dst
        for info in routes
        if info.index == index
        and info.table == MAIN_TABLE
        and info.link_scope
        and info.protocol != ROUTE_PROTOCOL
        and info.dst.prefixlen
        and not info.dst.is_link_local
        and not info.dst.is_multicast
    ]
    return tuple(dict.fromkeys(subnets))
