"""What four witnesses amount to: agreement is needed for proof, and any one of them can break it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from podwire.verify.evidence import judge, lost_packets
from podwire.verify.observation import SeenConnection
from podwire.verify.packets import Tuple5
from podwire.verify.values import CapturedPacket, Evidence, Flow, Report, Sighting

FLOW = Flow(
    "0" * 16, "pod", "udp", "full", "v/a:probe", "v/b:probe", "n1", "n2", "10.244.1.5", "10.244.2.5", 7000, 1422, 1450
)
SENT = Tuple5("udp", "10.244.1.5", 4000, "10.244.2.5", 7000)
NATTED = Tuple5("udp", "10.89.0.11", 61000, "10.244.2.5", 7000)


def packet(header: Tuple5, out: bool, df: bool = True) -> CapturedPacket:
    return CapturedPacket(header, out, "eth0", 1450, df)


def healthy() -> Evidence:
    return Evidence(
        report=Report(True, source="10.244.1.5", port=4000, seen=("10.244.1.5", 4000), attempts=1),
        sighting=Sighting("10.244.1.5", 4000, "10.244.2.5", 1422, True),
        at_sender=(packet(SENT, True), packet(SENT.reverse, False)),
        at_receiver=(packet(SENT, False), packet(SENT.reverse, True)),
        tracked=(("n1", SeenConnection(SENT, SENT.reverse)),),
    )


def but(**changes: Any) -> Evidence:
    return msgspec.structs.replace(healthy(), **changes)


def test_four_witnesses_that_agree_are_a_proof() -> None:
    judged = judge(FLOW, healthy())
    assert judged.ok and judged.sentence == ""


@pytest.mark.parametrize(
    ("evidence", "outcome", "sentence"),
    [
        (
            but(sighting=Sighting("10.89.0.11", 61000, "10.244.2.5", 1422, True)),
            "translated", "the receiver saw 10.89.0.11:61000, not 10.244.1.5:4000",
        ),
        (
            but(at_receiver=(packet(NATTED, False), packet(NATTED.reverse, True))),
            "translated", "captured at the receiver: udp 10.89.0.11:61000 → 10.244.2.5:7000",
        ),
        (
            but(at_sender=(packet(SENT, True), packet(Tuple5("udp", "10.244.2.5", 7001, "10.244.1.5", 4000), False))),
            "translated", "captured at the sender",
        ),
        (
            but(tracked=(("n1", SeenConnection(SENT, NATTED.reverse)),)),
            "translated", "conntrack on n1 translates udp 10.244.1.5:4000",
        ),
        (
            but(report=Report(True, source="10.244.9.9", port=4000)),
            "translated", "the sender used 10.244.9.9, not its pod IP",
        ),
        (but(sighting=Sighting("10.244.1.5", 4000, "10.244.2.5", 1422, False)), "damaged", "other bytes"),
        (but(report=Report(False, "damaged", source="10.244.1.5", port=4000)), "damaged", "came back damaged"),
        (
            but(report=Report(False, "timeout", source="10.244.1.5", port=4000)),
            "one-way", "the request arrived, the answer did not come back",
        ),
        (
            but(
                report=Report(False, "EMSGSIZE", source="10.244.1.5", port=4000, told={"by": "10.89.0.1", "mtu": 1400}),
                sighting=None, at_receiver=(),
            ),
            "lost", "told by 10.89.0.1, which passes 1400 bytes",
        ),
        (but(at_receiver=None), "unproven", "could not be captured at the receiver"),
        (but(at_receiver=(packet(SENT, False),)), "unproven", "the capture at the receiver lacks udp 10.244.2.5"),
        (but(at_sender=()), "unproven", "the capture at the sender lacks"),
        (
            but(at_sender=(packet(SENT, True, df=False), packet(SENT.reverse, False))),
            "unproven", "left without don't-fragment",
        ),
    ],
)  # fmt: skip
def test_each_witness_alone_can_break_the_proof(evidence: Evidence, outcome: str, sentence: str) -> None:
    judged = judge(FLOW, evidence)
    assert (judged.outcome, judged.ok) == (outcome, False)
    assert sentence in judged.sentence


def test_a_flow_that_was_masqueraded_and_lost_is_called_translated() -> None:
    """The reply to a translated request often does not come back: the cause counts, not the effect."""
    evidence = but(
        report=Report(False, "timeout", source="10.244.1.5", port=4000),
        sighting=Sighting("10.89.0.11", 61000, "10.244.2.5", 1422, True),
    )
    assert judge(FLOW, evidence).outcome == "translated"


def test_from_a_node_any_source_address_will_do() -> None:
    flow = msgspec.structs.replace(FLOW, kind="node", src="")
    evidence = Evidence(Report(True, source="10.89.0.11", port=4000), Sighting("10.89.0.11", 4000, "", 1422, True))
    assert judge(flow, evidence).ok


def test_an_icmp_flow_is_known_by_its_identifier() -> None:
    flow = msgspec.structs.replace(FLOW, proto="icmp", port=0, size="small")
    sent = Tuple5("icmp", "10.244.1.5", 77, "10.244.2.5", 77)
    evidence = Evidence(
        Report(True, source="10.244.1.5", port=77),
        Sighting("10.244.1.5", 77, "", 128, True),
        (packet(sent, True), packet(sent.reverse, False)),
        (packet(sent, False), packet(sent.reverse, True)),
    )
    assert judge(flow, evidence).ok
    changed = msgspec.structs.replace(evidence, sighting=Sighting("10.244.1.5", 78, "", 128, True))
    assert judge(flow, changed).outcome == "translated"


def test_packets_that_were_sent_twice_and_arrived_once_count_as_lost() -> None:
    judged = judge(FLOW, but(at_sender=(packet(SENT, True), packet(SENT, True), packet(SENT.reverse, False))))
    assert judged.ok and lost_packets(judged) == 1
    assert lost_packets(judge(FLOW, healthy())) == 0
