"""Every request comes through here: authenticate, find the target, authorise, and hand over to the verb."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from podwire.lab.apiserver import authorize, errors
from podwire.lab.apiserver.auth import User
from podwire.lab.apiserver.authorize import Attributes
from podwire.lab.apiserver.errors import ApiError
from podwire.lab.apiserver.rest import documents, reviews
from podwire.lab.apiserver.rest.call import TRUE, Call, Services, json_response
from podwire.lab.apiserver.rest.discovery import REVIEWS
from podwire.lab.apiserver.rest.negotiate import Form, accepted, decode_body
from podwire.lab.apiserver.rest.path import Target, parse
from podwire.lab.apiserver.rest.reading import Reading
from podwire.lab.apiserver.rest.writing import Writing
from podwire.lab.apiserver.schema.builtin import types

_log = logging.getLogger(__name__)

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Handler:
    """The one request handler of the server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        reading = Reading(services)
        self._writing = Writing(services, reading)
        self._verbs: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "get": reading.get,
            "list": reading.list,
            "watch": reading.watch,
            "create": self._writing.create,
            "update": self._writing.change,
            "patch": self._writing.change,
            "delete": self._writing.delete,
            "deletecollection": self._writing.delete_collection,
        }

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
            return await self._writing.subresource(call)
        return await self._verbs[verb](call)


def _collection_verb(http: web.Request, target: Target, verb: str) -> str:
    """What a request means with and without a name: a GET of a collection lists, or watches."""
    if verb == "get" and http.query.get("watch") in TRUE and not target.subresource:
        return "watch"
    if target.name:
        return verb
    if verb in ("update", "patch"):
        raise errors.method_not_allowed(verb, target.plural)
    return {"get": "list", "delete": "deletecollection"}.get(verb, verb)
