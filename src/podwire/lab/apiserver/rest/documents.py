"""The URLs that are no resources: discovery, version, health and OpenAPI."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.resource import Registry
from podwire.lab.apiserver.rest import discovery
from podwire.lab.apiserver.rest.negotiate import Accepted, Form
from podwire.lab.apiserver.schema import openapi

GIT_VERSION = "v1.34.0-podwire-lab"
_TITLE = "podwire lab"
HEALTH = ("/healthz", "/livez", "/readyz")

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "34",
    "gitVersion": GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": f"python {platform.python_version()}",
    "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
}


def document(registry: Registry, path: str, wanted: Accepted) -> Any:
    """The document at a URL; ApiError 404 when there is none."""
    parts = path.strip("/").split("/")
    aggregated = wanted.form is Form.DISCOVERY
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return (
                discovery.aggregated(registry, wanted.version, core=True) if aggregated else discovery.core_versions()
            )
        case ["apis"]:
            return (
                discovery.aggregated(registry, wanted.version, core=False)
                if aggregated
                else discovery.group_list(registry)
            )
        case ["api", version]:
            return discovery.resource_list(registry, "", version)
        case ["apis", group]:
            return discovery.group(registry, group)
        case ["apis", group, version]:
            return discovery.resource_list(registry, group, version)
        case ["openapi", "v2"]:
            return openapi.version_2(_TITLE, GIT_VERSION)
        case ["openapi", "v3"]:
            return _index(registry)
        case ["openapi", "v3", "api", version]:
            return _openapi(registry, "", version)
        case ["openapi", "v3", "apis", group, version]:
            return _openapi(registry, group, version)
    raise errors.no_such_path()


def _index(registry: Registry) -> dict[str, Any]:
    token = hashlib.sha256(f"{GIT_VERSION}/{registry.generation}".encode()).hexdigest()[:16].upper()
    paths = ["api/v1"] + [f"apis/{group}/{item}" for group, items in registry.versions().items() for item in items]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={token}"} for path in paths}}


def _openapi(registry: Registry, group: str, version: str) -> dict[str, Any]:
    served = [resource for resource in registry if (resource.group, resource.version) == (group, version)]
    if not served:
        raise errors.no_such_path()
    return openapi.version_3(served, _TITLE, GIT_VERSION)
