"""Captured frames to what matters of them: the 5-tuple, the length, don't-fragment, the nonce. Pure.

Only Ethernet with IPv4 or IPv6 and TCP, UDP or ICMP echo is decoded; anything else, and anything cut short, is None.
An ICMP echo has no ports: its identifier stands in both places, so that one comparison serves all protocols.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from podwire.verify import payload

PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}
_ECHO = {(1, 8): "request", (1, 0): "reply", (58, 128): "request", (58, 129): "reply"}
_VLAN = (0x8100, 0x88A8)
_V6_OPTIONS = (0, 43, 60)


class Tuple5(NamedTuple):
    """Protocol, source and destination of a packet, as text and numbers: what NAT would change."""

    proto: str
    src: str
    sport: int
    dst: str
    dport: int

    @property
    def reverse(self) -> Tuple5:
        return Tuple5(self.proto, self.dst, self.dport, self.src, self.sport)

    def __str__(self) -> str:
        if self.proto == "icmp":
            return f"icmp {self.src} → {self.dst} id {self.sport}"
        left, right = (f"[{a}]" if ":" in a else a for a in (self.src, self.dst))
        return f"{self.proto} {left}:{self.sport} → {right}:{self.dport}"


class Packet(NamedTuple):
    """A decoded packet: *length* is of the IP packet, bytes; *nonce* is empty without one of our payloads."""

    tuple5: Tuple5
    length: int
    dont_fragment: bool
    nonce: str


def decode(frame: bytes) -> Packet | None:
    """Decode an Ethernet frame, possibly cut off behind the headers (a capture's snap length)."""
    try:
        offset, ethertype = 14, struct.unpack_from("!H", frame, 12)[0]
        while ethertype in _VLAN:
            ethertype = struct.unpack_from("!H", frame, offset + 2)[0]
            offset += 4
        if ethertype == 0x0800:
            return _ipv4(frame[offset:])
        if ethertype == 0x86DD:
            return _ipv6(frame[offset:])
    except (struct.error, IndexError, ValueError):  # cut short, which shows in whatever is read next
        pass
    return None


def unwrap(frame: bytes) -> tuple[Packet, int] | None:
    """The packet that a VXLAN datagram (RFC 7348) carries, and the datagram's UDP destination port; None for others.

    Any port is accepted: what counts is VXLAN's header with its one flag, and a packet that decodes behind it.
    """
    try:
        offset = 14 + (frame[14] & 0x0F) * 4 if frame[12:14] == b"\x08\x00" else 54
        proto = frame[23] if frame[12:14] == b"\x08\x00" else frame[20]
        if proto != 17 or frame[offset + 8 : offset + 12] != b"\x08\0\0\0":
            return None
        inner = decode(frame[offset + 16 :])
        return (inner, struct.unpack_from("!H", frame, offset + 2)[0]) if inner else None
    except (struct.error, IndexError):
        return None


def _ipv4(data: bytes) -> Packet | None:
    length, fragment, proto = struct.unpack_from("!H2xHxB", data, 2)
    if fragment & 0x1FFF:  # a later fragment has no ports
        return None
    src, dst = str(IPv4Address(data[12:16])), str(IPv4Address(data[16:20]))
    return _transport(data[(data[0] & 0x0F) * 4 :], proto, src, dst, length, bool(fragment & 0x4000))


def _ipv6(data: bytes) -> Packet | None:
    length, proto = struct.unpack_from("!HB", data, 4)
    src, dst = str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40]))
    offset = 40
    while proto in _V6_OPTIONS:
        proto, words = data[offset], data[offset + 1]
        offset += (words + 1) * 8
    return _transport(data[offset:], proto, src, dst, length + 40, True)


def _transport(data: bytes, proto: int, src: str, dst: str, length: int, df: bool) -> Packet | None:
    name = PROTOCOLS.get(proto)
    if name is None:
        return None
    if name == "icmp":
        if (proto, data[0]) not in _ECHO:
            return None
        sport = dport = struct.unpack_from("!H", data, 4)[0]
        body = data[8:]
    else:
        sport, dport = struct.unpack_from("!HH", data)
        body = data[(data[12] >> 4) * 4 :] if name == "tcp" else data[8:]
    return Packet(Tuple5(name, src, sport, dst, dport), length, df, payload.nonce_of(body[: payload.HEADER]) or "")
