"""rtnetlink's messages about addresses, both families. Pure. Source: ``include/uapi/linux/if_addr.h``."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_interface

import msgspec

from podwire.drivers.netlink.wire import NLM_F_CREATE, NLM_F_REPLACE, Message, Request, attr, attributes, to_u32, u32
from podwire.model.addresses import IPInterface

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22

_IFADDR = struct.Struct("=BBBBI")
_ADDRESS, _LOCAL, _FLAGS, _PROTO = 1, 2, 8, 11
_NODAD = 0x02
_TENTATIVE, _DADFAILED = 0x40, 0x08
FAMILY = {4: 2, 6: 10}
"""AF_INET and AF_INET6 by IP version."""


class AddressInfo(msgspec.Struct, frozen=True):
    """An address of link *index*; *kernel_made* is a link-local or autoconfigured one; *usable* is false while or
    after duplicate address detection holds it back."""

    index: int
    address: IPInterface
    kernel_made: bool
    usable: bool


def put(index: int, address: IPInterface) -> Request:
    """Give link *index* the address. IPv6 without duplicate address detection: we know that it is unique."""
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _body(index, address))


def remove(index: int, address: IPInterface) -> Request:
    """Take the address away from link *index*."""
    return Request(RTM_DELADDR, 0, _body(index, address))


def _body(index: int, address: IPInterface) -> bytes:
    packed = address.ip.packed
    body = _IFADDR.pack(FAMILY[address.version], address.network.prefixlen, 0, 0, index)
    body += attr(_LOCAL, packed) + attr(_ADDRESS, packed)
    return body + u32(_FLAGS, _NODAD) if address.version == 6 else body


def dump(version: int, index: int = 0) -> Request:
    """Ask for all addresses of an IP version, or for those of one link."""
    return Request(RTM_GETADDR, 0, _IFADDR.pack(FAMILY[version], 0, 0, 0, index))


def decode(message: Message) -> AddressInfo:
    """The address that an RTM_NEWADDR or RTM_DELADDR message tells of."""
    _, length, flags, _, index = _IFADDR.unpack_from(message.body)
    found = attributes(message.body, _IFADDR.size)
    if _FLAGS in found:
        flags = to_u32(found[_FLAGS])  # the header's eight bits do not hold them all
    address = ip_interface((ip_address(found[_LOCAL] if _LOCAL in found else found[_ADDRESS]), length))
    proto = found.get(_PROTO, b"\0")[0]
    kernel_made = proto != 0 or (address.version == 6 and address.is_link_local)
    return AddressInfo(index, address, kernel_made, not flags & (_TENTATIVE | _DADFAILED))
