"""Which flows are tried. Pure.

Every ordered pair of nodes, in every protocol, small and full-size, over each IP version that both ends have; within a
node between its two probe pods, both ways; each pod to itself; each node to each of its live pods. Above a number of
nodes a sample of the pairs is drawn: each node sends to as many others as it receives from, so none is left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

import msgspec

from podwire.model.cluster import Pod
from podwire.verify.payload import HEADER, SMALL
from podwire.verify.values import PROTOS, Flow, Placed, Proto, Size

_OVERHEAD = {4: 20, 6: 40}
_TRANSPORT = {"udp": 8, "icmp": 8, "tcp": 20}
_TCP_SEGMENTS = 4
"""A full-size TCP flow fills so many segments, so that no single small one slips through."""
_MAX_PAYLOAD = 60_000


class Sample(msgspec.Struct, frozen=True):
    """*above* so many nodes, only about as many ordered pairs as *above* nodes have are tried, drawn by *seed*."""

    above: int = 50
    seed: int = 1


class Coverage(msgspec.Struct, frozen=True):
    """How much of the cluster the plan covers; pairs are ordered pairs of different nodes."""

    nodes: int
    pairs: int
    tried: int
    seed: int | None = None

    def __str__(self) -> str:
        if self.nodes < 2:
            return f"{self.nodes} node, between its own pods"
        if self.tried == self.pairs:
            return f"all {self.pairs} ordered pairs of {self.nodes} nodes"
        share = 100 * self.tried / self.pairs
        return (
            f"{self.tried} of {self.pairs} ordered pairs of {self.nodes} nodes ({share:.1f} %), a sample in which "
            f"every node sends and receives (seed {self.seed})"
        )


class Plan(msgspec.Struct, frozen=True):
    """The flows, and what they cover."""

    flows: tuple[Flow, ...]
    coverage: Coverage


def pairs(nodes: Sequence[str], sample: Sample) -> list[tuple[str, str]]:
    """The ordered pairs of different nodes to try."""
    if len(nodes) <= sample.above:
        return [(one, other) for one in nodes for other in nodes if one != other]
    order = sorted(nodes)
    draw = random.Random(sample.seed)  # noqa: S311 - a repeatable sample, not a secret
    draw.shuffle(order)
    wanted = max(1, round(sample.above * (sample.above - 1) / len(order)))
    steps = draw.sample(range(1, len(order)), min(wanted, len(order) - 1))
    return [(node, order[(index + step) % len(order)]) for step in steps for index, node in enumerate(order)]


def plan(placed: Iterable[Placed], live: Iterable[Pod], nonces: Iterator[str], sample: Sample | None = None) -> Plan:
    """All flows for the seats in *placed* and the *live* pods of the cluster (those not ours get an ICMP echo)."""
    sample = sample or Sample()
    listening = [each for each in placed if each.ports]
    by_node: dict[str, list[Placed]] = {}
    hosts: dict[str, Placed] = {}
    for each in placed:
        if each.seat.host:
            hosts[each.seat.node] = each
        elif each.ports:
            by_node.setdefault(each.seat.node, []).append(each)
    nodes = sorted(by_node)
    chosen = pairs(nodes, sample)
    flows: list[Flow] = []
    for source, target in chosen:
        flows += _exchange(by_node[source][0], by_node[target][0], nonces)
    for node in nodes:
        for one in by_node[node]:
            flows += _itself(one, nonces)
            for other in by_node[node]:
                if other is not one:
                    flows += _exchange(one, other, nonces)
    ours = {each.seat.pod for each in listening}
    for node, host in sorted(hosts.items()):
        flows += [flow for each in by_node.get(node, ()) for flow in _from_node(host, each, nonces)]
        strangers = (pod for pod in live if pod.node == node and f"{pod.namespace}/{pod.name}" not in ours)
        flows += [flow for pod in strangers for flow in _to_stranger(host, pod, nonces)]
    total = len(nodes) * (len(nodes) - 1)
    sampled = len(chosen) < total
    return Plan(tuple(flows), Coverage(len(nodes), total, len(chosen), sample.seed if sampled else None))


def full_payload(proto: Proto, version: int, mtu: int) -> int:
    """The payload, bytes, that makes an IP packet of exactly *mtu* bytes (TCP: several segments of that size)."""
    room = mtu - _OVERHEAD[version] - _TRANSPORT[proto]
    return max(HEADER, min(_MAX_PAYLOAD, room * (_TCP_SEGMENTS if proto == "tcp" else 1)))


def host_flows(source: Placed, target: Placed, nonces: Iterator[str]) -> list[Flow]:
    """Node to node, over the nodes' own network: small UDP and ICMP between their host probes."""
    return [
        _flow("host", source, target, proto, "small", src, dst, nonces)
        for src, dst in _addresses(source, target)
        for proto in PROTOS
        if proto != "tcp"
    ]


def _exchange(source: Placed, target: Placed, nonces: Iterator[str]) -> list[Flow]:
    sizes: tuple[Size, ...] = ("small", "full")
    return [
        _flow("pod", source, target, proto, size, src, dst, nonces)
        for src, dst in _addresses(source, target)
        for proto in PROTOS
        for size in sizes
    ]


def _itself(each: Placed, nonces: Iterator[str]) -> list[Flow]:
    return [_flow("self", each, each, proto, "small", ip, ip, nonces) for ip in each.ips for proto in PROTOS]


def _from_node(host: Placed, target: Placed, nonces: Iterator[str]) -> list[Flow]:
    return [_flow("node", host, target, proto, "small", "", dst, nonces) for dst in target.ips for proto in PROTOS]


def _to_stranger(host: Placed, pod: Pod, nonces: Iterator[str]) -> list[Flow]:
    name = f"{pod.namespace}/{pod.name}"
    return [
        Flow(
            nonce=next(nonces), kind="node", proto="icmp", size="small", source=host.seat.name, target=name,
            source_node=host.seat.node, target_node=pod.node, src="", dst=str(ip), port=0, length=SMALL,
            packet=SMALL + 8 + _OVERHEAD[ip.version],
        )
        for ip in pod.ips
    ]  # fmt: skip


def _addresses(source: Placed, target: Placed) -> list[tuple[str, str]]:
    """One pair of addresses per IP version that both have."""
    first: dict[int, str] = {}
    for ip in source.ips:
        first.setdefault(ip_address(ip).version, ip)
    done: dict[int, str] = {}
    for ip in target.ips:
        done.setdefault(ip_address(ip).version, ip)
    return [(first[version], done[version]) for version in sorted(first.keys() & done.keys())]


def _flow(
    kind: str, source: Placed, target: Placed, proto: Proto, size: Size, src: str, dst: str, nonces: Iterator[str]
) -> Flow:
    version = ip_address(dst).version
    overhead = _OVERHEAD[version] + _TRANSPORT[proto]
    mtu = source.facts.full_mtu(dst) or 1280
    length = SMALL if size == "small" else full_payload(proto, version, mtu)
    return Flow(
        nonce=next(nonces),
        kind=kind,  # type: ignore[arg-type]
        proto=proto,
        size=size,
        source=source.seat.name,
        target=target.seat.name,
        source_node=source.seat.node,
        target_node=target.seat.node,
        src=src,
        dst=dst,
        port=target.ports.get((proto, version), 0),
        length=length,
        packet=mtu if size == "full" else length + overhead,
    )
