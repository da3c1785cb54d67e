"""Look closer where flows failed: what the nodes look like, which routes they take, what passes, what gets through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from podwire.model.errors import VerifyError
from podwire.verify.cast import Cast, gather, understood
from podwire.verify.observation import Lookup, SeenNode
from podwire.verify.payload import HEADER, SMALL
from podwire.verify.plan import host_flows
from podwire.verify.values import Aftermath, Flow, Judged, Place, Trace

_PAIRS = 24
"""Pairs of nodes that are looked at closely; a cluster that is broken throughout is broken for one reason."""
_STEP_TIMEOUT = 0.4
_WITNESSES = 4
_ICMP_HEADERS = {4: 28, 6: 48}


async def look_closer(cast: Cast, judged: Sequence[Judged], timeout: float, nonces: Iterator[str]) -> Aftermath:
    """Everything that :mod:`.diagnose` needs to name what is behind the failures in *judged*."""
    failed = [each.flow for each in judged if each.outcome not in ("ok", "unproven")]
    if not failed:
        return Aftermath()
    chosen = _choose(failed)
    nodes = sorted({node for flow in chosen for node in (flow.source_node, flow.target_node)} & cast.hosts().keys())
    observed = dict(zip(nodes, await gather(_observe(cast, node) for node in nodes), strict=True))
    asked = sorted({question for flow in chosen for question in _questions(flow) if question[0] in observed})
    answers = await gather(_lookup(cast, node, address) for node, address in asked)
    lookups = {question: answer for question, answer in zip(asked, answers, strict=True) if answer is not None}
    seen = {node: each for node, each in observed.items() if each is not None}
    aftermath = Aftermath(
        nodes=seen,
        lookups=lookups,
        reachable=await _reachable(cast, chosen, timeout, nonces),
        largest=await _largest(cast, judged),
    )
    traces = await _traces(cast, chosen, aftermath, timeout, nonces)
    return msgspec.structs.replace(aftermath, traces=traces)


def _choose(failed: Sequence[Flow]) -> list[Flow]:
    """One failed flow per (source, destination), of at most so many pairs of nodes."""
    pairs = list(dict.fromkeys((flow.source_node, flow.target_node) for flow in failed))[:_PAIRS]
    first: dict[tuple[str, str], Flow] = {}
    for flow in failed:
        if (flow.source_node, flow.target_node) in pairs:
            first.setdefault((flow.source, flow.dst), flow)
    return list(first.values())


def _questions(flow: Flow) -> list[tuple[str, str]]:
    ends = [address for address in (flow.dst, flow.src) if address]
    return [(node, address) for node in {flow.source_node, flow.target_node} for address in ends]


async def _observe(cast: Cast, node: str) -> SeenNode | None:
    try:
        answer = await cast.channels[cast.hosts()[node].seat.name].ask("observe", timeout=60)
        return understood({**answer, "node": node}, SeenNode)
    except VerifyError:
        return None


async def _lookup(cast: Cast, node: str, address: str) -> Lookup | None:
    try:
        return understood(await cast.channels[cast.hosts()[node].seat.name].ask("lookup", to=address), Lookup)
    except VerifyError:
        return None


async def send(cast: Cast, flow: Flow, timeout: float) -> dict[str, Any]:
    """Have the probe in the flow's source seat try it."""
    answer: dict[str, Any] = await cast.channels[flow.source].ask(
        "send", timeout=timeout + 15, patience=timeout, proto=flow.proto, dst=flow.dst, port=flow.port,
        length=flow.length, nonce=flow.nonce,
    )  # fmt: skip
    return answer


async def _reachable(
    cast: Cast, flows: Sequence[Flow], timeout: float, nonces: Iterator[str]
) -> dict[tuple[str, str], bool]:
    """Whether the nodes of failed pairs reach each other on their own addresses (any of UDP and ICMP)."""
    hosts = cast.hosts()
    involved = {node for flow in flows for node in (flow.source_node, flow.target_node)} & hosts.keys()
    ends = [(flow.source_node, flow.target_node) for flow in flows]
    wanted = [pair for one, other in ends for pair in ((one, other), (other, one))]
    pairs = {pair for pair in wanted if pair[0] != pair[1] and hosts.keys() >= set(pair)}
    for node in involved:  # to tell which end of a dead pair is the dead one, each is tried with a few others
        others = [other for other in sorted(hosts) if other != node][:_WITNESSES]
        pairs |= {(node, other) for other in others}
    ordered: list[tuple[str, str]] = sorted(pairs)

    async def reach(pair: tuple[str, str]) -> bool:
        tried = host_flows(hosts[pair[0]], hosts[pair[1]], nonces)
        reports = await gather(send(cast, flow, timeout) for flow in tried)
        return any(report["delivered"] for report in reports)

    return dict(zip(ordered, await gather(reach(pair) for pair in ordered), strict=True))


async def _largest(cast: Cast, judged: Sequence[Judged]) -> dict[tuple[str, str], int]:
    """The largest IP packet that passes, for each pair where small packets do and full-size ones do not."""
    small = {(each.flow.source, each.flow.dst) for each in judged if each.ok and each.flow.size == "small"}
    big: dict[tuple[str, str], Flow] = {}
    for each in judged:
        flow = each.flow
        key = (flow.source, flow.dst)
        failed = each.outcome in ("lost", "one-way") and flow.size == "full" and (flow.source, flow.dst) in small
        if failed and (flow.proto == "udp" or key not in big):
            big[key] = flow

    async def search(flow: Flow) -> int:
        headers = _ICMP_HEADERS[6 if ":" in flow.dst else 4]
        proto = flow.proto if flow.proto != "tcp" else "icmp"
        answer = await cast.channels[flow.source].ask(
            "largest", timeout=60, patience=_STEP_TIMEOUT, proto=proto, dst=flow.dst,
            port=flow.port, low=max(HEADER, SMALL), high=max(flow.packet - headers, SMALL + 1),
        )  # fmt: skip
        return int(answer["length"]) + headers

    chosen = list(big.items())[:_PAIRS]
    found = await gather(search(flow) for _, flow in chosen)
    return {key: size for (key, _), size in zip(chosen, found, strict=True)}


async def _traces(
    cast: Cast, flows: Sequence[Flow], aftermath: Aftermath, timeout: float, nonces: Iterator[str]
) -> dict[tuple[str, str], Trace]:
    """Try failed flows between pods once more, and note where on the two nodes their packets are seen."""
    hosts = cast.hosts()
    tried = [flow for flow in flows if flow.kind == "pod" and hosts.keys() >= {flow.source_node, flow.target_node}]
    pairs: dict[str, set[tuple[str, str]]] = {}
    for flow in tried:
        for node in (flow.source_node, flow.target_node):
            pairs.setdefault(node, set()).add((flow.src, flow.dst))
    try:
        await gather(
            cast.channels[hosts[node].seat.name].ask(
                "capture", name="trace", pairs=sorted(wanted), ports=_vxlan_ports(aftermath.nodes.get(node))
            )
            for node, wanted in pairs.items()
        )
        again = (msgspec.structs.replace(flow, nonce=next(nonces)) for flow in tried)
        await gather(send(cast, flow, min(timeout, 1.0)) for flow in again)
        answers = await gather(cast.channels[hosts[node].seat.name].ask("places", name="trace") for node in pairs)
    except VerifyError:
        return {}
    seen = {node: answer["places"] for node, answer in zip(pairs, answers, strict=True)}
    return {
        (flow.source, flow.dst): Trace(
            _along(seen, flow.src, flow.dst, (flow.source_node, flow.target_node)),
            _along(seen, flow.dst, flow.src, (flow.target_node, flow.source_node)),
        )
        for flow in tried
    }


def _vxlan_ports(node: SeenNode | None) -> list[int]:
    return sorted({link.vxlan.port for link in node.network.links if link.vxlan}) if node else []


def _along(seen: dict[str, list[list[Any]]], src: str, dst: str, nodes: tuple[str, str]) -> tuple[Place, ...]:
    """The places on *nodes*, in this order, where a packet from *src* to *dst* was seen."""
    return tuple(
        Place(node, interface, outgoing, port)
        for node in dict.fromkeys(nodes)
        for where, whither, interface, outgoing, port in seen[node]
        if (where, whither) == (src, dst)
    )
