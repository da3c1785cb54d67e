"""Look closer where flows failed: what the nodes look like, which routes they take, what passes, what gets through."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from podwire.model.errors import VerifyError
from podwire.verify.cast import Cast, gather, understood
from podwire.verify.observation import Lookup, SeenNode
from podwire.verify.payload import HEADER, SMALL
from podwire.verify.plan import host_flows
from podwire.verify.values import Aftermath, Flow, Judged, Tunnel

_PAIRS = 24
"""Pairs of nodes that are looked at closely; a cluster that is broken throughout is broken for one reason."""
_STEP_TIMEOUT = 0.4
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
    tunnels = await _tunnels(cast, chosen, aftermath, timeout, nonces)
    return msgspec.structs.replace(aftermath, tunnels=tunnels)


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
    wanted = {
        (one, other) for flow in flows for one, other in itertools.permutations((flow.source_node, flow.target_node))
    }
    pairs = sorted(pair for pair in wanted if pair[0] != pair[1] and hosts.keys() >= set(pair))
    involved = {node for pair in pairs for node in pair}
    for node in involved:  # one healthy pair beside a dead one tells which of the two is dead
        other = next((each for each in sorted(hosts) if each not in involved), None)
        if other is not None:
            pairs.append((node, other))

    async def reach(pair: tuple[str, str]) -> bool:
        tried = host_flows(hosts[pair[0]], hosts[pair[1]], nonces)
        reports = await gather(send(cast, flow, timeout) for flow in tried)
        return any(report["delivered"] for report in reports)

    return dict(zip(pairs, await gather(reach(pair) for pair in pairs), strict=True))


async def _largest(cast: Cast, judged: Sequence[Judged]) -> dict[tuple[str, str, str], int]:
    """The largest IP packet that passes, for each pair where small packets do and full-size ones do not."""
    small = {(each.flow.source, each.flow.dst) for each in judged if each.ok and each.flow.size == "small"}
    big: dict[tuple[str, str, str], Flow] = {}
    for each in judged:
        flow = each.flow
        key = (flow.source, flow.target, flow.dst)
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


async def _tunnels(
    cast: Cast, flows: Sequence[Flow], aftermath: Aftermath, timeout: float, nonces: Iterator[str]
) -> dict[tuple[str, str], Tunnel]:
    """Try flows that go through a vxlan device once more, and count the tunnel's datagrams at both nodes."""
    tried: dict[tuple[str, str], tuple[Flow, int]] = {}
    for flow in flows:
        lookup, node = aftermath.lookups.get((flow.source_node, flow.dst)), aftermath.nodes.get(flow.source_node)
        link = node.network.link(lookup.dev) if lookup and node else None
        if link is not None and link.vxlan is not None and flow.kind == "pod":
            tried.setdefault((flow.source_node, flow.target_node), (flow, link.vxlan.port))
    hosts = cast.hosts()
    tried = {pair: each for pair, each in tried.items() if hosts.keys() >= set(pair)}
    if not tried:
        return {}
    port = next(iter(tried.values()))[1]
    watched = sorted({node for pair in tried for node in pair})
    seats = {node: hosts[node].seat.name for node in watched}
    try:
        await gather(cast.channels[seats[node]].ask("capture", name="tunnel", port=port) for node in watched)
        await gather(
            send(cast, msgspec.structs.replace(flow, nonce=next(nonces)), min(timeout, 1.0))
            for flow, _ in tried.values()
        )
        answers = await gather(cast.channels[seats[node]].ask("count", name="tunnel") for node in watched)
    except VerifyError:
        return {}
    counts = {node: answer["counts"] for node, answer in zip(watched, answers, strict=True)}
    found = {}
    for one, other in sorted({*tried, *((b, a) for a, b in tried)}):
        ends = (set(hosts[one].ips), set(hosts[other].ips))
        found[one, other] = Tunnel(port, _passed(counts[one], ends, True), _passed(counts[other], ends, False))
    return found


def _passed(counts: Sequence[Sequence[Any]], ends: tuple[set[str], set[str]], outgoing: bool) -> int:
    return sum(number for src, dst, out, number in counts if src in ends[0] and dst in ends[1] and out == outgoing)
