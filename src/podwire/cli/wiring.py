"""``podwire wiring``: one tree of how a node or a pod is wired, as the kernel has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

    from podwire.agent.control import Answer
    from podwire.agent.main import Agent


def answer(agent: Agent) -> Answer:
    """The handler of ``GET /v1/wiring`` of *agent*'s control API; ``?pod=NAMESPACE/NAME`` picks one pod."""
    from podwire.verify.observe import observe_node

    async def handle(request: web.Request) -> dict[str, Any]:
        wanted = request.query.get("pod", "")
        chosen = [found for found in agent.attachments.snapshot().values() if not wanted or found.owner == wanted]
        return await asyncio.to_thread(observe_node, chosen, agent.name)

    return handle
