"""The kernel's table of connections (ctnetlink): which are there, and which are translated (NAT).

Source: ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``; status bits of ``nf_conntrack_common.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

import msgspec

from podwire.drivers.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from podwire.drivers.netlink.wire import Message, Request, attributes, nested, u8
from podwire.drivers.netlink.wire import attr as attribute
from podwire.model.addresses import IPAddress

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

_GET = 1 << 8 | 1
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _MARK, _ZONE, _FILTER = 1, 2, 3, 8, 18, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_PROTO_NUM, _SRC_PORT, _DST_PORT, _ICMP_ID, _ICMPV6_ID = 1, 2, 3, 4, 7
_FILTER_ORIG_FLAGS = 1
_FLAG_IP_SRC, _FLAG_IP_DST, _FLAG_PROTO_NUM, _FLAG_SRC_PORT, _FLAG_DST_PORT = 1, 2, 8, 16, 32

SEEN_REPLY, ASSURED, CONFIRMED = 1 << 1, 1 << 2, 1 << 3
SRC_NAT, DST_NAT = 1 << 4, 1 << 5
"""Status bits; SRC_NAT and DST_NAT say that the packet's source or destination was changed."""


class Tuple(msgspec.Struct, frozen=True):
    """One direction of a connection. Ports are 0 for protocols without; for ICMP both are its identifier."""

    src: IPAddress
    dst: IPAddress
    protocol: int
    sport: int = 0
    dport: int = 0

    @property
    def reversed(self) -> Tuple:
        """The same connection seen from the other end."""
        return Tuple(self.dst, self.src, self.protocol, self.dport, self.sport)


class Entry(msgspec.Struct, frozen=True):
    """A tracked connection: *original* as the first packet was, *reply* as its answers are expected."""

    original: Tuple
    reply: Tuple
    status: int
    zone: int = 0
    mark: int = 0

    @property
    def is_nat(self) -> bool:
        """Whether addresses or ports are translated: then the answers do not mirror the first packet."""
        return bool(self.status & (SRC_NAT | DST_NAT)) or self.reply != self.original.reversed


class Match(msgspec.Struct, frozen=True):
    """Which entries are asked for, by their original direction; None and 0 mean any.

    The kernel compares (since Linux 5.8); for older ones the decoder compares again.
    """

    src: IPAddress | None = None
    dst: IPAddress | None = None
    protocol: int = 0
    sport: int = 0
    dport: int = 0
    zone: int | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether *entry* is one of these."""
        one = entry.original
        return (
            self.src in (None, one.src)
            and self.dst in (None, one.dst)
            and self.protocol in (0, one.protocol)
            and self.sport in (0, one.sport)
            and self.dport in (0, one.dport)
            and self.zone in (None, entry.zone)
        )


def entries(match: Match | None = None) -> list[Entry]:
    """The connections tracked in the calling thread's namespace, of those that *match* asks for (default: all).

    Raises NotSupported where the kernel has no ctnetlink.
    """
    wanted = match or Match()
    found = []
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        for version in _versions(wanted):
            messages = sock.dump(_request(wanted, version), "list tracked connections")
            found += [entry for message in messages if (entry := decode(message)) and wanted.fits(entry)]
    return found


def _versions(match: Match) -> Iterator[int]:
    known = match.src or match.dst
    yield from (known.version,) if known else (4, 6)


def _request(match: Match, version: int) -> Request:
    """A dump that the kernel filters by zone, and by what is given of the original direction."""
    body = struct.pack("=BBH", 2 if version == 4 else 10, 0, 0)
    flags = 0
    addresses, protocol = [], []
    for addr, flag, kinds in (
        (match.src, _FLAG_IP_SRC, (_V4_SRC, _V6_SRC)),
        (match.dst, _FLAG_IP_DST, (_V4_DST, _V6_DST)),
    ):
        if addr is not None:
            addresses.append(attribute(kinds[0] if version == 4 else kinds[1], addr.packed))
            flags |= flag
    if match.protocol:
        protocol.append(u8(_PROTO_NUM, match.protocol))
        flags |= _FLAG_PROTO_NUM
    for port, flag, kind in ((match.sport, _FLAG_SRC_PORT, _SRC_PORT), (match.dport, _FLAG_DST_PORT, _DST_PORT)):
        if port and match.protocol in (TCP, UDP):
            protocol.append(attribute(kind, struct.pack("!H", port)))
            flags |= flag
    if flags:
        parts = [nested(_TUPLE_IP, *addresses)] if addresses else []
        parts += [nested(_TUPLE_PROTO, *protocol)] if protocol else []
        body += nested(_TUPLE_ORIG, *parts) + nested(_FILTER, attribute(_FILTER_ORIG_FLAGS, struct.pack("=I", flags)))
    if match.zone is not None:
        body += attribute(_ZONE, struct.pack("!H", match.zone))
    return Request(_GET, 0, body)


def decode(message: Message) -> Entry | None:
    """The entry in a ctnetlink message; None for what is not a pair of IP tuples."""
    found = attributes(message.body, 4)
    original, reply = _tuple(found.get(_TUPLE_ORIG, b"")), _tuple(found.get(_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    return Entry(original, reply, _number(found, _STATUS), _number(found, _ZONE), _number(found, _MARK))


def _tuple(payload: bytes) -> Tuple | None:
    parts = attributes(payload)
    ends = attributes(parts.get(_TUPLE_IP, b""))
    src = ends.get(_V4_SRC) or ends.get(_V6_SRC)
    dst = ends.get(_V4_DST) or ends.get(_V6_DST)
    if src is None or dst is None:
        return None
    protocol = attributes(parts.get(_TUPLE_PROTO, b""))
    identifier = _number(protocol, _ICMP_ID) or _number(protocol, _ICMPV6_ID)
    return Tuple(
        ip_address(src),
        ip_address(dst),
        protocol.get(_PROTO_NUM, b"\0")[0],
        _number(protocol, _SRC_PORT) or identifier,
        _number(protocol, _DST_PORT) or identifier,
    )


def _number(found: Mapping[int, bytes], kind: int) -> int:
    """ctnetlink's numbers are big-endian, unlike rtnetlink's."""
    return int.from_bytes(found.get(kind, b""), "big")
