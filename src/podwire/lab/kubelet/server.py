"""The kubelet's HTTPS server: exec and logs for the API server, which alone holds the token."""

from __future__ import annotations

import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from podwire.lab.kubelet import logs
from podwire.lab.kubelet.clock import seconds_of
from podwire.lab.kubelet.config import KubeletConfig
from podwire.lab.kubelet.kit import log_directory
from podwire.lab.kubelet.pods import Pods
from podwire.lab.kubelet.runtime.client import SandboxGone
from podwire.lab.kubelet.streams import PROTOCOLS, serve_exec
from podwire.lab.kubelet.worker import PodWorker

_LOG = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves one node's pods."""

    def __init__(self, config: KubeletConfig, pods: Pods) -> None:
        self._config = config
        self._pods = pods
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The routes, behind the token."""
        app = web.Application(middlewares=[self._authenticate])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        return app

    async def start(self) -> None:
        """Listen on the node's address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._config.serving_cert, self._config.serving_key)
        self._runner = web.AppRunner(self.application(), handler_cancellation=True, access_log=None)
        await self._runner.setup()
        for address in self._config.node_addresses:
            await web.TCPSite(self._runner, address, self._config.port, ssl_context=context).start()

    async def stop(self) -> None:
        """Stop listening and end what is being served."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path != "/healthz":
            token = Path(self._config.token_file).read_text().strip()
            given = request.headers.get("Authorization", "")
            if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                raise web.HTTPUnauthorized(text="Unauthorized")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    def _worker(self, request: web.Request) -> tuple[PodWorker, str]:
        namespace, pod, container = (request.match_info[name] for name in ("namespace", "pod", "container"))
        worker = self._pods.find(namespace, pod)
        if worker is None:
            raise web.HTTPNotFound(text=f'pod "{pod}" in namespace "{namespace}" does not run on this node')
        if container not in {one.name for one in worker.pod.all_containers}:
            raise web.HTTPNotFound(text=f'container "{container}" not found in pod "{pod}"')
        return worker, container

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        worker, name = self._worker(request)
        containers = worker.containers()
        view = {**containers.init, **containers.main}[name]
        attempt = view.restart_count
        if request.query.get("previous") == "true":
            attempt -= 1
            if attempt < 0:
                raise web.HTTPBadRequest(
                    text=f'previous terminated container "{name}" in pod "{worker.pod.metadata.name}" not found'
                )
        path = log_directory(self._config.log_dir, worker.pod) / name / f"{attempt}.log"
        if not path.exists():
            why = view.message or view.waiting or "not started"
            raise web.HTTPBadRequest(
                text=f'container "{name}" in pod "{worker.pod.metadata.name}" is waiting to start: {why}'
            )
        identity = view.container_id
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        async for text in logs.read(path, _log_query(request), lambda: view.running and view.container_id == identity):
            await response.write(text)
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        worker, name = self._worker(request)
        argv = request.query.getall("command", [])
        if not argv:
            raise web.HTTPBadRequest(text="you must specify at least 1 command")
        box = worker.box
        try:
            state = (await box.state()).get(name) if box is not None else None
        except SandboxGone:
            state = None
        if box is None or state is None or state["exit"] is not None:
            raise web.HTTPBadRequest(text=f'container "{name}" of pod "{worker.pod.metadata.name}" does not run')
        if "upgrade" not in request.headers.get("Connection", "").lower():
            raise web.HTTPBadRequest(text="Upgrade request required: exec is served over WebSocket")
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=16 * 1024 * 1024, heartbeat=30)
        await socket.prepare(request)
        flags = {flag: request.query.get(flag, "") in ("true", "1") for flag in ("stdin", "tty")}
        try:
            await serve_exec(socket, box, name, state["pid"], argv, **flags)
        except (SandboxGone, ConnectionError) as error:
            _LOG.info("exec in %s ended: %s", worker.pod.key, error)
        await socket.close()
        return socket


def _log_query(request: web.Request) -> logs.LogQuery:
    query = request.query

    def number(name: str, default: int) -> int:
        text = query.get(name, "")
        if text and not text.isdigit():
            raise web.HTTPBadRequest(text=f"{name}: {text!r} is not a number")
        return int(text) if text else default

    since_seconds = number("sinceSeconds", 0)
    since = time.time() - since_seconds if since_seconds else 0.0
    if query.get("sinceTime"):
        try:
            since = seconds_of(query["sinceTime"])
        except ValueError:
            raise web.HTTPBadRequest(text=f"sinceTime: {query['sinceTime']!r} is not a time") from None
    return logs.LogQuery(
        tail=number("tailLines", -1),
        limit=number("limitBytes", -1),
        follow=query.get("follow") == "true",
        timestamps=query.get("timestamps") == "true",
        since=since,
    )
