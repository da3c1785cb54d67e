"""From failed flows to what is broken, and where. Pure.

Each failed pair is explained by the first cause that its evidence shows, from the surest to the vaguest:
a duplicate address; an address that was translated; a node that is cut off; a route that is missing, refuses or leads
elsewhere; forwarding that is off; a vxlan entry that is missing or wrong; a vxlan port that is blocked; an MTU too
large for the path. What none of them explains is said to be unexplained, with what is known. Equal findings merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from podwire.verify.diagnose import path, tunnel
from podwire.verify.values import Aftermath, Check, Finding, Judged, StartFailure, Topology


def diagnose(
    judged: Iterable[Judged],
    duplicates: Iterable[tuple[str, tuple[str, ...]]],
    topology: Topology,
    aftermath: Aftermath,
) -> list[Finding]:
    """The findings, the surest and widest first."""
    found: dict[tuple[str, str], Finding] = {}
    shared = dict(duplicates)
    for ip, names in sorted(shared.items()):
        _add(found, _duplicate(ip, names))
    failed = [each for each in judged if not each.ok and each.outcome != "unproven"]
    passed_small = {_pair(each) for each in judged if each.ok and each.flow.size == "small"}
    for each in failed:
        if each.flow.src in shared or each.flow.dst in shared:
            continue
        if each.outcome == "translated":
            _add(found, _masqueraded(each, topology))
        elif each.flow.size == "full" and _pair(each) in passed_small:
            _add(found, _mtu(each, aftermath))
        elif each.flow.size == "small" or not _small_failed(each, failed):
            _add(found, path.explain(each, topology, aftermath))
    return sorted(found.values(), key=lambda finding: (_ORDER.get(finding.code, 50), finding.where))


_ORDER = {
    code: rank
    for rank, code in enumerate(
        ("duplicate-address", "node-cut-off", "masqueraded", "missing-route", "wrong-route", "forwarding-off",
         "missing-vtep", "blocked-vxlan-port", "wrong-mtu")
    )
}  # fmt: skip


def not_started(failures: Sequence[StartFailure], topology: Topology) -> list[Finding]:
    """Nodes on which a probe could not be started: their agent is down, or they are not there."""
    findings = {}
    for failure in failures:
        status = topology.nodes.get(failure.node)
        because = failure.reason
        if status is not None and not status.ready:
            because += f"; the node is not ready: {status.message}"
        findings[failure.node] = Finding(
            code="agent-down",
            guarantee=0,
            where=failure.node,
            sentence=f"no pod can be started on {failure.node}: {because}",
            remedy=f"look at the network agent on {failure.node} (its pod and its log), then verify again",
        )
    return [findings[node] for node in sorted(findings)]


def broken_checks(checks: Iterable[Check]) -> list[Finding]:
    """Failed checks as findings, but for duplicate addresses, which :func:`diagnose` names."""
    return [
        Finding(check.name.replace(" ", "-"), check.guarantee, check.where, check.sentence, _CHECK_REMEDY)
        for check in checks
        if check.ok is False and check.name != "unique address"
    ]


_CHECK_REMEDY = "compare the pod's sandbox in the container runtime (crictl inspectp) with its status in the API"


def _add(found: dict[tuple[str, str], Finding], finding: Finding) -> None:
    known = found.get((finding.code, finding.where))
    if known is None:
        found[finding.code, finding.where] = finding
    elif len(known.evidence) < 4 and not set(finding.evidence) <= set(known.evidence):
        merged = dict.fromkeys((*known.evidence, *finding.evidence))
        found[finding.code, finding.where] = Finding(
            known.code, known.guarantee, known.where, known.sentence, known.remedy, tuple(merged)[:4]
        )


def _pair(each: Judged) -> tuple[str, str, str]:
    """Sender and target; the protocol too, as a firewall may pass one and not another."""
    return each.flow.source, each.flow.dst, each.flow.proto


def _small_failed(each: Judged, failed: Sequence[Judged]) -> bool:
    return any(other.flow.size == "small" and _pair(other) == _pair(each) for other in failed)


def _duplicate(ip: str, names: tuple[str, ...]) -> Finding:
    return Finding(
        code="duplicate-address",
        guarantee=1,
        where=ip,
        sentence=f"{ip} belongs to {' and to '.join(names)}",
        remedy="delete one of the pods so that it gets another address; check that the nodes' pod CIDRs are disjoint",
    )


def _masqueraded(each: Judged, topology: Topology) -> Finding:
    flow, evidence = each.flow, each.evidence
    saw = evidence.sighting.peer if evidence.sighting else ""
    if not saw:
        arrived = [packet for packet in evidence.at_receiver or () if not packet.out]
        saw = arrived[0].header[1] if arrived else ""
    holder = _holder(saw, topology)
    shown = [each.sentence]
    translating = ""
    for node, entry in evidence.tracked:
        if entry.translated:
            translating = translating or node
            shown.append(f"conntrack on {node}: {_tuple(entry.original)}, answered to {_tuple(entry.reply)}")
    at = translating or holder or flow.source_node
    whose = f"{saw}, an address of node {holder}" if holder else (saw or "another address")
    return Finding(
        code="masqueraded",
        guarantee=2,
        where=at,
        sentence=f"pod traffic is translated on {at}: {flow.target} saw {whose}, where {flow.src} had sent",
        remedy=f"exempt the pod CIDRs from masquerading on {at} (nft list ruleset; iptables-save -t nat)",
        evidence=tuple(shown),
    )


def _tuple(entry: tuple[str, str, int, str, int]) -> str:
    proto, src, sport, dst, dport = entry
    return f"{proto} {src}:{sport} → {dst}:{dport}"


def _holder(address: str, topology: Topology) -> str:
    """The node that has *address*, itself or (a tunnel's) in its pod CIDR."""
    if not address:
        return ""
    ip = ip_address(address)
    for name, status in topology.nodes.items():
        if ip in status.node.addresses:
            return name
    for name, status in topology.nodes.items():
        if any(ip.version == cidr.version and ip in ip_network(cidr) for cidr in status.node.pod_cidrs):
            return name
    return ""


def _mtu(each: Judged, aftermath: Aftermath) -> Finding:
    flow = each.flow
    largest = aftermath.largest.get((flow.source, flow.dst))
    told = each.evidence.report.told
    passes = "small ones do"
    if largest is not None:
        passes = f"{largest} is the most that does"
    elif "mtu" in told:
        passes = f"{told['mtu']} is the most that does"
    fits = largest if largest is not None else int(told.get("mtu", 0) or 0)
    narrow = tunnel.narrowest(flow, fits, aftermath)
    pair = f"{flow.source_node} → {flow.target_node}"
    shown = [f"{flow.proto.upper()} {flow.src or flow.source} → {flow.dst}, {flow.packet} bytes: {each.sentence}"]
    if narrow:
        shown.append(narrow)
    return Finding(
        code="wrong-mtu",
        guarantee=2 if flow.kind == "pod" else 3,
        where=pair,
        sentence=f"packets of {flow.packet} bytes, the MTU in {flow.source}, do not pass {pair}; {passes}",
        remedy=f"set the pods' MTU to {fits or 'what the path carries'}, or raise the path's",
        evidence=tuple(shown),
    )
