"""Payloads and the decoding of captured frames, held against what the kernel and the RFCs say a packet looks like."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.verify import payload
from podwire.verify.packets import Packet, Tuple5, decode, unwrap

NONCE = "0123456789abcdef"
ETHERNET4 = bytes(12) + b"\x08\x00"
ETHERNET6 = bytes(12) + b"\x86\xdd"


def ipv4(proto: int, body: bytes, *, flags: int = 0x4000, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(body), 1, flags, 64, proto, 0)
    return head + ip_address("10.244.1.5").packed + ip_address("10.244.2.6").packed + options + body


def ipv6(proto: int, body: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(body), proto, 64)
    return head + ip_address("fd00::1:5").packed + ip_address("fd00::2:6").packed + body


def udp(body: bytes, sport: int = 4000, dport: int = 5000) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def tcp(body: bytes, words: int = 8) -> bytes:
    return struct.pack("!HHIIBBHHH", 4000, 5000, 1, 1, words << 4, 0x18, 1000, 0, 0) + bytes(words * 4 - 20) + body


REQUEST = payload.request(NONCE, 128)
PLAIN = Tuple5("udp", "10.244.1.5", 4000, "10.244.2.6", 5000)


def test_a_payload_has_its_length_and_tells_its_nonce() -> None:
    assert len(REQUEST) == 128
    assert payload.nonce_of(REQUEST) == NONCE
    assert payload.length_of(REQUEST[:32]) == 128
    assert payload.intact(REQUEST)


@pytest.mark.parametrize("length", [0, 31, 65537])
def test_a_payload_of_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="payload has"):
        payload.request(NONCE, length)


@pytest.mark.parametrize("nonce", ["", "0123", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef0"])
def test_a_nonce_of_the_wrong_form_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        payload.request(nonce, 64)


@given(st.integers(32, 128), st.integers(0, 7))
@settings(max_examples=60)
def test_any_changed_byte_shows(place: int, bit: int) -> None:
    damaged = bytearray(payload.request(NONCE, 129))
    damaged[place] ^= 1 << bit
    assert not payload.intact(bytes(damaged))
    assert not payload.intact(bytes(damaged[:-1]))


@pytest.mark.parametrize("peer", ["10.244.1.5", "fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"])
def test_a_reply_is_as_long_as_the_request_and_tells_the_peer(peer: str) -> None:
    answer = payload.reply(REQUEST, payload.Seen(peer, 65535, peer))
    assert len(answer) == len(REQUEST)
    assert payload.nonce_of(answer) == NONCE
    assert payload.read_reply(answer) == (peer, 65535, peer)


@pytest.mark.parametrize("data", [b"", REQUEST[:40], b"x" * 128, REQUEST])
def test_what_is_no_reply_is_not_read_as_one(data: bytes) -> None:
    assert payload.read_reply(data) is None


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ETHERNET4 + ipv4(17, udp(REQUEST)), Packet(Tuple5("udp", "10.244.1.5", 4000, "10.244.2.6", 5000), 156, True, NONCE)),
        (ETHERNET4 + ipv4(6, tcp(REQUEST)), Packet(Tuple5("tcp", "10.244.1.5", 4000, "10.244.2.6", 5000), 180, True, NONCE)),
        (
            ETHERNET4 + ipv4(1, struct.pack("!BBHHH", 8, 0, 0, 77, 1) + REQUEST, flags=0),
            Packet(Tuple5("icmp", "10.244.1.5", 77, "10.244.2.6", 77), 156, False, NONCE),
        ),
        (ETHERNET4 + ipv4(17, udp(b"else"), options=bytes(8)), Packet(PLAIN, 40, True, "")),
        (
            ETHERNET6 + ipv6(58, struct.pack("!BBHHH", 129, 0, 0, 77, 1) + REQUEST),
            Packet(Tuple5("icmp", "fd00::1:5", 77, "fd00::2:6", 77), 176, True, NONCE),
        ),
        (
            ETHERNET6 + ipv6(0, bytes((17, 0)) + bytes(6) + udp(REQUEST)),
            Packet(Tuple5("udp", "fd00::1:5", 4000, "fd00::2:6", 5000), 184, True, NONCE),
        ),
        (bytes(12) + b"\x81\x00\x00\x07\x08\x00" + ipv4(17, udp(b"")), Packet(PLAIN, 28, True, "")),
        (ETHERNET4 + ipv4(17, udp(REQUEST), flags=0x2001), None),
        (ETHERNET4 + ipv4(1, struct.pack("!BBHHH", 3, 4, 0, 0, 1400)), None),
        (ETHERNET4 + ipv4(47, bytes(40)), None),
        (bytes(12) + b"\x08\x06" + bytes(28), None),
    ],
    ids=["udp", "tcp", "icmp", "ip options", "icmpv6", "ipv6 options", "vlan", "later fragment", "icmp error", "gre", "arp"],
)  # fmt: skip
def test_frames_are_decoded(frame: bytes, expected: Packet | None) -> None:
    assert decode(frame) == expected


def test_a_frame_cut_at_any_place_is_decoded_or_not_and_never_an_error() -> None:
    for frame in (ETHERNET4 + ipv4(6, tcp(REQUEST)), ETHERNET6 + ipv6(17, udp(REQUEST))):
        whole = decode(frame)
        for length in range(len(frame)):
            cut = decode(frame[:length])
            assert cut is None or (whole is not None and cut.tuple5 == whole.tuple5)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_noise_is_never_an_error(noise: bytes) -> None:
    decode(noise)
    decode(ETHERNET4 + noise)
    decode(ETHERNET6 + noise)
    unwrap(ETHERNET4 + noise)
    payload.nonce_of(noise)
    payload.read_reply(noise)


def test_a_packet_inside_vxlan_is_found_with_the_tunnels_port() -> None:
    inner = ETHERNET4 + ipv4(17, udp(REQUEST))
    outer = ETHERNET4 + ipv4(17, udp(b"\x08\0\0\0" + b"\0\x10\0\0" + inner, dport=4789))
    assert unwrap(outer) == (decode(inner), 4789)
    assert unwrap(inner) is None
    over6 = ETHERNET6 + ipv6(17, udp(b"\x08\0\0\0" + b"\0\x10\0\0" + inner, dport=8472))
    assert unwrap(over6) == (decode(inner), 8472)


def test_a_tuple_turned_round_twice_is_itself() -> None:
    one = Tuple5("tcp", "10.244.1.5", 4000, "10.244.2.6", 5000)
    assert one.reverse == Tuple5("tcp", "10.244.2.6", 5000, "10.244.1.5", 4000)
    assert one.reverse.reverse == one
    assert str(one) == "tcp 10.244.1.5:4000 → 10.244.2.6:5000"
