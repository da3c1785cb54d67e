"""Netlink's bytes: what is packed is what is read back, and damaged bytes never hang or crash the reader."""

from __future__ import annotations

import errno
import os
import struct
from ipaddress import ip_address, ip_interface, ip_network
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.drivers.netlink import address, link, neighbour, route, vxlan, wire
from podwire.drivers.netlink.wire import Message, Request
from podwire.model.addresses import IPAddress
from podwire.model.kernel import ROUTE_PROTOCOL, Route, Vxlan

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
MANY = settings(max_examples=2000 if FULL else 100, deadline=None)

payloads = st.binary(max_size=40)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))


def answer(request: Request) -> Message:
    """A request's body as the kernel would send it back."""
    return Message(request.type, 0, 1, 0, request.body)


@MANY
@given(st.lists(st.tuples(st.integers(1, 0x3FFF), payloads), unique_by=lambda pair: pair[0]))
def test_attributes_come_back(pairs: list[tuple[int, bytes]]) -> None:
    body = b"".join(wire.attr(kind, payload) for kind, payload in pairs)
    assert wire.attributes(body) == dict(pairs)
    assert len(body) % 4 == 0
    ((kind, inner),) = wire.each_attribute(wire.nested(7, body))
    assert (kind, wire.attributes(inner)) == (7, dict(pairs))


@MANY
@given(st.binary(max_size=200))
def test_garbage_ends_the_reading(data: bytes) -> None:
    list(wire.each_attribute(data))
    for message in wire.unpack(data):
        wire.verdict(message)


@MANY
@given(st.binary(min_size=16, max_size=120))
def test_a_decoder_takes_any_attributes(data: bytes) -> None:
    """Attributes may be missing or unknown; those of a wrong size are the kernel's to send, and fail cleanly."""
    for decode in (link.decode, route.decode, neighbour.decode, address.decode):
        try:
            decode(Message(0, 0, 0, 0, data))
        except (ValueError, KeyError, struct.error, IndexError):
            pass


def test_several_messages_in_one_datagram() -> None:
    requests = [Request(16, 0, b"abc"), Request(17, 2, b""), Request(18, 0, b"x" * 13)]
    data = b"".join(wire.pack(request, seq) for seq, request in enumerate(requests))
    found = list(wire.unpack(data))
    assert [(m.type, m.seq, m.body) for m in found] == [(16, 0, b"abc"), (17, 1, b""), (18, 2, b"x" * 13)]
    assert all(message.flags & wire.NLM_F_REQUEST for message in found)


def test_an_attribute_that_does_not_fit_is_refused() -> None:
    wire.attr(1, b"x" * 65531)
    with pytest.raises(ValueError, match="exceeds 65535"):
        wire.attr(1, b"x" * 65532)


@pytest.mark.parametrize("capped", [True, False])
def test_a_refusal_tells_errno_and_sentence(capped: bool) -> None:
    asked = wire.pack(Request(24, 0, b"body"), 5)
    echoed = asked[: wire.HEADER.size] if capped else asked
    body = struct.pack("=i", -errno.ENETUNREACH) + echoed + wire.text(1, "Nexthop has invalid gateway")
    flags = wire.NLM_F_ACK_TLVS | (wire.NLM_F_CAPPED if capped else 0)
    verdict = wire.verdict(Message(wire.NLMSG_ERROR, flags, 5, 0, body))
    assert verdict == (errno.ENETUNREACH, "Nexthop has invalid gateway")
    assert wire.verdict(Message(wire.NLMSG_ERROR, 0, 5, 0, struct.pack("=i", 0) + echoed)) == (0, "")


@pytest.mark.parametrize("mac", ["", "02:00", "02:00:00:00:00:00:00", "zz:00:00:00:00:00"])
def test_what_is_no_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError):
        wire.from_mac(mac)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    addr = draw(addresses)
    dst = ip_network((addr, draw(st.integers(0, addr.max_prefixlen))), strict=False)
    kind: Literal["unicast", "blackhole", "unreachable"] = draw(
        st.sampled_from(["unicast", "blackhole", "unreachable"])
    )
    unicast = kind == "unicast"
    via = draw(st.none() | addresses) if unicast else None
    if via is not None and (via.version, dst.version) == (4, 6):
        via = None  # there is no IPv6 destination behind an IPv4 next hop
    return Route(
        dst=dst,
        dev="eth0" if unicast else None,
        via=via,
        src=draw(st.none() | st.ip_addresses(v=dst.version)) if unicast else None,
        onlink=bool(via and draw(st.booleans())),
        type=kind,
        metric=draw(st.integers(0, 2**32 - 1).filter(lambda metric: metric != 1024)),
        table=draw(st.integers(1, 2**32 - 1)),
    )


@MANY
@given(routes(), st.integers(1, 2**31 - 1))
def test_a_route_comes_back(planned: Route, index: int) -> None:
    info = route.decode(answer(route.put(planned, index if planned.dev else 0)))
    assert (info.dst, info.via, info.src, info.metric) == (planned.dst, planned.via, planned.src, planned.metric)
    assert (info.table, info.type, info.onlink) == (planned.table, planned.type, planned.onlink)
    assert (info.protocol, info.index) == (ROUTE_PROTOCOL, index if planned.dev else 0)
    assert info.link_scope == (planned.via is None and planned.type == "unicast")


@MANY
@given(addresses, macs, st.integers(1, 2**31 - 1))
def test_neighbours_and_forwarding_entries_come_back(addr: IPAddress, mac: str, index: int) -> None:
    info = neighbour.decode(answer(neighbour.put(index, addr, mac)))
    assert (info.index, info.address, info.mac, info.permanent, info.fdb) == (index, addr, mac, True, False)
    assert info.protocol == ROUTE_PROTOCOL
    entry = neighbour.decode(answer(neighbour.put_fdb(index, mac, addr)))
    assert (entry.index, entry.address, entry.mac, entry.fdb) == (index, addr, mac, True)


@MANY
@given(addresses, st.integers(0, 32), st.integers(1, 2**31 - 1))
def test_an_address_comes_back(addr: IPAddress, length: int, index: int) -> None:
    iface = ip_interface((addr, length))
    info = address.decode(answer(address.put(index, iface)))
    assert (info.index, info.address, info.usable) == (index, iface, True)


@MANY
@given(st.integers(1, 2**24 - 1), st.integers(1, 65535), addresses, st.sampled_from([None, "eth0"]))
def test_vxlan_parameters_come_back(vni: int, port: int, local: IPAddress, underlay: str | None) -> None:
    parameters = Vxlan(vni, port, local, underlay)
    data = wire.attributes(b"".join(vxlan.encode(parameters, 3 if underlay else 0)))
    assert vxlan.decode(data, {3: "eth0"}) == parameters
    assert vxlan.decode({**data, 7: b"\x01"}, {3: "eth0"}) is None, "learning is on"
    assert vxlan.decode({**data, 2: b"\xef\x00\x00\x01"}, {3: "eth0"}) is None, "it floods to a group"


def test_a_link_message_comes_back() -> None:
    request = link.create(
        "pwvxlan", "vxlan", "02:00:00:00:00:01", 1450, vxlan.encode(Vxlan(1, 2, ip_address("::1")), 0)
    )
    info = link.decode(answer(request))
    assert (info.name, info.kind, info.mac, info.mtu, info.up) == ("pwvxlan", "vxlan", "02:00:00:00:00:01", 1450, False)


def test_an_unknown_ipv4_setting_is_a_bug() -> None:
    with pytest.raises(KeyError):
        link.configure(3, conf4={"no_such": 1})
