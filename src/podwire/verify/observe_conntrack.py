"""Connection tracking entries of this namespace, over ctnetlink: which connections the node translates.

Source: ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``. Needs CAP_NET_ADMIN in the namespace.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address

from podwire.drivers.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from podwire.drivers.netlink.wire import Message, Request, attributes
from podwire.model.errors import KernelError
from podwire.verify.observation import SeenConnection
from podwire.verify.packets import PROTOCOLS

_CTNETLINK_GET = (1 << 8) | 1
_NFGENMSG = struct.Struct("=BBH")
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_NUMBER, _SPORT, _DPORT, _ICMP_ID, _ICMPV6_ID = 1, 2, 3, 4, 7

_Tuple = tuple[str, str, int, str, int]


def connections(addresses: frozenset[str]) -> list[SeenConnection]:
    """The TCP, UDP and ICMP entries that have one of *addresses* anywhere; empty where nothing is tracked.

    Raises KernelError, EPERM without CAP_NET_ADMIN.
    """
    found: list[SeenConnection] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = Request(_CTNETLINK_GET, 0, _NFGENMSG.pack(family, 0, 0))
        try:
            with NetlinkSocket(NETLINK_NETFILTER) as sock:
                messages = sock.dump(request, "list tracked connections")
        except KernelError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT):
                continue  # this kernel, or this family, tracks no connections at all
            raise
        entries = (_connection(message) for message in messages)
        found += [entry for entry in entries if entry is not None and addresses & _addresses(entry)]
    return found


def _addresses(entry: SeenConnection) -> set[str]:
    return {entry.original[1], entry.original[3], entry.reply[1], entry.reply[3]}


def _connection(message: Message) -> SeenConnection | None:
    found = attributes(message.body, _NFGENMSG.size)
    original, reply = (_tuple(found.get(kind, b"")) for kind in (_TUPLE_ORIG, _TUPLE_REPLY))
    return SeenConnection(original, reply) if original and reply else None


def _tuple(data: bytes) -> _Tuple | None:
    parts = attributes(data)
    ips, proto = attributes(parts.get(_TUPLE_IP, b"")), attributes(parts.get(_TUPLE_PROTO, b""))
    source, target = (
        next((ips[k] for k in kinds if k in ips), b"") for kinds in ((_V4_SRC, _V6_SRC), (_V4_DST, _V6_DST))
    )
    name = PROTOCOLS.get(proto.get(_NUMBER, b"\0")[0])
    if not source or not target or name is None:
        return None
    if name == "icmp":
        identifier = int.from_bytes(proto.get(_ICMP_ID, b"") or proto.get(_ICMPV6_ID, b""), "big")
        ports = (identifier, identifier)
    else:
        ports = (int.from_bytes(proto.get(_SPORT, b""), "big"), int.from_bytes(proto.get(_DPORT, b""), "big"))
    return name, str(ip_address(source)), ports[0], str(ip_address(target)), ports[1]
