"""rtnetlink's messages about routes, both families. Pure. Source: ``include/uapi/linux/rtnetlink.h``."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

import msgspec

from podwire.drivers.netlink.address import FAMILY
from podwire.drivers.netlink.wire import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Request,
    attr,
    attributes,
    to_u32,
    u32,
)
from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.kernel import ROUTE_PROTOCOL, Route

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
MAIN_TABLE, LOCAL_TABLE = 254, 255
PROTO_KERNEL = 2
"""The kernel's own routes: those of an interface's subnet."""

_RTMSG = struct.Struct("=BBBBBBBBI")
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MULTIPATH, _TABLE, _VIA = 1, 4, 5, 6, 7, 9, 15, 18
_ONLINK = 0x4
_CLONED = 0x200
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
TYPES = {"unicast": 1, "local": 2, "broadcast": 3, "multicast": 5, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
DEFAULT_METRIC = {4: 0, 6: 1024}
"""What the kernel makes of metric 0 (IP6_RT_PRIO_USER for IPv6)."""
ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


class RouteInfo(msgspec.Struct, frozen=True):
    """A route as the kernel tells it; *index* is 0 without a device; *multipath* has more next hops than we tell."""

    dst: IPNetwork
    table: int
    protocol: int
    type: str
    scope: int
    index: int
    via: IPAddress | None
    src: IPAddress | None
    metric: int
    onlink: bool
    multipath: bool
    cloned: bool

    @property
    def link_scope(self) -> bool:
        """Whether the destination is on the link itself (no gateway)."""
        return self.via is None and not self.multipath and self.type == "unicast"


def put(route: Route, index: int, *, replace: bool = False) -> Request:
    """Create *route* on link *index* (0 without a device); EEXIST unless *replace* when its key is taken."""
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request(RTM_NEWROUTE, flags, _body(route, index, _scope(route)))


def remove(route: Route, index: int) -> Request:
    """Delete our route with the key of *route*, on link *index* (0: on whichever)."""
    body = _header(route, _SCOPE_NOWHERE) + _target(route)
    if index and route.type == "unicast":
        body += u32(_OIF, index)
    return Request(RTM_DELROUTE, 0, body)


def _scope(route: Route) -> int:
    return _SCOPE_LINK if route.type == "unicast" and route.via is None else _SCOPE_GLOBAL


def _header(route: Route, scope: int) -> bytes:
    return _RTMSG.pack(
        FAMILY[route.dst.version],
        route.dst.prefixlen,
        0,
        0,
        route.table if route.table < 256 else 0,
        ROUTE_PROTOCOL,
        scope,
        TYPES[route.type],
        _ONLINK if route.onlink else 0,
    )


def _target(route: Route) -> bytes:
    body = attr(_DST, route.dst.network_address.packed) + u32(_TABLE, route.table)
    metric = route.metric or DEFAULT_METRIC[route.dst.version]
    return body + u32(_PRIORITY, metric) if metric else body


def _body(route: Route, index: int, scope: int) -> bytes:
    body = _header(route, scope) + _target(route)
    if index:
        body += u32(_OIF, index)
    if route.via is not None:
        if route.via.version == route.dst.version:
            body += attr(_GATEWAY, route.via.packed)
        else:  # an IPv4 destination behind an IPv6 next hop (RFC 8950)
            body += attr(_VIA, struct.pack("=H", FAMILY[route.via.version]) + route.via.packed)
    if route.src is not None:
        body += attr(_PREFSRC, route.src.packed)
    return body


def lookup(destination: IPAddress) -> Request:
    """Ask which route a packet to *destination* would take."""
    header = _RTMSG.pack(FAMILY[destination.version], destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return Request(RTM_GETROUTE, 0, header + attr(_DST, destination.packed))


def dump(version: int, *, protocol: int = 0, index: int = 0, table: int = 0) -> Request:
    """Ask for the routes of an IP version, of one protocol, link or table where given (filtered by the kernel)."""
    header = _RTMSG.pack(FAMILY[version], 0, 0, 0, table if table < 256 else 0, protocol, 0, 0, 0)
    if table:
        header += u32(_TABLE, table)
    return Request(RTM_GETROUTE, 0, header + u32(_OIF, index) if index else header)


def decode(message: Message) -> RouteInfo:
    """The route that an RTM_NEWROUTE or RTM_DELROUTE message tells of."""
    family, length, _, _, table, protocol, scope, kind, flags = _RTMSG.unpack_from(message.body)
    found = attributes(message.body, _RTMSG.size)
    version = 6 if family == FAMILY[6] else 4
    metric = _number(found, _PRIORITY)
    return RouteInfo(
        dst=ip_network((found[_DST], length)) if _DST in found else ANYWHERE[version],
        table=_number(found, _TABLE) or table,
        protocol=protocol,
        type=_TYPE_NAMES.get(kind, str(kind)),
        scope=scope,
        index=_number(found, _OIF),
        via=_next_hop(found),
        src=ip_address(found[_PREFSRC]) if _PREFSRC in found else None,
        metric=0 if metric == DEFAULT_METRIC[version] else metric,
        onlink=bool(flags & _ONLINK),
        multipath=_MULTIPATH in found,
        cloned=bool(flags & _CLONED),
    )


def _next_hop(found: Mapping[int, bytes]) -> IPAddress | None:
    if _GATEWAY in found:
        return ip_address(found[_GATEWAY])
    return ip_address(found[_VIA][2:]) if _VIA in found else None


def _number(found: Mapping[int, bytes], kind: int) -> int:
    payload = found.get(kind)
    return to_u32(payload) if payload else 0
