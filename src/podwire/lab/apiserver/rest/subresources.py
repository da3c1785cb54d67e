"""Subresources that are neither status nor proxied: binding, eviction and scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.printing import selector_text
from podwire.lab.apiserver.kinds.resource import Registry, Resource, ScalePaths
from podwire.lab.apiserver.kinds.strategy import Object, Strategy, at
from podwire.lab.apiserver.rest import deletion
from podwire.lab.apiserver.rest.writes import Request, Writes, timestamp
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.schema.check import Report, check
from podwire.lab.apiserver.storage.transaction import Transaction


def checked(type_name: str, body: Any) -> Object:
    """A body that is not an object of the resource itself, checked against its type. ApiError 400 or 422."""
    if not isinstance(body, dict):
        raise errors.bad_request(f"the request must hold a {type_name}, which is a JSON object")
    report = Report()
    check(types()[type_name], body, report)
    if report.mistyped or report.wrong:
        raise errors.invalid_object(type_name, type_name.lower(), "", [*report.mistyped, *report.wrong])
    return body


async def bind(writes: Writes, request: Request, body: Any) -> Object:
    """Give a pod its node: the one write to ``spec.nodeName``, done once."""
    binding = checked("Binding", body)
    node, resource = str(binding["target"].get("name", "")), request.resource
    if not node:
        raise errors.invalid_object("Binding", "bindings", request.name, [errors.required("target.name")])

    def operation(transaction: Transaction) -> Object:
        record = transaction.get(resource.storage, request.namespace, request.name)
        if record is None:
            raise errors.not_found(resource.qualified, request.name)
        pod, old = record.object(), record.object()
        taken = at(pod, "spec.nodeName")
        if "deletionTimestamp" in pod["metadata"]:
            raise errors.conflict(
                "pods/binding", request.name, f"pod {request.name} is being deleted, cannot be assigned"
            )
        if taken:
            why = f'pod {request.name} is already assigned to node "{taken}"'
            raise errors.conflict("pods/binding", request.name, why)
        pod["spec"]["nodeName"] = node
        annotations = at(binding, "metadata.annotations", {})
        if annotations:
            pod["metadata"].setdefault("annotations", {}).update(annotations)
        now = timestamp(writes.clock())
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [*(item for item in conditions if item.get("type") != "PodScheduled"), scheduled]
        transaction.discarded = request.dry_run
        writes.store_changed(transaction, resource, pod, old)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    return await writes.store.write(operation)


async def evict(writes: Writes, registry: Registry, request: Request, body: Any) -> Object:
    """Delete a pod, on behalf of ``kubectl drain``. There are no disruption budgets in the lab."""
    eviction = checked("Eviction", body or {})
    options = deletion.read_options(eviction.get("deleteOptions") or {}, {})

    def operation(transaction: Transaction) -> Object:
        record = transaction.get(request.resource.storage, request.namespace, request.name)
        if record is None:
            raise errors.not_found(request.resource.qualified, request.name)
        deletion.delete(transaction, registry, request.resource, record, options, writes.clock())
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    return await writes.store.write(operation)


SCALE = Resource("autoscaling", "v1", "Scale", "scales", types()["Scale"], Strategy())
"""How a Scale is patched. It is never stored."""


def scale_of(resource: Resource, obj: Object) -> Object:
    """The Scale of an object."""
    paths, meta = resource.scale or ScalePaths(), obj["metadata"]
    selector = at(obj, paths.selector) if paths.selector else None
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": at(obj, paths.status_replicas, 0) if paths.status_replicas else 0}
    if selector:
        status["selector"] = selector if isinstance(selector, str) else selector_text(selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": at(obj, paths.spec_replicas, 0)},
        "status": status,
    }


def scaled(resource: Resource, change: Callable[[Object], Any]) -> Callable[[Object], Object]:
    """A change of an object, made from a *change* of its Scale."""

    def apply(obj: Object) -> Object:
        scale = checked("Scale", change(scale_of(resource, obj)))
        version = at(scale, "metadata.resourceVersion")
        if version:
            obj["metadata"]["resourceVersion"] = version
        parts = (resource.scale or ScalePaths()).spec_replicas.split(".")
        inner = obj
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
        inner[parts[-1]] = at(scale, "spec.replicas", 0)
        return obj

    return apply
