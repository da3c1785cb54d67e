"""What the server says no with: one exception that renders as ``metav1.Status``.

Reasons, codes and phrases are those of Kubernetes (apimachinery, ``pkg/api/errors``), because clients match on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from podwire.model.errors import LabError

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
FORBIDDEN = "FieldValueForbidden"
DUPLICATE = "FieldValueDuplicate"


class Cause(NamedTuple):
    """One thing wrong with one field: *field* is a path such as ``spec.containers[0].name``."""

    field: str
    message: str
    reason: str


def required(field: str, detail: str = "") -> Cause:
    """The field must be given."""
    return Cause(field, f"Required value: {detail}" if detail else "Required value", REQUIRED)


def invalid(field: str, value: object, detail: str) -> Cause:
    """The field's value is not acceptable."""
    return Cause(field, f"Invalid value: {_shown(value)}: {detail}", INVALID)


def not_supported(field: str, value: object, choices: Iterable[object]) -> Cause:
    """The field's value is none of the *choices*."""
    listed = ", ".join(_shown(choice) for choice in choices)
    return Cause(field, f"Unsupported value: {_shown(value)}: supported values: {listed}", NOT_SUPPORTED)


def forbidden_field(field: str, detail: str) -> Cause:
    """The field may not be set, or not be changed."""
    return Cause(field, f"Forbidden: {detail}", FORBIDDEN)


def duplicate(field: str, value: object) -> Cause:
    """The field repeats a value that must be unique."""
    return Cause(field, f"Duplicate value: {_shown(value)}", DUPLICATE)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else text[:197] + "..."


class ApiError(LabError):
    """A request is refused with an HTTP *code* and a ``metav1.Status`` body."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        causes: Sequence[Cause] = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.causes = tuple(causes)
        self.details = details or {}

    def status(self) -> dict[str, Any]:
        """The ``metav1.Status`` that the client gets."""
        details = dict(self.details)
        if self.causes:
            details["causes"] = [
                {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in self.causes
            ]
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if details:
            status["details"] = details
        return status


def _details(resource: str, name: str) -> dict[str, Any]:
    plural, _, group = resource.partition(".")
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str, causes: Sequence[Cause] = ()) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message, causes=causes)


def unauthorized() -> ApiError:
    """401: no token, or one that we do not know."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, name: str, why: str) -> ApiError:
    """403: *resource* is the qualified plural, such as ``deployments.apps``."""
    subject = f'{resource} "{name}"' if name else resource
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details=_details(resource, name))


def not_found(resource: str, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{resource} "{name}" not found', details=_details(resource, name))


def no_such_path() -> ApiError:
    """404: no such resource at all."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(verb: str, resource: str) -> ApiError:
    """405: the resource has no such verb."""
    return ApiError(405, "MethodNotAllowed", f"the server does not allow {verb} on {resource}")


def not_acceptable(accepted: str) -> ApiError:
    """406: only JSON is spoken here."""
    return ApiError(
        406, "NotAcceptable", f"only application/json is served, and the client accepts only {accepted[:200]}"
    )


def already_exists(resource: str, name: str) -> ApiError:
    """409: an object of this name exists."""
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists', details=_details(resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: str, name: str, why: str = MODIFIED, causes: Sequence[Cause] = ()) -> ApiError:
    """409: the object is not what the client believes it to be."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(resource, name), causes=causes)


def expired(message: str) -> ApiError:
    """410: the resourceVersion is no longer in the event log; list again."""
    return ApiError(410, "Expired", message)


def unsupported_media(given: str, supported: Iterable[str]) -> ApiError:
    """415: the body has a type that we do not read."""
    listed = ", ".join(supported)
    message = f"the body of the request was in an unknown format ({given}): accepted media types include: {listed}"
    return ApiError(415, "UnsupportedMediaType", message)


def invalid_object(kind: str, resource: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: the object breaks the rules of its kind."""
    listed = [f"{cause.field}: {cause.message}" for cause in causes]
    summary = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    details = _details(resource, name)
    details["kind"] = kind
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {summary}', causes=causes, details=details)


def not_implemented(message: str) -> ApiError:
    """501: Kubernetes has this and the lab does not."""
    return ApiError(501, "NotImplemented", message)


def unreachable_kubelet(message: str) -> ApiError:
    """502: the node's kubelet does not answer."""
    return ApiError(502, "InternalError", message)
