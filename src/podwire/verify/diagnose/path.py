"""Why packets do not get from one node's pod to another's: nodes, routes, forwarding. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from podwire.verify.diagnose import trace, tunnel
from podwire.verify.observation import Lookup
from podwire.verify.values import Aftermath, Finding, Flow, Judged, Topology


def explain(each: Judged, topology: Topology, aftermath: Aftermath) -> Finding:
    """The first cause that the nodes' observations show for a flow that failed."""
    flow = each.flow
    steps = (
        [_cut_off, _routes, _local_route, _forwarding, tunnel.vtep, trace.lost]
        if flow.kind == "pod"
        else [_local_route, _forwarding]
    )
    for step in steps:
        finding = step(flow, topology, aftermath)
        if finding is not None:
            return Finding(
                finding.code,
                finding.guarantee,
                finding.where,
                finding.sentence,
                finding.remedy,
                (*finding.evidence, f"{flow.name}: {each.sentence}"),
            )
    return _unexplained(each)


def _guarantee(flow: Flow) -> int:
    return 3 if flow.kind == "node" else 2


def _cut_off(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    one, other = flow.source_node, flow.target_node
    if aftermath.reachable.get((one, other), True) or aftermath.reachable.get((other, one), True):
        return None
    nodes = {node for pair in aftermath.reachable for node in pair}
    for node, rest in ((other, one), (one, other)):
        links = [passed for pair, passed in aftermath.reachable.items() if node in pair]
        healthy = any(passed for pair, passed in aftermath.reachable.items() if rest in pair and node not in pair)
        if links and not any(links) and (healthy or len(nodes) == 2):
            where = node if healthy else f"{one} ↔ {other}"
            sentence = f"node {node} is cut off" if healthy else f"the nodes {one} and {other} do not reach each other"
            return Finding(
                "node-cut-off", 2, where, f"{sentence}: not even the nodes' own addresses answer",
                "check the node's uplink, its switch port and its address; the pod network cannot work without it",
            )  # fmt: skip
    sentence = f"the nodes {one} and {other} do not reach each other on their own addresses"
    return Finding(
        "node-cut-off",
        2,
        f"{one} ↔ {other}",
        sentence,
        "check the network between the two nodes: routes, firewalls, cables",
    )


def _routes(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    """The way there at the sender's node, and the way back at the receiver's."""
    if flow.source_node == flow.target_node:
        return None
    ways = ((flow.source_node, flow.dst, flow.target_node), (flow.target_node, flow.src, flow.source_node))
    for node, address, owner in ways:
        lookup = aftermath.lookups.get((node, address))
        if lookup is None:
            continue
        cidr = _cidr(address, owner, topology)
        if lookup.error or (lookup.default and _others_are_routed(node, owner, topology, aftermath)):
            how = f"{lookup.type} {lookup.matched}".strip() if lookup.error and lookup.matched else ""
            goes = f"“{how}” refuses them" if how and not lookup.default else f"packets follow {_way(lookup)}"
            if lookup.error and not lookup.matched:
                goes = f"the kernel says {lookup.error}"
            return Finding(
                "missing-route", 2, f"{node}: {cidr}",
                f"node {node} has no route to {cidr}, the pods of {owner}: {goes}",
                f"restore the route; podwire's agent on {node} does so by itself: see its log, and podwire wiring {node}",
            )  # fmt: skip
        elsewhere = _leads_elsewhere(lookup, owner, topology)
        if elsewhere:
            return Finding(
                "wrong-route", 2, f"{node}: {cidr}",
                f"node {node} sends packets for {cidr}, the pods of {owner}, to {elsewhere} ({_way(lookup)})",
                f"correct the route on {node}: its next hop must be {owner}",
            )  # fmt: skip
    return None


def _cidr(address: str, node: str, topology: Topology) -> str:
    """The pod CIDR of *node* that holds *address*, else the address itself."""
    ip, status = ip_address(address), topology.nodes.get(node)
    for cidr in status.node.pod_cidrs if status else ():
        if cidr.version == ip.version and ip in cidr:
            return str(cidr)
    return address


def _way(lookup: Lookup) -> str:
    route = "the default route" if lookup.default else f"the route {lookup.matched}"
    return route + (f" via {lookup.via}" if lookup.via else "") + (f" dev {lookup.dev}" if lookup.dev else "")


def _others_are_routed(node: str, owner: str, topology: Topology, aftermath: Aftermath) -> bool:
    """Whether nodes here have routes for each other's pods, so that following the default route is a fault.

    On clouds whose fabric knows the pods' addresses the default route is right, and no node has such routes.
    """
    for name, seen in aftermath.nodes.items():
        for status in topology.nodes.values():
            if status.node.name == name or (name, status.node.name) == (node, owner):
                continue
            cidrs = {str(cidr) for cidr in status.node.pod_cidrs}
            if any(route.dst in cidrs for route in seen.network.routes):
                return True
    return False


def _leads_elsewhere(lookup: Lookup, owner: str, topology: Topology) -> str:
    if not lookup.via:
        return ""
    via = ip_address(lookup.via)
    for name, status in topology.nodes.items():
        theirs = via in status.node.addresses or any(
            via.version == cidr.version and via in ip_network(cidr) for cidr in status.node.pod_cidrs
        )
        if theirs:
            return "" if name == owner else f"node {name}"
    return ""


def _local_route(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    """The last hop: the receiver's node to the pod, and the sender's node back to its own."""
    for node, address in ((flow.target_node, flow.dst), (flow.source_node, flow.src)):
        lookup = aftermath.lookups.get((node, address)) if address else None
        seen = aftermath.nodes.get(node)
        if lookup is None or seen is None:
            continue
        owner = flow.target if address == flow.dst else flow.source
        link = seen.network.link(lookup.dev)
        uplinks = {route.dev for route in seen.network.routes if route.default}
        if lookup.error or lookup.default or lookup.dev in uplinks or (link is not None and link.kind == "vxlan"):
            return Finding(
                "missing-route", _guarantee(flow), f"{node}: {address}",
                f"node {node} has no route to its own pod {owner} ({address}): "
                + (f"the kernel says {lookup.error}" if lookup.error else f"packets follow {_way(lookup)}"),
                f"restore the pod's route on {node} (podwire's agent does so by itself: see its log)",
            )  # fmt: skip
    return None


def _forwarding(flow: Flow, topology: Topology, aftermath: Aftermath) -> Finding | None:
    path = "net/ipv6/conf/all/forwarding" if ":" in flow.dst else "net/ipv4/ip_forward"
    for node in (flow.source_node, flow.target_node):
        seen = aftermath.nodes.get(node)
        if seen is not None and seen.network.sysctls.get(path) == "0":
            setting = path.replace("/", ".")
            return Finding(
                "forwarding-off", 2, node, f"node {node} forwards no packets: {setting} is 0", f"sysctl -w {setting}=1"
            )
    return None


def _unexplained(each: Judged) -> Finding:
    flow = each.flow
    where = f"{flow.source_node} → {flow.target_node}" if flow.source_node != flow.target_node else flow.source_node
    known = "the request reaches the pod, the answer is lost" if each.outcome == "one-way" else "the request is lost"
    if each.outcome == "damaged":
        known = "packets arrive damaged"
    return Finding(
        "unexplained", _guarantee(flow), where,
        f"{flow.proto.upper()} fails on {where}: {known}; routes, forwarding and tunnel entries look right",
        "look for firewall rules or a network policy on the way (nft list ruleset on both nodes, counters)",
        (f"{flow.name}: {each.sentence}",),
    )  # fmt: skip
