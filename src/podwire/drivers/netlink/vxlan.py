"""The attributes of a vxlan link (``include/uapi/linux/if_link.h``, IFLA_VXLAN_*). Pure.

Settings that podwire never varies are part of what :func:`decode` demands: no learning, no flooding to a group, and
UDP checksums as RFC 7348 section 5 has them: none over IPv4 (the inner packet has its own), and over IPv6, where
RFC 8200 asks for one, sent always and, since other implementations omit it (RFC 6935), not demanded of peers.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from podwire.drivers.netlink.wire import attr, be16, to_u32, u8, u32
from podwire.model.kernel import Vxlan

_ID, _GROUP, _LINK, _LOCAL, _LEARNING, _PORT, _GROUP6, _LOCAL6 = 1, 2, 3, 4, 7, 15, 16, 17
_UDP_CSUM, _UDP_ZERO_CSUM6_TX, _UDP_ZERO_CSUM6_RX = 18, 19, 20


def encode(parameters: Vxlan, underlay: int) -> list[bytes]:
    """The attributes for *parameters*; *underlay* is the ifindex of the device below, 0 for none."""
    data = [
        u32(_ID, parameters.vni),
        attr(_LOCAL if parameters.local.version == 4 else _LOCAL6, parameters.local.packed),
        be16(_PORT, parameters.port),
        u8(_LEARNING, 0),
        u8(_UDP_CSUM, 0),
        u8(_UDP_ZERO_CSUM6_TX, 0),
        u8(_UDP_ZERO_CSUM6_RX, 1),
    ]
    return [*data, u32(_LINK, underlay)] if underlay else data


def decode(data: Mapping[int, bytes], names: Mapping[int, str]) -> Vxlan | None:
    """The parameters, *names* giving links by ifindex; None for a device that is set up unlike any of ours."""
    if _GROUP in data or _GROUP6 in data or _ID not in data:
        return None
    flags = (_LEARNING, 0), (_UDP_CSUM, 0), (_UDP_ZERO_CSUM6_TX, 0), (_UDP_ZERO_CSUM6_RX, 1)
    if any(data.get(kind, bytes((value,)))[0] != value for kind, value in flags):
        return None
    local = data.get(_LOCAL) or data.get(_LOCAL6)
    if local is None:
        return None
    below = to_u32(data[_LINK]) if _LINK in data else 0
    return Vxlan(
        vni=to_u32(data[_ID]),
        port=int.from_bytes(data.get(_PORT, b""), "big"),
        local=ip_address(local),
        underlay=names.get(below, f"ifindex {below}") if below else None,
    )
