"""The Node object: registered, its status and Lease kept fresh, Ready only once pods can get a network.

Readiness of the network is a runtime's: there is a network configuration, and its plugins answer STATUS (from CNI
version 1.1.0 on) without an error.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podwire import __version__
from podwire.cluster.client import STRATEGIC_PATCH, Client
from podwire.cluster.resources import LEASES, NODES
from podwire.lab.kubelet.clock import micro_stamp, stamp
from podwire.lab.kubelet.cni_runtime import CniRuntime
from podwire.lab.kubelet.config import KubeletConfig
from podwire.lab.kubelet.events import Recorder
from podwire.model.errors import ClusterError, Conflict, NotFound, PodwireError

_LOG = logging.getLogger(__name__)
_LEASE_NAMESPACE = "kube-node-lease"
KUBELET_VERSION = f"v1.34.0-podwire-lab-{__version__}"
_UNREADY_POLL = 0.25


class NodeKeeper:
    """Keeps one Node. *problem* is why pods cannot get a network now."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        cni: CniRuntime,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._client = client
        self._cni = cni
        self._recorder = recorder
        self._clock = clock
        self.problem = "the network plugin has not been asked yet"
        self._conditions: dict[str, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}
        self._lease: dict[str, Any] | None = None

    async def run(self) -> None:
        """Keep the Node until cancelled."""
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_status())
            group.create_task(self._keep_lease())

    async def _register(self) -> None:
        labels = {
            "kubernetes.io/hostname": self._config.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            **self._config.labels,
        }
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._config.node_name, "labels": labels},
            "spec": {},
            "status": {},
        }
        while True:
            try:
                try:
                    await self._client.create(NODES, node)
                except Conflict:
                    await self._client.patch(NODES, self._config.node_name, {"metadata": {"labels": labels}})
                return
            except ClusterError as error:
                _LOG.warning("node not registered yet: %s", error)
                await asyncio.sleep(0.5)

    async def _keep_status(self) -> None:
        written_at, known_problem = 0.0, None
        while True:
            self.problem = await self._ask_network()
            changed = self.problem != known_problem
            if changed or self._clock() - written_at >= self._config.status_interval:
                try:
                    await self._write_status()
                    written_at, known_problem = self._clock(), self.problem
                    if changed:
                        self._tell(self.problem)
                except NotFound:
                    self._facts = {}
                    await self._register()
                    continue
                except ClusterError as error:
                    _LOG.warning("node status not written: %s", error)
            await asyncio.sleep(_UNREADY_POLL if self.problem else min(1.0, self._config.status_interval))

    def _tell(self, problem: str) -> None:
        name = self._config.node_name
        about = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}
        if problem:
            self._recorder.record(about, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        else:
            self._recorder.record(about, "Normal", "NodeReady", f"Node {name} status is now: NodeReady")

    async def _ask_network(self) -> str:
        try:
            await self._cni.status(self._cni.network())
        except (PodwireError, OSError) as error:
            return str(error)
        return ""

    async def _write_status(self) -> None:
        problem = self.problem and (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            f"message:Network plugin returns error: {self.problem}"
        )
        pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
        conditions = [
            self._condition(kind, False, "KubeletHasNo" + kind, "the lab meters no resources") for kind in pressures
        ]
        ready = self._condition(
            "Ready",
            not problem,
            "KubeletNotReady" if problem else "KubeletReady",
            problem or "kubelet is posting ready status",
        )
        resources = {
            "cpu": str(os.cpu_count() or 1),
            "memory": f"{_memory_kib()}Ki",
            "pods": str(self._config.max_pods),
        }
        status = {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in self._config.node_addresses),
                {"type": "Hostname", "address": self._config.node_name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._config.port}},
            "nodeInfo": _node_info(),
        }
        name = self._config.node_name
        if status != self._facts:
            await self._client.patch(NODES, name, {"status": status}, subresource="status")
            self._facts = status
        await self._client.patch(
            NODES,
            name,
            {"status": {"conditions": [*conditions, ready]}},
            subresource="status",
            content_type=STRATEGIC_PATCH,  # merges by type: conditions of others stay
        )

    def _condition(self, kind: str, true: bool, reason: str, message: str) -> dict[str, Any]:
        now = stamp(self._clock())
        old = self._conditions.get(kind, {})
        status = "True" if true else "False"
        condition = {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now}
        condition["lastTransitionTime"] = old["lastTransitionTime"] if old.get("status") == status else now
        self._conditions[kind] = condition
        return condition

    async def _keep_lease(self) -> None:
        while True:
            try:
                await self._renew_lease()
            except (NotFound, Conflict):
                self._lease = None
            except ClusterError as error:
                _LOG.warning("lease not renewed: %s", error)
            await asyncio.sleep(self._config.lease_seconds / 4)

    async def _renew_lease(self) -> None:
        name, now = self._config.node_name, micro_stamp(self._clock())
        spec = {"holderIdentity": name, "leaseDurationSeconds": self._config.lease_seconds, "renewTime": now}
        if self._lease is None:
            try:
                self._lease = await self._client.get(LEASES, name, _LEASE_NAMESPACE)
            except NotFound:
                lease = {
                    "apiVersion": LEASES.api_version,
                    "kind": "Lease",
                    "metadata": {"name": name, "namespace": _LEASE_NAMESPACE},
                    "spec": spec,
                }
                self._lease = await self._client.create(LEASES, lease, _LEASE_NAMESPACE)
                return
        self._lease = await self._client.patch(LEASES, name, {"spec": spec}, _LEASE_NAMESPACE)


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024


def _node_info() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    return {
        "architecture": _architecture(),
        "operatingSystem": "linux",
        "osImage": system,
        "kernelVersion": platform.release(),
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "containerRuntimeVersion": f"podwire-lab://{__version__}",
        "machineID": socket.gethostname(),
        "systemUUID": socket.gethostname(),
        "bootID": boot,
    }
