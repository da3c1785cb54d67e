"""What is checked apart from flows: addresses, containers that share them, ports. Pure: the facts come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from podwire.model.cluster import Pod
from podwire.verify.values import Check, Placed, Report, Seat, Topology


def owners(topology: Topology, placed: Iterable[Placed]) -> dict[str, tuple[str, ...]]:
    """Who has each address: live pods as ``namespace/name on node``, by what the API and the probes themselves say."""
    found: dict[str, set[str]] = {}
    nodes: dict[str, str] = {}
    for pod in live_pods(topology):
        name = f"{pod.namespace}/{pod.name}"
        nodes[name] = pod.node
        for ip in pod.ips:
            found.setdefault(str(ip), set()).add(name)
    for each in placed:
        if not each.seat.host:
            nodes[each.seat.pod] = each.seat.node
            for address in each.ips:
                found.setdefault(address, set()).add(each.seat.pod)
    return {ip: tuple(sorted(f"{name} on {nodes[name]}" for name in names)) for ip, names in found.items()}


def live_pods(topology: Topology) -> list[Pod]:
    """The pods that must have an address of their own: running, and not on their node's network."""
    return [pod for pod in topology.pods if pod.live and not pod.host_network and pod.ips]


def address_checks(topology: Topology, placed: Sequence[Placed]) -> list[Check]:
    """Uniqueness of every live pod's address, also against the nodes'; and what the API says against the pod's eth0."""
    held = owners(topology, placed)
    checks = [
        Check(1, "unique address", ip, False, f"{ip} belongs to {' and to '.join(names)}")
        for ip, names in sorted(held.items())
        if len(names) > 1
    ]
    for name, status in sorted(topology.nodes.items()):
        for address in status.node.addresses:
            for owner in held.get(str(address), ()):
                sentence = f"{address} belongs to node {name} and to {owner}"
                checks.append(Check(1, "unique address", str(address), False, sentence))
    if not checks:
        checks.append(Check(1, "unique address", "cluster", True, f"{len(held)} addresses of live pods, none twice"))
    told = {f"{pod.namespace}/{pod.name}": {str(ip) for ip in pod.ips} for pod in topology.pods}
    for each in placed:
        if each.seat.host or each.seat.pod not in told:
            continue
        said, real = told[each.seat.pod], set(each.ips)
        if said != real:
            sentence = f"the API says {_list(said)}, its interface has {_list(real)}"
            checks.append(Check(1, "address as told", each.seat.name, False, f"{each.seat.name}: {sentence}"))
    return checks


def sharing_check(first: Placed, second: Placed, report: Report) -> Check:
    """Whether two containers of a pod share one network: the same namespace, addresses, and localhost (*report*)."""
    where = first.seat.pod
    if set(first.ips) != set(second.ips):
        sentence = f"containers of {where} have {_list(first.ips)} and {_list(second.ips)}: not one network"
        return Check(1, "localhost", where, False, sentence)
    if not report.delivered:
        sentence = f"a container of {where} does not reach its neighbour on 127.0.0.1 ({report.problem})"
        return Check(1, "localhost", where, False, sentence)
    return Check(1, "localhost", where, True, "containers reach each other on localhost")


def conflict_check(seat: Seat, port: int, errno: str) -> Check:
    """Whether a port that one container holds is refused to its neighbour, as it must be where they share a network."""
    if errno == "EADDRINUSE":
        return Check(1, "port conflict", seat.pod, True, "a port taken by one container is refused to the other")
    got = f"got {errno}" if errno else "was given it too"
    sentence = f"port {port} is taken in {seat.pod}, yet its other container {got}: they do not share a network"
    return Check(1, "port conflict", seat.pod, False, sentence)


def duplicates(topology: Topology, placed: Sequence[Placed]) -> Mapping[str, tuple[str, ...]]:
    """The addresses that several live pods have."""
    return {ip: names for ip, names in owners(topology, placed).items() if len(names) > 1}


def _list(addresses: Iterable[str]) -> str:
    return ", ".join(sorted(addresses, key=lambda text: (ip_address(text).version, text))) or "none"
