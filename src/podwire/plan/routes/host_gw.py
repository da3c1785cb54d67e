"""host-gw: a plain route to each peer's pod CIDR, with the peer's own address as the next hop.

Nothing is wrapped, so nothing is lost in speed or MTU; but a next hop must be a neighbour, so every peer has to be on
an L2 segment of this node. A peer that is not is refused by name: routing to it "anyway" would hand pods' packets to a
router that knows nothing of pods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podwire.model.addresses import IPNetwork, contains
from podwire.model.cluster import Node, Underlay
from podwire.model.config import Config
from podwire.model.intent import Cause, Wanted
from podwire.model.kernel import Route
from podwire.plan.result import Finding, PeerPlan
from podwire.plan.underlay import underlay_of


class HostGw:
    """The ``host-gw`` backend."""

    name = "host-gw"
    carries_pod_sources = True

    def overhead(self, version: int) -> int:
        """None: pods' packets travel as they are."""
        return 0

    def device(self, config: Config, node: Node, underlays: Sequence[Underlay]) -> Iterator[Wanted]:
        """Nothing: the underlay's own device carries the packets."""
        return iter(())

    def peer(self, config: Config, me: Node, peer: Node, underlays: Sequence[Underlay]) -> PeerPlan:
        """A route for each of the peer's pod CIDRs, through the peer's address of the same family."""
        cause = Cause("Node", peer.name)
        wanted: list[Wanted] = []
        refusals: list[Finding] = []
        for cidr in peer.pod_cidrs:
            route = _route(cidr, peer, underlays)
            if isinstance(route, Route):
                wanted.append(Wanted(route, cause))
            else:
                refusals.append(Finding(cause, *route))
        return PeerPlan(tuple(wanted), tuple(dict.fromkeys(refusals)))


def _route(cidr: IPNetwork, peer: Node, underlays: Sequence[Underlay]) -> Route | tuple[str, str]:
    """The route, or (what is in the way, what to do)."""
    version = cidr.version
    next_hop = peer.address(version)
    if next_hop is None:
        known = ", ".join(map(str, peer.addresses))
        return (
            f"has no IPv{version} address (it has {known}) to be the next hop for its pod CIDR {cidr}",
            f"give the Node an InternalIP of IPv{version}",
        )
    underlay = underlay_of(underlays, version)
    if underlay is None:
        return (
            f"its pod CIDR {cidr} needs an IPv{version} next hop, and this node has no IPv{version} underlay",
            f"give this node an InternalIP of IPv{version}",
        )
    if not contains(underlay.connected, next_hop):
        subnets = ", ".join(map(str, underlay.connected)) or "none"
        return (
            f"its address {next_hop} is not on an L2 segment of this node ({underlay.device} has: {subnets}), "
            f"so host-gw cannot reach its pod CIDR {cidr}",
            "use backend.type vxlan, or put the nodes on one segment",
        )
    return Route(dst=cidr, dev=underlay.device, via=next_hop)
