"""The fan-out: committed events go to the subscriptions that asked for their resource. Lives on the event loop.

A subscription is bounded. A watcher that reads too slowly is cut off with an error rather than growing the server: it
resumes from its last version, through the log.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from podwire.lab.apiserver.storage.transaction import LogEvent

QUEUE_LIMIT = 5_000

Listener = Callable[[LogEvent], None]


class Subscription:
    """What one watcher has yet to see."""

    def __init__(self, version: int) -> None:
        self.version = version
        """All events up to this version were put into the queue, or do not concern this watcher."""
        self.overrun = False
        self._events: list[LogEvent] = []
        self._ready = asyncio.Event()

    def push(self, event: LogEvent) -> None:
        """Queue an event, or give the watcher up."""
        if len(self._events) >= QUEUE_LIMIT:
            self.overrun = True
            self._events.clear()
        if not self.overrun:
            self._events.append(event)
        self._ready.set()

    def wake(self) -> None:
        """Make :meth:`take` return, though nothing came."""
        self._ready.set()

    async def take(self, timeout: float) -> list[LogEvent]:
        """All queued events; an empty list after *timeout* seconds without one.

        What is queued when this returns is what is returned: the caller may take :attr:`Hub.version` as seen.
        """
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                pass  # an event may have come in the same moment: never return without what is queued
        self._ready.clear()
        events, self._events = self._events, []
        return events


class Hub:
    """All subscriptions, and the listeners of the server itself."""

    def __init__(self) -> None:
        self.version = 0
        """The newest published version."""
        self.closed = False
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call *listener* with every event, before any watcher learns of it."""
        self._listeners.append(listener)

    def subscribe(self, resource: str) -> Subscription:
        """A subscription to one resource; the caller must :meth:`leave`."""
        subscription = Subscription(self.version)
        self._subscriptions[resource].add(subscription)
        return subscription

    def leave(self, resource: str, subscription: Subscription) -> None:
        """End a subscription."""
        self._subscriptions[resource].discard(subscription)
        if not self._subscriptions[resource]:
            del self._subscriptions[resource]

    @property
    def watchers(self) -> int:
        """How many subscriptions there are."""
        return sum(len(group) for group in self._subscriptions.values())

    def publish(self, events: list[LogEvent]) -> None:
        """Hand a transaction's events out."""
        for event in events:
            for listener in self._listeners:
                listener(event)
            for subscription in self._subscriptions.get(event.resource, ()):
                subscription.push(event)
        self.version = events[-1].version

    def close(self) -> None:
        """Let every watch end."""
        self.closed = True
        for group in self._subscriptions.values():
            for subscription in group:
                subscription.wake()
