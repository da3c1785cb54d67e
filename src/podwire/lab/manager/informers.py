"""Informers: copies of the resources that the manager looks at, kept current by reflectors and by its own writes.

What the manager wrote is in the copy before the watch tells of it, so that no decision is taken twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from podwire.cluster.client import Client, Object
from podwire.cluster.resources import Resource
from podwire.cluster.watch import Reflector, Replaced
from podwire.lab.manager.objects import Key, Meta

T = TypeVar("T")


class Informer(Generic[T]):
    """Objects of one resource by namespace and name."""

    def __init__(self, client: Client, resource: Resource, kind: type[T], changed: Callable[[], None]) -> None:
        self._reflector: Reflector[Object] = Reflector(client, resource)
        self._kind = kind
        self._changed = changed
        self.resource = resource
        self.objects: dict[Key, T] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow for ever."""
        async for event in self._reflector:
            if isinstance(event, Replaced):
                self.objects = {}
                for raw in event.objects:
                    self.take(raw)
                self.synced.set()
            elif event.deleted:
                self.objects.pop(_key(event.object), None)
            else:
                self.take(event.object)
            self._changed()

    def take(self, raw: Object) -> T:
        """Take in an object as the server told it, unless a newer one is here already."""
        fresh = msgspec.convert(raw, self._kind, strict=False)
        key = _key(raw)
        known = self.objects.get(key)
        if known is None or _version(_meta(known)) <= _version(_meta(fresh)):
            self.objects[key] = fresh
        return fresh

    def forget(self, key: Key) -> None:
        """The manager deleted it."""
        self.objects.pop(key, None)


def _key(raw: Object) -> Key:
    meta = raw["metadata"]
    return (meta.get("namespace", ""), meta["name"])


def _meta(obj: Any) -> Meta:
    found = obj.metadata
    assert isinstance(found, Meta)
    return found


def _version(meta: Meta) -> int:
    return int(meta.resource_version) if meta.resource_version.isdigit() else 0
