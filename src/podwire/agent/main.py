"""The composition root of a node: builds the parts, starts them in order, takes them down again.

The order of a start, and why:

1. the journal is read and what was half done is undone, so that no address can be given twice;
2. the CNI socket opens: DEL works from here on, the rest answers "not yet" with the reason;
3. the nodes are listed; the first complete list makes the first plan, and only then is the kernel written to;
4. when the kernel is as planned, the binary and then the conflist are installed: the runtime takes the conflist for a promise.

A stop, however it comes, takes nothing down in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from podwire.agent import adoption, control, health
from podwire.agent.dataplane import Dataplane
from podwire.agent.janitor import Janitor
from podwire.agent.membership import Membership
from podwire.agent.metrics import Metrics
from podwire.agent.pods import NodePods
from podwire.agent.report import Report
from podwire.agent.world import collisions
from podwire.cluster import kubeconfig
from podwire.cluster.client import Client
from podwire.cni import build, install
from podwire.cni.attachments import Attachments, PodContext
from podwire.cni.server import Server
from podwire.cni.spool import Spool
from podwire.cni.verbs import Verbs
from podwire.drivers.kernel import Kernel
from podwire.drivers.monitor import UNDERLAY, Hint, Monitor
from podwire.drivers.store import JournalStore
from podwire.drivers.wirer import VethWirer
from podwire.ipam.allocator import Allocator
from podwire.model.config import Config
from podwire.model.errors import PodwireError
from podwire.plan import State

_LOG = logging.getLogger(__name__)
_SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes (a resync) yields to one that waits (an ADD); Python's default is ten times that."""
_BINARY_RETRY = 5.0


def node_name(config: Config) -> str:
    """The name of this node's Node object: configured, else $NODE_NAME, else the host name in lower case as kubelet does."""
    return config.node.name or os.environ.get("NODE_NAME", "") or socket.gethostname().lower()


def _ignore(_: object) -> None:
    """For callbacks that must answer nothing."""


class Agent:
    """One agent. ``await Agent(config).run()`` returns when asked to stop by SIGTERM, SIGINT or :meth:`stop`."""

    def __init__(
        self, config: Config, *, answers: dict[tuple[str, str], Callable[[Agent], control.Answer]] | None = None
    ) -> None:
        """*answers* adds to the control API: (method, path) -> a function that makes the handler."""
        self.config = config
        self.name = node_name(config)
        self.run_dir = Path(config.run_dir)
        self.metrics = Metrics()
        self._answers = answers or {}
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure = ""
        self._installed = False

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Build, serve until told to stop, take down."""
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run_dir.chmod(0o700)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with AsyncExitStack() as stack:
            self._build(stack)
            stack.push_async_callback(self._end_tasks)
            await self._start(stack)
            _LOG.info("podwire agent of node %s serves on %s", self.name, self.config.socket_path)
            await self._stopping.wait()
            _LOG.info("stopping; pods keep their network")

    def _build(self, stack: AsyncExitStack) -> None:
        """Make the parts; nothing runs yet."""
        config = self.config
        self.store = JournalStore(config.run_dir)
        stack.callback(self.store.close)
        self.kernel = Kernel()
        stack.callback(self.kernel.close)
        self.wirer = VethWirer()
        stack.callback(self.wirer.close)
        self.client = Client(kubeconfig.load(config.kubeconfig), user_agent=f"podwire-agent/{self.name}")
        stack.push_async_callback(self.client.close)
        self.pods = NodePods(self.client, self.name)
        self.attachments = Attachments(
            allocator=Allocator((), reserved=config.reserved_networks, cooldown=config.ipam.cooldown_seconds),
            store=self.store,
            wirer=self.wirer,
            context=self._context,
            on_change=lambda change: self.dataplane.submit([change]),
            running_pods=self.pods.running,
        )
        stack.push_async_callback(self.attachments.close)
        self.dataplane = Dataplane(
            self.kernel,
            State(self.name, config),
            metrics=self.metrics,
            resync_seconds=config.resync_seconds,
            busy=lambda: self.attachments.busy,
            attachments=self.attachments.snapshot,
        )
        self.membership = Membership(
            self.client, self.name, config, self.dataplane, self.run_dir, self.attachments.set_pools
        )
        self.membership.on_restart = self.metrics.watch_restarts.inc
        self.verbs = Verbs(self.attachments, observe=self._observed)
        self.spool = Spool(str(self.run_dir / "spool"), self._serve_spooled)
        self.janitor = Janitor(self.attachments, self.spool)
        self.report = Report(self)

    async def _start(self, stack: AsyncExitStack) -> None:
        """Start the parts, in the order that the module explains."""
        found = await self.attachments.recover()
        self.dataplane.adopt(self.attachments.snapshot())
        for line in adoption.describe(found):
            _LOG.warning("%s", line)
        server = Server(self.config.socket_path, self.verbs.serve)
        await server.start()
        stack.push_async_callback(server.stop)
        runner = await control.serve(control.application(self._control()), str(self.run_dir / "control.sock"))
        stack.push_async_callback(runner.cleanup)
        app = health.application(self.metrics, lambda: self._failure, self.not_ready, self.report.refresh)
        web = await health.serve(app, self.config.health)
        if web is not None:
            stack.push_async_callback(web.cleanup)
        loop = asyncio.get_running_loop()
        monitor = Monitor(lambda hints: _ignore(loop.call_soon_threadsafe(self._stirred, hints)))
        monitor.start()
        stack.push_async_callback(partial(asyncio.to_thread, monitor.close))
        self._spawn("the list of nodes", self.membership.run())
        self._spawn("the list of pods", self.pods.run())
        self._spawn("the dataplane", self._drive())
        self._spawn("recovery", self._settle(found))

    def _control(self) -> dict[tuple[str, str], control.Answer]:
        report = self.report
        answers: dict[tuple[str, str], control.Answer] = {
            ("GET", "/v1/status"): report.status,
            ("GET", "/v1/ip"): report.addresses,
            ("GET", "/v1/intent"): report.intent,
            ("POST", "/v1/resync"): report.resync,
        }
        return answers | {route: make(self) for route, make in self._answers.items()}

    async def _drive(self) -> None:
        """Wait for the first complete list, then keep the kernel as planned, and tell the runtime when it is."""
        await self.membership.complete.wait()
        driving = asyncio.create_task(self.dataplane.run())
        try:
            waiting = asyncio.create_task(self.dataplane.in_sync.wait())
            await asyncio.wait({driving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                await self._announce()
            await driving
        finally:
            driving.cancel()

    async def _announce(self) -> None:
        """Install binary and conflist once new pods can really be connected; carry out what was deferred."""
        while reason := self.not_ready(installed=True):
            _LOG.info("not ready: %s", reason)
            await self.membership.changed()
        for finding in await asyncio.to_thread(collisions, self.config, self.membership.underlays):
            _LOG.warning("the address plan collides: %s", finding)
        self._spawn("the janitor", self.janitor.run())
        while True:
            try:
                for path in await asyncio.to_thread(install.install, self.config.cni, build.binary_path()):
                    _LOG.info("installed %s", path)
                break
            except (OSError, PodwireError) as error:
                _LOG.error("cannot install the CNI plugin: %s; trying again in %.0f s", error, _BINARY_RETRY)
                await asyncio.sleep(_BINARY_RETRY)
        for rival in install.rivals(self.config.cni):
            _LOG.warning("%s comes before podwire's conflist: the runtime will use it instead; remove it", rival)
        self._installed = True

    async def _settle(self, found: adoption.Recovery) -> None:
        """Once the cluster has told its pods, settle what a damaged store left open."""
        if found.complete:
            return
        await self.pods.told()
        await adoption.settle(
            self.attachments,
            found,
            await asyncio.to_thread(self.kernel.observe, {"route", "neighbour"}),
            self.pods.pods.values(),
        )

    def not_ready(self, *, installed: bool = False) -> str:
        """Why new pods cannot be connected yet; "" when they can. *installed* leaves the conflist out of account."""
        reason = self.membership.not_ready
        if not reason and not installed and not self._installed and not self.membership.from_memory:
            reason = "the CNI plugin is not installed yet"
        self.metrics.ready.set(0 if reason else 1)
        return reason

    def _context(self) -> PodContext:
        return PodContext(mtu=self.membership.mtu, not_ready=self.membership.not_ready)

    def _stirred(self, hints: frozenset[Hint]) -> None:
        if UNDERLAY in hints:
            self.membership.look_again()
        self.dataplane.stirred()

    def _observed(self, verb: str, code: int, seconds: float) -> None:
        self.metrics.cni_seconds.labels(verb).observe(seconds)
        self.metrics.cni_results.labels(verb, str(code)).inc()

    async def _serve_spooled(self, raw: Any, asked_at: float) -> Any:
        return await self.verbs.serve(raw, None, asked_at=asked_at)

    def _spawn(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Run *work*; an agent that lost one of its tasks says so and asks to be restarted."""

        async def watched() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._failure = f"{what} failed: {error!r}"
                _LOG.critical("%s failed; the agent ends, to be started anew", what, exc_info=True)
                self.stop()

        task = asyncio.create_task(watched(), name=what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def failure(self) -> str:
        """Why the agent ended by itself; "" when it was told to."""
        return self._failure
