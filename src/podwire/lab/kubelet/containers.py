"""The containers of one pod: started in order, watched, probed, started again, stopped.

A container is identified by its sandbox, name and attempt; what the supervisor tells of any other is old news. All
methods run on the event loop, and *changed* is called whenever a view has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial

from podwire.lab import images
from podwire.lab.kubelet import probes
from podwire.lab.kubelet.blueprint import PodGround, Refused, container_spec
from podwire.lab.kubelet.checkpoint import Checkpoint
from podwire.lab.kubelet.clock import seconds_of, stamp
from podwire.lab.kubelet.kit import Kit, reference
from podwire.lab.kubelet.objects import Container, Pod, Probe
from podwire.lab.kubelet.restart import Backoff, restarts
from podwire.lab.kubelet.runtime.client import Sandbox, SandboxGone, StartRefused
from podwire.lab.kubelet.runtime.messages import ContainerState, Exit
from podwire.lab.kubelet.status import ContainerView, Ended, blank_views, initialized

_LOG = logging.getLogger(__name__)
_NANO = 1_000_000_000
_LAST_WAIT = 10.0
_UNKNOWN = Exit(code=137, signal=0, finished_at=0)


class Containers:
    """Views by name in *init* and *main*, and what makes them true."""

    def __init__(self, kit: Kit, pod: Pod, saved: Checkpoint, changed: Callable[[], None]) -> None:
        self.init = {**blank_views(pod.spec.init_containers, "PodInitializing"), **saved.init}
        waiting = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
        self.main = {**blank_views(pod.spec.containers, waiting), **saved.main}
        self._kit = kit
        self._pod = pod
        self._changed = changed
        self._backoffs = {
            name: Backoff(kit.config.restart_backoff, kit.config.restart_backoff_max) for name in self._views
        }
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._hurried = False
        self._sandbox_id = ""
        self._box: Sandbox | None = None
        self._pod_ip = ""

    @property
    def _views(self) -> dict[str, ContainerView]:
        return {**self.init, **self.main}

    def enter(self, box: Sandbox, sandbox_id: str, pod_ip: str) -> None:
        """From here on containers live in *box*, and probes go to *pod_ip*."""
        if sandbox_id != self._sandbox_id:
            for view in self.init.values():  # a new sandbox is initialised anew, as a pod's network is new
                if view.ended is not None and not self._of_sandbox(view.ended.container_id, sandbox_id):
                    view.waiting, view.previous, view.ended = "PodInitializing", view.ended, None
                    view.restart_count += 1
        self._box, self._sandbox_id, self._pod_ip = box, sandbox_id, pod_ip

    def leave(self) -> None:
        """The sandbox is gone, and every container with it."""
        self._box = None
        for view in self._views.values():
            if view.running:
                self._end(view, {**_UNKNOWN, "finished_at": int(self._kit.clock() * _NANO)}, "ContainerStatusUnknown")

    def observe(self, states: Mapping[str, ContainerState]) -> None:
        """Take in what the supervisor tells. A container that this kubelet did not start (it died then) is adopted."""
        for name, state in states.items():
            view = self._views.get(name)
            identity = self._identity(name, state["attempt"])
            if view is None or (view.ended is not None and view.ended.container_id == identity):
                continue
            if view.container_id != identity or not view.running:
                self._begin(view, state["attempt"], state["started_at"])
            elif name not in self._probing:
                self._probe(view)
            if state["exit"] is not None:
                self._end(view, state["exit"])

    async def drive(self, ground: PodGround) -> float | None:
        """Start what should run and does not; seconds until it is worth looking again (None: until something happens)."""
        policy = self._pod.spec.restart_policy
        for container in self._pod.spec.init_containers:
            view = self.init[container.name]
            if view.ended is not None and view.ended.exit_code == 0:
                continue
            return await self._drive(container, view, "Never" if policy == "Never" else "OnFailure", ground)
        delays = [await self._drive(one, self.main[one.name], policy, ground) for one in self._pod.spec.containers]
        return min((delay for delay in delays if delay is not None), default=None)

    def explain(self, reason: str, message: str) -> None:
        """Show why containers that have not been started wait."""
        views = self.main if initialized(self._pod, self.init) else self._views
        for view in views.values():
            if not view.running and view.ended is None and (view.waiting, view.message) != (reason, message):
                view.waiting, view.message = reason, message
                self._changed()

    async def _drive(self, container: Container, view: ContainerView, policy: str, ground: PodGround) -> float | None:
        if view.running or (view.ended is not None and not restarts(policy, view.ended.exit_code)):
            return None
        backoff = self._backoffs[view.name]
        if delay := backoff.wait(self._kit.clock()):
            if view.ended is not None and not view.waiting:
                view.waiting = "CrashLoopBackOff"
                view.message = (
                    f"back-off {backoff.delay:g}s restarting failed container={view.name} pod={self._pod.key}"
                )
                self._event("Warning", "BackOff", f"Back-off restarting failed container {view.name}")
                self._changed()
            return delay
        attempt = view.restart_count + (1 if view.ended is not None else 0)
        problem = await self._start(container, attempt, ground)
        if problem is None:
            if view.container_id != self._identity(view.name, attempt):  # else it has ended, and been told of, already
                self._begin(view, attempt, int(self._kit.clock() * _NANO))
            self._event("Normal", "Started", f"Started container {view.name}")
            return None
        backoff.failed(self._kit.clock())
        view.waiting, view.message = problem
        self._event("Warning", "Failed", f"Error: {view.message}")
        self._changed()
        return backoff.wait(self._kit.clock())

    async def _start(self, container: Container, attempt: int, ground: PodGround) -> tuple[str, str] | None:
        """Start a container: None, or the reason and message why it could not be."""
        assert self._box is not None
        try:
            spec = container_spec(self._pod, container, attempt, ground)
            await self._box.start(spec)
        except Refused as error:
            return error.reason, error.message
        except StartRefused as error:
            if error.stage == "exec" and error.errno == errno.ENOENT:
                return "CreateContainerError", images.missing_command(container.image, spec["argv"])
            shown = f'image "{container.image}", command "{" ".join(spec["argv"])}": {error}'
            return "CreateContainerError", shown
        (ground.logs / container.name / f"{attempt - 2}.log").unlink(missing_ok=True)
        return None

    def _identity(self, name: str, attempt: int) -> str:
        return f"podwire://{self._sandbox_id[:32]}-{name}-{attempt}"

    @staticmethod
    def _of_sandbox(identity: str, sandbox_id: str) -> bool:
        return identity.startswith(f"podwire://{sandbox_id[:32]}-")

    def _begin(self, view: ContainerView, attempt: int, started_ns: int) -> None:
        view.previous, view.ended = view.ended or view.previous, None
        view.restart_count, view.container_id = attempt, self._identity(view.name, attempt)
        view.started_at, view.waiting, view.message = stamp(started_ns / _NANO), "", ""
        container = self._container(view.name)
        view.started = container.startup_probe is None
        view.ready = view.started and container.readiness_probe is None
        self._probe(view)
        self._notify()

    def _end(self, view: ContainerView, ended: Exit, reason: str = "") -> None:
        finished = ended["finished_at"] / _NANO
        self._backoffs[view.name].failed(self._kit.clock(), finished - seconds_of(view.started_at))
        view.ended = Ended(ended["code"], ended["signal"], view.started_at, stamp(finished), view.container_id, reason)
        view.started_at, view.waiting, view.message = "", "", ""
        view.ready = view.started = False
        if probing := self._probing.pop(view.name, None):
            probing.cancel()
        self._notify()

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._changed()

    def _container(self, name: str) -> Container:
        return next(one for one in self._pod.all_containers if one.name == name)

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._kit.recorder.record(reference(self._pod), "Warning" if kind == "Warning" else "Normal", reason, message)

    # --- probes

    def _probe(self, view: ContainerView) -> None:
        container = self._container(view.name)
        if any((container.startup_probe, container.liveness_probe, container.readiness_probe)):
            send = partial(self._send, container)
            report = partial(self._verdict, container, view, view.container_id)
            self._probing[view.name] = asyncio.create_task(probes.watch_container(container, send, report))

    async def _send(self, container: Container, probe: Probe) -> str:
        if self._box is None:
            return "the pod's sandbox is gone"
        return await self._kit.prober.check(probe, container, self._pod_ip, self._box)

    def _verdict(
        self, container: Container, view: ContainerView, identity: str, kind: probes.Kind, good: bool | None, why: str
    ) -> None:
        if view.container_id != identity or not view.running:
            return
        if why:
            self._event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {why}")
        if kind == "startup" and good:
            view.started = True
            view.ready = container.readiness_probe is None
        elif kind == "readiness":
            view.ready = bool(good)
        elif good is False:
            self._event("Normal", "Killing", f"Container {view.name} failed {kind} probe, will be restarted")
            task = asyncio.create_task(self._stop(view, self._pod.spec.termination_grace_period_seconds))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        self._changed()

    # --- the end

    def hurry(self) -> None:
        """Cut short the grace of containers that are being stopped."""
        self._hurried = True
        self._notify()

    async def stop_all(self, grace: float) -> None:
        """End every container: SIGTERM, then SIGKILL after *grace* seconds."""
        self.close()
        running = [view for view in self._views.values() if view.running]
        await asyncio.gather(*(self._stop(view, grace) for view in running))

    def close(self) -> None:
        """End what runs beside: probes."""
        for task in (*self._probing.values(), *self._stopping):
            task.cancel()
        self._probing.clear()

    async def _stop(self, view: ContainerView, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + grace
        hook = self._container(view.name).lifecycle.pre_stop
        with contextlib.suppress(SandboxGone):
            if hook and hook.exec and grace:
                await self._run_hook(view.name, list(hook.exec.command), grace)
            assert self._box is not None
            await self._box.signal(view.name, signal.SIGTERM if grace else signal.SIGKILL)
            if await self._ended_by(view, deadline, hurried=True):
                return
            await self._box.signal(view.name, signal.SIGKILL)
            await self._ended_by(view, asyncio.get_running_loop().time() + _LAST_WAIT)

    async def _ended_by(self, view: ContainerView, deadline: float, hurried: bool = False) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while view.running and not (hurried and self._hurried):
                    await self._news.wait()
        return not view.running

    async def _run_hook(self, name: str, command: list[str], limit: float) -> None:
        assert self._box is not None
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            process = await self._box.exec(name, command, [null, null, null])
            with contextlib.closing(process):
                async with asyncio.timeout(limit):
                    await process.wait()
        except (StartRefused, TimeoutError) as error:
            self._event("Warning", "FailedPreStopHook", f"preStop hook of {name} failed: {error or 'too slow'}")
        finally:
            os.close(null)
