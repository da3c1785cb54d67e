"""Planning: what should be on a node, from what the cluster is. Pure: no I/O, no clock.

Two forms that a property test holds equal:

* :func:`plan` makes the whole plan of a :class:`~podwire.model.cluster.Snapshot`, for any node, here or not;
* :func:`step` carries a :class:`State` over changes and answers the :class:`~podwire.model.intent.Delta`; the work for one
  changed object does not grow with the number of nodes.

The words: a **part** is what one object (a peer, an attachment) contributes; the **base** is what the node itself needs; a
**refusal** is a peer that is not routed to, with the reason; a **warning** is about this node itself.
"""

from __future__ import annotations

from podwire.model.cluster import Snapshot
from podwire.model.config import Config
from podwire.model.intent import Intent
from podwire.plan.claims import Claims
from podwire.plan.node import base, peer, warnings
from podwire.plan.result import Finding, PeerPlan, Plan
from podwire.plan.state import State, step
from podwire.plan.wiring import wanted

__all__ = ["Finding", "PeerPlan", "Plan", "State", "plan", "step"]


def plan(snapshot: Snapshot, node: str, config: Config) -> Plan:
    """The whole plan of *node*. A node that is not in the Snapshot gets its attachments' routes, and a warning."""
    me = snapshot.nodes.get(node)
    intent = Intent()
    refusals: list[Finding] = []
    if me is not None:
        claims = Claims()
        for known in snapshot.nodes.values():
            claims.add(known)
        for element in base(config, me, snapshot.underlays):
            intent.add(element)
        for name, other in snapshot.nodes.items():
            if name != node:
                part = peer(config, me, other, snapshot.underlays, claims)
                refusals += part.refusals
                for element in part.wanted:
                    intent.add(element)
    for attachment in snapshot.attachments.values():
        if attachment.state == "ready":
            for element in wanted(attachment):
                intent.add(element)
    return Plan(intent, tuple(sorted(refusals)), tuple(sorted(warnings(config, node, me, snapshot.underlays))))
