"""Waiting for something that nobody announces; how long it takes never decides a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WAIT = 20.0
"""Seconds after which a wait is given up and the test fails."""


async def eventually(condition: Callable[[], object]) -> None:
    """Return once *condition* is true; TimeoutError when it does not become so."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
