"""Nodes that go silent, the pods that leave them, and what is left of nodes that were removed."""

from __future__ import annotations

from typing import Any

import msgspec

from podwire.cluster.resources import NODES, PODS
from podwire.lab.kubelet.clock import seconds_of
from podwire.lab.manager.objects import Node
from podwire.lab.manager.taints import evict_at, wanted_taints
from podwire.lab.manager.world import World

SILENCE = 12.0
"""Seconds without a renewed Lease after which a node's state is unknown; Kubernetes takes 40, a lab is watched by people."""


async def lifecycle(world: World, now: float, stamp: str) -> None:
    """Mark silent nodes, taint those that are not ready, evict what does not put up with it."""
    for node in list(world.nodes.objects.values()):
        if node.ready == "True" and _silent(world, node, now):
            await _mark_unknown(world, node, stamp)
        ready = world.nodes.objects.get(node.metadata.key, node).ready
        taints = wanted_taints(node.spec.taints, ready, node.spec.unschedulable, stamp)
        if taints != node.spec.taints:
            told = [_plain(taint) for taint in taints]
            await world.patch(NODES, node.metadata.key, {"spec": {"taints": told}})


async def evictions(world: World, now: float) -> None:
    """Delete pods whose node they no longer tolerate, and at once those whose node is no more."""
    for pod in list(world.pods.objects.values()):
        if not pod.spec.node_name:
            continue
        node = world.nodes.objects.get(("", pod.spec.node_name))
        if node is None:
            await world.delete(PODS, pod.metadata, grace_seconds=0)
        elif pod.active and (when := evict_at(pod.spec.tolerations, node.spec.taints)) is not None and when <= now:
            await world.delete(PODS, pod.metadata)


def _silent(world: World, node: Node, now: float) -> bool:
    lease = world.leases.objects.get(("kube-node-lease", node.metadata.name))
    if lease is None or not lease.spec.renew_time:
        return False
    return now - seconds_of(lease.spec.renew_time) > SILENCE


async def _mark_unknown(world: World, node: Node, stamp: str) -> None:
    conditions = []
    for condition in node.status.conditions:
        told = _plain(condition)
        if condition.type == "Ready":
            told |= {
                "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": stamp,
            }  # fmt: skip
        conditions.append(told)
    await world.patch(NODES, node.metadata.key, {"status": {"conditions": conditions}}, subresource="status")


def _plain(value: Any) -> dict[str, Any]:
    return {name: found for name, found in msgspec.to_builtins(value).items() if found != ""}
