"""What the tests of the CNI room share: configurations, environments, and the attachments of a node made of fakes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from podwire.cni.attachments import Attachments, PodContext
from podwire.cni.protocol import RawRequest
from podwire.cni.request import AddRequest, CheckRequest, DelRequest
from podwire.cni.result import Result, describe
from podwire.cni.verbs import Answer, Verbs
from podwire.drivers.fake import FakeKernel, FakeWirer
from podwire.drivers.fake_store import FakeStore
from podwire.ipam.allocator import Allocator
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.cluster import AttachmentChanged
from podwire.model.kernel import Route
from podwire.plan.wiring import pod_wiring

POOL = "10.244.1.0/24"


def netconf(version: str = "1.0.0", name: str = "podwire", valid: Any = ..., **extra: Any) -> bytes:
    """A network configuration as a runtime writes it to stdin; *valid* are GC's valid attachments."""
    document = {"cniVersion": version, "name": name, "type": "podwire", **extra}
    if valid is not ...:
        document["cni.dev/valid-attachments"] = valid
    return json.dumps(document).encode()


def environment(command: str, container: str = "c1", pod: str = "web-0", **extra: str) -> dict[str, str]:
    """The environment of a verb, as containerd sets it; an empty value of *extra* removes a variable."""
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}",
        "CNI_PATH": "/opt/cni/bin",
        **extra,
    }
    return {name: value for name, value in env.items() if value}


def add_request(container: str = "c1", pod: str = "web-0", ifname: str = "eth0", **extra: Any) -> AddRequest:
    """An ADD for a pod."""
    key = AttachmentKey("podwire", container, ifname)
    return AddRequest(key, f"/run/netns/{container}", PodRef("default", pod, f"u-{pod}"), **extra)


def del_request(container: str = "c1", ifname: str = "eth0", asked_at: float | None = None) -> DelRequest:
    """Its DEL."""
    return DelRequest(AttachmentKey("podwire", container, ifname), asked_at)


def check_request(attachment: Attachment, previous: Result | None = None) -> CheckRequest:
    """Its CHECK, with what ADD answered."""
    return CheckRequest(attachment.key, attachment.netns, previous or describe(attachment, pod_wiring(attachment)))


class FakeNode:
    """A node of fakes. Namespaces are small integers, which stand for their own inode numbers; *now* stands still."""

    def __init__(
        self,
        *,
        pools: Sequence[str] = (POOL,),
        cooldown: float = 30.0,
        store: FakeStore | None = None,
        kernel: FakeKernel | None = None,
        reaping_at_once: bool = True,
    ) -> None:
        self.now = 1000.0
        self.store = store or FakeStore()
        self.kernel = kernel or FakeKernel()
        self.wirer = FakeWirer(self.kernel, reaping_at_once=reaping_at_once)
        self.allocator = Allocator([ip_network(pool) for pool in pools], cooldown=cooldown)
        self.context = PodContext(mtu=1450)
        self.changes: list[AttachmentChanged] = []
        self.running: Collection[PodRef] | None = None
        self.attachments = Attachments(
            allocator=self.allocator,
            store=self.store,
            wirer=self.wirer,
            context=lambda: self.context,
            on_change=self.changes.append,
            running_pods=lambda: self.running,
            clock=lambda: self.now,
            identify=lambda fd: fd,
            workers=1,  # the fakes are not made for several threads
        )
        self.verbs = Verbs(self.attachments)

    async def call(self, command: str, netns: int | None = 7, *, stdin: bytes | None = None, **extra: str) -> Answer:
        """One request through the dispatcher."""
        conf = netconf("1.1.0") if stdin is None else stdin
        return await self.verbs.serve(RawRequest(environment(command, **extra), conf), netns)

    async def settled(self) -> None:
        """Wait until no address is quarantined any more."""
        for _ in range(1000):
            if not any(usage.quarantined for usage in self.attachments.usage()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"still quarantined: {self.attachments.usage()}")

    def in_use(self) -> dict[str, str]:
        """Address by owner, as the allocator has it."""
        owned = ((addr, self.allocator.owner(addr)) for pool in self.allocator.pools for addr in pool)
        return {str(addr): owner for addr, owner in owned if owner is not None}

    def problems(self) -> list[str]:
        """Ways in which allocator, store, kernel and memory disagree; empty when all is well."""
        known = self.attachments.snapshot()
        stored = self.store.load().attachments
        orphaned = {orphan.host_ifname for orphan in self.attachments.orphans}
        names = {key.host_ifname for key in known}
        found = [f"known but not stored: {key}" for key in known if known[key] != stored.get(key)]
        found += [f"stored but not known: {key}" for key in stored if key not in known]
        found += [f"no link: {key}" for key in known if key.host_ifname not in self.kernel.host_ends]
        found += [
            f"stray link: {link.name}"
            for link in self.wirer.host_links()
            if link.name not in names | orphaned and not link.reaping
        ]
        taken = [addr for attachment in known.values() for addr in attachment.ips]
        found += [f"twice: {addr}" for addr, group in itertools.groupby(sorted(taken, key=int)) if len([*group]) > 1]
        found += [f"not reserved: {addr}" for addr in taken if self.allocator.owner(addr) is None]
        if not orphaned:
            found += [f"leaked: {addr}" for addr in self.in_use() if ip_address(addr) not in taken]
        routes = {value.dst.network_address for value in self.kernel.objects.values() if isinstance(value, Route)}
        found += [f"no route: {addr}" for addr in taken if addr not in routes]
        found += [f"stray route: {addr}" for addr in routes if addr not in taken and not orphaned]
        return found


@asynccontextmanager
async def fake_node(**options: Any) -> AsyncIterator[FakeNode]:
    """A :class:`FakeNode`, recovered, and closed at the end."""
    node = FakeNode(**options)
    try:
        await node.attachments.recover()
        node.changes.clear()
        yield node
    finally:
        await node.attachments.close()


def first_address() -> IPv4Address:
    """The first that the pool gives."""
    return IPv4Address("10.244.1.2")
