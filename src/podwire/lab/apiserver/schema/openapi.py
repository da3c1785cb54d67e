"""OpenAPI documents from our schemas: enough for ``kubectl explain``, and for clients that look up what the server validates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.schema.model import ARRAY, INT_OR_STRING, OBJECT, QUANTITY, RAW_JSON, Schema

Document = dict[str, Any]

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def version_3(resources: Iterable[Resource], title: str, version: str) -> Document:
    """The OpenAPI 3.0 document of one group and version."""
    components: dict[str, Document] = {}
    paths: dict[str, Document] = {}
    for resource in resources:
        reference = _reference(resource.schema, components, _type_name(resource))
        kind = _kind(resource)
        components[_type_name(resource)]["x-kubernetes-group-version-kind"] = [kind]
        root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        paths[f"{root}{scope}/{resource.plural}"] = {
            "get": _operation(kind, "list", reference),
            "post": _operation(kind, "post", reference, _WRITE_PARAMETERS),
        }
        paths[f"{root}{scope}/{resource.plural}/{{name}}"] = {
            "get": _operation(kind, "get", reference),
            "put": _operation(kind, "put", reference, _WRITE_PARAMETERS),
            "patch": _operation(kind, "patch", reference, (*_WRITE_PARAMETERS, "force")),
            "delete": _operation(kind, "delete", reference, ("dryRun", "gracePeriodSeconds", "propagationPolicy")),
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def version_2(title: str, version: str) -> Document:
    """A Swagger 2.0 document without paths: clients that want one fall back to what they know themselves."""
    return {"swagger": "2.0", "info": {"title": title, "version": version}, "paths": {}, "definitions": {}}


def _kind(resource: Resource) -> Document:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _type_name(resource: Resource) -> str:
    if resource.schema.name:
        return resource.schema.name
    reverse = ".".join(reversed(resource.group.split(".")))
    return f"{reverse}.{resource.version}.{resource.kind}"


def _operation(kind: Document, action: str, reference: Document, parameters: Iterable[str] = ()) -> Document:
    return {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in parameters],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
    }


def _reference(schema: Schema, components: dict[str, Document], name: str) -> Document:
    if name not in components:
        components[name] = {}
        components[name].update(_describe(schema, components))
    return {"$ref": f"#/components/schemas/{name}"}


def _nested(schema: Schema, components: dict[str, Document]) -> Document:
    """A schema inside another: named ones by reference."""
    return _reference(schema, components, schema.name) if schema.name else _describe(schema, components)


def _describe(schema: Schema, components: dict[str, Document]) -> Document:
    described: Document = {}
    if schema.description:
        described["description"] = schema.description
    if schema.format == INT_OR_STRING:
        return described | {"x-kubernetes-int-or-string": True, "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if schema.type:
        described["type"] = schema.type
    if schema.format and schema.format not in (QUANTITY, RAW_JSON):
        described["format"] = schema.format
    if schema.enum:
        described["enum"] = list(schema.enum)
    if schema.type == ARRAY:
        described["items"] = _nested(schema.items, components) if schema.items else {}
        if schema.list_keys:
            described["x-kubernetes-list-type"] = "map"
            described["x-kubernetes-list-map-keys"] = list(schema.list_keys)
        if schema.merge_key:
            described["x-kubernetes-patch-merge-key"] = schema.merge_key
            described["x-kubernetes-patch-strategy"] = "merge"
    elif schema.type == OBJECT:
        if schema.properties:
            described["properties"] = {key: _nested(item, components) for key, item in schema.properties.items()}
        if schema.values:
            described["additionalProperties"] = _nested(schema.values, components)
        if schema.required:
            described["required"] = list(schema.required)
        if schema.preserve:
            described["x-kubernetes-preserve-unknown-fields"] = True
    limits = {
        "minimum": schema.minimum, "maximum": schema.maximum, "minLength": schema.min_length,
        "maxLength": schema.max_length, "minItems": schema.min_items, "maxItems": schema.max_items,
        "pattern": schema.pattern or None,
    }  # fmt: skip
    return described | {key: value for key, value in limits.items() if value is not None}
