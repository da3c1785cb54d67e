"""The agent's control API: HTTP over a root-only unix socket, for podwire's own command line.

==========================  =====================================================================
``GET /v1/status``          what the agent is doing, and why it is not ready
``GET /v1/ip``              pools, attachments, cooling addresses, forecast, violations
``GET /v1/intent``          the kernel objects that the plan wants, each with its cause
``GET /v1/wiring``          what is in the kernel (``?pod=NAMESPACE/NAME`` or an attachment's key)
``POST /v1/resync``         compare the kernel with the plan now; answers what was healed
==========================  =====================================================================

Errors are ``{"error": …, "remedy": …}`` with status 4xx or 5xx. There is no access control beyond the socket's mode (0600)
in a directory of mode 0700.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from podwire.model.errors import PodwireError

Answer = Callable[[web.Request], Awaitable[Any]]


def encode(value: Any) -> bytes:
    """JSON, with addresses and exceptions as their text."""
    return msgspec.json.encode(value, enc_hook=str)


def application(answers: dict[tuple[str, str], Answer]) -> web.Application:
    """The application: (method, path) -> coroutine that returns something to be encoded."""

    def handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body, status = encode(await answer(request)), 200
            except PodwireError as error:
                body, status = encode({"error": error.message, "remedy": error.remedy}), 409
            return web.Response(body=body, status=status, content_type="application/json")

        return handle

    app = web.Application()
    for (method, path), answer in answers.items():
        app.router.add_route(method, path, handler(answer))
    return app


async def serve(app: web.Application, path: str) -> web.AppRunner:
    """Listen on the unix socket *path*, which only root can open. The caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    Path(path).unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(mask)
    return runner
