"""The agent's TCP endpoint: ``/healthz``, ``/readyz`` and ``/metrics``; nothing else is served there.

``/healthz`` fails only when the agent cannot do its work any more and a restart would help; ``/readyz`` says why new pods
cannot be connected yet. Both answer in one line of text.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from podwire.agent.metrics import Metrics
from podwire.model.config import HealthConfig

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def application(
    metrics: Metrics, healthy: Callable[[], str], ready: Callable[[], str], refresh: Callable[[Metrics], None]
) -> web.Application:
    """The application; *healthy* and *ready* return "" when all is well, else the reason in a sentence.

    *refresh* brings the gauges up to date before they are read.
    """

    def answer(reason: str) -> web.Response:
        return web.Response(status=503 if reason else 200, text=(reason or "ok") + "\n")

    async def healthz(_: web.Request) -> web.Response:
        return answer(healthy())

    async def readyz(_: web.Request) -> web.Response:
        return answer(ready())

    async def metrics_page(_: web.Request) -> web.Response:
        refresh(metrics)
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics_page)
    return app


async def serve(app: web.Application, config: HealthConfig) -> web.AppRunner | None:
    """Listen as configured; port 0 turns the endpoint off. The caller cleans the runner up."""
    if config.port == 0:
        return None
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, config.bind, config.port).start()
    return runner
