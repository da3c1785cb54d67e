"""Every request comes through here: authenticate, find the target, authorise, and hand over to the verb."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from podwire.lab.apiserver import authorize, errors, patch
from podwire.lab.apiserver.auth import Authenticator, User
from podwire.lab.apiserver.authorize import Attributes
from podwire.lab.apiserver.errors import ApiError
from podwire.lab.apiserver.kinds.resource import Registry, Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.rest import deletion, documents, reads, reviews, subresources
from podwire.lab.apiserver.rest.discovery import REVIEWS
from podwire.lab.apiserver.rest.kubelet import KubeletProxy
from podwire.lab.apiserver.rest.negotiate import Form, accepted, decode_body
from podwire.lab.apiserver.rest.patching import changed_by
from podwire.lab.apiserver.rest.path import Target, parse
from podwire.lab.apiserver.rest.tables import encoded_list, list_head, shaped
from podwire.lab.apiserver.rest.watches import Watch, WatchOptions, default_timeout
from podwire.lab.apiserver.rest.writes import Request, Writes, outgoing
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.storage.facts import Selection
from podwire.lab.apiserver.storage.hub import Hub
from podwire.lab.apiserver.storage.store import Store
from podwire.lab.apiserver.storage.transaction import Record, Transaction

_log = logging.getLogger(__name__)

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PROXIED = ("log", "exec", "attach", "portforward")
_TRUE = ("true", "1")
_STREAM_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
_LIST_SECONDS = 60.0


@dataclass
class Services:
    """What the handler works with."""

    store: Store
    hub: Hub
    registry: Registry
    authenticator: Authenticator
    writes: Writes
    kubelets: KubeletProxy
    clock: Callable[[], datetime]


@dataclass
class Call:
    """One authorised request for a resource."""

    http: web.Request
    user: User
    resource: Resource
    target: Target
    verb: str

    @property
    def form(self) -> Form:
        """The form of the answer."""
        return accepted(self.http.headers.get("Accept", "")).form

    def write(self) -> Request:
        """The write that this request asks for; ApiError 400 for options that make no sense."""
        query = self.http.query
        dry = query.getall("dryRun", [])
        if any(value != "All" for value in dry):
            raise errors.bad_request(f'dryRun: Unsupported value: {dry}: supported values: "All"')
        validation = query.get("fieldValidation", "Warn")
        if validation not in ("Strict", "Warn", "Ignore"):
            raise errors.bad_request(f'fieldValidation: Unsupported value: "{validation}"')
        return Request(
            user=self.user,
            resource=self.resource,
            namespace=self.target.namespace,
            name=self.target.name,
            subresource=self.target.subresource,
            dry_run=bool(dry),
            strict=validation == "Strict",
            silent=validation == "Ignore",
        )

    async def body(self, type_name: str = "") -> Any:
        """The decoded body, None when it is empty; *type_name* is its type where it is not the resource's."""
        schema = types()[type_name] if type_name else self.resource.schema
        return decode_body(await self.http.read(), self.http.headers.get("Content-Type", ""), schema)


def json_response(value: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    """A JSON answer; *value* may be encoded already."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    response = web.Response(body=body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in warnings or ():
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{"".join(char for char in text if char.isprintable())[:500]}"')
    return response


class Handler:
    """The one request handler of the server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer; every error becomes a ``metav1.Status``."""
        try:
            return await self._answer(http)
        except ApiError as error:
            return json_response(error.status(), error.code)
        except web.HTTPRequestEntityTooLarge:
            limit = f"the request body is larger than {http.client_max_size} bytes"
            return json_response(ApiError(413, "RequestEntityTooLarge", limit).status(), 413)
        except (ConnectionResetError, web.HTTPException):
            raise
        except Exception as failure:
            _log.exception("%s %s failed", http.method, http.path)
            refusal = ApiError(500, "InternalError", f"an error on the server: {failure}")
            return json_response(refusal.status(), 500)

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        user = self._services.authenticator.user(http.headers.get("Authorization", ""))
        if user is None:
            raise errors.unauthorized()
        verb = _VERBS.get(http.method)
        if verb is None:
            raise errors.method_not_allowed(http.method, http.path)
        target = parse(http.path)
        if target is None:
            return self._document(http, user, verb)
        if target.group and target.version == "v1":
            for review in REVIEWS:
                if (review.group, review.plural) == (target.group, target.plural):
                    return await self._review(http, user, target, review.kind, verb)
        return await self._resource(http, user, target, verb)

    def _document(self, http: web.Request, user: User, verb: str) -> web.Response:
        self._authorise(user, Attributes(verb, path=http.path.rstrip("/") or "/"), http.path)
        if any(http.path.startswith(root) for root in documents.HEALTH):
            return web.Response(text="ok")
        wanted = accepted(http.headers.get("Accept", ""))
        response = json_response(documents.document(self._services.registry, http.path, wanted))
        if wanted.form is Form.DISCOVERY and http.path.rstrip("/") in ("/api", "/apis"):
            kind = f"application/json;g=apidiscovery.k8s.io;v={wanted.version};as=APIGroupDiscoveryList"
            response.headers["Content-Type"] = kind
        return response

    async def _review(self, http: web.Request, user: User, target: Target, kind: str, verb: str) -> web.Response:
        if verb != "create":
            raise errors.method_not_allowed(verb, target.plural)
        self._authorise(user, Attributes(verb, target.group, target.plural), target.plural)
        body = decode_body(await http.read(), http.headers.get("Content-Type", ""), types()[kind])
        return json_response(reviews.review(kind, user, self._services.authenticator, body), 201)

    def _authorise(self, user: User, wanted: Attributes, resource: str) -> None:
        if not authorize.allowed(user, wanted):
            if user.name == "system:anonymous" and not wanted.path:
                raise errors.unauthorized()
            raise errors.forbidden(resource, wanted.name, authorize.refusal(user, wanted))

    async def _resource(self, http: web.Request, user: User, target: Target, verb: str) -> web.StreamResponse:
        verb = _collection_verb(http, target, verb)
        named = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
        authorised_verb = "create" if target.subresource == "exec" else verb
        wanted = Attributes(authorised_verb, target.group, named, target.namespace, target.name)
        self._authorise(user, wanted, f"{target.plural}.{target.group}" if target.group else target.plural)
        resource = self._services.registry.find(target.group, target.version, target.plural)
        if resource is None or target.rest or (target.namespace and not resource.namespaced):
            raise errors.no_such_path()
        if resource.namespaced and not target.namespace and (target.name or verb == "create"):
            raise errors.bad_request("an empty namespace may not be set for a namespaced resource")
        call = Call(http, user, resource, target, verb)
        if target.subresource:
            if target.subresource not in resource.all_subresources:
                raise errors.no_such_path()
            return await self._subresource(call)
        verbs: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._change,
            "patch": self._change,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        return await verbs[verb](call)

    # Reading

    async def _record(self, call: Call) -> Record:
        record = await self._services.store.get(call.resource.storage, call.target.namespace, call.target.name)
        if record is None:
            raise errors.not_found(call.resource.qualified, call.target.name)
        return record

    async def _get(self, call: Call) -> web.Response:
        record, form = await self._record(call), call.form
        if form is Form.PLAIN and call.resource.conversion is None:
            return json_response(record.body)
        obj = outgoing(call.resource, record.object())
        return json_response(
            shaped(call.resource, obj, form, self._services.clock(), call.http.query.get("includeObject", ""))
        )

    async def _list(self, call: Call) -> web.StreamResponse:
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

    async def _watch(self, call: Call) -> web.StreamResponse:
        query = call.http.query
        since = reads.number(query, "resourceVersion")
        initial = query.get("sendInitialEvents") in _TRUE
        bookmarks = query.get("allowWatchBookmarks") in _TRUE
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

    # Writing

    def _written(self, call: Call, write: Request, obj: Object, status: int) -> web.Response:
        include = call.http.query.get("includeObject", "")
        shape = shaped(call.resource, obj, call.form, self._services.clock(), include)
        return json_response(shape, status, write.warnings)

    async def _create(self, call: Call) -> web.Response:
        if call.target.name:
            raise errors.method_not_allowed("create", call.resource.qualified)
        write = call.write()
        obj = await self._services.writes.create(write, await call.body())
        return self._written(call, write, obj, 201)

    async def _change(self, call: Call) -> web.Response:
        write = call.write()
        change, creates = await self._change_of(call, call.resource)
        obj, created = await self._services.writes.change(write, change, create_missing=creates)
        return self._written(call, write, obj, 201 if created else 200)

    async def _change_of(self, call: Call, resource: Resource) -> tuple[Callable[[Object], Any], bool]:
        """The change that a PUT or PATCH asks for, and whether it may create the object."""
        body = await call.body("Scale" if resource is subresources.SCALE else "")
        if call.verb == "update":
            if not isinstance(body, dict):
                raise errors.bad_request("the request must hold a JSON object")
            return (lambda _: body), False
        media = call.http.headers.get("Content-Type", "").partition(";")[0].strip()
        query = call.http.query
        change = changed_by(
            media,
            body,
            resource,
            manager=query.get("fieldManager", ""),
            force=query.get("force") in _TRUE,
            clock=self._services.clock,
        )
        return change, media == patch.APPLY_PATCH and not call.target.subresource

    async def _delete_options(self, call: Call) -> deletion.DeleteOptions:
        return deletion.read_options(await call.body("DeleteOptions"), dict(call.http.query))

    async def _delete(self, call: Call) -> web.Response:
        services, resource, target = self._services, call.resource, call.target
        options = await self._delete_options(call)

        def operation(transaction: Transaction) -> tuple[Object, bool]:
            record = transaction.get(resource.storage, target.namespace, target.name)
            if record is None:
                raise errors.not_found(resource.qualified, target.name)
            services.writes.admit_deletion(call.user, resource, record)
            return deletion.delete(transaction, services.registry, resource, record, options, services.clock())

        obj, gone = await services.store.write(operation)
        if not gone:
            return json_response(outgoing(resource, obj))
        details = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": obj["metadata"]["uid"]}
        details = {key: value for key, value in details.items() if value}
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    async def _delete_collection(self, call: Call) -> web.Response:
        services, resource = self._services, call.resource
        options = await self._delete_options(call)
        chosen = reads.selection(resource, call.target, call.http.query)
        keys = await services.store.keys(resource.storage, chosen)

        def operation(transaction: Transaction) -> list[Object]:
            ended = []
            for key in keys:
                record = transaction.get(*key)
                if record is not None:
                    services.writes.admit_deletion(call.user, resource, record)
                    ended.append(
                        deletion.delete(transaction, services.registry, resource, record, options, services.clock())[0]
                    )
            return ended

        items = [outgoing(resource, obj) for obj in await services.store.write(operation)]
        meta = {"resourceVersion": str(services.store.version)}
        return json_response(
            {"kind": resource.lists, "apiVersion": resource.api_version, "metadata": meta, "items": items}
        )

    # Subresources

    async def _subresource(self, call: Call) -> web.StreamResponse:
        name, verb = call.target.subresource, call.verb
        if name in _PROXIED:
            return await self._proxied(call)
        match name, verb:
            case "status", "get":
                return await self._get(call)
            case (("status" | "finalize"), ("update" | "patch")):
                return await self._change(call)
            case "scale", ("get" | "update" | "patch"):
                return await self._scale(call)
            case "binding", "create":
                return json_response(
                    await subresources.bind(self._services.writes, call.write(), await call.body("Binding")), 201
                )
            case "eviction", "create":
                services = self._services
                answer = await subresources.evict(
                    services.writes, services.registry, call.write(), await call.body("Eviction")
                )
                return json_response(answer, 201)
        raise errors.method_not_allowed(verb, f"{call.target.plural}/{name}")

    async def _scale(self, call: Call) -> web.Response:
        resource = call.resource
        if call.verb == "get":
            obj = outgoing(resource, (await self._record(call)).object())
            return json_response(subresources.scale_of(resource, obj))
        change, _ = await self._change_of(call, subresources.SCALE)
        write = call.write()
        write.subresource = ""
        obj, _ = await self._services.writes.change(write, subresources.scaled(resource, change))
        return json_response(subresources.scale_of(resource, obj), 200, write.warnings)

    async def _proxied(self, call: Call) -> web.StreamResponse:
        name, kubelets, target = call.target.subresource, self._services.kubelets, call.target
        if name == "log" and call.verb == "get":
            return await kubelets.logs(call.http, target.namespace, target.name)
        if name == "exec":
            return await kubelets.exec(call.http, target.namespace, target.name)
        if name in ("attach", "portforward"):
            raise errors.not_implemented(f"the lab has no {name}; use exec, or reach the pod from a node of the lab")
        raise errors.method_not_allowed(call.verb, f"pods/{name}")


def _collection_verb(http: web.Request, target: Target, verb: str) -> str:
    """What a request means with and without a name: a GET of a collection lists, or watches."""
    if verb == "get" and http.query.get("watch") in _TRUE and not target.subresource:
        return "watch"
    if target.name:
        return verb
    if verb in ("update", "patch"):
        raise errors.method_not_allowed(verb, target.plural)
    return {"get": "list", "delete": "deletecollection"}.get(verb, verb)
