"""The decision: one list in, the next writes out."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec
import pytest

from podwire.controller.api import NodeRecord
from podwire.controller.decision import Decision, Step, decide
from podwire.model.addresses import IPNetwork

CLUSTER = (ip_network("10.244.0.0/22"),)
MASKS = {4: 24, 6: 64}


def nets(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, texts))


def node(name: str, cidr: str = "", claim: str = "", deleting: bool = False) -> NodeRecord:
    return NodeRecord(
        name, f"uid-{name}", "1", nets(*cidr.split()), nets(*claim.split()), deleting=deleting
    )  # fmt: skip


def run(*nodes: NodeRecord) -> Decision:
    forwards, backwards = decide(nodes, CLUSTER, MASKS), decide(nodes[::-1], CLUSTER, MASKS)
    assert forwards == backwards, "the order of a list means nothing"
    return forwards


def test_a_new_node_claims_first() -> None:
    decision = run(node("a", "10.244.0.0/24"), node("b"))
    assert decision.claim == (Step(node("b"), nets("10.244.1.0/24")),)
    assert decision.assign == ()


def test_a_claim_that_stands_alone_is_assigned() -> None:
    claimed = node("b", claim="10.244.2.0/24")
    decision = run(node("a", "10.244.0.0/24"), claimed)
    assert (decision.claim, decision.assign) == ((), (Step(claimed, nets("10.244.2.0/24")),))


def test_nothing_to_do() -> None:
    decision = run(node("a", "10.244.0.0/24"), node("b", "192.168.0.0/24"), node("c", deleting=True))
    assert (decision.claim, decision.assign, decision.waiting, decision.overlaps) == ((), (), (), ())
    assert decision.capacity[0].left == 3


def test_of_two_equal_claims_the_first_name_waits_and_the_other_claims_anew() -> None:
    one, two = node("a", claim="10.244.0.0/24"), node("b", claim="10.244.0.0/24")
    decision = run(one, two)
    assert decision.assign == (), "neither, while the list shows both"
    assert decision.waiting == (one,)
    assert decision.claim == (Step(two, nets("10.244.1.0/24")),)


def test_three_equal_claims_settle_without_an_assignment_between() -> None:
    nodes = [node(name, claim="10.244.0.0/24") for name in "abc"]
    decision = run(*nodes)
    assert [step.cidrs for step in decision.claim] == [nets("10.244.1.0/24"), nets("10.244.2.0/24")]
    assert decision.assign == ()


def test_a_claim_on_what_somebody_has_is_given_up() -> None:
    claimed = node("a", claim="10.244.0.0/24")
    decision = run(claimed, node("b", "10.244.0.0/25"))
    assert decision.claim == (Step(claimed, nets("10.244.1.0/24")),)


def test_a_deleting_nodes_claim_still_counts() -> None:
    leaving, staying = node("a", claim="10.244.0.0/24", deleting=True), node("b", claim="10.244.0.0/24")
    decision = run(leaving, staying)
    assert (decision.assign, decision.waiting) == ((), ())
    assert decision.claim == (Step(staying, nets("10.244.1.0/24")),)


@pytest.mark.parametrize("claim", ["10.244.0.0/25", "10.9.0.0/24", "10.244.0.0/24 10.244.1.0/24", "fd00::/64"])
def test_a_claim_of_another_configuration_is_written_anew(claim: str) -> None:
    old = node("a", claim=claim)
    assert run(old).claim == (Step(old, nets("10.244.0.0/24")),)


def test_both_families_or_none() -> None:
    cluster = (*CLUSTER, ip_network("fd00:244::/63"))
    decision = decide([node("a"), node("b"), node("c")], cluster, MASKS)
    assert [step.cidrs for step in decision.claim] == [
        nets("10.244.0.0/24", "fd00:244::/64"),
        nets("10.244.1.0/24", "fd00:244:0:1::/64"),
    ]
    assert [(entry.name, "fd00:244::/63 with node mask /64" in text) for entry, text in decision.exhausted] == [
        ("c", True)
    ]


def test_exhaustion_names_the_node_and_the_rest_goes_on() -> None:
    full = [node(f"n{number}", f"10.244.{number}.0/24") for number in range(3)]
    decision = run(*full, node("x"), node("y"))
    assert [step.node.name for step in decision.claim] == ["x"]
    ((entry, message),) = decision.exhausted
    assert entry.name == "y" and message.startswith("no pod CIDR for node y: 10.244.0.0/22 with node mask /24 holds")


def test_overlaps_made_by_others_are_told_and_left_alone() -> None:
    decision = run(node("a", "10.244.0.0/24"), node("b", "10.244.0.128/25"), node("c"))
    assert [(overlap.node, overlap.other) for overlap in decision.overlaps] == [("b", "a")]
    assert decision.claim == (Step(node("c"), nets("10.244.1.0/24")),)


def test_a_foreign_allocator_is_recognised() -> None:
    assigned = node("a", "10.244.9.0/24", claim="10.244.0.0/24")
    assert run(assigned).foreign == (assigned,)
    assert run(msgspec.structs.replace(assigned, claim=())).foreign == ()


def test_five_thousand_nodes() -> None:
    cluster = (ip_network("10.0.0.0/8"),)
    nodes = [node(f"n{number:05}", f"10.{number >> 8}.{number & 255}.0/24") for number in range(5000)]
    decision = decide([*nodes, node("new")], cluster, MASKS)
    assert decision.claim == (Step(node("new"), nets("10.19.136.0/24")),)
