"""The garbage collector: an object whose owners are all gone is deleted.

One that is deleted in the foreground waits for what it owns to go first. Source: Kubernetes, "Garbage Collection". An
owner is known by its uid alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from podwire.lab.apiserver.controllers.worker import Worker
from podwire.lab.apiserver.kinds.resource import Registry
from podwire.lab.apiserver.rest.deletion import FOREGROUND, DeleteOptions, delete, disown, erase, finished
from podwire.lab.apiserver.storage.store import DELETED, LogEvent, Store
from podwire.lab.apiserver.storage.transaction import Key, Transaction

_BATCH = 50
_MARK = b'"ownerReferences"'
_FOREGROUND_MARK = FOREGROUND.encode()


class Collector:
    """Watches every change; keys of objects to look at go through one worker."""

    def __init__(self, store: Store, registry: Registry, clock: Callable[[], datetime]) -> None:
        self._store, self._registry, self._clock = store, registry, clock
        self.objects: Worker[Key] = Worker("collector", self._examine)
        self.owners: Worker[str] = Worker("collector of dependents", self._orphaned)
        self.foreground: Worker[str] = Worker("foreground deletion", self._foreground)

    def notice(self, event: LogEvent) -> None:
        """A listener of the hub."""
        if event.type == DELETED:
            self.owners.add(event.uid)
            if _MARK in event.body:
                owners: list[Any] = msgspec.json.decode(event.body)["metadata"].get("ownerReferences") or []
                for owner in owners:
                    self.foreground.add(owner["uid"])
            return
        if _FOREGROUND_MARK in event.body:
            self.foreground.add(event.uid)
        if _MARK in event.body:
            self.objects.add(event.key)

    async def start(self) -> None:
        """Look at everything that has an owner: what was left over when the server died."""
        for key in await self._store.read(lambda connection: Transaction(connection, 0).owned()):
            self.objects.add(key)

    async def _orphaned(self, uid: str) -> None:
        dependents = await self._store.read(lambda connection: Transaction(connection, 0).dependents(uid))
        for key in dependents:
            self.objects.add(key)

    async def _examine(self, key: Key) -> None:
        await self._store.write(lambda transaction: self._judge(transaction, key))

    def _judge(self, transaction: Transaction, key: Key) -> None:
        record, resource = transaction.get(*key), self._registry.stored_at(key[0])
        if record is None or resource is None:
            return
        obj = record.object()
        owners = {owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()}
        dead = {uid for uid in owners if not transaction.exists(uid)}
        if not dead:
            return
        if dead != owners:
            disown(transaction, self._registry, key, dead)
        elif "deletionTimestamp" not in obj["metadata"]:
            delete(transaction, self._registry, resource, record, DeleteOptions(uid=record.uid), self._clock())

    async def _foreground(self, uid: str) -> None:
        await self._store.write(lambda transaction: self._advance(transaction, uid))

    def _advance(self, transaction: Transaction, uid: str) -> None:
        """Delete the dependents of an object that waits for them; when none is left, the wait is over."""
        key = transaction.key_of(uid)
        record = transaction.get(*key) if key else None
        resource = self._registry.stored_at(key[0]) if key else None
        if record is None or resource is None:
            return
        obj = record.object()
        meta = obj["metadata"]
        if FOREGROUND not in (meta.get("finalizers") or ()) or "deletionTimestamp" not in meta:
            return
        dependents = transaction.dependents(uid)
        for dependent in dependents[:_BATCH]:
            inner, kind = transaction.get(*dependent), self._registry.stored_at(dependent[0])
            if inner is not None and kind is not None and "deletionTimestamp" not in inner.object()["metadata"]:
                delete(transaction, self._registry, kind, inner, DeleteOptions(propagation="Foreground"), self._clock())
        if not transaction.dependents(uid):
            meta["finalizers"] = [name for name in meta["finalizers"] if name != FOREGROUND]
            if finished(obj):
                erase(transaction, resource, record.key, obj)
            else:
                transaction.put(record.key, obj, resource.strategy.facts(obj))
        elif len(dependents) > _BATCH:
            self._store.on_loop(self.foreground.add, uid)
