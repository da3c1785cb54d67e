"""Brings one pod's status to the API, however often that takes, and never twice the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from podwire.cluster.client import Client
from podwire.cluster.resources import PODS
from podwire.lab.kubelet.objects import Pod
from podwire.model.errors import ClusterError, NotFound, Unavailable

_LOG = logging.getLogger(__name__)
_LONGEST = 10.0
_COMES_AND_GOES = ("podIP", "podIPs", "initContainerStatuses", "reason", "message")
"""Fields of ours that a later status may lack; what others write into the status stays."""


class StatusWriter:
    """*compute* gives the status as it should be now; :meth:`changed` says that it may differ from what was written."""

    def __init__(self, client: Client, pod: Pod, compute: Callable[[], dict[str, Any]]) -> None:
        self._client = client
        self._meta = pod.metadata
        self._compute = compute
        self._written: dict[str, Any] = dict(pod.status)
        self._dirty = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def changed(self) -> None:
        """Have the status computed and, if it is news, written."""
        self._dirty.set()

    async def run(self) -> None:
        """Write until cancelled. Ends when the pod is no more."""
        pause = 0.2
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self.flush()
                pause = 0.2
            except NotFound:
                return
            except Unavailable as error:
                _LOG.warning("%s/%s: %s", self._meta.namespace, self._meta.name, error)
                self._dirty.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST)
            except ClusterError as error:  # refused for good: the next change of the pod is the next attempt
                _LOG.error("%s/%s: status refused: %s", self._meta.namespace, self._meta.name, error)

    async def flush(self) -> None:
        """Write now, if there is news."""
        async with self._one_at_a_time:
            status = self._compute()
            change = {key: value for key, value in status.items() if self._written.get(key) != value}
            change |= {key: None for key in _COMES_AND_GOES if key in self._written and key not in status}
            if change:
                patch = {"metadata": {"uid": self._meta.uid}, "status": change}
                await self._client.patch(PODS, self._meta.name, patch, self._meta.namespace, subresource="status")
                self._written = status
