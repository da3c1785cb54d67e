"""Routed wirings for tests that need one and do not test the plan."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

from podwire.model.addresses import V4_GATEWAY, V6_GATEWAY, host_network, stable_mac
from podwire.model.attachment import AttachmentKey
from podwire.model.kernel import Neighbour, Route
from podwire.model.wiring import PodWiring


def routed(number: int, *, ipv6: bool = False, mtu: int = 1450, ifname: str = "eth0") -> PodWiring:
    """The wiring of pod *number* (1 to 65535): 10.244.x.y, and fd00:10:244::n with *ipv6*."""
    name = AttachmentKey("podwire", f"container-{number}", ifname).host_ifname
    host_mac, mac = stable_mac("host", name), stable_mac("pod", name)
    addresses = [ip_interface(f"10.244.{number >> 8}.{number & 255}/32")]
    gateways = [V4_GATEWAY]
    conf: tuple[tuple[int, str, int], ...] = ((4, "proxy_arp", 1), (4, "forwarding", 1), (4, "rp_filter", 2))
    pod_routes = [
        Route(host_network(V4_GATEWAY), dev=ifname),
        Route(ip_network("0.0.0.0/0"), dev=ifname, via=V4_GATEWAY, onlink=True),
    ]
    pod_neighbours = [Neighbour(ifname, gateways[0], host_mac)]
    if ipv6:
        addresses.append(ip_interface(f"fd00:10:244::{number:x}/128"))
        conf += ((6, "forwarding", 1), (6, "accept_ra", 0))
        pod_routes += [
            Route(host_network(V6_GATEWAY), dev=ifname),
            Route(ip_network("::/0"), dev=ifname, via=V6_GATEWAY, onlink=True),
        ]
        pod_neighbours.append(Neighbour(ifname, V6_GATEWAY, host_mac))
    return PodWiring(
        host_ifname=name,
        host_mac=host_mac,
        ifname=ifname,
        mac=mac,
        mtu=mtu,
        addresses=tuple(addresses),
        pod_routes=tuple(pod_routes),
        pod_neighbours=tuple(pod_neighbours),
        host_routes=tuple(Route(host_network(iface.ip), dev=name) for iface in addresses),
        host_neighbours=tuple(Neighbour(name, iface.ip, mac) for iface in addresses),
        host_conf=conf,
        pod_conf=((6, "accept_ra", 0),) if ipv6 else (),
    )
