"""``podwire wiring``: what a node's or a pod's observation looks like as a tree, with what is wrong in it marked. Pure.

Short by default: what belongs to the pod or makes the pod network; *verbose* shows everything that was observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from podwire.model.errors import InputError
from podwire.model.kernel import LINK_PREFIX
from podwire.verify import observation as seen
from podwire.verify.wiring.pod import attachment_branch, rules_branch, touching, wrongs
from podwire.verify.wiring.tree import Branch, cut, render, route_text, traffic

__all__ = ["Branch", "node_tree", "pod_tree", "read", "render", "touching"]


def read(observed: dict[str, Any]) -> seen.SeenNode:
    """The agent's answer (:func:`podwire.verify.observe.observe_node`) as values."""
    try:
        return msgspec.convert(observed, seen.SeenNode)
    except msgspec.ValidationError as error:
        raise InputError(
            "observation", None, f"cannot be read: {error}", remedy="is the agent as old as this podwire?"
        ) from None


def node_tree(node: seen.SeenNode, verbose: bool = False) -> Branch:
    """The whole node: uplinks, tunnel, peers, routes by owner, pods, rules."""
    network = node.network
    children = [
        *_uplinks(network),
        *(_vxlan(network, link, verbose) for link in network.links if link.kind == "vxlan"),
        _routes(network, verbose),
        _pods(node, verbose),
        rules_branch(node, _ours_or_all(node, verbose)),
        *_forwarding(network),
    ]
    return Branch(node.node, f"namespace {network.netns}", tuple(children))


def pod_tree(node: seen.SeenNode, pod: str, verbose: bool = False) -> Branch:
    """One pod (``namespace/name``), from its eth0 outwards. InputError when it has no attachment here."""
    chosen = [each for each in node.attachments if each.pod == pod]
    if not chosen:
        known = ", ".join(sorted(each.pod for each in node.attachments)[:5]) or "no pod at all"
        raise InputError("pod", pod, f"has no attachment on {node.node}", remedy=f"this node has {known}")
    branches = [attachment_branch(node, each, verbose) for each in chosen]
    return branches[0] if len(branches) == 1 else Branch(pod, f"on {node.node}", tuple(branches))


def _uplinks(network: seen.SeenNamespace) -> Iterable[Branch]:
    defaults = {route.dev: route for route in network.routes if route.default}
    for link in network.links:
        if link.name == "lo" or link.kind == "vxlan" or link.name.startswith(LINK_PREFIX):
            continue
        own = [
            address.address for address in network.addresses if address.dev == link.name and not _link_local(address.ip)
        ]
        if not own or (link.kind == "veth" and link.name not in defaults and not link.up):
            continue
        way = f", default via {defaults[link.name].via}" if link.name in defaults else ""
        yield Branch(link.name, f"{', '.join(own)}, MTU {link.mtu}{way}", wrong="" if link.up else "it is down")


def _vxlan(network: seen.SeenNamespace, link: seen.SeenLink, verbose: bool) -> Branch:
    assert link.vxlan is not None
    peers = []
    for route in network.routes:
        if route.dev != link.name or not route.via:
            continue
        neighbour = next((n for n in network.neighbours if n.dev == link.name and n.address == route.via), None)
        entry = next((e for e in network.fdb if neighbour and e.dev == link.name and e.mac == neighbour.mac), None)
        if neighbour is None or not neighbour.mac:
            peers.append(Branch(route.dst, f"via {route.via}", wrong="no neighbour entry for its VTEP"))
        elif entry is None and not link.vxlan.learning:
            peers.append(Branch(route.dst, f"via {route.via} ({neighbour.mac})", wrong="no FDB entry for its VTEP"))
        else:
            node = entry.dst if entry else "wherever it was learned"
            peers.append(Branch(route.dst, f"via {route.via} → {neighbour.mac} → node {node}"))
    carrier = network.link(link.vxlan.underlay)
    about = f"VXLAN, VNI {link.vxlan.vni}, UDP port {link.vxlan.port}, over {link.vxlan.underlay or 'any device'}, MTU {link.mtu}"
    overhead = 70 if ":" in link.vxlan.local else 50
    wrong = "" if link.up else "it is down"
    if carrier is not None and link.mtu + overhead > carrier.mtu:
        wrong = f"MTU {link.mtu} and {overhead} bytes of VXLAN do not fit {carrier.name}'s {carrier.mtu}"
    return Branch(link.name, about + traffic(link), cut(peers, verbose), wrong)


def _routes(network: seen.SeenNamespace, verbose: bool) -> Branch:
    """Main table, grouped by who wrote them."""
    groups: dict[str, list[seen.SeenRoute]] = {}
    for route in network.routes:
        multicast = route.dst.startswith(("ff00:", "fe80:")) or route.type in ("multicast", "broadcast")
        if route.table == seen.MAIN_TABLE and not multicast:
            groups.setdefault(seen.protocol_name(route.protocol), []).append(route)
    order = sorted(groups, key=lambda owner: (owner != "podwire", owner))
    children = []
    for owner in order:
        lines = [Branch(route_text(route)) for route in sorted(groups[owner], key=lambda route: _by_network(route.dst))]
        children.append(
            Branch(owner, f"{len(lines)}", cut(lines, verbose or (owner == "podwire" and len(lines) <= 16)))
        )
    return Branch("routes", "by who wrote them", tuple(children))


def _by_network(text: str) -> tuple[int, int, int]:
    network = ip_network(text)
    return network.version, int(network.network_address), network.prefixlen


def _pods(node: seen.SeenNode, verbose: bool) -> Branch:
    lines = []
    for each in sorted(node.attachments, key=lambda each: each.pod):
        wrong = each.problem or "; ".join(wrongs(node, each))
        addresses = ", ".join(address.partition("/")[0] for address in each.addresses)
        lines.append(Branch(each.pod, f"{addresses}, {each.ifname} ⇄ {each.host_ifname}", wrong=wrong))
    troubled = [line for line in lines if line.wrong]
    shown = cut([*troubled, *(line for line in lines if not line.wrong)], verbose)
    return Branch("pods", str(len(lines)), shown)


def _ours_or_all(node: seen.SeenNode, verbose: bool) -> list[seen.SeenRule]:
    return [rule for rule in node.rules if verbose or rule.table.endswith(" podwire")]


def _forwarding(network: seen.SeenNamespace) -> Iterable[Branch]:
    value = network.sysctls.get("net/ipv4/ip_forward")
    if value is not None:
        yield Branch("ip_forward", value, wrong="" if value == "1" else "the node forwards nothing")


def _link_local(address: str) -> bool:
    return ip_address(address).is_link_local
