"""All that the manager sees, and its ways to change it. Every write tolerates that somebody was quicker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from podwire.cluster import resources as kinds
from podwire.cluster.client import MERGE_PATCH, Client, Object
from podwire.cluster.resources import Resource
from podwire.lab.manager.informers import Informer
from podwire.lab.manager.objects import Key, Lease, Meta, Namespace, Node, Pod, ServiceAccount, Workload
from podwire.model.errors import ClusterError, Conflict, NotFound

_LOG = logging.getLogger(__name__)


class World:
    """Informers of every resource that the manager needs."""

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        self._client = client
        self.nodes = Informer(client, kinds.NODES, Node, changed)
        self.pods = Informer(client, kinds.PODS, Pod, changed)
        self.leases = Informer(client, kinds.LEASES, Lease, lambda: None)
        self.namespaces = Informer(client, kinds.NAMESPACES, Namespace, changed)
        self.accounts = Informer(client, kinds.SERVICE_ACCOUNTS, ServiceAccount, changed)
        self.deployments = Informer(client, kinds.DEPLOYMENTS, Workload, changed)
        self.sets = Informer(client, kinds.REPLICA_SETS, Workload, changed)
        self.daemons = Informer(client, kinds.DAEMON_SETS, Workload, changed)
        self._informers: dict[str, Informer[Any]] = {
            one.resource.plural: one
            for one in (
                self.nodes,
                self.pods,
                self.leases,
                self.namespaces,
                self.accounts,
                self.deployments,
                self.sets,
                self.daemons,
            )
        }

    async def run(self) -> None:
        """Follow everything for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    async def synced(self) -> None:
        """Wait until everything was seen once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def create(self, resource: Resource, body: Object, namespace: str = "") -> None:
        """Create; that it exists already is fine."""
        try:
            self._informers[resource.plural].take(await self._client.create(resource, body, namespace))
        except Conflict:
            pass
        except ClusterError as error:
            _LOG.warning("%s", error)

    async def patch(self, resource: Resource, key: Key, body: Object, *, subresource: str = "") -> None:
        """Merge-patch; an object that is gone is fine."""
        namespace, name = key
        try:
            raw = await self._client.patch(
                resource, name, body, namespace, subresource=subresource, content_type=MERGE_PATCH
            )
            self._informers[resource.plural].take(raw)
        except NotFound:
            self._informers[resource.plural].forget(key)
        except ClusterError as error:
            _LOG.warning("%s", error)

    async def delete(self, resource: Resource, meta: Meta, *, grace_seconds: int | None = None) -> None:
        """Delete the object that *meta* means, and no namesake of it."""
        try:
            raw = await self._client.delete(
                resource, meta.name, meta.namespace, uid=meta.uid, grace_seconds=grace_seconds
            )
            if raw.get("kind") == resource.kind:
                self._informers[resource.plural].take(raw)
        except (NotFound, Conflict):
            self._informers[resource.plural].forget(meta.key)
        except ClusterError as error:
            _LOG.warning("%s", error)

    async def bind(self, pod: Pod, node: str) -> None:
        """Bind *pod* to *node*."""
        body = {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.metadata.name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        try:
            await self._client.create(
                kinds.PODS, body, pod.metadata.namespace, name=pod.metadata.name, subresource="binding"
            )
            pod.spec.node_name = node
        except (NotFound, Conflict):
            pass
        except ClusterError as error:
            _LOG.warning("%s", error)
