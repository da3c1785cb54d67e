"""From a PATCH request to the change that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from podwire.lab.apiserver import errors, patch
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.patch.apply import server_side_apply
from podwire.lab.apiserver.patch.json_patch import json_patch
from podwire.lab.apiserver.patch.merge import merge_patch
from podwire.lab.apiserver.patch.strategic import strategic_merge
from podwire.lab.apiserver.rest.writes import timestamp


def changed_by(
    media: str, body: Any, resource: Resource, *, manager: str, force: bool, clock: Callable[[], datetime]
) -> Callable[[Object], Any]:
    """The change that *body*, a patch of the type *media*, makes. ApiError 400 or 415 when it is no patch of that type."""
    match media:
        case patch.JSON_PATCH:
            return lambda obj: json_patch(obj, body)
        case patch.MERGE_PATCH if isinstance(body, dict):
            return lambda obj: merge_patch(obj, body)
        case patch.STRATEGIC_PATCH if not resource.custom:
            return lambda obj: strategic_merge(obj, body, resource.schema)
        case patch.APPLY_PATCH:
            return _applied(body, resource, manager, force, clock)
        case patch.MERGE_PATCH:
            raise errors.bad_request("a merge patch must be a JSON object")
    supported = [kind for kind in patch.MEDIA_TYPES if kind != patch.STRATEGIC_PATCH or not resource.custom]
    raise errors.unsupported_media(media, supported)


def _applied(
    body: Any, resource: Resource, manager: str, force: bool, clock: Callable[[], datetime]
) -> Callable[[Object], Any]:
    if not isinstance(body, dict):
        raise errors.bad_request("an applied configuration must be an object")
    if not manager:
        causes = [errors.required("fieldManager", "is required for apply patch")]
        raise errors.invalid_object("PatchOptions", "patchoptions.meta.k8s.io", "", causes)
    if (body.get("metadata") or {}).get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")

    def change(obj: Object) -> Object:
        return server_side_apply(
            obj or None,
            body,
            resource.schema,
            manager=manager,
            force=force,
            now=timestamp(clock()),
            resource=resource.qualified,
        )

    return change
