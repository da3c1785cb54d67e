"""What a URL asks for (Kubernetes, "API Overview: resource URIs")."""

from __future__ import annotations

from typing import NamedTuple

_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Target(NamedTuple):
    """A resource, a namespace ("" is all, or none), a name ("" is the collection) and a subresource."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    rest: str = ""


def parse(path: str) -> Target | None:
    """The target of a resource's URL, or None for another URL (discovery, health, …)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and (len(rest) > 3 or rest[2] not in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *more = [*rest, "", "", ""][: max(3, len(rest))]
    return Target(group, version, plural, namespace, name, subresource, "/".join(more))
