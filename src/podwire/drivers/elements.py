"""What the modules of :mod:`podwire.drivers.kernel` share: the interface of a kind, names of links, batches."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

from podwire.drivers.netlink import link
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.socket import NetlinkSocket, SocketPool, refused
from podwire.drivers.netlink.wire import Request
from podwire.model.intent import Cause, Failure, Wanted
from podwire.model.kernel import LINK_PREFIX, Address, Fdb, Neighbour, Value

V = TypeVar("V", Address, Neighbour, Fdb)

GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENXIO, errno.EOPNOTSUPP})
"""Answers to a removal which say that it was not there."""

FIRST_HOST_INDEX = 1 << 24
"""Pods' host ends have ifindexes from here on, far above what the kernel counts up to: ``wirer`` chooses them, and the
filter of ``monitor`` knows them by it."""


class Kind(Protocol):
    """Makes, lists and removes the objects of one kind (or two that go together)."""

    def observe(self) -> Iterable[Value]:
        """Those that are there and ours."""
        ...

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Create or replace each; the refusals."""
        ...

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Remove each; what is not there is removed already."""
        ...


class Task(NamedTuple):
    """A request for an element; without one, *problem* says what is the matter with the link it should stand on."""

    value: Value
    cause: Cause | None
    request: Request | None
    problem: str = ""
    errno: int = errno.ENODEV


def carry_out(sock: NetlinkSocket, verb: str, tasks: Sequence[Task], forgiven: Collection[int] = ()) -> list[Failure]:
    """Send all *tasks* in a batch; a refusal with an errno in *forgiven* is a success."""
    failures = [
        failure(verb, task.value, task.cause, task.errno, task.problem)
        for task in tasks
        if task.request is None and task.errno not in forgiven
    ]
    sent = [(task, task.request) for task in tasks if task.request is not None]
    for refusal in sock.execute([request for _, request in sent]):
        if refusal.errno not in forgiven:
            task = sent[refusal.place][0]
            failures.append(failure(verb, task.value, task.cause, refusal.errno, refusal.detail))
    return failures


def failure(verb: str, value: Value, cause: Cause | None, number: int, detail: str) -> Failure:
    """The failure to *verb* (put, drop) *value*, with a message that names it and its cause."""
    because = f" for {cause}" if cause else ""
    return Failure(value, cause, number, str(refused(f"{verb} {describe(value)}{because}", number, detail)))


def missing(name: str) -> str:
    """The sentence for a link that is not there."""
    return f"link {name} does not exist"


def describe(value: Value) -> str:
    """A value as a short phrase: ``route 10.244.2.0/24 dev pwvxlan``."""
    identity = " ".join(str(part) for part in value.key[1:] if part not in (None, ""))
    return f"{value.kind} {identity}"


class Links:
    """Names and indexes of the links of a namespace, asked for once per batch."""

    def __init__(self, sock: NetlinkSocket) -> None:
        self._sock = sock
        self._known: dict[str, LinkInfo | None] = {}

    def find(self, name: str) -> LinkInfo | None:
        """The link called *name*."""
        if name not in self._known:
            message = self._sock.get(link.get(name), f"look for link {name}")
            self._known[name] = link.decode(message) if message else None
        return self._known[name]

    def index(self, name: str) -> int:
        """Its ifindex, 0 when there is none."""
        found = self.find(name)
        return found.index if found else 0


def all_links(sock: NetlinkSocket) -> dict[int, LinkInfo]:
    """Every link of the namespace by ifindex."""
    found = (link.decode(message) for message in sock.dump(link.dump(), "list links"))
    return {info.index: info for info in found}


def ours(info: LinkInfo) -> bool:
    """Whether a link of the node was made by us."""
    return info.name.startswith(LINK_PREFIX)


class OnLink(ABC, Generic[V]):
    """A kind whose objects stand on a link and are made and removed by one message each."""

    def __init__(self, pool: SocketPool) -> None:
        self._pool = pool

    @abstractmethod
    def observe(self) -> Iterable[Value]:
        """Those that are there and ours."""

    @abstractmethod
    def _put(self, index: int, value: V) -> Request:
        """The message that creates or replaces *value* on link *index*."""

    @abstractmethod
    def _drop(self, index: int, value: V) -> Request:
        """The message that removes it."""

    def _unfit(self, found: LinkInfo) -> str:
        """Why these objects cannot stand on link *found*; empty when they can."""
        return ""

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Create or replace each, in a batch."""
        elements = [(cast(V, element.value), element.cause) for element in wanted]
        return self._carry_out("put", elements, self._put, frozenset())

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Remove each, in a batch."""
        return self._carry_out("drop", [(cast(V, value), None) for value in values], self._drop, GONE)

    def _carry_out(
        self,
        verb: str,
        elements: Sequence[tuple[V, Cause | None]],
        message: Callable[[int, V], Request],
        forgiven: Collection[int],
    ) -> list[Failure]:
        with self._pool.socket() as sock:
            links = Links(sock)
            tasks = []
            for value, cause in elements:
                found = links.find(value.dev)
                if found is None:
                    tasks.append(Task(value, cause, None, missing(value.dev)))
                elif problem := self._unfit(found):
                    tasks.append(Task(value, cause, None, problem, errno.EOPNOTSUPP))
                else:
                    tasks.append(Task(value, cause, message(found.index, value)))
            return carry_out(sock, verb, tasks, forgiven)
