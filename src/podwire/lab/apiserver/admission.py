"""What a node's user may write: only what is its own (Kubernetes' NodeRestriction, as far as it matters here)."""

from __future__ import annotations

from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.auth import User
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import at

_RESERVED = "node-restriction.kubernetes.io/"


def admit(user: User, resource: Resource, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Raise ApiError 403 when *user* may not turn *old* (None: create) into *new* (None: delete)."""
    node = user.node
    if not node:
        return
    name = (new or old or {})["metadata"]["name"]
    problem = ""
    match resource.storage:
        case "/nodes":
            problem = _node_problem(node, name, old, new)
        case "/pods":
            if old is None or at(old, "spec.nodeName") != node:
                problem = f'node "{node}" can only change pods with spec.nodeName set to itself'
            elif new is not None and new.get("spec") != old.get("spec"):
                problem = f'node "{node}" can only change the status of its pods'
        case "coordination.k8s.io/leases":
            if name != node:
                problem = f'node "{node}" can only write the lease of its own name'
    if problem:
        raise errors.forbidden(resource.qualified, name, problem)


def _node_problem(node: str, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if new is None:
        return f'node "{node}" is not allowed to delete itself'
    for field in ("spec.podCIDRs", "spec.podCIDR"):
        if at(new, field) != at(old or {}, field):
            return f'node "{node}" is not allowed to set {field}: the controller does'
    if old is not None and at(new, "spec.taints") != at(old, "spec.taints"):
        return f'node "{node}" is not allowed to modify its taints'
    before, after = at(old or {}, "metadata.labels", {}), at(new, "metadata.labels", {})
    changed = sorted(key for key in {*before, *after} if _RESERVED in key and before.get(key) != after.get(key))
    return f'node "{node}" is not allowed to modify labels: {", ".join(changed)}' if changed else ""
