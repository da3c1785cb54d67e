"""What a lab really runs: the small API server, the manager and podwire's controller; a kubelet and podwire's agent.

Every program is started as a user of podwire would start it, from files in its host's own /etc, with a token of its
own; the state directory of the lab is out of its sight.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.cluster.resources import NODES
from podwire.cni import build
from podwire.lab import credentials
from podwire.lab import spec as places
from podwire.lab.cluster import Lab
from podwire.lab.images import READY
from podwire.lab.programs import HostPlan
from podwire.lab.sandbox.plan import ServicePlan, base_environment
from podwire.lab.sandbox.supervisor import FIRST_DESCRIPTOR
from podwire.lab.spec import LabSpec, NodeRecord
from podwire.lab.status import ready_condition
from podwire.lab.waiting import wait
from podwire.model.config import API_VERSION, parse
from podwire.model.errors import NotFound

ETC = "/etc/podwire"
API_DIRECTORY = "/var/lib/podwire-api"


class Kubernetes:
    """The lab's programs (:class:`podwire.lab.programs.Programs`)."""

    def check(self, spec: LabSpec) -> None:
        """What the agents would refuse is refused before anything is made."""
        parse(config(spec, kubeconfig=""), "lab")

    def prepare(self, lab: Lab) -> None:
        """Make sure of the CNI binary, and make certificates, tokens and kubeconfigs."""
        build.build()
        credentials.prepare(lab)

    def control(self, lab: Lab, sockets: Sequence[str]) -> HostPlan:
        """API server, manager, controller. The API server finds its listening sockets open."""
        environment = base_environment(lab.directory.marker)
        listen = [f"--listen-fd={FIRST_DESCRIPTOR + number}" for number in range(len(sockets))]
        programs = {
            "apiserver": _podwire("podwire.lab.apiserver", "--dir", API_DIRECTORY, *listen),
            "manager": _podwire("podwire.lab.manager", "--kubeconfig", f"{ETC}/manager.kubeconfig"),
            "controller": _podwire("podwire", "controller", "--config", f"{ETC}/config.yaml"),
        }
        services = {
            name: ServicePlan(argv, environment, descriptors=tuple(sockets) if name == "apiserver" else ())
            for name, argv in programs.items()
        }
        files = {
            f"{ETC}/manager.kubeconfig": credentials.kubeconfig(lab, "manager"),
            f"{ETC}/controller.kubeconfig": credentials.kubeconfig(lab, "controller"),
            f"{ETC}/config.yaml": config(lab.spec, kubeconfig=f"{ETC}/controller.kubeconfig"),
        }
        return HostPlan(services, files, ((lab.directory.api, API_DIRECTORY),))

    def node(self, lab: Lab, node: NodeRecord) -> HostPlan:
        """Kubelet and agent, both with the node's own token."""
        environment = base_environment(lab.directory.marker) | {"NODE_NAME": node.name}
        programs = {
            "agent": _podwire("podwire", "agent", "--config", f"{ETC}/config.yaml"),
            "kubelet": _podwire("podwire.lab.kubelet", "--config", f"{ETC}/kubelet.yaml"),
        }
        certificate, key = credentials.serving(lab, node)
        kubelet = {
            "nodeName": node.name,
            "nodeAddresses": [str(address) for address in places.node_addresses(lab.spec, node)],
            "kubeconfig": f"{ETC}/kubeconfig",
            "servingCert": f"{ETC}/kubelet.crt",
            "servingKey": f"{ETC}/kubelet.key",
            "tokenFile": f"{ETC}/kubelet-token",
            "labels": {"topology.kubernetes.io/zone": f"subnet{places.segment_of(lab.spec, node.index)}"},
        }
        files = {
            f"{ETC}/kubeconfig": credentials.node_kubeconfig(lab, node),
            f"{ETC}/config.yaml": config(lab.spec, kubeconfig=f"{ETC}/kubeconfig", node=node),
            f"{ETC}/kubelet.yaml": yaml.safe_dump(kubelet, sort_keys=False).encode(),
            f"{ETC}/kubelet.crt": certificate,
            f"{ETC}/kubelet.key": key,
            f"{ETC}/kubelet-token": credentials.kubelet_token(lab),
        }
        return HostPlan({name: ServicePlan(argv, environment) for name, argv in programs.items()}, files)

    def world(self, lab: Lab) -> HostPlan:
        """An echo server that tells everybody their address as the world sees it."""
        environment = base_environment(lab.directory.marker)
        return HostPlan({"echo": ServicePlan(READY["podwire/echo"].entrypoint, environment)})

    def wait_control(self, lab: Lab, timeout: float) -> None:
        """Until the API server says that it is ready."""

        async def ready(client: Client) -> str:
            await client.raw("GET", "/readyz")
            return ""

        wait(lab, [lab.control], ready, timeout)

    def wait_nodes(self, lab: Lab, nodes: Sequence[str], timeout: float) -> None:
        """Until all *nodes* have the condition Ready, said by the kubelet of their present boot."""

        boots = {name: lab.node(name).boot_id for name in nodes}

        async def ready(client: Client) -> str:
            objects = {item["metadata"]["name"]: item for item in (await client.list(NODES)).items}
            late = (_missing(name, objects.get(name), boot) for name, boot in boots.items())
            return "; ".join([text for text in late if text][:3])

        wait(lab, [lab.control, *(lab.node(name) for name in nodes)], ready, timeout)

    def forget(self, lab: Lab, node: NodeRecord) -> None:
        """Delete the Node object, which ends its pods, and the node's token."""

        async def work() -> None:
            async with Client(from_file(lab.kubeconfig)) as client:
                try:
                    await client.delete(NODES, node.name)
                except NotFound:
                    pass

        credentials.forget(lab, node)
        asyncio.run(work())


def _missing(name: str, node: dict[str, Any] | None, boot: str) -> str:
    """What keeps a node from being Ready in the boot of that id; "" when nothing does."""
    if node is None:
        return f"{name} has not registered"
    state, why = ready_condition(node)
    if state != "Ready":
        return f"{name} is {state} ({why})"
    reported = node.get("status", {}).get("nodeInfo", {}).get("bootID")
    return "" if reported == boot else f"{name} has not reported since it booted"


def _podwire(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def config(spec: LabSpec, *, kubeconfig: str, node: NodeRecord | None = None) -> bytes:
    """podwire's own configuration, as an operator would write it."""
    document = {
        "apiVersion": API_VERSION,
        "kind": "Config",
        **({"node": {"name": node.name}} if node else {}),
        "cluster": {"podCidrs": list(spec.pod_cidrs), "serviceCidrs": list(spec.service_cidrs)},
        "backend": {"type": spec.backend},
        "kubeconfig": kubeconfig,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
