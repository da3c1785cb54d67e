"""The end of a namespace: everything in it is deleted, and when the last object is gone, so is the namespace."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from podwire.lab.apiserver.controllers.worker import Worker
from podwire.lab.apiserver.kinds.resource import Registry
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.kinds.table import NAMESPACES
from podwire.lab.apiserver.rest.deletion import DeleteOptions, delete, erase, finished
from podwire.lab.apiserver.rest.writes import timestamp
from podwire.lab.apiserver.storage.facts import Selection
from podwire.lab.apiserver.storage.store import DELETED, LogEvent, Store
from podwire.lab.apiserver.storage.transaction import Key, Transaction

GRACE_SECONDS = 1.0
"""``kubectl delete -f`` of a namespace and its contents deletes one after the other: it should find them all."""


class NamespaceEnder:
    """Empties namespaces that are being deleted."""

    def __init__(self, store: Store, registry: Registry, clock: Callable[[], datetime]) -> None:
        self._store, self._registry, self._clock = store, registry, clock
        self._ending: set[str] = set()
        self._begun: set[str] = set()
        self.worker: Worker[str] = Worker("namespaces", self._end)

    def notice(self, event: LogEvent) -> None:
        """A listener of the hub."""
        if event.resource == NAMESPACES:
            if event.type == DELETED:
                self._ending.discard(event.name)
                self._begun.discard(event.name)
            elif event.facts.fields.get("status.phase") == "Terminating" and event.name not in self._ending:
                self._ending.add(event.name)
                asyncio.get_running_loop().call_later(GRACE_SECONDS, self._begin_ending, event.name)
        elif event.namespace in self._begun and event.type == DELETED:
            self.worker.add(event.namespace)

    async def start(self) -> None:
        """Go on with what was being deleted when the server died."""
        chosen = Selection(match=lambda facts: facts.fields.get("status.phase") == "Terminating")
        names = [name for _, _, name in await self._store.keys(NAMESPACES, chosen)]
        self._ending.update(names)
        for name in names:
            self._begin_ending(name)

    def _begin_ending(self, name: str) -> None:
        if name in self._ending:
            self._begun.add(name)
            self.worker.add(name)

    async def _end(self, namespace: str) -> None:
        await self._store.write(lambda transaction: self._step(transaction, namespace))

    def _step(self, transaction: Transaction, namespace: str) -> None:
        record, resource = transaction.get(NAMESPACES, "", namespace), self._registry.stored_at(NAMESPACES)
        if record is None or resource is None or "deletionTimestamp" not in record.object()["metadata"]:
            return
        begun = [key for key in transaction.keys(None, namespace) if self._begin(transaction, key)]
        remaining = transaction.keys(None, namespace)
        obj = record.object()
        if not remaining:
            obj["spec"] = {"finalizers": []}
            if finished(obj):
                erase(transaction, resource, record.key, obj)
            else:
                transaction.put(record.key, obj, resource.strategy.facts(obj))
        elif begun:
            self._report(obj, remaining)
            transaction.put(record.key, obj, resource.strategy.facts(obj))

    def _begin(self, transaction: Transaction, key: Key) -> bool:
        record, resource = transaction.get(*key), self._registry.stored_at(key[0])
        if record is None:
            return False
        if resource is None:  # the definition of its kind is gone: nobody can serve it, nor wait for it
            transaction.delete(key, record.object(), record.facts)
            return True
        if "deletionTimestamp" in record.object()["metadata"]:
            return False
        delete(transaction, self._registry, resource, record, DeleteOptions(), self._clock())
        return True

    def _report(self, obj: Object, remaining: list[Key]) -> None:
        counts = Counter(key[0].lstrip("/") for key in remaining)
        listed = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(counts.items()))
        condition = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {listed}",
            "lastTransitionTime": timestamp(self._clock()),
        }
        obj["status"]["conditions"] = [condition]
