"""Routes of ours: those of route protocol :data:`~podwire.model.kernel.ROUTE_PROTOCOL`, in every table.

The kernel replaces a route whoever made it. So a route that we do not know as ours is created exclusively; when its
place is taken, a look tells whether by one of ours (then it is replaced, atomically) or by another program's (then
it stays, and the put fails).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from podwire.drivers.elements import GONE, Links, Task, all_links, carry_out, failure, missing
from podwire.drivers.netlink import route
from podwire.drivers.netlink.route import RouteInfo
from podwire.drivers.netlink.socket import NetlinkSocket, SocketPool
from podwire.model.intent import Failure, Wanted
from podwire.model.kernel import ROUTE_PROTOCOL, Key, Route, Value

_TYPES = ("unicast", "blackhole", "unreachable")


class Routes:
    """The routes of the pool's namespace."""

    def __init__(self, pool: SocketPool) -> None:
        self._pool = pool
        self._ours: set[Key] = set()

    def observe(self) -> Iterable[Value]:
        """Our routes, both families."""
        with self._pool.socket() as sock:
            return self._observe(sock)

    def _observe(self, sock: NetlinkSocket) -> list[Route]:
        names = {index: info.name for index, info in all_links(sock).items()}
        found = []
        self._ours.clear()
        for version in (4, 6):
            request = route.dump(version, protocol=ROUTE_PROTOCOL)
            for info in map(route.decode, sock.dump(request, f"list IPv{version} routes")):
                if info.protocol != ROUTE_PROTOCOL or info.dst.version != version:
                    continue
                self._ours.add((Route.kind, info.table, info.dst, info.metric))
                value = _value(info, names)
                if value is not None:
                    found.append(value)
        return found

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Create or replace; EEXIST where another program's route stands."""
        with self._pool.socket() as sock:
            links = Links(sock)
            failures = carry_out(sock, "put", [self._task(links, element) for element in wanted])
            taken = {failed.value.key for failed in failures if failed.errno == errno.EEXIST}
            if taken:
                failures = [failed for failed in failures if failed.errno != errno.EEXIST]
                failures += self._put_again(sock, links, [w for w in wanted if w.key in taken])
        failed_keys = {failed.value.key for failed in failures}
        self._ours.update(element.key for element in wanted if element.key not in failed_keys)
        return failures

    def _put_again(self, sock: NetlinkSocket, links: Links, wanted: Sequence[Wanted]) -> list[Failure]:
        """Replace those that turn out to be ours; refuse the others."""
        self._observe(sock)
        failures = [
            failure(
                "put", element.value, element.cause, errno.EEXIST, "another program has a route with that destination"
            )
            for element in wanted
            if element.key not in self._ours
        ]
        mine = [self._task(links, element) for element in wanted if element.key in self._ours]
        return failures + carry_out(sock, "put", mine)

    def _task(self, links: Links, element: Wanted) -> Task:
        value = element.value
        assert isinstance(value, Route)
        index = links.index(value.dev) if value.dev else 0
        if value.dev and not index:
            return Task(value, element.cause, None, missing(value.dev))
        return Task(value, element.cause, route.put(value, index, replace=value.key in self._ours))

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Remove; another program's route with the same destination stays."""
        tasks = []
        with self._pool.socket() as sock:
            links = Links(sock)
            for value in values:
                assert isinstance(value, Route)
                self._ours.discard(value.key)
                index = links.index(value.dev) if value.dev else 0
                request = route.remove(value, index) if index or not value.dev else None
                tasks.append(Task(value, None, request, missing(value.dev or "")))
            return carry_out(sock, "drop", tasks, GONE)


def _value(info: RouteInfo, names: dict[int, str]) -> Route | None:
    """The route as a value; None for what no plan of ours makes (it is then put anew)."""
    if info.multipath or info.cloned or info.type not in _TYPES:
        return None
    unicast = info.type == "unicast"
    return Route(
        dst=info.dst,
        dev=names.get(info.index) if unicast else None,
        via=info.via if unicast else None,
        src=info.src,
        onlink=info.onlink,
        type=info.type,  # type: ignore[arg-type]  # one of _TYPES
        metric=info.metric,
        table=info.table,
    )
