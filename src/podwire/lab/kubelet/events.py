"""Events: what happened to an object, for ``kubectl describe``. The same thing again only counts up."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

from podwire.cluster.client import Client
from podwire.cluster.resources import EVENTS
from podwire.lab.kubelet.clock import stamp
from podwire.model.errors import ClusterError, NotFound

_LOG = logging.getLogger(__name__)
_REMEMBERED = 512
_WAITING = 1000


class Recorder:
    """Writes events in the background; they are dropped, not waited for, when the API server cannot take them."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)
        self._known: OrderedDict[tuple[str, ...], dict[str, Any]] = OrderedDict()

    def record(self, about: Mapping[str, str], kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """*about* is an object reference: kind, apiVersion, name, and for most namespace and uid."""
        event = {
            "involvedObject": dict(about),
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "lastTimestamp": stamp(time.time()),
        }
        if not self._queue.full():
            self._queue.put_nowait(event)

    async def run(self) -> None:
        """Write what was recorded, until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ClusterError as error:
                _LOG.warning("event %s not recorded: %s", event["reason"], error)

    async def _write(self, event: dict[str, Any]) -> None:
        about = event["involvedObject"]
        namespace = about.get("namespace") or "default"
        key = (about.get("uid", ""), about["name"], event["type"], event["reason"], event["message"])
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            known["count"] += 1
            change = {"count": known["count"], "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, known["metadata"]["name"], change, namespace)
                return
            except NotFound:  # it expired: begin anew
                del self._known[key]
        full = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about['name']}.{secrets.token_hex(8)}", "namespace": namespace},
            "firstTimestamp": event["lastTimestamp"],
            "count": 1,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
            **event,
        }
        await self._client.create(EVENTS, full, namespace)
        self._known[key] = full
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
