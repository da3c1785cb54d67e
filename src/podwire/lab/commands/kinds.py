"""Which resources the API server serves, found by any of their names: ``po``, ``pod``, ``pods``, ``Pod``, ``pods.v1``."""

from __future__ import annotations

import asyncio
import difflib

import msgspec

from podwire.cluster.client import Client
from podwire.cluster.resources import Resource
from podwire.model.errors import InputError


class _Served(msgspec.Struct, rename="camel"):
    name: str
    kind: str
    namespaced: bool
    singular_name: str = ""
    short_names: list[str] = msgspec.field(default_factory=list)


class _ServedList(msgspec.Struct):
    resources: list[_Served]


class _Version(msgspec.Struct, rename="camel"):
    group_version: str


class _Group(msgspec.Struct, rename="camel"):
    name: str
    preferred_version: _Version


class _Groups(msgspec.Struct):
    groups: list[_Group]


async def find(client: Client, names: list[str]) -> list[Resource]:
    """The resources that *names* mean; InputError naming the nearest for one that is not served."""
    groups = msgspec.json.decode(await client.raw("GET", "/apis"), type=_Groups).groups
    versions = ["v1", *(group.preferred_version.group_version for group in groups)]
    lists = await asyncio.gather(*(_served(client, version) for version in versions))
    known: dict[str, Resource] = {}
    for version, served in zip(versions, lists, strict=True):
        group, _, short = version.rpartition("/")
        for one in served:
            if "/" in one.name:
                continue
            resource = Resource(group, short, one.name, one.kind, one.namespaced)
            for alias in (one.name, one.singular_name, one.kind, *one.short_names, f"{one.name}.{group or short}"):
                known.setdefault(alias.lower(), resource)  # the core group comes first and keeps its names
    found = []
    for name in names:
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1)
            raise InputError("kind", name, "is not served", remedy=f"did you mean {near[0]}?" if near else "")
        found.append(known[name.lower()])
    return found


async def _served(client: Client, version: str) -> list[_Served]:
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return msgspec.json.decode(await client.raw("GET", path), type=_ServedList).resources
