"""The composition root: store, hub, handler and controllers of one API server, on its listening sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiohttp import web

from podwire.lab.apiserver.auth import ADMIN_GROUP, AUTHENTICATED, Authenticator, User
from podwire.lab.apiserver.controllers.collector import Collector
from podwire.lab.apiserver.controllers.expiry import keep_events_young
from podwire.lab.apiserver.controllers.namespaces import NamespaceEnder
from podwire.lab.apiserver.errors import ApiError
from podwire.lab.apiserver.kinds import custom
from podwire.lab.apiserver.kinds.resource import Registry
from podwire.lab.apiserver.kinds.strategy import Settings
from podwire.lab.apiserver.kinds.table import DEFINITIONS, registry
from podwire.lab.apiserver.rest.call import Services
from podwire.lab.apiserver.rest.handler import Handler
from podwire.lab.apiserver.rest.kubelet import KubeletFiles, KubeletProxy
from podwire.lab.apiserver.rest.writes import Request, Writes
from podwire.lab.apiserver.storage.facts import Selection
from podwire.lab.apiserver.storage.hub import Hub
from podwire.lab.apiserver.storage.store import DELETED, LOG_LIMIT, LogEvent, Store
from podwire.model.errors import LabError

BODY_LIMIT = 3 * 1024 * 1024
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "podwire-system")
_SELF = User("system:apiserver", (ADMIN_GROUP, AUTHENTICATED))
_STOP_SECONDS = 1.0


def utc_now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, port), family=family, backlog=512)
    made.setblocking(False)
    return made


class ApiServer:
    """One API server over the directory that :func:`podwire.lab.apiserver.pki.prepare` made.

    Use it as ``async with ApiServer(directory, sockets) as server``. The sockets are listening ones, and are closed at
    the end.
    """

    def __init__(
        self,
        directory: Path,
        sockets: Iterable[socket.socket],
        *,
        settings: Settings | None = None,
        clock: Callable[[], datetime] = utc_now,
        log_limit: int = LOG_LIMIT,
    ) -> None:
        self._directory = directory
        self._sockets = list(sockets)
        self._settings = settings or Settings()
        self._clock = clock
        self._log_limit = log_limit
        self.hub = Hub()
        self.registry: Registry = registry()
        self._tasks: list[asyncio.Task[None]] = []
        self._ends = contextlib.AsyncExitStack()

    @property
    def urls(self) -> list[str]:
        """Where the server listens."""
        found = []
        for listener in self._sockets:
            host, port = listener.getsockname()[:2]
            found.append(f"https://{f'[{host}]' if ':' in host else host}:{port}")
        return found

    async def __aenter__(self) -> ApiServer:
        if not self._sockets:
            raise LabError("the API server has no socket to listen on", remedy="give it --listen or --listen-fd")
        try:
            await self._start()
        except BaseException:
            await self._ends.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hub.close()
        await self._ends.aclose()

    async def _start(self) -> None:
        """Bring the parts up, each with its end pushed before the next begins."""
        for listener in self._sockets:
            self._ends.callback(listener.close)
        context = self._tls()
        self.store = Store(self._directory / "state.db", self.hub.publish, log_limit=self._log_limit)
        self._ends.push_async_callback(self.store.close)
        self.hub.version = self.store.version
        self._writes = Writes(self.store, self._settings, self._clock)
        self._kubelets = KubeletProxy(
            self.store, KubeletFiles(self._directory / "ca.crt", self._directory / "kubelet.token")
        )
        self._ends.push_async_callback(self._kubelets.close)
        await self._load_definitions()
        self._ends.push_async_callback(self._stop_controllers)
        await self._start_controllers()
        await self._make_namespaces()
        await self._serve(context)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._directory / "server.crt", self._directory / "server.key")
        except (OSError, ssl.SSLError) as error:
            raise LabError(
                f"the API server's certificate in {self._directory} cannot be read: {error}",
                remedy="make it with podwire.lab.apiserver.pki.prepare",
            ) from error
        return context

    async def _load_definitions(self) -> None:
        """Serve the custom kinds that are stored, and from now on those that are stored or deleted."""
        page = await self.store.page(DEFINITIONS, Selection())
        for body in page.bodies:
            definition = msgspec.json.decode(body)
            self.registry.set_custom(definition["metadata"]["name"], custom.resources(definition))

        def follow(event: LogEvent) -> None:
            if event.resource == DEFINITIONS:
                gone = event.type == DELETED
                made = () if gone else custom.resources(msgspec.json.decode(event.body))
                self.registry.set_custom(event.name, made)

        self.hub.listen(follow)

    async def _start_controllers(self) -> None:
        collector = Collector(self.store, self.registry, self._clock)
        namespaces = NamespaceEnder(self.store, self.registry, self._clock)
        self.hub.listen(collector.notice)
        self.hub.listen(namespaces.notice)
        await collector.start()
        await namespaces.start()
        jobs = (
            *(
                worker.run()
                for worker in (collector.objects, collector.owners, collector.foreground, namespaces.worker)
            ),
            keep_events_young(self.store, self._clock),
        )
        self._tasks = [asyncio.create_task(job) for job in jobs]

    async def _stop_controllers(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _make_namespaces(self) -> None:
        resource = self.registry.find("", "v1", "namespaces")
        if resource is None:
            raise LabError("namespaces are not in the table of kinds")
        for name in NAMESPACES:
            with contextlib.suppress(ApiError):  # it exists, which is as good
                await self._writes.create(Request(_SELF, resource), {"metadata": {"name": name}})

    async def _serve(self, context: ssl.SSLContext) -> None:
        services = Services(
            store=self.store,
            hub=self.hub,
            registry=self.registry,
            authenticator=Authenticator(self._directory / "tokens.json"),
            writes=self._writes,
            kubelets=self._kubelets,
            clock=self._clock,
        )
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", Handler(services).handle)
        # Without handler_cancellation a watch whose client went away would wait for its next event for ever.
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        self._ends.push_async_callback(runner.cleanup)
        for listener in self._sockets:
            await web.SockSite(runner, listener, ssl_context=context).start()
