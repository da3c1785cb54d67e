"""vxlan: pods' packets travel between nodes inside UDP (RFC 7348), over any underlay that carries UDP.

Nothing is learned and nothing is flooded. Each node has one device and, per peer, three entries::

    route      peer's pod CIDR  via  peer's VTEP address        (which inner next hop)
    neighbour  peer's VTEP address  ->  peer's VTEP MAC         (which inner destination MAC)
    FDB        peer's VTEP MAC  ->  peer's node address         (which outer destination)

The **VTEP address** is the network address of the node's first pod CIDR of a family, which no pod gets; the **VTEP
MAC** is derived from the node's name. So both follow from the Node object, and nobody has to publish anything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from podwire.model.addresses import IPAddress, stable_mac
from podwire.model.cluster import Node, Underlay
from podwire.model.config import Config
from podwire.model.intent import Cause, Wanted
from podwire.model.kernel import VXLAN_LINK, Address, Fdb, Link, Neighbour, Route, Sysctl, Vxlan
from podwire.plan.result import Finding, PeerPlan
from podwire.plan.underlay import carrier

OVERHEAD = {4: 50, 6: 70}
"""Inner Ethernet 14, VXLAN 8, UDP 8, and the outer IP header: 20 bytes for IPv4, 40 for IPv6."""


def vtep_mac(node_name: str) -> str:
    """MAC address of a node's vxlan device."""
    return stable_mac("vtep", node_name)


def vtep_address(node: Node, version: int) -> IPAddress | None:
    """The node's address on its vxlan device, of an IP version: the network address of its first pod CIDR."""
    return next((cidr.network_address for cidr in node.pod_cidrs if cidr.version == version), None)


class VxlanOverlay:
    """The ``vxlan`` backend."""

    name = "vxlan"
    # An underlay may drop packets whose source it does not know: a pod's packet to a node goes under our address.
    carries_pod_sources = False

    def overhead(self, version: int) -> int:
        """Bytes of wrapping on an underlay of IP *version*."""
        return OVERHEAD[version]

    def device(self, config: Config, node: Node, underlays: Sequence[Underlay]) -> Iterator[Wanted]:
        """The device, and this node's VTEP address on it for each family of its pod CIDRs."""
        underlay = carrier(underlays)
        if underlay is None:
            return
        cause = Cause("Node", node.name, detail="vxlan device")
        parameters = config.backend.vxlan
        yield Wanted(
            Link(
                name=VXLAN_LINK,
                type="vxlan",
                mtu=underlay.mtu - OVERHEAD[underlay.address.version],
                mac=vtep_mac(node.name),
                vxlan=Vxlan(parameters.vni, parameters.port, underlay.address, underlay.device),
            ),
            cause,
        )
        # Loose, so that a packet of a peer that has already changed its backend is not taken for a spoofed one.
        yield Wanted(Sysctl(f"net/ipv4/conf/{VXLAN_LINK}/rp_filter", "2"), cause)
        for version in (4, 6):
            own = vtep_address(node, version)
            if own is not None:
                yield Wanted(Address(VXLAN_LINK, ipaddress.ip_interface((own, own.max_prefixlen))), cause)

    def peer(self, config: Config, me: Node, peer: Node, underlays: Sequence[Underlay]) -> PeerPlan:
        """The peer's FDB entry, a neighbour for each family and a route for each pod CIDR."""
        cause = Cause("Node", peer.name)
        underlay = carrier(underlays)
        if underlay is None:
            return PeerPlan()
        version = underlay.address.version
        outer = peer.address(version)
        if outer is None:
            known = ", ".join(map(str, peer.addresses))
            return PeerPlan(
                refusals=(
                    Finding(
                        cause,
                        f"has no IPv{version} address (it has {known}), and this node's tunnel runs over "
                        f"{underlay.address} on {underlay.device}",
                        f"give the Node an InternalIP of IPv{version}",
                    ),
                )
            )
        mac = vtep_mac(peer.name)
        wanted = [Wanted(Fdb(VXLAN_LINK, mac, outer), cause)]
        for inner in (4, 6):
            vtep = vtep_address(peer, inner)
            if vtep is None:
                continue
            wanted.append(Wanted(Neighbour(VXLAN_LINK, vtep, mac), cause))
            wanted.extend(
                Wanted(Route(dst=cidr, dev=VXLAN_LINK, via=vtep, onlink=True), cause)
                for cidr in peer.pod_cidrs
                if cidr.version == inner
            )
        return PeerPlan(tuple(wanted))
