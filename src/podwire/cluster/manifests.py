"""Manifests: YAML files of Kubernetes objects, read with errors that name file, document and field; applied and deleted.

Apply is create, else a merge patch of what the manifest says (RFC 7386): what others added stays, what the manifest names
becomes as it says. Order is the file's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from podwire.cluster.client import Client, Object
from podwire.cluster.resources import Resource
from podwire.model.errors import Conflict, InputError, NotFound


class _ApiResource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class _ApiResources(msgspec.Struct):
    resources: list[_ApiResource]


def load(paths: Iterable[Path]) -> list[Object]:
    """Every object of the files, in order; a folder stands for its .yaml, .yml and .json files."""
    objects: list[Object] = []
    for path in paths:
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix in (".yaml", ".yml", ".json"))
            if not found:
                raise InputError("manifest", str(path), "is a folder without .yaml, .yml or .json files")
            objects += load(found)
            continue
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("manifest", str(path), f"cannot be read ({error})") from None
        objects += parse(text, str(path))
    return objects


def parse(text: str, source: str) -> list[Object]:
    """The objects of a multi-document YAML text; List kinds are opened, empty documents skipped."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise InputError(source, None, f"is not YAML: {error}") from None
    objects: list[Object] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        where = f"{source}: document {number}"
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
            entries: list[Any] = document["items"] or []
            objects += [_checked(entry, f"{where}, item {i}") for i, entry in enumerate(entries, 1)]
        else:
            objects.append(_checked(document, where))
    return objects


def _checked(document: object, where: str) -> Object:
    if not isinstance(document, dict):
        raise InputError(
            where, document, "is no object", remedy="a manifest is a mapping with apiVersion, kind and metadata"
        )
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            raise InputError(
                f"{where}: {field}",
                document.get(field),
                "must be a string",
                remedy="every object names its apiVersion and kind",
            )
    meta = document.get("metadata")
    if not isinstance(meta, dict):
        raise InputError(f"{where}: metadata", meta, "must be a mapping", remedy="give it a name")
    if not isinstance(meta.get("name"), str) and not isinstance(meta.get("generateName"), str):
        raise InputError(
            f"{where}: metadata.name", meta.get("name"), "must be a string", remedy="give the object a name"
        )
    return document


class Applier:
    """Applies and deletes objects of any kind that the server knows, and remembers what the server told of its kinds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, list[_ApiResource]] = {}

    async def resource(self, obj: Object) -> Resource:
        """The resource that serves *obj*; InputError when the server knows no such kind."""
        api_version, kind = obj["apiVersion"], obj["kind"]
        group, _, version = api_version.rpartition("/")
        if api_version not in self._known:
            path = f"/apis/{api_version}" if group else f"/api/{version}"
            try:
                content = await self._client.raw("GET", path)
            except NotFound:
                raise InputError(
                    "apiVersion",
                    api_version,
                    "is not served by this cluster",
                    remedy=f"is the CRD of {kind} installed?",
                ) from None
            self._known[api_version] = msgspec.json.decode(content, type=_ApiResources).resources
        for entry in self._known[api_version]:
            if entry.kind == kind and "/" not in entry.name:
                return Resource(group, version, entry.name, kind, entry.namespaced)
        del self._known[api_version]
        raise InputError(
            "kind", kind, f"is not served in {api_version}", remedy="check the spelling, or install its CRD first"
        )

    async def apply(
        self, objects: Iterable[Object], namespace: str = "default", told: Callable[[str, str], None] = lambda *_: None
    ) -> None:
        """Create or patch each object; *told* hears ("kind/name", "created" or "configured" or "unchanged")."""
        for obj in objects:
            resource = await self.resource(obj)
            where = _namespace(resource, obj, namespace)
            name = obj["metadata"].get("name", "")
            try:
                made = await self._client.create(resource, obj, where)
                told(f"{resource.kind.lower()}/{made['metadata']['name']}", "created")
            except Conflict:
                if not name:
                    raise
                shown = f"{resource.kind.lower()}/{name}"
                before = await self._client.get(resource, name, where)
                after = await self._client.patch(resource, name, obj, where)
                same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
                told(shown, "unchanged" if same else "configured")

    async def delete(
        self, objects: Iterable[Object], namespace: str = "default", told: Callable[[str, str], None] = lambda *_: None
    ) -> None:
        """Delete each object, the last first; what is gone already is told as "not found"."""
        for obj in reversed(list(objects)):
            name = obj["metadata"].get("name")
            if name is None:
                raise InputError(
                    "metadata.generateName",
                    obj["metadata"]["generateName"],
                    "names no object that could be deleted",
                    remedy="delete it by the name that it was given",
                )
            resource = await self.resource(obj)
            try:
                await self._client.delete(resource, name, _namespace(resource, obj, namespace))
                told(f"{resource.kind.lower()}/{name}", "deleted")
            except NotFound:
                told(f"{resource.kind.lower()}/{name}", "not found")


def _namespace(resource: Resource, obj: Object, default: str) -> str:
    return str(obj["metadata"].get("namespace") or default) if resource.namespaced else ""
