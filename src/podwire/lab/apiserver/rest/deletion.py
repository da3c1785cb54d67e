"""The verbs delete and deletecollection: preconditions, grace, finalizers, and what becomes of dependents.

Background (the default): the object goes, the collector deletes what it owned. Foreground: the object waits, with a
finalizer, for its dependents. Orphan: the dependents forget their owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.resource import Registry, Resource
from podwire.lab.apiserver.kinds.strategy import Object, at
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.schema.check import Report, check
from podwire.lab.apiserver.storage.transaction import Key, Record, Transaction

FOREGROUND = "foregroundDeletion"
NAMESPACE_KIND = "Namespace"


@dataclass(frozen=True)
class DeleteOptions:
    """What a client may ask of a deletion."""

    grace: int | None = None
    uid: str = ""
    version: str = ""
    propagation: str = "Background"
    dry_run: bool = False


def read_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """The options of a request's body, else of its query. ApiError 400 or 422 for bad ones."""
    given = body if isinstance(body, dict) else {}
    report = Report()
    if given:
        check(types()["DeleteOptions"], given, report)
    elif "gracePeriodSeconds" in query or "propagationPolicy" in query or "orphanDependents" in query:
        seconds = query.get("gracePeriodSeconds", "")
        if seconds and not seconds.isdecimal():
            raise errors.bad_request(f"gracePeriodSeconds: {seconds!r} is not a number of seconds")
        given = {"gracePeriodSeconds": int(seconds)} if seconds else {}
        if "propagationPolicy" in query:
            given["propagationPolicy"] = query["propagationPolicy"]
        given["orphanDependents"] = query.get("orphanDependents") == "true"
        check(types()["DeleteOptions"], given, report)
    if report.mistyped or report.wrong:
        causes = [*report.mistyped, *report.wrong]
        raise errors.invalid_object("DeleteOptions", "deleteoptions.meta.k8s.io", "", causes)
    propagation = given.get("propagationPolicy") or ("Orphan" if given.get("orphanDependents") else "Background")
    return DeleteOptions(
        grace=given.get("gracePeriodSeconds"),
        uid=str(at(given, "preconditions.uid", "")),
        version=str(at(given, "preconditions.resourceVersion", "")),
        propagation=propagation,
        dry_run=bool(given.get("dryRun") or query.get("dryRun")),
    )


def delete(
    transaction: Transaction,
    registry: Registry,
    resource: Resource,
    record: Record,
    options: DeleteOptions,
    now: datetime,
) -> tuple[Object, bool]:
    """Delete, or begin to; returns the object's last state, and whether it is gone."""
    obj = record.object()
    meta = obj["metadata"]
    _check_preconditions(resource, meta, options)
    if problem := resource.strategy.undeletable(obj):
        raise errors.forbidden(resource.qualified, meta["name"], problem)
    transaction.discarded = options.dry_run
    _propagate(transaction, registry, meta, options)
    grace = resource.strategy.grace_seconds(obj, options.grace)
    before = msgspec.json.encode(obj)
    _mark(obj, record, grace, now)
    if resource.kind == NAMESPACE_KIND and resource.group == "":
        obj.setdefault("status", {})["phase"] = "Terminating"
    elif finished(obj):
        return erase(transaction, resource, record.key, obj), True
    if msgspec.json.encode(obj) == before:
        return obj, False
    return transaction.put(record.key, obj, resource.strategy.facts(obj)), False


def _check_preconditions(resource: Resource, meta: Object, options: DeleteOptions) -> None:
    for wanted, found, what in (
        (options.uid, meta["uid"], "UID"),
        (options.version, meta["resourceVersion"], "ResourceVersion"),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            raise errors.conflict(resource.qualified, meta["name"], why)


def _propagate(transaction: Transaction, registry: Registry, meta: Object, options: DeleteOptions) -> None:
    uid = meta["uid"]
    if options.propagation == "Orphan":
        for key in transaction.dependents(uid):
            disown(transaction, registry, key, {uid})
    elif options.propagation == "Foreground" and transaction.dependents(uid):
        finalizers = meta.setdefault("finalizers", [])
        if FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)


def disown(transaction: Transaction, registry: Registry, key: Key, owners: set[str]) -> None:
    """Take references to *owners* out of an object's ownerReferences."""
    record, resource = transaction.get(*key), registry.stored_at(key[0])
    if record is None or resource is None:
        return
    obj = record.object()
    kept = [owner for owner in obj["metadata"].get("ownerReferences") or () if owner["uid"] not in owners]
    obj["metadata"]["ownerReferences"] = kept
    if not kept:
        del obj["metadata"]["ownerReferences"]
    transaction.put(key, obj, resource.strategy.facts(obj))


def _mark(obj: Object, record: Record, grace: int, now: datetime) -> None:
    """Set the deletion's time; a second deletion can only bring it forward."""
    meta = obj["metadata"]
    if "deletionTimestamp" in meta and meta.get("deletionGracePeriodSeconds", 0) <= grace:
        return
    if "deletionTimestamp" not in meta and "generation" in meta:
        meta["generation"] += 1
    meta["deletionTimestamp"] = (now + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta["deletionGracePeriodSeconds"] = grace


def finished(obj: Object) -> bool:
    """Whether nothing keeps an object that is being deleted: no finalizer, no grace."""
    meta = obj["metadata"]
    return (
        "deletionTimestamp" in meta
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and not (obj["kind"] == NAMESPACE_KIND and at(obj, "spec.finalizers"))
    )


def erase(transaction: Transaction, resource: Resource, key: Key, obj: Object) -> Object:
    """Remove an object, and what vanishes together with it."""
    for inner in resource.strategy.contents(obj, transaction):
        record = transaction.get(*inner)
        if record is not None:
            transaction.delete(inner, record.object(), record.facts)
    return transaction.delete(key, obj, resource.strategy.facts(obj))
