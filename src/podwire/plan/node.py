"""What a node's plan is made of: its base, and one part for each peer and each attachment.

A part depends on this node, the underlay and its own object alone; so a change of one object makes one part anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podwire.model.addresses import IPNetwork, contains
from podwire.model.cluster import Node, Underlay
from podwire.model.config import Config
from podwire.model.errors import InputError
from podwire.model.intent import Cause, Wanted
from podwire.model.kernel import Route, Sysctl
from podwire.plan import nat
from podwire.plan.claims import Claims
from podwire.plan.mtu import path_mtu
from podwire.plan.result import Finding, PeerPlan
from podwire.plan.routes import backend_of

UNREACHABLE_METRIC = 9999
"""Behind every route that somebody means: taken only where there is none."""

_WHO_GIVES_CIDRS = "is podwire's controller (or kube-controller-manager) running?"


def base(config: Config, me: Node, underlays: Sequence[Underlay]) -> Iterator[Wanted]:
    """What the node needs whatever its peers: forwarding, the backend's device, masquerade, and routes that fail closed."""
    cause = Cause("Node", me.name)
    versions = {net.version for net in nat.pod_networks(config, me)}
    if 4 in versions:
        yield Wanted(Sysctl("net/ipv4/ip_forward", "1"), cause)
    if 6 in versions:
        yield Wanted(Sysctl("net/ipv6/conf/all/forwarding", "1"), cause)
    # An address of the cluster that no pod has, or whose tunnel is gone, must not follow the default route in clear, nor
    # come back from a router in a circle.
    for cidr in dict.fromkeys(nat.pod_networks(config, me)):
        yield _closed(cidr, Cause("Config", "cluster.podCidrs"))
    yield from backend_of(config).device(config, me, underlays)
    yield from nat.table(config, me)


def warnings(config: Config, name: str, me: Node | None, underlays: Sequence[Underlay]) -> Iterator[Finding]:
    """What this node itself lacks."""
    about = Cause("Node", name)
    if me is None:
        yield Finding(about, "is not in the cluster's list of nodes", "check node.name in the configuration")
        return
    if not me.pod_cidrs:
        yield Finding(about, "has no pod CIDR yet", _WHO_GIVES_CIDRS)
    for cidr in me.pod_cidrs:
        if not nat.within(cidr, config.pod_networks):
            shown = ", ".join(config.cluster.pod_cidrs)
            yield Finding(
                about,
                f"its pod CIDR {cidr} lies outside the cluster's ({shown})",
                "set cluster.podCidrs to what is in use",
            )
    if not underlays:
        shown = ", ".join(map(str, me.addresses)) or "none"
        yield Finding(
            about,
            f"no device here holds any of its addresses ({shown})",
            "set node.addressCidrs, or mend the Node's status",
        )
        return
    try:
        largest = path_mtu(config, underlays)
    except InputError as error:
        yield Finding(about, error.message, error.remedy)
        return
    if config.mtu > largest:
        yield Finding(
            about,
            f"mtu {config.mtu} is more than {config.backend.type} carries over this underlay ({largest}): "
            "full-sized packets to other nodes are lost",
            f"set mtu to 0 or {largest}, or raise the underlay's",
        )


def peer(config: Config, me: Node, other: Node, underlays: Sequence[Underlay], claims: Claims) -> PeerPlan:
    """What *other* needs here; nothing, with the reason, where it clashes with somebody or lacks something."""
    about = Cause("Node", other.name)
    clashes = tuple(
        Finding(
            about, f"{ours} clashes with {theirs} of node {name}", "give each node addresses and pod CIDRs of its own"
        )
        for ours, theirs, name in claims.clashes(other)
    )
    known = nat.cluster_networks(config, me)
    clashes += tuple(
        Finding(about, f"its pod CIDR {cidr} holds all of {net} and more", "set cluster.podCidrs to what is in use")
        for cidr in other.pod_cidrs
        if (net := nat.engulfed(cidr, known)) is not None
    )
    if clashes:
        return PeerPlan(refusals=clashes)
    if not other.addresses:
        return PeerPlan(refusals=(Finding(about, "has no address", "wait for its kubelet to report an InternalIP"),))
    backend = backend_of(config)
    neighbours = [addr for addr in other.addresses if any(contains(lay.connected, addr) for lay in underlays)]
    spared = tuple(nat.spared(config, me, other, neighbours if backend.carries_pod_sources else ()))
    if not other.pod_cidrs:
        return PeerPlan(spared, (Finding(about, "has no pod CIDR yet", _WHO_GIVES_CIDRS),))
    made = backend.peer(config, me, other, underlays)
    # Within the cluster's CIDRs the base fails closed for all; what lies outside needs it of its own.
    pods = nat.pod_networks(config, me)
    closed = tuple(_closed(cidr, about) for cidr in other.pod_cidrs if not nat.within(cidr, pods))
    return PeerPlan(made.wanted + closed + spared, made.refusals)


def _closed(cidr: IPNetwork, cause: Cause) -> Wanted:
    return Wanted(Route(dst=cidr, type="unreachable", metric=UNREACHABLE_METRIC), cause)
