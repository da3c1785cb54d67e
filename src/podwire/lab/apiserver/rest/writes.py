"""The verbs create, update and patch, for every kind alike.

All of a write happens inside one transaction in the writer thread: read, change, check, validate, store. So a conflict
can only come from a version that the client itself named.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.admission import admit
from podwire.lab.apiserver.auth import User
from podwire.lab.apiserver.kinds.names import metadata_causes
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Context, Object, Settings, at
from podwire.lab.apiserver.kinds.table import NAMESPACES
from podwire.lab.apiserver.rest.deletion import erase, finished
from podwire.lab.apiserver.schema.check import Report, check
from podwire.lab.apiserver.storage.store import Store
from podwire.lab.apiserver.storage.transaction import Record, Transaction

Change = Callable[[Object], Any]
"""Makes the wanted object from the present one, both in the version of the request."""

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
    "name",
)
_NAME_TRIES = 8


@dataclass
class Request:
    """One write: who, to what, and how. *warnings* go back to the client."""

    user: User
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    dry_run: bool = False
    strict: bool = False
    silent: bool = False
    warnings: list[str] = field(default_factory=list)


class Writes:
    """Writes to one store. *clock* gives the present time, in UTC."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock

    def context(self, transaction: Transaction) -> Context:
        """The surroundings of a write that happens now."""
        return Context(transaction, timestamp(self.clock()), self.settings)

    async def create(self, request: Request, obj: Any) -> Object:
        """Store a new object; returns it as stored, in the version of the request."""
        return await self.store.write(lambda transaction: self._create(transaction, request, obj))

    async def change(self, request: Request, change: Change, *, create_missing: bool = False) -> tuple[Object, bool]:
        """Store what *change* makes of the object; returns it and whether it is new."""

        def operation(transaction: Transaction) -> tuple[Object, bool]:
            record = transaction.get(request.resource.storage, request.namespace, request.name)
            if record is None:
                if not create_missing:
                    raise errors.not_found(request.resource.qualified, request.name)
                return self._create(transaction, request, change({})), True
            return self._change(transaction, request, record, change), False

        return await self.store.write(operation)

    def admit_deletion(self, user: User, resource: Resource, record: Record) -> None:
        """Raise ApiError 403 when *user* may not delete this very object."""
        admit(user, resource, record.object(), None)

    # Inside a transaction

    def _create(self, transaction: Transaction, request: Request, given: Any) -> Object:
        resource, context = request.resource, self.context(transaction)
        obj = decoded(request, given)
        meta = obj["metadata"]
        if meta.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        _place(request, meta)
        _require_namespace(transaction, request)
        if not meta.get("name"):
            _generate_name(transaction, request, meta)
        if transaction.get(resource.storage, request.namespace, meta["name"]) is not None:
            raise errors.already_exists(resource.qualified, meta["name"])
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            meta.pop(name, None)
        meta["uid"], meta["creationTimestamp"] = str(uuid.uuid4()), context.now
        if resource.strategy.generation:
            meta["generation"] = 1
        if resource.status and not resource.strategy.status_on_create:
            obj.pop("status", None)
        resource.strategy.before_create(obj, context)
        _validate(resource, obj, None)
        admit(request.user, resource, None, obj)
        key = (resource.storage, request.namespace, meta["name"])
        transaction.discarded = request.dry_run
        return outgoing(resource, transaction.put(key, obj, resource.strategy.facts(obj)))

    def _change(self, transaction: Transaction, request: Request, record: Record, change: Change) -> Object:
        resource, context, old = request.resource, self.context(transaction), record.object()
        # The change gets a copy of its own: what it returns may share parts with what it was given.
        obj = decoded(request, change(outgoing(resource, record.object())))
        meta, before = obj["metadata"], old["metadata"]
        _place(request, meta)
        _check_preconditions(request, meta, before)
        _keep_metadata(request, meta, before)
        if request.subresource == "status":
            obj = _with_status(resource, obj, old)
        elif resource.status:
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = old["status"]
        finalizers = at(obj, "spec.finalizers", []) if request.subresource == "finalize" else None
        resource.strategy.before_update(obj, old, context)
        if finalizers is not None:
            obj["spec"] = {"finalizers": finalizers}
        if request.subresource != "status":
            _validate(resource, obj, old)
        admit(request.user, resource, old, obj)
        transaction.discarded = request.dry_run
        return outgoing(resource, self.store_changed(transaction, resource, obj, old))

    def store_changed(self, transaction: Transaction, resource: Resource, obj: Object, old: Object) -> Object:
        """Store *obj* in the place of *old*: nothing happens when they are equal, and the last finalizer's end deletes."""
        meta = obj["metadata"]
        key = (resource.storage, meta.get("namespace", ""), meta["name"])
        meta["resourceVersion"] = old["metadata"].get("resourceVersion")
        if obj == old:
            return obj
        if resource.strategy.generation and _content(resource, obj) != _content(resource, old):
            meta["generation"] = int(meta.get("generation", 0)) + 1
        if finished(obj):
            return erase(transaction, resource, key, obj)
        return transaction.put(key, obj, resource.strategy.facts(obj))


def timestamp(now: datetime) -> str:
    """RFC 3339 in whole seconds, as object metadata has it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def outgoing(resource: Resource, obj: Object) -> Object:
    """A stored object in the version of *resource*."""
    return resource.conversion.outgoing(obj) if resource.conversion else obj


def decoded(request: Request, given: Any) -> Object:
    """Check what a client sent against the schema, fill in defaults, and bring it to the stored version."""
    resource = request.resource
    if not isinstance(given, dict):
        raise errors.bad_request(f"the request must hold a {resource.kind}, which is a JSON object")
    for name, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if given.setdefault(name, wanted) != wanted:
            what = "API version" if name == "apiVersion" else "kind"
            raise errors.bad_request(
                f"the {what} in the data ({given[name]}) does not match the expected {what} ({wanted})"
            )
    if given.get("metadata") is None:
        given["metadata"] = {}
    report = Report()
    check(resource.schema, given, report)
    _report(request, report)
    causes = [*report.mistyped, *report.wrong] if resource.custom else report.wrong
    if report.mistyped and not resource.custom:
        listed = "; ".join(f"{cause.field}: {cause.message}" for cause in report.mistyped)
        message = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {listed}'
        raise errors.bad_request(message, report.mistyped)
    if causes:
        name = at(given, "metadata.name", request.name)
        raise errors.invalid_object(resource.kind, resource.qualified, str(name), causes)
    obj = resource.conversion.incoming(given) if resource.conversion else given
    resource.strategy.default(obj)
    return obj


def _report(request: Request, report: Report) -> None:
    """Unknown fields are an error when the client asked for strictness, and a warning unless it asked for silence."""
    unknown = [f'unknown field "{path}"' for path in report.unknown]
    if unknown and request.strict:
        raise errors.bad_request("strict decoding error: " + ", ".join(unknown))
    if not request.silent:
        request.warnings.extend(unknown)


def _place(request: Request, meta: Object) -> None:
    """The object's own name and namespace must be those of the URL, which decides where they are missing."""
    if request.resource.namespaced:
        if meta.setdefault("namespace", request.namespace) != request.namespace:
            raise errors.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({meta['namespace']} and {request.namespace})"
            )
    else:
        meta.pop("namespace", None)
    if request.name and meta.setdefault("name", request.name) != request.name:
        raise errors.bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({request.name})"
        )


def _require_namespace(transaction: Transaction, request: Request) -> None:
    if not request.namespace:
        return
    record = transaction.get(NAMESPACES, "", request.namespace)
    if record is None:
        raise errors.not_found("namespaces", request.namespace)
    if record.facts.fields.get("status.phase") == "Terminating":
        why = f"unable to create new content in namespace {request.namespace} because it is being terminated"
        raise errors.forbidden(request.resource.qualified, request.name, why)


def _generate_name(transaction: Transaction, request: Request, meta: Object) -> None:
    base = meta.get("generateName")
    if not base:
        cause = errors.required("metadata.name", "name or generateName is required")
        raise errors.invalid_object(request.resource.kind, request.resource.qualified, "", [cause])
    for _ in range(_NAME_TRIES):
        name = base[:58] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        if transaction.get(request.resource.storage, request.namespace, name) is None:
            meta["name"] = name
            return
    raise errors.already_exists(request.resource.qualified, f"{base}?????")


def _check_preconditions(request: Request, meta: Object, before: Object) -> None:
    qualified, name = request.resource.qualified, before["name"]
    if meta.get("uid") and meta["uid"] != before["uid"]:
        why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before['uid']}"
        raise errors.conflict(qualified, name, why)
    if meta.get("resourceVersion") and meta["resourceVersion"] != before["resourceVersion"]:
        raise errors.conflict(qualified, name)


def _keep_metadata(request: Request, meta: Object, before: Object) -> None:
    for name in _KEPT:
        meta.pop(name, None)
        if name in before:
            meta[name] = before[name]
    if "managedFields" not in meta and "managedFields" in before:
        meta["managedFields"] = before["managedFields"]
    added = set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if "deletionTimestamp" in before and added:
        detail = "no new finalizers can be added if the object is being deleted"
        cause = errors.forbidden_field("metadata.finalizers", f"{detail}, found new finalizers {sorted(added)}")
        raise errors.invalid_object(request.resource.kind, request.resource.qualified, before["name"], [cause])


def _with_status(resource: Resource, obj: Object, old: Object) -> Object:
    """A write to /status changes the status, and for some kinds labels and annotations; the rest stays."""
    result = dict(old)
    result.pop("status", None)
    if "status" in obj:
        result["status"] = obj["status"]
    result["metadata"] = dict(old["metadata"])
    carried = ("labels", "annotations") if resource.strategy.status_carries_metadata else ()
    for name in (*carried, "managedFields"):
        result["metadata"].pop(name, None)
        if name in obj["metadata"]:
            result["metadata"][name] = obj["metadata"][name]
    return result


def _validate(resource: Resource, obj: Object, old: Object | None) -> None:
    causes = [*metadata_causes(obj["metadata"], resource.strategy.name_problem)] if old is None else []
    if old is not None:
        causes = [*metadata_causes(obj["metadata"], lambda _: "")]
    causes.extend(resource.strategy.validate(obj))
    if old is not None:
        causes.extend(resource.strategy.validate_update(obj, old))
    if causes:
        raise errors.invalid_object(resource.kind, resource.qualified, obj["metadata"]["name"], causes)


def _content(resource: Resource, obj: Object) -> Object:
    """What the generation counts changes of."""
    ignored = ("metadata", "status") if resource.status else ("metadata",)
    return {key: value for key, value in obj.items() if key not in ignored}
