"""The verb watch: replay from the log, then follow the hub.

An object that starts or stops to match a selector is told as ADDED or DELETED, whatever happened to it. Bookmarks tell
the client that it has seen everything up to a version. A watch that cannot go on ends with an ERROR event, after which
clients list again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.rest.negotiate import Form
from podwire.lab.apiserver.rest.tables import shaped
from podwire.lab.apiserver.rest.writes import outgoing
from podwire.lab.apiserver.storage.facts import Facts, Selection
from podwire.lab.apiserver.storage.hub import Hub, Subscription
from podwire.lab.apiserver.storage.store import ADDED, DELETED, MODIFIED, LogEvent, Store

BOOKMARK_SECONDS = 10.0
"""How long a client that allows bookmarks waits for one at most, while versions go by."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class WatchOptions:
    """What a watch asks for. *since* None: begin with the present objects. *timeout* is in seconds."""

    selection: Selection
    since: int | None
    bookmarks: bool
    initial_end: bool
    timeout: float
    form: Form
    include: str


def default_timeout() -> float:
    """Watches without a timeout end after half an hour to an hour, not all at once."""
    return random.uniform(1800, 3600)  # noqa: S311 (spreads load, guards nothing)


class Watch:
    """One client's watch. *send* takes lines for the wire and waits while the client is slow."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        resource: Resource,
        options: WatchOptions,
        send: Send,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._hub, self._resource, self._options = store, hub, resource, options
        self._send, self._clock = send, clock
        self._headed = True
        self._seen = 0

    async def run(self) -> None:
        """Serve the watch until its time is over, the server closes, or it cannot go on."""
        subscription = self._hub.subscribe(self._resource.storage)
        try:
            await self._replay()
            await self._follow(subscription)
        except errors.ApiError as error:
            await self._send(msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n")
        finally:
            self._hub.leave(self._resource.storage, subscription)

    async def _replay(self) -> None:
        options = self._options
        if options.since is None:
            page = await self._store.page(self._resource.storage, options.selection)
            self._seen = page.version
            await self._send_lines(self._line(ADDED, body) for body in page.bodies)
            if options.initial_end:
                await self._bookmark({INITIAL_EVENTS_END: "true"})
        else:
            self._seen, events = await self._store.since(self._resource.storage, options.since, options.selection)
            await self._send_events(events)

    async def _follow(self, subscription: Subscription) -> None:
        end = time.monotonic() + self._options.timeout
        bookmarked, due = self._seen, time.monotonic() + BOOKMARK_SECONDS
        while not self._hub.closed:
            now = time.monotonic()
            if now >= end:
                break
            events = await subscription.take(min(end, due) - now)
            if subscription.overrun:
                raise errors.expired("this watch was too slow; list again")
            reached = self._hub.version  # all of it was in the queue when it was taken, with no await since
            fresh = [event for event in events if event.version > self._seen]
            if fresh:
                await self._send_events(fresh)
            self._seen = max(self._seen, reached)
            if time.monotonic() >= due:
                if self._options.bookmarks and self._seen > bookmarked:
                    await self._bookmark({})
                    bookmarked = self._seen
                due = time.monotonic() + BOOKMARK_SECONDS
        if self._options.bookmarks:
            await self._bookmark({})

    async def _send_events(self, events: Iterable[LogEvent]) -> None:
        selection, lines = self._options.selection, []
        for event in events:
            kind = _seen_as(event, selection)
            if kind is not None:
                lines.append(self._line(kind, event.body))
        await self._send_lines(lines)

    async def _send_lines(self, lines: Iterable[bytes]) -> None:
        block: list[bytes] = []
        size = 0
        for line in lines:
            block.append(line)
            size += len(line)
            if size > 256 * 1024:
                await self._send(b"".join(block))
                block, size = [], 0
        if block:
            await self._send(b"".join(block))

    def _line(self, kind: str, body: bytes) -> bytes:
        resource, options = self._resource, self._options
        if options.form is not Form.PLAIN or resource.conversion is not None:
            obj = outgoing(resource, msgspec.json.decode(body))
            shape = shaped(resource, obj, options.form, self._clock(), options.include, headed=self._headed)
            self._headed = False
            body = msgspec.json.encode(shape)
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)

    async def _bookmark(self, annotations: dict[str, str]) -> None:
        meta: Object = {"resourceVersion": str(self._seen), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        obj: Object = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
        if self._options.form is Form.TABLE:
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "rows": []}
        elif self._options.form is not Form.PLAIN:
            obj |= {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        await self._send(msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n")


def _chosen(selection: Selection, event: LogEvent, facts: Facts | None) -> bool:
    return (
        facts is not None
        and selection.namespace in (None, event.namespace)
        and selection.name in (None, event.name)
        and (selection.match is None or selection.match(facts))
    )


def _seen_as(event: LogEvent, selection: Selection) -> str | None:
    """What happened, as one who sees only what matches the selection tells it; None: nothing."""
    before = _chosen(selection, event, event.before)
    after = event.type != DELETED and _chosen(selection, event, event.facts)
    if after:
        return MODIFIED if before else ADDED
    return DELETED if before else None
