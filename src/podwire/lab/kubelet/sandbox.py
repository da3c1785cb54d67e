"""A pod's sandbox on the node: its pinned network namespace, its CNI attachment, its supervisor. Made and unmade as one.

The order is a runtime's: namespace, CNI ADD, supervisor; and back. What was begun is written down before it is begun
(:class:`SandboxRecord`), so that a kubelet that dies in between knows what to undo.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import socket
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from podwire.drivers import netns
from podwire.lab.kubelet.cni_cache import Target
from podwire.lab.kubelet.cni_conf import NotReady
from podwire.lab.kubelet.cni_runtime import CniRuntime
from podwire.lab.kubelet.environment import hostname
from podwire.lab.kubelet.objects import Pod
from podwire.lab.kubelet.runtime.client import Sandbox, launch
from podwire.lab.kubelet.runtime.messages import SandboxSpec
from podwire.lab.sandbox.syscalls import bind, unmount

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


class SandboxRecord(msgspec.Struct):
    """A sandbox that exists, or may exist in part. *netns* is empty for a pod on the node's network."""

    id: str
    directory: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    netns: str = ""
    addresses: tuple[str, ...] = ()
    port_mappings: tuple[dict[str, object], ...] = ()

    @property
    def target(self) -> Target:
        """What CNI is told about it."""
        args = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.pod_namespace,
            "K8S_POD_NAME": self.pod_name,
            "K8S_POD_INFRA_CONTAINER_ID": self.id,
            "K8S_POD_UID": self.pod_uid,
        }
        offered: dict[str, object] = {"portMappings": list(self.port_mappings)} if self.port_mappings else {}
        return Target(self.id, self.netns, args=args, capabilities=offered)


def new_record(pod: Pod, directory: Path, netns_dir: str) -> SandboxRecord:
    """The record of a sandbox that is about to be made."""
    return SandboxRecord(
        id=secrets.token_hex(32),
        directory=str(directory),
        pod_namespace=pod.metadata.namespace,
        pod_name=pod.metadata.name,
        pod_uid=pod.metadata.uid,
        netns="" if pod.spec.host_network else f"{netns_dir}/cni-{uuid.uuid4()}",
        port_mappings=tuple(_port_mappings(pod)),
    )


def _port_mappings(pod: Pod) -> list[dict[str, object]]:
    """The ``portMappings`` capability argument, as CNI's conventions define it."""
    return [
        {"hostPort": port.host_port, "containerPort": port.container_port, "protocol": port.protocol.lower()}
        | ({"hostIP": port.host_ip} if port.host_ip else {})
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port and not pod.spec.host_network
    ]


async def create(record: SandboxRecord, pod: Pod, cni: CniRuntime, save: Callable[[], None]) -> Sandbox:
    """Make the sandbox of *record*; on failure it may exist in part: :func:`destroy` it. *save* keeps the record."""
    save()
    if record.netns:
        await asyncio.to_thread(pin, Path(record.netns))
        addresses = await cni.add(cni.network(), record.target)
        record.addresses = tuple(str(address.ip) for address in addresses)
        save()
    spec = SandboxSpec(pod=pod.key, dir=record.directory, hostname=hostname(pod), netns=record.netns)
    return await launch(spec)


async def destroy(record: SandboxRecord, cni: CniRuntime) -> None:
    """Take down all of it that exists. Idempotent; raises CniError when the plugins refuse, and is tried again then."""
    await Sandbox(record.directory).quit()
    if record.netns:
        try:
            network = cni.network()
        except NotReady:
            network = None  # the configuration it was added with is in the cache, if it was added at all
        await cni.delete(network, record.target)
        await asyncio.to_thread(unpin, Path(record.netns))


def pin(path: Path) -> None:
    """Make a network namespace with loopback up and hold it by a mount at *path*."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    fd = netns.create()
    try:
        with netns.entered(fd):
            _loopback_up()
        bind(f"/proc/self/fd/{fd}", str(path))
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(fd)


def unpin(path: Path) -> None:
    """Let the namespace at *path* go; nothing happens if it is gone."""
    try:
        unmount(str(path))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
    path.unlink(missing_ok=True)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
