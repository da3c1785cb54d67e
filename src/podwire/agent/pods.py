"""This node's pods as the cluster has them: one of the witnesses when an attachment is taken for dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from podwire.cluster import objects
from podwire.cluster.client import Client
from podwire.cluster.objects import PodObject
from podwire.cluster.resources import PODS
from podwire.cluster.watch import Reflector, Replaced
from podwire.model.attachment import PodRef
from podwire.model.cluster import Pod

_LOG = logging.getLogger(__name__)


class NodePods:
    """Follows the pods whose spec.nodeName is this node, and no others."""

    def __init__(self, client: Client, node: str) -> None:
        self._reflector: Reflector[PodObject] = Reflector(
            client, PODS, field_selector=f"spec.nodeName={node}", type=PodObject
        )
        self._pods: dict[tuple[str, str], Pod] = {}
        self._told = asyncio.Event()

    async def run(self) -> None:
        """Follow for ever."""
        async for event in self._reflector:
            if isinstance(event, Replaced):
                found = (objects.pod(decoded) for decoded in event.objects)
                self._pods = {(pod.namespace, pod.name): pod for pod in found}
                self._told.set()
                continue
            pod = objects.pod(event.object)
            if event.deleted:
                self._pods.pop((pod.namespace, pod.name), None)
            else:
                self._pods[pod.namespace, pod.name] = pod

    @property
    def synced(self) -> bool:
        """Whether the cluster has told its pods."""
        return self._told.is_set()

    async def told(self) -> None:
        """Wait until it has."""
        await self._told.wait()

    @property
    def pods(self) -> Mapping[tuple[str, str], Pod]:
        """By namespace and name; empty until :attr:`synced`."""
        return self._pods

    def running(self) -> list[PodRef] | None:
        """The pods that should have a network here; None as long as the cluster has not told."""
        if not self.synced:
            return None
        return [
            PodRef(pod.namespace, pod.name, pod.uid) for pod in self._pods.values() if pod.live and not pod.host_network
        ]
