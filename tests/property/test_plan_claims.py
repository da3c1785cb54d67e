"""Claims finds exactly the clashes that comparing every pair of nodes finds."""

from __future__ import annotations

import ipaddress
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.model.addresses import IPNetwork, overlapping
from podwire.model.cluster import Node
from podwire.plan.claims import Claims

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"

V4 = st.builds(
    lambda offset, length: ipaddress.ip_network((0x0AF40000 + offset, length), strict=False),
    st.integers(0, 0x1FFF),
    st.integers(16, 32),
)
V6 = st.builds(
    lambda offset, length: ipaddress.ip_network(((0xFD << 120) + (offset << 60), length), strict=False),
    st.integers(0, 255),
    st.integers(48, 72),
)
CIDRS: st.SearchStrategy[IPNetwork] = st.one_of(V4, V6)
NODES = st.lists(
    st.builds(
        Node,
        name=st.sampled_from("abcdefgh"),
        addresses=st.lists(st.integers(1, 9).map(lambda n: ipaddress.ip_address(0x0A590000 + n)), max_size=2).map(
            tuple
        ),
        pod_cidrs=st.lists(CIDRS, max_size=3).map(tuple),
    ),
    max_size=12,
)


def naive(node: Node, others: list[Node]) -> list[tuple[str, str, str]]:
    found = {
        (str(ours), str(theirs), other.name)
        for other in others
        if other.name != node.name
        for ours in node.pod_cidrs
        for theirs in other.pod_cidrs
        if overlapping(ours, theirs)
    }
    found |= {
        (str(addr), str(addr), other.name)
        for other in others
        if other.name != node.name
        for addr in node.addresses
        if addr in other.addresses
    }
    return sorted(found)


@settings(max_examples=5000 if FULL else 300, deadline=None, derandomize=not FULL)
@given(NODES, st.data())
def test_clashes_are_those_of_every_pair(nodes: list[Node], data: st.DataObject) -> None:
    claims = Claims()
    known: dict[str, Node] = {}
    for node in nodes:  # a name that comes again is a node that changed
        if node.name in known:
            claims.remove(known[node.name])
        known[node.name] = node
        claims.add(node)
    gone = data.draw(st.sets(st.sampled_from("abcdefgh"), max_size=4))
    for name in gone & known.keys():
        claims.remove(known.pop(name))
    for node in nodes:
        others = [other for other in known.values() if other.name != node.name]
        assert list(claims.clashes(node)) == naive(node, others)
    for node in known.values():
        claims.remove(node)
    assert not any(list(claims.clashes(node)) for node in nodes), "a removed claim stayed"
