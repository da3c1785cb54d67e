"""Netlink's bytes: headers and attributes, packed and unpacked. Pure.

All integers are in the host's byte order, except where a function says big-endian. Messages and attributes are padded
to four bytes, and an attribute's length excludes its padding (``include/uapi/linux/netlink.h``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
MAX_ATTRIBUTE = 0xFFFF


class Request(NamedTuple):
    """A message that asks for something; sequence number and acknowledgement are the socket's business."""

    type: int
    flags: int
    body: bytes


class Message(NamedTuple):
    """A message from the kernel. *port* is that of the socket whose request caused it, 0 for the kernel itself."""

    type: int
    flags: int
    seq: int
    port: int
    body: bytes


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded. ValueError above 65531 bytes of payload: the length field has 16 bits."""
    length = 4 + len(payload)
    if length > MAX_ATTRIBUTE:
        raise ValueError(f"netlink attribute {kind} of {length} bytes exceeds {MAX_ATTRIBUTE}")
    return _ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds *attributes*."""
    return attr(kind | _NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """An 8-bit attribute."""
    return attr(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute."""
    return attr(kind, _U32.pack(value))


def be16(kind: int, value: int) -> bytes:
    """A 16-bit attribute in network byte order (ports)."""
    return attr(kind, value.to_bytes(2, "big"))


def text(kind: int, value: str) -> bytes:
    """A string attribute, ended by a NUL byte."""
    return attr(kind, value.encode() + b"\0")


def attributes(body: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes of *body* from *offset* on, by type without its flag bits; of repeated types the last one.

    Stops where the rest makes no attribute, as the kernel's own parser does.
    """
    return dict(each_attribute(body, offset))


def each_attribute(body: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Like :func:`attributes`, but in order and with repetitions (for lists)."""
    end = len(body)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & _TYPE_MASK, body[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def to_u32(payload: bytes) -> int:
    """The value of a 32-bit attribute."""
    value: int = _U32.unpack_from(payload)[0]
    return value


def to_text(payload: bytes) -> str:
    """The value of a string attribute."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def to_mac(payload: bytes) -> str:
    """A hardware address as ``02:00:5e:00:00:01``; empty when there is none."""
    return payload.hex(":")


def from_mac(mac: str) -> bytes:
    """The six bytes of a MAC address. ValueError when it is none."""
    payload = bytes.fromhex(mac.replace(":", ""))
    if len(payload) != 6:
        raise ValueError(f"{mac!r} is not a MAC address")
    return payload


def pack(request: Request, seq: int, flags: int = 0) -> bytes:
    """The bytes of *request* with *seq* and more *flags*."""
    body = request.body
    length = HEADER.size + len(body)
    header = HEADER.pack(length, request.type, request.flags | NLM_F_REQUEST | flags, seq, 0)
    return header + body + _PADDING[length & 3]


def unpack(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset, end = 0, len(data)
    while offset + HEADER.size <= end:
        length, kind, flags, seq, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > end:
            return
        yield Message(kind, flags, seq, port, data[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def verdict(message: Message) -> tuple[int, str]:
    """The errno (0 when all went well) and the kernel's sentence in an NLMSG_ERROR or NLMSG_DONE message."""
    if len(message.body) < 4:
        return 0, ""
    errno = -int.from_bytes(message.body[:4], "little" if _LITTLE else "big", signed=True)
    if not message.flags & NLM_F_ACK_TLVS:
        return errno, ""
    offset = 4
    if message.type == NLMSG_ERROR:
        asked = _U32.unpack_from(message.body, 4)[0]
        offset += HEADER.size if message.flags & NLM_F_CAPPED else (asked + 3) & ~3
    sentence = attributes(message.body, offset).get(1)
    return errno, to_text(sentence) if sentence else ""


_LITTLE = _U32.pack(1)[0] == 1
