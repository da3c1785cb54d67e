"""What the evidence of a flow amounts to. Pure.

Four witnesses are heard: the sender (did an answer come?), the receiver (which address did it see?), the packets
captured at both ends (is the 5-tuple that left the one that arrived, both ways?) and the connection tracking of both
nodes (is anything translated?). A flow is ``ok`` only if all that apply agree; one that was delivered but could not be
captured is ``unproven``, never ``ok``.
"""

from __future__ import annotations

from podwire.verify.packets import Tuple5
from podwire.verify.values import CapturedPacket, Evidence, Flow, Judged, Outcome

_PROBLEMS = {
    "timeout": "no answer came",
    "EHOSTUNREACH": "the network says that there is no route to the host",
    "ENETUNREACH": "there is no route to the network",
    "ECONNREFUSED": "the connection was refused",
    "EMSGSIZE": "the packet is too large for the path and may not be fragmented",
    "EPERM": "the sender's own node forbids it (a firewall rule)",
    "EACCES": "the sender's own node forbids it",
    "damaged": "the answer came back damaged",
    "closed": "the connection was closed without an answer",
}


def judge(flow: Flow, evidence: Evidence) -> Judged:
    """The outcome of *flow*, with the sentence that a reader needs to believe it."""
    outcome, sentence = _translated(flow, evidence) or _failed(flow, evidence) or _unseen(flow, evidence) or ("ok", "")
    return Judged(flow, outcome, sentence, evidence)


def sent_tuple(flow: Flow, evidence: Evidence) -> Tuple5:
    """The 5-tuple as the sender's socket has it."""
    report = evidence.report
    port = report.port if flow.proto == "icmp" else flow.port
    return Tuple5(flow.proto, report.source, report.port, flow.dst, port)


def lost_packets(each: Judged) -> int:
    """How many captured datagrams of a UDP or ICMP flow left one end and did not arrive at the other."""
    here, there = each.evidence.at_sender, each.evidence.at_receiver
    if here is None or there is None or each.flow.proto == "tcp" or each.flow.kind != "pod":
        return 0
    return sum(
        max(0, sum(packet.out for packet in one) - sum(not packet.out for packet in other))
        for one, other in ((here, there), (there, here))
    )


def _translated(flow: Flow, evidence: Evidence) -> tuple[Outcome, str] | None:
    if not flow.src:
        return None
    report, sighting = evidence.report, evidence.sighting
    if report.source and report.source != flow.src:
        return "translated", f"the sender used {report.source}, not its pod IP {flow.src}"
    if sighting is not None and (sighting.peer, sighting.port) != (flow.src, report.port):
        return "translated", f"the receiver saw {sighting.peer}:{sighting.port}, not {flow.src}:{report.port}"
    sent = sent_tuple(flow, evidence)
    for end, captured in (("sender", evidence.at_sender), ("receiver", evidence.at_receiver)):
        for packet in captured or ():
            if packet.tuple5 not in (sent, sent.reverse):
                return "translated", f"captured at the {end}: {packet.tuple5}, while the socket's is {sent}"
    for node, entry in evidence.tracked:
        original, reply = Tuple5(*entry.original), Tuple5(*entry.reply)
        if entry.translated and sent in (original, reply.reverse):
            return "translated", f"conntrack on {node} translates {original} to {reply.reverse}"
    return None


def _failed(flow: Flow, evidence: Evidence) -> tuple[Outcome, str] | None:
    report = evidence.report
    if evidence.sighting is not None and not evidence.sighting.intact:
        return "damaged", "the request arrived with other bytes than were sent"
    if report.delivered:
        return None
    what = _PROBLEMS.get(report.problem, report.problem)
    if report.told:
        by = report.told.get("by", "")
        what += f" (told by {by}" + (f", which passes {report.told['mtu']} bytes" if "mtu" in report.told else "") + ")"
    if report.problem == "damaged":
        return "damaged", what
    arrived = evidence.sighting is not None or any(not packet.out for packet in evidence.at_receiver or ())
    if arrived and flow.source != flow.target:
        return "one-way", f"the request arrived, the answer did not come back: {what}"
    return "lost", what


def _unseen(flow: Flow, evidence: Evidence) -> tuple[Outcome, str] | None:
    """Whether a delivered flow lacks the captures that its proof needs: there and back, at both ends."""
    if flow.kind != "pod":
        return None
    sent = sent_tuple(flow, evidence)
    for end, captured, leaving in (("sender", evidence.at_sender, True), ("receiver", evidence.at_receiver, False)):
        if captured is None:
            return "unproven", f"packets could not be captured at the {end}"
        for expected, out in ((sent, leaving), (sent.reverse, not leaving)):
            if not _shows(captured, expected, out):
                return "unproven", f"the capture at the {end} lacks {expected}"
    there = [packet for packet in evidence.at_sender or () if packet.tuple5 == sent]
    if flow.size == "full" and not all(packet.df for packet in there):
        return "unproven", "a packet left without don't-fragment"
    return None


def _shows(captured: tuple[CapturedPacket, ...], expected: Tuple5, out: bool) -> bool:
    return any(packet.out == out and packet.tuple5 == expected for packet in captured)
