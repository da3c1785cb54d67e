"""The verbs get, list and watch, over HTTP."""

from __future__ import annotations

import asyncio

from aiohttp import web

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.rest import reads
from podwire.lab.apiserver.rest.call import TRUE, Call, Services, json_response
from podwire.lab.apiserver.rest.negotiate import Form
from podwire.lab.apiserver.rest.tables import encoded_list, list_head, shaped
from podwire.lab.apiserver.rest.watches import Watch, WatchOptions, default_timeout
from podwire.lab.apiserver.rest.writes import outgoing
from podwire.lab.apiserver.storage.facts import Selection
from podwire.lab.apiserver.storage.transaction import Record

_STREAM_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
_LIST_SECONDS = 60.0


class Reading:
    """Answers to requests that read."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def record(self, call: Call) -> Record:
        """The stored object; ApiError 404."""
        record = await self._services.store.get(call.resource.storage, call.target.namespace, call.target.name)
        if record is None:
            raise errors.not_found(call.resource.qualified, call.target.name)
        return record

    async def get(self, call: Call) -> web.Response:
        """GET of an object."""
        record, form = await self.record(call), call.form
        if form is Form.PLAIN and call.resource.conversion is None:
            return json_response(record.body)
        obj = outgoing(call.resource, record.object())
        return json_response(
            shaped(call.resource, obj, form, self._services.clock(), call.http.query.get("includeObject", ""))
        )

    async def list(self, call: Call) -> web.StreamResponse:
        """GET of a collection."""
        query, resource = call.http.query, call.resource
        chosen = reads.selection(resource, call.target, query)
        unlimited = not query.get("limit") and not query.get("continue")
        if unlimited and call.form is Form.PLAIN and resource.conversion is None:
            return await self._list_whole(call, chosen)
        page = await reads.listing(self._services.store, resource, chosen, query)
        now, include = self._services.clock(), query.get("includeObject", "")
        return json_response(encoded_list(resource, page.bodies, page.meta, call.form, now, include))

    async def _list_whole(self, call: Call, chosen: Selection) -> web.StreamResponse:
        """Stream a list of any length. A client that does not read loses its snapshot after a while."""
        resource, store = call.resource, self._services.store
        reads.check_version(store, call.http.query)
        async with store.stream(resource.storage, chosen) as (version, blocks):
            first: list[bytes] = await anext(blocks, [])
            second = await anext(blocks, None)
            if second is None:
                meta = {"resourceVersion": str(version)}
                return json_response(encoded_list(resource, first, meta, Form.PLAIN, self._services.clock(), ""))
            response = web.StreamResponse(headers=_STREAM_HEADERS)
            await response.prepare(call.http)
            async with asyncio.timeout(_LIST_SECONDS):
                await response.write(list_head(resource, version) + b",".join([*first, *second]))
                async for block in blocks:
                    await response.write(b"," + b",".join(block))
                await response.write(b"]}")
            return response

    async def watch(self, call: Call) -> web.StreamResponse:
        """A watch, until it ends or the client goes."""
        query = call.http.query
        since = reads.number(query, "resourceVersion")
        initial = query.get("sendInitialEvents") in TRUE
        bookmarks = query.get("allowWatchBookmarks") in TRUE
        if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
            raise errors.bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        options = WatchOptions(
            selection=reads.selection(call.resource, call.target, query),
            since=None if initial or not since else since,
            bookmarks=bookmarks,
            initial_end=initial and bookmarks,
            timeout=float(reads.number(query, "timeoutSeconds")) or default_timeout(),
            form=call.form,
            include=query.get("includeObject", ""),
        )
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        response.enable_chunked_encoding()
        await response.prepare(call.http)
        services = self._services
        try:
            await Watch(services.store, services.hub, call.resource, options, response.write, services.clock).run()
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client went away, which is how most watches end
        return response
