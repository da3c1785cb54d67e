"""Objects in the forms that a client may ask for: as they are, as rows of a Table, or their metadata alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.rest.negotiate import Form
from podwire.lab.apiserver.rest.writes import outgoing

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _metadata(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def shaped(
    resource: Resource, obj: Object, form: Form, now: datetime, include: str = "", *, headed: bool = True
) -> Object:
    """One object, already in the version of *resource*, in the form that was asked for."""
    if form is Form.TABLE:
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table(resource, [obj], meta, now, include, headed=headed)
    return _metadata(obj) if form in (Form.METADATA, Form.METADATA_LIST) else obj


def table(
    resource: Resource, objects: Sequence[Object], meta: Object, now: datetime, include: str, *, headed: bool = True
) -> Object:
    """A ``meta.k8s.io/v1`` Table; *include* is the query's includeObject: Metadata (default), Object or None."""
    columns = resource.columns
    rows = []
    for obj in objects:
        row: Object = {"cells": columns.cells(obj, now)}
        if include != "None":
            row["object"] = obj if include == "Object" else _metadata(obj)
        rows.append(row)
    definitions = [column.definition() for column in columns.columns] if headed else []
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _head(resource: Resource, meta: Object) -> bytes:
    head = msgspec.json.encode({"kind": resource.lists, "apiVersion": resource.api_version, "metadata": meta})
    return head[:-1] + b',"items":['


def list_head(resource: Resource, version: int) -> bytes:
    """The beginning of a plain list, up to its first item; ``]}`` ends it."""
    return _head(resource, {"resourceVersion": str(version)})


def encoded_list(
    resource: Resource, bodies: Sequence[bytes], meta: Object, form: Form, now: datetime, include: str
) -> bytes:
    """A list of stored bodies in the form that was asked for. Plain lists are joined without decoding."""
    if form is Form.PLAIN and resource.conversion is None:
        return b"".join((_head(resource, meta), b",".join(bodies), b"]}"))
    objects = [outgoing(resource, _decode(body)) for body in bodies]
    if form is Form.TABLE:
        return msgspec.json.encode(table(resource, objects, meta, now, include))
    kind, version, items = resource.lists, resource.api_version, objects
    if form is not Form.PLAIN:
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = [_metadata(obj) for obj in objects]
    return msgspec.json.encode({"kind": kind, "apiVersion": version, "metadata": meta, "items": items})
