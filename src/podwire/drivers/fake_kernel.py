"""A fake kernel driver: a dictionary that checks references as the kernel does. See :mod:`podwire.drivers.fake`."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable, Mapping

from podwire.drivers.elements import describe
from podwire.model.addresses import IPNetwork, contains
from podwire.model.intent import Delta, Failure, NodeState, Wanted
from podwire.model.kernel import (
    Address,
    Fdb,
    Key,
    Link,
    Neighbour,
    NftElement,
    NftTable,
    Route,
    Value,
)
from podwire.reconcile.driver import HostLink
from podwire.reconcile.order import drops_in_order, puts_in_order


class Injection:
    """Fails operations on demand: :meth:`fail` names the N-th one from now on, counting from 1."""

    def __init__(self) -> None:
        self.operations = 0
        self._due: dict[int, int] = {}

    def fail(self, nth: int = 1, number: int = errno.EIO) -> None:
        """The *nth* operation from now on is refused with errno *number*."""
        self._due[self.operations + nth] = number

    def strike(self) -> int:
        """Count an operation; the errno with which it fails, or 0."""
        self.operations += 1
        return self._due.pop(self.operations, 0)


class FakeKernel:
    """A :class:`~podwire.reconcile.driver.KernelDriver` over a dictionary.

    *devices* are the node's own links with the subnets connected to each; *foreign_routes* are another program's.
    """

    def __init__(self, devices: Mapping[str, Iterable[IPNetwork]] | None = None) -> None:
        self.devices: dict[str, tuple[IPNetwork, ...]] = {
            name: tuple(subnets) for name, subnets in (devices or {"eth0": ()}).items()
        }
        self.objects: dict[Key, Value] = {}
        self.foreign_routes: set[Key] = set()
        self.host_ends: dict[str, HostLink] = {}
        self.injection = Injection()

    def observe(self, kinds: Collection[str] | None = None) -> NodeState:
        """See :meth:`KernelDriver.observe`."""
        return {key: value for key, value in self.objects.items() if kinds is None or value.kind in kinds}

    def apply(self, delta: Delta) -> list[Failure]:
        """See :meth:`KernelDriver.apply`."""
        failures = []
        for value in drops_in_order(delta.drop):
            number = self.injection.strike()
            if number:
                failures.append(Failure(value, None, number, f"drop {describe(value)}: injected"))
            else:
                self._drop(value)
        for wanted in puts_in_order(delta.put):
            problem = self._put(wanted)
            if problem is not None:
                failures.append(problem)
        return failures

    def _put(self, wanted: Wanted) -> Failure | None:
        value = wanted.value
        number = self.injection.strike()
        reason = "injected"
        if not number:
            number, reason = self._refusal(value)
        if number:
            message = f"put {describe(value)} for {wanted.cause}: {errno.errorcode[number]}: {reason}"
            return Failure(value, wanted.cause, number, message)
        if isinstance(value, NftTable):
            self._keep_elements(value)
        self.objects[value.key] = value
        return None

    def _refusal(self, value: Value) -> tuple[int, str]:
        """The errno with which the kernel would refuse *value*, and why; 0 when it would not."""
        if isinstance(value, Link):
            below = value.vxlan.underlay if value.vxlan else None
            return (errno.ENODEV, f"link {below} does not exist") if below and not self._exists(below) else (0, "")
        if isinstance(value, NftElement):
            return self._nft_refusal(value)
        if isinstance(value, Route):
            return self._route_refusal(value)
        if isinstance(value, Address | Neighbour | Fdb):
            if not self._exists(value.dev):
                return errno.ENODEV, f"link {value.dev} does not exist"
            link = self.objects.get((Link.kind, value.dev))
            if isinstance(value, Fdb) and not (isinstance(link, Link) and link.type == "vxlan"):
                return errno.EOPNOTSUPP, f"link {value.dev} is no vxlan device"
        return 0, ""

    def _route_refusal(self, value: Route) -> tuple[int, str]:
        if value.key in self.foreign_routes:
            return errno.EEXIST, "another program has a route with that destination"
        if value.type != "unicast":
            return 0, ""
        if value.dev is None and value.via is None:
            return errno.ENODEV, "a route needs a device or a gateway"
        if value.dev is not None and not self._exists(value.dev):
            return errno.ENODEV, f"link {value.dev} does not exist"
        if value.via is not None and not value.onlink and not contains(self._connected(value.dev), value.via):
            return errno.ENETUNREACH, f"gateway {value.via} is not reachable directly"
        return 0, ""

    def _nft_refusal(self, value: NftElement) -> tuple[int, str]:
        table = self.objects.get((NftTable.kind, value.family, value.table))
        if not isinstance(table, NftTable) or value.set not in _sets(table.body):
            return errno.ENOENT, f"set {value.set} does not exist"
        return 0, ""

    def _exists(self, name: str) -> bool:
        return name in self.devices or name in self.host_ends or (Link.kind, name) in self.objects

    def _connected(self, dev: str | None) -> list[IPNetwork]:
        subnets = [net for name, nets in self.devices.items() if dev in (None, name) for net in nets]
        for value in self.objects.values():
            if isinstance(value, Address) and dev in (None, value.dev):
                subnets.append(value.address.network)
            elif isinstance(value, Route) and value.via is None and value.dev and dev in (None, value.dev):
                subnets.append(value.dst)
        return subnets

    def _keep_elements(self, table: NftTable) -> None:
        """A new skeleton takes over the elements of the sets that it declares too."""
        for key, value in list(self.objects.items()):
            of_table = isinstance(value, NftElement) and (value.family, value.table) == (table.family, table.name)
            if of_table and isinstance(value, NftElement) and value.set not in _sets(table.body):
                del self.objects[key]

    def _drop(self, value: Value) -> None:
        self.objects.pop(value.key, None)
        if isinstance(value, Link):
            self.forget_device(value.name)
        elif isinstance(value, NftTable):
            self._keep_elements(NftTable(value.family, value.name, ""))

    def forget_device(self, name: str) -> None:
        """A link went: so does all that stood on it."""
        for key, value in list(self.objects.items()):
            if isinstance(value, Address | Neighbour | Fdb | Route) and value.dev == name:
                del self.objects[key]

    def close(self) -> None:
        """Nothing to release."""


def _sets(body: str) -> set[str]:
    return set(re.findall(r"^\s*set\s+(\w+)", body, re.MULTILINE))
