"""Routed wiring: what both ends of a pod's veth pair get, for one family and for two."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import msgspec

from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.kernel import Neighbour, Route
from podwire.plan.wiring import cause_of, pod_wiring, unfinished, wanted

KEY = AttachmentKey("podwire", "abc123", "eth0")
HOST = KEY.host_ifname


def attachment(*addresses: str, state: str = "ready", pod: PodRef | None = None) -> Attachment:
    made = Attachment(
        key=KEY,
        netns="/run/netns/a",
        netns_inode=7,
        addresses=tuple(ip_interface(text) for text in addresses),
        mac="02:00:00:00:00:01",
        host_mac="02:00:00:00:00:02",
        mtu=1450,
        created_at=0.0,
        pod=pod,
    )
    return msgspec.structs.replace(made, state=state)


def test_pod_side_of_ipv4() -> None:
    wiring = pod_wiring(attachment("10.244.1.5/24"))
    assert wiring.addresses == (ip_interface("10.244.1.5/32"),), "an on-link /24 would make the pod ARP for its peers"
    assert wiring.pod_routes == (
        Route(dst=ip_network("169.254.1.1/32"), dev="eth0"),
        Route(dst=ip_network("0.0.0.0/0"), dev="eth0", via=ip_address("169.254.1.1"), onlink=True),
    )
    assert wiring.pod_neighbours == (Neighbour("eth0", ip_address("169.254.1.1"), "02:00:00:00:00:02"),)
    assert wiring.mtu == 1450


def test_host_side_of_ipv4() -> None:
    wiring = pod_wiring(attachment("10.244.1.5/32"))
    assert wiring.host_ifname == HOST and len(HOST) == 13 and HOST.startswith("pw")
    assert wiring.host_routes == (Route(dst=ip_network("10.244.1.5/32"), dev=HOST),)
    assert wiring.host_neighbours == (Neighbour(HOST, ip_address("10.244.1.5"), "02:00:00:00:00:01"),)
    conf = set(wiring.host_conf)
    assert {(4, "forwarding", 1), (4, "proxy_arp", 1), (4, "rp_filter", 1)} <= conf
    assert (6, "accept_ra", 0) in conf, "a pod could advertise itself as the node's router"
    assert (6, "forwarding", 1) not in conf, "no IPv6 pod, no IPv6 forwarding"


def test_both_families() -> None:
    wiring = pod_wiring(attachment("10.244.1.5/32", "fd00:1::5/128"))
    assert wiring.addresses == (ip_interface("10.244.1.5/32"), ip_interface("fd00:1::5/128"))
    assert [str(route.dst) for route in wiring.pod_routes] == ["169.254.1.1/32", "0.0.0.0/0", "fe80::1/128", "::/0"]
    assert wiring.pod_routes[-1].via == ip_address("fe80::1")
    assert [str(route.dst) for route in wiring.host_routes] == ["10.244.1.5/32", "fd00:1::5/128"]
    assert (6, "accept_dad", 0) in wiring.pod_conf and (6, "addr_gen_mode", 1) in wiring.pod_conf


def test_wanted_names_the_pod() -> None:
    pod = PodRef("shop", "web-0", "u1")
    elements = list(wanted(attachment("10.244.1.5/32", pod=pod)))
    wiring = pod_wiring(attachment("10.244.1.5/32"))
    assert {element.value for element in elements} == {*wiring.host_routes, *wiring.host_neighbours}
    assert {str(element.cause) for element in elements} == {"Pod shop/web-0 (eth0)"}


def test_an_attachment_without_a_pod_is_named_by_its_key() -> None:
    assert str(cause_of(attachment("10.244.1.5/32"))) == "Attachment podwire/abc123/eth0"


def test_unfinished_keeps_only_what_an_add_is_making() -> None:
    making, done = attachment("10.244.1.5/32", state="allocated"), attachment("10.244.1.5/32")
    route, foreign = Route(dst=ip_network("10.244.1.5/32"), dev=HOST), Route(dst=ip_network("10.0.0.0/8"), dev="eth0")
    assert unfinished([making])(route)
    assert not unfinished([making])(foreign)
    assert not unfinished([done])(route)
