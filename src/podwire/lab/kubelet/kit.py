"""What every pod's worker of a node shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from podwire.cluster.client import Client, Object
from podwire.cluster.resources import CONFIG_MAPS, Resource
from podwire.lab.kubelet.blueprint import PodGround, visible_paths
from podwire.lab.kubelet.cni_runtime import CniRuntime
from podwire.lab.kubelet.config import KubeletConfig
from podwire.lab.kubelet.environment import PodFacts, Sources, references
from podwire.lab.kubelet.events import Recorder
from podwire.lab.kubelet.objects import Pod
from podwire.lab.kubelet.pod_files import hosts, resolv_conf, volume_mounts, write_pod_files
from podwire.lab.kubelet.probes import Prober
from podwire.lab.sandbox.plan import python_paths
from podwire.model.errors import NotFound

SECRETS = Resource("", "v1", "secrets", "Secret")


class Kit(msgspec.Struct):
    """The node's services. *network_problem* tells why pods cannot get a network now, "" when they can."""

    config: KubeletConfig
    client: Client
    cni: CniRuntime
    recorder: Recorder
    prober: Prober
    network_problem: Callable[[], str]
    clock: Callable[[], float] = time.time

    async def ground(self, pod: Pod, directory: Path, addresses: Sequence[str]) -> PodGround:
        """Fetch, write and prepare what the containers of *pod* stand on. InputError names what is missing."""
        maps, secrets = references(pod)
        sources = Sources(
            await self._fetch(CONFIG_MAPS, maps, pod.metadata.namespace),
            await self._fetch(SECRETS, secrets, pod.metadata.namespace),
        )
        config = self.config
        facts = PodFacts(config.node_name, config.node_addresses, tuple(addresses))
        node_resolv = Path("/etc/resolv.conf")
        texts = {
            "/etc/hosts": hosts(pod, addresses, config.cluster_domain),
            "/etc/resolv.conf": resolv_conf(
                pod,
                node_resolv.read_text() if node_resolv.exists() else "",
                config.cluster_dns,
                config.cluster_domain,
            ),
        }
        return PodGround(
            directory=directory,
            logs=log_directory(config.log_dir, pod),
            facts=facts,
            sources=sources,
            files=write_pod_files(directory, pod, texts),
            volumes=volume_mounts(directory, pod, sources),
            visible=visible_paths(Path("/proc/self/mountinfo").read_text(), python_paths()),
        )

    async def _fetch(self, resource: Resource, names: set[str], namespace: str) -> Mapping[str, Object]:
        found = {}
        for name in names:
            try:
                found[name] = await self.client.get(resource, name, namespace)
            except NotFound:
                continue
        return found


def log_directory(log_dir: str, pod: Pod) -> Path:
    """Where the logs of a pod's containers are, as every kubelet has it."""
    meta = pod.metadata
    return Path(log_dir) / f"{meta.namespace}_{meta.name}_{meta.uid}"


def reference(pod: Pod) -> dict[str, str]:
    """What an event about *pod* refers to."""
    meta = pod.metadata
    return {"apiVersion": "v1", "kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid}
