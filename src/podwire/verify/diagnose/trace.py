"""Where on the way a packet is lost: judged by where it was last seen on the two nodes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.verify.values import Aftermath, Finding, Flow, Place, Topology


def lost(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    """The node, or the stretch between two, that drops the request or else the answer of *flow*."""
    trace = aftermath.traces.get((flow.source, flow.dst))
    if trace is None or not trace.request:
        return None
    tunnel = _tunnel_of(flow, aftermath)
    return _lost_on(trace.request, flow.source_node, flow.target_node, tunnel) or (
        _lost_on(trace.answer, flow.target_node, flow.source_node, tunnel) if trace.answer else None
    )


def _tunnel_of(flow: Flow, aftermath: Aftermath) -> tuple[str, int]:
    """Name and UDP port of the vxlan device that the way there leads through; ("", 0) without one."""
    lookup, seen = aftermath.lookups.get((flow.source_node, flow.dst)), aftermath.nodes.get(flow.source_node)
    link = seen.network.link(lookup.dev) if lookup is not None and seen is not None else None
    return (link.name, link.vxlan.port) if link is not None and link.vxlan is not None else ("", 0)


def _lost_on(places: Sequence[Place], one: str, other: str, tunnel: tuple[str, int]) -> Finding | None:
    """What drops a packet on its way from a pod of *one* to a pod of *other*; None when it reaches the pod's device."""
    here = [place for place in places if place.node == one]
    there = [place for place in places if place.node == other]
    if one == other:
        return None if any(place.outgoing for place in here) else _dropped(one, places)
    device, port = tunnel
    if there:
        if not any(not place.port for place in there):
            return _blocked(one, other, there[0].port, f"its datagrams reach {other}, and a rule there drops them")
        return None if any(place.outgoing and not place.port for place in there) else _dropped(other, there)
    left = [place for place in here if place.outgoing]
    if device and any(place.interface == device for place in left) and not any(place.port for place in left):
        return _blocked(one, other, port, f"its datagrams do not leave {one}: a rule there drops them")
    if not left:
        return _dropped(one, here)
    if left[-1].port:
        return _blocked(
            one, other, left[-1].port, f"its datagrams leave {one} and do not reach {other}: dropped in between"
        )
    return Finding(
        "lost-between-nodes", 2, f"{one} → {other}",
        f"pods' packets leave {one} ({left[-1]}) and do not reach {other}, though the nodes reach each other: "
        "the network between them drops pods' addresses",
        "switch off source/destination checks and anti-spoofing there, or use the vxlan backend",
    )  # fmt: skip


def _blocked(one: str, other: str, port: int, how: str) -> Finding:
    return Finding(
        "blocked-vxlan-port", 2, f"{one} → {other}",
        f"UDP port {port} (VXLAN) is blocked from {one} to {other}, though the nodes reach each other: {how}",
        f"let UDP port {port} pass between all nodes: security groups, firewalls, nft on the nodes",
    )  # fmt: skip


def _dropped(node: str, places: Sequence[Place]) -> Finding:
    return Finding(
        "dropped-on-node", 2, node,
        f"node {node} drops pods' packets: last seen {places[-1]}",
        f"look for the rule on {node}: nft list ruleset, iptables-save, rp_filter, a network policy",
    )  # fmt: skip
