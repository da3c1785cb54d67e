"""CustomResourceDefinitions: validating them, and the resources that they add to the registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from podwire.lab.apiserver.errors import Cause, forbidden_field, invalid, required
from podwire.lab.apiserver.kinds.columns import NAME, NAME_AND_AGE, Column, Columns, age
from podwire.lab.apiserver.kinds.names import dns_label, dns_subdomain
from podwire.lab.apiserver.kinds.resource import Conversion, Resource, ScalePaths
from podwire.lab.apiserver.kinds.strategy import Context, Object, Strategy, at, changed
from podwire.lab.apiserver.schema import structural
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.storage.transaction import Key, Transaction


class CustomStrategy(Strategy):
    """Objects of custom kinds."""

    def __init__(self, selectable: dict[str, str], *, has_status: bool) -> None:
        self._paths = selectable
        self._has_status = has_status

    @property
    def selectable(self) -> frozenset[str]:  # type: ignore[override]
        """The definition's selectableFields."""
        return frozenset(self._paths)

    def before_create(self, obj: Object, context: Context) -> None:
        if self._has_status:
            obj.pop("status", None)

    def fields(self, obj: Object) -> dict[str, str]:
        values = {label: at(obj, path) for label, path in self._paths.items()}
        return {label: _text(value) for label, value in values.items() if value is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class DefinitionStrategy(Strategy):
    """CustomResourceDefinitions themselves: what they define is served as soon as they are stored."""

    def default(self, obj: Object) -> None:
        names = at(obj, "spec.names", {})
        if "kind" in names:
            names.setdefault("singular", names["kind"].lower())
            names.setdefault("listKind", names["kind"] + "List")

    def before_create(self, obj: Object, context: Context) -> None:
        self._establish(obj, context, ())

    def before_update(self, obj: Object, old: Object, context: Context) -> None:
        self._establish(obj, context, at(old, "status.storedVersions", []))

    def _establish(self, obj: Object, context: Context, stored: Any) -> None:
        conditions = at(obj, "status.conditions", [])
        if not any(condition.get("type") == "Established" for condition in conditions):
            conditions = [
                {"type": kind, "status": "True", "reason": reason, "message": text, "lastTransitionTime": context.now}
                for kind, reason, text in (
                    ("NamesAccepted", "NoConflicts", "no conflicts found"),
                    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                )
            ]
        current = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
        obj["status"] = {
            "conditions": conditions,
            "acceptedNames": obj["spec"]["names"],
            "storedVersions": list(dict.fromkeys([*stored, *current])),
        }

    def validate(self, obj: Object) -> Iterator[Cause]:
        spec, names = obj["spec"], obj["spec"]["names"]
        wanted = f"{names['plural']}.{spec['group']}"
        if obj["metadata"]["name"] != wanted:
            detail = f'must be spec.names.plural+"."+spec.group: {wanted}'
            yield invalid("metadata.name", obj["metadata"]["name"], detail)
        if problem := dns_subdomain(spec["group"]) or ("" if "." in spec["group"] else "should be a domain with a dot"):
            yield invalid("spec.group", spec["group"], problem)
        if problem := dns_label(names["plural"]):
            yield invalid("spec.names.plural", names["plural"], problem)
        if spec.get("conversion", {}).get("strategy") == "Webhook":
            detail = "the lab's API server converts by apiVersion alone; use None"
            yield forbidden_field("spec.conversion.strategy", detail)
        versions = [version["name"] for version in spec["versions"]]
        if len(set(versions)) != len(versions):
            yield invalid("spec.versions", versions, "must contain unique version names")
        if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
            yield invalid("spec.versions", versions, "must have exactly one version marked as storage version")
        for index, version in enumerate(spec["versions"]):
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            document = at(version, "schema.openAPIV3Schema")
            if document is None:
                yield required(path, "schemas are required")
                continue
            causes: list[Cause] = []
            structural.read(document, causes, path, types()["ObjectMeta"])
            yield from causes

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        for field in ("spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"):
            if changed(obj, old, field):
                yield invalid(field, at(obj, field), "field is immutable")

    def contents(self, obj: Object, transaction: Transaction) -> list[Key]:
        return transaction.keys(f"{obj['spec']['group']}/{obj['spec']['names']['plural']}")


def resources(definition: Object) -> tuple[Resource, ...]:
    """The resources that a stored, valid definition adds: one for each served version."""
    spec, names = definition["spec"], definition["spec"]["names"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    made = []
    for version in sorted(spec["versions"], key=lambda item: _priority(item["name"]), reverse=True):
        if not version["served"]:
            continue
        document = version["schema"]["openAPIV3Schema"]
        schema = structural.read(document, [], "", types()["ObjectMeta"])
        schema.required = tuple(name for name in schema.required if name not in ("apiVersion", "kind", "metadata"))
        subresources = version.get("subresources") or {}
        api_version = f"{spec['group']}/{version['name']}"
        made.append(
            Resource(
                group=spec["group"],
                version=version["name"],
                kind=names["kind"],
                plural=names["plural"],
                singular=names["singular"],
                list_kind=names["listKind"],
                schema=schema,
                strategy=CustomStrategy(_selectable(version), has_status="status" in subresources),
                namespaced=spec["scope"] == "Namespaced",
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                status="status" in subresources,
                scale=_scale(subresources.get("scale")),
                columns=_columns(version.get("additionalPrinterColumns") or ()),
                conversion=None
                if version["name"] == storage
                else Conversion(_renamed(f"{spec['group']}/{storage}"), _renamed(api_version)),
                custom=True,
            )
        )
    return tuple(made)


def _renamed(api_version: str) -> Callable[[Object], Object]:
    return lambda obj: {**obj, "apiVersion": api_version}


def _priority(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > anything else."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return (0, 0, 0)
    stage = {None: 3, "beta": 2, "alpha": 1}[found[2]]
    return stage, int(found[1]), int(found[3] or 0)


def _selectable(version: Object) -> dict[str, str]:
    paths = [field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()]
    return {path: path for path in paths}


def _scale(scale: Object | None) -> ScalePaths | None:
    if scale is None:
        return None
    status = scale.get("statusReplicasPath", "").lstrip(".")
    return ScalePaths(scale["specReplicasPath"].lstrip("."), status, scale.get("labelSelectorPath", "").lstrip("."))


_STEP = re.compile(r"\.?([\w/-]+)|\.?\['([^']+)'\]|\[(\d+|\*)\]|\[\?\(@\.([\w.]+)\s*==\s*[\"']([^\"']*)[\"']\)\]")


def json_path(path: str, obj: Any) -> list[Any]:
    """The values at a JSONPath as printer columns use it: fields, ``['key']``, ``[0]``, ``[*]``, ``[?(@.a=="b")]``."""
    found, position = [obj], 0
    path = path.strip().removeprefix("{").removesuffix("}").replace("\\.", "\0")
    while position < len(path):
        step = _STEP.match(path.replace("\0", "_"), position)
        if step is None:
            return []
        raw = path[step.start() : step.end()].lstrip(".").replace("\0", ".")
        name, quoted, index, field, wanted = step.groups()
        if name or quoted:
            key = quoted or raw
            found = [item[key] for item in found if isinstance(item, dict) and key in item]
        else:
            items = [element for item in found if isinstance(item, list) for element in item]
            if field:
                found = [element for element in items if _text(at(element, field)) == wanted]
            else:
                found = items if index == "*" else items[int(index) : int(index) + 1]
        position = step.end()
    return found


def _columns(printed: Any) -> Columns:
    if not printed:
        return NAME_AND_AGE
    columns = [
        Column(
            item["name"],
            item["type"],
            wide=item.get("priority", 0) > 0,
            format=item.get("format", ""),
            description=item.get("description", ""),
        )
        for item in printed
    ]

    def cells(obj: Object, now: datetime) -> list[Any]:
        row: list[Any] = [obj["metadata"]["name"]]
        for item in printed:
            values = json_path(item["jsonPath"], obj)
            if item["type"] == "date":
                row.append(age(values[0], now) if values else "<unknown>")
            elif item["type"] in ("integer", "number", "boolean"):
                row.append(values[0] if values else None)
            else:
                row.append(",".join(_text(value) for value in values))
        return row

    return Columns((NAME, *columns), cells)
