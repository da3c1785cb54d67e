"""The verbs create, update, patch, delete and deletecollection, and the subresources, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from podwire.lab.apiserver import errors, patch
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.rest import deletion, reads, subresources
from podwire.lab.apiserver.rest.call import TRUE, Call, Services, json_response
from podwire.lab.apiserver.rest.patching import changed_by
from podwire.lab.apiserver.rest.reading import Reading
from podwire.lab.apiserver.rest.tables import shaped
from podwire.lab.apiserver.rest.writes import Request, outgoing
from podwire.lab.apiserver.storage.transaction import Transaction

_PROXIED = ("log", "exec", "attach", "portforward")


class Writing:
    """Answers to requests that write, and to those for a subresource."""

    def __init__(self, services: Services, reading: Reading) -> None:
        self._services, self._reading = services, reading

    def _written(self, call: Call, write: Request, obj: Object, status: int) -> web.Response:
        include = call.http.query.get("includeObject", "")
        shape = shaped(call.resource, obj, call.form, self._services.clock(), include)
        return json_response(shape, status, write.warnings)

    async def create(self, call: Call) -> web.Response:
        """POST to a collection."""
        if call.target.name:
            raise errors.method_not_allowed("create", call.resource.qualified)
        write = call.write()
        obj = await self._services.writes.create(write, await call.body())
        return self._written(call, write, obj, 201)

    async def change(self, call: Call) -> web.Response:
        """PUT or PATCH of an object, its status or its finalizers."""
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
            force=query.get("force") in TRUE,
            clock=self._services.clock,
        )
        return change, media == patch.APPLY_PATCH and not call.target.subresource

    async def _delete_options(self, call: Call) -> deletion.DeleteOptions:
        return deletion.read_options(await call.body("DeleteOptions"), dict(call.http.query))

    async def delete(self, call: Call) -> web.Response:
        """DELETE of an object."""
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

    async def delete_collection(self, call: Call) -> web.Response:
        """DELETE of a collection, or of what is selected in it."""
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

    async def subresource(self, call: Call) -> web.StreamResponse:
        """Any verb on a subresource."""
        name, verb = call.target.subresource, call.verb
        if name in _PROXIED:
            return await self._proxied(call)
        match name, verb:
            case "status", "get":
                return await self._reading.get(call)
            case (("status" | "finalize"), ("update" | "patch")):
                return await self.change(call)
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
            obj = outgoing(resource, (await self._reading.record(call)).object())
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
