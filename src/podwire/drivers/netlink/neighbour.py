"""rtnetlink's messages about neighbours and forwarding entries (FDB). Pure.

Both are RTM_NEWNEIGH messages; an FDB entry has the family AF_BRIDGE, and its MAC address is the key.
Source: ``include/uapi/linux/neighbour.h``.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import msgspec

from podwire.drivers.netlink.address import FAMILY
from podwire.drivers.netlink.wire import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    Request,
    attr,
    attributes,
    from_mac,
    to_mac,
    u8,
    u32,
)
from podwire.model.addresses import IPAddress
from podwire.model.kernel import ROUTE_PROTOCOL

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

_NDMSG = struct.Struct("=BxxxiHBB")
_DST, _LLADDR, _IFINDEX, _PROTOCOL = 1, 2, 8, 12
_PERMANENT = 0x80
_SELF = 0x02
_BRIDGE = 7


class NeighbourInfo(msgspec.Struct, frozen=True):
    """A neighbour, or with *fdb* a forwarding entry, of link *index*; *mac* is empty when it is not resolved."""

    index: int
    address: IPAddress | None
    mac: str
    permanent: bool
    protocol: int
    fdb: bool


def put(index: int, address: IPAddress, mac: str) -> Request:
    """A permanent neighbour, replacing whatever was known of *address*."""
    body = _NDMSG.pack(FAMILY[address.version], index, _PERMANENT, 0, 0)
    body += attr(_DST, address.packed) + attr(_LLADDR, from_mac(mac)) + u8(_PROTOCOL, ROUTE_PROTOCOL)
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def remove(index: int, address: IPAddress) -> Request:
    """Forget a neighbour."""
    body = _NDMSG.pack(FAMILY[address.version], index, 0, 0, 0) + attr(_DST, address.packed)
    return Request(RTM_DELNEIGH, 0, body)


def put_fdb(index: int, mac: str, destination: IPAddress) -> Request:
    """A static vxlan forwarding entry: frames for *mac* go to the VTEP *destination*."""
    body = _NDMSG.pack(_BRIDGE, index, _PERMANENT, _SELF, 0)
    body += attr(_LLADDR, from_mac(mac)) + attr(_DST, destination.packed)
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def remove_fdb(index: int, mac: str) -> Request:
    """Forget where *mac* is."""
    body = _NDMSG.pack(_BRIDGE, index, _PERMANENT, _SELF, 0) + attr(_LLADDR, from_mac(mac))
    return Request(RTM_DELNEIGH, 0, body)


def dump(version: int, index: int = 0) -> Request:
    """Ask for all neighbours of an IP version, or for those of one link."""
    body = _NDMSG.pack(FAMILY[version], 0, 0, 0, 0)
    return Request(RTM_GETNEIGH, 0, body + u32(_IFINDEX, index) if index else body)


def dump_fdb(index: int) -> Request:
    """Ask for the forwarding entries of link *index*."""
    return Request(RTM_GETNEIGH, 0, _NDMSG.pack(_BRIDGE, index, 0, 0, 0))


def decode(message: Message) -> NeighbourInfo:
    """The entry that an RTM_NEWNEIGH or RTM_DELNEIGH message tells of."""
    family, index, state, _, _ = _NDMSG.unpack_from(message.body)
    found = attributes(message.body, _NDMSG.size)
    return NeighbourInfo(
        index=index,
        address=ip_address(found[_DST]) if len(found.get(_DST, b"")) in (4, 16) else None,
        mac=to_mac(found.get(_LLADDR, b"")),
        permanent=bool(state & _PERMANENT),
        protocol=found.get(_PROTOCOL, b"\0")[0],
        fdb=family == _BRIDGE,
    )
