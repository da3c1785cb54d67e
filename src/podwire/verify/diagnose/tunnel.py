"""What keeps a vxlan overlay from carrying packets: its entries, its UDP port, its MTU. Pure."""

from __future__ import annotations

from podwire.verify.observation import Lookup, SeenLink, SeenNode
from podwire.verify.values import Aftermath, Finding, Flow, Topology


def _tunnel_link(flow: Flow, aftermath: Aftermath) -> tuple[SeenNode, SeenLink, Lookup] | None:
    lookup, seen = aftermath.lookups.get((flow.source_node, flow.dst)), aftermath.nodes.get(flow.source_node)
    link = seen.network.link(lookup.dev) if lookup is not None and seen is not None else None
    if lookup is None or seen is None or link is None or link.vxlan is None:
        return None
    return seen, link, lookup


def vtep(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    """Neighbour, forwarding entry and device of a vxlan overlay, seen from either end of the flow."""
    back = Flow(
        flow.nonce, flow.kind, flow.proto, flow.size, flow.target, flow.source, flow.target_node, flow.source_node,
        flow.dst, flow.src, flow.port, flow.length, flow.packet,
    )  # fmt: skip
    for each in (flow, back):
        found = _tunnel_link(each, aftermath)
        problem = _vtep_problem(each, topology, found) if found and each.source_node != each.target_node else ""
        if found and problem:
            return Finding(
                "missing-vtep", 2, f"{each.source_node} → {each.target_node}",
                f"{found[1].name} of node {each.source_node} cannot reach {each.target_node}: {problem}",
                f"see podwire wiring {each.source_node} (the agent restores its entries by itself: see its log)",
            )  # fmt: skip
    return None


def _vtep_problem(flow: Flow, topology: Topology, found: tuple[SeenNode, SeenLink, Lookup]) -> str:
    seen, link, lookup = found
    if not link.up:
        return "the device is down"
    hop = lookup.via or flow.dst
    neighbour = next((n for n in seen.network.neighbours if n.dev == link.name and n.address == hop), None)
    if neighbour is None or not neighbour.mac:
        return f"no neighbour entry for {hop}"
    entry = next((e for e in seen.network.fdb if e.dev == link.name and e.mac == neighbour.mac), None)
    if entry is None:
        learns = link.vxlan is not None and link.vxlan.learning
        return "" if learns else f"no forwarding entry (FDB) for {neighbour.mac}"
    status = topology.nodes.get(flow.target_node)
    addresses = {str(address) for address in status.node.addresses} if status else set()
    if addresses and entry.dst not in addresses:
        return f"the forwarding entry of {neighbour.mac} leads to {entry.dst}, not to {' or '.join(sorted(addresses))}"
    return ""


def narrowest(flow: Flow, fits: int, aftermath: Aftermath) -> str:
    """The device on the way, of those on the two nodes, that explains why only *fits* bytes pass; or nothing."""
    for node in (flow.source_node, flow.target_node):
        seen = aftermath.nodes.get(node)
        for link in seen.network.links if seen else ():
            if link.up and fits and link.mtu == fits and link.name != "lo":
                return f"{link.name} on {node} has MTU {link.mtu}"
            overhead = 70 if ":" in (link.vxlan.local if link.vxlan else "") else 50
            carrier = seen.network.link(link.vxlan.underlay) if seen and link.vxlan else None
            if carrier is not None and link.mtu + overhead > carrier.mtu:
                return f"{link.name} on {node} has MTU {link.mtu}, its carrier {carrier.name} only {carrier.mtu}"
    return ""
