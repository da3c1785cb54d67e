"""The pods of this node: one worker for each that the API binds here, and an end for what it no longer knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from podwire.cluster.resources import PODS
from podwire.cluster.watch import Reflector, Replaced
from podwire.lab.kubelet import sandbox
from podwire.lab.kubelet.checkpoint import PodDirectory, known_pods
from podwire.lab.kubelet.cni_conf import NotReady
from podwire.lab.kubelet.kit import Kit
from podwire.lab.kubelet.objects import Pod
from podwire.lab.kubelet.worker import PodWorker
from podwire.model.errors import PodwireError

_LOG = logging.getLogger(__name__)
_RETRY = 5.0
_COLLECT_TIMEOUT = 15.0


class Pods:
    """Call :meth:`run` once; the workers can be asked for at any time."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cleaning: asyncio.Task[None] | None = None

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by name: of namesakes, the one that is not on its way out."""
        found = [
            worker
            for worker in self._workers.values()
            if (worker.pod.metadata.namespace, worker.pod.metadata.name) == (namespace, name)
        ]
        return min(found, key=lambda worker: bool(worker.pod.metadata.deletion_timestamp), default=None)

    async def run(self) -> None:
        """Follow the API until cancelled; pods keep running then."""
        await self._collect()
        selector = f"spec.nodeName={self._kit.config.node_name}"
        try:
            async for event in Reflector[dict[str, Any]](self._kit.client, PODS, field_selector=selector):
                if isinstance(event, Replaced):
                    present = [uid for uid in (self._seen(found) for found in event.objects) if uid]
                    for uid in set(self._workers) - set(present):
                        self._workers[uid].removed()
                    if self._cleaning is None:
                        self._cleaning = asyncio.create_task(self._clean(set(present)))
                elif event.deleted:
                    worker = self._workers.get(event.object["metadata"]["uid"])
                    if worker is not None:
                        worker.removed()
                else:
                    self._seen(event.object)
        finally:
            for task in [*self._tasks.values(), *([self._cleaning] if self._cleaning else [])]:
                task.cancel()

    def _seen(self, found: Mapping[str, Any]) -> str:
        """Take in a pod; its uid, or "" for one that cannot be read."""
        try:
            pod = msgspec.convert(_without_nulls(found), Pod)
        except msgspec.ValidationError as error:
            _LOG.error("pod %s cannot be read: %s", found["metadata"].get("name"), error)
            return ""
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
        else:
            worker = self._workers[uid] = PodWorker(self._kit, pod)
            task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {pod.key}")
            task.add_done_callback(lambda done: self._ended(uid, done))
        return uid

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        worker = self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if task.cancelled() or worker is None:
            return
        if error := task.exception():
            _LOG.error("the worker of pod %s failed", worker.pod.key, exc_info=error)
            asyncio.get_running_loop().call_later(_RETRY, self._again, worker)

    def _again(self, old: PodWorker) -> None:
        """Start over with a pod whose worker failed, from what is written down."""
        uid = old.pod.metadata.uid
        if uid not in self._workers:
            worker = self._workers[uid] = PodWorker(self._kit, old.pod)
            task = self._tasks[uid] = asyncio.create_task(worker.run())
            task.add_done_callback(lambda done: self._ended(uid, done))

    async def _collect(self) -> None:
        """Tell the plugins what an earlier kubelet left, so that they can collect the rest (CNI GC).

        Before any pod is worked on: a GC must not run beside an ADD that it does not know of.
        """
        saved = [PodDirectory(self._kit.config.state_dir, uid).load() for uid in known_pods(self._kit.config.state_dir)]
        records = [one.sandbox for one in saved if one is not None and one.sandbox is not None]
        try:
            async with asyncio.timeout(_COLLECT_TIMEOUT):
                await self._kit.cni.gc(self._kit.cni.network(), [one.target for one in records if one.netns])
        except NotReady:
            return
        except (PodwireError, OSError, TimeoutError) as error:
            _LOG.warning("CNI GC: %s", error or "no answer in time")

    async def _clean(self, present: set[str]) -> None:
        """Take down what an earlier kubelet left of pods that are gone."""
        for uid in known_pods(self._kit.config.state_dir):
            directory = PodDirectory(self._kit.config.state_dir, uid)
            if uid in present or uid in self._workers:
                continue
            saved = directory.load()
            while saved is not None and saved.sandbox is not None:
                try:
                    await sandbox.destroy(saved.sandbox, self._kit.cni)
                    break
                except (PodwireError, OSError) as error:
                    _LOG.warning("sandbox %.12s of a pod that is gone: %s", saved.sandbox.id, error)
                    await asyncio.sleep(_RETRY)
            directory.remove()


def _without_nulls(value: Any) -> Any:
    """A copy in which a field that is null is absent, which means the same in Kubernetes."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
