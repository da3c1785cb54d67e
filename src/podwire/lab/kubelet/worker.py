"""The worker of one pod: drives what is there towards what the pod's spec asks for, until the pod is gone.

Level-triggered: every wake-up (a change of the pod, the end of a container, a probe's verdict, a back-off that is
over) runs :meth:`PodWorker._sync` from the top, which does the first thing that is missing and says when to look again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import Any

from podwire.cluster.resources import PODS
from podwire.lab.kubelet import sandbox
from podwire.lab.kubelet.blueprint import PodGround
from podwire.lab.kubelet.checkpoint import Checkpoint, PodDirectory
from podwire.lab.kubelet.clock import stamp
from podwire.lab.kubelet.containers import Containers
from podwire.lab.kubelet.kit import Kit, log_directory, reference
from podwire.lab.kubelet.objects import Pod
from podwire.lab.kubelet.restart import Backoff
from podwire.lab.kubelet.runtime.client import Sandbox, SandboxGone
from podwire.lab.kubelet.status import PodView, phase, pod_status
from podwire.lab.kubelet.status_writer import StatusWriter
from podwire.model.errors import ClusterError, Conflict, InputError, NotFound, PodwireError

_LOG = logging.getLogger(__name__)
_NETWORK_POLL = 0.25
_REMOVED_GRACE = 1.0
"""Seconds for the containers of a pod that was deleted by force: nobody waits for them any more."""


class PodWorker:
    """One pod. Call :meth:`run` once, as a task; :meth:`update` and :meth:`removed` at any time."""

    def __init__(self, kit: Kit, pod: Pod) -> None:
        self.pod = pod
        self._kit = kit
        self._directory = PodDirectory(kit.config.state_dir, pod.metadata.uid)
        saved = self._directory.load() or Checkpoint()
        self._start_time = saved.start_time or pod.status.get("startTime") or stamp(kit.clock())
        self._record = saved.sandbox
        self._stale = self._record is not None
        self._last_addresses: tuple[str, ...] = ()
        self._containers = Containers(kit, pod, saved, self._changed)
        self._over = not saved.start_time and pod.status.get("phase") in ("Succeeded", "Failed")
        self._removed = False
        self._box: Sandbox | None = None
        self._ground: PodGround | None = None
        self._backoff = Backoff(kit.config.restart_backoff, kit.config.restart_backoff_max)
        self._writer = StatusWriter(kit.client, pod, self._status)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, pod: Pod) -> None:
        """The pod has changed in the API."""
        self.pod = pod
        if pod.metadata.deletion_timestamp and pod.metadata.deletion_grace_period_seconds == 0:
            self._containers.hurry()
        self._wake.set()

    def removed(self) -> None:
        """The pod is no longer in the API, or no longer this node's."""
        self._removed = True
        self._containers.hurry()
        self._wake.set()

    async def run(self) -> None:
        """Serve the pod until it is gone. Cancelled, it leaves everything running for the next kubelet."""
        try:
            self._spawn(self._writer.run())
            self._writer.changed()
            await self._adopt()
            while True:
                self._wake.clear()
                if self._removed or self.pod.metadata.deletion_timestamp:
                    await self._terminate()
                    return
                delay = await self._sync()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()
        finally:
            self._containers.close()
            for task in self._tasks:
                task.cancel()

    def containers(self) -> Containers:
        """For exec and logs."""
        return self._containers

    @property
    def box(self) -> Sandbox | None:
        """The sandbox, while there is one."""
        return self._box

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _changed(self) -> None:
        self._save()
        self._wake.set()
        self._writer.changed()

    def _save(self) -> None:
        self._directory.save(Checkpoint(self._start_time, self._record, self._containers.init, self._containers.main))

    def _view(self) -> PodView:
        addresses = self._addresses()
        view = PodView(self._start_time, self._kit.config.node_addresses, addresses, self._box is not None)
        view.init, view.main = self._containers.init, self._containers.main
        return view

    def _addresses(self) -> tuple[str, ...]:
        if self.pod.spec.host_network:
            return self._kit.config.node_addresses
        return self._record.addresses if self._record is not None else self._last_addresses

    def _status(self) -> dict[str, Any]:
        return self.pod.status if self._over else pod_status(self.pod, self._view(), stamp(self._kit.clock()))

    def _event(self, reason: str, message: str) -> None:
        self._kit.recorder.record(reference(self.pod), "Warning", reason, message)

    async def _adopt(self) -> None:
        """Find a sandbox that an earlier kubelet made; one that does not answer is taken down and made anew."""
        if self._record is None:
            return
        box = Sandbox(self._record.directory)
        try:
            states = await box.state()
        except SandboxGone:
            self._containers.leave()
            return
        self._stale = False
        self._enter(box)
        self._containers.observe(states)
        _LOG.info("%s: adopted sandbox %.12s", self.pod.key, self._record.id)

    def _enter(self, box: Sandbox) -> None:
        assert self._record is not None
        self._box = box
        self._containers.enter(box, self._record.id, next(iter(self._addresses()), "127.0.0.1"))
        self._spawn(self._watch(box))

    async def _watch(self, box: Sandbox) -> None:
        try:
            async for states in box.watch():
                self._containers.observe(states)
        except SandboxGone:
            if self._box is box:
                self._box, self._stale, self._ground = None, True, None
                self._containers.leave()
                self._changed()

    async def _sync(self) -> float | None:
        """Do what is missing; seconds until the next look, or None to wait for news."""
        if self._over:
            return None
        if phase(self.pod, self._view()) in ("Succeeded", "Failed"):
            return None if await self._take_down() else self._backoff.wait(self._kit.clock())
        if self._box is None and (delay := await self._make_sandbox()) is not None:
            return delay
        if self._ground is None and not await self._prepare():
            return self._backoff.wait(self._kit.clock())
        assert self._ground is not None
        try:
            return await self._containers.drive(self._ground)
        except SandboxGone:
            return 0.1  # _watch is about to notice
        except OSError as error:
            _LOG.error("%s: %s", self.pod.key, error)
            return 1.0

    async def _make_sandbox(self) -> float | None:
        """Make the sandbox; None when it stands, else seconds until the next attempt."""
        if delay := self._backoff.wait(self._kit.clock()):
            return delay
        if self._stale:
            self._event("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            if not await self._take_down():
                return self._backoff.wait(self._kit.clock())
        problem = "" if self.pod.spec.host_network else self._kit.network_problem()
        if problem:
            self._containers.explain("ContainerCreating", f"network is not ready: {problem}")
            return _NETWORK_POLL
        self._last_addresses = ()
        self._record = sandbox.new_record(self.pod, self._directory.path, self._kit.config.netns_dir)
        self._stale = True
        try:
            box = await sandbox.create(self._record, self.pod, self._kit.cni, self._save)
        except (PodwireError, OSError) as error:
            self._backoff.failed(self._kit.clock())
            self._containers.explain("ContainerCreating", f"failed to create the pod's sandbox: {error}")
            self._event("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            delay = self._backoff.wait(self._kit.clock())
            await self._take_down()
            return delay
        self._stale = False
        self._backoff.succeeded()
        self._enter(box)
        self._changed()
        return None

    async def _prepare(self) -> bool:
        """Write the pod's files; whether that worked."""
        try:
            self._ground = await self._kit.ground(self.pod, self._directory.path, self._addresses())
        except InputError as error:
            self._backoff.failed(self._kit.clock())
            self._containers.explain("CreateContainerConfigError", str(error))
            self._event("Failed", f"Error: {error}")
            return False
        except (ClusterError, OSError) as error:
            self._backoff.failed(self._kit.clock())
            self._containers.explain("ContainerCreating", f"the pod's files cannot be prepared: {error}")
            return False
        self._backoff.succeeded()
        return True

    async def _take_down(self) -> bool:
        """Remove the sandbox, whatever there is of it; whether that worked."""
        if self._record is None:
            return True
        box, self._box, self._stale, self._ground = self._box, None, True, None
        try:
            await sandbox.destroy(self._record, self._kit.cni)
        except (PodwireError, OSError) as error:
            self._backoff.failed(self._kit.clock())
            self._event("FailedKillPod", f"error killing pod: {error}")
            return False
        finally:
            if box is not None:
                self._containers.leave()
        self._last_addresses, self._record, self._stale = self._record.addresses, None, False
        self._save()
        return True

    async def _terminate(self) -> None:
        """End the pod: containers, sandbox, the object in the API, files; retried until it is done."""
        meta = self.pod.metadata
        grace = meta.deletion_grace_period_seconds
        if grace is None:
            grace = self.pod.spec.termination_grace_period_seconds
        if self._box is not None:
            self._kit.recorder.record(reference(self.pod), "Normal", "Killing", "Stopping the pod's containers")
        await self._containers.stop_all(_REMOVED_GRACE if self._removed else grace)
        while not await self._take_down():  # noqa: ASYNC110 (a back-off, not a poll)
            await asyncio.sleep(self._backoff.wait(self._kit.clock()))
        while not self._removed:
            try:
                await self._writer.flush()
                await self._kit.client.delete(PODS, meta.name, meta.namespace, grace_seconds=0, uid=meta.uid)
                break
            except (NotFound, Conflict):
                break
            except ClusterError as error:
                _LOG.warning("%s: %s", self.pod.key, error)
                await asyncio.sleep(1)
        self._directory.remove()
        shutil.rmtree(log_directory(self._kit.config.log_dir, self.pod), ignore_errors=True)
