"""Look into network namespaces and report: devices, addresses, routes, neighbours, FDB, sysctls, nftables, conntrack.

Runs on a node: inside the agent (``GET /v1/wiring``) and inside the probe on a node's network. Reads only. Everything
comes from netlink and /proc, so that it works in an image without iproute2; nftables through the library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import msgspec

from podwire.drivers import conntrack, netns, sysctls
from podwire.drivers.netlink import address, link, neighbour, route
from podwire.drivers.netlink.socket import NetlinkSocket
from podwire.drivers.netlink.wire import (
    Message,
    Request,
    attr,
    attributes,
    to_u32,
)
from podwire.model.attachment import Attachment
from podwire.model.errors import KernelError, NoSuchNamespace, NotSupported
from podwire.verify import observation as seen
from podwire.verify.packets import PROTOCOLS

_RTM_F_FIB_MATCH = 0x2000
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_RTA_DST, _RTA_METRICS, _RTA_MULTIPATH, _RTAX_MTU = 1, 8, 9, 2
_NEXTHOP = struct.Struct("=HBBi")
_IFLA_STATS64 = 23
_VXLAN_ID, _VXLAN_LINK, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT, _VXLAN_LOCAL6 = 1, 3, 4, 7, 15, 17
_NUD = {0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed",
        0x40: "noarp", 0x80: "permanent"}  # fmt: skip
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv6/conf/all/forwarding",
)
_CONF = ("forwarding", "proxy_arp", "rp_filter")


def observe_namespace(conf: bool = False) -> dict[str, Any]:
    """The calling thread's network namespace as JSON values (a :class:`~.observation.SeenNamespace`).

    *conf* adds per-interface sysctls, which cost a file each.
    """
    encoded: dict[str, Any] = msgspec.to_builtins(_namespace(conf))
    return encoded


def _namespace(conf: bool = False) -> seen.SeenNamespace:
    with NetlinkSocket() as sock:
        raw = sock.dump(Request(link.RTM_GETLINK, 0, struct.pack("=BxHiII", 0, 0, 0, 0, 0)), "list links")
        links = [(link.decode(message), message) for message in raw]
        names = {info.index: info.name for info, _ in links}
        routes, addresses, neighbours = [], [], []
        for version in (4, 6) if sysctls.ipv6_enabled() else (4,):
            routes += [_route(message, names) for message in sock.dump(route.dump(version), "list routes")]
            addresses += [address.decode(m) for m in sock.dump(address.dump(version), "list addresses")]
            neighbours += [_neighbour(m, names) for m in sock.dump(neighbour.dump(version), "list neighbours")]
        fdb = [
            entry
            for info, _ in links
            if info.kind == "vxlan"
            for entry in _fdb(sock.dump(neighbour.dump_fdb(info.index), "list FDB"), info)
        ]
    return seen.SeenNamespace(
        netns=_own_number(),
        links=tuple(_link(info, message, names) for info, message in links),
        addresses=tuple(seen.SeenAddress(names.get(a.index, ""), str(a.address), a.usable) for a in addresses),
        routes=tuple(entry for entry in routes if entry is not None),
        neighbours=tuple(entry for entry in neighbours if entry is not None),
        fdb=tuple(fdb),
        sysctls=_sysctls([info.name for info, _ in links] if conf else []),
    )


def _own_number() -> int:
    descriptor = netns.current()
    try:
        return netns.inode(descriptor)
    finally:
        os.close(descriptor)


def _link(info: link.LinkInfo, message: Message, names: dict[int, str]) -> seen.SeenLink:
    stats = attributes(message.body, 16).get(_IFLA_STATS64, b"")
    counters = seen.Counters(*struct.unpack_from("=8Q", stats)) if len(stats) >= 64 else seen.Counters()
    return seen.SeenLink(
        index=info.index,
        name=info.name,
        kind=info.kind,
        mac=info.mac,
        mtu=info.mtu,
        up=info.up,
        peer=info.peer if info.kind == "veth" else 0,
        master=names.get(info.master, ""),
        vxlan=_vxlan(info, names) if info.kind == "vxlan" else None,
        counters=counters,
    )


def _vxlan(info: link.LinkInfo, names: dict[int, str]) -> seen.SeenVxlan:
    local = info.data.get(_VXLAN_LOCAL) or info.data.get(_VXLAN_LOCAL6) or b""
    device = to_u32(info.data[_VXLAN_LINK]) if _VXLAN_LINK in info.data else 0
    return seen.SeenVxlan(
        vni=to_u32(info.data.get(_VXLAN_ID, bytes(4))),
        port=int.from_bytes(info.data.get(_VXLAN_PORT, b""), "big"),
        local=str(ip_address(local)) if any(local) else "",
        underlay=names.get(device, ""),
        learning=bool(info.data.get(_VXLAN_LEARNING, b"\0")[0]),
    )


def _route(message: Message, names: dict[int, str]) -> seen.SeenRoute | None:
    info = route.decode(message)
    if info.cloned:
        return None
    found = attributes(message.body, _RTMSG.size)
    metrics = attributes(found.get(_RTA_METRICS, b""))
    return seen.SeenRoute(
        dst=str(info.dst),
        dev=names.get(info.index, ""),
        via=str(info.via or ""),
        src=str(info.src or ""),
        type=info.type,
        protocol=info.protocol,
        scope=info.scope,
        metric=info.metric,
        table=info.table,
        mtu=to_u32(metrics[_RTAX_MTU]) if _RTAX_MTU in metrics else 0,
        onlink=info.onlink,
        hops=_hops(found.get(_RTA_MULTIPATH, b""), names),
    )


def _hops(payload: bytes, names: dict[int, str]) -> tuple[str, ...]:
    hops, offset = [], 0
    while offset + _NEXTHOP.size <= len(payload):
        length, _, _, index = _NEXTHOP.unpack_from(payload, offset)
        if length < _NEXTHOP.size:
            break
        inner = attributes(payload[: offset + length], offset + _NEXTHOP.size)
        via = f"{ip_address(inner[5])} " if 5 in inner else ""
        hops.append(via + names.get(index, str(index)))
        offset += (length + 3) & ~3
    return tuple(hops)


def _neighbour(message: Message, names: dict[int, str]) -> seen.SeenNeighbour | None:
    info = neighbour.decode(message)
    state = _NDMSG.unpack_from(message.body)[2]
    if info.address is None or state == 0x40:  # multicast and the like, of no interest
        return None
    name = _NUD.get(state, str(state))
    return seen.SeenNeighbour(names.get(info.index, ""), str(info.address), info.mac, name, info.protocol)


def _fdb(messages: Iterable[Message], device: link.LinkInfo) -> list[seen.SeenFdb]:
    infos = [neighbour.decode(message) for message in messages]
    return [
        seen.SeenFdb(device.name, info.mac, str(info.address))
        for info in infos
        if info.index == device.index and info.address is not None
    ]


def _sysctls(devices: list[str]) -> dict[str, str]:
    paths = [*_SYSCTLS, *(sysctls.interface_path(4, device, name) for device in devices for name in _CONF)]
    values: dict[str, str] = {}
    for path in paths:
        with contextlib.suppress(KernelError):
            value = sysctls.read(path)
            if value is not None:
                values[path] = value
    return values


def lookup(destination: str, source: str = "", device: str = "") -> seen.Lookup:
    """Ask the kernel which route leads to *destination*, policy rules included.

    With *source* and *device*: for a packet of that source that came in on that device, as when it is forwarded.
    """
    target = ip_address(destination)
    body = attr(_RTA_DST, target.packed)
    if source and device:
        with contextlib.suppress(OSError):
            body += attr(2, ip_address(source).packed) + struct.pack("=HHI", 8, 3, socket.if_nametoindex(device))
    header = _RTMSG.pack(address.FAMILY[target.version], target.max_prefixlen, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    with NetlinkSocket() as sock:
        names = dict(socket.if_nameindex())
        try:
            answer = sock.get(Request(route.RTM_GETROUTE, 0, header + body), f"look up a route to {destination}")
        except KernelError as error:
            return _no_route(destination, errno.errorcode.get(error.errno, str(error.errno)))
    if answer is None:
        return _no_route(destination, "ENETUNREACH")
    found = _route(answer, names) or seen.SeenRoute(dst=destination)
    return seen.Lookup(destination, found.dst, found.type, found.dev, found.via, found.src)


def _no_route(destination: str, error: str) -> seen.Lookup:
    """With the route that says so, where one does (``unreachable 10.244.0.0/16``)."""
    nearest = seen.best_route(_namespace().routes, ip_address(destination))
    if nearest is None:
        return seen.Lookup(destination, error=error)
    return seen.Lookup(destination, nearest.dst, nearest.type, nearest.dev, nearest.via, error=error)


def observe_node(attachments: Iterable[Attachment], node: str = "") -> dict[str, Any]:
    """This node's own network, and each of *attachments* from both sides, as JSON values.

    The values are those of :class:`podwire.verify.observation.SeenNode`. Blocks for some milliseconds and a fraction of
    one per pod: call it in a thread. Never raises for a pod whose namespace is gone: that is part of the report.
    """
    from podwire.verify import observe_nft

    rules, sets, problem = observe_nft.observe()
    node_seen = seen.SeenNode(
        node=node or socket.gethostname(),
        network=_namespace(conf=True),
        attachments=tuple(_attachment(each) for each in attachments),
        rules=rules,
        sets=sets,
        nft_problem=problem,
    )
    encoded: dict[str, Any] = msgspec.to_builtins(node_seen)
    return encoded


def _attachment(attachment: Attachment) -> seen.SeenAttachment:
    inside, problem = None, ""
    try:
        inside = _inside(attachment)
    except KernelError as error:
        problem = str(error)
    return seen.SeenAttachment(
        pod=attachment.owner,
        network=attachment.key.network,
        container_id=attachment.key.container_id,
        ifname=attachment.key.ifname,
        host_ifname=attachment.key.host_ifname,
        netns=attachment.netns,
        addresses=tuple(str(each) for each in attachment.addresses),
        mtu=attachment.mtu,
        inside=inside,
        problem=problem,
    )


def _inside(attachment: Attachment) -> seen.SeenNamespace:
    descriptor = netns.open_namespace(attachment.netns)
    try:
        if netns.inode(descriptor) != attachment.netns_inode:
            raise NoSuchNamespace(
                f"enter the namespace of {attachment.owner}", 0, f"{attachment.netns} is another namespace by now"
            )
        return netns.in_namespace(descriptor, _namespace)
    finally:
        os.close(descriptor)


def connections(addresses: frozenset[str]) -> list[seen.SeenConnection]:
    """The tracked TCP, UDP and ICMP connections that have one of *addresses* anywhere; none where nothing is tracked.

    Raises KernelError, EPERM without CAP_NET_ADMIN.
    """
    try:
        entries = conntrack.entries()
    except NotSupported:
        return []  # this kernel tracks no connections at all
    found = ((_ends(entry.original), _ends(entry.reply)) for entry in entries)
    return [
        seen.SeenConnection(original, reply)
        for original, reply in found
        if original[0] and addresses & {original[1], original[3], reply[1], reply[3]}
    ]


def _ends(one: conntrack.Tuple) -> tuple[str, str, int, str, int]:
    return PROTOCOLS.get(one.protocol, ""), str(one.src), one.sport, str(one.dst), one.dport
