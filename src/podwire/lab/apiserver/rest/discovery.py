"""Discovery: which groups, versions and resources are served, in the plain and in the aggregated form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.resource import ALL_VERBS, Registry, Resource
from podwire.lab.apiserver.rest.negotiate import Form

Document = dict[str, Any]


class Virtual(NamedTuple):
    """A resource that can only be created, and is answered rather than stored."""

    group: str
    kind: str
    plural: str


REVIEWS = (
    Virtual("authentication.k8s.io", "TokenReview", "tokenreviews"),
    Virtual("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    Virtual("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews"),
    Virtual("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    Virtual("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
)


class Subresource(NamedTuple):
    """What discovery says of a subresource: its verbs, and its kind (None: that of its resource)."""

    verbs: tuple[str, ...]
    kind: tuple[str, str, str] | None = None


_CHANGE = ("get", "patch", "update")
_SUBRESOURCES = {
    "status": Subresource(_CHANGE),
    "scale": Subresource(_CHANGE, ("autoscaling", "v1", "Scale")),
    "finalize": Subresource(("update",)),
    "binding": Subresource(("create",), ("", "v1", "Binding")),
    "eviction": Subresource(("create",), ("policy", "v1", "Eviction")),
    "log": Subresource(("get",)),
    "exec": Subresource(("create", "get"), ("", "v1", "PodExecOptions")),
    "attach": Subresource(("create", "get"), ("", "v1", "PodAttachOptions")),
    "portforward": Subresource(("create", "get"), ("", "v1", "PodPortForwardOptions")),
}


def groups(registry: Registry) -> dict[str, list[str]]:
    """Every group but the core one, with its versions; the most preferred comes first."""
    found = registry.versions()
    for review in REVIEWS:
        found.setdefault(review.group, ["v1"])
    return found


def core_versions() -> Document:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def _group(name: str, versions: Iterable[str]) -> Document:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(registry: Registry) -> Document:
    """``/apis``."""
    listed = [_group(name, versions) for name, versions in groups(registry).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> Document:
    """``/apis/GROUP``; ApiError 404."""
    versions = groups(registry).get(name)
    if versions is None:
        raise errors.no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(registry: Registry, group_name: str, version: str) -> Document:
    """``/api/v1`` and ``/apis/GROUP/VERSION``; ApiError 404."""
    listed: list[Document] = []
    for resource in registry:
        if (resource.group, resource.version) == (group_name, version):
            listed.extend(_entries(resource))
    listed.extend(
        {
            "name": review.plural,
            "singularName": review.kind.lower(),
            "namespaced": False,
            "kind": review.kind,
            "verbs": ["create"],
        }
        for review in REVIEWS
        if (review.group, "v1") == (group_name, version)
    )
    if not listed:
        raise errors.no_such_path()
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _entries(resource: Resource) -> Iterable[Document]:
    entry: Document = {
        "name": resource.plural,
        "singularName": singular(resource),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name in resource.all_subresources:
        described = _SUBRESOURCES[name]
        below: Document = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(described.verbs),
        }
        if described.kind is not None:
            below["group"], below["version"], below["kind"] = described.kind
        yield below


def singular(resource: Resource) -> str:
    """The singular name, by which kubectl finds a resource too."""
    return resource.singular or resource.kind.lower()


def aggregated(registry: Registry, version: str, *, core: bool) -> Document:
    """The aggregated form of ``/api`` (*core*) or ``/apis``: all groups with all resources in one answer."""
    names = {"": ["v1"]} if core else groups(registry)
    items = []
    for name, versions in names.items():
        described = [
            {"version": item, "freshness": "Current", "resources": _aggregated_resources(registry, name, item)}
            for item in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": described})
    return {
        "kind": Form.DISCOVERY.value,
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resources(registry: Registry, group_name: str, version: str) -> list[Document]:
    described: list[Document] = []
    for resource in registry:
        if (resource.group, resource.version) != (group_name, version):
            continue
        entry: Document = {
            "resource": resource.plural,
            "responseKind": _kind(resource.group, resource.version, resource.kind),
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": singular(resource),
            "verbs": list(ALL_VERBS),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        below = []
        for name in resource.all_subresources:
            known = _SUBRESOURCES[name]
            kind = known.kind or (resource.group, resource.version, resource.kind)
            below.append({"subresource": name, "responseKind": _kind(*kind), "verbs": list(known.verbs)})
        if below:
            entry["subresources"] = below
        described.append(entry)
    described.extend(
        {
            "resource": review.plural,
            "responseKind": _kind(review.group, "v1", review.kind),
            "scope": "Cluster",
            "singularResource": review.kind.lower(),
            "verbs": ["create"],
        }
        for review in REVIEWS
        if (review.group, "v1") == (group_name, version)
    )
    return described


def _kind(group_name: str, version: str, kind: str) -> Document:
    return {"group": group_name, "version": version, "kind": kind}
