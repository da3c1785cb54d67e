"""rtnetlink's messages about links: create, configure, delete, list. Pure.

Sources: ``rtnetlink(7)``, ``include/uapi/linux/{if_link,veth}.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import msgspec

from podwire.drivers.netlink.devconf import IPV4
from podwire.drivers.netlink.wire import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Request,
    attr,
    attributes,
    from_mac,
    nested,
    text,
    to_mac,
    to_text,
    to_u32,
    u8,
    u32,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
IFF_UP = 0x1

_IFINFO = struct.Struct("=BxHiII")
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _AF_SPEC = 1, 3, 4, 5, 10, 18, 26
_GROUP, _NETNS_FD, _EXT_MASK = 27, 28, 29
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_SKIP_STATS = u32(_EXT_MASK, 8)
_AF_INET, _AF_INET6 = 2, 10
_INET_CONF, _INET6_ADDR_GEN_MODE = 1, 8

ADDR_GEN_MODE_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE: the kernel makes no link-local address of its own."""


class LinkInfo(msgspec.Struct, frozen=True):
    """A link as the kernel tells it. *peer* is IFLA_LINK: a veth's other end, or a vxlan's underlay; 0 for none.

    *conf4* are the IPv4 settings by name, where the kernel told them; *data* the raw attributes of the kind.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    group: int
    peer: int
    master: int
    conf4: Mapping[str, int]
    addr_gen_mode: int | None
    data: Mapping[int, bytes]


def create_veth(host: tuple[str, int, str], peer: tuple[str, int, str], mtu: int, netns: int) -> Request:
    """A veth pair; each end as (name, ifindex, MAC); the *peer* is born in the namespace of descriptor *netns*.

    Both ends are down: a peer that is created up fails with ENOTCONN.
    """
    name, index, mac = host
    peer_name, peer_index, peer_mac = peer
    other = attr(
        _VETH_PEER | 0x8000,
        _IFINFO.pack(0, 0, peer_index, 0, 0)
        + text(_IFNAME, peer_name)
        + attr(_ADDRESS, from_mac(peer_mac))
        + u32(_MTU, mtu)
        + u32(_NETNS_FD, netns),
    )
    return _create(name, index, mac, mtu, "veth", other)


def create(name: str, kind: str, mac: str, mtu: int, data: Sequence[bytes] = ()) -> Request:
    """A link of *kind* whose own attributes are *data*; it is down."""
    return _create(name, 0, mac, mtu, kind, *data)


def _create(name: str, index: int, mac: str, mtu: int, kind: str, *data: bytes) -> Request:
    body = (
        _IFINFO.pack(0, 0, index, 0, 0)
        + text(_IFNAME, name)
        + attr(_ADDRESS, from_mac(mac))
        + u32(_MTU, mtu)
        + nested(_LINKINFO, text(_INFO_KIND, kind), nested(_INFO_DATA, *data))
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def configure(
    index: int,
    *,
    up: bool | None = None,
    mac: str = "",
    mtu: int = 0,
    group: int | None = None,
    conf4: Mapping[str, int] | None = None,
    addr_gen_mode: int | None = None,
) -> Request:
    """Change what is given of link *index*. *conf4* maps names of IPv4 settings; KeyError for one not known."""
    parts = [_IFINFO.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)]
    if mac:
        parts.append(attr(_ADDRESS, from_mac(mac)))
    if mtu:
        parts.append(u32(_MTU, mtu))
    if group is not None:
        parts.append(u32(_GROUP, group))
    families = []
    if conf4:
        settings = (u32(IPV4[name], value) for name, value in conf4.items())
        families.append(nested(_AF_INET, nested(_INET_CONF, *settings)))
    if addr_gen_mode is not None:
        families.append(nested(_AF_INET6, u8(_INET6_ADDR_GEN_MODE, addr_gen_mode)))
    if families:
        parts.append(nested(_AF_SPEC, *families))
    return Request(RTM_SETLINK, 0, b"".join(parts))


def delete(index: int) -> Request:
    """Delete the link; a veth's other end goes with it."""
    return Request(RTM_DELLINK, 0, _IFINFO.pack(0, 0, index, 0, 0))


def delete_group(group: int) -> Request:
    """Delete every link of *group* in the namespace, in one grace period."""
    return Request(RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0) + u32(_GROUP, group))


def get_index(index: int) -> Request:
    """Ask for link *index*. Since Linux 6.9 the kernel first brings its carrier up to date (``rtnl_getlink``)."""
    return Request(RTM_GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + _SKIP_STATS)


def get(name: str) -> Request:
    """Ask for the link called *name*."""
    return Request(RTM_GETLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0) + text(_IFNAME, name) + _SKIP_STATS)


def dump(kind: str = "") -> Request:
    """Ask for all links, or for those of one kind."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + _SKIP_STATS
    if kind:
        body += nested(_LINKINFO, text(_INFO_KIND, kind))
    return Request(RTM_GETLINK, 0, body)


def decode(message: Message) -> LinkInfo:
    """The link that an RTM_NEWLINK or RTM_DELLINK message tells of."""
    _, _, index, flags, _ = _IFINFO.unpack_from(message.body)
    found = attributes(message.body, _IFINFO.size)
    info = attributes(found.get(_LINKINFO, b""))
    conf4, mode = _families(found.get(_AF_SPEC, b""))
    return LinkInfo(
        index=index,
        name=to_text(found.get(_IFNAME, b"")),
        kind=to_text(info.get(_INFO_KIND, b"")),
        mac=to_mac(found.get(_ADDRESS, b"")),
        mtu=_number(found, _MTU),
        up=bool(flags & IFF_UP),
        group=_number(found, _GROUP),
        peer=_number(found, _LINK),
        master=_number(found, _MASTER),
        conf4=conf4,
        addr_gen_mode=mode,
        data=attributes(info.get(_INFO_DATA, b"")),
    )


def _number(found: Mapping[int, bytes], kind: int) -> int:
    payload = found.get(kind)
    return to_u32(payload) if payload else 0


def _families(payload: bytes) -> tuple[dict[str, int], int | None]:
    families = attributes(payload)
    values = attributes(families.get(_AF_INET, b"")).get(_INET_CONF, b"")
    numbers = struct.unpack(f"={len(values) // 4}i", values[: len(values) // 4 * 4])
    conf4 = {name: numbers[number - 1] for name, number in IPV4.items() if number <= len(numbers)}
    mode = attributes(families.get(_AF_INET6, b"")).get(_INET6_ADDR_GEN_MODE)
    return conf4, mode[0] if mode else None
