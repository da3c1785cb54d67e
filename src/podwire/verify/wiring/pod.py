"""A pod's part of the wiring tree: its interface, its host end, the rules that touch it, and what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from podwire.verify import observation as seen
from podwire.verify.wiring.tree import Branch, count, route_text, size, traffic


def attachment_branch(node: seen.SeenNode, each: seen.SeenAttachment, verbose: bool) -> Branch:
    """An attachment from both sides."""
    host = node.network.link(each.host_ifname)
    children = [
        Branch("namespace", each.netns + (f" ({each.inside.netns})" if each.inside else ""), wrong=each.problem)
    ]
    if each.inside is not None:
        children.append(_inside(each, each.inside, host, verbose))
    children.append(_host_end(node, each, host))
    children.append(rules_branch(node, touching(node, each)))
    return Branch(each.pod, f"{', '.join(each.addresses)} on {node.node}, network {each.network}", tuple(children))


def _inside(each: seen.SeenAttachment, inside: seen.SeenNamespace, host: seen.SeenLink | None, verbose: bool) -> Branch:
    link = inside.link(each.ifname)
    if link is None:
        return Branch(each.ifname, wrong="the interface is gone from the pod")
    wrong = "" if link.up else "it is down"
    if host is not None and link.peer != host.index:
        wrong = f"its other end is interface {link.peer}, not {host.name} ({host.index})"
    elif link.mtu != each.mtu:
        wrong = f"MTU {link.mtu}, handed out was {each.mtu}"
    found = {address.address for address in inside.addresses if address.dev == link.name}
    lines = [Branch("address", ip, wrong="" if ip in found else "not on the interface") for ip in each.addresses]
    lines += [
        Branch("address", ip, wrong="nobody handed it out")
        for ip in sorted(found - set(each.addresses))
        if verbose or not _link_local(ip)
    ]
    routes = [route for route in inside.routes if route.dev == link.name and route.table == seen.MAIN_TABLE]
    lines += [
        Branch("gateway" if route.default else "route", route_text(route))
        for route in routes
        if verbose or not route.dst.startswith(("fe80::", "ff00::"))
    ]
    if not any(route.default for route in routes):
        lines.append(Branch("gateway", wrong="no default route: the pod reaches nobody"))
    lines += [_gateway_neighbour(neighbour, host) for neighbour in inside.neighbours if neighbour.dev == link.name]
    return Branch(each.ifname, f"{link.mac}, MTU {link.mtu}" + traffic(link), tuple(lines), wrong)


def _gateway_neighbour(neighbour: seen.SeenNeighbour, host: seen.SeenLink | None) -> Branch:
    known = host is not None and neighbour.mac == host.mac
    wrong = ""
    if host is not None and not known and ip_address(neighbour.address).is_link_local:
        wrong = f"not the host end's MAC, which is {host.mac}"
    whose = ", the host end" if known else ""
    return Branch("neighbour", f"{neighbour.address} → {neighbour.mac or '?'}, {neighbour.state}{whose}", wrong=wrong)


def _host_end(node: seen.SeenNode, each: seen.SeenAttachment, host: seen.SeenLink | None) -> Branch:
    if host is None:
        return Branch(each.host_ifname, f"host end on {node.node}", wrong="it is gone")
    problems = wrongs(node, each)
    lines = [
        Branch("route", f"{route_text(route)}, by {seen.protocol_name(route.protocol)}")
        for route in node.network.routes
        if route.dev == host.name and route.table == seen.MAIN_TABLE and not route.dst.startswith(("fe80::", "ff00::"))
    ]
    lines += [
        Branch("neighbour", f"{neighbour.address} → {neighbour.mac or '?'}, {neighbour.state}")
        for neighbour in node.network.neighbours
        if neighbour.dev == host.name
    ]
    conf = "net/ipv4/conf/" + host.name
    flags = [
        f"{name} {node.network.sysctls[f'{conf}/{name}']}"
        for name in ("proxy_arp", "rp_filter")
        if f"{conf}/{name}" in node.network.sysctls
    ]
    note = f"host end, {host.mac}, MTU {host.mtu}" + (f", {', '.join(flags)}" if flags else "") + traffic(host)
    return Branch(host.name, note, tuple(lines), "; ".join(problems))


def wrongs(node: seen.SeenNode, each: seen.SeenAttachment) -> list[str]:
    """What is wrong on the node's side of an attachment."""
    host = node.network.link(each.host_ifname)
    if host is None:
        return [f"the host end {each.host_ifname} is gone"]
    wrongs = [] if host.up else ["the host end is down"]
    if host.mtu != each.mtu:
        wrongs.append(f"the host end's MTU is {host.mtu}, the pod's {each.mtu}")
    for address in each.addresses:
        ip = address.partition("/")[0]
        route = seen.best_route(node.network.routes, ip_address(ip))
        if route is None or route.dev != host.name:
            leads = f"packets for {ip} go to {route_text(route)}" if route else f"there is no route to {ip}"
            wrongs.append(f"no host route: {leads}")
    return wrongs


def rules_branch(node: seen.SeenNode, rules: Sequence[seen.SeenRule]) -> Branch:
    """nft *rules* with their counters."""
    lines = [
        Branch(
            f"{rule.table} {rule.chain}",
            rule.text
            + (f"  [{count(rule.packets)} packets, {size(rule.bytes or 0)}]" if rule.packets is not None else ""),
        )
        for rule in rules
    ]
    return Branch("nft rules", "" if lines else "none", tuple(lines), node.nft_problem)


def touching(node: seen.SeenNode, each: seen.SeenAttachment) -> list[seen.SeenRule]:
    """The rules that name the pod's address, a network or set that holds it, or its host end."""
    sets = {(named.table, f"@{named.name}"): named.elements for named in node.sets}
    ips = [address.partition("/")[0] for address in each.addresses]

    def names(rule: seen.SeenRule) -> bool:
        for name in rule.names:
            for element in sets.get((rule.table, name), (name,)):
                if element == each.host_ifname or any(_holds(element, ip) for ip in ips):
                    return True
        return False

    return [rule for rule in node.rules if names(rule)]


def _holds(element: str, ip: str) -> bool:
    """Whether an element of nft (an address, a prefix, a range) holds *ip*; False for what is no address."""
    address = ip_address(ip)
    try:
        if "-" in element:
            low, high = (ip_address(part.strip()) for part in element.split("-"))
            return low.version == address.version and int(low) <= int(address) <= int(high)
        network = ip_network(element, strict=False)
    except ValueError:
        return False
    return network.version == address.version and address in network


def _link_local(address: str) -> bool:
    return ip_address(address.partition("/")[0]).is_link_local
