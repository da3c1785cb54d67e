"""Deployments, ReplicaSets and DaemonSets: their pods, their rollouts, their status."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from podwire.cluster.resources import DAEMON_SETS, DEPLOYMENTS, PODS, REPLICA_SETS
from podwire.lab.manager import daemons, rollout
from podwire.lab.manager.objects import Meta, Pod, PodSpec, Workload
from podwire.lab.manager.rollout import HASH_LABEL
from podwire.lab.manager.world import World

_DAEMON_HASH = "controller-revision-hash"


async def deployments(world: World, now: str) -> None:
    """Keep each Deployment's ReplicaSets at what a rolling update asks for."""
    for deployment in list(world.deployments.objects.values()):
        if deployment.metadata.deletion_timestamp:
            continue
        owned = [one for one in world.sets.objects.values() if one.metadata.controller_uid == deployment.metadata.uid]
        owned.sort(key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
        current = next(
            (one for one in owned if rollout.same_template(one.spec.template, deployment.spec.template)), None
        )
        if current is None and not deployment.spec.paused:
            await _new_set(world, deployment)
            continue
        if current is not None:
            await _roll(world, deployment, current, [one for one in owned if one is not current])
        await _deployment_status(world, deployment, current, owned, now)


async def _new_set(world: World, deployment: Workload) -> None:
    digest = rollout.template_hash(deployment.spec.template)
    template = msgspec.to_builtins(deployment.spec.template)
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH_LABEL] = digest
    selector = msgspec.to_builtins(deployment.spec.selector)
    matching = {**deployment.spec.selector.match_labels, HASH_LABEL: digest}
    body = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment.metadata.name}-{digest}", "labels": dict(labels),
            "ownerReferences": [_owner("apps/v1", "Deployment", deployment.metadata)],
        },
        "spec": {"replicas": 0, "selector": {**selector, "matchLabels": matching}, "template": template},
    }  # fmt: skip
    await world.create(REPLICA_SETS, body, deployment.metadata.namespace)


async def _roll(world: World, deployment: Workload, current: Workload, old: list[Workload]) -> None:
    replicas = deployment.spec.replicas
    new, others = _counted(world, current), [_counted(world, one) for one in old]
    if deployment.spec.strategy.type == "Recreate":
        wanted = rollout.recreate(replicas, new, others)
    else:
        wanted = rollout.scale(replicas, *rollout.limits(deployment.spec.strategy, replicas), new, others)
    for name, count in (wanted or {}).items():
        await world.patch(REPLICA_SETS, (deployment.metadata.namespace, name), {"spec": {"replicas": count}})
    for one in old[: max(0, len(old) - deployment.spec.revision_history_limit)]:
        if not one.spec.replicas and not _pods_of(world, one):
            await world.delete(REPLICA_SETS, one.metadata)


def _counted(world: World, one: Workload) -> rollout.Set:
    pods = [pod for pod in _pods_of(world, one) if pod.active]
    return rollout.Set(one.metadata.name, one.spec.replicas, len(pods), sum(pod.ready for pod in pods))


async def replica_sets(world: World) -> None:
    """Keep each ReplicaSet at its number of pods."""
    for one in list(world.sets.objects.values()):
        if one.metadata.deletion_timestamp:
            continue
        pods = sorted((pod for pod in _pods_of(world, one) if pod.active), key=_worth)
        for _ in range(one.spec.replicas - len(pods)):
            await world.create(PODS, _pod(one, "ReplicaSet"), one.metadata.namespace)
        for pod in pods[: max(0, len(pods) - one.spec.replicas)]:
            await world.delete(PODS, pod.metadata)
        ready = sum(pod.ready for pod in pods)
        status = {
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "fullyLabeledReplicas": len(pods),
        }
        await _write_status(world, REPLICA_SETS, one, status)


def _worth(pod: Pod) -> tuple[bool, bool, str]:
    """Who goes first when there are too many: the unbound, then the unready, then the oldest."""
    return (bool(pod.spec.node_name), pod.ready, pod.metadata.creation_timestamp)


async def daemon_sets(world: World) -> None:
    """Keep one pod of each DaemonSet on each node that fits."""
    nodes = {node.metadata.name: node for node in world.nodes.objects.values()}
    for one in list(world.daemons.objects.values()):
        if one.metadata.deletion_timestamp:
            continue
        pods = _pods_of(world, one)
        digest = rollout.template_hash(one.spec.template)
        template = _template_pod(one)
        todo = daemons.moves(template, nodes, pods, digest, one.spec.update_strategy, _DAEMON_HASH)
        put_up_with = [_plain(term) for term in daemons.tolerations(template.spec)]
        for name in todo.create:
            body = _pod(one, "DaemonSet")
            body["metadata"]["labels"][_DAEMON_HASH] = digest
            body["spec"] |= {"nodeName": name, "tolerations": put_up_with}
            await world.create(PODS, body, one.metadata.namespace)
        for pod in pods:
            if pod.metadata.name in todo.delete:
                await world.delete(PODS, pod.metadata)
        active = [pod for pod in pods if pod.active]
        ready = sum(pod.ready for pod in active)
        wanted = sum(
            daemons.fits(template, node, already_there=any(pod.spec.node_name == name for pod in active))
            for name, node in nodes.items()
        )
        status = {
            "desiredNumberScheduled": wanted, "currentNumberScheduled": len(active),
            "numberReady": ready, "numberAvailable": ready,
            "numberUnavailable": max(0, wanted - ready), "numberMisscheduled": 0,
            "updatedNumberScheduled": sum(pod.metadata.labels.get(_DAEMON_HASH) == digest for pod in active),
        }  # fmt: skip
        await _write_status(world, DAEMON_SETS, one, status)


def _template_pod(one: Workload) -> Pod:
    spec = msgspec.convert(one.spec.template.get("spec") or {}, PodSpec, strict=False)
    return Pod(Meta(name=one.metadata.name, namespace=one.metadata.namespace), spec)


def _plain(value: Any) -> dict[str, Any]:
    return {name: found for name, found in msgspec.to_builtins(value).items() if found not in ("", None)}


def _pods_of(world: World, owner: Workload) -> list[Pod]:
    return [pod for pod in world.pods.objects.values() if pod.metadata.controller_uid == owner.metadata.uid]


def _owner(api_version: str, kind: str, meta: Meta) -> dict[str, Any]:
    return {
        "apiVersion": api_version, "kind": kind, "name": meta.name, "uid": meta.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def _pod(owner: Workload, kind: str) -> dict[str, Any]:
    """A pod of *owner*'s template, with a name of its own."""
    template = msgspec.to_builtins(owner.spec.template)
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": f"{owner.metadata.name}-{secrets.token_hex(3)[:5]}", "labels": dict(meta.get("labels") or {}),
            "annotations": dict(meta.get("annotations") or {}), "ownerReferences": [_owner("apps/v1", kind, owner.metadata)],
        },
        "spec": template.get("spec") or {},
    }  # fmt: skip


async def _write_status(world: World, resource: Any, one: Workload, status: dict[str, Any]) -> None:
    status["observedGeneration"] = one.metadata.generation
    if any(one.status.get(name) != value for name, value in status.items()):
        await world.patch(resource, one.metadata.key, {"status": status}, subresource="status")


async def _deployment_status(
    world: World, one: Workload, current: Workload | None, owned: list[Workload], now: str
) -> None:
    counts = [_counted(world, each) for each in owned]
    updated = _counted(world, current) if current is not None else rollout.Set("", 0, 0, 0)
    available = sum(each.available for each in counts)
    wanted = one.spec.replicas
    _, unavailable = rollout.limits(one.spec.strategy, wanted)
    complete = updated.pods == wanted == available and sum(each.pods for each in counts) == wanted
    status: dict[str, Any] = {
        "replicas": sum(each.pods for each in counts), "updatedReplicas": updated.pods, "readyReplicas": available,
        "availableReplicas": available, "unavailableReplicas": max(0, wanted - available),
    }  # fmt: skip
    met = available >= wanted - unavailable
    conditions = {
        "Available": ("True", "MinimumReplicasAvailable") if met else ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated"),
    }
    known = {each["type"]: each for each in one.status.get("conditions") or []}
    told = []
    for kind, (state, reason) in conditions.items():
        before = known.get(kind, {})
        same = (before.get("status"), before.get("reason")) == (state, reason)
        told.append(
            before
            if same
            else {"type": kind, "status": state, "reason": reason, "lastTransitionTime": now, "lastUpdateTime": now}
        )
    status["conditions"] = told
    await _write_status(world, DEPLOYMENTS, one, status)
