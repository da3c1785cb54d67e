"""Server-side apply: merge what one field manager wants, drop what it no longer wants, refuse what another one holds.

Source: Kubernetes, "Server-Side Apply". Field sets are kept in ``metadata.managedFields`` as FieldsV1, of managers
that apply; a manager that updates or patches instead is not recorded, so its fields can be taken over without a
conflict. That is less than Kubernetes does, and is the one difference.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from podwire.lab.apiserver.errors import Cause, conflict
from podwire.lab.apiserver.schema.check import ANYTHING
from podwire.lab.apiserver.schema.model import ARRAY, OBJECT, Schema

FieldSet = dict[str, Any]
"""FieldsV1: ``f:name`` a field, ``k:{…}`` an element by its keys, ``v:…`` an element of a set, ``.`` the thing itself."""

_SERVER_OWNED = frozenset(
    (
        "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink",
        "deletionTimestamp", "deletionGracePeriodSeconds",
    )
)  # fmt: skip


def server_side_apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    schema: Schema,
    *,
    manager: str,
    force: bool,
    now: str,
    resource: str,
) -> dict[str, Any]:
    """The object after *manager* applied *applied* onto *live* (None: it does not exist yet).

    ApiError 409 names each field that another manager applied with another value, unless *force*.
    """
    wanted = field_set(applied, schema)
    for name in ("apiVersion", "kind"):
        wanted.pop(f"f:{name}", None)
    meta = wanted.get("f:metadata", {})
    for name in _SERVER_OWNED:
        meta.pop(f"f:{name}", None)
    if not meta:
        wanted.pop("f:metadata", None)
    entries: list[dict[str, Any]] = copy.deepcopy((live or {}).get("metadata", {}).get("managedFields") or [])
    others = [entry for entry in entries if entry.get("operation") == "Apply" and entry.get("manager") != manager]
    mine: dict[str, Any] = next(
        (entry for entry in entries if entry.get("operation") == "Apply" and entry.get("manager") == manager), {}
    )
    if live is not None:
        contested = _contested(live, applied, wanted, others, schema)
        if contested and not force:
            causes = [Cause(path, f'conflict with "{owner}"', "FieldManagerConflict") for owner, path in contested]
            name, count = applied.get("metadata", {}).get("name", ""), len(causes)
            why = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + ", ".join(
                f"{cause.message}: {cause.field}" for cause in causes
            )
            raise conflict(resource, name, why, causes)
        for entry in others if force else ():
            entry["fieldsV1"] = _minus(entry.get("fieldsV1", {}), wanted)
    result: dict[str, Any] = _merge(copy.deepcopy(live) if live else {}, applied, schema)
    dropped = _minus(mine.get("fieldsV1", {}), wanted)
    for entry in others:
        dropped = _minus(dropped, entry.get("fieldsV1", {}))
    _drop(result, dropped, schema)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": applied.get("apiVersion", ""),
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": wanted,
    }
    if mine.get("fieldsV1") == wanted and mine.get("apiVersion") == entry["apiVersion"]:
        entry["time"] = mine.get("time", now)
    kept = [other for other in entries if other is not mine and other.get("fieldsV1")]
    result.setdefault("metadata", {})["managedFields"] = [*kept, entry]
    return result


def _element_key(item: Any, schema: Schema) -> str | None:
    """The name of a list's element in a field set, or None when the list is atomic."""
    if schema.list_keys and isinstance(item, dict):
        defaults = schema.items.defaults if schema.items else {}
        keys = {key: item.get(key, defaults.get(key)) for key in schema.list_keys}
        given = {key: value for key, value in keys.items() if value is not None}
        return "k:" + json.dumps(given, sort_keys=True, separators=(",", ":"))
    if schema.is_set:
        return "v:" + json.dumps(item)
    return None


def _child(schema: Schema, key: str) -> Schema:
    return schema.properties.get(key) or schema.values or ANYTHING


def field_set(value: Any, schema: Schema) -> FieldSet:
    """The FieldsV1 of *value*: atomic lists and maps, and plain values, are leaves."""
    found: FieldSet = {}
    if isinstance(value, dict) and not schema.atomic and schema.type in (OBJECT, ""):
        for key, item in value.items():
            if item is not None:
                found[f"f:{key}"] = field_set(item, _child(schema, key))
    elif isinstance(value, list) and schema.type == ARRAY:
        for item in value:
            name = _element_key(item, schema)
            if name is None:
                return {}
            found[name] = {} if name.startswith("v:") else {".": {}, **field_set(item, schema.items or ANYTHING)}
    return found


def _minus(fields: FieldSet, other: FieldSet) -> FieldSet:
    """The leaves of *fields* that are not in *other*."""
    left: FieldSet = {}
    for name, below in fields.items():
        if name not in other:
            left[name] = below
        elif below and (rest := _minus(below, other[name])):
            left[name] = rest
    return left


def _pairs(live: Any, applied: Any, name: str, schema: Schema) -> tuple[Any, Any, Schema]:
    """Step into the part called *name* of two documents."""
    if name.startswith("f:"):
        key = name[2:]
        pick = [document.get(key) if isinstance(document, dict) else None for document in (live, applied)]
        return pick[0], pick[1], _child(schema, key)
    found: list[Any] = []
    for document in (live, applied):
        items = document if isinstance(document, list) else []
        found.append(next((item for item in items if _element_key(item, schema) == name), None))
    return found[0], found[1], schema.items or ANYTHING


def _contested(
    live: Any, applied: Any, wanted: FieldSet, others: list[dict[str, Any]], schema: Schema
) -> list[tuple[str, str]]:
    """(manager, path) of every leaf in *wanted* that another manager applied and whose value would change."""
    found: list[tuple[str, str]] = []

    def walk(
        live: Any, applied: Any, wanted: FieldSet, theirs: FieldSet, schema: Schema, path: str, owner: str
    ) -> None:
        for name, below in wanted.items():
            if name not in theirs or name == ".":
                continue
            mine, given, part = _pairs(live, applied, name, schema)
            where = f"{path}.{name[2:]}" if name.startswith("f:") else f"{path}[{name[2:]}]"
            if below and theirs[name]:
                walk(mine, given, below, theirs[name], part, where, owner)
            elif mine != given and not (isinstance(given, dict) and isinstance(mine, dict) and not part.atomic):
                found.append((owner, where))

    for entry in others:
        walk(live, applied, wanted, entry.get("fieldsV1", {}), schema, "", entry.get("manager", ""))
    return found


def _merge(target: Any, applied: Any, schema: Schema) -> Any:
    if isinstance(applied, dict) and not schema.atomic:
        result = target if isinstance(target, dict) else {}
        for key, value in applied.items():
            if value is not None:
                result[key] = _merge(result.get(key), value, _child(schema, key))
        return result
    if isinstance(applied, list) and isinstance(target, list) and (schema.list_keys or schema.is_set):
        result_list = list(target)
        names = [_element_key(item, schema) for item in result_list]
        for item in applied:
            name = _element_key(item, schema)
            if name in names:
                index = names.index(name)
                result_list[index] = _merge(result_list[index], item, schema.items or ANYTHING)
            else:
                result_list.append(item)
                names.append(name)
        return result_list
    return copy.deepcopy(applied)


def _drop(document: Any, fields: FieldSet, schema: Schema) -> None:
    """Remove the leaves in *fields* from *document*, and maps and elements that are left empty by it."""
    for name, below in fields.items():
        if name == ".":
            continue
        part, _, child = _pairs(document, None, name, schema)
        if part is None:
            continue
        whole = not below or "." in below
        if not below and isinstance(part, dict) and part and not child.atomic and (child.properties or child.values):
            continue  # an empty object was applied, and others have filled it since
        if not whole:
            _drop(part, below, child)
            if part or not isinstance(part, dict | list):
                continue
        if name.startswith("f:"):
            document.pop(name[2:], None)
        else:
            document[:] = [item for item in document if _element_key(item, schema) != name]
