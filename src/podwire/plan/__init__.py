"""Planning: what should be on a node, from what the cluster is. Pure: no I/O, no clock.

Two forms that a property test holds equal:

* :func:`plan` makes the whole plan of a :class:`~podwire.model.cluster.Snapshot`, for any node, here or not;
* :func:`step` carries a :class:`State` over changes and answers the :class:`~podwire.model.intent.Delta`; the work for one
  changed object does not grow with the number of nodes.

The words: a **part** is what one object (a peer, an attachment) contributes; the **base** is what the node itself needs; a
**refusal** is a peer that is not routed to, with the reason; a **warning** is about this node itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from podwire.model.cluster import Snapshot
from podwire.model.config import Config
from podwire.model.intent import Intent, Wanted
from podwire.plan.claims import Claims
from podwire.plan.ledger import BASE, Part, attachment_part, contest, node_part
from podwire.plan.node import base, peer, warnings
from podwire.plan.result import Finding, PeerPlan, Plan
from podwire.plan.state import State, step
from podwire.plan.wiring import wanted

__all__ = ["Finding", "PeerPlan", "Plan", "State", "plan", "step"]


def plan(snapshot: Snapshot, node: str, config: Config) -> Plan:
    """The whole plan of *node*. A node that is not in the Snapshot gets its attachments' routes, and a warning."""
    me = snapshot.nodes.get(node)
    parts: dict[Part, Iterable[Wanted]] = {}
    refusals: list[Finding] = []
    if me is not None:
        claims = Claims()
        for known in snapshot.nodes.values():
            claims.add(known)
        parts[BASE] = base(config, me, snapshot.underlays)
        for name, other in snapshot.nodes.items():
            if name != node:
                made = peer(config, me, other, snapshot.underlays, claims)
                parts[node_part(name)] = made.wanted
                refusals += made.refusals
    for key, attachment in snapshot.attachments.items():
        if attachment.state == "ready":
            parts[attachment_part(key)] = wanted(attachment)
    intent, contests = _sum(parts)
    told = (*warnings(config, node, me, snapshot.underlays), *contests)
    return Plan(intent, tuple(sorted(refusals)), tuple(sorted(told)))


def _sum(parts: Mapping[Part, Iterable[Wanted]]) -> tuple[Intent, list[Finding]]:
    """All parts together; where two want one key, the first has it (see :mod:`podwire.plan.ledger`)."""
    intent = Intent()
    contests: list[Finding] = []
    for part in sorted(parts):
        for element in parts[part]:
            winner = intent.items.setdefault(element.key, element)
            if winner.value != element.value:
                contests.append(contest(element, winner))
    return intent, contests
