"""What to do about node CIDRs, given a list of the Nodes. Pure; run again after every write.

A Node gets its CIDRs in two writes: first a **claim** (an annotation), then, after a list that shows the claim and
nobody else's claim or CIDR overlapping it, the **assignment**. Both are conditional on the Node's resourceVersion.

Then no two Nodes can be assigned overlapping CIDRs, however many controllers run, pause, die or repeat themselves: say
that Node A was assigned X after a list L1, and Node B an overlapping Y after a later list L2. A was not changed between
L1 and its assignment (the resourceVersion says so), so at L2 it had either still the claim X or already the CIDR X. L2
shows one of them, hence B was not assigned. The leader's Lease is only there to spare work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from podwire.controller.api import NodeRecord
from podwire.ipam.node_cidrs import Capacity, NodeCidrs, Overlap
from podwire.model.addresses import IPNetwork
from podwire.model.errors import PoolExhausted


class Step(msgspec.Struct, frozen=True):
    """A write on one Node."""

    node: NodeRecord
    cidrs: tuple[IPNetwork, ...]


class Decision(msgspec.Struct, frozen=True):
    """*claim* and *assign* are to be written; *waiting* hold a contested claim and are decided by the next list.

    *exhausted* are Nodes for which there is no room, with the message. *overlaps* are assignments that others made and
    that break the network. *foreign* are Nodes that somebody else assigned while we had claimed CIDRs for them.
    """

    claim: tuple[Step, ...] = ()
    assign: tuple[Step, ...] = ()
    waiting: tuple[NodeRecord, ...] = ()
    exhausted: tuple[tuple[NodeRecord, str], ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    foreign: tuple[NodeRecord, ...] = ()
    capacity: tuple[Capacity, ...] = ()


def decide(nodes: Iterable[NodeRecord], cluster_cidrs: Sequence[IPNetwork], masks: Mapping[int, int]) -> Decision:
    """The next step for every Node in *nodes*, which is one consistent list."""
    by_name = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
    books = NodeCidrs(cluster_cidrs, masks)
    overlaps = [
        overlap for node in by_name.values() if node.pod_cidrs for overlap in books.occupy(node.name, node.pod_cidrs)
    ]
    without = [node for node in by_name.values() if not node.pod_cidrs]
    for node in without:
        if node.claim:
            books.occupy(node.name, node.claim)
    # All rivals are known before any book is changed: an assignment rests on what the list shows, nothing else.
    rivals = {
        node.name: [by_name[overlap.other] for cidr in node.claim for overlap in books.overlaps(node.name, cidr)]
        for node in without
    }
    assign: list[Step] = []
    waiting: list[NodeRecord] = []
    unclaimed: list[NodeRecord] = []
    for node in without:
        if node.deleting:
            continue
        if not _fits(node.claim, cluster_cidrs, masks):
            unclaimed.append(node)
        elif not rivals[node.name]:
            assign.append(Step(node, node.claim))
        elif all(not rival.pod_cidrs and rival.name > node.name for rival in rivals[node.name]):
            waiting.append(node)
        else:
            unclaimed.append(node)
    for node in unclaimed:
        books.release(node.name)
    claim: list[Step] = []
    exhausted: list[tuple[NodeRecord, str]] = []
    for node in unclaimed:
        try:
            claim.append(Step(node, books.allocate(node.name)))
        except PoolExhausted as error:
            exhausted.append((node, str(error)))
    return Decision(
        claim=tuple(claim),
        assign=tuple(assign),
        waiting=tuple(waiting),
        exhausted=tuple(exhausted),
        overlaps=tuple(overlaps),
        foreign=tuple(node for node in by_name.values() if node.claim and node.pod_cidrs),
        capacity=tuple(books.capacity()),
    )


def _fits(claim: Sequence[IPNetwork], cluster_cidrs: Sequence[IPNetwork], masks: Mapping[int, int]) -> bool:
    """Whether *claim* is what the configuration would give: one CIDR of each cluster CIDR, in order, of its mask."""
    return len(claim) == len(cluster_cidrs) and all(
        cidr.version == cluster.version
        and cidr.prefixlen == masks[cluster.version]
        and int(cluster.network_address) <= int(cidr.network_address)
        and int(cidr.broadcast_address) <= int(cluster.broadcast_address)
        for cidr, cluster in zip(claim, cluster_cidrs, strict=True)
    )
