"""The bytes that every flow carries: a nonce that survives any rewriting of headers, a length, and known padding.

A payload is a 32-byte header, ``pwv:`` + 16 hexadecimal digits of nonce + ``:`` + the payload's length in ten decimal
digits + newline, and a fill up to that length. A request's fill is a pattern that follows from the nonce; a reply has
the request's header and length, and its fill is what the receiver saw: ``peer address``, ``port``, ``own address``.
"""

from __future__ import annotations

from typing import NamedTuple

MAGIC = b"pwv:"
HEADER = 32
SMALL = 128
"""Payload of a small flow, bytes: room for the header and the longest reply (two IPv6 addresses and a port)."""
_SLACK = 64 * 1024


class Seen(NamedTuple):
    """What a receiver saw of a request: the peer's address and port, and the address that it was sent to."""

    peer: str
    port: int
    own: str


def nonce_of(payload: bytes) -> str | None:
    """The nonce of a payload (at least its header), or None for somebody else's bytes."""
    if len(payload) < HEADER or not payload.startswith(MAGIC) or payload[20:21] != b":" or payload[31:32] != b"\n":
        return None
    text = payload[4:20]
    return text.decode("ascii") if all(byte in b"0123456789abcdef" for byte in text) else None


def length_of(header: bytes) -> int | None:
    """The payload length that a header announces, at most 64 KiB; None when it is no header of ours."""
    if nonce_of(header) is None or not header[21:31].isdigit():
        return None
    length = int(header[21:31])
    return length if HEADER <= length <= _SLACK else None


def request(nonce: str, length: int) -> bytes:
    """A request of exactly *length* bytes (32 to 65,536)."""
    if not HEADER <= length <= _SLACK:
        raise ValueError(f"a payload has {HEADER} to {_SLACK} bytes, not {length}")
    head = MAGIC + nonce.encode("ascii") + b":%010d\n" % length
    if nonce_of(head) is None:
        raise ValueError(f"a nonce is 16 hexadecimal digits, not {nonce!r}")
    pattern = nonce.encode("ascii")
    return head + (pattern * ((length - HEADER) // len(pattern) + 1))[: length - HEADER]


def intact(payload: bytes) -> bool:
    """Whether a received request is whole and byte for byte what its nonce and length say."""
    nonce, length = nonce_of(payload), length_of(payload[:HEADER])
    return nonce is not None and length == len(payload) and payload == request(nonce, length)


def reply(received: bytes, seen: Seen) -> bytes:
    """The answer to a request: same header, same length, so that the way back is tried at the same size."""
    fill = f"{seen.peer} {seen.port} {seen.own}\n".encode("ascii")
    return received[:HEADER] + fill.ljust(len(received) - HEADER, b" ")[: max(0, len(received) - HEADER)]


def read_reply(payload: bytes) -> Seen | None:
    """What the receiver says that it saw; None when the reply is cut short or not ours."""
    if nonce_of(payload) is None or length_of(payload[:HEADER]) != len(payload):
        return None
    fields = payload[HEADER:].decode("ascii", "replace").split()
    if len(fields) != 3 or not fields[1].isdigit():
        return None
    return Seen(fields[0], int(fields[1]), fields[2])
