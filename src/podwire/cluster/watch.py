"""The reflector: list a resource, then follow its changes for ever, whatever breaks in between.

It yields :class:`Replaced` with the whole state first and again whenever the thread of changes was lost (410 Gone, a server
restored from a backup), and :class:`Changed` for each change otherwise. A consumer that replaces on the first and updates on
the second is right at every moment (level-triggered). A watch that ends or breaks is resumed at the last resourceVersion that
was seen, bookmarks included; refusals and outages are met with a jittered back-off that honours Retry-After.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, Literal, TypeVar, cast

import aiohttp
import msgspec

from podwire.cluster.client import Client, error_of
from podwire.cluster.resources import Resource
from podwire.model.errors import ClusterError, Gone, Unavailable
from podwire.reconcile.retry import Backoff

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_WATCH_SECONDS = 300
"""How long a watch is asked to last; it is resumed without a gap. Spread by a random part, so that agents differ."""
_SILENCE = 60.0
"""Seconds beyond the asked length after which a silent watch is taken for dead."""
_SHORT = 1.0
"""A watch that ended within so many seconds is taken for a failed attempt."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_MAX_LINE = 8 * 1024 * 1024


class Replaced(msgspec.Struct, Generic[T], frozen=True):
    """The whole state: every object there is, and nothing else."""

    objects: list[T]


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """One object was added or modified, or (``deleted``) went."""

    object: T
    deleted: bool


class _RawEvent(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _WithMeta(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _ErrorStatus(msgspec.Struct):
    code: int = 500


class Reflector(Generic[T]):
    """``async for event in Reflector(client, NODES, type=NodeObject)``; ends only by cancellation or ``aclose()``."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str = "",
        *,
        field_selector: str = "",
        label_selector: str = "",
        type: Any = dict,
        on_error: Callable[[Exception], None] | None = None,
        on_contact: Callable[[], None] | None = None,
    ) -> None:
        """*type* decodes each object. *on_error* hears of every failed attempt, *on_contact* of every answer."""
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._selectors = {"field_selector": field_selector, "label_selector": label_selector}
        self._type = type
        self._event = msgspec.json.Decoder(_RawEvent)
        self._object = msgspec.json.Decoder(type)
        self._meta = msgspec.json.Decoder(_WithMeta)
        self._on_error = on_error or _ignore
        self._on_contact = on_contact or _ignore_contact

    async def __aiter__(self) -> AsyncIterator[Replaced[T] | Changed[T]]:
        version = ""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            wait = 0.0
            try:
                if not version:
                    listed = await self._client.list(
                        self._resource, self._namespace, type=self._type, **self._selectors
                    )
                    version = listed.resource_version
                    self._on_contact()
                    yield Replaced(cast("list[T]", listed.items))
                began = time.monotonic()
                async with contextlib.aclosing(self._watch(version)) as events:
                    async for raw in events:
                        change, version = self._decode(raw, version)
                        backoff = backoff.succeeded()
                        self._on_contact()
                        if change is not None:
                            yield change
                # The server ended the watch, as asked after some minutes. One that ends at once ends badly.
                backoff = backoff.failed() if time.monotonic() - began < _SHORT else backoff.succeeded()
            except Gone as error:
                _LOG.info("%s: listing anew (%s)", self._resource.plural, error.message)
                version = ""
                self._on_error(error)
                # The first time at once, but a server that lists a version and then calls it too old is not hammered.
                wait = backoff.pause(random.random())  # noqa: S311
                backoff = backoff.failed()
            except (ClusterError, msgspec.MsgspecError) as error:
                if isinstance(error, msgspec.MsgspecError):
                    version = ""
                self._on_error(error)
                backoff = backoff.failed()
                wait = max(backoff.pause(random.random()), getattr(error, "retry_after", 0.0))  # noqa: S311
                _LOG.warning("%s; next attempt in %.1f s", error, wait)
            else:
                wait = backoff.pause(random.random())  # noqa: S311
            if wait:
                await asyncio.sleep(wait)

    def _decode(self, raw: _RawEvent, version: str) -> tuple[Changed[T] | None, str]:
        """The change (None for a bookmark) and the resourceVersion after it; ERROR events are raised."""
        if raw.type == "ERROR":
            status = msgspec.json.decode(raw.object, type=_ErrorStatus).code
            raise error_of(status, bytes(raw.object), f"watch {self._resource.plural}")
        version = self._meta.decode(raw.object).metadata.resource_version or version
        if raw.type == "BOOKMARK":
            return None, version
        return Changed(self._object.decode(raw.object), raw.type == "DELETED"), version

    async def _watch(self, version: str) -> AsyncGenerator[_RawEvent, None]:
        """The events of one watch, until the server ends it."""
        seconds = int(_WATCH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        for name, selector in (("fieldSelector", "field_selector"), ("labelSelector", "label_selector")):
            if self._selectors[selector]:
                params[name] = self._selectors[selector]
        path = self._resource.path(self._namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=seconds + _SILENCE)
        try:
            async with self._client.session.get(
                self._client.url(path), params=params, timeout=timeout, **self._client.options()
            ) as response:
                if response.status >= 400:
                    raise self._client.refusal(response, await response.read(), f"watch {path}")
                async for line in _lines(response.content):
                    yield self._event.decode(line)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"watch {path}: {error or type(error).__name__}") from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length up to a bound; aiohttp's own readline stops at 128 KiB."""
    buffer = bytearray()
    async for chunk in stream.iter_any():
        buffer += chunk
        if b"\n" not in chunk:
            if len(buffer) > _MAX_LINE:
                raise Unavailable(f"a watch event is longer than {_MAX_LINE} bytes")
            continue
        *whole, rest = bytes(buffer).split(b"\n")
        buffer = bytearray(rest)
        for line in whole:
            if line:
                yield line


def _ignore(_: Exception) -> None:
    return None


def _ignore_contact() -> None:
    return None
