"""A queue of keys and the task that works it off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class Worker(Generic[K]):
    """Calls *work* for each key that was added; a key added several times meanwhile is worked on once."""

    def __init__(self, name: str, work: Callable[[K], Awaitable[None]]) -> None:
        self._name, self._work = name, work
        self._keys: dict[K, None] = {}
        self._ready = asyncio.Event()

    def add(self, key: K) -> None:
        """Have *key* looked at."""
        self._keys[key] = None
        self._ready.set()

    async def run(self) -> None:
        """Work until cancelled; a key that failed is tried again, after the others."""
        while True:
            await self._ready.wait()
            keys, self._keys = list(self._keys), {}
            self._ready.clear()
            failed = False
            for key in keys:
                try:
                    await self._work(key)
                except Exception:
                    _log.exception("%s: %s failed, and will be tried again", self._name, key)
                    self.add(key)
                    failed = True
            if failed:
                await asyncio.sleep(_RETRY_SECONDS)
