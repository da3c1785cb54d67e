"""Read the structural schema of a custom kind (apiextensions v1, ``openAPIV3Schema``).

What cannot be honoured is refused when the definition is created, not ignored when objects come in.
"""

from __future__ import annotations

import re
from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.errors import Cause
from podwire.lab.apiserver.schema.model import ANY, INT_OR_STRING, OBJECT, Schema

_TYPES = frozenset(("object", "array", "string", "integer", "number", "boolean"))
_UNSUPPORTED = ("allOf", "anyOf", "oneOf", "not")
_NUMBER = (int, float)
_KEYWORDS: dict[str, type | tuple[type, ...]] = {
    "type": str, "format": str, "description": str, "pattern": str, "nullable": bool,
    "enum": list, "required": list, "properties": dict,
    "minimum": _NUMBER, "maximum": _NUMBER,
    "minLength": int, "maxLength": int, "minItems": int, "maxItems": int,
    "x-kubernetes-list-map-keys": list, "x-kubernetes-list-type": str,
}  # fmt: skip
_IGNORED_WITH_INT_OR_STRING = frozenset(("anyOf", "allOf"))


def read(document: Any, causes: list[Cause], path: str, meta: Schema) -> Schema:
    """The schema of a whole custom object; *meta* is that of ``metadata``. Problems go into *causes*."""
    schema = _read(document, causes, path)
    if schema.type != OBJECT:
        causes.append(errors.invalid(f"{path}.type", schema.type, 'must be "object" at the root'))
    for name in ("apiVersion", "kind"):
        schema.properties[name] = Schema("string")
    schema.properties["metadata"] = meta
    return schema


def _read(document: Any, causes: list[Cause], path: str) -> Schema:
    if not isinstance(document, dict):
        causes.append(errors.invalid(path, type(document).__name__, "must be an object"))
        return Schema(ANY, preserve=True)
    for keyword, expected in _KEYWORDS.items():
        if keyword in document and (
            not isinstance(document[keyword], expected)
            or (isinstance(document[keyword], bool) and expected is not bool)
        ):
            causes.append(errors.invalid(f"{path}.{keyword}", document[keyword], "is of the wrong type"))
            return Schema(ANY, preserve=True)
    int_or_string = document.get("x-kubernetes-int-or-string") is True
    preserve = document.get("x-kubernetes-preserve-unknown-fields") is True
    kind = document.get("type", "")
    if int_or_string:
        kind = ANY
    elif kind not in _TYPES and not (kind == "" and preserve):
        causes.append(errors.required(f"{path}.type", "must not be empty for specified object fields"))
    causes.extend(
        errors.forbidden_field(f"{path}.{word}", "the lab's API server does not evaluate this")
        for word in _UNSUPPORTED
        if word in document and not (int_or_string and word in _IGNORED_WITH_INT_OR_STRING)
    )
    if "x-kubernetes-validations" in document:
        detail = "the lab's API server does not evaluate CEL rules; leave them out of the definition for the lab"
        causes.append(errors.forbidden_field(f"{path}.x-kubernetes-validations", detail))
    schema = Schema(
        kind or ANY,
        format=INT_OR_STRING if int_or_string else str(document.get("format", "")),
        description=str(document.get("description", "")),
        preserve=preserve,
        nullable=document.get("nullable") is True,
        embedded=document.get("x-kubernetes-embedded-resource") is True,
        enum=tuple(document.get("enum") or ()),
        required=tuple(document.get("required") or ()),
        minimum=document.get("minimum"),
        maximum=document.get("maximum"),
        min_length=document.get("minLength"),
        max_length=document.get("maxLength"),
        min_items=document.get("minItems"),
        max_items=document.get("maxItems"),
        pattern=_pattern(document, causes, path),
    )
    if kind == "object":
        _read_object(document, schema, causes, path)
    elif kind == "array":
        _read_array(document, schema, causes, path)
    return schema


def _pattern(document: dict[str, Any], causes: list[Cause], path: str) -> str:
    pattern = str(document.get("pattern", ""))
    try:
        re.compile(pattern)
    except re.error as error:
        causes.append(errors.invalid(f"{path}.pattern", pattern, f"must be a valid regular expression: {error}"))
    return pattern


def _read_object(document: dict[str, Any], schema: Schema, causes: list[Cause], path: str) -> None:
    for name, child in (document.get("properties") or {}).items():
        schema.properties[name] = _read(child, causes, f"{path}.properties[{name}]")
        if isinstance(child, dict) and "default" in child:
            schema.defaults[name] = child["default"]
    additional = document.get("additionalProperties")
    if isinstance(additional, dict):
        schema.values = _read(additional, causes, f"{path}.additionalProperties")
    elif additional is True:
        schema.preserve = True
    schema.atomic = document.get("x-kubernetes-map-type") == "atomic"


def _read_array(document: dict[str, Any], schema: Schema, causes: list[Cause], path: str) -> None:
    if "items" not in document:
        causes.append(errors.required(f"{path}.items", "must be specified"))
    else:
        schema.items = _read(document["items"], causes, f"{path}.items")
    match document.get("x-kubernetes-list-type"):
        case "map":
            schema.list_keys = tuple(document.get("x-kubernetes-list-map-keys") or ())
            schema.unique = True
            if not schema.list_keys:
                causes.append(errors.required(f"{path}.x-kubernetes-list-map-keys"))
        case "set":
            schema.is_set = True
